//! Accounts that are made for load: each with an identity and one device, over REST as any client makes them.
//!
//! Their keys live as long as the process. Nothing is encrypted with them: they exist because the server wants proofs.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use getrandom::{SysRng, rand_core::UnwrapErr};
use unhidra_chain::{
    Capabilities, Chain, DeviceCertificate, DeviceKind, Genesis, Validity,
    auth::{self, Claim},
    record::Subject,
};
use unhidra_crypto::{ed25519::SigningKey, hash::sha256, x25519};
use unhidra_types::{ConversationId, DeviceId, Role, Timestamp, UserId};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    frame::{BEARER_PREFIX, SUBPROTOCOL},
    rest::{
        BeginSession, ChainHead, Conversation, DeleteAccount, DeviceProof, Enrolment, ExtendChain, Hidden,
        Invitation, Invite, LogIn, OpenAccount, OpenConversation, Refresh, Tokens,
    },
};

use crate::{dialect::Dialect, http::Http, random::random, seat::Seat, target::Target};

/// How long an invitation is valid: it is used at once.
const INVITATION_SECONDS: u64 = 3_600;
/// A token is replaced this long before it ends: longer than a run takes.
const TOKEN_MARGIN: Duration = Duration::from_secs(240);
/// The frame of a wrapped identity key: its version, the hash of the genesis, nonce and sealed key.
const WRAP_VERSION: u8 = 1;
const WRAPPED_BYTES: usize = 60;

/// An account with one device, logged in.
pub struct Account {
    target: Target,
    number: u32,
    user: UserId,
    device: DeviceId,
    username: String,
    password: Hidden,
    key: SigningKey,
    tokens: Tokens,
    expires: Instant,
}

/// What opens an account.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// An invitation, or the set-up token.
    pub invitation: &'a str,
    /// Which account of a population it is.
    pub number: u32,
    /// Told from other populations on the same server by this.
    pub nonce: u32,
}

impl Account {
    /// Opens an account and enrols its device.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(target: &Target, admission: Admission<'_>) -> anyhow::Result<Self> {
        let Admission {
            invitation,
            number,
            nonce,
        } = admission;
        let mut http = Http::new(target.clone(), target.source(number));
        let username = format!("load-{nonce:08x}-{number}");
        let password = Hidden::new(format!("load-{:032x}", random::<u128>()));
        let account = OpenAccount {
            invitation: Hidden::new(invitation.to_owned()),
            username: username.parse().context("a generated name is valid")?,
            password: password.clone(),
        };
        let enrolment: Enrolment = http.post("/v1/accounts", None, &account).await?;
        let token = enrolment.enrol_token.expose();
        let (extension, device, key) = founding(enrolment.user_id)?;
        let _head: ChainHead = http.post("/v1/users/me/chain", Some(token), &extension).await?;
        let begin = BeginSession {
            signature: Base64Array(auth::sign_challenge(
                &key,
                &target.origin(),
                &sha256(&[token.as_bytes()]),
            )),
        };
        let path = format!("/v1/devices/{device}/sessions");
        let tokens: Tokens = http.post(&path, Some(token), &begin).await?;
        Ok(Self {
            target: target.clone(),
            number,
            user: enrolment.user_id,
            device,
            username,
            password,
            key,
            expires: expiry(&tokens),
            tokens,
        })
    }

    /// Its number within its population; its source address follows from it.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Its user.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The address of this machine that it comes from.
    #[must_use]
    pub fn source(&self) -> Option<Ipv4Addr> {
        self.target.source(self.number)
    }

    /// A connection to REST of its own.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(self.target.clone(), self.source())
    }

    /// Its access token, replaced in time.
    ///
    /// # Errors
    /// When the server refuses to replace it.
    pub async fn token(&mut self) -> anyhow::Result<String> {
        if self.expires <= Instant::now() + TOKEN_MARGIN {
            self.refresh().await?;
        }
        Ok(self.tokens.access_token.expose().to_owned())
    }

    /// Replaces its tokens.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn refresh(&mut self) -> anyhow::Result<()> {
        let old = self.tokens.refresh_token.clone();
        let challenge = sha256(&[old.expose().as_bytes()]);
        let body = Refresh {
            signature: Base64Array(auth::sign_challenge(&self.key, &self.target.origin(), &challenge)),
            refresh_token: old,
            device_id: Some(self.device),
        };
        self.tokens = self.http().post("/v1/sessions/refresh", None, &body).await?;
        self.expires = expiry(&self.tokens);
        Ok(())
    }

    /// Proves its password once more, on `http`; the session stays the one it has.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn prove_password(&self, http: &mut Http) -> anyhow::Result<()> {
        let body = LogIn {
            username: self.username.parse().context("a generated name is valid")?,
            password: self.password.clone(),
        };
        let enrolment: Enrolment = http.post("/v1/sessions", None, &body).await?;
        ensure!(
            enrolment.user_id == self.user,
            "the server knows another user by this name"
        );
        Ok(())
    }

    /// Deletes it for good.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(mut self) -> anyhow::Result<()> {
        let token = self.token().await?;
        let body = DeleteAccount {
            password: self.password.clone(),
        };
        let body = serde_json::to_vec(&body).context("write JSON")?;
        let answer = self
            .http()
            .ask("POST", "/v1/me/delete", Some(&token), &body)
            .await?;
        ensure!(
            answer.status == 204,
            "the server answered {} to the deletion of {}",
            answer.status,
            self.username
        );
        Ok(())
    }

    /// Opens a group with these users.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open_group(&mut self, members: Vec<UserId>) -> anyhow::Result<ConversationId> {
        let token = self.token().await?;
        let open = OpenConversation::Group { members };
        let group: Conversation = self.http().post("/v1/conversations", Some(&token), &open).await?;
        Ok(group.conversation_id)
    }

    /// Its place in a conversation.
    ///
    /// # Errors
    /// When its token can't be replaced.
    pub async fn seat(&mut self, conversation: ConversationId) -> anyhow::Result<Seat> {
        let token = self.token().await?;
        Ok(Seat {
            target: self.target.clone(),
            dialect: Dialect::Unhidra,
            source: self.source(),
            path: "/v1/ws".to_owned(),
            protocols: Some(format!("{SUBPROTOCOL}, {BEARER_PREFIX}{token}")),
            conversation,
        })
    }
}

/// Makes an invitation with an administrator's token.
///
/// # Errors
/// When the server refuses.
pub(crate) async fn invite(http: &mut Http, token: &str) -> anyhow::Result<String> {
    let invite = Invite {
        role: Role::Member,
        expires_in: INVITATION_SECONDS,
    };
    let invitation: Invitation = http.post("/v1/admin/invitations", Some(token), &invite).await?;
    Ok(invitation.token.expose().to_owned())
}

/// An identity, its first device, and what tells the server of both.
fn founding(user: UserId) -> anyhow::Result<(ExtendChain, DeviceId, SigningKey)> {
    let now = wall_clock();
    let rng = &mut UnwrapErr(SysRng);
    let (uik, key) = (SigningKey::generate(rng), SigningKey::generate(rng));
    let dik = *x25519::SecretKey::generate(rng).public();
    let device = DeviceId::new(now, random());
    let genesis = Genesis::sign(&uik, user, now, None);
    let chain = Chain::begin(genesis.as_bytes()).context("a new chain holds")?;
    let subject = Subject {
        device,
        kind: DeviceKind::Human,
        dsk: key.verifying_key(),
        dik,
        capabilities: Capabilities::PQ.with(Capabilities::CERTIFY),
    };
    let certificate = DeviceCertificate::sign(&uik, user, &chain.head(), subject, Validity::starting(now));
    let claim = Claim {
        user,
        device,
        dsk: key.verifying_key(),
        dik,
    };
    let proof = DeviceProof {
        device_id: device,
        name: "load".to_owned(),
        signature: Base64Array(claim.prove(&key)),
    };
    // The key that it would wrap is thrown away: nobody will recover this account.
    let wrapped = [&[WRAP_VERSION], genesis.hash().as_slice(), &[0; WRAPPED_BYTES]].concat();
    let extension = ExtendChain {
        expected: 0,
        records: vec![
            Base64(genesis.as_bytes().to_vec()),
            Base64(certificate.as_bytes().to_vec()),
        ],
        proofs: vec![proof],
        recovery: Some(Base64(wrapped)),
    };
    Ok((extension, device, key))
}

fn expiry(tokens: &Tokens) -> Instant {
    Instant::now() + Duration::from_secs(tokens.expires_in)
}

fn wall_clock() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates of generated accounts begin now"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
