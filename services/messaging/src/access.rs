//! Who asks, and the facts about a conversation that the policy decides on.

use unhidra_policy::{ConversationKind, Membership, Principal, Resource};
use unhidra_store::{Snapshot, StoreError, conversation::Kind, facts::LogFacts};
use unhidra_types::{ConversationId, DeviceId, OrgId, Role, SessionId, UserId};

/// A device with a live session: the only kind of principal that reads or writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The session.
    pub session: SessionId,
    /// The user's organisation.
    pub org: OrgId,
    /// The user's role.
    pub role: Role,
}

impl Sender {
    /// The sender that a principal is, if it is a device.
    #[must_use]
    pub const fn of(principal: &Principal) -> Option<Self> {
        match *principal {
            Principal::Device {
                user,
                device,
                session,
                org,
                role,
            } => Some(Self {
                user,
                device,
                session,
                org,
                role,
            }),
            Principal::Anonymous | Principal::Enrolling { .. } => None,
        }
    }

    /// The principal that this sender is.
    #[must_use]
    pub const fn principal(&self) -> Principal {
        let Self {
            user,
            device,
            session,
            org,
            role,
        } = *self;
        Principal::Device {
            user,
            device,
            session,
            org,
            role,
        }
    }
}

/// The facts about a conversation, as `user` stands to it. One that does not exist is in nobody's organisation.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub fn facts(db: &Snapshot<'_>, conversation: ConversationId, user: UserId) -> Result<Resource, StoreError> {
    let Some(found) = db.conversation(conversation)? else {
        return Ok(resource(OrgId::from_bytes([0; 16]), Kind::Group, false));
    };
    let is_member = db.is_member(found.log, user)?;
    Ok(resource(found.org, found.kind, is_member))
}

/// The facts about a conversation that the writer has in memory.
pub(crate) fn resource_in(conversation: &LogFacts, user: UserId) -> Resource {
    let is_member = conversation.members.binary_search(&user).is_ok();
    resource(conversation.org, conversation.kind, is_member)
}

const fn resource(org: OrgId, kind: Kind, is_member: bool) -> Resource {
    Resource::Conversation {
        org,
        kind: match kind {
            Kind::Direct => ConversationKind::Direct,
            // A control log is found by its device alone, never as a conversation.
            Kind::Group | Kind::Control => ConversationKind::Group,
        },
        membership: if is_member {
            Membership::Member
        } else {
            Membership::Outsider
        },
    }
}
