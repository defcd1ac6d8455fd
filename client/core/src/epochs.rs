//! Post-quantum epochs: between which devices they are kept up, and what is done when they do not come.

use unhidra_chain::{Capabilities, Chain, PqRatchet};
use unhidra_pair::Address;
use unhidra_types::{ConversationId, DeviceId};

use crate::{
    effects::Notice,
    security::{SecurityEvent, Suspicion},
    step::Step,
    store::StoreError,
};

/// What the newest certificate of a device says.
pub(crate) fn capabilities(chain: &Chain, device: DeviceId) -> Capabilities {
    let device = chain.device(device);
    device.map_or(Capabilities::NONE, |device| {
        device.certificate().subject().capabilities
    })
}

/// What the newest certificates of two devices say.
pub(crate) fn pq_ratchet(own: &Chain, device: DeviceId, theirs: &Chain, peer: DeviceId) -> PqRatchet {
    PqRatchet::between(capabilities(own, device), capabilities(theirs, peer))
}

impl Step<'_> {
    /// Ends the session with a device whose epochs do not come although both devices can, and tells. The next message
    /// to it begins another one, whose handshake can't go without a post-quantum secret.
    pub(crate) fn end_overdue(
        &mut self,
        peer: Address,
        pq: PqRatchet,
        conversation: ConversationId,
    ) -> Result<(), StoreError> {
        let now = self.now;
        if pq == PqRatchet::Lacking || !self.sessions(peer)?.is_overdue(now) {
            return Ok(());
        }
        let ended = self.sessions(peer)?.archive_all(now);
        self.set_sessions(ended);
        self.effects.notices.push(Notice::EpochOverdue(peer.user));
        self.log(&SecurityEvent {
            at: now,
            reason: Suspicion::EpochOverdue,
            sender: peer.user,
            device: peer.device,
            conversation,
            seq: 0,
        })
    }
}
