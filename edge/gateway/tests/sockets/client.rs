//! A client that knows frames and nothing else, and one that speaks HTTP by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::frame::{Append, Appended, ClientFrame, Deliver, ServerFrame, Welcome};

use crate::server::PATIENCE;

pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> Self {
        Self::connect_on(TcpStream::connect(address).await.unwrap(), token).await
    }

    pub(crate) async fn connect_on(stream: TcpStream, token: &str) -> Self {
        let offer = HeaderValue::from_str(&format!("unhidra.v1, bearer.{token}")).unwrap();
        let (stream, _) = ClientBuilder::new()
            .uri("ws://127.0.0.1/v1/ws")
            .unwrap()
            .add_header(header::SEC_WEBSOCKET_PROTOCOL, offer)
            .unwrap()
            .connect_on(stream)
            .await
            .unwrap();
        Self { stream }
    }

    /// The next message of any kind; `None` at the end.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let message = timeout(PATIENCE, self.stream.next()).await;
        message.expect("the server sends something").map(Result::unwrap)
    }

    /// The next frame. Pings are none.
    pub(crate) async fn frame(&mut self) -> ServerFrame {
        loop {
            let message = self.message().await.expect("the connection goes on");
            assert!(!message.is_close(), "closed: {:?}", message.as_close());
            assert!(!message.is_text());
            if message.is_binary() {
                let frame = Bytes::from(message.into_payload());
                return ServerFrame::decode(frame).unwrap().unwrap();
            }
        }
    }

    /// The frames before the first one that is `last`, which is given too.
    pub(crate) async fn through(&mut self, last: impl Fn(&ServerFrame) -> bool) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        loop {
            frames.push(self.frame().await);
            if frames.last().is_some_and(&last) {
                return frames;
            }
        }
    }

    pub(crate) async fn catch_up(&mut self) -> Vec<ServerFrame> {
        self.through(|frame| *frame == ServerFrame::CaughtUp).await
    }

    pub(crate) async fn welcome(&mut self) -> Welcome {
        match self.frame().await {
            ServerFrame::Welcome(welcome) => welcome,
            other => panic!("{other:?} before the welcome"),
        }
    }

    pub(crate) async fn delivery(&mut self) -> Deliver {
        match self.frame().await {
            ServerFrame::Deliver(entry) => entry,
            other => panic!("not an entry: {other:?}"),
        }
    }

    /// Everything through entry `last` of one log, as (from, to, whether it was delivered); each once and in order.
    pub(crate) async fn entries(
        &mut self,
        log: ConversationId,
        first: u64,
        last: u64,
    ) -> Vec<(u64, u64, bool)> {
        let mut entries = Vec::new();
        let mut next = first;
        while next <= last {
            let frame = self.frame().await;
            let Some((conversation, from, to, delivered)) = range(&frame) else {
                continue;
            };
            if conversation == log {
                assert_eq!(from, next, "a gap or a repetition");
                next = to + 1;
                entries.push((from, to, delivered));
            }
        }
        entries
    }

    /// The answer to an append, whatever comes before it.
    pub(crate) async fn appended(&mut self, msg_id: MsgId) -> Appended {
        let answers = |frame: &ServerFrame| match frame {
            ServerFrame::Appended(answer) => answer.msg_id == msg_id,
            ServerFrame::Refused(refused) => panic!("{refused:?}"),
            _ => false,
        };
        match self.through(answers).await.pop() {
            Some(ServerFrame::Appended(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn append(&mut self, append: Append) -> Appended {
        let msg_id = append.msg_id;
        self.send(ClientFrame::Append(append)).await;
        self.appended(msg_id).await
    }

    pub(crate) async fn acknowledge(&mut self, conversation: ConversationId, seq: u64) {
        self.send(ClientFrame::Acknowledge { conversation, seq }).await;
    }

    pub(crate) async fn fetch(&mut self, conversation: ConversationId, from: u64, to: u64) {
        let fetch = ClientFrame::Fetch {
            conversation,
            from,
            to,
        };
        self.send(fetch).await;
    }

    /// Returns when the server has handled every frame sent so far. Entry 1 of the log has been sent on this connection,
    /// and nothing else is on its way.
    pub(crate) async fn handled(&mut self, log: ConversationId) {
        self.fetch(log, 1, 1).await;
        self.through(|frame| range(frame).is_some_and(|(of, from, ..)| (of, from) == (log, 1)))
            .await;
    }

    pub(crate) async fn send(&mut self, frame: ClientFrame) {
        self.send_message(Message::binary(frame.encode())).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// Sends bytes that need not be a message.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    /// Queues frames and sends them together.
    pub(crate) async fn send_all(&mut self, frames: impl IntoIterator<Item = ClientFrame>) {
        for frame in frames {
            self.stream.feed(Message::binary(frame.encode())).await.unwrap();
        }
        self.stream.flush().await.unwrap();
    }

    /// Everything up to the server's goodbye, and its code.
    pub(crate) async fn closed(&mut self) -> (Vec<ServerFrame>, u16) {
        let mut frames = Vec::new();
        loop {
            let message = self.message().await.expect("a close frame comes first");
            if let Some((code, _)) = message.as_close() {
                return (frames, code.into());
            }
            if message.is_binary() {
                let frame = Bytes::from(message.into_payload());
                frames.push(ServerFrame::decode(frame).unwrap().unwrap());
            }
        }
    }

    pub(crate) async fn close_code(&mut self) -> u16 {
        self.closed().await.1
    }

    /// Reads, and so answers pings, until the connection ends.
    pub(crate) async fn read_on(&mut self) {
        while self.stream.next().await.is_some() {}
    }

    /// Waits for bytes without taking any.
    pub(crate) async fn readable(&self) {
        self.stream.get_ref().readable().await.unwrap();
    }

    /// Goes without a word; what the server still sends is answered with a reset.
    pub(crate) fn vanish(self) {
        drop(self);
    }
}

/// The log and the entries that a frame covers, and whether it delivers them.
pub(crate) fn range(frame: &ServerFrame) -> Option<(ConversationId, u64, u64, bool)> {
    match frame {
        ServerFrame::Deliver(entry) => Some((entry.conversation, entry.seq, entry.seq, true)),
        ServerFrame::Skip {
            conversation,
            from,
            to,
        } => Some((*conversation, *from, *to, false)),
        _ => None,
    }
}

/// An answer to a handshake, as text.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// The headers of a good handshake but the subprotocols.
pub(crate) const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Asks by hand, and reads as much as there is of the answer.
pub(crate) async fn ask(address: SocketAddr, target: &str, headers: &str) -> Answer {
    ask_by("GET", address, target, headers).await
}

pub(crate) async fn ask_by(method: &str, address: SocketAddr, target: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let reading = async {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            let read = stream.read(&mut buffer).await.unwrap();
            bytes.extend_from_slice(&buffer[..read]);
            if let Some(answer) = Answer::read(&bytes, method) {
                return answer;
            }
            assert!(read > 0, "cut off: {}", String::from_utf8_lossy(&bytes));
        }
    };
    timeout(PATIENCE, reading).await.expect("an answer")
}

impl Answer {
    fn read(bytes: &[u8], method: &str) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut answer = Self {
            status: head.split(' ').nth(1)?.parse().unwrap(),
            head: head.to_owned(),
            body: String::new(),
        };
        if method == "HEAD" {
            return Some(answer);
        }
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if body.len() < length {
            return None;
        }
        body[..length].clone_into(&mut answer.body);
        Some(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(": "));
        fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }

    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.head, self.body)
    }

    /// The problem without the name of the request.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let mut problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        let request = problem.as_object_mut().unwrap().remove("request_id");
        assert!(request.unwrap().as_str().unwrap().starts_with("req_"));
        problem
    }
}
