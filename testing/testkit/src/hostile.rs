//! Hostile clients against a real server, while others talk: what they are told, and what it costs the others.
//!
//! The attackers come from several addresses of this machine (127.0.0.2 and up), the others from 127.0.0.1. The server
//! runs under the limits that it has by default.
//!
//! - [`attack`]: what is tried   - `raw`: the bytes of it

pub mod attack;
mod raw;

use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::frame::{Append, ClientFrame, ServerFrame};

use self::attack::{Row, Target};
use crate::{
    Program, Seed, World,
    group::Group,
    memory::resident_bytes,
    socket::{Event, ReceiveBuffer, Socket},
};

/// Between two messages of those who talk.
const PACE: Duration = Duration::from_millis(25);
/// How long a message may take at the worst.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at the server's memory.
const LOOK: Duration = Duration::from_millis(50);

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Handshakes with a forged token.
    pub connections: usize,
    /// Attempts of each attack that asks once; some are tried more often.
    pub times: usize,
    /// Sockets that send nothing, and as many that send a byte a second.
    pub lingering: usize,
    /// How long these stay at least.
    pub linger: Duration,
    /// How long the others talk undisturbed, for comparison.
    pub quiet: Duration,
    /// For passwords.
    pub seed: Seed,
}

/// What was seen.
#[derive(Debug)]
pub struct Report {
    /// Each attack.
    pub rows: Vec<Row>,
    /// From sending to arrival, undisturbed.
    pub quiet: Latency,
    /// The same under attack.
    pub attacked: Latency,
    /// Resident bytes of the server: before, at most, and afterwards.
    pub resident: [u64; 3],
    /// Its open descriptors: before, at most, and afterwards.
    pub descriptors: [u64; 3],
    /// Lines of its log that a human has to look at.
    pub errors: usize,
}

/// How long messages took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// How many there were.
    pub messages: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// All but one of a hundred took no longer.
    pub p99: Duration,
    /// None took longer.
    pub most: Duration,
}

/// Two who talk, and never lose a message.
struct Talk {
    sender: Socket,
    receiver: Socket,
    group: ConversationId,
    number: u64,
}

/// Attacks a server as `plan` says, and tells `progress` how it goes.
///
/// # Errors
/// When the server can't be started or fails, or a message of those who talk is lost or late.
pub fn run(program: &Program, plan: &Plan, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    // Naming one limit keeps all at what the product has by default.
    let settings = vec![("UNHIDRA_LIMITS_WAITING", "2000".to_owned())];
    let mut world = World::configured(program.clone(), plan.seed, settings)?;
    let (alice, bob) = world.alice_and_bob()?;
    let mallory = world.person("mallory")?;
    let server = world.server.address();
    let group = Group::open(server, alice.first()?, &[bob.first()?, mallory.first()?])?;
    let open = |token: &str| Socket::open(server, token, ReceiveBuffer::Usual);
    let mut talk = Talk {
        sender: open(&alice.first()?.access_token()?)?,
        receiver: open(&bob.first()?.access_token()?)?,
        group: group.id(),
        number: 0,
    };
    let target = Target {
        server,
        token: mallory.first()?.access_token()?,
        group: group.id(),
        name: alice.name.clone(),
    };
    let pid = world.server.pid()?;
    let quiet_until = Instant::now() + plan.quiet;
    let quiet = talk.on(|| Instant::now() < quiet_until)?;
    progress(&format!("undisturbed: {quiet}"));
    let before = [resident_bytes(pid)?, descriptors(pid)?];

    let attacking = Arc::new(AtomicBool::new(true));
    let (watching, talking) = (Arc::clone(&attacking), Arc::clone(&attacking));
    let watcher = thread::spawn(move || watch(pid, &watching));
    let talker = thread::spawn(move || {
        let latency = talk.on(|| talking.load(Ordering::Relaxed));
        (latency, talk)
    });
    let rows = attack_with(plan, &target);
    attacking.store(false, Ordering::Relaxed);
    let (attacked, talk) = talker.join().map_err(|_| anyhow::anyhow!("the talk broke off"))?;
    let most = watcher.join().map_err(|_| anyhow::anyhow!("nobody watched"))??;
    let rows = rows?;
    let attacked = attacked.context("those who talk were disturbed")?;
    progress(&format!("under attack: {attacked}"));
    drop(talk);
    let after = [resident_bytes(pid)?, descriptors(pid)?];
    let log = world.server.log()?;
    let [resident, open] = [0, 1].map(|which| [before[which], most[which], after[which]]);
    Ok(Report {
        rows,
        quiet,
        attacked,
        resident,
        descriptors: open,
        errors: log.lines().filter(|line| line.contains("ERROR")).count(),
    })
}

fn attack_with(plan: &Plan, target: &Target) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    Ok(runtime.block_on(async {
        let end = tokio::time::Instant::now() + plan.linger;
        let slow_head = b"GET /v1/me HTTP/1.1\r\nhost: test\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let slow_handshake = b"GET /v1/ws HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\nx: aaaaaaaaaa";
        let asking = async {
            let mut rows = target.asking(plan.times).await;
            rows.extend(target.speaking().await);
            rows.push(target.connecting(plan.connections).await);
            rows
        };
        let (silent, slow, shaking, asked) = tokio::join!(
            target.lingering("socket that says nothing", plan.lingering, b"", end),
            target.lingering("head, a byte a second", plan.lingering, slow_head, end),
            target.lingering("handshake, a byte a second", plan.lingering, slow_handshake, end),
            asking,
        );
        attack::settle().await;
        [vec![silent, slow, shaking], asked].concat()
    }))
}

impl Talk {
    /// Sends and receives one message after the other as long as `wanted`.
    fn on(&mut self, wanted: impl Fn() -> bool) -> anyhow::Result<Latency> {
        let mut took = Vec::new();
        while wanted() {
            took.push(self.one()?);
            thread::sleep(PACE);
        }
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
        Ok(Latency {
            messages: took.len(),
            p50: at(50),
            p99: at(99),
            most: took.last().copied().unwrap_or_default(),
        })
    }

    fn one(&mut self) -> anyhow::Result<Duration> {
        self.number += 1;
        let msg_id = MsgId::from_bytes(u128::from(self.number).to_be_bytes());
        let append = Append {
            conversation: self.group,
            msg_id,
            attempt: 0,
            dest: None,
            list_versions: Vec::new(),
            body: vec![1; 400].into(),
            capsules: Vec::new(),
        };
        let begin = Instant::now();
        self.sender.send(&ClientFrame::Append(append))?;
        let seq = loop {
            match self.receiver.next(PATIENCE)? {
                Event::Frame(ServerFrame::Deliver(entry)) if entry.msg_id == msg_id => break entry.seq,
                Event::Frame(_) => {}
                other => anyhow::bail!("message {} did not arrive: {other:?}", self.number),
            }
        };
        let took = begin.elapsed();
        self.receiver.send(&ClientFrame::Acknowledge {
            conversation: self.group,
            seq,
        })?;
        loop {
            match self.sender.next(PATIENCE)? {
                Event::Frame(ServerFrame::Appended(answer)) if answer.msg_id == msg_id => return Ok(took),
                Event::Frame(_) => {}
                other => anyhow::bail!("message {} was not answered: {other:?}", self.number),
            }
        }
    }
}

/// The most of memory and of descriptors, as long as it lasts.
fn watch(pid: u32, lasting: &AtomicBool) -> anyhow::Result<[u64; 2]> {
    let mut most = [0, 0];
    while lasting.load(Ordering::Relaxed) {
        let now = [resident_bytes(pid)?, descriptors(pid)?];
        most = [most[0].max(now[0]), most[1].max(now[1])];
        thread::sleep(LOOK);
    }
    Ok(most)
}

fn descriptors(pid: u32) -> anyhow::Result<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).context("count the descriptors of a process")?;
    Ok(u64::try_from(open.count())?)
}

impl Report {
    /// What must hold whatever machine it ran on.
    ///
    /// # Errors
    /// What does not.
    pub fn verdict(&self) -> anyhow::Result<()> {
        for row in &self.rows {
            ensure!(
                row.without_retry_after == 0,
                "{}: {} answers 429 or 503 without Retry-After",
                row.attack,
                row.without_retry_after
            );
            ensure!(
                !row.answers.contains_key("500") && !row.answers.contains_key("200")
                    || row.attack.starts_with("REST"),
                "{}: {:?}",
                row.attack,
                row.answers
            );
        }
        ensure!(self.errors == 0, "{} errors in the server's log", self.errors);
        ensure!(self.attacked.messages > 0, "nobody talked");
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages, p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
            self.messages,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3,
            self.most.as_secs_f64() * 1e3
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:28} {:>8}  answers", "attack", "attempts")?;
        for row in &self.rows {
            let answers = row
                .answers
                .iter()
                .map(|(what, count)| format!("{count} x {what}"));
            let answers = answers.collect::<Vec<_>>().join(", ");
            writeln!(f, "{:28} {:>8}  {answers}", row.attack, row.attempts)?;
        }
        writeln!(f, "\nothers, undisturbed   {}", self.quiet)?;
        writeln!(f, "others, under attack  {}", self.attacked)?;
        let [before, most, after] = self.resident.map(|bytes| bytes >> 20);
        writeln!(
            f,
            "resident memory       {before} MiB before, at most {most} MiB, {after} MiB afterwards"
        )?;
        let [before, most, after] = self.descriptors;
        writeln!(
            f,
            "descriptors           {before} before, at most {most}, {after} afterwards"
        )?;
        write!(f, "errors in the log     {}", self.errors)
    }
}
