//! The one place where a request is decided: token to principal, path to resource, policy to yes or no.

use std::str::FromStr;

use axum::{
    extract::{RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Uri, header};
use unhidra_identity::{Caller, caller::AuthenticateError};
use unhidra_policy::{Action, Decision, Denial, Principal, Resource, decide};
use unhidra_runtime::{
    ClientAddress, Context,
    rate::{Exceeded, Grant},
};
use unhidra_store::Snapshot;
use unhidra_types::{OrgId, UserId};
use unhidra_wire::rest::Hidden;

use crate::{
    App,
    ahead::{Look, Prepare, Seen},
    endpoint::Target,
    failure::Failure,
    rates::Allowance,
};

/// What is decided on a route.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) app: App,
    pub(crate) action: Action,
    pub(crate) target: Target,
    /// How the route reads ahead what it answers, if it does.
    pub(crate) prepare: Option<Prepare>,
}

/// The bearer token of an authenticated request, for the act that is bound to it.
#[derive(Clone)]
pub(crate) struct BearerToken(pub(crate) Hidden);

/// What a path names that nobody has.
const NOBODY: Resource = Resource::User {
    user: UserId::from_bytes([0; 16]),
    org: OrgId::from_bytes([0; 16]),
};

/// Lets a request through, with its [`Caller`], or answers it.
pub(crate) async fn authorise(
    State(rule): State<Rule>,
    path: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let mut allowance = None;
    let mut response = match rule.decide(&path, &mut request, &mut allowance).await {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    if let Some(allowance) = allowance {
        response.extensions_mut().insert(allowance);
    }
    response
}

impl Rule {
    async fn decide(
        &self,
        path: &RawPathParams,
        request: &mut Request,
        allowance: &mut Option<Allowance>,
    ) -> Result<(), Failure> {
        let context = *request
            .extensions()
            .get::<Context>()
            .ok_or_else(Failure::no_context)?;
        let client = request.extensions().get::<ClientAddress>().copied();
        let mut caller = Caller {
            principal: Principal::Anonymous,
            context,
            network: client.map(ClientAddress::ip),
        };
        // Whoever may do it without a token is not asked for one: a stale token must not stop a login.
        if decide(&caller.principal, self.action, &Resource::Server) != Decision::Allow {
            let mut seen = Seen::default();
            if let Some(token) = bearer(request.headers())? {
                let look = self.look(path, request.uri());
                (caller.principal, seen) = match self.authenticate(&token, &caller, look).await? {
                    Some(found) => found,
                    None => {
                        // Written down only as often as it may come: bad tokens are free.
                        count(self.app.limits.unknown(client), allowance)?;
                        return Err(self.deny(Denial::Unauthenticated, &caller).await);
                    }
                };
                request.extensions_mut().insert(BearerToken(token));
            }
            let counted = seen.counted.map(Some);
            count(
                counted.unwrap_or_else(|| self.app.limits.unknown(client)),
                allowance,
            )?;
            let resource = match seen.resource {
                Some(resource) => resource,
                None => self.resource(path, &caller).await?,
            };
            if let Decision::Deny(denial) = decide(&caller.principal, self.action, &resource) {
                return Err(self.deny(denial, &caller).await);
            }
            if let Some(ahead) = seen.ahead {
                request.extensions_mut().insert(ahead);
            }
        } else if self.action != Action::ReadPublic {
            // What is public stays open to whoever watches the server's health.
            count(self.app.limits.unknown(client), allowance)?;
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }

    /// What to look for together with who asks.
    fn look(&self, path: &RawPathParams, uri: &Uri) -> Look {
        let conversation = match self.target {
            Target::Conversation => segment(path, "conversation"),
            _ => None,
        };
        Look {
            limits: self.app.limits.clone(),
            action: self.action,
            conversation,
            reading: self
                .prepare
                .zip(conversation)
                .and_then(|(prepare, conversation)| prepare(uri, conversation)),
        }
    }

    /// Who the token stands for, if it is good, and what else was seen.
    async fn authenticate(
        &self,
        token: &Hidden,
        caller: &Caller,
        look: Look,
    ) -> Result<Option<(Principal, Seen)>, Failure> {
        let look = |db: &Snapshot<'_>, principal: &Principal| look.at(db, principal);
        let identity = &self.app.identity;
        match identity
            .authenticate_and(token.expose(), &caller.context, look)
            .await
        {
            Ok(found) => Ok(Some(found)),
            Err(AuthenticateError::Store(error)) => Err(error.into()),
            Err(AuthenticateError::Token(_) | AuthenticateError::Over) => Ok(None),
            Err(AuthenticateError::Revoked) => {
                let denied = self.deny(Denial::Unauthenticated, caller).await;
                Err(denied.of_a_revoked_device())
            }
        }
    }

    async fn resource(&self, path: &RawPathParams, caller: &Caller) -> Result<Resource, Failure> {
        let App {
            identity, presence, ..
        } = &self.app;
        let own = caller.principal.user().zip(caller.principal.org());
        Ok(match self.target {
            Target::Server => Resource::Server,
            Target::OwnUser => own.map_or(NOBODY, |(user, org)| Resource::User { user, org }),
            // What nobody has authenticated for is not looked up.
            _ if own.is_none() => NOBODY,
            Target::User => match segment(path, "user") {
                Some(user) => identity.user_facts(user).await?,
                None => NOBODY,
            },
            Target::Device => match segment(path, "device") {
                Some(device) => identity.device_facts(device).await?,
                None => NOBODY,
            },
            Target::Session => match segment(path, "session") {
                Some(session) => identity.session_facts(session).await?,
                None => NOBODY,
            },
            Target::Connection => match segment(path, "connection").and_then(|id| presence.find(id)) {
                Some(found) => Resource::User {
                    user: found.user,
                    org: found.org,
                },
                None => NOBODY,
            },
            // It was seen together with who asks, unless the path names none.
            Target::Conversation => NOBODY,
        })
    }

    /// The refusal is told once it is written down.
    async fn deny(&self, denial: Denial, caller: &Caller) -> Failure {
        match self.app.identity.note_denial(caller, self.action.name()).await {
            Ok(()) => denial.into(),
            Err(error) => error.into(),
        }
    }
}

/// Notes what is left for the answer, or refuses.
fn count(counted: Option<Result<Grant, Exceeded>>, allowance: &mut Option<Allowance>) -> Result<(), Failure> {
    match counted {
        None => Ok(()),
        Some(Ok(grant)) => {
            *allowance = Some(grant.into());
            Ok(())
        }
        Some(Err(exceeded)) => {
            *allowance = Some(exceeded.into());
            Err(exceeded.into())
        }
    }
}

/// The token of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<Hidden>, Failure> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Failure::malformed("send one Authorization header"));
    }
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    match text {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(Hidden::new(token.trim().to_owned())))
        }
        _ => Err(Failure::malformed(
            "send the token as: Authorization: Bearer <token>",
        )),
    }
}

fn segment<T: FromStr>(path: &RawPathParams, name: &str) -> Option<T> {
    path.iter()
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.parse().ok())
}
