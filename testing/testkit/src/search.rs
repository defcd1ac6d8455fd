//! Looks for secrets wherever they may lie, in every spelling that software leaves behind.
//!
//! Each needle is looked for as it is, as UTF-16, in hexadecimal and in base64 (both alphabets, at each of the three
//! alignments, so also in the middle of a longer encoded text). A needle that was cut or compressed is not found.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, ensure};
use base64::{Engine as _, alphabet::Alphabet, engine::GeneralPurpose};

use crate::memory::Memory;

/// Shorter needles are found by chance.
pub const MIN_NEEDLE_BYTES: usize = 16;
/// How much is searched at once.
const CHUNK_BYTES: usize = 4 << 20;

/// How a needle was spelt where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spelling {
    /// Byte by byte.
    Raw,
    /// Two bytes a character, little-endian.
    Utf16,
    /// Hexadecimal, a-f.
    HexLower,
    /// Hexadecimal, A-F.
    HexUpper,
    /// Base64 with `+` and `/`, at one of three alignments.
    Base64(u8),
    /// Base64 with `-` and `_`, at one of three alignments.
    Base64Url(u8),
}

/// A needle that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// What the needle is.
    pub what: String,
    /// How it was spelt.
    pub spelling: Spelling,
    /// In which file or mapping.
    pub place: String,
    /// At which byte of the file, or at which address.
    pub offset: u64,
}

/// Secrets to look for.
#[derive(Default)]
pub struct Needles {
    names: Vec<String>,
    patterns: Vec<Vec<u8>>,
    /// Of each pattern, the needle and the spelling.
    meaning: Vec<(usize, Spelling)>,
}

/// [`Needles`], ready to search.
pub struct Search<'a> {
    needles: &'a Needles,
    automaton: AhoCorasick,
    longest: usize,
}

impl Needles {
    /// Adds a secret. `what` says what it is, and never the secret itself.
    ///
    /// # Errors
    /// When it is shorter than [`MIN_NEEDLE_BYTES`].
    pub fn add(&mut self, what: impl Into<String>, secret: &[u8]) -> anyhow::Result<()> {
        let what = what.into();
        ensure!(
            secret.len() >= MIN_NEEDLE_BYTES,
            "{what} has {} bytes and would be found by chance",
            secret.len()
        );
        let needle = self.names.len();
        self.names.push(what);
        for (spelling, pattern) in spellings(secret) {
            self.patterns.push(pattern);
            self.meaning.push((needle, spelling));
        }
        Ok(())
    }

    /// How many secrets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Prepares the search for all of them at once.
    ///
    /// # Errors
    /// When there are too many.
    pub fn search(&self) -> anyhow::Result<Search<'_>> {
        Ok(Search {
            needles: self,
            automaton: AhoCorasick::new(&self.patterns).context("prepare the search")?,
            longest: self.patterns.iter().map(Vec::len).max().unwrap_or(0),
        })
    }
}

impl Search<'_> {
    /// Searches every file under a folder, names included.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn folder(&self, folder: &Path) -> anyhow::Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry.context("list a folder")?.path();
            let place = path.display().to_string();
            hits.extend(self.bytes(place.as_bytes(), &format!("the name of {place}")));
            if path.is_dir() {
                hits.extend(self.folder(&path)?);
            } else if path.is_file() {
                let content = fs::read(&path).with_context(|| format!("read {place}"))?;
                hits.extend(self.bytes(&content, &place));
            }
        }
        Ok(hits)
    }

    /// Searches everything that a live process has written in its memory.
    ///
    /// # Errors
    /// When the process can't be read.
    pub fn memory(&self, memory: &Memory) -> anyhow::Result<Searched> {
        let mut searched = Searched::default();
        let mut buffer = vec![0; CHUNK_BYTES + self.longest];
        for mapping in memory.mappings() {
            let mut address = mapping.start;
            while address < mapping.end {
                let left = usize::try_from(mapping.end - address).context("a mapping fits memory")?;
                let wanted = left.min(buffer.len());
                let chunk = buffer.get_mut(..wanted).context("a chunk fits the buffer")?;
                let read = memory.read(address, chunk)?;
                let chunk = chunk.get(..read).context("no more is read than was asked for")?;
                searched.hits.extend(self.found(chunk, &mapping.name, address));
                // Chunks overlap by the longest needle, so none is cut in two.
                let step = wanted.min(CHUNK_BYTES);
                searched.bytes += u64::try_from(read.min(step))?;
                address += u64::try_from(step)?;
            }
        }
        searched.hits.sort();
        searched.hits.dedup();
        Ok(searched)
    }

    /// Searches `haystack`, which is called `place`.
    #[must_use]
    pub fn bytes(&self, haystack: &[u8], place: &str) -> Vec<Hit> {
        self.found(haystack, place, 0).collect()
    }

    fn found<'h>(&'h self, haystack: &'h [u8], place: &'h str, base: u64) -> impl Iterator<Item = Hit> + 'h {
        self.automaton
            .find_overlapping_iter(haystack)
            .filter_map(move |hit| {
                let &(needle, spelling) = self.needles.meaning.get(hit.pattern().as_usize())?;
                Some(Hit {
                    what: self.needles.names.get(needle)?.clone(),
                    spelling,
                    place: place.to_owned(),
                    offset: base + u64::try_from(hit.start()).ok()?,
                })
            })
    }
}

/// What a search of memory found, and how much it saw.
#[derive(Debug, Default)]
pub struct Searched {
    /// In order.
    pub hits: Vec<Hit>,
    /// Bytes that could be read.
    pub bytes: u64,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place.as_str() {
            "" => "anonymous memory",
            place => place,
        };
        write!(
            f,
            "{} ({:?}) at {:#x} of {place}",
            self.what, self.spelling, self.offset
        )
    }
}

/// Every pattern that betrays `secret`, each once.
fn spellings(secret: &[u8]) -> Vec<(Spelling, Vec<u8>)> {
    let hex = |digits: &[u8; 16]| -> Vec<u8> {
        let nibbles = secret.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles
            .filter_map(|nibble| digits.get(usize::from(nibble)).copied())
            .collect()
    };
    let mut spellings = vec![
        (Spelling::Raw, secret.to_vec()),
        (Spelling::Utf16, utf16(secret)),
        (Spelling::HexLower, hex(b"0123456789abcdef")),
        (Spelling::HexUpper, hex(b"0123456789ABCDEF")),
    ];
    for shift in 0..3 {
        spellings.push((
            Spelling::Base64(shift),
            base64(secret, shift, &base64::alphabet::STANDARD),
        ));
        spellings.push((
            Spelling::Base64Url(shift),
            base64(secret, shift, &base64::alphabet::URL_SAFE),
        ));
    }
    let mut seen = BTreeSet::new();
    spellings.retain(|(_, pattern)| seen.insert(pattern.clone()));
    spellings
}

/// Text as UTF-16; bytes that are not text as if each were a character.
fn utf16(secret: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(secret) {
        Ok(text) => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Err(_) => secret.iter().flat_map(|&byte| [byte, 0]).collect(),
    }
}

/// The characters that stand for `secret` alone when `shift` bytes come before it.
fn base64(secret: &[u8], shift: u8, alphabet: &Alphabet) -> Vec<u8> {
    let shift = usize::from(shift);
    let engine = GeneralPurpose::new(alphabet, base64::engine::general_purpose::NO_PAD);
    let mut text = engine.encode([&vec![0; shift], secret].concat()).into_bytes();
    // A character holds six bits: those that share some with a neighbour are left out.
    text.truncate((shift + secret.len()) * 8 / 6);
    text.split_off((shift * 8).div_ceil(6))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

    use super::*;
    use crate::process::Process;

    const SECRET: &[u8] = b"\xfb\xefcanary-ohxq7d2m\xff\xfe";
    const TEXT: &[u8] = b"canary-ohxq7d2mwz54";

    fn needles(secret: &[u8]) -> Needles {
        let mut needles = Needles::default();
        needles.add("the secret", secret).unwrap();
        needles
    }

    fn spelling_in(secret: &[u8], haystack: &[u8]) -> Vec<Spelling> {
        let needles = needles(secret);
        let hits = needles.search().unwrap().bytes(haystack, "here");
        hits.into_iter().map(|hit| hit.spelling).collect()
    }

    #[test]
    fn a_secret_is_found_in_the_middle_of_anything_raw() {
        assert_eq!(
            spelling_in(SECRET, &[b"before", SECRET, b"after"].concat()),
            [Spelling::Raw]
        );
    }

    #[test]
    fn a_text_is_found_as_utf16_and_hexadecimal() {
        let wide: Vec<u8> = "xcanary-ohxq7d2mwz54y"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(spelling_in(TEXT, &wide), [Spelling::Utf16]);
        let lower: String = TEXT.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            spelling_in(TEXT, format!("00{lower}ff").as_bytes()),
            [Spelling::HexLower]
        );
        let upper = lower.to_uppercase();
        assert_eq!(
            spelling_in(TEXT, format!("00{upper}FF").as_bytes()),
            [Spelling::HexUpper]
        );
    }

    #[test]
    fn base64_is_found_at_every_alignment_of_every_length() {
        for length in MIN_NEEDLE_BYTES..=SECRET.len() {
            let secret = &SECRET[..length];
            for before in 0..6 {
                for after in 0..3 {
                    let plain = [&b"prefix"[..before], secret, &b"zz"[..after]].concat();
                    let shift = u8::try_from(before % 3).unwrap();
                    let standard = spelling_in(secret, BASE64_STANDARD.encode(&plain).as_bytes());
                    assert!(
                        standard.contains(&Spelling::Base64(shift)),
                        "{length} {before} {after}"
                    );
                    let url = spelling_in(secret, BASE64_URL_SAFE.encode(&plain).as_bytes());
                    let same = url == [Spelling::Base64(shift)];
                    assert!(
                        same || url.contains(&Spelling::Base64Url(shift)),
                        "{length} {before} {after}"
                    );
                }
            }
        }
    }

    #[test]
    fn another_secret_is_not_found() {
        let others = b"canary-ohxq7d2mwy54 and canary-ohxq7d2mwz5";
        assert!(spelling_in(TEXT, others).is_empty());
        assert!(spelling_in(TEXT, BASE64_STANDARD.encode(others).as_bytes()).is_empty());
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(Needles::default().add("a short one", b"secret").is_err());
    }

    #[test]
    fn files_and_their_names_are_searched() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(
            below.join("content"),
            [&[0; 5_000_000], SECRET, &[0; 100]].concat(),
        )
        .unwrap();
        fs::write(below.join(String::from_utf8_lossy(TEXT).as_ref()), b"").unwrap();
        let hits = needles(SECRET).search().unwrap().folder(folder.path()).unwrap();
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].offset, 5_000_000);
        let hits = needles(TEXT).search().unwrap().folder(folder.path()).unwrap();
        assert!(hits.iter().all(|hit| hit.place.starts_with("the name of")) && !hits.is_empty());
    }

    #[test]
    fn a_secret_in_another_process_is_found_and_its_absence_is_seen() {
        let mut command = Command::new("/bin/sleep");
        command.arg("60").env("PLANTED", "canary-ohxq7d2mwz54");
        let process = Process::start(&mut command, b"").unwrap();
        // The environment is the new program's only once it has been started for good.
        let running = || {
            let name = fs::read_to_string(format!("/proc/{}/comm", process.pid())).ok()?;
            (name.trim() == "sleep").then_some(())
        };
        crate::wait::until("start", std::time::Duration::from_secs(10), || Ok(running())).unwrap();
        let memory = Memory::of(process.pid()).unwrap();
        let found = needles(TEXT).search().unwrap().memory(&memory).unwrap();
        assert_eq!(found.hits.len(), 1, "{found:?}");
        assert_eq!(found.hits[0].place, "[stack]");
        assert!(found.bytes > 10_000);
        let other = needles(SECRET).search().unwrap().memory(&memory).unwrap();
        assert!(other.hits.is_empty());
    }
}
