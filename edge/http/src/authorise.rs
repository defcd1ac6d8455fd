//! The one place where a request is decided: token to principal, path to resource, policy to yes or no.

use std::str::FromStr;

use axum::{
    extract::{RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header};
use unhidra_identity::{Caller, caller::AuthenticateError};
use unhidra_policy::{Action, Decision, Denial, Principal, Resource, decide};
use unhidra_runtime::{ClientAddress, Context};
use unhidra_types::{ConversationId, OrgId, UserId};
use unhidra_wire::rest::Hidden;

use crate::{App, endpoint::Target, failure::Failure};

/// What is decided on a route.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) app: App,
    pub(crate) action: Action,
    pub(crate) target: Target,
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
    match rule.decide(&path, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

impl Rule {
    async fn decide(&self, path: &RawPathParams, request: &mut Request) -> Result<(), Failure> {
        let context = *request
            .extensions()
            .get::<Context>()
            .ok_or_else(Failure::no_context)?;
        let network = request
            .extensions()
            .get::<ClientAddress>()
            .map(|client| client.ip());
        let mut caller = Caller {
            principal: Principal::Anonymous,
            context,
            network,
        };
        // Whoever may do it without a token is not asked for one: a stale token must not stop a login.
        if decide(&caller.principal, self.action, &Resource::Server) != Decision::Allow {
            if let Some(token) = bearer(request.headers())? {
                caller.principal = self.authenticate(&token, &caller).await?;
                request.extensions_mut().insert(BearerToken(token));
            }
            let resource = self.resource(path, &caller).await?;
            if let Decision::Deny(denial) = decide(&caller.principal, self.action, &resource) {
                return Err(self.deny(denial, &caller).await);
            }
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }

    async fn authenticate(&self, token: &Hidden, caller: &Caller) -> Result<Principal, Failure> {
        match self
            .app
            .identity
            .authenticate(token.expose(), &caller.context)
            .await
        {
            Ok(principal) => Ok(principal),
            Err(AuthenticateError::Store(error)) => Err(error.into()),
            Err(AuthenticateError::Token(_) | AuthenticateError::Over) => {
                Err(self.deny(Denial::Unauthenticated, caller).await)
            }
            Err(AuthenticateError::Revoked) => {
                let denied = self.deny(Denial::Unauthenticated, caller).await;
                Err(denied.of_a_revoked_device())
            }
        }
    }

    async fn resource(&self, path: &RawPathParams, caller: &Caller) -> Result<Resource, Failure> {
        let App {
            identity, messaging, ..
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
            Target::Conversation => match segment::<ConversationId>(path, "conversation").zip(own) {
                Some((conversation, (user, _))) => messaging.facts(conversation, user).await?,
                None => NOBODY,
            },
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
