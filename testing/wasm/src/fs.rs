//! Files of the host, by the names of `std::fs`.

pub use std::fs::write;
use std::{io, path::Path};

use crate::host;

/// The text of a file.
///
/// # Errors
/// When the host has none there, or it is no text.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = path.as_ref().to_str().and_then(host::bytes);
    let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The texts of all files of a folder, by the order of their names.
///
/// # Errors
/// As [`read_to_string`].
pub fn texts(folder: &Path) -> io::Result<Vec<String>> {
    let names = read_to_string(folder)?;
    names
        .lines()
        .map(|name| read_to_string(folder.join(name)))
        .collect()
}
