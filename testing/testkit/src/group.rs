//! A group conversation of opaque bytes, over REST.

use anyhow::Context as _;
use unhidra_types::{ConversationId, MsgId};
use unhidra_wire::{
    base64::Base64,
    rest::{AppendEntry, AppendedEntry, Conversation, Me, OpenConversation},
};

use crate::{endpoint::Endpoint, http::Http, person::Device};

/// A group with the device that opened it.
#[derive(Debug)]
pub struct Group {
    http: Http,
    token: String,
    id: ConversationId,
}

impl Group {
    /// Opens a group of the users of these devices.
    ///
    /// # Errors
    /// When a device has no session, or the server refuses.
    pub fn open(server: impl Into<Endpoint>, owner: &Device, others: &[&Device]) -> anyhow::Result<Self> {
        let http = Http::to(server)?;
        let mut members = Vec::new();
        for other in others {
            let me: Me = http
                .get("/v1/me", Some(&other.access_token()?))?
                .json()
                .context("name a member")?;
            members.push(me.user_id);
        }
        let token = owner.access_token()?;
        let group: Conversation = http
            .post(
                "/v1/conversations",
                Some(&token),
                &OpenConversation::Group { members },
            )?
            .json()
            .context("open a group")?;
        Ok(Self {
            http,
            token,
            id: group.conversation_id,
        })
    }

    /// Its log.
    #[must_use]
    pub fn id(&self) -> ConversationId {
        self.id
    }

    /// Appends one entry; its place.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn append(&self, msg_id: MsgId, body: Vec<u8>) -> anyhow::Result<u64> {
        let entry = AppendEntry {
            msg_id,
            body: Base64(body),
        };
        let path = format!("/v1/conversations/{}/entries", self.id);
        let appended: AppendedEntry = self
            .http
            .post(&path, Some(&self.token), &entry)?
            .json()
            .context("append to a group")?;
        Ok(appended.seq)
    }
}
