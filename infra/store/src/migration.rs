//! The schema, as numbered steps that only grow. `PRAGMA user_version` holds the number of the last one applied.

use rusqlite::Connection;

use crate::{StoreError, audit_tree};

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_log.sql"),
    include_str!("../migrations/0002_identity.sql"),
    include_str!("../migrations/0003_windows.sql"),
    include_str!("../migrations/0008_idempotency.sql"),
    include_str!("../migrations/0005_identity_changes.sql"),
    AUDIT_TREE,
    include_str!("../migrations/0009_limits.sql"),
];

/// The step that is completed by [`audit_tree::build`].
const AUDIT_TREE: &str = include_str!("../migrations/0006_audit_tree.sql");

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database was written by a newer version of this program.
    #[error("schema {found} is newer than schema {known} of this program: install the newer version")]
    Newer {
        /// The schema of the database.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A step failed; the database is as it was before it.
    #[error("schema step {step} failed")]
    Step {
        /// The number of the step.
        step: u32,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The tree over the audit records could not be built; the database is as it was before.
    #[error("the audit log is damaged, so its tree can't be built: restore a backup")]
    AuditTree(#[source] StoreError),
}

/// The schema of a database, if this program knows it.
pub(crate) fn version(connection: &Connection) -> Result<u32, MigrationError> {
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|source| MigrationError::Step { step: 0, source })?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        Err(MigrationError::Newer { found, known })
    } else {
        Ok(found)
    }
}

/// Applies what is missing, each step in a transaction of its own.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), MigrationError> {
    let failed = |step| move |source| MigrationError::Step { step, source };
    let found = version(connection)?;
    for (step, sql) in (1..).zip(MIGRATIONS).filter(|(step, _)| *step > found) {
        let transaction = connection.transaction().map_err(failed(step))?;
        transaction.execute_batch(sql).map_err(failed(step))?;
        if *sql == AUDIT_TREE {
            audit_tree::build(&transaction).map_err(MigrationError::AuditTree)?;
        }
        transaction
            .pragma_update(None, "user_version", step)
            .map_err(failed(step))?;
        transaction.commit().map_err(failed(step))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::params;
    use unhidra_tree::{Hash, Node, complete, root};

    use super::*;

    fn step_before() -> u32 {
        let position = MIGRATIONS.iter().position(|sql| *sql == AUDIT_TREE);
        u32::try_from(position.unwrap()).unwrap()
    }

    #[test]
    fn the_step_that_brings_the_tree_builds_it_over_the_records_that_are_there() {
        let mut connection = Connection::open_in_memory().unwrap();
        let before = step_before();
        for (_, sql) in (0..before).zip(MIGRATIONS) {
            connection.execute_batch(sql).unwrap();
        }
        connection.pragma_update(None, "user_version", before).unwrap();
        let mut expected = std::collections::BTreeMap::<Node, Hash>::new();
        for number in 1..=45_u8 {
            let (header, commitment) = ([number; 112], [number; 32]);
            let sql = "INSERT INTO audit_record VALUES (?1, zeroblob(16), 0, 0, ?2, ?3)";
            connection
                .execute(sql, params![number, header, commitment])
                .unwrap();
            let leaf = unhidra_audit::leaf::leaf(&header, &commitment).0;
            let end = u64::from(number);
            let known = |node: Node| Ok::<_, ()>(expected[&node]);
            for (level, hash) in (0..).zip(complete(end, leaf, known).unwrap()) {
                expected.insert(Node { level, end }, hash);
            }
        }
        migrate(&mut connection).unwrap();
        let snapshot = crate::Snapshot::new(&connection);
        assert_eq!(snapshot.audit_size().unwrap(), 45);
        let expected = root(45, |node| Ok::<_, ()>(expected[&node])).unwrap();
        assert_eq!(snapshot.audit_root(45).unwrap(), expected);
    }

    #[test]
    fn a_log_that_lacks_a_record_gets_no_tree() {
        let mut connection = Connection::open_in_memory().unwrap();
        let before = step_before();
        for (_, sql) in (0..before).zip(MIGRATIONS) {
            connection.execute_batch(sql).unwrap();
        }
        connection.pragma_update(None, "user_version", before).unwrap();
        let sql = "INSERT INTO audit_record VALUES (2, zeroblob(16), 0, 0, zeroblob(112), zeroblob(32))";
        connection.execute(sql, []).unwrap();
        assert!(matches!(
            migrate(&mut connection),
            Err(MigrationError::AuditTree(_))
        ));
        assert_eq!(version(&connection).unwrap(), before);
    }
}
