//! Who may do what: one pure function from a principal, an action and the facts about a resource to a decision.
//!
//! It looks nothing up: the edge finds the facts and enforces the decision. What depends on the content of a request,
//! such as a signature, is checked by the service that does the act.
//!
//! Invariants: whoever is not allowed is refused; another organisation's things look like things that do not exist.
#![warn(missing_docs)]

#[cfg(test)]
mod matrix;

use unhidra_types::{DeviceId, OrgId, Role, SessionId, UserId};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody has authenticated.
    Anonymous,
    /// Someone who knows the account's password and has not proved a device yet.
    Enrolling {
        /// The account.
        user: UserId,
        /// Its organisation.
        org: OrgId,
    },
    /// A device with a live session.
    Device {
        /// Its user.
        user: UserId,
        /// The device.
        device: DeviceId,
        /// The session.
        session: SessionId,
        /// The user's organisation.
        org: OrgId,
        /// The user's role.
        role: Role,
    },
}

/// What is asked for: every REST route and every WebSocket frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Public keys and health.
    ReadPublic,
    /// Opens an account by an invitation, which is checked by the act.
    OpenAccount,
    /// Proves a password.
    LogIn,
    /// Proves a device's key.
    BeginSession,
    /// Renews a session's tokens; refresh token and signature are checked by the act.
    Refresh,
    /// Ends a session.
    EndSession,
    /// Reads who the caller is.
    ReadSelf,
    /// Looks a user up by name; the answer is limited to the caller's organisation.
    FindUser,
    /// Reads a user's name.
    ReadUser,
    /// Reads a user's device chain.
    ReadChain,
    /// Appends to a user's device chain; signatures are checked by the act.
    ExtendChain,
    /// Reads a user's wrapped identity key.
    ReadRecovery,
    /// Replaces a user's wrapped identity key; the device's capability is checked by the act.
    ReplaceRecovery,
    /// Replaces a user's identity by one that it signed; signatures are checked by the act.
    RotateIdentity,
    /// Replaces a user's identity by one that nothing vouches for.
    ResetIdentity,
    /// Lists a user's devices.
    ListDevices,
    /// Uploads a device's prekeys.
    UploadPrekeys,
    /// Reads which prekeys of a device are left.
    ReadStock,
    /// Reports what a device could not open.
    ReportFailures,
    /// Takes prekey bundles of a user's devices.
    TakeBundles,
    /// Speaks in a user's linking channel as the device that wants to be certified.
    LinkAsNewDevice,
    /// Speaks in a user's linking channel as the device that certifies.
    LinkAsCertifier,
    /// Makes an invitation.
    Invite,
    /// Lists a user's sessions.
    ListSessions,
    /// Deletes a user's account for good; the password is checked by the act.
    DeleteAccount,
    /// Lists all accounts.
    ListAccounts,
    /// Reads what administration sees of an account.
    ReadAccount,
    /// Disables an account.
    DisableAccount,
    /// Enables an account again.
    EnableAccount,
    /// Lists everyone's sessions.
    ListAllSessions,
    /// Lists everyone's devices.
    ListAllDevices,
    /// Ends and refuses the sessions of a device.
    RefuseDevice,
    /// Allows the sessions of a device again.
    AllowDevice,
    /// Lists invitations.
    ListInvitations,
    /// Withdraws an invitation.
    RevokeInvitation,
    /// Reads signed heads of the audit tree, and how one grew out of another.
    ReadTreeHead,
    /// Reads audit records and their proofs.
    ReadAudit,
    /// Erases the details of an audit record.
    EraseAuditPayload,
    /// Lists the connections of the caller's organisation.
    ListConnections,
    /// Closes a user's connection.
    CloseConnection,
    /// Opens conversations as a user; whom with is checked by the act.
    OpenConversation,
    /// Lists a user's conversations.
    ListConversations,
    /// Reads entries of a log over REST, or a range again over WebSocket.
    ReadEntries,
    /// Appends to a group's log over REST.
    AppendEntry,
    /// Opens a WebSocket connection.
    Connect,
    /// Appends to a log over WebSocket.
    Append,
    /// Moves a device's cursor in a log.
    Acknowledge,
}

/// What it is asked of, with the facts that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The server as a whole.
    Server,
    /// A user and everything that is one user's.
    User {
        /// The user.
        user: UserId,
        /// Their organisation.
        org: OrgId,
    },
    /// A device.
    Device {
        /// The device.
        device: DeviceId,
        /// Whose it is.
        user: UserId,
        /// The user's organisation.
        org: OrgId,
    },
    /// A session.
    Session {
        /// Whose it is.
        user: UserId,
        /// The user's organisation.
        org: OrgId,
    },
    /// A conversation.
    Conversation {
        /// Its organisation.
        org: OrgId,
        /// Its kind.
        kind: ConversationKind,
        /// Whether the principal's user is in it.
        membership: Membership,
    },
    /// What other devices say to one device itself.
    ControlLog {
        /// The device that reads it.
        device: DeviceId,
        /// Whose it is.
        user: UserId,
        /// The user's organisation.
        org: OrgId,
        /// Whether the principal's user and the device's talk to each other.
        correspondence: Correspondence,
    },
}

/// Whether two users have a direct conversation. A user corresponds with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correspondence {
    /// They have.
    Open,
    /// They have not.
    None,
}

/// Kinds of conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversationKind {
    /// Two users.
    Direct,
    /// Members.
    Group,
}

/// Whether the principal's user is in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Is in it.
    Member,
    /// Is not.
    Outsider,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Go on.
    Allow,
    /// Stop, and say so in this way.
    Deny(Denial),
}

/// How a refusal looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Nobody has authenticated.
    Unauthenticated,
    /// The caller is known and may not.
    Forbidden,
    /// The caller may not even know that it exists.
    NotFound,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 47] = [
        Self::ReadPublic,
        Self::OpenAccount,
        Self::LogIn,
        Self::BeginSession,
        Self::Refresh,
        Self::EndSession,
        Self::ReadSelf,
        Self::FindUser,
        Self::ReadUser,
        Self::ReadChain,
        Self::ExtendChain,
        Self::ReadRecovery,
        Self::ReplaceRecovery,
        Self::RotateIdentity,
        Self::ResetIdentity,
        Self::ListDevices,
        Self::UploadPrekeys,
        Self::ReadStock,
        Self::ReportFailures,
        Self::TakeBundles,
        Self::LinkAsNewDevice,
        Self::LinkAsCertifier,
        Self::Invite,
        Self::ListSessions,
        Self::DeleteAccount,
        Self::ListAccounts,
        Self::ReadAccount,
        Self::DisableAccount,
        Self::EnableAccount,
        Self::ListAllSessions,
        Self::ListAllDevices,
        Self::RefuseDevice,
        Self::AllowDevice,
        Self::ListInvitations,
        Self::RevokeInvitation,
        Self::ReadTreeHead,
        Self::ReadAudit,
        Self::EraseAuditPayload,
        Self::ListConnections,
        Self::CloseConnection,
        Self::OpenConversation,
        Self::ListConversations,
        Self::ReadEntries,
        Self::AppendEntry,
        Self::Connect,
        Self::Append,
        Self::Acknowledge,
    ];

    /// The name in audit records and in the permission matrix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadPublic => "read-public",
            Self::OpenAccount => "open-account",
            Self::LogIn => "log-in",
            Self::BeginSession => "begin-session",
            Self::Refresh => "refresh",
            Self::EndSession => "end-session",
            Self::ReadSelf => "read-self",
            Self::FindUser => "find-user",
            Self::ReadUser => "read-user",
            Self::ReadChain => "read-chain",
            Self::ExtendChain => "extend-chain",
            Self::ReadRecovery => "read-recovery",
            Self::ReplaceRecovery => "replace-recovery",
            Self::RotateIdentity => "rotate-identity",
            Self::ResetIdentity => "reset-identity",
            Self::ListDevices => "list-devices",
            Self::UploadPrekeys => "upload-prekeys",
            Self::ReadStock => "read-stock",
            Self::ReportFailures => "report-failures",
            Self::TakeBundles => "take-bundles",
            Self::LinkAsNewDevice => "link-as-new-device",
            Self::LinkAsCertifier => "link-as-certifier",
            Self::Invite => "invite",
            Self::ListSessions => "list-sessions",
            Self::DeleteAccount => "delete-account",
            Self::ListAccounts => "list-accounts",
            Self::ReadAccount => "read-account",
            Self::DisableAccount => "disable-account",
            Self::EnableAccount => "enable-account",
            Self::ListAllSessions => "list-all-sessions",
            Self::ListAllDevices => "list-all-devices",
            Self::RefuseDevice => "refuse-device",
            Self::AllowDevice => "allow-device",
            Self::ListInvitations => "list-invitations",
            Self::RevokeInvitation => "revoke-invitation",
            Self::ReadTreeHead => "read-tree-head",
            Self::ReadAudit => "read-audit",
            Self::EraseAuditPayload => "erase-audit-payload",
            Self::ListConnections => "list-connections",
            Self::CloseConnection => "close-connection",
            Self::OpenConversation => "open-conversation",
            Self::ListConversations => "list-conversations",
            Self::ReadEntries => "read-entries",
            Self::AppendEntry => "append-entry",
            Self::Connect => "connect",
            Self::Append => "append",
            Self::Acknowledge => "acknowledge",
        }
    }
}

impl Principal {
    /// The account, once there is one.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        match self {
            Self::Anonymous => None,
            Self::Enrolling { user, .. } | Self::Device { user, .. } => Some(*user),
        }
    }

    /// The account's organisation.
    #[must_use]
    pub const fn org(&self) -> Option<OrgId> {
        match self {
            Self::Anonymous => None,
            Self::Enrolling { org, .. } | Self::Device { org, .. } => Some(*org),
        }
    }
}

/// Decides.
pub fn decide(principal: &Principal, action: Action, resource: &Resource) -> Decision {
    if is_open_to_everyone(action, resource) {
        return Decision::Allow;
    }
    let Some((user, org)) = principal.user().zip(principal.org()) else {
        return Decision::Deny(Denial::Unauthenticated);
    };
    if resource.org().is_some_and(|of| of != org) {
        return Decision::Deny(Denial::NotFound);
    }
    let allowed = match principal {
        Principal::Anonymous => false,
        Principal::Enrolling { .. } => while_enrolling(action, resource, user),
        Principal::Device { device, role, .. } => {
            if let Resource::Conversation {
                membership: Membership::Outsider,
                ..
            }
            | Resource::ControlLog {
                correspondence: Correspondence::None,
                ..
            } = resource
            {
                return Decision::Deny(Denial::NotFound);
            }
            with_a_device(action, resource, user, *device, *role)
        }
    };
    if allowed {
        Decision::Allow
    } else {
        Decision::Deny(Denial::Forbidden)
    }
}

fn is_open_to_everyone(action: Action, resource: &Resource) -> bool {
    use Action as A;
    matches!(
        (action, resource),
        (
            A::ReadPublic | A::OpenAccount | A::LogIn | A::Refresh,
            Resource::Server
        )
    )
}

/// A password alone is good for proving or enrolling a device, and for getting an identity back.
fn while_enrolling(action: Action, resource: &Resource, user: UserId) -> bool {
    use Action as A;
    match action {
        A::BeginSession
        | A::ReadChain
        | A::ExtendChain
        | A::ReadRecovery
        | A::LinkAsNewDevice
        | A::DeleteAccount
        | A::ResetIdentity => resource.belongs_to(user) && matches!(resource, Resource::User { .. }),
        _ => false,
    }
}

fn with_a_device(action: Action, resource: &Resource, user: UserId, device: DeviceId, role: Role) -> bool {
    use Action as A;
    use Resource as R;
    match (action, resource) {
        (A::ReadSelf | A::FindUser | A::ReadTreeHead | A::Connect, R::Server) => true,
        (action, _) if administers(action, resource) => role == Role::SuperAdmin,
        (A::ReadUser | A::ReadChain | A::TakeBundles, R::User { .. }) => true,
        (
            A::ExtendChain
            | A::ReadRecovery
            | A::ReplaceRecovery
            | A::RotateIdentity
            | A::ListDevices
            | A::LinkAsCertifier
            | A::OpenConversation
            | A::ListConversations
            | A::ListSessions
            | A::DeleteAccount,
            R::User { .. },
        ) => resource.belongs_to(user),
        (A::UploadPrekeys | A::ReadStock | A::ReportFailures, R::Device { device: of, .. }) => {
            *of == device && resource.belongs_to(user)
        }
        (A::EndSession, R::Session { .. }) => resource.belongs_to(user) || role == Role::SuperAdmin,
        (A::ReadEntries | A::Append | A::Acknowledge, R::Conversation { .. }) => true,
        (A::Append, R::ControlLog { device: of, .. }) => *of != device,
        (A::ReadEntries | A::Acknowledge, R::ControlLog { device: of, .. }) => *of == device,
        (A::AppendEntry, R::Conversation { kind, .. }) => *kind == ConversationKind::Group,
        _ => false,
    }
}

/// Whether it is administration to do this to that.
const fn administers(action: Action, resource: &Resource) -> bool {
    use Action as A;
    match resource {
        Resource::Server => matches!(
            action,
            A::Invite
                | A::ListAccounts
                | A::ListAllSessions
                | A::ListAllDevices
                | A::ListInvitations
                | A::RevokeInvitation
                | A::ReadAudit
                | A::EraseAuditPayload
                | A::ListConnections
        ),
        Resource::User { .. } => matches!(
            action,
            A::ReadAccount | A::DisableAccount | A::EnableAccount | A::CloseConnection
        ),
        Resource::Device { .. } => matches!(action, A::RefuseDevice | A::AllowDevice),
        Resource::Session { .. } | Resource::Conversation { .. } | Resource::ControlLog { .. } => false,
    }
}

impl Resource {
    const fn org(&self) -> Option<OrgId> {
        match self {
            Self::Server => None,
            Self::User { org, .. }
            | Self::Device { org, .. }
            | Self::Session { org, .. }
            | Self::Conversation { org, .. }
            | Self::ControlLog { org, .. } => Some(*org),
        }
    }

    fn belongs_to(&self, owner: UserId) -> bool {
        matches!(self, Self::User { user, .. } | Self::Device { user, .. } | Self::Session { user, .. } if *user == owner)
    }
}
