//! The attacks, each as often as the plan says.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::frame::{Append, ClientFrame};

use super::raw::{Heard, ask, closing, connect, frame, handshake};

/// Attempts of one attack that are on their way at once.
const AT_ONCE: usize = 48;
/// The last of the addresses of those who have no account, which begin at `127.0.0.2`; who has one comes from the next.
const LAST_ADDRESS: u8 = 9;

/// What came of one attack.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was tried.
    pub attack: &'static str,
    /// How often.
    pub attempts: usize,
    /// What was answered, and how often.
    pub answers: BTreeMap<String, usize>,
    /// Answers 429 and 503 that did not say when to come back.
    pub without_retry_after: usize,
}

/// Whom the attackers meet, and what one of them has.
pub(super) struct Target {
    pub(super) server: SocketAddr,
    /// A good token of an account that turned bad.
    pub(super) token: String,
    /// A group that this account is in.
    pub(super) group: ConversationId,
    /// A name whose password is guessed.
    pub(super) name: String,
}

impl Target {
    /// Everything that asks once and hears once.
    pub(super) async fn asking(&self, times: usize) -> Vec<Row> {
        let huge_head = format!(
            "GET /v1/me HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
            "a".repeat(40_000)
        );
        let mut huge_body = b"POST /v1/sessions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 104857600\r\n\r\n".to_vec();
        huge_body.resize(2 << 20, b'x');
        let garbage: Vec<u8> = (0..4_096_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        let login = json(
            "POST",
            "/v1/sessions",
            None,
            &format!(r#"{{"username":"{}","password":"a guess at random"}}"#, self.name),
        );
        let opening = r#"{"invitation":"forged","username":"mallory2","password":"long enough to be one"}"#;
        let opening = json("POST", "/v1/accounts", None, opening);
        let good = json("GET", "/v1/me", Some(&self.token), "");
        vec![
            self.each("garbage", times, &garbage).await,
            self.each("head of 40 KB", times, huge_head.as_bytes()).await,
            self.each("body of 100 MiB", times.min(40), &huge_body).await,
            self.each("HEAD /v1/ws", times, &with_method("HEAD", &self.token))
                .await,
            self.each("POST /v1/ws", times, &with_method("POST", &self.token))
                .await,
            self.each(
                "forged bearer token",
                times * 10,
                &json("GET", "/v1/me", Some("forged"), ""),
            )
            .await,
            self.each("guess of a password", times * 2, &login).await,
            self.each("forged invitation", times * 2, &opening).await,
            self.each("REST as fast as it goes", times * 5, &good).await,
        ]
    }

    /// Handshakes with a forged token, from all addresses.
    pub(super) async fn connecting(&self, attempts: usize) -> Row {
        self.each("handshake, forged token", attempts, &handshake("forged"))
            .await
    }

    /// One after the other, with a good token: what a frame must not be.
    pub(super) async fn speaking(&self) -> Vec<Row> {
        let text = frame(0x81, true, b"hello");
        let unmasked = frame(0x82, false, b"hello");
        let compressed = frame(0xc2, true, b"hello");
        let garbage = frame(0x82, true, &[0xff; 64]);
        let oversize = frame(0x82, true, &vec![0; 300 * 1024]);
        let mut fragments = frame(0x02, true, &[0; 1_024]);
        for _ in 0..400 {
            fragments.extend(frame(0x00, true, &[0; 1_024]));
        }
        let flood: Vec<u8> = (1..=4_000_u32)
            .flat_map(|number| frame(0x82, true, &self.append(number)))
            .collect();
        let mut rows = Vec::new();
        for (attack, bytes) in [
            ("text message", text),
            ("unmasked frame", unmasked),
            ("compressed frame", compressed),
            ("frame that is none", garbage),
            ("frame of 300 KiB", oversize),
            ("400 KiB in fragments", fragments),
            ("4,000 messages at once", flood),
        ] {
            let heard = closing(LAST_ADDRESS + 1, self.server, &self.token, &bytes).await;
            rows.push(Row::of(attack, [heard]));
        }
        rows
    }

    /// Sockets that send nothing, or a byte a second, until `end`.
    pub(super) async fn lingering(
        &self,
        attack: &'static str,
        sockets: usize,
        head: &[u8],
        end: Instant,
    ) -> Row {
        let each = (0..sockets).map(async |number| {
            let Ok(mut stream) = connect(address(number), self.server).await else {
                return Heard::word("no connection");
            };
            let mut rest = head.iter();
            let mut byte = [0; 512];
            loop {
                if Instant::now() > end {
                    return Heard::word("stays open");
                }
                match timeout(Duration::from_secs(1), stream.read(&mut byte)).await {
                    Ok(Ok(0) | Err(_)) => return Heard::word("closed"),
                    Ok(Ok(read)) => {
                        let text =
                            String::from_utf8_lossy(byte.get(..read).unwrap_or_default()).to_lowercase();
                        return Heard {
                            what: text.split(' ').nth(1).unwrap_or("closed").to_owned(),
                            has_retry_after: text.contains("retry-after"),
                        };
                    }
                    Err(_) => {}
                }
                if let Some(byte) = rest.next()
                    && stream.write_all(&[*byte]).await.is_err()
                {
                    return Heard::word("closed");
                }
            }
        });
        // They come within a second, and stay.
        let arriving = stream::iter(each).buffer_unordered(sockets.max(1));
        Row::of(attack, arriving.collect::<Vec<_>>().await)
    }

    async fn each(&self, attack: &'static str, times: usize, request: &[u8]) -> Row {
        let asking = (0..times).map(|number| ask(address(number), self.server, request));
        let heard = stream::iter(asking).buffer_unordered(AT_ONCE);
        Row::of(attack, heard.collect::<Vec<_>>().await)
    }

    fn append(&self, number: u32) -> Vec<u8> {
        let mut id = [7; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let append = Append {
            conversation: self.group,
            msg_id: MsgId::from_bytes(id),
            attempt: 0,
            dest: None,
            list_versions: Vec::new(),
            body: vec![0; 64].into(),
            capsules: Vec::new(),
        };
        ClientFrame::Append(append).encode().to_vec()
    }
}

impl Row {
    fn of(attack: &'static str, heard: impl IntoIterator<Item = Heard>) -> Self {
        let mut row = Self {
            attack,
            attempts: 0,
            answers: BTreeMap::new(),
            without_retry_after: 0,
        };
        for heard in heard {
            row.attempts += 1;
            if matches!(heard.what.as_str(), "429" | "503") && !heard.has_retry_after {
                row.without_retry_after += 1;
            }
            *row.answers.entry(heard.what).or_default() += 1;
        }
        row
    }
}

/// Waits until the attackers' traces in the server's tables can't help them, or those who come after.
pub(super) async fn settle() {
    sleep(Duration::from_millis(500)).await;
}

fn address(number: usize) -> u8 {
    let addresses = usize::from(LAST_ADDRESS - 1);
    u8::try_from(2 + number % addresses).unwrap_or(2)
}

fn json(method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{token}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn with_method(method: &str, token: &str) -> Vec<u8> {
    let handshake = handshake(token);
    [method.as_bytes(), handshake.get(3..).unwrap_or_default()].concat()
}
