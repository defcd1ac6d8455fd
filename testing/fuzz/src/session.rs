//! Two devices and a script. Every byte of it is an act; whatever it does, a message opens at most once and unaltered, and
//! what was altered does not open. (What stands before a first message may be: docs/protocol/handshake.md.)

use std::time::Duration;

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{SeedableRng as _, TryCryptoRng, TryRng},
};
use unhidra_chain::{
    Bundle, Capabilities, Chain, DeviceCertificate, DeviceKind, Expected, Genesis, ListVersion, PqRatchet,
    Validity, direct::direct_conversation, prekey::Generation, record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, hash::sha256, x25519::SecretKey};
use unhidra_pair::{
    Address, Capsule, Content, Envelope, Introduction, Kind, LocalDevice, OpenError, Outgoing, PrekeyPrefix,
    PrekeyStore, Publisher, Received, SeenEk, SessionSet,
};
use unhidra_types::{DeviceId, MsgId, Secret, Timestamp, UserId};

/// A generator from a small seed.
#[derive(Clone)]
pub struct Dice(ChaCha20Rng);

impl Dice {
    /// The generator of this seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let Ok(()) = self.try_fill_bytes(&mut bytes);
        bytes
    }
}

impl TryRng for Dice {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        self.0.try_fill_bytes(target)
    }
}

impl TryCryptoRng for Dice {}

#[derive(Clone)]
struct Party {
    local: LocalDevice,
    chain: Chain,
    prekeys: PrekeyStore,
    bundle: Bundle,
    set: SessionSet,
    seen: Vec<unhidra_pair::EkHash>,
}

#[derive(Clone)]
struct Mail {
    to: usize,
    kind: Kind,
    msg_id: MsgId,
    bytes: Vec<u8>,
    capsule: Capsule,
    opened: bool,
}

/// Acts of the script: see the arms.
pub fn script(data: &[u8]) {
    drop(play(data));
}

fn play(data: &[u8]) -> World {
    // Their keys take longer to make than a script to play.
    thread_local! {
        static BEGIN: World = World::new();
    }
    let mut world = BEGIN.with(World::clone);
    let mut acts = data.iter().copied();
    for _ in 0..MAX_ACTS {
        let Some(act) = acts.next() else { break };
        let mut operand = || acts.next().map_or(0, usize::from);
        match act % 9 {
            0 => world.seal(0),
            1 => world.seal(1),
            2 | 3 => world.deliver(operand(), None),
            4 => {
                let (mail, bit) = (operand(), operand() * 251 + operand());
                world.deliver(mail, Some(bit));
            }
            5 => world.begin(operand() % 2),
            6 => world.restore(operand() % 2),
            7 => world.pass(operand()),
            _ => world.forget(operand()),
        }
    }
    world
}

/// Beyond this an input says nothing new, and takes long.
const MAX_ACTS: usize = 256;
const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

#[derive(Clone)]
struct World {
    parties: [Party; 2],
    mail: Vec<Mail>,
    now: Timestamp,
    dice: Dice,
}

impl World {
    fn new() -> Self {
        let mut dice = Dice::of(1);
        let mut parties = [party(1, &mut dice), party(2, &mut dice)];
        let addresses =
            [0, 1].map(|at: usize| parties.get(at).map(|party| Address::from(&party.local.identity)));
        for (party, peer) in parties.iter_mut().zip(addresses.into_iter().rev().flatten()) {
            party.set = SessionSet::new(peer);
        }
        let mut world = Self {
            parties,
            mail: Vec::new(),
            now: START,
            dice,
        };
        world.begin(0);
        world
    }

    /// The party `at` and the other one.
    fn ends(&mut self, at: usize) -> (&mut Party, &mut Party) {
        let [one, other] = &mut self.parties;
        if at == 0 { (one, other) } else { (other, one) }
    }

    fn begin(&mut self, at: usize) {
        let now = self.now;
        let mut dice = Dice::of(u64::from_le_bytes(self.dice.array()));
        let (me, peer) = self.ends(at);
        let expected = Expected {
            device: peer.local.identity.device,
            generation_floor: Generation(0),
            own: CAPABILITIES,
        };
        // Only a date can be wrong with it.
        let Ok(bundle) = peer.bundle.clone().verify(&peer.chain, &expected, now) else {
            return;
        };
        me.set = me
            .set
            .initiate(&me.local, &bundle, now, &mut dice)
            .unwrap_or_else(|error| panic!("{error}"));
    }

    fn seal(&mut self, at: usize) {
        let (now, msg_id) = (self.now, MsgId::from_bytes(self.dice.array()));
        let capsule = Capsule {
            key: Secret::new(self.dice.array()),
            hash: sha256(&[msg_id.as_bytes()]),
        };
        let mut dice = Dice::of(u64::from_le_bytes(self.dice.array()));
        let (me, peer) = self.ends(at);
        let outgoing = Outgoing {
            sender: Address::from(&me.local.identity),
            msg_id,
            sent_at: now,
            own_list: ListVersion(1),
            peer_list: ListVersion(1),
            pq: PqRatchet::Kept,
        };
        let conversation = direct_conversation(outgoing.sender.user, peer.local.identity.user);
        // No session to send in, or one that has gone without an epoch for too long.
        let Ok(sealed) = me
            .set
            .seal_capsule(&outgoing, conversation, &capsule, now, &mut dice)
        else {
            return;
        };
        me.set = sealed.sessions;
        self.mail.push(Mail {
            to: 1 - at,
            kind: sealed.kind,
            msg_id,
            bytes: sealed.bytes,
            capsule,
            opened: false,
        });
    }

    /// A message, perhaps once more, perhaps with a turned bit.
    fn deliver(&mut self, index: usize, bit: Option<usize>) {
        let now = self.now;
        let Some(at) = index.checked_rem(self.mail.len()) else {
            return;
        };
        let mut mail = self.mail.swap_remove(at);
        let mut bytes = mail.bytes.clone();
        let mut is_in_prefix = false;
        if let Some(bit) = bit {
            let place = bit / 8 % bytes.len();
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << (bit % 8);
            }
            is_in_prefix = mail.kind == Kind::Prekey && place < PrekeyPrefix::HYBRID_BYTES;
        }
        let (me, peer) = self.ends(mail.to);
        let before = me.set.to_bytes();
        match open(me, peer, &mail, &bytes, now) {
            Ok(content) => {
                // Where the session is known already, only the ephemeral key and the suite are read again.
                assert!(bit.is_none() || is_in_prefix, "an altered message opens");
                assert!(!mail.opened, "a message opens twice");
                assert_eq!(content, Content::Capsule(mail.capsule.clone()));
                mail.opened = true;
            }
            Err(error) => {
                assert!(
                    bit.is_some() || error != OpenError::BadTag,
                    "an honest message is altered"
                );
                assert_eq!(me.set.to_bytes(), before, "a refusal changes the sessions");
                if let OpenError::SkipTooFar(session) = error {
                    me.set = me.set.archive(session, now);
                }
            }
        }
        self.mail.push(mail);
    }

    /// Stored and loaded again.
    fn restore(&mut self, at: usize) {
        let (me, _) = self.ends(at);
        let bytes = me.set.to_bytes();
        me.set = SessionSet::from_bytes(&bytes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(me.set.to_bytes(), bytes);
    }

    fn pass(&mut self, operand: usize) {
        let hours = u64::try_from(operand).unwrap_or(0) / 8;
        self.now = self.now.saturating_add(Duration::from_secs(hours * 3_600));
        for party in &mut self.parties {
            party.set = party.set.expire(self.now);
        }
    }

    fn forget(&mut self, index: usize) {
        if let Some(at) = index.checked_rem(self.mail.len()) {
            self.mail.swap_remove(at);
        }
    }
}

fn open(
    me: &mut Party,
    peer: &Party,
    mail: &Mail,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Content, OpenError> {
    let sender = Address::from(&peer.local.identity);
    let received = Received {
        envelope: Envelope {
            kind: mail.kind,
            dest: me.local.identity.device,
            msg_id: mail.msg_id,
        },
        sender,
        conversation: direct_conversation(sender.user, me.local.identity.user),
        bytes,
    };
    let prefix = me.set.introduction_needed(&received)?;
    let introduction = prefix.and_then(|prefix| {
        let seen = if me.seen.contains(&prefix.ek_hash()) {
            SeenEk::Seen
        } else {
            SeenEk::New
        };
        Introduction::check(&prefix, &peer.chain, CAPABILITIES, seen, &me.prekeys, now).ok()
    });
    let opened = me.set.open(&received, &me.local, introduction.as_ref(), now)?;
    if let Some(accepted) = opened.accepted {
        me.seen.push(accepted.remember.ek);
        me.prekeys = me.prekeys.without(&accepted.erase);
    }
    me.set = opened.sessions;
    Ok(opened.content)
}

const CAPABILITIES: Capabilities = Capabilities::PQ.with(Capabilities::PQ_RATCHET);

fn party(number: u8, dice: &mut Dice) -> Party {
    let (uik, dsk) = (SigningKey::generate(dice), SigningKey::generate(dice));
    let dik = SecretKey::generate(dice);
    let (user, device) = (
        UserId::from_bytes([number; 16]),
        DeviceId::from_bytes([number + 10; 16]),
    );
    let genesis = Genesis::sign(&uik, user, START, None);
    let mut chain = Chain::begin(genesis.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let subject = Subject {
        device,
        kind: DeviceKind::Human,
        dsk: dsk.verifying_key(),
        dik: *dik.public(),
        capabilities: CAPABILITIES,
    };
    let certificate = DeviceCertificate::sign(&uik, user, &chain.head(), subject, Validity::starting(START));
    chain
        .append(certificate.as_bytes())
        .unwrap_or_else(|error| panic!("{error}"));
    let publisher = Publisher {
        user,
        device,
        dsk: &dsk,
        capabilities: CAPABILITIES,
    };
    let made = PrekeyStore::generate(&publisher, START, dice);
    let standing = made.upload.standing.unwrap_or_else(|| panic!("a whole set"));
    let bundle = Bundle {
        device,
        certificate_hash: certificate.hash(),
        generation: made.upload.generation,
        signed: standing.signed,
        kem: standing.last_resort,
        one_time: None,
    };
    let local = LocalDevice {
        identity: certificate.identity(chain.uik()),
        dik,
        cert_hash: certificate.hash(),
    };
    Party {
        set: SessionSet::new(Address::from(&local.identity)),
        local,
        chain,
        prekeys: made.store,
        bundle,
        seen: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutations of it go through post-quantum steps, which no short script reaches.
    #[test]
    fn an_input_of_the_corpus_goes_through_two_epochs() {
        let world = play(include_bytes!("../../../fuzz/corpus/session/epochs"));
        assert_eq!(
            world.parties.each_ref().map(|party| party.set.epoch()),
            [Some(2); 2]
        );
        assert!(world.mail.iter().all(|mail| mail.opened));
    }
}
