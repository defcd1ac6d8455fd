//! The Merkle tree over the audit records: its nodes, the proofs that are read from them, and the signed heads.
//!
//! Each record has one row with the hashes that it completed, two on average, so an append reads one node on average,
//! writes one row, and never touches an older one.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use unhidra_audit::leaf;
use unhidra_tree::{Hash, Head, Node, SignedHead, complete, consistency, inclusion, root};

use crate::{Snapshot, StoreError, Tx, column};

impl Tx<'_> {
    /// Adds the leaf of record `number`, the last one, and the nodes above that it completes.
    pub(crate) fn grow_tree(&mut self, number: u64, leaf: Hash) -> Result<(), StoreError> {
        grow(self.connection, number, leaf)
    }

    /// Keeps a signed head.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn append_audit_head(&mut self, signed: &SignedHead) -> Result<(), StoreError> {
        let number: i64 = self
            .connection
            .prepare_cached("UPDATE audit_count SET heads = heads + 1 WHERE id = 1 RETURNING heads")?
            .query_row([], |row| row.get(0))?;
        self.connection
            .prepare_cached(
                "INSERT INTO audit_head (number, size, root, at, log_id, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                number,
                column::integer(signed.head.size),
                signed.head.root,
                column::millis(signed.head.at),
                signed.head.log,
                signed.signature
            ])?;
        Ok(())
    }
}

impl Snapshot<'_> {
    /// The root of the tree over the first `size` records.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or lacks a node.
    pub fn audit_root(&self, size: u64) -> Result<Hash, StoreError> {
        root(size, |node| read_node(self.connection, node))
    }

    /// The hashes from record `number` to the root of the tree over `size` records.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or lacks a node.
    pub fn audit_inclusion(&self, number: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        inclusion(number, size, |node| read_node(self.connection, node))
    }

    /// The hashes that show that the tree over `size` records begins with the one over `earlier` of them.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails or lacks a node.
    pub fn audit_consistency(&self, earlier: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        consistency(earlier, size, |node| read_node(self.connection, node))
    }

    /// The head that was signed last.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn latest_audit_head(&self) -> Result<Option<SignedHead>, StoreError> {
        self.connection
            .prepare_cached("SELECT * FROM audit_head ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| Ok(signed_head(row)))
            .optional()?
            .transpose()
    }

    /// The head that was signed over the first `size` records.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn audit_head_of(&self, size: u64) -> Result<Option<SignedHead>, StoreError> {
        self.connection
            .prepare_cached("SELECT * FROM audit_head WHERE size = ?1 ORDER BY number DESC LIMIT 1")?
            .query_row([column::integer(size)], |row| Ok(signed_head(row)))
            .optional()?
            .transpose()
    }

    /// At most `limit` heads after head number `after`, in the order in which they were signed.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn audit_heads(&self, after: u64, limit: u32) -> Result<Vec<(u64, SignedHead)>, StoreError> {
        self.connection
            .prepare_cached("SELECT * FROM audit_head WHERE number > ?1 ORDER BY number LIMIT ?2")?
            .query_map(params![column::integer(after), limit], |row| {
                Ok(column::number(row, "number").and_then(|number| Ok((number, signed_head(row)?))))
            })?
            .map(|row| row?)
            .collect()
    }
}

/// Builds the tree over the records that are there, as part of the step that brings the tables.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Corrupt`] when a record is missing.
pub(crate) fn build(connection: &Connection) -> Result<(), StoreError> {
    let mut records =
        connection.prepare("SELECT number, header, commitment FROM audit_record ORDER BY number")?;
    let mut rows = records.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if column::number::<u64>(row, "number")? != count {
            return Err(StoreError::Corrupt("number"));
        }
        let (header, commitment) = (column::array(row, "header")?, column::array(row, "commitment")?);
        grow(connection, count, leaf::leaf(&header, &commitment).0)?;
    }
    connection.execute("UPDATE audit_count SET records = ?1", [column::integer(count)])?;
    Ok(())
}

fn grow(connection: &Connection, number: u64, leaf: Hash) -> Result<(), StoreError> {
    let hashes = complete(number, leaf, |node| read_node(connection, node))?;
    connection
        .prepare_cached("INSERT INTO audit_node (number, hashes) VALUES (?1, ?2)")?
        .execute(params![column::integer(number), hashes.as_flattened()])?;
    Ok(())
}

fn read_node(connection: &Connection, node: Node) -> Result<Hash, StoreError> {
    let hash: Option<Hash> = connection
        .prepare_cached("SELECT substr(hashes, ?2, 32) FROM audit_node WHERE number = ?1")?
        .query_row(params![column::integer(node.end), 1 + 32 * node.level], |row| {
            row.get(0)
        })
        .optional()?;
    hash.ok_or(StoreError::Corrupt("hashes"))
}

pub(crate) fn signed_head(row: &Row<'_>) -> Result<SignedHead, StoreError> {
    Ok(SignedHead {
        head: Head {
            log: column::array(row, "log_id")?,
            size: column::number(row, "size")?,
            at: column::time(row, "at")?,
            root: column::array(row, "root")?,
        },
        signature: column::array(row, "signature")?,
    })
}
