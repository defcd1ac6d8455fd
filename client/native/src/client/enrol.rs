//! Opening an account and logging in: from a password to a device with a session and prekeys.

use getrandom::rand_core::Rng as _;
use unhidra_chain::DeviceKind;
use unhidra_client::{Device, Need, NewIdentity, Notice, Opened, device::Shown};
use unhidra_pair::recovery::{RecoveryKey, WrappedIdentity};
use unhidra_types::{DeviceId, UserId, Username};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    rest::{
        ChainHead, DeviceProof, Enrolment, ExtendChain, Hidden, LogIn, OpenAccount, ReplaceIdentity, Stock,
    },
};

use super::{Client, ClientError, NewDevice, Settings};
use crate::{
    account::Account,
    authority::Trust,
    edge,
    profile::{Profile, ProfileFolder},
    rest::Rest,
    route::Route,
    server_url::ServerUrl,
    store::SqliteStore,
};

/// An account without an identity, and one that this device has just made for it. Nothing of it has left the device:
/// the recovery key is shown first, so that no account exists whose key nobody has seen.
#[must_use = "the account has no identity until it is uploaded"]
pub struct Founding {
    client: Client,
    identity: NewIdentity,
    enrol_token: Hidden,
    device_name: String,
    /// The chain that it takes the place of, in a reset.
    replaces: Option<ChainHead>,
}

/// A server, and who vouches that it is the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Where it is.
    pub server: ServerUrl,
    /// Whose word is taken.
    pub trust: Trust,
}

/// What logging in came to.
pub enum LoggedIn {
    /// The device has a session.
    Ready(Box<Client>),
    /// The account has no identity yet: registration was cut off. What it has shown before is void.
    Founding(Box<Founding>),
    /// The device is new and must be certified by another one, or by the recovery key.
    NewDevice(Box<NewDevice>),
}

/// What asking for a chain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    /// All of it is held, or it is another identity's, which the engine has noted.
    Whole,
    /// What the server shows does not hold.
    Refused,
}

/// Answers that one chain can take: twice its pages, because it may be read again from its beginning, and some more.
const MAX_CHAIN_ANSWERS: usize = 48;

impl Destination {
    /// Its REST interface.
    ///
    /// # Errors
    /// [`ClientError::Authority`] when the authorities can't be used.
    pub fn rest(&self, settings: Settings) -> Result<Rest, ClientError> {
        let route = Route::new(self.server.clone(), &self.trust, settings.warn)?;
        Ok(Rest::new(route)?)
    }
}

impl Founding {
    pub(super) fn begin(
        mut client: Client,
        enrol_token: Hidden,
        device_name: String,
        replaces: Option<ChainHead>,
    ) -> Result<Self, ClientError> {
        let identity = client.device.found_identity(edge::now(), &mut edge::rng())?;
        Ok(Self {
            client,
            identity,
            enrol_token,
            device_name,
            replaces,
        })
    }

    /// To be shown before anything else happens, and never again: with it a lost account is recovered.
    #[must_use]
    pub const fn recovery(&self) -> &RecoveryKey {
        &self.identity.recovery
    }

    /// Uploads the identity and begins the device's session.
    ///
    /// # Errors
    /// See [`ClientError`]. [`Client::log_in`] goes on from there: with a new identity when the server has not taken
    /// this one.
    pub async fn upload(self) -> Result<Client, ClientError> {
        let Self {
            mut client,
            identity,
            enrol_token,
            device_name,
            replaces,
        } = self;
        let records = identity.records.into_iter().map(Base64).collect();
        let proofs = vec![DeviceProof {
            device_id: client.device.id(),
            name: device_name,
            signature: Base64Array(identity.proof),
        }];
        let recovery = Base64(identity.wrapped.to_vec());
        match replaces {
            None => {
                let extension = ExtendChain {
                    expected: 0,
                    records,
                    proofs,
                    recovery: Some(recovery),
                };
                client.rest.extend_chain(&enrol_token, &extension).await?;
            }
            Some(replaces) => {
                let body = ReplaceIdentity {
                    replaces,
                    records,
                    proofs,
                    recovery,
                };
                client.rest.reset_identity(&enrol_token, &body).await?;
            }
        }
        client.begin_session(&enrol_token).await?;
        client.complete_prekeys().await?;
        Ok(client)
    }
}

impl Client {
    /// Opens an account and makes this profile's device its first, once the recovery key was shown.
    ///
    /// # Errors
    /// See [`ClientError`]. When it fails after the account was opened, or [`Founding`] is dropped, [`Client::log_in`]
    /// goes on from there.
    pub async fn register(
        profile: Profile,
        destination: Destination,
        account: OpenAccount,
        device_name: String,
        settings: Settings,
    ) -> Result<Founding, ClientError> {
        let rest = destination.rest(settings)?;
        let enrolment = rest.open_account(&account).await?;
        let (folder, store) = profile.into_parts();
        let client = Self::enrol(folder, store, destination, account.username, &enrolment, settings)?;
        Founding::begin(client, enrolment.enrol_token, device_name, None)
    }

    /// Logs this profile in.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::OtherAccount`] when the profile's device is another account's,
    /// [`ClientError::Revoked`] and [`ClientError::IdentityReset`] when it can't come back.
    pub async fn log_in(
        profile: Profile,
        destination: Destination,
        log_in: LogIn,
        device_name: String,
        settings: Settings,
    ) -> Result<LoggedIn, ClientError> {
        let rest = destination.rest(settings)?;
        let enrolment = rest.log_in(&log_in).await?;
        let (folder, store) = profile.into_parts();
        let mut client = Self::enrol(folder, store, destination, log_in.username, &enrolment, settings)?;
        let enrol_token = enrolment.enrol_token;
        if !enrolment.has_chain {
            // A server that has lost the chain, or says so, must not make this device throw its identity away.
            if client.device.has_taken_part()? {
                return Err(ClientError::ChainRefused);
            }
            let founding = Founding::begin(client, enrol_token, device_name, None)?;
            return Ok(LoggedIn::Founding(Box::new(founding)));
        }
        if client.is_certified(&enrol_token).await? {
            client.begin_session(&enrol_token).await?;
            client.complete_prekeys().await?;
            return Ok(LoggedIn::Ready(Box::new(client)));
        }
        match client.device.shown(edge::now(), &mut edge::rng())? {
            Shown::Revoked => return Err(ClientError::Revoked),
            Shown::Replaced if client.device.has_taken_part()? => return Err(ClientError::IdentityReset),
            // An identity that was made here and that the server never took.
            Shown::Replaced => client.device.forget_founding()?,
            Shown::Pinned => {}
        }
        Ok(LoggedIn::NewDevice(Box::new(NewDevice::new(
            client,
            enrol_token,
            device_name,
        ))))
    }

    /// The device that the profile holds, or a new one, for the account that the password was proved of.
    pub(super) fn enrol(
        folder: ProfileFolder,
        store: SqliteStore,
        destination: Destination,
        username: Username,
        enrolment: &Enrolment,
        settings: Settings,
    ) -> Result<Self, ClientError> {
        let rng = &mut edge::rng();
        let mut device = match Device::open(store)? {
            Opened::Device(device) if device.user() != enrolment.user_id => {
                return Err(ClientError::OtherAccount);
            }
            Opened::Device(mut device) => match device.own_chain(edge::now(), rng)? {
                Some(_) => *device,
                // Its linking was cut off or refused: whether someone certified these keys is not known here, and a
                // device links once.
                None => new_device(device.into_store(), enrolment.user_id)?,
            },
            Opened::Empty(store) => new_device(store, enrolment.user_id)?,
        };
        let Destination { server, trust } = destination;
        let account = Account::new(&server, trust, enrolment.user_id, username);
        account.save(device.store_mut())?;
        Self::with(device, folder, account, settings)
    }

    /// Whether the own chain names this device, by what the server has now.
    pub(super) async fn is_certified(&mut self, token: &Hidden) -> Result<bool, ClientError> {
        let known = self.device.own_chain(edge::now(), &mut edge::rng())?;
        if known.is_none() {
            // Without a pinned identity key nothing that the server says about this device is believed.
            return Ok(false);
        }
        self.learn_own_chain(token).await?;
        if self.device.shown(edge::now(), &mut edge::rng())? != Shown::Pinned {
            return Ok(false);
        }
        let own = self.device.own_chain(edge::now(), &mut edge::rng())?;
        let id = self.device.id();
        Ok(own.is_some_and(|own| own.is_live(id, edge::now()).is_live()))
    }

    /// Brings the own chain up to what the server has.
    pub(super) async fn learn_own_chain(&mut self, token: &Hidden) -> Result<(), ClientError> {
        let user = self.account.user_id;
        match self.learn_chain_of(token, user).await? {
            Learnt::Whole => Ok(()),
            // Records that do not hold are not asked for again and again.
            Learnt::Refused => Err(ClientError::ChainRefused),
        }
    }

    /// Asks for a user's chain until the engine needs no more of it: also from its beginning, when it is another one.
    pub(super) async fn learn_chain_of(
        &mut self,
        token: &Hidden,
        user: UserId,
    ) -> Result<Learnt, ClientError> {
        let mut from = self.device.chain_length(user)?;
        for _ in 0..MAX_CHAIN_ANSWERS {
            let records = self.rest.chain(token, user, from).await?;
            let mut effects = self
                .device
                .learn_chain(user, from, &records, edge::now(), &mut edge::rng())?;
            let is_refused = effects.notices.contains(&Notice::ChainRefused(user));
            let of_user = |need: &Need| matches!(need, Need::Chain { user: of, .. } if *of == user);
            let next = effects.needs.iter().find(|need| of_user(need)).cloned();
            if let Some(next) = &next {
                effects.needs.remove(next);
            }
            self.pending.merge(effects);
            match next {
                _ if is_refused => return Ok(Learnt::Refused),
                Some(Need::Chain { from: next, .. }) => from = next,
                _ => return Ok(Learnt::Whole),
            }
        }
        Ok(Learnt::Refused)
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

/// A device with keys of its own that no chain names.
fn new_device(store: SqliteStore, user: UserId) -> Result<Device<SqliteStore>, ClientError> {
    let mut random = [0; 10];
    edge::rng().fill_bytes(&mut random);
    let id = DeviceId::new(edge::now(), random);
    Ok(Device::create(
        store,
        user,
        id,
        DeviceKind::Human,
        &mut edge::rng(),
    )?)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::profile::Protection;

    const USER: UserId = UserId::from_bytes([1; 16]);

    fn open(data: &tempfile::TempDir) -> Profile {
        Profile::open(data.path(), &"a".parse().unwrap(), Protection::KeyFile).unwrap()
    }

    fn device(data: &tempfile::TempDir) -> Device<SqliteStore> {
        let (_, store) = open(data).into_parts();
        match Device::open(store).unwrap() {
            Opened::Device(device) => *device,
            Opened::Empty(_) => panic!("the profile holds a device"),
        }
    }

    /// A profile whose device has an identity and prekeys.
    fn established() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let profile = Profile::create(data.path(), &"a".parse().unwrap(), Protection::KeyFile).unwrap();
        let (_, store) = profile.into_parts();
        let id = DeviceId::from_bytes([2; 16]);
        let rng = &mut edge::rng();
        let mut device = Device::create(store, USER, id, DeviceKind::Human, rng).unwrap();
        device.found_identity(edge::now(), rng).unwrap();
        let nothing = Stock {
            generation: 0,
            one_time: Vec::new(),
            one_time_kem: Vec::new(),
        };
        let _effects = device.stock_listed(&nothing, edge::now(), rng).unwrap();
        data
    }

    /// Logs the profile in at a server that answers a login with `has_chain`, and a request for a chain with a record
    /// that is none. At most eight requests are answered.
    async fn log_in(data: &tempfile::TempDir, has_chain: bool) -> Option<ClientError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let org = unhidra_types::OrgId::from_bytes([3; 16]);
        let login =
            format!(r#"{{"user_id":"{USER}","org_id":"{org}","enrol_token":"t","has_chain":{has_chain}}}"#);
        let hash = "A".repeat(43);
        let chain = format!(r#"{{"records":["AAAA"],"head":{{"version":9,"hash":"{hash}"}}}}"#);
        let serve = async {
            for _ in 0..8 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let body = match request[..read].starts_with(b"POST /v1/sessions ") {
                    true => &login,
                    false => &chain,
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let body = LogIn {
            username: "alice".parse().unwrap(),
            password: Hidden::new("password".into()),
        };
        let destination = Destination {
            server: url.parse().unwrap(),
            trust: Trust::System,
        };
        let logging_in = Client::log_in(
            open(data),
            destination,
            body,
            "laptop".into(),
            Settings::default(),
        );
        tokio::select! {
            result = logging_in => result.err(),
            () = serve => panic!("the server is asked without end"),
        }
    }

    #[tokio::test]
    async fn a_server_that_denies_the_identity_does_not_make_the_device_throw_it_away() {
        let data = established();
        let head = |data: &tempfile::TempDir| {
            let own = device(data).own_chain(edge::now(), &mut edge::rng());
            own.unwrap().unwrap().head()
        };
        let before = head(&data);
        let refused = log_in(&data, false).await;
        assert!(matches!(refused, Some(ClientError::ChainRefused)), "{refused:?}");
        assert_eq!(head(&data), before);
    }

    #[tokio::test]
    async fn records_that_do_not_hold_end_a_login() {
        let refused = log_in(&established(), true).await;
        assert!(matches!(refused, Some(ClientError::ChainRefused)), "{refused:?}");
    }
}
