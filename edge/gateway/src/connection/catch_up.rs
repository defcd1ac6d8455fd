//! What a connection reads from the log: where it stands, what it has missed, and what the peer asks for again.

use bytes::Bytes;
use unhidra_store::cursor::Position;
use unhidra_types::ConversationId;
use unhidra_wire::{
    close::Close,
    frame::{ListVersion, ServerFrame, messages},
};

use super::{Connection, Session, unavailable};

impl Session {
    /// Makes up for notices that were dropped.
    pub(super) async fn catch_up(&mut self) -> Result<(), Option<Close>> {
        let Connection {
            messaging, sender, ..
        } = &self.connection;
        let arrival = messaging.arrival(*sender).await;
        let arrival = arrival.map_err(|error| unavailable(&error))?;
        self.tell_own_list(arrival.own_list);
        self.take_positions(arrival.positions).await
    }

    /// A chain only grows: a head that is not beyond the one told before is no news.
    pub(super) fn tell_own_list(&mut self, head: ListVersion) {
        if head.version > self.own_list.version {
            self.own_list = head;
            self.send(&ServerFrame::ListChanged(head));
        }
    }

    /// Begins to follow one log: listens first, then looks where it stands, so that nothing falls between.
    pub(super) async fn follow(&mut self, conversation: ConversationId) -> Result<(), Option<Close>> {
        if self.following.contains(conversation) || !self.following.has_room() {
            return Ok(());
        }
        let Connection {
            sender,
            messaging,
            registry,
            inbox,
            ..
        } = &self.connection;
        registry.follow(inbox, conversation);
        let found = messaging.position(sender.user, sender.device, conversation).await;
        if let Ok(Some(position)) = &found {
            self.following.update(position);
            self.catching_up |= self.following.next_behind().is_some();
            return Ok(());
        }
        registry.unfollow(inbox, conversation);
        match found {
            Ok(_) => Err(Some(Close::Unavailable)),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Takes over where every log stands, and looks again until no log is new: a log is listened to before it is looked
    /// at.
    pub(super) async fn take_positions(&mut self, mut positions: Vec<Position>) -> Result<(), Option<Close>> {
        while self.listen(&positions) {
            let Connection {
                messaging, sender, ..
            } = &self.connection;
            let looking = messaging.positions(sender.user, sender.device);
            positions = looking.await.map_err(|error| unavailable(&error))?;
        }
        self.catching_up = true;
        Ok(())
    }

    /// Follows the logs at these positions; whether one of them is new.
    pub(crate) fn listen(&mut self, positions: &[Position]) -> bool {
        let mut is_new = false;
        for position in positions {
            if !self.following.contains(position.conversation) {
                if !self.following.has_room() {
                    continue;
                }
                let Connection { registry, inbox, .. } = &self.connection;
                registry.follow(inbox, position.conversation);
                is_new = true;
            }
            self.following.update(position);
        }
        is_new
    }

    /// Sends one page of what is owed, or says that nothing is.
    pub(super) async fn send_page(&mut self) -> Result<(), Option<Close>> {
        let Some((log, from, to)) = self.following.next_behind() else {
            self.catching_up = false;
            self.send(&ServerFrame::CaughtUp);
            return Ok(());
        };
        let device = self.connection.sender.device;
        let page = self
            .connection
            .messaging
            .page(log, device, from, to, to)
            .await
            .map_err(|error| unavailable(&error))?;
        self.send_frames(&page.frames);
        self.following.sent(log.conversation, page.through);
        Ok(())
    }

    /// Sends a range again that was sent before, at most one page.
    pub(super) async fn fetch(
        &mut self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> Result<(), Option<Close>> {
        let Some((log, to)) = self.following.sent_part(conversation, to) else {
            return Ok(());
        };
        if from == 0 || from > to {
            return Ok(());
        }
        let sent = self.following.sent_through(conversation).unwrap_or(to);
        let device = self.connection.sender.device;
        let page = self
            .connection
            .messaging
            .page(log, device, from, to, sent)
            .await
            .map_err(|error| unavailable(&error))?;
        self.send_frames(&page.frames);
        Ok(())
    }

    /// Queues frames that are encoded already, in one piece: at most a page.
    fn send_frames(&mut self, frames: &[Bytes]) {
        let count = u64::try_from(frames.len()).unwrap_or(u64::MAX);
        self.connection.socket.queue(messages(frames), count);
    }
}
