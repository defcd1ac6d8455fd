//! Prekeys of devices, encoded as bundles hold them. One-time keys are taken once.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, params};
use unhidra_types::{DeviceId, OrgId, Timestamp, UserId};

use crate::{Snapshot, StoreError, Tx, column};

/// The keys of a set that are not one-time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrekeySet {
    /// Number of the set.
    pub generation: u64,
    /// SHA-256 of the certificate that the device held at the upload.
    pub certificate_hash: [u8; 32],
    /// The signed prekey.
    pub signed: Dated,
    /// The last-resort ML-KEM prekey.
    pub last_resort: Option<Dated>,
}

/// An encoded prekey and the end of its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// The encoding.
    pub prekey: Vec<u8>,
    /// The last moment at which it may be used.
    pub not_after: Timestamp,
}

/// A one-time prekey on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTime {
    /// Which kind of key.
    pub kind: OneTimeKind,
    /// Its number.
    pub id: u32,
    /// The end of its use; `None` when it says none.
    pub not_after: Option<Timestamp>,
    /// The encoding.
    pub prekey: Vec<u8>,
}

/// Kinds of one-time prekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneTimeKind {
    /// X25519.
    Curve,
    /// ML-KEM-768.
    Kem,
}

impl OneTimeKind {
    const fn number(self) -> i64 {
        match self {
            Self::Curve => 1,
            Self::Kem => 2,
        }
    }
}

impl Snapshot<'_> {
    /// A device's prekey set.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn prekey_set(&self, device: DeviceId) -> Result<Option<PrekeySet>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT generation, certificate_hash, signed, signed_not_after, last_resort, last_resort_not_after
                 FROM prekey_set WHERE device_id = ?1",
            )?
            .query_row([device.as_bytes()], |row| Ok(prekey_set(row)))
            .optional()?
            .transpose()
    }

    /// Numbers of a device's one-time prekeys of a kind that can still be used, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn one_time_prekeys(
        &self,
        device: DeviceId,
        kind: OneTimeKind,
        now: Timestamp,
    ) -> Result<Vec<u32>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT id FROM one_time_prekey WHERE device_id = ?1 AND kind = ?2 AND not_after > ?3 ORDER BY id",
            )?
            .query_map(params![device.as_bytes(), kind.number(), column::millis(now)], |row| {
                Ok(column::number(row, "id"))
            })?
            .map(|row| row?)
            .collect()
    }
}

impl Tx<'_> {
    /// Keeps a device's set in place of an earlier one; one-time keys stay.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn keep_prekey_set(
        &mut self,
        device: DeviceId,
        org: OrgId,
        set: &PrekeySet,
    ) -> Result<(), StoreError> {
        let last_resort = set.last_resort.as_ref();
        self.connection
            .prepare_cached(
                "INSERT INTO prekey_set (device_id, org_id, generation, certificate_hash, signed, signed_not_after,
                                         last_resort, last_resort_not_after)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (device_id) DO UPDATE SET generation = excluded.generation,
                     certificate_hash = excluded.certificate_hash, signed = excluded.signed,
                     signed_not_after = excluded.signed_not_after, last_resort = excluded.last_resort,
                     last_resort_not_after = excluded.last_resort_not_after",
            )?
            .execute(params![
                device.as_bytes(),
                org.as_bytes(),
                column::integer(set.generation),
                set.certificate_hash,
                set.signed.prekey,
                column::millis(set.signed.not_after),
                last_resort.map(|key| &key.prekey),
                last_resort.map(|key| column::millis(key.not_after))
            ])?;
        Ok(())
    }

    /// Adds one-time prekeys to a device's stock. `false` when a number is there already; the act must fail then.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn stock_prekeys(&mut self, device: DeviceId, prekeys: &[OneTime]) -> Result<bool, StoreError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO one_time_prekey (device_id, kind, id, not_after, prekey) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?;
        for key in prekeys {
            let not_after = key.not_after.map_or(i64::MAX, column::millis);
            let row = params![
                device.as_bytes(),
                key.kind.number(),
                key.id,
                not_after,
                key.prekey
            ];
            if insert.execute(row)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets a device's one-time prekeys.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_one_time_prekeys(&mut self, device: DeviceId) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("DELETE FROM one_time_prekey WHERE device_id = ?1")?
            .execute([device.as_bytes()])?;
        Ok(())
    }

    /// Forgets all prekeys of a device.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_prekeys(&mut self, device: DeviceId) -> Result<(), StoreError> {
        self.forget_one_time_prekeys(device)?;
        self.connection
            .prepare_cached("DELETE FROM prekey_set WHERE device_id = ?1")?
            .execute([device.as_bytes()])?;
        Ok(())
    }

    /// Takes one one-time prekey of a kind out of a device's stock, dropping those past their use.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn take_one_time_prekey(
        &mut self,
        device: DeviceId,
        kind: OneTimeKind,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.connection
            .prepare_cached(
                "DELETE FROM one_time_prekey WHERE device_id = ?1 AND kind = ?2 AND not_after <= ?3",
            )?
            .execute(params![device.as_bytes(), kind.number(), column::millis(now)])?;
        self.connection
            .prepare_cached(
                "DELETE FROM one_time_prekey WHERE device_id = ?1 AND kind = ?2 AND id =
                     (SELECT min(id) FROM one_time_prekey WHERE device_id = ?1 AND kind = ?2) RETURNING prekey",
            )?
            .query_row(params![device.as_bytes(), kind.number()], |row| Ok(column::value(row, "prekey")))
            .optional()?
            .transpose()
    }

    /// Counts one more bundle with one-time keys against what `requester` may take of `device` within [`QUOTA_WINDOW`],
    /// wherever that window begins. `false` when `limit` is reached; nothing is counted then.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn count_bundle(
        &mut self,
        requester: UserId,
        device: DeviceId,
        limit: u32,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let window = column::millis(now.saturating_sub(QUOTA_WINDOW));
        let counted = self
            .connection
            .prepare_cached(
                "INSERT INTO bundle_taken (requester, device_id, taken_at)
                 SELECT ?1, ?2, ?3 WHERE ?5 >
                     (SELECT count(*) FROM bundle_taken WHERE requester = ?1 AND device_id = ?2 AND taken_at > ?4)",
            )?
            .execute(params![
                requester.as_bytes(),
                device.as_bytes(),
                column::millis(now),
                window,
                limit
            ])?;
        Ok(counted > 0)
    }

    /// Forgets what no longer counts. Until then the table holds a row for each bundle with one-time keys.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn forget_bundle_counts(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("DELETE FROM bundle_taken WHERE taken_at <= ?1")?
            .execute([column::millis(now.saturating_sub(QUOTA_WINDOW))])?;
        Ok(())
    }
}

/// How long a bundle with one-time keys counts.
pub const QUOTA_WINDOW: Duration = Duration::from_secs(3_600);

fn prekey_set(row: &Row<'_>) -> Result<PrekeySet, StoreError> {
    let last_resort: Option<Vec<u8>> = column::value(row, "last_resort")?;
    let last_resort_not_after = column::optional_time(row, "last_resort_not_after")?;
    Ok(PrekeySet {
        generation: column::number(row, "generation")?,
        certificate_hash: column::array(row, "certificate_hash")?,
        signed: Dated {
            prekey: column::value(row, "signed")?,
            not_after: column::time(row, "signed_not_after")?,
        },
        last_resort: last_resort
            .zip(last_resort_not_after)
            .map(|(prekey, not_after)| Dated { prekey, not_after }),
    })
}
