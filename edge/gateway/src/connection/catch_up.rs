//! What a connection reads from the log: where it stands, what it has missed, and what the peer asks for again.

use unhidra_types::ConversationId;
use unhidra_wire::{
    close::Close,
    frame::{ListVersion, ServerFrame},
};

use super::{Connection, Session, unavailable};

impl Session {
    /// Makes up for a notice of the user's chain that was dropped.
    pub(super) async fn read_own_list(&mut self) -> Result<(), Option<Close>> {
        let Connection {
            messaging, sender, ..
        } = &self.connection;
        match messaging.standing(*sender).await {
            Ok((_, head)) => self.tell_own_list(head).await,
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// A chain only grows: a head that is not beyond the one told before is no news.
    pub(super) async fn tell_own_list(&mut self, head: ListVersion) -> Result<(), Option<Close>> {
        if head.version <= self.own_list.version {
            return Ok(());
        }
        self.own_list = head;
        self.send(ServerFrame::ListChanged(head).encode()).await
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
            items,
            ..
        } = &self.connection;
        registry.follow(&items.inbox, conversation);
        let found = messaging.position(sender.user, sender.device, conversation).await;
        if let Ok(Some(position)) = &found {
            self.following.update(position);
            self.catching_up |= self.following.next_behind().is_some();
            return Ok(());
        }
        registry.unfollow(&items.inbox, conversation);
        match found {
            Ok(_) => Err(Some(Close::Unavailable)),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Reads where every log stands, until no log is new: a log is listened to before it is looked at.
    pub(super) async fn read_positions(&mut self) -> Result<(), Option<Close>> {
        loop {
            let Connection {
                sender,
                messaging,
                registry,
                items,
                ..
            } = &self.connection;
            let positions = messaging
                .positions(sender.user, sender.device)
                .await
                .map_err(|error| unavailable(&error))?;
            let mut new = false;
            for position in &positions {
                if !self.following.contains(position.conversation) {
                    if !self.following.has_room() {
                        continue;
                    }
                    registry.follow(&items.inbox, position.conversation);
                    new = true;
                }
                self.following.update(position);
            }
            if !new {
                self.catching_up = true;
                return Ok(());
            }
        }
    }

    /// Sends one page of what is owed, or says that nothing is.
    pub(super) async fn send_page(&mut self) -> Result<(), Option<Close>> {
        let Some((log, from, to)) = self.following.next_behind() else {
            self.catching_up = false;
            return self.send(ServerFrame::CaughtUp.encode()).await;
        };
        let device = self.connection.sender.device;
        let page = self
            .connection
            .messaging
            .page(log, device, from, to, to)
            .await
            .map_err(|error| unavailable(&error))?;
        for frame in page.frames {
            self.send(frame).await?;
        }
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
        for frame in page.frames {
            self.send(frame).await?;
        }
        Ok(())
    }
}
