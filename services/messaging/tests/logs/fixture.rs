//! A database with users and devices on it, put there as `identity` does.

use std::sync::Arc;

use bytes::Bytes;
use unhidra_messaging::{
    Messaging,
    access::Sender,
    append::AppendError,
    delivery::{Log, Page},
};
use unhidra_runtime::{Clock, Context};
use unhidra_store::{
    CommitFeed, Store, StoreError, Tx,
    account::Account,
    backup::Restoration,
    conversation::Conversation,
    device::{Certified, Device},
    entry::{PageLimit, Place, StoredEntry},
};
use unhidra_types::{ConversationId, DeviceId, MsgId, OrgId, Role, SessionId, Timestamp, UserId};
use unhidra_wire::{
    frame::{Append, Capsule, CapsuleKind, ListVersion, Refusal, ServerFrame},
    rest::OpenConversation,
};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
pub(crate) const HOME: OrgId = OrgId::from_bytes([1; 16]);
pub(crate) const AWAY: OrgId = OrgId::from_bytes([2; 16]);

/// The service, and the database below it.
pub(crate) struct Server {
    pub(crate) messaging: Messaging,
    pub(crate) store: Store,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Nobody reads its commits.
    pub(crate) async fn new() -> Self {
        Self::with_feed().await.0
    }

    /// With the commits, which have to be read: at most 256 wait.
    pub(crate) async fn with_feed() -> (Self, CommitFeed) {
        let folder = tempfile::tempdir().unwrap();
        let (store, feed) = Store::open(&folder.path().join("test.db"), 2).unwrap();
        let found = store.write(|tx| {
            tx.found_organisation(HOME, NOW)?;
            tx.found_organisation(AWAY, NOW)
        });
        found.await.unwrap();
        let server = Self {
            messaging: Messaging::new(store.clone()),
            store,
            _folder: folder,
        };
        (server, feed)
    }

    /// An account with a chain that has no device yet.
    pub(crate) async fn user(&self, seed: u8, org: OrgId) -> UserId {
        self.account(seed, org).await;
        let user = user(seed);
        self.write(move |tx| extend_chain(tx, user, org)).await;
        user
    }

    /// An account without a chain.
    pub(crate) async fn account(&self, seed: u8, org: OrgId) -> UserId {
        let account = Account {
            user: user(seed),
            org,
            username: format!("user{seed}").parse().unwrap(),
            role: Role::Member,
            password: String::new(),
            disabled_at: None,
        };
        self.write(move |tx| tx.open_account(&account, NOW).map(drop))
            .await;
        user(seed)
    }

    pub(crate) async fn certify(&self, owner: UserId, number: u8) -> DeviceId {
        let id = device(owner, number);
        self.write(move |tx| {
            let org = tx.org_of(owner)?.unwrap();
            tx.keep_device(&Device {
                id,
                user: owner,
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
            })?;
            tx.begin_cursors_at_head(id, owner)?;
            extend_chain(tx, owner, org)
        })
        .await;
        id
    }

    pub(crate) async fn revoke(&self, owner: UserId, id: DeviceId) {
        self.write(move |tx| {
            let org = tx.org_of(owner)?.unwrap();
            tx.revoke_device(id, NOW)?;
            extend_chain(tx, owner, org)
        })
        .await;
    }

    /// Two users with a device each, in a direct conversation.
    pub(crate) async fn two(&self) -> (Sender, Sender, ConversationId) {
        let (alice, bob) = (self.user(10, HOME).await, self.user(11, HOME).await);
        let phones = [
            sender(alice, self.certify(alice, 1).await),
            sender(bob, self.certify(bob, 1).await),
        ];
        let [alice, bob] = phones;
        let conversation = self.open_direct(alice, bob.user).await;
        (alice, bob, conversation)
    }

    pub(crate) async fn open_direct(&self, caller: Sender, peer: UserId) -> ConversationId {
        let request = OpenConversation::Direct { peer };
        let opened = self.messaging.open(caller, request, &context()).await;
        opened.unwrap().conversation_id
    }

    pub(crate) async fn open_group(&self, caller: Sender, others: &[UserId]) -> ConversationId {
        let members = others.to_vec();
        let request = OpenConversation::Group { members };
        let opened = self.messaging.open(caller, request, &context()).await;
        opened.unwrap().conversation_id
    }

    /// A message under the current lists with a capsule for each of `devices`.
    pub(crate) async fn sealed(&self, to: ConversationId, number: u8, devices: &[DeviceId]) -> Append {
        Append {
            list_versions: self.heads(to).await,
            capsules: devices.iter().map(|device| capsule(*device)).collect(),
            ..plain(to, number)
        }
    }

    pub(crate) async fn append(&self, sender: Sender, append: Append) -> Result<Place, AppendError> {
        self.messaging.append(sender, append, &Arc::default(), NOW).await
    }

    /// The chains of everyone in a conversation, as the server holds them.
    pub(crate) async fn heads(&self, conversation: ConversationId) -> Vec<ListVersion> {
        let heads = self.store.read(move |db| {
            let members = db.members(db.conversation(conversation)?.unwrap().log)?;
            let heads = members.into_iter().map(|user| {
                let (version, head_hash) = db.chain_head(user)?.unwrap();
                Ok::<_, StoreError>(ListVersion {
                    user,
                    version,
                    head_hash,
                })
            });
            heads.collect::<Result<Vec<_>, _>>()
        });
        heads.await.unwrap()
    }

    pub(crate) async fn conversation(&self, id: ConversationId) -> Conversation {
        let found = self.store.read(move |db| db.conversation(id));
        found.await.unwrap().unwrap()
    }

    /// What a restore from a backup does to the database.
    pub(crate) async fn restored(&self) {
        let restoration = Restoration {
            backup_at: NOW,
            restored_at: NOW,
        };
        let resuming = self.store.write(move |tx| tx.resume_from_backup(restoration));
        resuming.await.unwrap();
    }

    /// What `reader` gets that asks again for a range of what it was sent up to `sent`.
    pub(crate) async fn fetch(
        &self,
        reader: Sender,
        id: ConversationId,
        (from, to): (u64, u64),
        sent: u64,
    ) -> Page {
        let position = self.messaging.position(reader.user, reader.device, id);
        let log = Log::from(&position.await.unwrap().unwrap());
        let page = self.messaging.page(log, reader.device, from, to, sent);
        page.await.unwrap()
    }

    /// The log as it is stored, with the number of capsules of each entry.
    pub(crate) async fn stored(&self, id: ConversationId) -> Vec<(StoredEntry, usize)> {
        let entries = self.store.read(move |db| {
            let found = db.conversation(id)?.unwrap();
            let entries = db.entries(found.log, 1, found.head, PageLimit::NONE)?.entries;
            let counted = entries.into_iter().map(|entry| {
                let capsules = db.capsules(found.log, entry.seq)?;
                Ok::<_, StoreError>((entry, capsules))
            });
            counted.collect::<Result<Vec<_>, _>>()
        });
        entries.await.unwrap()
    }

    pub(crate) async fn log(&self, reader: Sender, conversation: ConversationId) -> Log {
        let position = self.messaging.position(reader.user, reader.device, conversation);
        Log::from(&position.await.unwrap().unwrap())
    }

    /// What `reader` is sent of the entries from `from` on, at most one page.
    pub(crate) async fn page(&self, reader: Sender, conversation: ConversationId, from: u64) -> Page {
        let log = self.log(reader, conversation).await;
        let head = self.conversation(conversation).await.head;
        let page = self.messaging.page(log, reader.device, from, head, head);
        page.await.unwrap()
    }

    pub(crate) async fn acknowledge(&self, reader: Sender, conversation: ConversationId, seq: u64) {
        let log = self.log(reader, conversation).await;
        self.messaging.acknowledge(reader.device, log, seq);
        self.messaging.write_cursors().await.unwrap();
    }

    pub(crate) async fn write(
        &self,
        act: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    ) {
        self.store.write(act).await.unwrap();
    }
}

/// One more record, the content of which is nobody's business here.
fn extend_chain(tx: &mut Tx<'_>, user: UserId, org: OrgId) -> Result<(), StoreError> {
    let length = tx.chain_head(user)?.map_or(0, |(version, _)| version + 1);
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(user.as_bytes());
    hash[16..20].copy_from_slice(&length.to_be_bytes());
    tx.extend_chain(user, org, length, &[vec![1]], &hash)
}

pub(crate) fn context() -> Context {
    Clock::manual(NOW).0.context()
}

pub(crate) const fn user(seed: u8) -> UserId {
    UserId::from_bytes([seed; 16])
}

pub(crate) fn device(owner: UserId, number: u8) -> DeviceId {
    let mut bytes = *owner.as_bytes();
    bytes[15] = number;
    DeviceId::from_bytes(bytes)
}

pub(crate) const fn sender(user: UserId, device: DeviceId) -> Sender {
    Sender {
        user,
        device,
        session: SessionId::from_bytes([9; 16]),
        org: HOME,
        role: Role::Member,
    }
}

pub(crate) const fn msg(number: u8) -> MsgId {
    MsgId::from_bytes([number; 16])
}

/// A group's message.
pub(crate) fn plain(to: ConversationId, number: u8) -> Append {
    Append {
        conversation: to,
        msg_id: msg(number),
        attempt: 0,
        dest: None,
        list_versions: Vec::new(),
        body: vec![number; 100].into(),
        capsules: Vec::new(),
    }
}

pub(crate) fn capsule(device: DeviceId) -> Capsule {
    Capsule {
        device,
        kind: CapsuleKind::Ratchet,
        sealed: Bytes::copy_from_slice(device.as_bytes()),
    }
}

pub(crate) fn refusal(refused: Result<Place, AppendError>) -> Refusal {
    match refused {
        Err(AppendError::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn decoded(page: &Page) -> Vec<ServerFrame> {
    let frames = page.frames.iter().cloned();
    frames
        .map(|frame| ServerFrame::decode(frame).unwrap().unwrap())
        .collect()
}
