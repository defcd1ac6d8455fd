//! How often requests may come, and the headers that say so.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use unhidra_policy::Principal;
use unhidra_runtime::{
    ClientAddress, Limiter, Rate, Subscriber,
    rate::{Exceeded, Grant},
};
use unhidra_types::{SessionId, UserId};

/// Sessions and networks that are counted, each at least so many.
const REMEMBERED: usize = 16_384;
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// How often requests may come. Clones count together.
#[derive(Clone)]
pub struct RequestLimits(Arc<Counts>);

/// The rates behind [`RequestLimits`].
#[derive(Clone, Copy, Debug)]
pub struct RequestRates {
    /// Of one session.
    pub per_session: Rate,
    /// Of one network without credentials, or with bad ones.
    pub per_network: Rate,
}

struct Counts {
    known: Limiter<Who>,
    networks: Limiter<Subscriber>,
    began: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Session(SessionId),
    Enrolling(UserId),
}

/// What a session has left, for the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    limit: u32,
    remaining: u32,
    reset: Duration,
}

impl Default for RequestRates {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            per_session: Rate::new(20, second, 400),
            per_network: Rate::new(10, second, 300),
        }
    }
}

impl RequestLimits {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(rates: &RequestRates) -> Self {
        Self(Arc::new(Counts {
            known: Limiter::new(rates.per_session, REMEMBERED),
            networks: Limiter::new(rates.per_network, REMEMBERED),
            began: Instant::now(),
        }))
    }

    /// Counts a request of whoever has shown good credentials.
    pub(crate) fn known(&self, principal: &Principal) -> Option<Result<Grant, Exceeded>> {
        let who = match principal {
            Principal::Anonymous => return None,
            Principal::Enrolling { user, .. } => Who::Enrolling(*user),
            Principal::Device { session, .. } => Who::Session(*session),
        };
        Some(self.0.known.take(who, self.0.began.elapsed()))
    }

    /// Counts a request of whoever has shown none, or bad ones.
    pub(crate) fn unknown(&self, client: Option<ClientAddress>) -> Option<Result<Grant, Exceeded>> {
        let network = Subscriber::from(client?.ip());
        Some(self.0.networks.take(network, self.0.began.elapsed()))
    }
}

impl From<Grant> for Allowance {
    fn from(grant: Grant) -> Self {
        Self {
            limit: grant.limit,
            remaining: grant.remaining,
            reset: grant.reset,
        }
    }
}

impl From<Exceeded> for Allowance {
    fn from(exceeded: Exceeded) -> Self {
        Self {
            limit: exceeded.limit,
            remaining: 0,
            reset: exceeded.reset,
        }
    }
}

impl Allowance {
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(seconds(self.reset)));
    }
}

/// Whole seconds, rounded up: who comes a moment early would be refused again.
pub(crate) fn seconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)
}
