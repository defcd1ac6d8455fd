//! What the entries of one transaction change again and again, written once at its end: heads of logs, and the last message
//! that was accepted from a device.
//!
//! Heads stay in memory from one transaction to the next, as long as nothing else writes them.

use std::collections::HashMap;

use rusqlite::Connection;
use unhidra_types::{DeviceId, MsgId};

use crate::{StoreError, conversation::LogNumber, entry};

/// Heads that stay in memory; beyond it all are forgotten.
const HEADS: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Pending {
    heads: HashMap<LogNumber, Head>,
    /// Logs the head of which is ahead of its row.
    raised: Vec<LogNumber>,
    last_accepted: HashMap<DeviceId, MsgId>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    seq: i64,
    is_written: bool,
}

impl Pending {
    /// The head of a log.
    pub(crate) fn head(&mut self, connection: &Connection, log: LogNumber) -> Result<i64, StoreError> {
        if let Some(head) = self.heads.get(&log) {
            return Ok(head.seq);
        }
        let seq = entry::read_head(connection, log)?;
        if self.heads.len() >= HEADS && self.raised.is_empty() {
            self.heads.clear();
        }
        self.heads.insert(
            log,
            Head {
                seq,
                is_written: true,
            },
        );
        Ok(seq)
    }

    /// An entry was inserted at `seq`.
    pub(crate) fn raise(&mut self, log: LogNumber, seq: i64) {
        let before = self.heads.insert(
            log,
            Head {
                seq,
                is_written: false,
            },
        );
        if before.is_none_or(|before| before.is_written) {
            self.raised.push(log);
        }
    }

    /// An entry with capsules was inserted.
    pub(crate) fn accept(&mut self, device: DeviceId, msg_id: MsgId) {
        self.last_accepted.insert(device, msg_id);
    }

    /// Before anything but an append or an acknowledgement reads or writes, and at the end of the transaction.
    pub(crate) fn write(&mut self, connection: &Connection) -> Result<(), StoreError> {
        for log in self.raised.drain(..) {
            if let Some(head) = self.heads.get_mut(&log) {
                entry::keep_head(connection, log, head.seq)?;
                head.is_written = true;
            }
        }
        for (device, msg_id) in self.last_accepted.drain() {
            entry::keep_last_accepted(connection, device, msg_id)?;
        }
        Ok(())
    }

    /// Others may have written heads, or nothing was stored.
    pub(crate) fn forget(&mut self) {
        self.heads.clear();
        self.raised.clear();
        self.last_accepted.clear();
    }
}
