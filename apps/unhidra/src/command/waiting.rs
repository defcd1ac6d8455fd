//! Entries that can't be shown yet, as people and scripts see them.

use serde::Serialize;
use unhidra_client::waiting::{Waiting, WaitingState};
use unhidra_client_native::{Client, ClientError};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp};

use super::{message::Names, read::shown_time};

/// One entry, with the fields of a message that are known without opening it.
#[derive(Debug, Serialize)]
pub(crate) struct ShownWaiting {
    msg_id: MsgId,
    conversation: ConversationId,
    seq: u64,
    from: String,
    to: String,
    from_device: DeviceId,
    server_time: Timestamp,
    state: &'static str,
    #[serde(skip)]
    what: WaitingState,
}

impl ShownWaiting {
    /// Names what an entry only identifies.
    pub(crate) async fn of(
        client: &mut Client,
        names: &mut Names,
        waiting: &Waiting,
        what: WaitingState,
    ) -> Result<Self, ClientError> {
        let own = client.account().user_id;
        let to = if waiting.sender == own {
            // Unknown as long as no entry of the conversation was opened.
            client
                .peer_of(waiting.conversation)
                .ok()
                .filter(|peer| *peer != own)
        } else {
            Some(own)
        };
        Ok(Self {
            msg_id: waiting.msg_id,
            conversation: waiting.conversation,
            seq: waiting.seq,
            from: names.of(client, waiting.sender).await?,
            to: match to {
                Some(to) => names.of(client, to).await?,
                None => "-".to_owned(),
            },
            from_device: waiting.sender_device,
            server_time: waiting.server_time,
            state: what.name(),
            what,
        })
    }

    /// The entry as a line for a person.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}  {} -> {}  ({})",
            shown_time(self.server_time),
            self.from,
            self.to,
            self.what.text()
        )
    }
}
