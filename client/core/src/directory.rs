//! What the server's directory says about others, and how much of it is believed.
//!
//! The first identity key (UIK) seen for a user is pinned. A chain is believed record by record, never shorter than
//! before; another identity key stops sending until it is accepted.

use std::sync::Arc;

use unhidra_chain::{Bundle, Chain, Device, Expected, ListHead, ListVersion, prekey::Generation};
use unhidra_pair::{Address, InitiateError};
use unhidra_types::{DeviceId, UserId};
use unhidra_wire::rest::{Bundles, ChainRecords};

use crate::{
    effects::{Need, Notice},
    identity::CAPABILITIES,
    peer::Peer,
    record::Record as _,
    step::Step,
    store::StoreError,
};

/// Records that one answer holds at most (`GET /v1/users/{user}/chain`).
const MAX_RECORDS_PER_ANSWER: usize = 256;

impl Step<'_> {
    /// Takes in records of a user's chain from number `from` on. True when the chain held is now as long as the
    /// server says.
    pub(crate) fn learn(
        &mut self,
        user: UserId,
        from: u32,
        answer: &ChainRecords,
    ) -> Result<bool, StoreError> {
        let held = self.chain(user)?;
        let next = held.as_ref().map_or(0, |chain| chain.head().version.0 + 1);
        if from != next && from != 0 {
            // An answer to a question that another process has had answered meanwhile.
            self.need_chain(user)?;
            return Ok(false);
        }
        let records = answer.records.iter().take(MAX_RECORDS_PER_ANSWER);
        let records = records.map(|record| record.0.as_slice());
        let verified = match &held {
            Some(chain) if from > 0 => {
                let mut longer = Chain::clone(chain);
                let result = records
                    .into_iter()
                    .try_for_each(|record| longer.append(record).map(drop));
                result.map(|()| longer)
            }
            Some(_) | None => Chain::verify(records),
        };
        let stated = ListHead {
            version: ListVersion(answer.head.version),
            hash: answer.head.hash.0,
        };
        // A head at a place that is held already, but another one: the server shows another chain.
        let verified = verified.ok().filter(|chain| {
            chain.user() == user && (chain.head().version < stated.version || chain.contains(&stated))
        });
        match verified {
            Some(chain) => self.believe(user, held.as_deref(), Arc::new(chain), answer),
            // The records do not continue the chain held: the user may have a new identity key.
            None if from > 0 => {
                self.effects.needs.insert(Need::Chain { user, from: 0 });
                Ok(false)
            }
            None => {
                self.effects.notices.push(Notice::ChainRefused(user));
                Ok(false)
            }
        }
    }

    fn believe(
        &mut self,
        user: UserId,
        held: Option<&Chain>,
        chain: Arc<Chain>,
        answer: &ChainRecords,
    ) -> Result<bool, StoreError> {
        let uik = *chain.uik().as_bytes();
        let mut peer = self.peer(user)?.unwrap_or_else(|| Peer::pinned(uik));
        if peer.pin != uik {
            if peer.changed != Some(uik) {
                peer.changed = Some(uik);
                self.effects.notices.push(Notice::IdentityChanged(user));
            }
            peer.save(self.tx, user.as_bytes())?;
            return Ok(false);
        }
        if held.is_some_and(|held| !chain.contains(&held.head())) {
            self.effects.notices.push(Notice::ChainRefused(user));
            return Ok(false);
        }
        // The pinned identity is back: whatever was shown instead is gone.
        peer.changed = None;
        peer.head = Some(chain.head());
        self.keep_chain(&chain)?;
        peer.save(self.tx, user.as_bytes())?;
        for device in chain.devices().filter(|device| device.revoked_at().is_some()) {
            self.close_sessions(address_of(device))?;
        }
        let is_complete = chain.head().version.0 >= answer.head.version;
        if !is_complete && !answer.records.is_empty() {
            self.need_chain(user)?;
        }
        if user == self.me.user {
            self.notice_revocation()?;
        }
        self.effects.more = true;
        Ok(is_complete)
    }

    /// Pins another identity key, which the user has looked at, and closes all sessions with that user.
    pub(crate) fn accept_identity(&mut self, user: UserId) -> Result<bool, StoreError> {
        let Some(uik) = self.peer(user)?.and_then(|peer| peer.changed) else {
            return Ok(false);
        };
        if let Some(chain) = self.chain(user)? {
            for device in chain.devices() {
                self.close_sessions(address_of(device))?;
            }
        }
        self.tx.delete(crate::store::Table::Chains, user.as_bytes())?;
        Peer::pinned(uik).save(self.tx, user.as_bytes())?;
        self.need_chain(user)?;
        Ok(true)
    }

    /// Begins sessions with bundles. A device whose bundle is missing or bad is asked for once more, then owed.
    pub(crate) fn begin_sessions(
        &mut self,
        user: UserId,
        devices: &[DeviceId],
        answer: &Bundles,
    ) -> Result<(), StoreError> {
        let (Some(me), Some(chain)) = (self.local()?, self.chain(user)?) else {
            return Ok(());
        };
        for device in devices {
            let address = Address {
                user,
                device: *device,
            };
            let mut known = self.peer_device(address)?;
            let expected = Expected {
                device: *device,
                generation_floor: Generation(known.generation),
                own: CAPABILITIES,
            };
            let bundle = answer
                .bundles
                .get(device)
                .and_then(|bytes| Bundle::parse(&bytes.0).ok())
                .and_then(|bundle| match bundle.verify(&chain, &expected, self.now) {
                    Ok(bundle) => Some(bundle),
                    Err(unhidra_chain::BadBundle::OtherCertificate) => {
                        self.effects.needs.insert(Need::Chain {
                            user,
                            from: chain.head().version.0.saturating_add(1),
                        });
                        None
                    }
                    Err(_) => None,
                });
            let now = self.now;
            let begun = match &bundle {
                Some(bundle) => self.with_sessions(address, |sessions, rng| {
                    // Two processes may have asked at once: the first session is as good.
                    if sessions.active().is_some() {
                        return Ok((sessions.clone(), ()));
                    }
                    let next = sessions.initiate(&me, bundle, now, rng)?;
                    Ok::<_, InitiateError>((next, ()))
                })?,
                None => Err(InitiateError::BadPeerKey),
            };
            match (begun, bundle) {
                (Ok(()), Some(bundle)) => {
                    known.generation = bundle.generation().0;
                    known.failures = 0;
                }
                _ => known.failed(now),
            }
            known.keep(self.tx, address)?;
        }
        self.effects.more = true;
        Ok(())
    }
}

fn address_of(device: &Device) -> Address {
    let certificate = device.certificate();
    Address {
        user: certificate.user(),
        device: certificate.subject().device,
    }
}
