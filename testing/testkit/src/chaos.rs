//! Real text through a server and a client that are killed at random moments.
//!
//! One person sends every line of real text to another, in one batch, and each of the two has a second device. The
//! moments are places in the log, drawn from a seed: when the log is that long, the server or the sending client is
//! killed as a crash of its machine would. The client is then fed the same batch again, from its beginning. In the end
//! each of the other three devices must have every line, byte by byte, in order, once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use unhidra_wire::rest::Conversations;

use crate::{
    blind::secrets_of,
    http::Http,
    person::{Device, Message, Person, texts},
    process::Process,
    program::Program,
    secrets::{Profile, Secret},
    seed::{Dice, Seed},
    text,
    world::World,
};

/// The batch that is fed again and again.
const BATCH: &str = "chaos";
/// One line in so many carries a canary.
const CANARY_EVERY: usize = 50;
/// Letters of a canary.
const CANARY_LETTERS: usize = 28;
/// The longest that a killed server stays away.
const LONGEST_OUTAGE: Duration = Duration::from_millis(400);
/// How long the client may wait for a server that is away before it gives up, and is fed again.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);
/// When nothing has moved for so long, something is stuck.
const STUCK: Duration = Duration::from_secs(120);
/// Runs of the client beside those that were killed: each is one that gave up.
const MAX_RETRIES: u32 = 10;
/// How long a device may take to catch up on this many lines.
const CATCH_UP_LINES: u32 = 1_000;
const CATCH_UP_TIME: Duration = Duration::from_secs(60);

/// How much text, and how much is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Lines of real text.
    pub lines: usize,
    /// How often the server is killed.
    pub server_kills: u32,
    /// How often the sending client is killed.
    pub client_kills: u32,
    /// Where all random choices begin.
    pub seed: Seed,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The server.
    Server,
    /// The client that sends.
    Client,
}

/// A moment of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Who.
    pub victim: Victim,
    /// When the log has so many entries.
    pub at: u64,
    /// How long the server then stays away; a client comes back at once.
    pub outage: Duration,
}

/// What is left when the storm is over: everything still runs.
#[derive(Debug)]
pub struct Aftermath {
    /// The server and its people.
    pub world: World,
    /// Who sent, with two devices.
    pub sender: Person,
    /// Who received, with two devices.
    pub recipient: Person,
    /// Random words that were in the text, and nowhere else.
    pub canaries: Vec<String>,
    /// What the devices kept to themselves before the storm; most of it is used up by now.
    pub early_secrets: Vec<Secret>,
    /// How often the client was started.
    pub runs: u32,
    /// From the first line sent to the last one on the server.
    pub took: Duration,
}

impl Plan {
    /// The kills, in the order of their moments. No two fall together.
    #[must_use]
    pub fn kills(&self, dice: &mut Dice) -> Vec<Kill> {
        let count = u64::from(self.server_kills + self.client_kills);
        let lines = u64::try_from(self.lines).unwrap_or(u64::MAX);
        let mut victims: Vec<_> = (0..self.server_kills).map(|_| Victim::Server).collect();
        victims.extend((0..self.client_kills).map(|_| Victim::Client));
        for place in (1..victims.len()).rev() {
            let other = dice.below(u64::try_from(place).unwrap_or(0) + 1);
            victims.swap(place, usize::try_from(other).unwrap_or(place));
        }
        // The first nine tenths are cut into as many parts as there are kills, so that none comes after the end.
        let part = (lines * 9 / 10).checked_div(count).unwrap_or(0);
        let places = (0..count).zip(victims);
        places
            .map(|(place, victim)| Kill {
                victim,
                at: place * part + 1 + dice.below(part),
                outage: Duration::from_millis(
                    dice.below(u64::try_from(LONGEST_OUTAGE.as_millis()).unwrap_or(0)),
                ),
            })
            .collect()
    }
}

/// Does all of it, and checks what arrived. `progress` is told how it goes.
///
/// # Errors
/// What failed: a command, a kill that came too late, or the first line that is not as it was sent.
pub fn run(program: &Program, plan: Plan, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Aftermath> {
    progress(&format!(
        "{}: {} lines, {} server kills, {} client kills",
        plan.seed, plan.lines, plan.server_kills, plan.client_kills
    ));
    let mut dice = plan.seed.dice();
    let mut world = World::configured(program.clone(), plan.seed, Vec::new())?;
    let (mut sender, mut recipient) = world.alice_and_bob()?;
    world.link(&mut sender)?;
    world.link(&mut recipient)?;
    progress("two people, four devices");

    let early_secrets = secrets_of(&[&sender, &recipient])?;
    let mut lines = text::lines(plan.lines)?;
    let canaries = plant(&mut lines, &mut dice);
    let kills = plan.kills(&mut dice);
    let begin = Instant::now();
    let runs = Storm::new(&mut world, &sender, &recipient, &lines)?.weather(&kills, progress)?;
    let took = begin.elapsed();
    progress(&format!("all sent in {took:.1?}, by {runs} runs of the client"));

    for device in [recipient.first()?, recipient.second()?, sender.second()?] {
        let begin = Instant::now();
        check(device, &sender, &lines)?;
        progress(&format!(
            "{} has all of it, after {:.1?}",
            device.name(),
            begin.elapsed()
        ));
    }
    Ok(Aftermath {
        world,
        sender,
        recipient,
        canaries,
        early_secrets,
        runs,
        took,
    })
}

/// The sending, as it is disturbed.
struct Storm<'a> {
    world: &'a mut World,
    device: &'a Device,
    peer: &'a str,
    lines: &'a [String],
    client: Process,
    http: Http,
    token: String,
    runs: u32,
    retries: u32,
}

impl<'a> Storm<'a> {
    fn new(
        world: &'a mut World,
        sender: &'a Person,
        recipient: &'a Person,
        lines: &'a [String],
    ) -> anyhow::Result<Self> {
        let device = sender.first()?;
        let http = Http::to(world.server.address())?;
        let token = Profile::open(device)?.access_token()?;
        let peer = &recipient.name;
        Ok(Self {
            client: device.start_lines(peer, BATCH, lines, CLIENT_PATIENCE)?,
            world,
            device,
            peer,
            lines,
            http,
            token,
            runs: 1,
            retries: 0,
        })
    }

    /// Goes on until the client has ended well; the number of its runs.
    fn weather(mut self, kills: &[Kill], progress: &mut dyn FnMut(&str)) -> anyhow::Result<u32> {
        let mut kills = kills.iter();
        let mut next = kills.next();
        let (mut longest, mut moved) = (0, Instant::now());
        let mut shown = Instant::now();
        loop {
            let length = self.log_length()?;
            if let Some(length) = length.filter(|&length| length > longest) {
                (longest, moved) = (length, Instant::now());
            }
            if shown.elapsed() > Duration::from_secs(2) {
                progress(&format!("{longest} of {} lines", self.lines.len()));
                shown = Instant::now();
            }
            ensure!(moved.elapsed() < STUCK, "stuck at {longest} lines for {STUCK:?}");
            if let Some(kill) = next.filter(|kill| longest >= kill.at) {
                self.kill(kill)?;
                progress(&format!(
                    "killed the {:?} at {longest} lines (planned at {})",
                    kill.victim, kill.at
                ));
                (next, moved) = (kills.next(), Instant::now());
            } else if let Some(status) = self.client.ended()? {
                if status.success() {
                    let left = kills.count() + usize::from(next.is_some());
                    ensure!(
                        left == 0,
                        "all lines were sent before {left} kills: use more lines"
                    );
                    return Ok(self.runs);
                }
                self.try_again()?;
            }
        }
    }

    fn kill(&mut self, kill: &Kill) -> anyhow::Result<()> {
        match kill.victim {
            Victim::Server => {
                self.world.server.kill_nine()?;
                std::thread::sleep(kill.outage);
                self.world.server.restart()
            }
            Victim::Client => {
                self.client.kill_nine()?;
                self.feed()
            }
        }
    }

    /// Starts the client again, if it ended for a reason that time may heal.
    fn try_again(&mut self) -> anyhow::Result<()> {
        self.retries += 1;
        let retries = self.retries;
        let fresh = self
            .device
            .start_lines(self.peer, BATCH, self.lines, CLIENT_PATIENCE)?;
        let ended = std::mem::replace(&mut self.client, fresh).wait(Duration::ZERO)?;
        self.runs += 1;
        if !matches!(ended.code(), Some(5 | 11)) || retries > MAX_RETRIES {
            ended.success().context("the client gave up")?;
        }
        Ok(())
    }

    fn feed(&mut self) -> anyhow::Result<()> {
        self.client = self
            .device
            .start_lines(self.peer, BATCH, self.lines, CLIENT_PATIENCE)?;
        self.runs += 1;
        Ok(())
    }

    /// Entries in the sender's logs; `None` while the server does not say.
    fn log_length(&mut self) -> anyhow::Result<Option<u64>> {
        let Ok(answer) = self.http.get("/v1/conversations", Some(&self.token)) else {
            return Ok(None);
        };
        match answer.status {
            200 => {
                let page: Conversations = answer.json()?;
                Ok(Some(page.conversations.iter().map(|log| log.head).sum()))
            }
            401 => {
                self.token = Profile::open(self.device)?.access_token()?;
                Ok(None)
            }
            429 | 503 => Ok(None),
            status => bail!("the list of conversations was answered with {status}"),
        }
    }
}

/// Reads everything on `device`, and compares it with what was sent.
///
/// # Errors
/// The first line that differs, or how many are missing or come twice.
pub fn check(device: &Device, sender: &Person, lines: &[String]) -> anyhow::Result<()> {
    let steps = u32::try_from(lines.len())?.div_ceil(CATCH_UP_LINES);
    let read = device.read_json_within(CATCH_UP_TIME * steps.max(1))?;
    let from_sender: Vec<Message> = read
        .into_iter()
        .filter(|message| message.from == sender.name)
        .collect();
    compare(lines, &texts(&from_sender)).with_context(|| format!("on {}", device.name()))?;
    let again = device.read_json()?;
    ensure!(
        again.is_empty(),
        "{} printed {} messages a second time",
        device.name(),
        again.len()
    );
    Ok(())
}

/// Says where two texts part.
///
/// # Errors
/// The first line that differs.
pub fn compare(sent: &[String], received: &[String]) -> anyhow::Result<()> {
    let differs = sent
        .iter()
        .zip(received)
        .position(|(sent, received)| sent != received);
    if let Some(line) = differs {
        bail!(
            "line {} of {} was sent as {:?} and arrived as {:?} ({} arrived in all)",
            line + 1,
            sent.len(),
            sent.get(line),
            received.get(line),
            received.len()
        );
    }
    ensure!(
        sent.len() == received.len(),
        "{} lines were sent and {} arrived; all agree up to the shorter one's end",
        sent.len(),
        received.len()
    );
    Ok(())
}

/// Appends a random word to some lines; the words.
fn plant(lines: &mut [String], dice: &mut Dice) -> Vec<String> {
    let chosen = lines.iter_mut().step_by(CANARY_EVERY);
    chosen
        .map(|line| {
            let canary = dice.word(CANARY_LETTERS);
            line.push(' ');
            line.push_str(&canary);
            canary
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        lines: 2_000,
        server_kills: 2,
        client_kills: 1,
        seed: Seed(3),
    };

    #[test]
    fn a_seed_repeats_its_kills() {
        let kills = PLAN.kills(&mut PLAN.seed.dice());
        assert_eq!(kills, PLAN.kills(&mut PLAN.seed.dice()));
        assert_ne!(kills, PLAN.kills(&mut Seed(4).dice()));
    }

    #[test]
    fn every_kill_of_every_seed_comes_in_order_and_before_the_end() {
        for seed in 0..200 {
            let plan = Plan {
                lines: 100,
                server_kills: 3,
                client_kills: 2,
                seed: Seed(seed),
            };
            let kills = plan.kills(&mut plan.seed.dice());
            assert!(
                kills.is_sorted_by(|one, next| one.at < next.at),
                "{seed}: {kills:?}"
            );
            assert!(kills.iter().all(|kill| (1..=90).contains(&kill.at)));
            let servers = kills.iter().filter(|kill| kill.victim == Victim::Server).count();
            assert_eq!((kills.len(), servers), (5, 3));
        }
    }

    #[test]
    fn a_plan_without_kills_is_calm() {
        let plan = Plan {
            server_kills: 0,
            client_kills: 0,
            ..PLAN
        };
        assert!(plan.kills(&mut plan.seed.dice()).is_empty());
    }

    #[test]
    fn what_differs_is_named() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(compare(&lines("a b c"), &lines("a b c")).is_ok());
        for received in ["a b", "a b b c", "a c b", "a b c c", ""] {
            assert!(compare(&lines("a b c"), &lines(received)).is_err(), "{received}");
        }
    }

    #[test]
    fn canaries_are_in_the_text_and_differ() {
        let mut lines = vec![String::from("line"); 200];
        let mut canaries = plant(&mut lines, &mut Seed(1).dice());
        assert_eq!(canaries.len(), 4);
        assert!(
            canaries
                .iter()
                .all(|canary| lines.iter().any(|line| line.ends_with(canary)))
        );
        canaries.dedup();
        assert_eq!(canaries.len(), 4);
    }
}
