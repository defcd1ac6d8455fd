//! All sessions with one peer device: one that sends, and older ones that only receive.
//!
//! At most [`MAX_ARCHIVED_SESSIONS`] are archived, each for [`ARCHIVE_LIFETIME`]; the oldest go first. Which one sends is
//! said in `crossing`; one that was retired never sends again. Every operation returns the set as it should be stored; on an error the set before stays right.
//!
//! Receiving, in order: the caller refuses a known (sender device, conversation, message) as a duplicate and, for a
//! first message ([`SessionSet::introduction_needed`]), checks its [`Introduction`]; [`SessionSet::open`] opens the
//! message; the caller opens the body ([`crate::body::open`]) and checks the content; then one transaction stores the
//! set, the dedupe row, the content, the erasures and the [`RememberedEk`]; last comes the acknowledgement.

mod crossing;
mod message;
mod stored;

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use rand_core::CryptoRng;
use unhidra_chain::{VerifiedBundle, prekey::KemKind};
use unhidra_types::{ConversationId, Timestamp, limits::MAX_ARCHIVED_SESSIONS};

use self::crossing::Standing;
pub use self::message::{AcceptedHandshake, Content, Opened, Outgoing, Received, RememberedEk, Sealed};
use crate::{
    body::Capsule,
    envelope::{Address, Envelope, Kind},
    error::{InitiateError, OpenError, SealError},
    handshake::LocalDevice,
    header::{ContentKind, Header},
    introduction::{Introduction, SeenEk},
    padding,
    prekey_message::{EkHash, PrekeyPrefix},
    ratchet::{HeaderFacts, RatchetMessage},
    session::{Route, Session},
};

/// How long an archived session still receives: 30 d.
pub const ARCHIVE_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// The sessions with one device.
#[derive(Clone, Debug)]
pub struct SessionSet {
    peer: Address,
    active: Option<Session>,
    /// Messages in a row that were opened outside the active session.
    against: u8,
    /// Newest first.
    archived: VecDeque<Archived>,
}

#[derive(Clone, Debug)]
struct Archived {
    session: Session,
    since: Timestamp,
    standing: Standing,
}

impl SessionSet {
    /// No session yet with `peer`.
    #[must_use]
    pub const fn new(peer: Address) -> Self {
        Self {
            peer,
            active: None,
            against: 0,
            archived: VecDeque::new(),
        }
    }

    /// The device at the other end.
    #[must_use]
    pub const fn peer(&self) -> Address {
        self.peer
    }

    /// The session that sends, if there is one. Without it, fetch a bundle and [`SessionSet::initiate`].
    #[must_use]
    pub fn active(&self) -> Option<EkHash> {
        self.active.as_ref().map(Session::id)
    }

    /// How many post-quantum secrets are mixed into the sending session, if there is one: for a report.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        self.active.as_ref().map(Session::epoch)
    }

    /// Skipped message keys held, of every session: for a report.
    #[must_use]
    pub fn skipped_keys(&self) -> usize {
        self.sessions().map(Session::skipped_keys).sum()
    }

    /// Whether the sending session has been without a new post-quantum epoch for too long, if both devices keep up a
    /// post-quantum ratchet. Then sealing fails: tell the user and [`SessionSet::initiate`].
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.active.as_ref().is_some_and(|active| active.is_overdue(now))
    }

    /// Begins a session, which sends from now on; the one before is archived.
    ///
    /// # Errors
    /// [`InitiateError::OtherDevice`] for another device's bundle, [`InitiateError::BadPeerKey`] for a key of low order.
    pub fn initiate<R: CryptoRng + ?Sized>(
        &self,
        me: &LocalDevice,
        bundle: &VerifiedBundle,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Self, InitiateError> {
        if Address::from(bundle.peer()) != self.peer {
            return Err(InitiateError::OtherDevice);
        }
        let session = Session::initiate(me, bundle, now, rng)?;
        let mut next = self.clone();
        next.retire_all(now);
        next.active = Some(session);
        next.prune(now);
        Ok(next)
    }

    /// Seals a capsule for a message of `conversation`.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal_capsule<R: CryptoRng + ?Sized>(
        &self,
        outgoing: &Outgoing,
        conversation: ConversationId,
        capsule: &Capsule,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Sealed, SealError> {
        let plaintext = capsule.to_bytes();
        self.seal(
            outgoing,
            conversation,
            ContentKind::Capsule,
            plaintext.expose(),
            now,
            rng,
        )
    }

    /// Seals an encoded `Content` for the device itself, to go into its control log.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal_control<R: CryptoRng + ?Sized>(
        &self,
        outgoing: &Outgoing,
        content: &[u8],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Sealed, SealError> {
        let plaintext = padding::pad(&[content])?;
        let conversation = ConversationId::CONTROL;
        self.seal(outgoing, conversation, ContentKind::Control, &plaintext, now, rng)
    }

    /// Whether `received` begins a session that this set does not have: if so, its prefix, for
    /// [`Introduction::check`].
    ///
    /// # Errors
    /// See [`PrekeyPrefix::parse`].
    pub fn introduction_needed(&self, received: &Received<'_>) -> Result<Option<PrekeyPrefix>, OpenError> {
        if received.envelope.kind == Kind::Ratchet {
            return Ok(None);
        }
        let (prefix, _) = PrekeyPrefix::parse(received.bytes)?;
        let known = self
            .sessions()
            .any(|session| session.was_begun_by_peer(&prefix.ek));
        Ok((!known).then_some(prefix))
    }

    /// Opens one envelope. `introduction` is needed when [`SessionSet::introduction_needed`] says so, and unused else.
    ///
    /// # Errors
    /// See [`OpenError`]. On [`OpenError::SkipTooFar`], store [`SessionSet::archive`] of the session that it names.
    pub fn open(
        &self,
        received: &Received<'_>,
        me: &LocalDevice,
        introduction: Option<&Introduction<'_>>,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        let route = Route {
            sender: received.sender,
            receiver: Address::from(&me.identity),
            conversation: received.conversation,
            envelope: received.envelope,
        };
        if received.envelope.kind == Kind::Ratchet {
            let message = RatchetMessage::parse(received.bytes).ok_or(OpenError::Malformed)?;
            return self.open_in(Slot::all(), &message, &route, now);
        }
        let (prefix, message) = PrekeyPrefix::parse(received.bytes)?;
        let message = RatchetMessage::parse(message).ok_or(OpenError::Malformed)?;
        if prefix.initiator != received.sender {
            return Err(OpenError::Malformed);
        }
        let known = Slot::all().find_map(|slot| {
            let session = self.session(slot)?;
            session.was_begun_by_peer(&prefix.ek).then_some((slot, session))
        });
        match known {
            Some((_, session)) if session.suite() != prefix.suite => Err(OpenError::Malformed),
            Some((slot, _)) => self.open_in([slot].into_iter(), &message, &route, now),
            None => {
                let introduction = introduction.ok_or(OpenError::NoSession)?;
                self.open_first(&prefix, &message, &route, me, introduction, now)
            }
        }
    }

    /// Ends sending on `session` for good; it goes on receiving.
    #[must_use]
    pub fn archive(&self, session: EkHash, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.retire(session, now);
        next.prune(now);
        next
    }

    /// Ends sending on every session there is: after a rollback of this device's store.
    #[must_use]
    pub fn archive_all(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.retire_all(now);
        next.prune(now);
        next
    }

    /// The set without sessions and skipped keys that are past their age: for a sweep.
    #[must_use]
    pub fn expire(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.prune(now);
        for session in next
            .active
            .iter_mut()
            .chain(next.archived.iter_mut().map(|old| &mut old.session))
        {
            session.prune(now);
        }
        next
    }

    fn seal<R: CryptoRng + ?Sized>(
        &self,
        outgoing: &Outgoing,
        conversation: ConversationId,
        content: ContentKind,
        plaintext: &[u8],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Sealed, SealError> {
        let session = self.active.as_ref().ok_or(SealError::NoSession)?;
        let kind = session.kind();
        let route = Route {
            sender: outgoing.sender,
            receiver: self.peer,
            conversation,
            envelope: Envelope {
                kind,
                dest: self.peer.device,
                msg_id: outgoing.msg_id,
            },
        };
        let facts = HeaderFacts {
            content,
            sent_at: outgoing.sent_at,
            own_list: outgoing.own_list,
            peer_list: outgoing.peer_list,
            pq: outgoing.pq,
        };
        let (session, bytes) = session.seal(&route, &facts, plaintext, now, rng)?;
        let mut sessions = self.clone();
        sessions.active = Some(session);
        sessions.prune(now);
        Ok(Sealed {
            sessions,
            kind,
            bytes,
        })
    }

    /// Opens in the first of `slots` whose header keys fit.
    fn open_in(
        &self,
        slots: impl Iterator<Item = Slot>,
        message: &RatchetMessage<'_>,
        route: &Route,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        for slot in slots {
            let Some(session) = self.session(slot).filter(|_| self.is_current(slot, now)) else {
                continue;
            };
            let Some(located) = session.locate(message) else {
                continue;
            };
            let located = located?;
            let (session, plaintext) = session.open(&located, message, route, now)?;
            let mut sessions = self.clone();
            let id = session.id();
            sessions.replace(slot, session);
            sessions.follow(slot, now);
            sessions.prune(now);
            let archived_since = self.archived_since(slot);
            let opened = opened(
                sessions,
                id,
                &located.header,
                &plaintext,
                route.conversation,
                None,
            )?;
            return Ok(Opened {
                archived_since,
                ..opened
            });
        }
        Err(OpenError::NoSession)
    }

    fn open_first(
        &self,
        prefix: &PrekeyPrefix,
        message: &RatchetMessage<'_>,
        route: &Route,
        me: &LocalDevice,
        introduction: &Introduction<'_>,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        if introduction.seen == SeenEk::Seen {
            return Err(OpenError::Replay);
        }
        // A set of another device's sessions must never take this one in: it would be sealed for.
        if Address::from(&introduction.peer) != prefix.initiator || prefix.initiator != self.peer {
            return Err(OpenError::Malformed);
        }
        let begun = Session::respond(me, &introduction.peer, prefix, introduction.prekeys, now)?;
        let mut erase: Vec<_> = prefix.opk_id.into_iter().collect();
        if begun.kem_kind == Some(KemKind::OneTime) {
            erase.extend(prefix.kem.as_ref().map(|kem| kem.id));
        }
        if introduction.seen == SeenEk::Full && erase.is_empty() {
            return Err(OpenError::Replay);
        }
        let located = begun.session.locate(message).ok_or(OpenError::NoSession)??;
        let (session, plaintext) = begun.session.open(&located, message, route, now)?;
        let accepted = AcceptedHandshake {
            erase,
            remember: RememberedEk {
                ek: prefix.ek_hash(),
                spk: prefix.spk_id,
            },
            kem: begun.kem_kind,
        };
        let (mut sessions, id) = (self.clone(), session.id());
        sessions.admit(session, now);
        opened(
            sessions,
            id,
            &located.header,
            &plaintext,
            route.conversation,
            Some(accepted),
        )
    }

    fn prune(&mut self, now: Timestamp) {
        self.archived.retain(|old| old.is_current(now));
        self.archived.truncate(MAX_ARCHIVED_SESSIONS);
    }

    fn archived_since(&self, slot: Slot) -> Option<Timestamp> {
        match slot {
            Slot::Active => None,
            Slot::Archived(place) => self.archived.get(place).map(|old| old.since),
        }
    }

    fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.active
            .iter()
            .chain(self.archived.iter().map(|old| &old.session))
    }

    fn session(&self, slot: Slot) -> Option<&Session> {
        match slot {
            Slot::Active => self.active.as_ref(),
            Slot::Archived(at) => self.archived.get(at).map(|old| &old.session),
        }
    }

    fn is_current(&self, slot: Slot, now: Timestamp) -> bool {
        match slot {
            Slot::Active => true,
            Slot::Archived(at) => self.archived.get(at).is_some_and(|old| old.is_current(now)),
        }
    }

    fn replace(&mut self, slot: Slot, session: Session) {
        match slot {
            Slot::Active => self.active = Some(session),
            Slot::Archived(at) => {
                if let Some(old) = self.archived.get_mut(at) {
                    old.session = session;
                }
            }
        }
    }
}

impl Archived {
    fn is_current(&self, now: Timestamp) -> bool {
        now < self.since.saturating_add(ARCHIVE_LIFETIME)
    }
}

/// A place in a set.
#[derive(Clone, Copy)]
enum Slot {
    Active,
    Archived(usize),
}

impl Slot {
    /// The order in which header keys are tried.
    fn all() -> impl Iterator<Item = Self> {
        [Self::Active]
            .into_iter()
            .chain((0..MAX_ARCHIVED_SESSIONS).map(Self::Archived))
    }
}

fn opened(
    sessions: SessionSet,
    session: EkHash,
    header: &Header,
    plaintext: &[u8],
    conversation: ConversationId,
    accepted: Option<AcceptedHandshake>,
) -> Result<Opened, OpenError> {
    let content = match header.content {
        ContentKind::Control if conversation != ConversationId::CONTROL => return Err(OpenError::BadTag),
        ContentKind::Control => Content::Control(padding::unpad(plaintext)?.to_vec()),
        ContentKind::Capsule => Content::Capsule(Capsule::from_bytes(plaintext)?),
    };
    Ok(Opened {
        sessions,
        session,
        content,
        sent_at: header.sent_at,
        own_list: header.own_list,
        peer_list: header.peer_list,
        accepted,
        archived_since: None,
    })
}

#[cfg(test)]
mod tests;
