//! Opening an account and logging in: from a password to a device with a session and prekeys.

use getrandom::rand_core::Rng as _;
use unhidra_chain::DeviceKind;
use unhidra_client::{Device, NewIdentity, Opened};
use unhidra_pair::recovery::{RecoveryKey, WrappedIdentity};
use unhidra_types::{DeviceId, UserId, Username};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{DeviceProof, Enrolment, ExtendChain, Hidden, LogIn, OpenAccount, Stock},
};

use super::{Client, ClientError, NewDevice, Settings};
use crate::{
    account::Account,
    edge,
    profile::{Profile, ProfileFolder},
    rest::Rest,
    server_url::ServerUrl,
    store::SqliteStore,
};

/// A new account with its first device.
pub struct Registered {
    /// The device, ready to use.
    pub client: Client,
    /// To be shown once: with it a lost account is recovered.
    pub recovery: RecoveryKey,
}

/// What logging in came to.
pub enum LoggedIn {
    /// The device has a session.
    Ready(Box<Client>),
    /// The account had no identity yet; this device made it.
    Founded(Box<Registered>),
    /// The device is new and must be certified by another one, or by the recovery key.
    NewDevice(Box<NewDevice>),
}

impl Client {
    /// Opens an account and makes this profile's device its first.
    ///
    /// # Errors
    /// See [`ClientError`]. When it fails after the account was opened, [`Client::log_in`] goes on from there.
    pub async fn register(
        profile: Profile,
        server: ServerUrl,
        account: OpenAccount,
        device_name: String,
        settings: Settings,
    ) -> Result<Registered, ClientError> {
        let rest = Rest::new(server)?;
        let enrolment = rest.open_account(&account).await?;
        let (folder, store) = profile.into_parts();
        let mut client = Self::enrol(folder, store, &rest, account.username, &enrolment, settings)?;
        let recovery = client.found(&enrolment.enrol_token, device_name).await?;
        Ok(Registered { client, recovery })
    }

    /// Logs this profile in.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::OtherAccount`] when the profile's device is another account's.
    pub async fn log_in(
        profile: Profile,
        server: ServerUrl,
        log_in: LogIn,
        device_name: String,
        settings: Settings,
    ) -> Result<LoggedIn, ClientError> {
        let rest = Rest::new(server)?;
        let enrolment = rest.log_in(&log_in).await?;
        let (folder, store) = profile.into_parts();
        let mut client = Self::enrol(folder, store, &rest, log_in.username, &enrolment, settings)?;
        let enrol_token = enrolment.enrol_token;
        if !enrolment.has_chain {
            let recovery = client.found(&enrol_token, device_name).await?;
            return Ok(LoggedIn::Founded(Box::new(Registered { client, recovery })));
        }
        if client.is_certified(&enrol_token).await? {
            client.begin_session(&enrol_token).await?;
            client.complete_prekeys().await?;
            return Ok(LoggedIn::Ready(Box::new(client)));
        }
        Ok(LoggedIn::NewDevice(Box::new(NewDevice::new(
            client,
            enrol_token,
            device_name,
        ))))
    }

    /// The device that the profile holds, or a new one, for the account that the password was proved of.
    fn enrol(
        folder: ProfileFolder,
        store: SqliteStore,
        rest: &Rest,
        username: Username,
        enrolment: &Enrolment,
        settings: Settings,
    ) -> Result<Self, ClientError> {
        let mut device = match Device::open(store)? {
            Opened::Device(device) if device.user() != enrolment.user_id => {
                return Err(ClientError::OtherAccount);
            }
            Opened::Device(device) => *device,
            Opened::Empty(store) => {
                let mut random = [0; 10];
                edge::rng().fill_bytes(&mut random);
                let id = DeviceId::new(edge::now(), random);
                Device::create(store, enrolment.user_id, id, DeviceKind::Human, &mut edge::rng())?
            }
        };
        let account = Account::new(rest.server(), enrolment.user_id, username);
        account.save(device.store_mut())?;
        Self::with(device, folder, account, settings)
    }

    /// Makes the user's identity on this device and begins its session.
    async fn found(&mut self, enrol_token: &Hidden, device_name: String) -> Result<RecoveryKey, ClientError> {
        let NewIdentity {
            records,
            proof,
            wrapped,
            recovery,
        } = self.device.found_identity(edge::now(), &mut edge::rng())?;
        let extension = ExtendChain {
            expected: 0,
            records: records.into_iter().map(Base64).collect(),
            proofs: vec![DeviceProof {
                device_id: self.device.id(),
                name: device_name,
                signature: Base64Array(proof),
            }],
            recovery: Some(Base64(wrapped.to_vec())),
        };
        self.rest.extend_chain(enrol_token, &extension).await?;
        self.begin_session(enrol_token).await?;
        self.complete_prekeys().await?;
        Ok(recovery)
    }

    /// Whether the own chain names this device, by what the server has now.
    pub(super) async fn is_certified(&mut self, token: &Hidden) -> Result<bool, ClientError> {
        let known = self.device.own_chain(edge::now(), &mut edge::rng())?;
        if known.is_none() {
            // Without a pinned identity key nothing that the server says about this device is believed.
            return Ok(false);
        }
        self.learn_own_chain(token).await?;
        let own = self.device.own_chain(edge::now(), &mut edge::rng())?;
        let id = self.device.id();
        Ok(own.is_some_and(|own| own.is_live(id, edge::now()).is_live()))
    }

    /// Brings the own chain up to what the server has.
    pub(super) async fn learn_own_chain(&mut self, token: &Hidden) -> Result<(), ClientError> {
        let user: UserId = self.account.user_id;
        loop {
            let held = self.device.own_chain(edge::now(), &mut edge::rng())?;
            let from = held.map_or(0, |chain| chain.head().version.0 + 1);
            let records = self.rest.chain(token, user, from).await?;
            let is_last = records.records.is_empty();
            let effects = self
                .device
                .learn_chain(user, from, &records, edge::now(), &mut edge::rng())?;
            self.pending.merge(effects);
            if is_last {
                return Ok(());
            }
        }
    }

    /// Makes and uploads what the server lacks of prekeys.
    pub(super) async fn complete_prekeys(&mut self) -> Result<(), ClientError> {
        let token = self.access_token().await?;
        let stock: Stock = self.rest.stock(&token, self.device.id()).await?;
        let effects = self.device.stock_listed(&stock, edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        let Some(upload) = self.device.pending_upload(edge::now(), &mut edge::rng())? else {
            return Ok(());
        };
        let stock = self
            .rest
            .upload_prekeys(&token, self.device.id(), &upload)
            .await?;
        let effects = self
            .device
            .prekeys_uploaded(&stock, edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        Ok(())
    }

    /// The wrapped identity key, opened by the recovery key, makes this device a `certify` device.
    pub(super) async fn recover(
        &mut self,
        token: &Hidden,
        recovery: &RecoveryKey,
        device_name: String,
    ) -> Result<(), ClientError> {
        let wrapped = self.rest.recovery(token).await?.wrapped;
        let wrapped = WrappedIdentity::parse(&wrapped.0)?;
        let first = self.rest.chain(token, self.account.user_id, 0).await?;
        let genesis = first
            .records
            .first()
            .and_then(|record| unhidra_chain::Genesis::parse(&record.0).ok())
            .filter(|genesis| genesis.user() == self.account.user_id && genesis.verify().is_ok())
            .ok_or(ClientError::ChainRefused)?;
        let uik = wrapped.unwrap(recovery, &genesis)?;
        let effects = self.device.linked(&genesis, edge::now(), &mut edge::rng())?;
        self.pending.merge(effects);
        self.learn_own_chain(token).await?;
        let extension = self.device.adopt_identity(uik, edge::now(), &mut edge::rng())?;
        let extension = ExtendChain {
            expected: extension.after.version.0 + 1,
            records: vec![Base64(extension.record)],
            proofs: vec![DeviceProof {
                device_id: self.device.id(),
                name: device_name,
                signature: Base64Array(self.device.proof()),
            }],
            recovery: None,
        };
        self.rest.extend_chain(token, &extension).await?;
        self.learn_own_chain(token).await?;
        self.begin_session(token).await?;
        self.complete_prekeys().await
    }
}
