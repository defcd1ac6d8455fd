//! Opening and listing conversations.

use unhidra_audit::{Act, Actor, Details, Record, Subject};
use unhidra_runtime::Context;
use unhidra_store::{
    Event, StoreError, Tx,
    conversation::{Conversation, Kind},
    idempotency::{RepeatError, Repeatable},
};
use unhidra_types::{ConversationId, UserId};
use unhidra_wire::rest;

use crate::{Messaging, access::Sender};

/// Members of one group.
pub const MAX_MEMBERS: usize = 1_000;
/// Why a conversation was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A member is not an account of the caller's organisation.
    #[error("no such user")]
    UnknownUser,
    /// A member's account was deleted.
    #[error("user was deleted")]
    DeletedUser,
    /// The idempotency key can't be used.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// More than [`MAX_MEMBERS`].
    #[error("a group has at most {MAX_MEMBERS} members")]
    TooManyMembers,
    /// The peer is the caller.
    #[error("a direct conversation has two users")]
    WithSelf,
    /// It could not be stored.
    #[error("store the conversation")]
    Store(#[from] StoreError),
}

impl Messaging {
    /// Opens a conversation of the caller's, or names the direct one that exists.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was opened.
    ///
    /// # Cancellation safety
    /// A dropped call may still have opened it; a direct conversation opened again is the same one.
    pub async fn open(
        &self,
        caller: Sender,
        request: rest::OpenConversation,
        context: &Context,
    ) -> Result<rest::Conversation, OpenError> {
        self.open_once(caller, request, None, context).await
    }

    /// [`Messaging::open`] of a request that may come again: a group that it opened is named, not opened again.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was opened.
    ///
    /// # Cancellation safety
    /// A dropped call may still have opened it.
    pub async fn open_once(
        &self,
        caller: Sender,
        request: rest::OpenConversation,
        repeatable: Option<Repeatable>,
        context: &Context,
    ) -> Result<rest::Conversation, OpenError> {
        let (now, request_id, salt) = (context.now, *context.request_id.as_bytes(), context.random());
        let (id, kind, mut members) = match request {
            rest::OpenConversation::Direct { peer } if peer == caller.user => {
                return Err(OpenError::WithSelf);
            }
            rest::OpenConversation::Direct { peer } => (
                unhidra_chain::direct::direct_conversation(caller.user, peer),
                Kind::Direct,
                vec![peer],
            ),
            rest::OpenConversation::Group { members } => {
                (ConversationId::from_bytes(context.random()), Kind::Group, members)
            }
        };
        members.push(caller.user);
        members.sort_unstable();
        members.dedup();
        if members.len() > MAX_MEMBERS {
            return Err(OpenError::TooManyMembers);
        }
        let (conversation, members) = self
            .store
            .write(move |tx| -> Result<_, OpenError> {
                if let Some(earlier) = tx.earlier_answer::<OpenError>(repeatable.as_ref(), now)? {
                    return opened_before(tx, caller, &earlier);
                }
                if kind == Kind::Direct
                    && let Some(existing) = tx.conversation_of(id, caller.user)?
                {
                    return Ok((existing, members));
                }
                for member in &members {
                    if tx.org_of(*member)? != Some(caller.org) {
                        return Err(OpenError::UnknownUser);
                    }
                    if tx.deleted_at(*member)?.is_some() {
                        return Err(OpenError::DeletedUser);
                    }
                }
                let opened = tx.open_conversation(id, caller.org, kind, &members, now)?;
                let record = Record {
                    at: now,
                    org: Some(caller.org),
                    actor: Actor::Device {
                        user: caller.user,
                        device: caller.device,
                    },
                    act: Act::ConversationOpened,
                    subject: Subject::Conversation(id),
                    request: request_id,
                    details: Details::default(),
                };
                tx.append_audit(&record, salt)?;
                tx.keep_answer::<OpenError>(repeatable.as_ref(), id.as_bytes(), now)?;
                tx.emit(Event::Opened {
                    conversation: id,
                    members: members.clone(),
                });
                Ok((opened, members))
            })
            .await?;
        Ok(described(&conversation, members))
    }

    /// At most `limit` of the caller's conversations, after `after` in order of their identifiers.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn conversations(
        &self,
        caller: UserId,
        after: ConversationId,
        limit: u32,
    ) -> Result<rest::Conversations, StoreError> {
        self.store
            .read(move |db| {
                let page = db.conversations_of(caller, after, limit + 1)?;
                let shown = page.get(..limit as usize).unwrap_or(&page);
                let next = if page.len() > shown.len() {
                    shown.last().map(|last| last.id)
                } else {
                    None
                };
                let conversations = shown.iter().map(|one| Ok(described(one, db.members(one.log)?)));
                Ok(rest::Conversations {
                    conversations: conversations.collect::<Result<_, StoreError>>()?,
                    next,
                })
            })
            .await
    }
}

/// The conversation that the same request opened before.
fn opened_before(tx: &Tx<'_>, caller: Sender, id: &[u8]) -> Result<(Conversation, Vec<UserId>), OpenError> {
    let id = ConversationId::try_from(id).map_err(|_| StoreError::Corrupt("answer"))?;
    let opened = tx.conversation_of(id, caller.user)?;
    let opened = opened.ok_or(StoreError::Corrupt("answer"))?;
    let members = tx.members(opened.log)?;
    Ok((opened, members))
}

fn described(conversation: &Conversation, members: Vec<UserId>) -> rest::Conversation {
    let kind = match conversation.kind {
        Kind::Direct => rest::ConversationKind::Direct,
        // A control log is nobody's conversation, so that it is never listed.
        Kind::Group | Kind::Control => rest::ConversationKind::Group,
    };
    rest::Conversation {
        conversation_id: conversation.id,
        kind,
        members,
        head: conversation.head,
    }
}
