//! Conversations and the logs of groups.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::Uri;
use serde::Deserialize;
use unhidra_identity::Identity;
use unhidra_messaging::{Messaging, access::Sender, delivery::history};
use unhidra_types::{ConversationId, limits::MAX_FRAME_BYTES};
use unhidra_wire::{
    base64::Base64,
    frame::Append,
    rest::{AppendEntry, AppendedEntry, Conversation, Conversations, Entries, OpenConversation},
};
use utoipa::ToSchema;

use super::{Answer, found};
use crate::{
    ahead::{Ahead, Reading},
    extract::{Body, By, Key, Limit, Path, Query},
    failure::Failure,
};

/// The largest body of an entry: with what a frame adds it still fits a WebSocket message.
const MAX_ENTRY_BYTES: usize = MAX_FRAME_BYTES - 1_024;
/// Where a page of the list begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationPage {
    /// The last one of the page before.
    after: Option<ConversationId>,
    #[serde(default)]
    limit: Limit,
}

/// Where a page of a log begins, and how long it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryPage {
    /// Number of the last entry of the page before.
    #[serde(default)]
    after: u64,
    #[serde(default)]
    limit: Limit,
}

pub(crate) async fn open(
    State(messaging): State<Messaging>,
    State(identity): State<Identity>,
    By(caller): By,
    Key(key): Key,
    Body(body): Body<OpenConversation>,
) -> Answer<Conversation> {
    let sender = Sender::of(&caller.principal).ok_or_else(Failure::not_found)?;
    let repeatable = identity.repeatable(&caller, "open-conversation", key.as_ref(), &body);
    let opened = messaging.open_once(sender, body, repeatable, &caller.context);
    Ok(Json(opened.await?))
}

pub(crate) async fn list(
    State(messaging): State<Messaging>,
    By(caller): By,
    Query(page): Query<ConversationPage>,
) -> Answer<Conversations> {
    let user = caller.user().ok_or_else(Failure::not_found)?;
    let after = page.after.unwrap_or(ConversationId::CONTROL);
    let limit = page.limit.items();
    Ok(Json(messaging.conversations(user, after, limit).await?))
}

pub(crate) async fn append(
    State(messaging): State<Messaging>,
    By(caller): By,
    Path(conversation): Path<ConversationId>,
    Body(AppendEntry {
        msg_id,
        body: Base64(body),
    }): Body<AppendEntry>,
) -> Answer<AppendedEntry> {
    let sender = Sender::of(&caller.principal).ok_or_else(Failure::not_found)?;
    if body.len() > MAX_ENTRY_BYTES {
        return Err(Failure::too_large());
    }
    let append = Append {
        conversation,
        msg_id,
        attempt: 0,
        dest: None,
        list_versions: Vec::new(),
        body: body.into(),
        capsules: Vec::new(),
    };
    let place = messaging
        .append(sender, append, &Arc::default(), caller.context.now)
        .await?;
    Ok(Json(AppendedEntry {
        seq: place.seq,
        server_time: place.server_time,
    }))
}

/// The page that a query asks for.
pub(crate) fn prepare_entries(uri: &Uri, conversation: ConversationId) -> Option<Reading> {
    let Query(page) = Query::<EntryPage>::of(uri).ok()?;
    let limit = u64::from(page.limit.items());
    Some(Box::new(move |db, user| {
        history(db, user, conversation, page.after, limit)
    }))
}

pub(crate) async fn entries(Ahead(entries): Ahead) -> Answer<Entries> {
    found(entries)
}
