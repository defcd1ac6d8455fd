//! The file of a backup: a tar archive (POSIX ustar) that any `tar` lists and unpacks.
//!
//! ```text
//! manifest.json   what the parts are        <part>...   in the manifest's order       SHA256SUMS   of all before it
//! ```
//! `SHA256SUMS` comes last, so a file that was cut off has none. In an unpacked archive `sha256sum -c` checks it.

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Component, Path},
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use unhidra_types::Timestamp;

/// The form that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS";
/// The largest manifest or list of sums: thousands of parts.
const MAX_TEXT_BYTES: u64 = 1 << 20;
const BLOCK: usize = 512;
/// Bytes copied at once.
const CHUNK: usize = 256 * 1024;
/// Names of parts: what the name field of a header takes.
pub(super) const MAX_NAME_BYTES: usize = 100;

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Of this file.
    pub(crate) format: u32,
    /// The version of the program that made it.
    pub(crate) program: String,
    /// The moment before the database was copied, in milliseconds since the Unix epoch.
    pub(crate) made_at: Timestamp,
    /// Schema of the database.
    pub(crate) schema: u32,
    /// Audit records in the database: what a later copy has at least.
    pub(crate) audit_records: u64,
    /// Files that the server needs and that lie outside of the data folder: they are not in the backup.
    pub(crate) outside: Vec<String>,
    /// Everything that is in the backup.
    pub(crate) parts: Vec<Part>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its path relative to the data folder.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub(crate) sha256: String,
}

impl Manifest {
    pub(crate) fn new(made_at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at,
            schema: 0,
            audit_records: 0,
            outside: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Bytes of all parts.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Writes a backup: `part` opens each part of the manifest in turn.
///
/// # Errors
/// When a part can't be read, has changed since the manifest was made, or the file can't be written.
pub(crate) fn write<R: Read>(
    file: impl Write,
    manifest: &Manifest,
    part: impl Fn(&Part) -> io::Result<R>,
) -> anyhow::Result<()> {
    let mut file = BufWriter::with_capacity(CHUNK, file);
    let text = serde_json::to_vec_pretty(manifest).context("write the manifest")?;
    let made_at = manifest.made_at;
    put(&mut file, MANIFEST, length(&text), made_at, text.as_slice())?;
    let mut sums = sums_line(&sha256(&text), MANIFEST);
    for one in &manifest.parts {
        let found = part(one).with_context(|| format!("read {}", one.name))?;
        let sum = put(&mut file, &one.name, one.bytes, made_at, found)?;
        ensure!(
            sum == one.sha256,
            "{} changed while it was copied: try again",
            one.name
        );
        sums.push_str(&sums_line(&sum, &one.name));
    }
    put(&mut file, SUMS, length(sums.as_bytes()), made_at, sums.as_bytes())?;
    file.write_all(&[0; 2 * BLOCK]).context("write the backup")?;
    file.flush().context("write the backup")
}

/// Reads a backup to its end and checks every byte against its sums; each part goes to the writer that `part` gives.
///
/// # Errors
/// What is wrong with the file, or why a part could not be written.
pub(crate) fn read<W: Write>(
    file: impl Read,
    mut part: impl FnMut(&Part) -> anyhow::Result<W>,
    mut finished: impl FnMut(&Part, W) -> anyhow::Result<()>,
) -> anyhow::Result<Manifest> {
    let mut file = BufReader::with_capacity(CHUNK, file);
    let mut text = Vec::new();
    let sum = take(&mut file, MANIFEST, MAX_TEXT_BYTES, &mut text)?;
    let manifest: Manifest = serde_json::from_slice(&text).context("the manifest is damaged")?;
    ensure!(
        manifest.format == FORMAT,
        "the backup has form {}, and this program reads {FORMAT}: use the version that made it, {}",
        manifest.format,
        manifest.program
    );
    let mut sums = sums_line(&sum, MANIFEST);
    for one in &manifest.parts {
        ensure!(is_inside(&one.name), "the backup names the file {}", one.name);
        let mut to = part(one)?;
        let sum = take(&mut file, &one.name, one.bytes, &mut to)?;
        ensure!(sum == one.sha256, "{} in the backup is damaged", one.name);
        sums.push_str(&sums_line(&sum, &one.name));
        finished(one, to)?;
    }
    let mut written = Vec::new();
    take(&mut file, SUMS, MAX_TEXT_BYTES, &mut written)?;
    ensure!(written == sums.as_bytes(), "the sums of the backup do not fit it");
    Ok(manifest)
}

/// SHA-256 and length of what `from` gives.
pub(super) fn sum_of(from: impl Read) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let bytes = copy(from, |chunk| {
        hash.update(chunk);
        Ok(())
    })?;
    Ok((hex(&hash.finalize()), bytes))
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As `sha256sum` writes and checks it.
fn sums_line(sum: &str, name: &str) -> String {
    format!("{sum}  {name}\n")
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Whether a name stays below the folder that it is unpacked in.
fn is_inside(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn put(
    file: &mut impl Write,
    name: &str,
    bytes: u64,
    made_at: Timestamp,
    from: impl Read,
) -> anyhow::Result<String> {
    let failed = || format!("write {name} to the backup");
    file.write_all(&header(name, bytes, made_at))
        .with_context(failed)?;
    let mut hash = Sha256::new();
    let copied = copy(from, |chunk| {
        hash.update(chunk);
        file.write_all(chunk)
    })
    .with_context(failed)?;
    ensure!(copied == bytes, "{name} changed while it was copied: try again");
    file.write_all(padding(bytes)).with_context(failed)?;
    Ok(hex(&hash.finalize()))
}

/// Copies the next entry, which has to be `name` with at most `most` bytes, and gives its sum.
fn take(file: &mut impl Read, name: &str, most: u64, to: &mut impl Write) -> anyhow::Result<String> {
    let mut block = [0; BLOCK];
    file.read_exact(&mut block)
        .with_context(|| format!("the backup ends before {name}: it was cut off"))?;
    let (found, bytes) = parse(&block).context("this is not a backup of this program, or it is damaged")?;
    if found != name || bytes > most {
        bail!("the backup has {found} where {name} belongs: it is not one of this program, or damaged");
    }
    let mut hash = Sha256::new();
    let copied = copy(file.take(bytes), |chunk| {
        hash.update(chunk);
        to.write_all(chunk)
    })
    .with_context(|| format!("copy {name} out of the backup"))?;
    ensure!(copied == bytes, "the backup ends within {name}: it was cut off");
    let padding = padding(bytes);
    let mut skipped = vec![0; padding.len()];
    file.read_exact(&mut skipped)
        .with_context(|| format!("the backup ends within {name}: it was cut off"))?;
    Ok(hex(&hash.finalize()))
}

fn copy(mut from: impl Read, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut bytes: u64 = 0;
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = chunk.get(..count).unwrap_or_default();
        to(read)?;
        bytes = bytes.saturating_add(length(read));
    }
}

/// Zeros up to the next block.
fn padding(bytes: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let over = usize::try_from(bytes % 512).unwrap_or(0);
    ZEROS.get(..(BLOCK - over) % BLOCK).unwrap_or_default()
}

/// Offset and length of the fields of a ustar header that are used here.
const NAME: (usize, usize) = (0, MAX_NAME_BYTES);
const MODE: (usize, usize) = (100, 8);
const SIZE: (usize, usize) = (124, 12);
const TIME: (usize, usize) = (136, 12);
const SUM: (usize, usize) = (148, 8);
const KIND: (usize, usize) = (156, 1);
const MAGIC: (usize, usize) = (257, 8);

fn header(name: &str, bytes: u64, made_at: Timestamp) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let octal = |value: u64| format!("{value:011o}");
    set(&mut block, NAME, name.as_bytes());
    set(&mut block, MODE, b"0000600");
    // GNU's form of what has more than eleven octal digits: a mark, then the number in binary.
    if bytes < 1 << 33 {
        set(&mut block, SIZE, octal(bytes).as_bytes());
    } else {
        set(
            &mut block,
            SIZE,
            &[[0x80, 0, 0, 0].as_slice(), &bytes.to_be_bytes()].concat(),
        );
    }
    set(&mut block, TIME, octal(made_at.as_millis() / 1_000).as_bytes());
    set(&mut block, KIND, b"0");
    set(&mut block, MAGIC, b"ustar\x0000");
    let sum = checksum(&block);
    set(&mut block, SUM, format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Name and length of an entry; `None` when the block is no header of a plain file.
fn parse(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let text = |field| {
        let bytes = field_of(block, field);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        std::str::from_utf8(bytes.get(..end).unwrap_or_default()).ok()
    };
    let octal = |field| u64::from_str_radix(text(field)?.trim(), 8).ok();
    if octal(SUM)? != checksum(block) || field_of(block, KIND) != b"0" {
        return None;
    }
    let size = field_of(block, SIZE);
    let bytes = match size.split_last_chunk::<8>() {
        Some(([0x80, ..], binary)) => u64::from_be_bytes(*binary),
        _ => octal(SIZE)?,
    };
    Some((text(NAME)?.to_owned(), bytes))
}

/// The sum of all bytes, those of the sum counting as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let (from, length) = SUM;
    let sum = from..from + length;
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| u64::from(if sum.contains(&at) { b' ' } else { *byte }))
        .sum()
}

fn set(block: &mut [u8; BLOCK], (from, length): (usize, usize), value: &[u8]) {
    let field = block.iter_mut().skip(from).take(length);
    for (to, byte) in field.zip(value) {
        *to = *byte;
    }
}

fn field_of(block: &[u8; BLOCK], (from, length): (usize, usize)) -> &[u8] {
    block.get(from..from + length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
