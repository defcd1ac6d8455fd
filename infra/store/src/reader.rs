//! Readers: a fixed set of connections, each of which sees one consistent state while a query runs.

use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{StoreError, writer::execute};

/// One consistent state of the database.
pub struct Snapshot<'c> {
    pub(crate) connection: &'c Connection,
}

impl<'c> Snapshot<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }
}

pub(crate) struct Readers {
    /// One permit for each connection: whoever waits, waits here and not in a thread.
    free: Semaphore,
    connections: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(connections: Vec<Connection>) -> Self {
        Self {
            free: Semaphore::new(connections.len()),
            connections: Mutex::new(connections),
        }
    }

    pub(crate) async fn run<T, E>(
        self: &std::sync::Arc<Self>,
        query: impl FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let permit = self.free.acquire().await.map_err(|_| StoreError::Closed)?;
        let connection = self.lock().pop().ok_or(StoreError::Closed)?;
        let readers = std::sync::Arc::clone(self);
        // The connection goes back on the thread that ran the query, so that a caller that stops waiting loses none.
        permit.forget();
        let query = tokio::task::spawn_blocking(move || {
            let result = in_transaction(&connection, query);
            readers.lock().push(connection);
            readers.free.add_permits(1);
            result
        });
        query.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_transaction<T, E: From<StoreError>>(
    connection: &Connection,
    query: impl FnOnce(&Snapshot<'_>) -> Result<T, E>,
) -> Result<T, E> {
    execute(connection, "BEGIN")?;
    let result = query(&Snapshot::new(connection));
    // An error of the disk has ended it already.
    if !connection.is_autocommit() {
        execute(connection, "ROLLBACK")?;
    }
    result
}
