//! A store with Alice in it, and what accounts, devices and keys are made of.

use std::{path::Path, time::Duration};

use unhidra_store::{
    Store, StoreError,
    account::Account,
    device::{Certified, Device},
    invitation::Invitation,
    link::LinkChannel,
    prekey::{Dated, OneTime, OneTimeKind, PrekeySet},
    session::Session,
};
use unhidra_types::{DeviceId, InvitationId, OrgId, Role, SessionId, Timestamp, UserId};

pub(crate) const HOME: OrgId = OrgId::from_bytes([1; 16]);
pub(crate) const AWAY: OrgId = OrgId::from_bytes([2; 16]);
pub(crate) const ALICE: UserId = UserId::from_bytes([3; 16]);
pub(crate) const BOB: UserId = UserId::from_bytes([4; 16]);
pub(crate) const PHONE: DeviceId = DeviceId::from_bytes([5; 16]);
pub(crate) const LAPTOP: DeviceId = DeviceId::from_bytes([6; 16]);
pub(crate) const TOKEN: [u8; 32] = [7; 32];
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// The store with Alice in it, who has a phone and a laptop.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) folder: tempfile::TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _feed) = open(folder.path());
        store
            .write(|tx| {
                tx.found_organisation(HOME, NOW)?;
                tx.found_organisation(AWAY, after(1))?;
                tx.open_account(&account(ALICE, HOME, "alice"), NOW)?;
                tx.keep_device(&device(PHONE))?;
                tx.keep_device(&device(LAPTOP))
            })
            .await
            .unwrap();
        Self { store, folder }
    }

    /// The same database, opened once more, after the first user of it has gone.
    pub(crate) async fn reopened(self) -> (Store, tempfile::TempDir) {
        self.store.close().await;
        (open(self.folder.path()).0, self.folder)
    }

    pub(crate) async fn stock(
        &self,
        device: DeviceId,
        kind: OneTimeKind,
        ids: std::ops::RangeInclusive<u32>,
    ) -> bool {
        let keys: Vec<_> = ids.map(|id| one_time(kind, id)).collect();
        self.store
            .write(move |tx| {
                tx.keep_prekey_set(device, HOME, &prekey_set(1))?;
                tx.stock_prekeys(device, &keys)
            })
            .await
            .unwrap()
    }

    pub(crate) async fn ids(&self, device: DeviceId, kind: OneTimeKind, now: Timestamp) -> Vec<u32> {
        self.store
            .read(move |db| db.one_time_prekeys(device, kind, now))
            .await
            .unwrap()
    }

    pub(crate) async fn count_bundle(&self, requester: UserId, device: DeviceId, now: Timestamp) -> bool {
        self.store
            .write(move |tx| tx.count_bundle(requester, device, 5, now))
            .await
            .unwrap()
    }

    pub(crate) async fn rows(&self, table: &'static str) -> u32 {
        self.store.write(|_| Ok::<_, StoreError>(())).await.unwrap();
        rusqlite::Connection::open(self.folder.path().join("test.db"))
            .unwrap()
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap()
    }
}

pub(crate) fn open(folder: &Path) -> (Store, unhidra_store::CommitFeed) {
    Store::open(&folder.join("test.db"), 2).unwrap()
}

pub(crate) fn after(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

pub(crate) fn account(user: UserId, org: OrgId, name: &str) -> Account {
    Account {
        user,
        org,
        username: name.parse().unwrap(),
        role: Role::Member,
        password: "$argon2id$phc".to_owned(),
        disabled_at: None,
    }
}

pub(crate) fn device(id: DeviceId) -> Device {
    Device {
        id,
        user: ALICE,
        org: HOME,
        name: "phone".to_owned(),
        certified: Certified {
            capabilities: 0b11,
            dsk: [8; 32],
            certificate_hash: [9; 32],
            not_before: NOW,
            not_after: after(400),
        },
        created_at: NOW,
        last_seen_at: None,
        revoked_at: None,
    }
}

pub(crate) fn session(number: u8, device: DeviceId) -> Session {
    Session {
        id: SessionId::from_bytes([number; 16]),
        device,
        user: ALICE,
        org: HOME,
        created_at: NOW,
        refreshed_at: NOW,
        current_hash: [number; 32],
        previous_hash: None,
        current_token: vec![number; 60],
        ended_at: None,
        restored_at: None,
    }
}

pub(crate) fn invitation(expires_at: Timestamp) -> Invitation {
    Invitation {
        id: InvitationId::from_bytes([10; 16]),
        org: HOME,
        role: Role::Member,
        made_by: None,
        expires_at,
    }
}

pub(crate) fn prekey_set(generation: u64) -> PrekeySet {
    PrekeySet {
        generation,
        certificate_hash: [9; 32],
        signed: Dated {
            prekey: vec![1; 108],
            not_after: after(100),
        },
        last_resort: Some(Dated {
            prekey: vec![2; 1_261],
            not_after: after(200),
        }),
    }
}

pub(crate) fn one_time(kind: OneTimeKind, id: u32) -> OneTime {
    OneTime {
        kind,
        id,
        not_after: None,
        prekey: id.to_be_bytes().to_vec(),
    }
}

pub(crate) fn channel(number: u8, user: UserId, opened_at: Timestamp) -> LinkChannel {
    LinkChannel {
        device: DeviceId::from_bytes([number; 16]),
        user,
        org: HOME,
        opened_at,
    }
}
