//! Users with certified devices, the server's stock of their prekeys, and envelopes between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};

use proptest::test_runner::Config as ProptestConfig;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use unhidra_chain::{
    Bundle, Capabilities, Chain, DeviceCertificate, DeviceIdentity, DeviceKind, Expected, Genesis,
    ListVersion, PqRatchet, Validity, VerifiedBundle,
    direct::direct_conversation,
    prekey::{Generation, KemPrekey, OneTimePrekey},
    record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, x25519::SecretKey};
use unhidra_pair::{
    Address, Content, EkHash, Envelope, Introduction, IntroductionError, Kind, LocalDevice, OpenError,
    Opened, Outgoing, PrekeyPrefix, PrekeyStore, Publisher, Received, SeenEk, SessionSet,
    body::{self, Context, Plaintext},
    prekeys::{PublicPrekeys, StandingPrekeys},
};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// What the devices of a current program can do.
pub(crate) const CURRENT: Capabilities = Capabilities::PQ.with(Capabilities::PQ_RATCHET);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// How much a property test tries: `small` cases, or as many as `UNHIDRA_CASES` says.
pub(crate) fn cases(small: u32) -> ProptestConfig {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a test runs is the choice of who runs it"
    )]
    let wanted = std::env::var("UNHIDRA_CASES");
    let cases = wanted.map_or(small, |cases| cases.parse().unwrap());
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A user, their chain, and whoever holds the key to it.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) uik: SigningKey,
    pub(crate) chain: Chain,
}

/// A device with everything that it stores, and its stock on the server.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) local: LocalDevice,
    pub(crate) dsk: SigningKey,
    pub(crate) capabilities: Capabilities,
    pub(crate) prekeys: PrekeyStore,
    pub(crate) stock: Shelf,
    /// As stored: every step reads and writes bytes.
    pub(crate) sessions: BTreeMap<Address, Vec<u8>>,
    pub(crate) seen: BTreeSet<EkHash>,
    pub(crate) known: BTreeSet<(DeviceId, ConversationId, MsgId)>,
    pub(crate) sent: u64,
}

/// What the server holds of one device.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) generation: Generation,
    pub(crate) standing: StandingPrekeys,
    pub(crate) kem: Vec<KemPrekey>,
    pub(crate) one_time: Vec<OneTimePrekey>,
}

/// An envelope on its way: everything the server states about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) envelope: Envelope,
    pub(crate) sender: Address,
    pub(crate) conversation: ConversationId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) object: Vec<u8>,
}

/// A message that a receiver displays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) msg_id: MsgId,
    pub(crate) text: Vec<u8>,
}

impl Mail {
    pub(crate) fn received(&self) -> Received<'_> {
        Received {
            envelope: self.envelope,
            sender: self.sender,
            conversation: self.conversation,
            bytes: &self.bytes,
        }
    }
}

impl User {
    pub(crate) fn new(rng: &mut ChaCha20Rng) -> Self {
        let id = UserId::from_bytes(random(rng));
        let uik = SigningKey::generate(rng);
        let genesis = Genesis::sign(&uik, id, START, None);
        let chain = Chain::begin(genesis.as_bytes()).unwrap();
        Self { id, uik, chain }
    }

    /// Certifies a new device and fills its shelf.
    pub(crate) fn device(&mut self, capabilities: Capabilities, rng: &mut ChaCha20Rng) -> Device {
        let (dsk, dik) = (SigningKey::generate(rng), SecretKey::generate(rng));
        let subject = Subject {
            device: DeviceId::from_bytes(random(rng)),
            kind: DeviceKind::Human,
            dsk: dsk.verifying_key(),
            dik: *dik.public(),
            capabilities,
        };
        let device = subject.device;
        let validity = Validity::starting(START);
        let certificate = DeviceCertificate::sign(&self.uik, self.id, &self.chain.head(), subject, validity);
        self.chain.append(certificate.as_bytes()).unwrap();
        let local = LocalDevice {
            identity: self.chain.identity(device).unwrap(),
            dik,
            cert_hash: certificate.hash(),
        };
        let publisher = Publisher {
            user: self.id,
            device,
            dsk: &dsk,
            capabilities,
        };
        let new = PrekeyStore::generate(&publisher, START, rng);
        Device {
            local,
            capabilities,
            prekeys: new.store,
            stock: Shelf::new(new.upload),
            dsk,
            sessions: BTreeMap::new(),
            seen: BTreeSet::new(),
            known: BTreeSet::new(),
            sent: 0,
        }
    }
}

impl Shelf {
    pub(crate) fn new(upload: PublicPrekeys) -> Self {
        Self {
            generation: upload.generation,
            standing: upload.standing.unwrap(),
            kem: upload.kem,
            one_time: upload.one_time,
        }
    }
}

impl Device {
    pub(crate) fn address(&self) -> Address {
        Address::from(&self.local.identity)
    }

    pub(crate) fn identity(&self) -> &DeviceIdentity {
        &self.local.identity
    }

    pub(crate) fn publisher(&self) -> Publisher<'_> {
        Publisher {
            user: self.identity().user,
            device: self.identity().device,
            dsk: &self.dsk,
            capabilities: self.capabilities,
        }
    }

    /// What the server hands out: one-time keys while there are some.
    pub(crate) fn bundle(&mut self) -> Bundle {
        Bundle {
            device: self.identity().device,
            certificate_hash: self.local.cert_hash,
            generation: self.stock.generation,
            signed: self.stock.standing.signed.clone(),
            kem: self
                .stock
                .kem
                .pop()
                .or_else(|| self.stock.standing.last_resort.clone()),
            one_time: self.stock.one_time.pop(),
        }
    }

    pub(crate) fn sessions(&self, peer: Address) -> SessionSet {
        match self.sessions.get(&peer) {
            Some(bytes) => SessionSet::from_bytes(bytes).unwrap(),
            None => SessionSet::new(peer),
        }
    }

    pub(crate) fn store(&mut self, sessions: &SessionSet) {
        self.sessions.insert(sessions.peer(), sessions.to_bytes());
    }

    /// Checks a bundle of `peer` as a sender does.
    pub(crate) fn verify(&self, bundle: Bundle, chain: &Chain, now: Timestamp) -> VerifiedBundle {
        let expected = Expected {
            device: bundle.device,
            generation_floor: Generation(0),
            own: self.capabilities,
        };
        bundle.verify(chain, &expected, now).unwrap()
    }

    /// Begins a session with `peer` and stores it.
    pub(crate) fn initiate(&mut self, peer: &mut Self, chain: &Chain, now: Timestamp, rng: &mut ChaCha20Rng) {
        let bundle = self.verify(peer.bundle(), chain, now);
        let sessions = self.sessions(peer.address());
        let sessions = sessions.initiate(&self.local, &bundle, now, rng).unwrap();
        self.store(&sessions);
    }

    pub(crate) fn outgoing(&self, msg_id: MsgId, now: Timestamp) -> Outgoing {
        Outgoing {
            sender: self.address(),
            msg_id,
            sent_at: now,
            own_list: ListVersion(1),
            peer_list: ListVersion(1),
            // Both ends of a conversation in these tests can do the same.
            pq: PqRatchet::between(self.capabilities, self.capabilities),
        }
    }

    /// Seals `text` for `peer` alone. Nothing is stored: the set comes back beside the mail.
    pub(crate) fn seal(
        &self,
        peer: Address,
        text: &[u8],
        now: Timestamp,
        rng: &mut ChaCha20Rng,
    ) -> (SessionSet, Mail) {
        let msg_id = MsgId::from_bytes(random(rng));
        let conversation = direct_conversation(self.identity().user, peer.user);
        let plaintext = Plaintext {
            peer: peer.user,
            cseq: self.sent + 1,
            after: MsgId::NONE,
            content: text.to_vec(),
        };
        let context = Context {
            conversation,
            msg_id,
            sender: self.address(),
        };
        let body = body::seal(&plaintext, &context, rng).unwrap();
        let outgoing = self.outgoing(msg_id, now);
        let sealed = self
            .sessions(peer)
            .seal_capsule(&outgoing, conversation, &body.capsule, now, rng)
            .unwrap();
        let mail = Mail {
            envelope: Envelope {
                kind: sealed.kind,
                dest: peer.device,
                msg_id,
            },
            sender: self.address(),
            conversation,
            bytes: sealed.bytes,
            object: body.object,
        };
        (sealed.sessions, mail)
    }

    /// Seals and stores.
    pub(crate) fn send(&mut self, peer: Address, text: &[u8], now: Timestamp, rng: &mut ChaCha20Rng) -> Mail {
        let (sessions, mail) = self.seal(peer, text, now, rng);
        self.store(&sessions);
        self.sent += 1;
        mail
    }

    /// Opens `mail` as stored, without storing anything and without asking whether it is known.
    pub(crate) fn open(&self, mail: &Mail, chain: &Chain, now: Timestamp) -> Result<Opened, OpenError> {
        let received = mail.received();
        let sessions = self.sessions(mail.sender);
        let introduction = match sessions.introduction_needed(&received)? {
            Some(prefix) => {
                let is_known = self.seen.contains(&prefix.ek_hash());
                let seen = if is_known { SeenEk::Seen } else { SeenEk::New };
                self.introduce(&prefix, chain, seen, now).ok()
            }
            None => None,
        };
        sessions.open(&received, &self.local, introduction.as_ref(), now)
    }

    /// Checks who begins a session.
    pub(crate) fn introduce(
        &self,
        prefix: &PrekeyPrefix,
        chain: &Chain,
        seen: SeenEk,
        now: Timestamp,
    ) -> Result<Introduction<'_>, IntroductionError> {
        Introduction::check(prefix, chain, self.capabilities, seen, &self.prekeys, now)
    }

    /// Opens the body that belongs to what was opened.
    pub(crate) fn read(&self, opened: &Opened, mail: &Mail) -> Result<Shown, OpenError> {
        let Content::Capsule(capsule) = &opened.content else {
            panic!("a text travels in a body");
        };
        let msg_id = mail.envelope.msg_id;
        let context = Context {
            conversation: mail.conversation,
            msg_id,
            sender: mail.sender,
        };
        let plaintext = body::open(capsule, &mail.object, &context, self.identity().user)?;
        Ok(Shown {
            msg_id,
            text: plaintext.content,
        })
    }

    /// The one transaction of a reception.
    pub(crate) fn commit(&mut self, opened: &Opened, mail: &Mail) {
        self.store(&opened.sessions);
        self.known
            .insert((mail.sender.device, mail.conversation, mail.envelope.msg_id));
        if let Some(accepted) = &opened.accepted {
            self.prekeys = self.prekeys.without(&accepted.erase);
            self.seen.insert(accepted.remember.ek);
        }
    }

    /// Receives in the order of the specification; `Ok(None)` for a duplicate.
    pub(crate) fn receive(
        &mut self,
        mail: &Mail,
        chain: &Chain,
        now: Timestamp,
    ) -> Result<Option<Shown>, OpenError> {
        let triple = (mail.sender.device, mail.conversation, mail.envelope.msg_id);
        if self.known.contains(&triple) {
            return Ok(None);
        }
        let opened = self.open(mail, chain, now)?;
        let shown = self.read(&opened, mail)?;
        self.commit(&opened, mail);
        Ok(Some(shown))
    }
}

/// Two users with one device each; index 0 begins unless a test says otherwise.
#[derive(Clone)]
pub(crate) struct Two {
    pub(crate) users: [User; 2],
    pub(crate) devices: [Device; 2],
    pub(crate) now: Timestamp,
    pub(crate) rng: ChaCha20Rng,
}

impl Two {
    /// Both devices have `pq` and `pq_ratchet`. Every seed has the same identities and prekeys, which are slow to make, and randomness
    /// of its own from here on.
    pub(crate) fn new(seed: u64) -> Self {
        static BASE: LazyLock<Two> = LazyLock::new(|| Two::with(CURRENT, 0));
        let mut two = BASE.clone();
        two.rng = rng(seed);
        two
    }

    pub(crate) fn with(capabilities: Capabilities, seed: u64) -> Self {
        let mut rng = rng(seed);
        let mut users = [User::new(&mut rng), User::new(&mut rng)];
        let devices = users.each_mut().map(|user| user.device(capabilities, &mut rng));
        Self {
            users,
            devices,
            now: START,
            rng,
        }
    }

    /// As [`Two::new`], after a first message each way.
    pub(crate) fn acquainted(seed: u64) -> Self {
        let mut two = Self::new(seed);
        for from in [0, 1] {
            let mail = two.send(from, b"hello");
            two.deliver(&mail).unwrap();
        }
        two
    }

    pub(crate) fn initiate(&mut self, from: usize) {
        let [a, b] = &mut self.devices;
        let (own, peer) = if from == 0 { (a, b) } else { (b, a) };
        own.initiate(peer, &self.users[1 - from].chain, self.now, &mut self.rng);
    }

    /// Sends from one device to the other, beginning a session if there is none.
    pub(crate) fn send(&mut self, from: usize, text: &[u8]) -> Mail {
        let peer = self.devices[1 - from].address();
        if self.devices[from].sessions(peer).active().is_none() {
            self.initiate(from);
        }
        self.devices[from].send(peer, text, self.now, &mut self.rng)
    }

    /// The index of the device that `mail` goes to.
    pub(crate) fn dest(&self, mail: &Mail) -> usize {
        usize::from(mail.sender == self.devices[0].address())
    }

    pub(crate) fn open(&self, mail: &Mail) -> Result<Opened, OpenError> {
        let to = self.dest(mail);
        self.devices[to].open(mail, &self.users[1 - to].chain, self.now)
    }

    pub(crate) fn deliver(&mut self, mail: &Mail) -> Result<Option<Shown>, OpenError> {
        let to = self.dest(mail);
        self.devices[to].receive(mail, &self.users[1 - to].chain, self.now)
    }

    /// Sends `text` and delivers it.
    pub(crate) fn exchange(&mut self, from: usize, text: &[u8]) -> Shown {
        let mail = self.send(from, text);
        self.deliver(&mail).unwrap().unwrap()
    }

    /// What the network sees of a mail's post-quantum part: nothing but that it is there.
    pub(crate) fn has_part(mail: &Mail) -> bool {
        ratchet_message(mail).len() == 170 + 1_212
    }

    /// Everything that the device stores about the other.
    pub(crate) fn stored(&self, at: usize) -> Vec<u8> {
        let peer = self.devices[1 - at].address();
        self.devices[at].sessions(peer).to_bytes()
    }
}

pub(crate) fn random(rng: &mut ChaCha20Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// The ratchet message of a mail, without what stands before it in a first message of the hybrid suite.
pub(crate) fn ratchet_message(mail: &Mail) -> &[u8] {
    match mail.envelope.kind {
        Kind::Prekey => &mail.bytes[PrekeyPrefix::HYBRID_BYTES..],
        Kind::Ratchet => &mail.bytes,
    }
}

/// `RK NHKs NHKr DHs` and, behind `DHs.public Ns Nr PN step_due DHr`, both chains: of the active session of a stored set
/// whose prefix is answered.
pub(crate) fn secrets_of_active(set: &[u8]) -> Vec<u8> {
    let prefix = usize::from(u16::from_be_bytes([set[102], set[103]]));
    let ratchet = &set[104 + prefix..];
    let chains = &ratchet[128 + 32 + 12 + 1..];
    assert_eq!(
        (chains[0], chains[33], chains[98]),
        (1, 1, 1),
        "a peer and two chains"
    );
    [&ratchet[..128], &chains[34..98], &chains[99..163]].concat()
}
