//! What the server's directory says about others, and how much of it is believed.
//!
//! The first identity key (UIK) seen for a user is pinned. A chain is believed record by record, never shorter than
//! before; another identity stops sending until it is accepted, unless the pinned key has signed it.

use std::sync::Arc;

use unhidra_chain::{Bundle, Chain, Device, Expected, Genesis, ListHead, ListVersion, prekey::Generation};
use unhidra_pair::{Address, InitiateError};
use unhidra_types::{DeviceId, UserId};
use unhidra_wire::rest::{Bundles, ChainRecords};

use crate::{
    effects::{Need, Notice, OutboxChange},
    identity::CAPABILITIES,
    identity_change::ChangeKind,
    peer::{Identity, Peer, Retired},
    record::Record as _,
    step::Step,
    store::StoreError,
};

/// Records that one answer holds at most (`GET /v1/users/{user}/chain`).
const MAX_RECORDS_PER_ANSWER: usize = 256;

impl Step<'_> {
    /// Takes in records of a user's chain from number `from` on. True when what is held has changed since the question
    /// was asked, so that what waits for it may go on; asking again at once is of no use otherwise.
    ///
    /// Records that do not continue the chain held may be those of another identity, so the chain is read again from
    /// its genesis, page by page. Pages of that second reading begin within the chain held.
    pub(crate) fn learn(
        &mut self,
        user: UserId,
        from: u32,
        answer: &ChainRecords,
    ) -> Result<bool, StoreError> {
        let held = self.chain(user)?;
        let next = held
            .as_ref()
            .map_or(0, |chain| chain.head().version.0.saturating_add(1));
        if from > next {
            // The chain that the question was about was forgotten meanwhile.
            self.need_chain(user)?;
            return Ok(false);
        }
        let stated = ListHead {
            version: ListVersion(answer.head.version),
            hash: answer.head.hash.0,
        };
        // A head at a place that is held already, but another one: the server shows another chain.
        let shown = shown_chain(held.as_deref(), from, answer).filter(|chain| {
            chain.user() == user && (chain.head().version < stated.version || chain.contains(&stated))
        });
        match (shown, held) {
            (Some(shown), Some(held)) if from < next && held.contains(&shown.head()) => {
                self.read_again(&held, from, shown, answer)
            }
            (Some(shown), held) => self.believe(user, held.as_deref(), Arc::new(shown), answer),
            (None, Some(_)) if from == next => {
                self.effects.needs.insert(Need::Chain { user, from: 0 });
                Ok(false)
            }
            (None, _) => {
                self.effects.notices.push(Notice::ChainRefused(user));
                Ok(false)
            }
        }
    }

    /// A page of a second reading, which has shown nothing but what is held.
    fn read_again(
        &mut self,
        held: &Chain,
        from: u32,
        shown: Chain,
        answer: &ChainRecords,
    ) -> Result<bool, StoreError> {
        let user = held.user();
        let (shown_to, held_to) = (shown.head().version, held.head().version);
        if from == 0 && answer.head.version < held_to.0 {
            self.effects.notices.push(Notice::ChainRefused(user));
            return Ok(false);
        }
        if from < shown_to.0 && shown_to.0 < answer.head.version {
            // The next page begins with the last record of this one, so that it is known as a second reading.
            let from = shown_to.0;
            self.effects.needs.insert(Need::Chain { user, from });
            return Ok(false);
        }
        if shown_to == held_to {
            return self.believe(user, Some(held), Arc::new(shown), answer);
        }
        // Else another process has learnt more since this one asked.
        Ok(true)
    }

    fn believe(
        &mut self,
        user: UserId,
        held: Option<&Chain>,
        chain: Arc<Chain>,
        answer: &ChainRecords,
    ) -> Result<bool, StoreError> {
        let shown = Identity::of(chain.genesis());
        let mut peer = self.peer(user)?.unwrap_or_else(|| Peer::pinned(shown));
        let pinned = peer.genesis.or_else(|| held.map(|held| held.genesis().hash()));
        let is_pinned = peer.pin == shown.uik && pinned.is_none_or(|pinned| pinned == shown.genesis);
        if !is_pinned {
            match self.follows(&peer, held, chain.genesis())? {
                Follows::Signed => self.take_rotation(&mut peer, held, &chain)?,
                Follows::Not if peer.pin != shown.uik => {
                    if peer.changed != Some(shown) {
                        peer.changed = Some(shown);
                        self.note_change(user, ChangeKind::Shown, &peer, shown.uik, 0)?;
                    }
                    peer.save(self.tx, user.as_bytes())?;
                    return Ok(false);
                }
                Follows::Not | Follows::Replayed => {
                    self.effects.notices.push(Notice::ChainRefused(user));
                    return Ok(false);
                }
            }
        } else if held.is_some_and(|held| !chain.contains(&held.head())) {
            self.effects.notices.push(Notice::ChainRefused(user));
            return Ok(false);
        }
        let is_news = peer.changed.is_some() || peer.head != Some(chain.head());
        // The pinned identity is back: whatever was shown instead is gone.
        peer.changed = None;
        peer.genesis = Some(shown.genesis);
        peer.head = Some(chain.head());
        self.keep_chain(&chain)?;
        peer.save(self.tx, user.as_bytes())?;
        for device in chain.devices().filter(|device| device.revoked_at().is_some()) {
            self.close_sessions(address_of(device))?;
        }
        let is_complete = chain.head().version.0 >= answer.head.version;
        if !is_complete && !answer.records.is_empty() {
            self.need_chain(user)?;
        } else if !peer.may_seal() {
            self.notice_withheld(user, peer.required);
        }
        if user == self.me.user {
            self.notice_revocation()?;
        }
        if is_news {
            self.effects.more = true;
            // Sealed entries were held back as well.
            self.effects.outbox = OutboxChange::Requeued;
        }
        Ok(is_news)
    }

    /// How another genesis than the pinned one stands to it.
    fn follows(
        &mut self,
        peer: &Peer,
        held: Option<&Chain>,
        genesis: &Genesis,
    ) -> Result<Follows, StoreError> {
        if Retired::of(self.tx, genesis.user())?.0.contains(&genesis.hash()) {
            return Ok(Follows::Replayed);
        }
        let is_signed = genesis
            .previous_uik()
            .is_some_and(|previous| *previous.as_bytes() == peer.pin);
        // One key may begin chain after chain: only time tells which of two is the later one.
        let is_later = *genesis.uik().as_bytes() != peer.pin
            || held.is_some_and(|held| held.genesis().created_at() < genesis.created_at());
        Ok(match (is_signed, is_later) {
            (true, true) => Follows::Signed,
            (true, false) => Follows::Replayed,
            (false, _) => Follows::Not,
        })
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
            let renew = self.repair(address)?.renew;
            let begun = match &bundle {
                Some(bundle) => self.with_sessions(address, |sessions, rng| {
                    // Two processes may have asked at once: the first session is as good, unless it is the one that failed.
                    if sessions.active().is_some() && !renew {
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
                    if renew {
                        self.repair_mut(address)?.renewed(now);
                        self.wake_at(now)?;
                    }
                }
                _ => known.failed(now),
            }
            known.keep(self.tx, address)?;
        }
        self.effects.more = true;
        Ok(())
    }
}

/// How another genesis stands to the pinned one.
enum Follows {
    /// The pinned identity key has signed it, and it is the later one.
    Signed,
    /// Nothing that is pinned vouches for it.
    Not,
    /// It was put out of use before.
    Replayed,
}

fn address_of(device: &Device) -> Address {
    let certificate = device.certificate();
    Address {
        user: certificate.user(),
        device: certificate.subject().device,
    }
}

/// The chain that the server shows: what is held before record `from`, then the answer's records.
fn shown_chain(held: Option<&Chain>, from: u32, answer: &ChainRecords) -> Option<Chain> {
    let records = answer.records.iter().take(MAX_RECORDS_PER_ANSWER);
    let mut records = records.map(|record| record.0.as_slice());
    let mut shown = match held {
        Some(held) if from > held.head().version.0 => held.clone(),
        Some(held) if from > 0 => {
            let before = usize::try_from(from).ok()?;
            Chain::restore(held.records().take(before)).ok()?
        }
        Some(_) | None => Chain::begin(records.next()?).ok()?,
    };
    records
        .try_for_each(|record| shown.append(record).map(drop))
        .ok()?;
    Some(shown)
}
