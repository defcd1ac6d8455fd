//! What connections and deliveries cost the server: `cargo bench -p unhidra-gateway --bench gateway [SCENARIO...]`.
//!
//! The server runs in this process, composed as in the tests, its clients in a second one over loopback, so that the CPU
//! time and the memory of this process are the server's alone.
//!
//! | Scenario | |
//! |---|---|
//! | `saturate` | 100 connections of one group, one sender with 64 messages on their way |
//! | `paced` | the same with 100 messages a second; latency from the intended time of sending |
//! | `connect` | connections one after the other, each through `CaughtUp` |
//! | `idle` | resident memory of connections over which nothing goes |
//! | `connect-tls`, `idle-tls` | the same over TLS 1.3, each with a whole handshake |
//! | `resume-tls` | `connect-tls` by clients that resume their sessions |
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a measurement that can't be made ends, and clients hold the keys of their devices"
)]

#[path = "../../tests/sockets/client.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod client;
mod crowd;
#[path = "../../tests/sockets/person.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod person;
#[path = "../../tests/sockets/server.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod server;

use std::{
    alloc::System,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::net::TcpSocket;
use unhidra_http::tls::{Prepared, Tls};
use unhidra_keys::local_ca::LocalCa;
use unhidra_runtime::Clock;
use unhidra_wire::base64;
use zeroizing_alloc::ZeroAlloc;

use crate::server::{Server, UNLIMITED};

/// The program's: a connection costs what it costs there.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Members that read, each on one connection.
const READERS: u8 = 100;
const SATURATED_MESSAGES: u64 = 20_000;
const PACED_MESSAGES: u64 = 800;
/// Connections of the scenarios that count them: so many devices, each with four.
const DEVICES: u8 = 250;
const OF_A_DEVICE: usize = 4;
const CONNECTS: usize = 2_000;

/// The other process.
struct Crowd {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

fn main() {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|one| !one.starts_with('-'))
        .collect();
    if arguments.first().is_some_and(|first| first == crowd::ARGUMENT) {
        return crowd::run();
    }
    let all = [
        "saturate",
        "paced",
        "connect",
        "idle",
        "connect-tls",
        "resume-tls",
        "idle-tls",
    ]
    .map(str::to_owned)
    .to_vec();
    for scenario in if arguments.is_empty() { all } else { arguments } {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(&scenario));
        runtime.shutdown_background();
    }
}

async fn run(scenario: &str) {
    let (tls, authority) = match scenario.strip_suffix("-tls") {
        Some(_) => {
            let (tls, authority) = certificate();
            (Some(tls), base64::encode(&authority))
        }
        None => (None, "-".to_owned()),
    };
    let socket = TcpSocket::new_v4().unwrap();
    let server = Server::on(socket, 10_000, UNLIMITED, tls).await;
    match scenario {
        "saturate" => fan_out(&server, scenario, SATURATED_MESSAGES).await,
        "paced" => fan_out(&server, scenario, PACED_MESSAGES).await,
        "connect" | "idle" | "connect-tls" | "resume-tls" | "idle-tls" => {
            connections(&server, scenario, &authority).await;
        }
        other => panic!("no scenario {other}"),
    }
}

/// A certificate for this machine, and who vouches for it.
fn certificate() -> (Tls, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let now = Clock::System.context().now;
    let authority = LocalCa::open(folder.path(), now).unwrap();
    let made = authority.certificate(&["127.0.0.1".to_owned()], now).unwrap();
    let authority = made.chain.last().unwrap().to_vec();
    (Tls::new(Prepared::new(made.chain, made.key).unwrap()), authority)
}

async fn fan_out(server: &Server, scenario: &str, messages: u64) {
    let mut phones = Vec::new();
    for seed in 1..=READERS + 1 {
        phones.push(server.person(seed).await.1);
    }
    let group = server.open_group(&phones.iter().collect::<Vec<_>>()).await;
    let tokens = phones.iter().map(|phone| phone.token.as_str());
    let group = base64::encode(group.as_bytes());
    let mut crowd = Crowd::start(server, &[scenario, &group, &messages.to_string()], tokens);
    crowd.line();
    let (cpu, began) = (cpu(), Instant::now());
    crowd.go();
    let found = crowd.line();
    let (cpu, wall) = (self::cpu() - cpu, began.elapsed());
    let deliveries = messages * u64::from(READERS);
    println!(
        "{scenario:11} {:6.2} us CPU a delivery, {:9.0} deliveries/s, {found}",
        micros(cpu) / deliveries as f64,
        deliveries as f64 / wall.as_secs_f64(),
    );
    crowd.end();
}

async fn connections(server: &Server, scenario: &str, authority: &str) {
    let mut tokens = Vec::new();
    for seed in 1..=DEVICES {
        tokens.push(server.person(seed).await.1.token);
    }
    let all = (0..OF_A_DEVICE).flat_map(|_| tokens.iter().map(String::as_str));
    let mut crowd = Crowd::start(server, &[scenario, authority, &CONNECTS.to_string()], all);
    crowd.line();
    let (cpu, memory) = (cpu(), resident());
    crowd.go();
    crowd.line();
    if !scenario.starts_with("idle") {
        let cpu = self::cpu() - cpu;
        println!(
            "{scenario:11} {:6.1} us CPU a connection",
            micros(cpu) / CONNECTS as f64
        );
    } else {
        let connections = server.registry.connections();
        let each = (resident() - memory) as f64 / 1024.0 / connections as f64;
        println!("{scenario:11} {each:6.2} KiB resident a connection, of {connections}");
    }
    crowd.end();
}

impl Crowd {
    fn start<'a>(server: &Server, head: &[&str], tokens: impl Iterator<Item = &'a str>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(crowd::ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.as_ref().unwrap();
        writeln!(input, "{} {}", server.address, head.join(" ")).unwrap();
        let tokens: String = tokens.map(|token| format!("{token}\n")).collect();
        writeln!(input, "{tokens}").unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it says next.
    fn line(&mut self) -> String {
        tokio::task::block_in_place(|| self.lines.next().unwrap().unwrap())
    }

    fn go(&mut self) {
        writeln!(self.child.stdin.as_ref().unwrap(), "go").unwrap();
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// User and system time of this process; the kernel counts in hundredths of a second.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Bytes of resident memory of this process.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
