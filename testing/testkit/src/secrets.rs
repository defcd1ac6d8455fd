//! What a device and its server keep from everybody else, read from their own folders with their own keys.
//!
//! Nothing is asked of the program: a device's sealed store is opened by the library that made it, and records are cut
//! by their documented layouts.

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use serde_json::Value;
use unhidra_client::store::{KeyRange, Order, Row, Store as _, StoreError, Table};
use unhidra_client_native::store::{PassphraseCost, SqliteStore, Unlock};
use unhidra_wire::base64;

use crate::person::{Device, Protection};

/// The folder of the profile that devices of tests use, below their home.
const PROFILE: &str = "profiles/default";
/// Length of every secret but the two of other lengths that are named below.
const SECRET_BYTES: usize = 32;

/// Bytes with a description that does not contain them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// What it is and whose.
    pub what: String,
    /// Itself.
    pub bytes: Vec<u8>,
}

/// A device's open store.
pub struct Profile {
    store: SqliteStore,
    device: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Profile {
    /// Opens what `device` keeps. Commands of the device may go on meanwhile.
    ///
    /// # Errors
    /// When there is no store, or it can't be opened.
    pub fn open(device: &Device) -> anyhow::Result<Self> {
        let folder = device.home().join(PROFILE);
        let key_file = folder.join("store.key");
        let store = folder.join("store.db");
        let opened = match device.protection() {
            Protection::KeyFile => SqliteStore::open(&store, &Unlock::KeyFile(&key_file)),
            Protection::Passphrase(file) => {
                let text = fs::read_to_string(file).context("read a passphrase")?;
                let passphrase = text.lines().next().unwrap_or_default();
                let cost = PassphraseCost::INTERACTIVE;
                SqliteStore::open(&store, &Unlock::Passphrase { passphrase, cost })
            }
        };
        Ok(Self {
            store: opened.with_context(|| format!("open the store of {}", device.name()))?,
            device: device.name().to_owned(),
        })
    }

    /// The bearer token of its session.
    ///
    /// # Errors
    /// When it has no session.
    pub fn access_token(&mut self) -> anyhow::Result<String> {
        let tokens = self.tokens()?;
        tokens
            .into_iter()
            .find_map(|(name, token)| (name == "access_token").then_some(token))
            .with_context(|| format!("{} has no session", self.device))
    }

    /// Everything that must never be in the server's hands for longer than a request, or at all: tokens and keys.
    ///
    /// # Errors
    /// When a record does not have its documented layout.
    pub fn secrets(&mut self) -> anyhow::Result<Vec<Secret>> {
        let mut secrets = Vec::new();
        for (name, token) in self.tokens()? {
            secrets.extend(token_secrets(&format!("{} of {}", name, self.device), &token));
        }
        for row in self.rows(Table::Identity)? {
            self.identity(&row, &mut secrets)?;
        }
        for row in self.rows(Table::Prekeys)? {
            secrets.push(self.secret("private prekey", prekey(&row.value)?));
        }
        for row in self.rows(Table::Sessions)? {
            self.sessions(&row.value, &mut secrets)
                .with_context(|| format!("a session record of {}", self.device))?;
        }
        secrets.sort();
        secrets.dedup();
        Ok(secrets)
    }

    /// Every token of the profile by its field name.
    fn tokens(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let mut tokens = Vec::new();
        for row in self.rows(Table::Profile)? {
            let Ok(Value::Object(record)) = serde_json::from_slice(&row.value) else {
                continue;
            };
            for (name, value) in record {
                if let Some(token) = value.as_str().filter(|_| name.ends_with("_token")) {
                    tokens.push((name, token.to_owned()));
                }
            }
        }
        Ok(tokens)
    }

    fn rows(&mut self, table: Table) -> anyhow::Result<Vec<Row>> {
        let rows: Result<_, StoreError> = self
            .store
            .transaction(|tx| tx.scan(table, &KeyRange::all(), Order::Ascending, usize::MAX));
        rows.with_context(|| format!("list the {} of {}", table.name(), self.device))
    }

    fn secret(&self, what: &str, bytes: &[u8]) -> Secret {
        Secret {
            what: format!("{what} of {}", self.device),
            bytes: bytes.to_vec(),
        }
    }

    /// `device`: `ver(1) user(16) device(16) kind(1) DSK seed(32) DIK(32) batch key(32)`; `certify`: the UIK seed (32).
    fn identity(&self, row: &Row, secrets: &mut Vec<Secret>) -> anyhow::Result<()> {
        match row.key.as_slice() {
            b"device" => {
                let mut layout = Layout(&row.value);
                layout.take(1 + 16 + 16 + 1)?;
                for what in ["device signing key", "device Diffie-Hellman key", "batch key"] {
                    secrets.push(self.secret(what, layout.take(SECRET_BYTES)?));
                }
                layout.finish()
            }
            b"certify" => {
                ensure!(row.value.len() == SECRET_BYTES, "an identity key has 32 bytes");
                secrets.push(self.secret("user identity key", &row.value));
                Ok(())
            }
            // What is uploaded is no secret, nor which message the server took last.
            b"pending prekeys" | b"standing prekeys" | b"last taken" => Ok(()),
            // Anything else there is would be a secret that this list does not know.
            other => bail!("unknown identity record `{}`", String::from_utf8_lossy(other)),
        }
    }

    /// `ver(1) peer(32) active(1) session? against(1) archived(1) (since(8) standing(1) session)*`.
    fn sessions(&self, record: &[u8], secrets: &mut Vec<Secret>) -> anyhow::Result<()> {
        let mut layout = Layout(record);
        layout.take(1 + 32)?;
        if layout.number(1)? == 1 {
            self.session(&mut layout, secrets)?;
        }
        layout.take(1)?;
        for _ in 0..layout.number(1)? {
            layout.take(8 + 1)?;
            self.session(&mut layout, secrets)?;
        }
        layout.finish()
    }

    /// `ver(1) suite(2) role(1) T(32) EK(32) prefix(2+n)`, then the ratchet:
    /// `RK NHKs NHKr DHs DHs.public (32 each) Ns Nr PN (4 each) step_due(1) DHr? (CKs HKs)? (CKr HKr)?` and the skip store
    /// `chains(1)`, per chain `HK(32) keys(2)`, per key `n(4) time(8) mk(32)`, then the epochs:
    /// `epoch(4) epoch_r(4) count(2) since(8) due_since(8) due_chains(1) state(1)` and what the state holds.
    fn session(&self, layout: &mut Layout<'_>, secrets: &mut Vec<Secret>) -> anyhow::Result<()> {
        layout.take(1 + 2 + 1 + 32 + 32)?;
        let prefix = layout.number(2)?;
        layout.take(prefix)?;
        for what in [
            "root key",
            "next sending header key",
            "next receiving header key",
            "ratchet key",
        ] {
            secrets.push(self.secret(what, layout.take(SECRET_BYTES)?));
        }
        layout.take(32 + 3 * 4 + 1)?;
        if layout.number(1)? == 1 {
            layout.take(32)?;
        }
        for direction in ["sending", "receiving"] {
            if layout.number(1)? == 1 {
                secrets.push(self.secret(&format!("{direction} chain key"), layout.take(SECRET_BYTES)?));
                secrets.push(self.secret(&format!("{direction} header key"), layout.take(SECRET_BYTES)?));
            }
        }
        for _ in 0..layout.number(1)? {
            secrets.push(self.secret("skipped header key", layout.take(SECRET_BYTES)?));
            for _ in 0..layout.number(2)? {
                layout.take(4 + 8)?;
                secrets.push(self.secret("skipped message key", layout.take(SECRET_BYTES)?));
            }
        }
        self.epochs(layout, secrets)
    }

    /// 1 ready, 2 `seed(64)`, 3 `ss(32)`, 4 waiting, 5 `ek(1184)`, 6 `ct(1088) ss(32)`.
    fn epochs(&self, layout: &mut Layout<'_>, secrets: &mut Vec<Secret>) -> anyhow::Result<()> {
        layout.take(4 + 4 + 2 + 8 + 8 + 1)?;
        let (public, secret) = match layout.number(1)? {
            1 | 4 => return Ok(()),
            2 => (0, 64),
            3 => (0, SECRET_BYTES),
            5 => (1_184, 0),
            6 => (1_088, SECRET_BYTES),
            state => bail!("unknown state {state} of an epoch"),
        };
        layout.take(public)?;
        let secret = layout.take(secret)?;
        if !secret.is_empty() {
            secrets.push(self.secret("secret of an epoch", secret));
        }
        Ok(())
    }
}

/// A token, and for a signed one its signature alone, which is the part that nobody else has.
pub(crate) fn token_secrets(what: &str, token: &str) -> Vec<Secret> {
    let secret = |what: String, bytes: &[u8]| Secret {
        what,
        bytes: bytes.to_vec(),
    };
    let mut secrets = vec![secret(what.to_owned(), token.as_bytes())];
    if let Some((_, signature)) = token.rsplit_once('.') {
        secrets.push(secret(format!("signature of {what}"), signature.as_bytes()));
    }
    if let Some(bytes) = base64::decode(token) {
        secrets.push(secret(format!("bytes of {what}"), &bytes));
    }
    secrets
}

/// The server's own secrets, opened as it opens them: `(seeds and keys inside the sealed file, sealing key)`.
///
/// The sealed file is `"UNHKEYS1" nonce(12) AES-256-GCM(sealing key, nonce, aad "UNHKEYS1", JSON)`.
///
/// # Errors
/// When a file is missing or has another form.
pub fn server_keys(data: &Path) -> anyhow::Result<(Vec<Secret>, Secret)> {
    const MAGIC: &[u8] = b"UNHKEYS1";
    let sealing = fs::read(data.join("sealing.key")).context("read the sealing key")?;
    let sealed = fs::read(data.join("keys.sealed")).context("read the sealed keys")?;
    let sealed = sealed
        .strip_prefix(MAGIC)
        .context("the sealed keys begin with their name")?;
    let (nonce, sealed) = sealed
        .split_first_chunk::<12>()
        .context("the sealed keys are cut")?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, &sealing)
        .ok()
        .context("the sealing key has 32 bytes")?;
    let mut buffer = sealed.to_vec();
    let plain = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(MAGIC),
            &mut buffer,
        )
        .ok()
        .context("the sealing key opens the sealed keys")?;
    let ring: Value = serde_json::from_slice(plain).context("the sealed keys are JSON")?;
    let mut keys = Vec::new();
    for key in ring["signing"].as_array().context("there are signing keys")? {
        keys.push(sealed_key("token signing seed of the server", &key["seed"])?);
    }
    keys.push(sealed_key("session key of the server", &ring["session_key"])?);
    let what = "sealing key of the server".to_owned();
    Ok((keys, Secret { what, bytes: sealing }))
}

fn sealed_key(what: &str, text: &Value) -> anyhow::Result<Secret> {
    let bytes = text
        .as_str()
        .and_then(base64::decode)
        .context("a sealed key is base64url")?;
    Ok(Secret {
        what: what.to_owned(),
        bytes,
    })
}

/// `ver(1) type(1) id(4) generation(8) made(8) secret(32; 64 for a KEM seed)`.
fn prekey(record: &[u8]) -> anyhow::Result<&[u8]> {
    let secret = record.get(1 + 1 + 4 + 8 + 8..).unwrap_or_default();
    ensure!(
        matches!(secret.len(), 32 | 64),
        "a prekey record has {} bytes",
        record.len()
    );
    Ok(secret)
}

/// What is left of a record.
struct Layout<'a>(&'a [u8]);

impl<'a> Layout<'a> {
    fn take(&mut self, count: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("a record is cut")?;
        self.0 = rest;
        Ok(taken)
    }

    /// A big-endian number of one or two bytes.
    fn number(&mut self, bytes: usize) -> anyhow::Result<usize> {
        let digits = self.take(bytes)?;
        Ok(digits
            .iter()
            .fold(0, |number, &digit| number * 256 + usize::from(digit)))
    }

    fn finish(&self) -> anyhow::Result<()> {
        ensure!(self.0.is_empty(), "a record has {} bytes too many", self.0.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    const SESSIONS: [&str; 2] = [
        include_str!("../../../protocol/pair/testdata/session_set_initiator.hex"),
        include_str!("../../../protocol/pair/testdata/session_set_responder.hex"),
    ];
    const KEM_PREKEY: &str = include_str!("../../../protocol/pair/testdata/prekey_2.hex");

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    /// A device whose store holds `records`.
    fn device(folder: &Path, records: &[(Table, &[u8], Vec<u8>)]) -> Device {
        let device = Device::new(
            &Program::at("/bin/true"),
            folder.join("phone"),
            Protection::KeyFile,
        )
        .unwrap();
        let profile = device.home().join(PROFILE);
        fs::create_dir_all(&profile).unwrap();
        let key_file = profile.join("store.key");
        let mut store = SqliteStore::create(&profile.join("store.db"), &Unlock::KeyFile(&key_file)).unwrap();
        let written: Result<(), StoreError> = store.transaction(|tx| {
            records
                .iter()
                .try_for_each(|(table, key, value)| tx.put(*table, key, value))
        });
        written.unwrap();
        device
    }

    fn listed(device: &Device) -> Vec<Secret> {
        Profile::open(device).unwrap().secrets().unwrap()
    }

    fn count(secrets: &[Secret], what: &str) -> usize {
        secrets
            .iter()
            .filter(|secret| secret.what.starts_with(what))
            .count()
    }

    #[test]
    fn every_secret_of_every_record_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let identity: Vec<u8> = (0..130).collect();
        let prekey = unhex(KEM_PREKEY);
        let tokens =
            br#"{"session_id":"ses_0","access_token":"a.b.c","refresh_token":"AAECAwQFBgcICQoLDA0ODxAR"}"#;
        let device = device(
            folder.path(),
            &[
                (Table::Identity, b"device", identity.clone()),
                (Table::Identity, b"certify", vec![9; 32]),
                (Table::Prekeys, b"1", prekey.clone()),
                (Table::Sessions, b"1", unhex(SESSIONS[0])),
                (Table::Sessions, b"2", unhex(SESSIONS[1])),
                (Table::Profile, b"tokens", tokens.to_vec()),
            ],
        );
        let secrets = listed(&device);
        let holds = |bytes: &[u8]| secrets.iter().any(|secret| secret.bytes == bytes);
        assert!(holds(&identity[34..66]) && holds(&identity[66..98]) && holds(&identity[98..]));
        assert!(holds(&[9; 32]) && holds(&prekey[22..]));
        assert!(holds(b"a.b.c") && holds(b"c") && holds(&(0..18).collect::<Vec<_>>()));
        // The two records are both sides of a pair, one with an archived session: they share root keys.
        assert_eq!(count(&secrets, "root key"), 2);
        assert_eq!(count(&secrets, "ratchet key"), 3);
        assert!(count(&secrets, "sending chain key") >= 1);
        assert!(count(&secrets, "skipped message key") >= 1);
        assert_eq!(Profile::open(&device).unwrap().access_token().unwrap(), "a.b.c");
    }

    #[test]
    fn a_record_of_another_layout_is_an_error_and_not_a_shorter_list() {
        let folder = tempfile::tempdir().unwrap();
        let mut longer = unhex(SESSIONS[0]);
        longer.push(0);
        let device = device(folder.path(), &[(Table::Sessions, b"1", longer)]);
        assert!(Profile::open(&device).unwrap().secrets().is_err());
    }
}
