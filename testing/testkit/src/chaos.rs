//! Real text through a server and clients that are killed, cut off and without room on the disk at random moments.
//!
//! Two people send every line of real text to each other, half of them each, from their first devices, while their
//! second devices listen. The moments are places in the log, drawn from a seed: when the log is that long, the server
//! or one of the four clients is killed as a crash of its machine would, the network is cut, or the server's disk
//! filled. A sender that was killed is fed the same batch again, from its beginning. In the end each of the four
//! devices must have every line, byte by byte, in order, once.
//!
//! At one of the moments a backup is made. When all has arrived, the server is lost and comes back from it: every device
//! must go on, and still have everything.

mod afterwards;
mod check;
mod ground;
mod plan;
mod running;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use unhidra_wire::rest::Conversations;

use self::running::{Running, Work};
pub use self::{
    afterwards::go_on_from_the_backup,
    check::{Sent, check, compare},
    ground::{Network, SmallDisk},
    plan::{Client, Moment, Plan, Side, Strike},
};
use crate::{
    blind::secrets_of,
    http::Http,
    person::{Message, Person},
    program::Program,
    secrets::{Profile, Secret},
    seed::Dice,
    text,
    world::World,
};

/// The batch that is fed again and again.
const BATCH: &str = "chaos";
/// One line in so many carries a canary.
const CANARY_EVERY: usize = 50;
/// Letters of a canary.
const CANARY_LETTERS: usize = 28;
/// When nothing has moved for so long, something is stuck.
const STUCK: Duration = Duration::from_secs(120);
/// A disk has been full for long enough when nothing has moved for so long.
const HALTED: Duration = Duration::from_secs(2);
/// Who does not collect meanwhile.
const AWAY: Client = Client::Listener(Side::Left);
/// What can be written without new room lasts no longer than this.
const LONGEST_FULL: Duration = Duration::from_secs(90);
/// A log that jumps by more has a void behind it, which a server leaves that was killed within a commit.
const VOID: u64 = 1 << 31;
/// Between two looks at the log.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Between two reports.
const SHOW_EVERY: Duration = Duration::from_secs(5);

/// Where it takes place.
#[derive(Debug)]
pub struct Ground {
    /// Between the clients and the server.
    pub network: Network,
    /// Under the server, when it shall become full.
    pub disk: Option<SmallDisk>,
}

/// What is left when the storm is over: everything still runs.
#[derive(Debug)]
pub struct Aftermath {
    /// The server and its people.
    pub world: World,
    /// Two people with two devices each.
    pub people: [Person; 2],
    /// Random words that were in the text, and nowhere else.
    pub canaries: Vec<String>,
    /// What was made of the server during the storm.
    pub backup: PathBuf,
    /// What each of the two sent.
    pub lines: [Vec<String>; 2],
    /// What the devices kept to themselves before the storm; most of it is used up by now.
    pub early_secrets: Vec<Secret>,
    /// How often the four clients were started.
    pub runs: u32,
    /// From the first line sent to the last one on the server.
    pub took: Duration,
    // After the world: the server's data lies on it.
    _ground: Ground,
}

/// Does all of it, and checks what arrived. `progress` is told how it goes.
///
/// # Errors
/// What failed: a command, a strike that came too late, or the first line that is not as it was sent.
pub fn run(
    program: &Program,
    ground: Ground,
    plan: Plan,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Aftermath> {
    ensure!(
        plan.full_disks == 0 || ground.disk.is_some(),
        "a disk can be filled only on ground of its own"
    );
    progress(&format!("{}: {plan:?}", plan.seed));
    let mut dice = plan.seed.dice();
    let data = ground.disk.as_ref().map(SmallDisk::data);
    let mut world = World::with_data(program.clone(), plan.seed, ground.network.settings(), data)?;
    let url = ground.network.way_to(&world.server);
    let people = [
        person(&mut world, &url, "alice")?,
        person(&mut world, &url, "bob")?,
    ];
    progress("two people, four devices");

    let early_secrets = secrets_of(&people.each_ref())?;
    let mut lines = text::lines(plan.lines)?;
    let canaries = plant(&mut lines, &mut dice);
    let right = lines.split_off(lines.len() / 2);
    let moments = plan.moments(&mut dice);
    let begin = Instant::now();
    let [left_person, right_person] = &people;
    let storm = Storm {
        http: Http::to(world.server.address())?,
        token: left_person.first()?.access_token()?,
        clients: [
            sender(left_person, right_person, &lines)?,
            sender(right_person, left_person, &right)?,
            Running::start(left_person.second()?, Work::Listen)?,
            Running::start(right_person.second()?, Work::Listen)?,
        ],
        voids: 0,
        end: 0,
        backup: world.server.data().with_extension("backup"),
        world: &mut world,
        ground: &ground,
        sender: left_person,
    };
    let backup = storm.backup.clone();
    let (runs, heard) = storm.weather(&moments, progress)?;
    let took = begin.elapsed();
    progress(&format!("all sent in {took:.1?}, by {runs} runs of the clients"));

    let sent = [
        Sent {
            by: left_person,
            lines: &lines,
        },
        Sent {
            by: right_person,
            lines: &right,
        },
    ];
    for (client, heard) in Client::ALL.into_iter().zip(heard) {
        let begin = Instant::now();
        let device = match client {
            Client::Sender(side) => side.of(&people).first()?,
            Client::Listener(side) => side.of(&people).second()?,
        };
        let printed = heard.len();
        check(device, sent, heard)?;
        let took = begin.elapsed();
        progress(&format!(
            "{} has all of it; {printed} were printed as they came, the rest after {took:.1?}",
            device.name()
        ));
    }
    Ok(Aftermath {
        world,
        people,
        canaries,
        backup,
        lines: [lines, right],
        early_secrets,
        runs,
        took,
        _ground: ground,
    })
}

impl Side {
    /// Who of the two it is.
    #[must_use]
    pub const fn of(self, people: &[Person; 2]) -> &Person {
        let [left, right] = people;
        match self {
            Self::Left => left,
            Self::Right => right,
        }
    }
}

fn person(world: &mut World, url: &str, name: &str) -> anyhow::Result<Person> {
    let device = world.device(name, crate::person::Protection::KeyFile)?;
    let mut person = world.person_through(url, name, device)?;
    world.link_through(url, &mut person)?;
    Ok(person)
}

fn sender<'a>(person: &'a Person, peer: &'a Person, lines: &'a [String]) -> anyhow::Result<Running<'a>> {
    let to = &peer.name;
    Running::start(
        person.first()?,
        Work::Send {
            to,
            batch: BATCH,
            lines,
        },
    )
}

/// The sending, as it is disturbed.
struct Storm<'a> {
    world: &'a mut World,
    ground: &'a Ground,
    /// In the order of [`Client::ALL`].
    clients: [Running<'a>; 4],
    backup: PathBuf,
    /// Numbers without an entry, and the last number that was seen.
    voids: u64,
    end: u64,
    /// Whose logs are measured, with what.
    sender: &'a Person,
    http: Http,
    token: String,
}

impl<'a> Storm<'a> {
    /// Goes on until both senders have ended well; how often clients were started, and what each printed.
    fn weather(
        mut self,
        moments: &[Moment],
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<(u32, Vec<Vec<Message>>)> {
        let mut moments = moments.iter();
        let mut next = moments.next();
        let (mut longest, mut moved) = (0, Instant::now());
        let mut shown = Instant::now();
        loop {
            if let Some(length) = self.log_length()?.filter(|&length| length > longest) {
                (longest, moved) = (length, Instant::now());
            }
            if shown.elapsed() > SHOW_EVERY {
                progress(&format!("{longest} entries"));
                shown = Instant::now();
            }
            ensure!(
                moved.elapsed() < STUCK,
                "stuck at {longest} entries for {STUCK:?}"
            );
            if let Some(moment) = next.filter(|moment| longest >= moment.at) {
                let begin = Instant::now();
                self.strike(moment.strike)
                    .with_context(|| format!("{:?} at {longest} entries", moment.strike))?;
                let (planned, took) = (moment.at, begin.elapsed());
                progress(&format!(
                    "{:?} at {longest} entries (planned at {planned}), over after {took:.1?}",
                    moment.strike
                ));
                (next, moved) = (moments.next(), Instant::now());
            } else if self.all_sent()? {
                let left = moments.count() + usize::from(next.is_some());
                ensure!(left == 0, "all was sent before {left} strikes: use more lines");
                let runs = self.clients.iter().map(Running::runs).sum();
                let heard = self.clients.into_iter().map(Running::finish);
                return Ok((runs, heard.collect::<anyhow::Result<_>>()?));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn strike(&mut self, strike: Strike) -> anyhow::Result<()> {
        match strike {
            Strike::KillServer(outage) => {
                self.world.server.kill_nine()?;
                thread::sleep(outage);
                self.world.server.restart()
            }
            Strike::KillClient(victim) => self.client(victim)?.kill(),
            Strike::Cut(lasts) => {
                self.ground.network.cut()?;
                thread::sleep(lasts);
                self.ground.network.mend()
            }
            Strike::FillDisk => self.fill_disk(),
            Strike::BackUp => afterwards::back_up(&self.world.server, &self.world.program, &self.backup),
        }
    }

    /// Leaves no room until nothing moves. A device is away meanwhile: what nobody has still to collect makes room.
    fn fill_disk(&mut self) -> anyhow::Result<()> {
        self.client(AWAY)?.stop()?;
        let disk = self.ground.disk.as_ref().context("there is a small disk")?;
        disk.fill()?;
        let begin = Instant::now();
        let (mut longest, mut moved) = (0, Instant::now());
        while moved.elapsed() < HALTED {
            if let Some(length) = self.log_length()?.filter(|&length| length > longest) {
                (longest, moved) = (length, Instant::now());
                disk.fill()?;
            }
            ensure!(
                begin.elapsed() < LONGEST_FULL && !self.all_sent()?,
                "a full disk did not stop the server"
            );
            thread::sleep(LOOK_AGAIN);
        }
        disk.free()?;
        self.client(AWAY)?.kill()
    }

    fn client(&mut self, wanted: Client) -> anyhow::Result<&mut Running<'a>> {
        let mut clients = Client::ALL.into_iter().zip(&mut self.clients);
        let found = clients.find(|(client, _)| *client == wanted);
        Ok(found.context("all clients run")?.1)
    }

    fn all_sent(&mut self) -> anyhow::Result<bool> {
        let mut all = true;
        for (client, running) in Client::ALL.into_iter().zip(&mut self.clients) {
            let is_done = running.look()?;
            all &= is_done || matches!(client, Client::Listener(_));
        }
        Ok(all)
    }

    /// Entries in the sender's logs; `None` while the server does not say.
    fn log_length(&mut self) -> anyhow::Result<Option<u64>> {
        let Some(end) = self.log_end()? else {
            return Ok(None);
        };
        let grown = end.saturating_sub(self.end);
        if grown > VOID {
            self.voids += grown;
        }
        self.end = end;
        Ok(Some(end.saturating_sub(self.voids)))
    }

    fn log_end(&mut self) -> anyhow::Result<Option<u64>> {
        let Ok(answer) = self.http.get("/v1/conversations", Some(&self.token)) else {
            return Ok(None);
        };
        match answer.status {
            200 => {
                let page: Conversations = answer.json()?;
                Ok(Some(page.conversations.iter().map(|log| log.head).sum()))
            }
            401 => {
                self.token = Profile::open(self.sender.first()?)?.access_token()?;
                Ok(None)
            }
            429 | 503 | 507 => Ok(None),
            status => bail!("the list of conversations was answered with {status}"),
        }
    }
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
    use crate::seed::Seed;

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
