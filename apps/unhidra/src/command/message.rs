//! A message as people and scripts see it.

use std::collections::BTreeMap;

use serde::Serialize;
use unhidra_client::{Message, MessageBody, Progress};
use unhidra_client_native::{Client, ClientError};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};

use super::read::shown_time;
use crate::output::printable;

/// One message, in the form that `docs/cli.md` promises.
#[derive(Debug, Serialize)]
pub(crate) struct ShownMessage {
    pub(crate) msg_id: MsgId,
    pub(crate) conversation: ConversationId,
    pub(crate) seq: u64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) from_device: DeviceId,
    pub(crate) sent_at: Timestamp,
    pub(crate) server_time: Timestamp,
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unsupported: bool,
    /// Its sender asks to talk, and was not answered yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) request: bool,
    /// Earlier messages of the sending device that are missing.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) missing_before: u64,
}

/// Names of users, each looked up once. It holds no more than this device knows people.
pub(crate) struct Names {
    known: BTreeMap<UserId, String>,
    if_unknown: IfUnknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IfUnknown {
    Fail,
    ShowId,
}

impl Names {
    /// Whom neither this device nor the server can name is an error.
    pub(crate) const fn required() -> Self {
        Self {
            known: BTreeMap::new(),
            if_unknown: IfUnknown::Fail,
        }
    }

    /// Whom neither this device nor the server can name is shown by the id: what is here can be read without a server.
    pub(crate) const fn by_id_if_unknown() -> Self {
        Self {
            known: BTreeMap::new(),
            if_unknown: IfUnknown::ShowId,
        }
    }

    /// The name of a user.
    pub(crate) async fn of(&mut self, client: &mut Client, user: UserId) -> Result<String, ClientError> {
        if let Some(name) = self.known.get(&user) {
            return Ok(name.clone());
        }
        let name = match client.name_of(user).await {
            Ok(name) => name.to_string(),
            Err(error @ (ClientError::Store(_) | ClientError::Profile(_))) => return Err(error),
            Err(_unknown) if self.if_unknown == IfUnknown::ShowId => user.to_string(),
            Err(error) => return Err(error),
        };
        self.known.insert(user, name.clone());
        Ok(name)
    }
}

impl ShownMessage {
    /// Names what a message only identifies.
    pub(crate) async fn of(
        client: &mut Client,
        names: &mut Names,
        message: Message,
    ) -> Result<Self, ClientError> {
        let own = client.account().user_id;
        let peer = client.peer_of(message.conversation)?;
        let from = names.of(client, message.sender).await?;
        let to = if message.sender == own { peer } else { own };
        let to = names.of(client, to).await?;
        let state = match message.sender == own {
            false => "received",
            true => state(
                client
                    .device()
                    .progress(message.conversation, message.msg_id)?
                    .progress,
            ),
        };
        let request = message.sender != own && client.known(peer)?.contact.is_request();
        let (text, unsupported) = match message.body {
            MessageBody::Text(text) => (Some(text), false),
            MessageBody::Unsupported(_) => (None, true),
        };
        Ok(Self {
            msg_id: message.msg_id,
            conversation: message.conversation,
            seq: message.seq,
            from,
            to,
            from_device: message.sender_device,
            sent_at: message.sent_at,
            server_time: message.server_time,
            state,
            text,
            unsupported,
            request,
            missing_before: message.missing_before,
        })
    }

    /// The message as a line for a person; further lines of its text are indented.
    pub(crate) fn line(&self) -> String {
        let text = self.indented_text();
        let request = if self.request { "(request) " } else { "" };
        let gap = match self.missing_before {
            0 => String::new(),
            missing => format!("({missing} missing before this) "),
        };
        format!(
            "{}  {} -> {}  {request}{gap}{text}",
            shown_time(self.server_time),
            self.from,
            self.to
        )
    }
}

impl ShownMessage {
    /// What it says, harmless. Only the line of a message begins at the edge, so that no text can pass for another
    /// message.
    pub(crate) fn indented_text(&self) -> String {
        match &self.text {
            Some(text) => printable(text).replace('\n', "\n    "),
            None => "(needs a newer version of this program)".to_owned(),
        }
    }
}

/// The word for how far an own message has come.
pub(crate) const fn state(progress: Progress) -> &'static str {
    match progress {
        // Another device of this user sent it: it came through the log.
        Progress::Unknown | Progress::Accepted { .. } => "sent",
        Progress::Draft | Progress::Queued => "queued",
        Progress::Delivered { .. } => "delivered",
        Progress::Failed(_) => "failed",
    }
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_several_lines_does_not_pass_for_another_message() {
        let message = ShownMessage {
            msg_id: MsgId::from_bytes([1; 16]),
            conversation: ConversationId::from_bytes([2; 16]),
            seq: 1,
            from: "mallory".to_owned(),
            to: "alice".to_owned(),
            from_device: DeviceId::from_bytes([3; 16]),
            sent_at: Timestamp::EPOCH,
            server_time: Timestamp::EPOCH,
            state: "received",
            text: Some("hi\n1970-01-01 00:00:00Z  bob -> alice  it is me".into()),
            unsupported: false,
            request: false,
            missing_before: 0,
        };
        assert_eq!(
            message.line(),
            "1970-01-01 00:00:00Z  mallory -> alice  hi\n    1970-01-01 00:00:00Z  bob -> alice  it is me"
        );
    }
}
