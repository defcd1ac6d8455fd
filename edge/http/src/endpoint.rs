//! Every route: method, path, what it does in the words of the policy, and what it does it to.

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use http::Method;
use unhidra_policy::Action;

use crate::{
    App,
    handler::{account, admin, conversation, device, link, public, session, user},
};

/// One route.
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, with `{names}` of its variable segments.
    pub path: &'static str,
    /// What it does.
    pub action: Action,
    /// What it does it to.
    pub target: Target,
    pub(crate) handler: MethodRouter<App>,
}

/// Where the resource of a request is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The server as a whole.
    Server,
    /// The caller's own user.
    OwnUser,
    /// The user in the segment `{user}`.
    User,
    /// The device in the segment `{device}`.
    Device,
    /// The session in the segment `{session}`.
    Session,
    /// The conversation in the segment `{conversation}`.
    Conversation,
}

/// The whole interface, in the order of its documentation.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    use {Action as A, Target as T};
    vec![
        get("/healthz", A::ReadPublic, T::Server, public::alive),
        get("/readyz", A::ReadPublic, T::Server, public::ready),
        get("/.well-known/jwks.json", A::ReadPublic, T::Server, public::jwks),
        post("/v1/accounts", A::OpenAccount, T::Server, account::open),
        post("/v1/sessions", A::LogIn, T::Server, session::log_in),
        post("/v1/sessions/refresh", A::Refresh, T::Server, session::refresh),
        delete("/v1/sessions/{session}", A::EndSession, T::Session, session::end),
        post(
            "/v1/devices/{device}/sessions",
            A::BeginSession,
            T::OwnUser,
            session::begin,
        ),
        get("/v1/me", A::ReadSelf, T::Server, user::me),
        get(
            "/v1/users/by-name/{username}",
            A::FindUser,
            T::Server,
            user::by_name,
        ),
        get("/v1/users/{user}", A::ReadUser, T::User, user::read),
        get("/v1/users/{user}/chain", A::ReadChain, T::User, user::chain),
        post(
            "/v1/users/me/chain",
            A::ExtendChain,
            T::OwnUser,
            user::extend_chain,
        ),
        get(
            "/v1/users/me/recovery",
            A::ReadRecovery,
            T::OwnUser,
            user::recovery,
        ),
        post(
            "/v1/users/{user}/bundles",
            A::TakeBundles,
            T::User,
            user::take_bundles,
        ),
        get("/v1/devices", A::ListDevices, T::OwnUser, device::list),
        put(
            "/v1/devices/{device}/prekeys",
            A::UploadPrekeys,
            T::Device,
            device::upload_prekeys,
        ),
        get(
            "/v1/devices/{device}/prekeys",
            A::ReadStock,
            T::Device,
            device::stock,
        ),
        post(
            "/v1/links/{device}/to-certifier",
            A::LinkAsNewDevice,
            T::OwnUser,
            link::send_to_certifier,
        ),
        get(
            "/v1/links/{device}/to-new-device",
            A::LinkAsNewDevice,
            T::OwnUser,
            link::read_to_new_device,
        ),
        post(
            "/v1/links/{device}/to-new-device",
            A::LinkAsCertifier,
            T::OwnUser,
            link::send_to_new_device,
        ),
        get(
            "/v1/links/{device}/to-certifier",
            A::LinkAsCertifier,
            T::OwnUser,
            link::read_to_certifier,
        ),
        post(
            "/v1/conversations",
            A::OpenConversation,
            T::OwnUser,
            conversation::open,
        ),
        get(
            "/v1/conversations",
            A::ListConversations,
            T::OwnUser,
            conversation::list,
        ),
        post(
            "/v1/conversations/{conversation}/entries",
            A::AppendEntry,
            T::Conversation,
            conversation::append,
        ),
        get(
            "/v1/conversations/{conversation}/entries",
            A::ReadEntries,
            T::Conversation,
            conversation::entries,
        ),
        post("/v1/admin/invitations", A::Invite, T::Server, admin::invite),
    ]
}

fn get<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    Endpoint {
        method: Method::GET,
        path,
        action,
        target,
        handler: on(MethodFilter::GET, handler),
    }
}

fn post<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    Endpoint {
        method: Method::POST,
        path,
        action,
        target,
        handler: on(MethodFilter::POST, handler),
    }
}

fn put<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    Endpoint {
        method: Method::PUT,
        path,
        action,
        target,
        handler: on(MethodFilter::PUT, handler),
    }
}

fn delete<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    Endpoint {
        method: Method::DELETE,
        path,
        action,
        target,
        handler: on(MethodFilter::DELETE, handler),
    }
}
