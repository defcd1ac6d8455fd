//! The schema, as numbered steps that only grow. `PRAGMA user_version` holds the number of the last one applied.

use rusqlite::Connection;

use crate::{StoreError, accepted, audit_tree};

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_log.sql"),
    include_str!("../migrations/0002_identity.sql"),
    include_str!("../migrations/0003_windows.sql"),
    include_str!("../migrations/0004_idempotency.sql"),
    include_str!("../migrations/0005_identity_changes.sql"),
    AUDIT_TREE,
    include_str!("../migrations/0007_limits.sql"),
    include_str!("../migrations/0008_operations.sql"),
    ACCEPTED,
    include_str!("../migrations/0010_failures.sql"),
];

/// The step that is completed by [`audit_tree::build`].
const AUDIT_TREE: &str = include_str!("../migrations/0006_audit_tree.sql");
/// The step that is completed by [`accepted::build`].
const ACCEPTED: &str = include_str!("../migrations/0009_accepted.sql");

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

/// The newest schema that this program knows.
pub(crate) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The schema of a database, if this program knows it.
pub(crate) fn version(connection: &Connection) -> Result<u32, MigrationError> {
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|source| MigrationError::Step { step: 0, source })?;
    let known = known();
    if found > known {
        Err(MigrationError::Newer { found, known })
    } else {
        Ok(found)
    }
}

/// Applies what is missing, all of it in one transaction: a program that is stopped on its way leaves the old schema.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), MigrationError> {
    apply(connection, MIGRATIONS)
}

fn apply(connection: &mut Connection, steps: &[&str]) -> Result<(), MigrationError> {
    let failed = |step| move |source| MigrationError::Step { step, source };
    let found = version(connection)?;
    let missing: Vec<(u32, &str)> = (1..)
        .zip(steps.iter().copied())
        .filter(|(step, _)| *step > found)
        .collect();
    let Some((last, _)) = missing.last().copied() else {
        return Ok(());
    };
    let transaction = connection.transaction().map_err(failed(found))?;
    for (step, sql) in missing {
        transaction.execute_batch(sql).map_err(failed(step))?;
        if sql == AUDIT_TREE {
            audit_tree::build(&transaction).map_err(MigrationError::AuditTree)?;
        }
        if sql == ACCEPTED {
            accepted::build(&transaction).map_err(failed(step))?;
        }
    }
    transaction
        .pragma_update(None, "user_version", last)
        .map_err(failed(last))?;
    transaction.commit().map_err(failed(last))
}

#[cfg(test)]
mod forward {
    use super::*;

    /// Tables that a later step replaced, and what they held is said there to be lost.
    const DROPPED: [&str; 1] = ["bundle_quota"];

    fn names(connection: &Connection, sql: &str) -> Vec<(String, String)> {
        let mut query = connection.prepare(sql).unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn tables(connection: &Connection) -> Vec<String> {
        let sql = "SELECT name, type FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        names(connection, sql).into_iter().map(|(name, _)| name).collect()
    }

    /// One row in every table that has none; what it refers to need not be there.
    fn fill(connection: &Connection) {
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        for table in tables(connection) {
            let columns = names(
                connection,
                &format!("SELECT name, type FROM pragma_table_info('{table}')"),
            );
            let values: Vec<_> = columns
                .iter()
                .map(|(name, kind)| match (name.as_str(), kind.as_str()) {
                    (_, "INTEGER") => "1",
                    (_, "TEXT") => "'text'",
                    ("header", _) => "zeroblob(112)",
                    _ => "zeroblob(32)",
                })
                .collect();
            let insert = format!("INSERT OR IGNORE INTO {table} VALUES ({})", values.join(", "));
            connection.execute(&insert, []).unwrap();
        }
    }

    #[test]
    fn every_earlier_schema_is_brought_up_to_date_and_keeps_what_it_holds() {
        for steps in 1..MIGRATIONS.len() {
            let mut old = Connection::open_in_memory().unwrap();
            apply(&mut old, &MIGRATIONS[..steps]).unwrap();
            fill(&old);
            let filled = tables(&old);
            migrate(&mut old).unwrap();
            assert_eq!(version(&old).unwrap(), known());
            for table in filled.iter().filter(|table| !DROPPED.contains(&table.as_str())) {
                let rows: u32 = old
                    .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
                    .unwrap();
                assert!(rows >= 1, "{table} of schema {steps}");
            }
            let mut new = Connection::open_in_memory().unwrap();
            migrate(&mut new).unwrap();
            let schema = "SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name";
            assert_eq!(names(&old, schema), names(&new, schema), "from schema {steps}");
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_schema() {
        let mut connection = Connection::open_in_memory().unwrap();
        apply(&mut connection, &MIGRATIONS[..1]).unwrap();
        let before = tables(&connection);
        let broken = [MIGRATIONS[0], "CREATE TABLE half (x)", "this is no SQL"];
        let failed = apply(&mut connection, &broken);
        assert!(matches!(failed, Err(MigrationError::Step { step: 3, .. })));
        assert_eq!((version(&connection).unwrap(), tables(&connection)), (1, before));
    }
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
