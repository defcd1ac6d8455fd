//! The schema, as numbered steps that only grow. `PRAGMA user_version` holds the number of the last one applied.

use rusqlite::Connection;

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_log.sql"),
    include_str!("../migrations/0002_identity.sql"),
    include_str!("../migrations/0003_windows.sql"),
    include_str!("../migrations/0008_idempotency.sql"),
    include_str!("../migrations/0005_identity_changes.sql"),
];

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
        transaction
            .pragma_update(None, "user_version", step)
            .map_err(failed(step))?;
        transaction.commit().map_err(failed(step))?;
    }
    Ok(())
}
