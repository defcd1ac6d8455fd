//! Pairs of people with a device each, put into the database as `identity` does.

use unhidra_messaging::{Messaging, access::Sender, delivery::Log};
use unhidra_runtime::Clock;
use unhidra_store::{
    Store, StoreError, Tx,
    account::Account,
    device::{Certified, Device},
};
use unhidra_types::{DeviceId, OrgId, Role, SessionId, Timestamp, UserId};
use unhidra_wire::{frame::ListVersion, rest::OpenConversation};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const ORG: OrgId = OrgId::from_bytes([1; 16]);

/// Two people who share a direct conversation and a group.
pub(crate) struct Pair {
    pub(crate) sender: Sender,
    pub(crate) receiver: Sender,
    pub(crate) direct: Log,
    pub(crate) group: Log,
    pub(crate) lists: Vec<ListVersion>,
}

pub(crate) async fn pairs(store: &Store, messaging: &Messaging, count: u8) -> Vec<Pair> {
    let found = store.write(|tx| tx.found_organisation(ORG, NOW));
    found.await.unwrap();
    let mut pairs = Vec::new();
    for number in 0..count {
        pairs.push(pair(store, messaging, number).await);
    }
    pairs
}

async fn pair(store: &Store, messaging: &Messaging, number: u8) -> Pair {
    let [sender, receiver] = [1, 2].map(|side| person(side, number));
    for person in [sender, receiver] {
        let written = store.write(move |tx| enrol(tx, person));
        written.await.unwrap();
    }
    let open = async |request| {
        let (clock, _) = Clock::manual(NOW);
        let opened = messaging.open(sender, request, &clock.context()).await.unwrap();
        let position = messaging.position(sender.user, sender.device, opened.conversation_id);
        Log::from(&position.await.unwrap().unwrap())
    };
    let peer = receiver.user;
    Pair {
        sender,
        receiver,
        direct: open(OpenConversation::Direct { peer }).await,
        group: open(OpenConversation::Group { members: vec![peer] }).await,
        lists: [sender, receiver].map(|person| list(person.user)).to_vec(),
    }
}

fn person(side: u8, number: u8) -> Sender {
    let mut id = [side; 16];
    id[1] = number;
    Sender {
        user: UserId::from_bytes(id),
        device: DeviceId::from_bytes(id),
        session: SessionId::from_bytes(id),
        org: ORG,
        role: Role::Member,
    }
}

fn list(user: UserId) -> ListVersion {
    ListVersion {
        user,
        version: 0,
        head_hash: [3; 32],
    }
}

fn enrol(tx: &mut Tx<'_>, person: Sender) -> Result<(), StoreError> {
    let Sender {
        user, device, org, ..
    } = person;
    let digits = user.to_string().replace('-', "");
    let account = Account {
        user,
        org,
        username: format!("u{}", &digits[..8]).parse().unwrap(),
        role: Role::Member,
        password: String::new(),
        disabled_at: None,
    };
    tx.open_account(&account, NOW)?;
    let ListVersion {
        version, head_hash, ..
    } = list(user);
    tx.extend_chain(user, org, version, &[vec![1]], &head_hash)?;
    tx.keep_device(&Device {
        id: device,
        user,
        org,
        name: "phone".into(),
        certified: Certified {
            capabilities: 0,
            dsk: [0; 32],
            certificate_hash: [0; 32],
            not_before: NOW,
            not_after: NOW,
        },
        created_at: NOW,
        last_seen_at: None,
        revoked_at: None,
    })
}
