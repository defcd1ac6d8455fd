//! How records lie in the store: one version byte, then the record's fixed layout, nothing trailing.

use unhidra_chain::codec::{Malformed, Reader};

use crate::store::{StoreError, Table, Transaction};

const VERSION: u8 = 1;

/// Something that is kept as one record.
pub(crate) trait Record: Sized {
    /// Where it is kept.
    const TABLE: Table;

    /// About how many bytes the fields have.
    fn size(&self) -> usize {
        128
    }

    /// Appends the fields.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads what [`Record::write`] wrote.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;

    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |Malformed| StoreError::Damaged(Self::TABLE);
        let mut reader = Reader::new(bytes);
        reader.literal(&[VERSION]).map_err(damaged)?;
        let record = Self::read(&mut reader).map_err(damaged)?;
        reader.finish().map_err(damaged)?;
        Ok(record)
    }

    fn load(tx: &mut dyn Transaction, key: &[u8]) -> Result<Option<Self>, StoreError> {
        tx.get(Self::TABLE, key)?
            .map(|bytes| Self::decode(&bytes))
            .transpose()
    }

    fn save(&self, tx: &mut dyn Transaction, key: &[u8]) -> Result<(), StoreError> {
        let mut out = Vec::with_capacity(1 + self.size());
        out.push(VERSION);
        self.write(&mut out);
        tx.put(Self::TABLE, key, &out)
    }
}

/// Appends a byte string behind its length (be32).
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Frames bound everything that is kept far below 4 GiB; a longer string would fail to read back.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

/// Reads what [`write_bytes`] wrote.
pub(crate) fn read_bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
    reader.take(length)
}

/// Appends a presence byte, and the bytes if there are any.
pub(crate) fn write_option<const N: usize>(out: &mut Vec<u8>, bytes: Option<&[u8; N]>) {
    out.push(u8::from(bytes.is_some()));
    out.extend(bytes.into_iter().flatten());
}

/// Reads what [`write_option`] wrote.
pub(crate) fn read_option<const N: usize>(reader: &mut Reader<'_>) -> Result<Option<[u8; N]>, Malformed> {
    match reader.u8()? {
        0 => Ok(None),
        1 => reader.array().map(Some),
        _ => Err(Malformed),
    }
}

/// The parts, one after the other: ids and big-endian numbers, so that keys sort as their parts do.
pub(crate) fn key(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The number in the last eight bytes of a key.
pub(crate) fn last_number(table: Table, key: &[u8]) -> Result<u64, StoreError> {
    key.last_chunk()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or(StoreError::Damaged(table))
}
