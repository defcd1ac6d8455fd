//! What the driver keeps in the profile's store: the account, the session's tokens, and names that were looked up.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use unhidra_client::store::{Store as _, StoreError, Table};
use unhidra_types::{SessionId, Timestamp, UserId, Username};
use unhidra_wire::rest::Hidden;

use crate::{authority::Trust, client::ClientError, route::Route, server_url::ServerUrl, store::SqliteStore};

/// The account that a profile belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    server: String,
    /// Who vouches for the server.
    #[serde(default)]
    pub trust: Trust,
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub username: Username,
}

/// The tokens of the profile's session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredTokens {
    pub(crate) session_id: SessionId,
    pub(crate) access_token: Hidden,
    pub(crate) expires_at: Timestamp,
    pub(crate) refresh_token: Hidden,
}

const ACCOUNT: &str = "account";
const TOKENS: &str = "tokens";

impl Account {
    pub(crate) fn new(server: &ServerUrl, trust: Trust, user_id: UserId, username: Username) -> Self {
        Self {
            server: server.to_string(),
            trust,
            user_id,
            username,
        }
    }

    /// The server.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the stored text is not an address.
    pub fn server(&self) -> Result<ServerUrl, StoreError> {
        self.server
            .parse()
            .map_err(|_not_an_address| StoreError::Damaged(Table::Profile))
    }

    /// The way to the server.
    pub(crate) fn route(&self, warn: fn(&str)) -> Result<Route, ClientError> {
        Ok(Route::new(self.server()?, &self.trust, warn)?)
    }

    pub(crate) fn load(store: &mut SqliteStore) -> Result<Option<Self>, StoreError> {
        read(store, ACCOUNT)
    }

    pub(crate) fn save(&self, store: &mut SqliteStore) -> Result<(), StoreError> {
        write(store, ACCOUNT, self)
    }
}

impl StoredTokens {
    pub(crate) fn load(store: &mut SqliteStore) -> Result<Option<Self>, StoreError> {
        read(store, TOKENS)
    }

    pub(crate) fn save(&self, store: &mut SqliteStore) -> Result<(), StoreError> {
        write(store, TOKENS, self)
    }

    pub(crate) fn delete(store: &mut SqliteStore) -> Result<(), StoreError> {
        store.transaction(|tx| tx.delete(Table::Profile, TOKENS.as_bytes()).map(drop))
    }
}

/// The user of a name that was looked up before. Names are never given to another account.
pub(crate) fn user_named(store: &mut SqliteStore, name: &Username) -> Result<Option<UserId>, StoreError> {
    read(store, &format!("user of {name}"))
}

/// The name of a user that was looked up before.
pub(crate) fn name_of(store: &mut SqliteStore, user: UserId) -> Result<Option<Username>, StoreError> {
    read(store, &format!("name of {user}"))
}

/// Remembers which user has which name.
pub(crate) fn remember_name(
    store: &mut SqliteStore,
    name: &Username,
    user: UserId,
) -> Result<(), StoreError> {
    write(store, &format!("user of {name}"), &user)?;
    write(store, &format!("name of {user}"), name)
}

/// A number that the program keeps under a name of its own, such as how far it has printed the journal.
pub(crate) fn mark(store: &mut SqliteStore, name: &str) -> Result<Option<u64>, StoreError> {
    read(store, &format!("mark {name}"))
}

pub(crate) fn set_mark(store: &mut SqliteStore, name: &str, number: u64) -> Result<(), StoreError> {
    write(store, &format!("mark {name}"), &number)
}

pub(crate) fn read<T: DeserializeOwned>(
    store: &mut SqliteStore,
    name: &str,
) -> Result<Option<T>, StoreError> {
    let json: Option<Vec<u8>> = store.transaction(|tx| tx.get(Table::Profile, name.as_bytes()))?;
    json.map(|json| serde_json::from_slice(&json).map_err(|_mismatch| StoreError::Damaged(Table::Profile)))
        .transpose()
}

pub(crate) fn write<T: Serialize>(store: &mut SqliteStore, name: &str, value: &T) -> Result<(), StoreError> {
    let json = serde_json::to_vec(value).map_err(|error| StoreError::Backend(Box::new(error)))?;
    store.transaction(|tx| tx.put(Table::Profile, name.as_bytes(), &json))
}
