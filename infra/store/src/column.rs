//! Stored values to types: a column that does not hold what it promises is corruption, not a default.

use rusqlite::{Row, types::FromSql};
use unhidra_types::Timestamp;

use crate::StoreError;

/// Reads a 16-byte identifier.
pub(crate) fn id<T: for<'b> TryFrom<&'b [u8]>>(row: &Row<'_>, column: &'static str) -> Result<T, StoreError> {
    id_at(row, row.as_ref().column_index(column)?, column)
}

/// As [`id`], of the column with this index: looking for a name costs more than reading what it names.
pub(crate) fn id_at<T: for<'b> TryFrom<&'b [u8]>>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
) -> Result<T, StoreError> {
    let bytes = row
        .get_ref(index)?
        .as_blob()
        .map_err(|_| StoreError::Corrupt(column))?;
    T::try_from(bytes).map_err(|_| StoreError::Corrupt(column))
}

/// As [`number`], of the column with this index.
pub(crate) fn number_at<T: TryFrom<i64>>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
) -> Result<T, StoreError> {
    let number: i64 = row.get(index)?;
    T::try_from(number).map_err(|_| StoreError::Corrupt(column))
}

/// Reads a 16-byte identifier that may be absent.
pub(crate) fn optional_id<T: for<'b> TryFrom<&'b [u8]>>(
    row: &Row<'_>,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes
        .map(|bytes| T::try_from(bytes.as_slice()).map_err(|_| StoreError::Corrupt(column)))
        .transpose()
}

/// Reads a whole number that is never negative.
pub(crate) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: &'static str) -> Result<T, StoreError> {
    let number: i64 = row.get(column)?;
    T::try_from(number).map_err(|_| StoreError::Corrupt(column))
}

/// Reads a time.
pub(crate) fn time(row: &Row<'_>, column: &'static str) -> Result<Timestamp, StoreError> {
    number(row, column).map(Timestamp::from_millis)
}

/// Reads a value as it is.
pub(crate) fn value<T: FromSql>(row: &Row<'_>, column: &'static str) -> Result<T, StoreError> {
    Ok(row.get(column)?)
}

/// Reads exactly `N` bytes.
pub(crate) fn array<const N: usize>(row: &Row<'_>, column: &'static str) -> Result<[u8; N], StoreError> {
    let bytes: Vec<u8> = row.get(column)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt(column))
}

/// Reads a time that may be absent.
pub(crate) fn optional_time(row: &Row<'_>, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    let millis: Option<i64> = row.get(column)?;
    let millis = millis
        .map(u64::try_from)
        .transpose()
        .map_err(|_| StoreError::Corrupt(column))?;
    Ok(millis.map(Timestamp::from_millis))
}

/// A number as SQLite stores it; the largest stands for everything beyond it.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time as SQLite stores it.
pub(crate) fn millis(time: Timestamp) -> i64 {
    integer(time.as_millis())
}
