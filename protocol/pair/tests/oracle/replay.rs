//! Every step of a trace, done by this crate and compared.

use unhidra_chain::{
    Bundle, Chain, Expected, ListVersion, PqRatchet,
    prekey::{Generation, KemKind},
};
use unhidra_crypto::hash::sha256;
use unhidra_pair::{
    Content, Envelope, Introduction, OpenError, Opened, Outgoing, Received, SealedBody, SeenEk, SessionSet,
    body::{self, Capsule, Context, Plaintext},
};
use unhidra_types::{
    ConversationId, DeviceId, MsgId, Secret, Timestamp, UserId, limits::MAX_SEEN_EPHEMERAL_KEYS,
};

use crate::{
    refusal::{bad_bundle, initiate_error, introduction_error, open_error, seal_error},
    trace::{Feed, Step, Trace, hex, shown, to_hex},
    world::{Body, Message, World, sends, time},
};

/// Where the two implementations part.
pub(crate) struct Difference(String);

impl Difference {
    pub(crate) fn unless(what: &str, ours: String, theirs: &str) -> Result<(), Self> {
        if ours == theirs {
            return Ok(());
        }
        Err(Self(format!("{what}: here {ours}, in the trace {theirs}")))
    }
}

/// The value `key` of the step is these bytes.
pub(crate) fn same(step: &Step<'_>, key: &str, ours: &[u8]) -> Result<(), Difference> {
    Difference::unless(key, shown(ours, step.text(key)), step.text(key))
}

/// Replays all steps; the first difference ends it.
pub(crate) fn run(trace: &Trace) -> Result<(), String> {
    let mut world = World::default();
    for number in 0..trace.steps.len() {
        let step = Step::of(trace, number);
        world
            .act(&step)
            .map_err(|Difference(what)| format!("{} step {number}, {}: {what}", trace.name, step.facts))?;
    }
    Ok(())
}

impl World {
    fn act(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        match step.text("op") {
            "user" => self.user(step),
            "certify" => self.certify(step),
            "revoke" => self.revoke(step),
            "stock" => self.stock(step),
            "bundle" => self.bundle(step),
            "derived" => self.derived(step),
            "chain" => chain(step),
            "begin" => self.begin(step),
            "body" => self.body(step),
            "seal" => self.seal(step),
            "open" => self.open(step),
            "inject" => {
                self.inject(step);
                Ok(())
            }
            "erase" => {
                self.erase(step);
                Ok(())
            }
            "retire" => {
                let set = self
                    .set(step.text("by"), step.text("peer"))
                    .archive_all(time(step));
                self.store(step.text("by"), set);
                Ok(())
            }
            other => Err(Difference(format!("unknown step {other}"))),
        }
    }

    fn set(&self, by: &str, peer: &str) -> SessionSet {
        let peer = self.address(peer);
        self.devices[by]
            .sets
            .get(&peer)
            .cloned()
            .unwrap_or_else(|| SessionSet::new(peer))
    }

    /// Through its stored form, as a client keeps it.
    fn store(&mut self, by: &str, set: SessionSet) {
        let set = SessionSet::from_bytes(&set.to_bytes()).unwrap();
        self.devices.get_mut(by).unwrap().sets.insert(set.peer(), set);
    }

    fn begin(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let (from, to) = (step.text("from"), step.text("to"));
        let mut bytes = self.bundles[step.index("bundle")].clone();
        if step.has("change") {
            let change = hex(step.facts["change"][1].as_str().unwrap());
            let at = usize::try_from(step.facts["change"][0].as_u64().unwrap()).unwrap();
            bytes[at..at + change.len()].copy_from_slice(&change);
        }
        let expected = Expected {
            device: self.devices[to].id,
            generation_floor: Generation(step.number("highest")),
            own: self.capabilities(from),
        };
        let chain = self.chain(&self.devices[to].user);
        let mut feed = step.feed("");
        let begun = Bundle::parse(&bytes)
            .map_err(|_| "Malformed")
            .and_then(|bundle| bundle.verify(&chain, &expected, time(step)).map_err(bad_bundle))
            .and_then(|bundle| {
                let suite = u64::from(bundle.suite().to_u16());
                self.set(from, to)
                    .initiate(&self.local(from), &bundle, time(step), &mut feed)
                    .map(|set| (suite, set))
                    .map_err(initiate_error)
            });
        match begun {
            Err(error) => Difference::unless("error", error.into(), step.text("error")),
            Ok((suite, set)) => {
                Difference::unless("error", String::new(), step.text("error"))?;
                Difference::unless("suite", suite.to_string(), &step.number("suite").to_string())?;
                Difference::unless("session", sends(&set), step.text("session"))?;
                Difference::unless("drawn", feed.is_spent().to_string(), "true")?;
                self.store(from, set);
                Ok(())
            }
        }
    }

    fn body(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let sender = self.address(step.text("from"));
        let peer = match step.text("peer") {
            "" => self.address(step.text("to")).user,
            peer => UserId::from_bytes(hex(peer).try_into().unwrap()),
        };
        let conversation = match step.text("conv") {
            "" => unhidra_chain::direct::direct_conversation(sender.user, peer),
            conv => ConversationId::from_bytes(hex(conv).try_into().unwrap()),
        };
        let msg_id = match step.text("msg_id") {
            "" => step.random("msg_id"),
            id => hex(id).try_into().unwrap(),
        };
        let after = match step.has("after") {
            true => self.messages[step.index("after")].msg_id,
            false => MsgId::NONE,
        };
        let context = Context {
            conversation,
            msg_id: MsgId::from_bytes(msg_id),
            sender,
        };
        let plaintext = Plaintext {
            peer,
            cseq: step.number("cseq"),
            after,
            content: step.bytes("content"),
        };
        let sealed = if step.has("padded") {
            broken_body(step)
        } else {
            let mut feed = step.feed("msg_id body_key");
            let sealed =
                body::seal(&plaintext, &context, &mut feed).map_err(|error| Difference(error.to_string()))?;
            same(step, "body", &sealed.object)?;
            sealed
        };
        self.bodies.push(Body {
            sealed,
            conversation,
            msg_id: context.msg_id,
            content: plaintext.content,
            cseq: plaintext.cseq,
        });
        Ok(())
    }

    fn seal(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let repeat = if step.has("repeat") {
            step.number("repeat")
        } else {
            1
        };
        let mut bytes = Vec::new();
        for i in 0..repeat {
            let feed = if step.has("repeat") {
                step.feed_repeated(i)
            } else {
                step.feed("header_nonce")
            };
            match self.seal_one(step, feed) {
                Ok(sealed) => bytes.extend(sealed),
                Err(Some(difference)) => return Err(difference),
                Err(None) => return Ok(()),
            }
        }
        Difference::unless(
            "length",
            bytes.len().to_string(),
            &step.number("length").to_string(),
        )?;
        same(step, "message", &bytes)
    }

    /// One message; nothing when it is refused as in the trace.
    fn seal_one(&mut self, step: &Step<'_>, mut feed: Feed) -> Result<Vec<u8>, Option<Difference>> {
        let (from, to) = (step.text("from"), step.text("to"));
        let list = |at: usize| {
            step.facts["lists"][at]
                .as_u64()
                .map_or(1, |list| u32::try_from(list).unwrap())
        };
        let body = step.has("body").then(|| &self.bodies[step.index("body")]);
        let outgoing = Outgoing {
            sender: self.address(from),
            msg_id: body.map_or_else(|| MsgId::from_bytes(step.random("msg_id")), |body| body.msg_id),
            sent_at: if step.has("sent_at") {
                Timestamp::from_millis(step.number("sent_at"))
            } else {
                time(step)
            },
            own_list: ListVersion(list(0)),
            peer_list: ListVersion(list(1)),
            pq: self.pq_ratchet(from, to),
        };
        let rides = (outgoing.pq == PqRatchet::Kept).to_string();
        Difference::unless("rides", rides, if step.has("rides") { "true" } else { "false" }).map_err(Some)?;
        let set = self.set(from, to);
        let (conversation, sealed) = match body {
            Some(body) => (
                body.conversation,
                set.seal_capsule(
                    &outgoing,
                    body.conversation,
                    &body.sealed.capsule,
                    time(step),
                    &mut feed,
                ),
            ),
            None => (
                ConversationId::CONTROL,
                set.seal_control(&outgoing, &step.bytes("control"), time(step), &mut feed),
            ),
        };
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                let error = Difference::unless("error", seal_error(error).into(), step.text("error"));
                return Err(error.err());
            }
        };
        Difference::unless("error", String::new(), step.text("error")).map_err(Some)?;
        Difference::unless("drawn", feed.is_spent().to_string(), "true").map_err(Some)?;
        self.messages.push(Message {
            from: from.into(),
            to: to.into(),
            conversation,
            msg_id: outgoing.msg_id,
            kind: sealed.kind.to_byte(),
            bytes: sealed.bytes.clone(),
            body: step.has("body").then(|| step.index("body")),
            control: step.bytes("control"),
            facts: Some((outgoing.sent_at, list(0), list(1))),
        });
        if step.has("repeat") {
            self.devices
                .get_mut(from)
                .unwrap()
                .sets
                .insert(sealed.sessions.peer(), sealed.sessions);
        } else {
            self.store(from, sealed.sessions);
        }
        Ok(sealed.bytes)
    }

    fn inject(&mut self, step: &Step<'_>) {
        self.messages.push(Message {
            from: step.text("from").into(),
            to: step.text("to").into(),
            conversation: ConversationId::from_bytes(step.array("conv")),
            msg_id: MsgId::from_bytes(step.array("msg_id")),
            kind: step.number("kind").try_into().unwrap(),
            bytes: step.bytes("message"),
            body: step.has("body").then(|| step.index("body")),
            control: Vec::new(),
            facts: None,
        });
    }

    fn open(&mut self, step: &Step<'_>) -> Result<(), Difference> {
        let arrival = Arrival::of(self, step);
        match self.receive(step, &arrival) {
            Err(error) => {
                if let OpenError::SkipTooFar(session) = error.0 {
                    let set = self
                        .set(&arrival.by, &arrival.sender)
                        .archive(session, time(step));
                    self.store(&arrival.by, set);
                }
                Difference::unless("error", error.1.into(), step.text("error"))
            }
            Ok(opened) => {
                Difference::unless("error", String::new(), step.text("error"))?;
                Difference::unless("sends", sends(&opened.sessions), step.text("sends"))?;
                let accepted = opened.accepted.as_ref();
                let last_resort = accepted.is_some_and(|accepted| accepted.kem == Some(KemKind::LastResort));
                Difference::unless(
                    "began",
                    accepted.is_some().to_string(),
                    &step.has("began").to_string(),
                )?;
                Difference::unless(
                    "last resort",
                    last_resort.to_string(),
                    &step.has("last_resort").to_string(),
                )?;
                self.compare_facts(step, &opened)?;
                self.take(&arrival.by, opened);
                Ok(())
            }
        }
    }

    fn compare_facts(&self, step: &Step<'_>, opened: &Opened) -> Result<(), Difference> {
        let message = &self.messages[step.index("message")];
        let Some((sent_at, own_list, peer_list)) = message.facts else {
            return Ok(());
        };
        let ours = format!("{} {} {}", opened.sent_at, opened.own_list.0, opened.peer_list.0);
        Difference::unless("header", ours, &format!("{sent_at} {own_list} {peer_list}"))?;
        match &opened.content {
            Content::Control(content) => {
                Difference::unless("control", to_hex(content), &to_hex(&message.control))
            }
            Content::Capsule(_) => Ok(()),
        }
    }

    fn take(&mut self, by: &str, opened: Opened) {
        let device = self.devices.get_mut(by).unwrap();
        if let Some(accepted) = &opened.accepted {
            device.prekeys = device.prekeys.without(&accepted.erase);
            device.seen.insert(accepted.remember.ek, accepted.remember.spk);
        }
        self.store(by, opened.sessions);
    }

    /// The order of checks of a client, up to the plaintext of the body.
    fn receive(&self, step: &Step<'_>, arrival: &Arrival) -> Result<Opened, (OpenError, &'static str)> {
        let own = |error: OpenError| (error, open_error(error));
        let envelope = Envelope::check(
            arrival.version,
            arrival.kind,
            arrival.flags,
            arrival.dest,
            arrival.msg_id,
        )
        .map_err(own)?;
        let received = Received {
            envelope,
            sender: self.address(&arrival.sender),
            conversation: arrival.conversation,
            bytes: &arrival.bytes,
        };
        let (set, me) = (self.set(&arrival.by, &arrival.sender), self.local(&arrival.by));
        let prefix = set.introduction_needed(&received).map_err(own)?;
        let chain = Chain::verify(&arrival.records).unwrap();
        let device = &self.devices[&arrival.by];
        let introduction = match prefix.filter(|prefix| prefix.initiator == received.sender) {
            None => None,
            Some(prefix) => {
                let seen = match device.seen.len() {
                    _ if device.seen.contains_key(&prefix.ek_hash()) => SeenEk::Seen,
                    MAX_SEEN_EPHEMERAL_KEYS.. => SeenEk::Full,
                    _ => SeenEk::New,
                };
                let own = self.capabilities(&arrival.by);
                let checked = Introduction::check(&prefix, &chain, own, seen, &device.prekeys, time(step));
                Some(checked.map_err(|error| (OpenError::NoSession, introduction_error(error)))?)
            }
        };
        let opened = set
            .open(&received, &me, introduction.as_ref(), time(step))
            .map_err(own)?;
        if let Content::Capsule(capsule) = &opened.content {
            let context = Context {
                conversation: arrival.conversation,
                msg_id: arrival.msg_id,
                sender: received.sender,
            };
            let plaintext = body::open(capsule, &arrival.body, &context, me.identity.user).map_err(own)?;
            let body = &self.bodies[self.messages[step.index("message")].body.unwrap()];
            assert_eq!(
                (plaintext.content, plaintext.cseq),
                (body.content.clone(), body.cseq)
            );
        }
        Ok(opened)
    }
}

/// A message on its way in, with what the trace alters.
struct Arrival {
    by: String,
    sender: String,
    records: Vec<Vec<u8>>,
    conversation: ConversationId,
    msg_id: MsgId,
    version: u8,
    kind: u8,
    flags: u16,
    dest: DeviceId,
    bytes: Vec<u8>,
    body: Vec<u8>,
}

impl Arrival {
    fn of(world: &World, step: &Step<'_>) -> Self {
        let message = &world.messages[step.index("message")];
        let said = &step.facts["said"];
        let name = |key: &str, honest: &str| said[key].as_str().unwrap_or(honest).to_owned();
        let id = |key: &str| {
            said[key]
                .as_str()
                .map(|text| <[u8; 16]>::try_from(hex(text)).unwrap())
        };
        let (by, sender) = (name("by", &message.to), name("sender", &message.from));
        let records = &world.users[&world.devices[&message.from].user].records;
        let held = if step.has("records") {
            step.index("records")
        } else {
            records.len()
        };
        let body = if step.has("body") {
            Some(step.index("body"))
        } else {
            message.body
        };
        let mut bytes = message.bytes.clone();
        let mut object = body.map_or_else(Vec::new, |body| world.bodies[body].sealed.object.clone());
        if step.has("cut") {
            bytes.truncate(step.index("cut"));
        }
        for (key, target) in [("flip", &mut bytes), ("flip_body", &mut object)] {
            if step.has(key) {
                target[step.index(key) / 8] ^= 1 << (step.index(key) % 8);
            }
        }
        Self {
            dest: id("dest").map_or(world.devices[&by].id, DeviceId::from_bytes),
            by,
            sender,
            records: records[..held].to_vec(),
            conversation: id("conv").map_or(message.conversation, ConversationId::from_bytes),
            msg_id: id("msg").map_or(message.msg_id, MsgId::from_bytes),
            version: said["version"]
                .as_u64()
                .map_or(1, |version| version.try_into().unwrap()),
            kind: said["kind"]
                .as_u64()
                .map_or(message.kind, |kind| kind.try_into().unwrap()),
            flags: said["flags"]
                .as_u64()
                .map_or(0, |flags| flags.try_into().unwrap()),
            bytes,
            body: object,
        }
    }
}

fn chain(step: &Step<'_>) -> Result<(), Difference> {
    let records: Vec<Vec<u8>> = step.facts["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| hex(record.as_str().unwrap()))
        .collect();
    let valid = Chain::verify(&records).is_ok();
    Difference::unless("valid", valid.to_string(), &step.facts["valid"].to_string())
}

/// A body that this crate does not make: the trace has it in full.
fn broken_body(step: &Step<'_>) -> SealedBody {
    let object = step.bytes("body");
    SealedBody {
        capsule: Capsule {
            key: Secret::new(step.random("body_key")),
            hash: sha256(&[&object]),
        },
        object,
    }
}
