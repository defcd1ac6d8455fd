//! The world: devices on stores in memory, queues instead of sockets, time that moves by a millisecond a step.

use std::collections::{BTreeSet, VecDeque};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use unhidra_chain::DeviceKind;
use unhidra_client::{
    Device, Effects, EntryNumber, Message, MessageBody, MessageKey, Notice, Opened, OutboxChange, Progress,
    direct_conversation, store::MemoryStore,
};
use unhidra_types::{ConversationId, DeviceId, MsgId, SessionId, Timestamp, UserId};
use unhidra_wire::{
    content::Content,
    frame::{ClientFrame, ServerFrame, Welcome},
};

use crate::{directory::Directory, log::Logs};

pub(crate) const ALICE: UserId = UserId::from_bytes([0xa0; 16]);
pub(crate) const BOB: UserId = UserId::from_bytes([0xb0; 16]);
/// Alice's two devices and Bob's two, as places in [`World::machines`].
pub(crate) const A1: usize = 0;
pub(crate) const A2: usize = 1;
pub(crate) const B1: usize = 2;
pub(crate) const B2: usize = 3;

/// One device with its medium and its connection.
pub(crate) struct Machine {
    pub(crate) user: UserId,
    pub(crate) store: MemoryStore,
    pub(crate) device: Device<MemoryStore>,
    /// Frames on their way to it; `None` while it is not connected.
    pub(crate) incoming: Option<VecDeque<ServerFrame>>,
    in_flight: BTreeSet<EntryNumber>,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) struct World {
    pub(crate) directory: Directory,
    pub(crate) logs: Logs,
    pub(crate) machines: Vec<Machine>,
    pub(crate) now: Timestamp,
    pub(crate) rng: ChaCha20Rng,
    /// What the server tells every device of it.
    pub(crate) session_age: Option<std::time::Duration>,
    /// Every text ever submitted, with its id.
    pub(crate) submitted: Vec<MsgId>,
}

pub(crate) fn conversation() -> ConversationId {
    direct_conversation(ALICE, BOB)
}

impl World {
    /// Alice and Bob with one certified device each, which are online and idle.
    pub(crate) fn of_two(seed: u64) -> Self {
        let mut world = Self {
            directory: Directory::default(),
            logs: Logs::new(),
            machines: Vec::new(),
            now: Timestamp::from_millis(1_750_000_000_000),
            rng: ChaCha20Rng::seed_from_u64(seed),
            session_age: None,
            submitted: Vec::new(),
        };
        world.found(ALICE, 0xa1);
        world.found(BOB, 0xb1);
        world
    }

    /// Alice and Bob with two devices each, in the order [`A1`], [`A2`], [`B1`], [`B2`].
    pub(crate) fn of_four(seed: u64) -> Self {
        let mut world = Self::of_two(seed);
        world.link(0, 0xa2);
        world.link(1, 0xb2);
        world.machines.swap(1, 2);
        world.settle();
        world
    }

    fn found(&mut self, user: UserId, id: u8) {
        let (store, mut device) = self.blank(user, id);
        let founded = device.found_identity(self.now, &mut self.rng).unwrap();
        let chain = unhidra_chain::Chain::verify(&founded.records).unwrap();
        self.directory.chains.insert(user, chain);
        self.add(user, store, device);
    }

    /// Certifies another device of the user of machine `certifier`; its place is the last.
    pub(crate) fn link(&mut self, certifier: usize, id: u8) -> usize {
        let user = self.machines[certifier].user;
        let (store, mut device) = self.blank(user, id);
        let applicant = device.applicant();
        let subject = unhidra_chain::record::Subject {
            device: applicant.device,
            kind: applicant.kind,
            dsk: applicant.dsk.verifying_key(),
            dik: applicant.dik,
            capabilities: applicant.capabilities,
        };
        let extension = self.machines[certifier]
            .device
            .certify(subject, self.now, &mut self.rng)
            .unwrap();
        let chain = self.directory.chains.get_mut(&user).unwrap();
        assert_eq!(chain.head(), extension.after);
        chain.append(&extension.record).unwrap();
        let genesis = chain.genesis().clone();
        let effects = device.linked(&genesis, self.now, &mut self.rng).unwrap();
        let machine = self.add(user, store, device);
        self.act(machine, effects);
        let head = self.directory.head(user);
        for machine in &mut self.machines {
            if let Some(incoming) = &mut machine.incoming {
                incoming.push_back(ServerFrame::ListChanged(head));
            }
        }
        machine
    }

    fn blank(&mut self, user: UserId, id: u8) -> (MemoryStore, Device<MemoryStore>) {
        let store = MemoryStore::new();
        let device = DeviceId::from_bytes([id; 16]);
        let device = Device::create(store.clone(), user, device, DeviceKind::Human, &mut self.rng).unwrap();
        (store, device)
    }

    fn add(&mut self, user: UserId, store: MemoryStore, device: Device<MemoryStore>) -> usize {
        self.machines.push(Machine {
            user,
            store,
            device,
            incoming: None,
            in_flight: BTreeSet::new(),
            notices: Vec::new(),
        });
        let machine = self.machines.len() - 1;
        self.connect(machine);
        self.run(machine);
        machine
    }

    /// Takes a text into the outbox of a machine, and sends nothing yet.
    pub(crate) fn submit(&mut self, machine: usize, text: &str) -> MsgId {
        let to = if self.machines[machine].user == ALICE {
            BOB
        } else {
            ALICE
        };
        let message = [(MessageKey::Random, Content::Text(text.into()))];
        let now = self.tick();
        let submitted = self.machines[machine]
            .device
            .submit(to, &message, now, &mut self.rng)
            .unwrap();
        self.submitted.extend(&submitted.ids);
        self.act(machine, submitted.effects);
        submitted.ids[0]
    }

    pub(crate) fn connect(&mut self, machine: usize) {
        if self.machines[machine].incoming.is_some() {
            return;
        }
        let Machine { user, device, .. } = &self.machines[machine];
        let (user, id) = (*user, device.id());
        let mut frames = VecDeque::from([ServerFrame::Welcome(Welcome {
            device: id,
            session: SessionId::from_bytes([1; 16]),
            server_time: self.now,
            last_accepted: self.logs.last_accepted.get(&id).copied(),
            own_list: self.directory.head(user),
            stock: self.directory.counts(id),
            session_age: self.session_age,
        })]);
        let control = ConversationId::CONTROL;
        let cursor = self.logs.cursors.get(&(id, control)).copied().unwrap_or(0);
        frames.extend(self.logs.range(control, cursor + 1, u64::MAX, id));
        let logs = self
            .logs
            .members
            .iter()
            .filter(|(_, members)| members.contains(&user));
        for (conversation, _) in logs {
            let cursor = self.logs.cursors.get(&(id, *conversation)).copied().unwrap_or(0);
            frames.extend(self.logs.range(*conversation, cursor + 1, u64::MAX, id));
        }
        frames.push_back(ServerFrame::CaughtUp);
        self.machines[machine].incoming = Some(frames);
    }

    /// Cuts the connection: everything on its way is lost.
    pub(crate) fn disconnect(&mut self, machine: usize) {
        let machine = &mut self.machines[machine];
        machine.incoming = None;
        machine.in_flight.clear();
        machine.device.disconnected();
    }

    /// Kills the process and starts it again from what its store holds.
    pub(crate) fn crash(&mut self, machine: usize) {
        self.disconnect(machine);
        let machine = &mut self.machines[machine];
        let Opened::Device(device) = Device::open(machine.store.clone()).unwrap() else {
            panic!("the store holds a device");
        };
        machine.device = *device;
    }

    /// Sends what the outbox holds.
    pub(crate) fn flush(&mut self, machine: usize) {
        if self.machines[machine].incoming.is_none() {
            return;
        }
        let outgoing = self.machines[machine].device.outgoing(None, 64).unwrap();
        for (number, append) in outgoing {
            if self.machines[machine].in_flight.insert(number) {
                self.serve(machine, ClientFrame::Append(append));
            }
        }
    }

    /// Hands the next `count` frames to a machine in one step, and does what it asks.
    pub(crate) fn deliver(&mut self, machine: usize, count: usize) {
        let effects = self.receive(machine, count);
        self.act(machine, effects);
    }

    /// Like [`World::deliver`], but the process dies before anything that it asks is done.
    pub(crate) fn deliver_and_crash(&mut self, machine: usize, count: usize) {
        let _lost = self.receive(machine, count);
        self.crash(machine);
    }

    fn receive(&mut self, machine: usize, count: usize) -> Effects {
        let now = self.tick();
        let machine = &mut self.machines[machine];
        let Some(incoming) = &mut machine.incoming else {
            return Effects::default();
        };
        let frames = incoming.drain(..count.min(incoming.len()));
        // Through the wire format, as a connection would bring them.
        let frames = frames.map(|frame| ServerFrame::decode(frame.encode()).unwrap().unwrap());
        machine
            .device
            .receive(frames.collect(), now, &mut self.rng)
            .unwrap()
    }

    /// Puts a frame before the next ones, be it late or early.
    pub(crate) fn duplicate(&mut self, machine: usize, seq: u64) {
        if !self.knows_log(machine) {
            return;
        }
        let id = self.machines[machine].device.id();
        let frames = self.logs.range(conversation(), seq, seq, id);
        if let Some(incoming) = &mut self.machines[machine].incoming {
            frames.into_iter().for_each(|frame| incoming.push_front(frame));
        }
    }

    /// Whether a machine has begun with the log. The first frame that it gets says where it begins, and is neither
    /// lost nor overtaken: within a connection the server sends a log in order.
    fn knows_log(&self, machine: usize) -> bool {
        let id = self.machines[machine].device.id();
        self.logs.cursors.contains_key(&(id, conversation()))
    }

    /// Loses the next frame on its way.
    pub(crate) fn lose(&mut self, machine: usize) {
        if !self.knows_log(machine) {
            return;
        }
        let incoming = self.machines[machine].incoming.as_mut();
        let droppable =
            |frame: &ServerFrame| matches!(frame, ServerFrame::Deliver(_) | ServerFrame::Skip { .. });
        if let Some(incoming) = incoming
            && incoming.len() > 1
            && incoming.front().is_some_and(droppable)
            && incoming.get(1).is_some_and(droppable)
        {
            incoming.pop_front();
        }
    }

    /// Does everything for one machine until nothing is left to do.
    pub(crate) fn run(&mut self, machine: usize) {
        for _ in 0..1_000 {
            self.flush(machine);
            let waiting = self.machines[machine].incoming.as_ref().map_or(0, VecDeque::len);
            if waiting == 0 {
                return;
            }
            self.deliver(machine, waiting);
        }
        panic!("machine {machine} does not come to rest");
    }

    /// Connects everyone and runs until nothing moves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1_000 {
            for machine in 0..self.machines.len() {
                self.connect(machine);
                self.run(machine);
            }
            let at_rest = |machine: &Machine| machine.incoming.as_ref().is_some_and(VecDeque::is_empty);
            if self.machines.iter().all(at_rest) {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Does what a step asked for, as far as the connection allows.
    pub(crate) fn act(&mut self, machine: usize, effects: Effects) {
        let mut pending = effects;
        for _ in 0..1_000 {
            let effects = std::mem::take(&mut pending);
            self.machines[machine].notices.extend(effects.notices);
            if self.machines[machine].incoming.is_none() {
                return;
            }
            for answer in effects.answered {
                self.machines[machine].in_flight.remove(&answer.entry);
            }
            for frame in effects.frames {
                self.serve(machine, frame);
            }
            for need in effects.needs {
                let met = self.meet(machine, need);
                pending.merge(met);
            }
            if effects.more {
                let more = self.machines[machine]
                    .device
                    .advance(self.now, &mut self.rng)
                    .unwrap();
                pending.merge(more);
            }
            if effects.outbox != OutboxChange::None {
                self.flush(machine);
            }
            if pending == Effects::default() {
                return;
            }
        }
        panic!("machine {machine} asks without end");
    }

    /// Does what the server does with a frame.
    fn serve(&mut self, machine: usize, frame: ClientFrame) {
        let frame = ClientFrame::decode(frame.encode()).unwrap();
        let (user, id) = (self.machines[machine].user, self.machines[machine].device.id());
        match frame {
            ClientFrame::Append(append) => {
                let (conversation, dest) = (append.conversation, append.dest);
                let (answer, new) = self.logs.append(&self.directory, user, id, append, self.now);
                self.push(machine, answer);
                let Some(seq) = new else { return };
                if conversation == ConversationId::CONTROL {
                    let hears = |machine: &Machine| Some(machine.device.id()) == dest;
                    for machine in 0..self.machines.len() {
                        if hears(&self.machines[machine]) {
                            let id = self.machines[machine].device.id();
                            let frame = self.logs.frame(conversation, seq, id);
                            self.push(machine, frame);
                        }
                    }
                    return;
                }
                let members = self.logs.members[&conversation];
                for machine in 0..self.machines.len() {
                    if members.contains(&self.machines[machine].user) {
                        let id = self.machines[machine].device.id();
                        let frame = self.logs.frame(conversation, seq, id);
                        self.push(machine, frame);
                    }
                }
            }
            ClientFrame::Acknowledge { conversation, seq } => {
                // No further than what there is, as no server sends what it has not.
                let seq = seq.min(self.logs.head(conversation, id));
                let cursor = self.logs.cursors.entry((id, conversation)).or_insert(0);
                *cursor = seq.max(*cursor);
            }
            ClientFrame::Fetch {
                conversation,
                from,
                to,
            } => {
                for frame in self.logs.range(conversation, from, to, id) {
                    self.push(machine, frame);
                }
            }
        }
    }

    fn push(&mut self, machine: usize, frame: ServerFrame) {
        if let Some(incoming) = &mut self.machines[machine].incoming {
            incoming.push_back(frame);
        }
    }

    /// Like [`World::settle`], with time for what is collected before it is asked.
    pub(crate) fn settle_in_time(&mut self) {
        for _ in 0..4 {
            self.settle();
            for machine in 0..self.machines.len() {
                self.idle(machine, std::time::Duration::from_secs(6));
            }
        }
        self.settle();
    }

    /// Lets time pass on a machine that is otherwise idle.
    pub(crate) fn idle(&mut self, machine: usize, pause: std::time::Duration) {
        self.now = self.now.saturating_add(pause);
        let effects = self.machines[machine]
            .device
            .idle(self.now, &mut self.rng)
            .unwrap();
        self.act(machine, effects);
    }

    /// Sets the device of a machine back to a copy of its store, and starts it again.
    pub(crate) fn set_back(&mut self, machine: usize, copy: &MemoryStore) {
        self.machines[machine].store = copy.snapshot();
        self.crash(machine);
    }

    /// Hands a frame to a machine that no honest server would.
    pub(crate) fn inject(&mut self, machine: usize, frame: ServerFrame) {
        self.push(machine, frame);
        self.deliver(machine, usize::MAX);
    }

    pub(crate) fn waiting(&mut self, machine: usize) -> Vec<unhidra_client::waiting::Waiting> {
        self.machines[machine].device.waiting().unwrap()
    }

    pub(crate) fn suspected(&mut self, machine: usize, reason: unhidra_client::security::Suspicion) -> u64 {
        let counted = self.machines[machine].device.suspicions().unwrap();
        let found = counted.iter().find(|(of, _)| *of == reason);
        found.map_or(0, |(_, count)| *count)
    }

    pub(crate) fn tick(&mut self) -> Timestamp {
        self.now = self.now.saturating_add(std::time::Duration::from_millis(1));
        self.now
    }

    pub(crate) fn messages(&mut self, machine: usize) -> Vec<Message> {
        self.machines[machine]
            .device
            .messages_after(conversation(), 0, usize::MAX)
            .unwrap()
    }

    pub(crate) fn texts(&mut self, machine: usize) -> Vec<String> {
        let text = |message: Message| match message.body {
            MessageBody::Text(text) => text,
            MessageBody::Unsupported(_) => "?".into(),
        };
        self.messages(machine).into_iter().map(text).collect()
    }

    pub(crate) fn progress(&mut self, machine: usize, msg_id: MsgId) -> Progress {
        let device = &mut self.machines[machine].device;
        device.progress(conversation(), msg_id).unwrap().progress
    }
}
