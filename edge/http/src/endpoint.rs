//! Every route: method, path, what it does in the words of the policy, what it does it to, and what the OpenAPI document
//! says of it.

pub(crate) mod documentation;

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use http::Method;
use unhidra_policy::Action;
use unhidra_wire::{
    audit::{AuditKey, AuditQuery, AuditRecords, ConsistencyProof, InclusionProof, TreeHead, TreeHeads},
    rest::{self, ProblemCode},
};

pub use self::documentation::Documentation;
use crate::{
    App,
    ahead::Prepare,
    handler::{
        account, admin, audit, connection, conversation, device, identity, link, public, session, user,
    },
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
    /// What the OpenAPI document says of it.
    pub documentation: Documentation,
    /// How it reads ahead what it answers, if it does.
    pub(crate) prepare: Option<Prepare>,
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
    /// The user whose connection the segment `{connection}` names.
    Connection,
}

/// The whole interface, in the order of its documentation.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    use {Action as A, ProblemCode as C, Target as T};
    vec![
        get("/healthz", A::ReadPublic, T::Server, public::alive).summary("The server is alive"),
        get("/readyz", A::ReadPublic, T::Server, public::ready).summary("The database takes and answers"),
        get("/.well-known/jwks.json", A::ReadPublic, T::Server, public::jwks)
            .summary("The keys that access tokens are verified with (RFC 7517)")
            .answers::<public::JwkSet>(),
        get("/v1/openapi.json", A::ReadPublic, T::Server, public::openapi)
            .summary("This document")
            .answers::<public::OpenApi>(),
        post("/v1/accounts", A::OpenAccount, T::Server, account::open)
            .summary("Open an account with an invitation")
            .repeatable()
            .takes::<rest::OpenAccount>()
            .creates::<rest::Enrolment>()
            .refuses(&[C::InvitationRefused, C::UsernameTaken, C::PasswordUnsuitable]),
        post("/v1/sessions", A::LogIn, T::Server, session::log_in)
            .summary("Prove a password")
            .takes::<rest::LogIn>()
            .answers::<rest::Enrolment>()
            .refuses(&[C::Unauthenticated]),
        post("/v1/sessions/refresh", A::Refresh, T::Server, session::refresh)
            .summary("Renew the tokens of a session")
            .takes::<rest::Refresh>()
            .answers::<rest::Tokens>()
            .refuses(&[C::Unauthenticated]),
        get("/v1/sessions", A::ListSessions, T::OwnUser, session::list)
            .summary("The own sessions")
            .query::<session::SessionPage>()
            .answers::<rest::Sessions>()
            .refuses(&[C::NotFound]),
        delete("/v1/sessions/{session}", A::EndSession, T::Session, session::end).summary("End a session"),
        post(
            "/v1/devices/{device}/sessions",
            A::BeginSession,
            T::OwnUser,
            session::begin,
        )
        .summary("Prove a device and begin its session")
        .takes::<rest::BeginSession>()
        .creates::<rest::Tokens>()
        .refuses(&[C::DeviceRefused]),
        get("/v1/me", A::ReadSelf, T::Server, user::me)
            .summary("Who this session is")
            .answers::<rest::Me>()
            .refuses(&[C::NotFound]),
        post("/v1/me/delete", A::DeleteAccount, T::OwnUser, account::delete)
            .summary("Delete the own account for good")
            .takes::<rest::DeleteAccount>()
            .refuses(&[C::NotFound, C::PasswordWrong, C::LastAdministrator]),
        get(
            "/v1/users/by-name/{username}",
            A::FindUser,
            T::Server,
            user::by_name,
        )
        .summary("Find a user by name")
        .answers::<rest::User>()
        .refuses(&[C::AccountDeleted]),
        get("/v1/users/{user}", A::ReadUser, T::User, user::read)
            .summary("Name a user")
            .answers::<rest::User>()
            .refuses(&[C::AccountDeleted]),
        get("/v1/users/{user}/chain", A::ReadChain, T::User, user::chain)
            .summary("Records of a device chain, in order")
            .query::<user::From>()
            .answers::<rest::ChainRecords>()
            .refuses(&[C::AccountDeleted]),
        post(
            "/v1/users/me/chain",
            A::ExtendChain,
            T::OwnUser,
            user::extend_chain,
        )
        .summary("Append to the own device chain")
        .takes::<rest::ExtendChain>()
        .answers::<rest::ChainHead>()
        .refuses(&[C::ChainConflict, C::ChainRefused, C::TooMany]),
        get(
            "/v1/users/me/recovery",
            A::ReadRecovery,
            T::OwnUser,
            user::recovery,
        )
        .summary("The own wrapped identity key")
        .answers::<rest::Recovery>()
        .refuses(&[C::NotFound]),
        put(
            "/v1/users/me/recovery",
            A::ReplaceRecovery,
            T::OwnUser,
            identity::replace_recovery,
        )
        .summary("Wrap the own identity key by another recovery key")
        .takes::<rest::ReplaceRecovery>()
        .refuses(&[C::NotFound, C::ChainRefused]),
        post(
            "/v1/users/me/identity/rotation",
            A::RotateIdentity,
            T::OwnUser,
            identity::rotate,
        )
        .summary("Replace the own identity by one that it signed")
        .takes::<rest::ReplaceIdentity>()
        .answers::<rest::ChainHead>()
        .refuses(&[
            C::NotFound,
            C::ChainConflict,
            C::ChainRefused,
            C::TooMany,
            C::TooSoon,
        ]),
        post(
            "/v1/users/me/identity/reset",
            A::ResetIdentity,
            T::OwnUser,
            identity::reset,
        )
        .summary("Replace the own identity by one that nothing vouches for")
        .takes::<rest::ReplaceIdentity>()
        .answers::<rest::ChainHead>()
        .refuses(&[
            C::NotFound,
            C::ChainConflict,
            C::ChainRefused,
            C::TooMany,
            C::TooSoon,
        ]),
        post(
            "/v1/users/{user}/bundles",
            A::TakeBundles,
            T::User,
            user::take_bundles,
        )
        .summary("Take one prekey bundle of each named device")
        .takes::<rest::TakeBundles>()
        .answers::<rest::Bundles>()
        .refuses(&[C::PrekeysRefused, C::TooMany]),
        get("/v1/devices", A::ListDevices, T::OwnUser, device::list)
            .summary("The own devices")
            .answers::<rest::Devices>()
            .refuses(&[C::NotFound]),
        put(
            "/v1/devices/{device}/prekeys",
            A::UploadPrekeys,
            T::Device,
            device::upload_prekeys,
        )
        .summary("Add or replace prekeys of this device")
        .takes::<rest::UploadPrekeys>()
        .answers::<rest::Stock>()
        .refuses(&[C::PrekeysRefused, C::TooMany]),
        get(
            "/v1/devices/{device}/prekeys",
            A::ReadStock,
            T::Device,
            device::stock,
        )
        .summary("Which prekeys of this device are left")
        .answers::<rest::Stock>(),
        put(
            "/v1/devices/{device}/failures",
            A::ReportFailures,
            T::Device,
            device::report_failures,
        )
        .summary("Report how often this device could not open a message")
        .takes::<rest::OpeningFailures>(),
        post(
            "/v1/links/{device}/to-certifier",
            A::LinkAsNewDevice,
            T::OwnUser,
            link::send_to_certifier,
        )
        .summary("Say something to the certifying device")
        .takes::<rest::LinkMessage>()
        .refuses(&[C::TooMany]),
        get(
            "/v1/links/{device}/to-new-device",
            A::LinkAsNewDevice,
            T::OwnUser,
            link::read_to_new_device,
        )
        .summary("What the certifying device said")
        .query::<link::After>()
        .answers::<rest::LinkMessages>(),
        post(
            "/v1/links/{device}/to-new-device",
            A::LinkAsCertifier,
            T::OwnUser,
            link::send_to_new_device,
        )
        .summary("Say something to the new device")
        .takes::<rest::LinkMessage>()
        .refuses(&[C::TooMany]),
        get(
            "/v1/links/{device}/to-certifier",
            A::LinkAsCertifier,
            T::OwnUser,
            link::read_to_certifier,
        )
        .summary("What the new device said")
        .query::<link::After>()
        .answers::<rest::LinkMessages>(),
        post(
            "/v1/conversations",
            A::OpenConversation,
            T::OwnUser,
            conversation::open,
        )
        .summary("Open a conversation, or name the one that exists")
        .repeatable()
        .takes::<rest::OpenConversation>()
        .answers::<rest::Conversation>()
        .refuses(&[C::NotFound, C::AccountDeleted, C::TooMany]),
        get(
            "/v1/conversations",
            A::ListConversations,
            T::OwnUser,
            conversation::list,
        )
        .summary("The own conversations")
        .query::<conversation::ConversationPage>()
        .answers::<rest::Conversations>()
        .refuses(&[C::NotFound]),
        post(
            "/v1/conversations/{conversation}/entries",
            A::AppendEntry,
            T::Conversation,
            conversation::append,
        )
        .summary("Append to a group's log")
        .takes::<rest::AppendEntry>()
        .answers::<rest::AppendedEntry>()
        .refuses(&[C::RateLimited]),
        get(
            "/v1/conversations/{conversation}/entries",
            A::ReadEntries,
            T::Conversation,
            conversation::entries,
        )
        .summary("A page of a log")
        .query::<conversation::EntryPage>()
        .reads_ahead(conversation::prepare_entries)
        .answers::<rest::Entries>(),
        post("/v1/admin/invitations", A::Invite, T::Server, admin::invite)
            .summary("Make an invitation; its token is shown once")
            .repeatable()
            .takes::<rest::Invite>()
            .creates::<rest::Invitation>(),
        get(
            "/v1/admin/invitations",
            A::ListInvitations,
            T::Server,
            admin::invitations,
        )
        .summary("All invitations")
        .query::<admin::InvitationPage>()
        .answers::<rest::Invitations>(),
        delete(
            "/v1/admin/invitations/{invitation}",
            A::RevokeInvitation,
            T::Server,
            admin::revoke_invitation,
        )
        .summary("Withdraw an invitation that nobody used"),
        get("/v1/admin/users", A::ListAccounts, T::Server, admin::users)
            .summary("All accounts")
            .query::<admin::AccountPage>()
            .answers::<rest::Accounts>(),
        get("/v1/admin/users/{user}", A::ReadAccount, T::User, admin::user)
            .summary("One account")
            .answers::<rest::Account>(),
        post(
            "/v1/admin/users/{user}/disable",
            A::DisableAccount,
            T::User,
            admin::disable,
        )
        .summary("Disable an account and end its sessions")
        .refuses(&[C::LastAdministrator]),
        post(
            "/v1/admin/users/{user}/enable",
            A::EnableAccount,
            T::User,
            admin::enable,
        )
        .summary("Enable an account again")
        .refuses(&[C::AccountDeleted]),
        get(
            "/v1/admin/sessions",
            A::ListAllSessions,
            T::Server,
            admin::sessions,
        )
        .summary("Everyone's sessions")
        .query::<admin::SessionPage>()
        .answers::<rest::Sessions>(),
        get("/v1/admin/devices", A::ListAllDevices, T::Server, admin::devices)
            .summary("Everyone's devices")
            .query::<admin::DevicePage>()
            .answers::<rest::AllDevices>(),
        post(
            "/v1/admin/devices/{device}/revoke-sessions",
            A::RefuseDevice,
            T::Device,
            admin::refuse_device,
        )
        .summary("End the sessions of a device and refuse new ones")
        .answers::<rest::EndedSessions>(),
        post(
            "/v1/admin/devices/{device}/allow-sessions",
            A::AllowDevice,
            T::Device,
            admin::allow_device,
        )
        .summary("Allow sessions of a device again"),
        get("/v1/audit/key", A::ReadPublic, T::Server, audit::key)
            .summary("What tree heads are verified with")
            .answers::<AuditKey>(),
        get("/v1/audit/head", A::ReadTreeHead, T::Server, audit::head)
            .summary("The signed head of the audit tree")
            .answers::<TreeHead>(),
        get("/v1/audit/heads", A::ReadTreeHead, T::Server, audit::heads)
            .summary("The heads that were signed, in order")
            .query::<audit::Page>()
            .answers::<TreeHeads>(),
        get(
            "/v1/audit/consistency",
            A::ReadTreeHead,
            T::Server,
            audit::consistency,
        )
        .summary("That a tree begins with an earlier one")
        .query::<audit::Sizes>()
        .answers::<ConsistencyProof>(),
        get("/v1/audit/records", A::ReadAudit, T::Server, audit::records)
            .summary("Audit records that fit the query, in order")
            .query::<AuditQuery>()
            .answers::<AuditRecords>(),
        get(
            "/v1/audit/records/{number}/proof",
            A::ReadAudit,
            T::Server,
            audit::proof,
        )
        .summary("That a signed tree has a record")
        .query::<audit::Size>()
        .answers::<InclusionProof>(),
        delete(
            "/v1/audit/records/{number}/payload",
            A::EraseAuditPayload,
            T::Server,
            audit::erase_payload,
        )
        .summary("Erase the details of a record; the record stays"),
        get(
            "/v1/admin/connections",
            A::ListConnections,
            T::Server,
            connection::list,
        )
        .summary("A page of the WebSocket connections, the oldest first")
        .query::<connection::Page>()
        .answers::<rest::Connections>(),
        delete(
            "/v1/admin/connections/{connection}",
            A::CloseConnection,
            T::Connection,
            connection::close,
        )
        .summary("Close a WebSocket connection; its session stays"),
    ]
}

fn get<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    route(MethodFilter::GET, Method::GET, path, action, target, handler)
}

fn post<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    route(MethodFilter::POST, Method::POST, path, action, target, handler)
}

fn put<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    route(MethodFilter::PUT, Method::PUT, path, action, target, handler)
}

fn delete<H: Handler<X, App>, X: 'static>(
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    route(
        MethodFilter::DELETE,
        Method::DELETE,
        path,
        action,
        target,
        handler,
    )
}

fn route<H: Handler<X, App>, X: 'static>(
    filter: MethodFilter,
    method: Method,
    path: &'static str,
    action: Action,
    target: Target,
    handler: H,
) -> Endpoint {
    Endpoint {
        method,
        path,
        action,
        target,
        documentation: Documentation::default(),
        prepare: None,
        handler: on(filter, handler),
    }
}
