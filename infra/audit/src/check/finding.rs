//! What is wrong with which row.

use std::fmt;

/// A row of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The log as a whole.
    Log,
    /// A record.
    Record(u64),
    /// The payload of a record.
    Payload(u64),
    /// The hashes of the tree that a record completed.
    Node(u64),
    /// A signed head, by its number.
    Head(u64),
    /// A signed head that the verifier brought along.
    EarlierHead,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not there.
    #[error("is missing: it was deleted")]
    Missing,
    /// There should be none of this number.
    #[error("was inserted: the log does not have so many")]
    Inserted,
    /// Its number was taken already.
    #[error("comes after record {after}: records were reordered or inserted")]
    OutOfOrder {
        /// The record before it.
        after: u64,
    },
    /// Its hashes are not those of its number.
    #[error(
        "has the hashes of another number: records before it were inserted or deleted, or the row was changed"
    )]
    OtherNumber,
    /// There is no record of this number.
    #[error("belongs to no record: the record was deleted, or this row was inserted")]
    Stray,
    /// It is not what the tree commits to.
    #[error("was changed")]
    Changed,
    /// Its commitment is not that of its payload, which the tree commits to.
    #[error("has a changed commitment; header and payload are intact")]
    CommitmentChanged,
    /// It is what the tree commits to under another number.
    #[error("holds what record {belongs} should hold: records were reordered")]
    Moved {
        /// Where it belongs.
        belongs: u64,
    },
    /// A column does not say what the header says.
    #[error("has a changed column `{0}`; the header is intact")]
    Column(&'static str),
    /// A hash above the leaf is not that of its children.
    #[error("has a changed hash at level {level}")]
    NodeChanged {
        /// The height of the node.
        level: u32,
    },
    /// Records and their hashes were changed together.
    #[error("to record {last}: records were rewritten together with their part of the tree")]
    Rewritten {
        /// The last of them.
        last: u64,
    },
    /// Nothing decides between the record and its leaf hash.
    #[error("does not fit its leaf in the tree: one of them was changed")]
    Unclear,
    /// A payload went without an act.
    #[error("is gone, and no record says that it was erased")]
    PayloadGone,
    /// The row can't be what it should be.
    #[error("can't be read")]
    Unreadable,
    /// The signature does not hold.
    #[error("has a signature that does not hold")]
    Forged,
    /// It was signed over records that are not there.
    #[error(
        "was signed over {signed} records, but there are {found}: records were deleted, or an older copy was restored"
    )]
    Beyond {
        /// How many were signed.
        signed: u64,
        /// How many there are.
        found: u64,
    },
    /// The records have another root.
    #[error(
        "was signed over other records: something after record {after} and up to record {size} was changed"
    )]
    OtherRoot {
        /// The last record that an earlier head covers.
        after: u64,
        /// The last record that this head covers.
        size: u64,
    },
    /// No signed head covers the last records.
    #[error(
        "has records after {after} that no signed head covers: the head was taken out, or records were added"
    )]
    Uncovered {
        /// The last record that is covered.
        after: u64,
    },
    /// It names another key or log.
    #[error("names another key than the one that it is checked against, or another log than its heads")]
    OtherKey,
    /// A count is not that of the rows.
    #[error("counts {says} {what}, but there are {found}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// What is written down.
        says: u64,
        /// What is there.
        found: u64,
    },
}

/// One row that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which row.
    pub place: Place,
    /// What is wrong.
    pub fault: Fault,
}

impl Place {
    /// The number of the row, where it has one.
    #[must_use]
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Record(number) | Self::Payload(number) | Self::Node(number) | Self::Head(number) => {
                Some(number)
            }
            Self::Log | Self::EarlierHead => None,
        }
    }

    /// The kind of row, for programs.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Record(_) => "record",
            Self::Payload(_) => "payload",
            Self::Node(_) => "tree",
            Self::Head(_) => "head",
            Self::EarlierHead => "earlier-head",
        }
    }

    /// The log first, then rows by number, then heads.
    pub(super) const fn order(self) -> (u8, u64) {
        match self {
            Self::Log => (0, 0),
            Self::Record(number) | Self::Payload(number) | Self::Node(number) => (1, number),
            Self::Head(number) => (2, number),
            Self::EarlierHead => (3, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("the log"),
            Self::Record(number) => write!(f, "record {number}"),
            Self::Payload(number) => write!(f, "the payload of record {number}"),
            Self::Node(number) => write!(f, "the tree row of record {number}"),
            Self::Head(number) => write!(f, "tree head {number}"),
            Self::EarlierHead => f.write_str("the earlier tree head"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.fault)
    }
}
