//! What one look at the database tells a request: who asks, what about, and what it asks for, if that may be told.
//!
//! Three looks are three ways to a thread that reads and back, which cost more than what is read; and one look sees one
//! state of the database, so that nothing can change between the decision and what it is about.

use axum::extract::FromRequestParts;
use http::{Uri, request::Parts};
use unhidra_messaging::access::facts;
use unhidra_policy::{Action, Decision, Principal, Resource, decide};
use unhidra_runtime::rate::{Exceeded, Grant};
use unhidra_store::{Snapshot, StoreError};
use unhidra_types::{ConversationId, UserId};
use unhidra_wire::rest::Entries;

use crate::{failure::Failure, rates::RequestLimits};

/// How a route reads what it answers, from its query; `None` when the query does not have its form.
pub(crate) type Prepare = fn(&Uri, ConversationId) -> Option<Reading>;

/// Reads what a route answers to a user who may read it; `None` inside when there is no such thing.
pub(crate) type Reading =
    Box<dyn FnOnce(&Snapshot<'_>, UserId) -> Result<Option<Entries>, StoreError> + Send>;

/// What was read before the handler runs.
#[derive(Clone)]
pub(crate) struct Ahead(pub(crate) Option<Entries>);

/// What to look for beside who asks.
pub(crate) struct Look {
    pub(crate) limits: RequestLimits,
    pub(crate) action: Action,
    /// The conversation that the path names.
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) reading: Option<Reading>,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) counted: Option<Result<Grant, Exceeded>>,
    /// The conversation, once the request is one of those that may come.
    pub(crate) resource: Option<Resource>,
    /// Read only for who may read it.
    pub(crate) ahead: Option<Ahead>,
}

impl Look {
    /// Counts the request of `principal` and looks, in this order: what comes too often costs no more than who asks.
    pub(crate) fn at(self, db: &Snapshot<'_>, principal: &Principal) -> Result<Seen, StoreError> {
        let counted = self.limits.known(principal);
        let is_exceeded = matches!(counted, Some(Err(_)));
        let mut seen = Seen {
            counted,
            ..Seen::default()
        };
        let Some((conversation, user)) = self.conversation.zip(principal.user()).filter(|_| !is_exceeded)
        else {
            return Ok(seen);
        };
        let resource = facts(db, conversation, user)?;
        if let Some(reading) = self.reading
            && decide(principal, self.action, &resource) == Decision::Allow
        {
            seen.ahead = Some(Ahead(reading(db, user)?));
        }
        seen.resource = Some(resource);
        Ok(seen)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ahead {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // The request was let through, so nothing but its query kept it from being read.
        parts.extensions.remove().ok_or_else(Failure::malformed_query)
    }
}
