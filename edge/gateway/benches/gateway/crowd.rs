//! The clients, in a process of their own: no more than counting frames, so that they leave the machine to the server.

use std::{
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::join_all;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_rustls::TlsConnector;
use unhidra_types::ConversationId;
use unhidra_wire::{
    base64,
    frame::{Append, ClientFrame, ServerFrame},
};

use crate::{client::HANDSHAKE, server::plain};

/// Says that this process is the clients.
pub(crate) const ARGUMENT: &str = "crowd";
/// Messages of the sender on their way at once.
const WINDOW: usize = 64;
/// Messages a second of the paced sender.
const PACE: u64 = 100;
/// Entries between two acknowledgements of a reader.
const ACKNOWLEDGED_EACH: u64 = 50;
/// Of so many entries one is opened to read its time.
const SAMPLED: u64 = 16;
const BODY: usize = 200;

type Read = Box<dyn AsyncRead + Unpin>;
type Write = Box<dyn AsyncWrite + Unpin>;

/// How the server is reached.
struct Way {
    address: SocketAddr,
    /// Whose word on it is taken, if it speaks TLS.
    authority: Option<CertificateDer<'static>>,
    /// The sessions that can be resumed.
    tls: Option<TlsConnector>,
}

struct Client {
    read: Read,
    write: Write,
    buffer: BytesMut,
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut lines = std::io::stdin().lock().lines().map(Result::unwrap);
    let head = lines.next().unwrap();
    let head: Vec<_> = head.split(' ').collect();
    let [address, scenario, group_or_authority, count] = head[..] else {
        panic!("four words come first");
    };
    let tokens: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let count: u64 = count.parse().unwrap();
    let bytes = base64::decode(group_or_authority);
    let is_tls = scenario.ends_with("-tls");
    let authority = bytes.clone().filter(|_| is_tls).map(CertificateDer::from);
    let way = Way {
        address: address.parse().unwrap(),
        tls: authority.as_ref().map(connector),
        authority,
    };
    let next_line = || lines.next();
    match scenario {
        "connect" | "connect-tls" | "resume-tls" => {
            runtime.block_on(connect(way, &tokens, count, scenario != "resume-tls", next_line));
        }
        "idle" | "idle-tls" => runtime.block_on(idle(&way, &tokens, next_line)),
        _ => {
            let group = ConversationId::from_bytes(bytes.unwrap().try_into().unwrap());
            runtime.block_on(fan_out(
                &way,
                &tokens,
                group,
                count,
                scenario == "paced",
                next_line,
            ));
        }
    }
}

fn connector(authority: &CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let configuration = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(configuration).into()
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

async fn connect(
    mut way: Way,
    tokens: &[String],
    count: u64,
    anew: bool,
    mut next_line: impl FnMut() -> Option<String>,
) {
    for token in tokens {
        Client::connect(&way, token).await.through_caught_up().await;
    }
    say("ready");
    next_line();
    for token in (0..count).zip(tokens.iter().cycle()).map(|(_, token)| token) {
        if anew {
            way.tls = way.authority.as_ref().map(connector);
        }
        Client::connect(&way, token).await.through_caught_up().await;
    }
    say("done");
    next_line();
}

async fn idle(way: &Way, tokens: &[String], mut next_line: impl FnMut() -> Option<String>) {
    // One of each device first: what is allocated once for all is not counted.
    let mut clients = Vec::new();
    for token in &tokens[..tokens.len() / 4] {
        Client::connect(way, token).await.through_caught_up().await;
    }
    say("ready");
    next_line();
    for token in tokens {
        let mut client = Client::connect(way, token).await;
        client.through_caught_up().await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    say("done");
    next_line();
}

async fn fan_out(
    way: &Way,
    tokens: &[String],
    group: ConversationId,
    count: u64,
    paced: bool,
    mut next_line: impl FnMut() -> Option<String>,
) {
    let mut clients = Vec::new();
    for token in tokens {
        let mut client = Client::connect(way, token).await;
        client.through_caught_up().await;
        clients.push(client);
    }
    let sender = clients.pop().unwrap();
    say("ready");
    next_line();
    let reading = clients.into_iter().map(|client| client.read_all(group, count));
    let (found, ()) = tokio::join!(join_all(reading), sender.send_all(group, count, paced));
    let lagged: u64 = found.iter().map(|found| found.lagged).sum();
    let mut all: Vec<_> = found.into_iter().flat_map(|found| found.latencies).collect();
    all.sort_unstable();
    let at = |share: usize| Duration::from_micros(all[(all.len() - 1) * share / 100]);
    say(&format!(
        "p50 {:?}, p99 {:?}, {lagged} times lagging",
        at(50),
        at(99)
    ));
    next_line();
}

impl Client {
    async fn connect(way: &Way, token: &str) -> Self {
        let stream = TcpStream::connect(way.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut read, mut write): (Read, Write) = match &way.tls {
            None => {
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write))
            }
            Some(tls) => {
                let name = ServerName::from(way.address.ip());
                let (read, write) = tokio::io::split(tls.connect(name, stream).await.unwrap());
                (Box::new(read), Box::new(write))
            }
        };
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: test\r\n{HANDSHAKE}Sec-WebSocket-Protocol: unhidra.v1, bearer.{token}\r\n\r\n"
        );
        write.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = BytesMut::with_capacity(4_096);
        let end = loop {
            assert_ne!(read.read_buf(&mut buffer).await.unwrap(), 0, "closed");
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
        };
        let head = buffer.split_to(end + 4);
        assert!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        Self { read, write, buffer }
    }

    /// The next frame.
    async fn frame(&mut self) -> Bytes {
        frame(&mut self.read, &mut self.buffer).await
    }

    async fn through_caught_up(&mut self) {
        let caught_up = ServerFrame::CaughtUp.encode();
        while self.frame().await != caught_up {}
    }

    async fn read_all(mut self, group: ConversationId, count: u64) -> Found {
        let (caught_up, mut seq) = (ServerFrame::CaughtUp.encode(), 0);
        let mut found = Found::default();
        while seq < count {
            let frame = self.frame().await;
            if frame == caught_up {
                found.lagged += 1;
                continue;
            }
            seq += 1;
            if seq % SAMPLED == 0 {
                let Ok(Some(ServerFrame::Deliver(entry))) = ServerFrame::decode(frame) else {
                    panic!("not an entry");
                };
                assert_eq!(entry.seq, seq, "lost or doubled");
                let sent = u64::from_be_bytes(entry.body[..8].try_into().unwrap());
                found.latencies.push(now().saturating_sub(sent));
            }
            if seq % ACKNOWLEDGED_EACH == 0 {
                let acknowledge = ClientFrame::Acknowledge {
                    conversation: group,
                    seq,
                };
                self.write
                    .write_all(&masked(&acknowledge.encode()))
                    .await
                    .unwrap();
            }
        }
        found
    }

    async fn send_all(mut self, group: ConversationId, count: u64, paced: bool) {
        let window = Semaphore::new(WINDOW);
        let (began, wall) = (Instant::now(), now());
        let mut write = self.write;
        let sending = async {
            for number in 0..count {
                let mut sent = now();
                if paced {
                    let due = Duration::from_micros(number * 1_000_000 / PACE);
                    sleep_until(began + due).await;
                    sent = wall + u64::try_from(due.as_micros()).unwrap();
                }
                window.acquire().await.unwrap().forget();
                let append = plain(group, u32::try_from(number).unwrap(), BODY);
                let mut body = append.body.to_vec();
                body[..8].copy_from_slice(&sent.to_be_bytes());
                let append = Append {
                    body: body.into(),
                    ..append
                };
                write
                    .write_all(&masked(&ClientFrame::Append(append).encode()))
                    .await
                    .unwrap();
            }
        };
        let answered = async {
            let mut answers = 0;
            while answers < count {
                let frame = frame(&mut self.read, &mut self.buffer).await;
                if let Ok(Some(ServerFrame::Appended(_))) = ServerFrame::decode(frame) {
                    answers += 1;
                    window.add_permits(1);
                }
            }
        };
        tokio::join!(sending, answered);
    }
}

#[derive(Default)]
struct Found {
    lagged: u64,
    /// In microseconds.
    latencies: Vec<u64>,
}

async fn frame(read: &mut Read, buffer: &mut BytesMut) -> Bytes {
    loop {
        if let Some(frame) = split_frame(buffer) {
            return frame;
        }
        buffer.reserve(64 * 1024);
        assert_ne!(read.read_buf(buffer).await.unwrap(), 0, "closed");
    }
}

/// The payload of the frame at the front, if all of it has come.
fn split_frame(buffer: &mut BytesMut) -> Option<Bytes> {
    let short = usize::from(*buffer.get(1)?);
    let (head, length) = match short {
        126 => (
            4,
            usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        length => (2, length),
    };
    if buffer.len() < head + length {
        return None;
    }
    assert_eq!(
        buffer[0],
        0x82,
        "a binary message: {:?}",
        &buffer[..buffer.len().min(40)]
    );
    buffer.advance(head);
    Some(buffer.split_to(length).freeze())
}

/// A binary message under a mask of zeros.
fn masked(frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82];
    match u8::try_from(frame.len()) {
        Ok(length @ ..126) => bytes.push(0x80 | length),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(frame.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(frame);
    bytes
}

fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since.as_micros()).unwrap()
}
