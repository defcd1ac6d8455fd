//! What is said to an anchor and what it says, as bytes; no network in it.
//!
//! Each protocol is as small as the measurement needs: what it does not need to understand, it skips.

use super::{mqtt, nats, payload::Payload, xmpp};

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Nats,
    JetStream,
    Mqtt,
    Xmpp,
}

/// Who is connected: a number, used once on each run of an anchor, so that no session of an earlier one is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) u32);

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To all that are in the room of this sender.
    Room(Name),
    /// To one.
    Inbox(Name),
}

/// One step of a conversation that goes on only when the other side has answered.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) say: Vec<u8>,
    /// What the answer ends with.
    pub(super) until: Vec<u8>,
}

/// What was said to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A message's payload.
    Message(&'a [u8]),
    /// The same, which we have to confirm by these bytes.
    Confirmable(&'a [u8], [u8; 4]),
    /// A question that these bytes answer.
    Question(&'static [u8]),
    /// That a message of ours was refused, or we were.
    Refusal,
    /// Nothing that matters here.
    Other,
}

impl Step {
    pub(super) fn new(say: impl Into<Vec<u8>>, until: impl Into<Vec<u8>>) -> Self {
        Self {
            say: say.into(),
            until: until.into(),
        }
    }
}

impl Dialect {
    /// How `name` logs in.
    pub(super) fn log_in(self, name: Name) -> Vec<Step> {
        match self {
            Self::Nats | Self::JetStream => nats::log_in(),
            Self::Mqtt => mqtt::log_in(name),
            Self::Xmpp => xmpp::log_in(name),
        }
    }

    /// How `name`, who is logged in, gets what is sent to `place`.
    pub(super) fn listen(self, name: Name, place: Place) -> Vec<Step> {
        match self {
            Self::Nats | Self::JetStream => nats::listen(place),
            Self::Mqtt => mqtt::listen(place),
            Self::Xmpp => xmpp::listen(name, place),
        }
    }

    /// What `name` has to do before sending to `place`.
    pub(super) fn prepare(self, name: Name, place: Place) -> Vec<Step> {
        match (self, place) {
            (Self::JetStream, _) => nats::keep_everything(name),
            (Self::Xmpp, Place::Room(_)) => xmpp::listen(name, place),
            (Self::Nats | Self::Mqtt | Self::Xmpp, _) => Vec::new(),
        }
    }

    /// Appends a message of `name` to `place`.
    pub(super) fn send(self, name: Name, place: Place, payload: Payload, out: &mut Vec<u8>) {
        match self {
            Self::Nats => nats::publish(place, payload, out),
            Self::JetStream => nats::publish_to_stream(name, place, payload, out),
            Self::Mqtt => mqtt::publish(place, payload, out),
            Self::Xmpp => xmpp::message(place, payload, out),
        }
    }

    /// What `bytes` begin with, and how many of them that is; nothing while the rest of it is missing.
    pub(super) fn hear(self, bytes: &[u8]) -> anyhow::Result<Option<(usize, Heard<'_>)>> {
        match self {
            Self::Nats | Self::JetStream => nats::hear(bytes),
            Self::Mqtt => mqtt::hear(bytes),
            Self::Xmpp => Ok(xmpp::hear(bytes)),
        }
    }
}
