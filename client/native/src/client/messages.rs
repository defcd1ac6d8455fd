//! Sending, and waiting for what became of it.

use tokio::time::Instant;
use unhidra_client::{
    MessageKey, Progress, direct_conversation,
    waiting::{Waiting, WaitingState},
};
use unhidra_types::{ConversationId, MsgId, UserId};
use unhidra_wire::content::Content;

use super::{Client, ClientError};
use crate::edge;

/// Messages that the outbox took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Their conversation.
    pub conversation: ConversationId,
    /// Their ids, in the order given.
    pub ids: Vec<MsgId>,
    /// How many of them were not there already.
    pub new: usize,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// The server has it.
    Sent,
    /// A device of the other user has opened and stored it.
    Delivered,
}

impl Client {
    /// Takes texts for `peer` into the outbox, all of them or none, in one transaction. They leave while the client is
    /// driven, now or later.
    ///
    /// # Errors
    /// [`ClientError::Submit`] when a text is too long or goes to oneself.
    pub fn send(
        &mut self,
        peer: UserId,
        texts: Vec<(MessageKey<'_>, String)>,
    ) -> Result<Outgoing, ClientError> {
        let messages: Vec<_> = texts
            .into_iter()
            .map(|(key, text)| (key, Content::Text(text)))
            .collect();
        let submitted = self
            .device
            .submit(peer, &messages, edge::now(), &mut edge::rng())?;
        self.pending.merge(submitted.effects);
        let conversation = direct_conversation(self.account.user_id, peer);
        let outstanding = submitted.ids.iter().map(|msg_id| (conversation, *msg_id));
        self.outstanding.extend(outstanding);
        if submitted.new < submitted.ids.len() {
            // Messages of a batch that was fed before have had their answer.
            self.recheck_outstanding(usize::MAX)?;
        }
        Ok(Outgoing {
            conversation,
            ids: submitted.ids,
            new: submitted.new,
        })
    }

    /// Entries that can't be opened or understood yet, the oldest first, with what a person is told of each.
    ///
    /// # Errors
    /// [`ClientError::Store`] when the store fails.
    pub fn waiting(&mut self) -> Result<Vec<(Waiting, WaitingState)>, ClientError> {
        let now = edge::now();
        let waiting = self.device.waiting()?.into_iter();
        Ok(waiting
            .map(|waiting| {
                let state = waiting.state(now);
                (waiting, state)
            })
            .collect())
    }

    /// How many messages of this client the server has not answered yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Drives the client until at most `limit` of its messages are unanswered.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] at `deadline`.
    pub async fn drain(&mut self, limit: usize, deadline: Instant) -> Result<(), ClientError> {
        while self.outstanding.len() > limit {
            // Another process may have had them answered, which is no event here.
            let turn = Instant::now() + self.settings.look_around;
            self.step(turn.min(deadline)).await?;
            if Instant::now() >= deadline {
                return Err(ClientError::TimedOut);
            }
        }
        Ok(())
    }

    /// Drives the client until every message has come as far as `wait`, or has failed.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] at `deadline`; what is queued stays queued.
    pub async fn wait(
        &mut self,
        conversation: ConversationId,
        ids: &[MsgId],
        wait: WaitFor,
        deadline: Instant,
    ) -> Result<Vec<Progress>, ClientError> {
        loop {
            let mut progress = Vec::with_capacity(ids.len());
            for msg_id in ids {
                progress.push(self.device.progress(conversation, *msg_id)?.progress);
            }
            if progress.iter().all(|progress| has_come(*progress, wait)) {
                return Ok(progress);
            }
            if Instant::now() >= deadline {
                return Err(ClientError::TimedOut);
            }
            self.step(deadline.min(Instant::now() + self.settings.look_around))
                .await?;
        }
    }

    /// Looks up, for `limit` messages, what another process may have had answered.
    pub(super) fn recheck_outstanding(&mut self, limit: usize) -> Result<(), ClientError> {
        let some: Vec<_> = self.outstanding.iter().take(limit).copied().collect();
        for (conversation, msg_id) in some {
            let progress = self.device.progress(conversation, msg_id)?.progress;
            if has_come(progress, WaitFor::Sent) {
                self.outstanding.remove(&(conversation, msg_id));
            }
        }
        Ok(())
    }
}

const fn has_come(progress: Progress, wait: WaitFor) -> bool {
    match progress {
        Progress::Delivered { .. } | Progress::Failed(_) | Progress::Unknown => true,
        Progress::Accepted { .. } => matches!(wait, WaitFor::Sent),
        Progress::Draft | Progress::Queued => false,
    }
}
