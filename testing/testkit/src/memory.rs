//! What another process has in memory, read from `/proc` as a debugger would: no core file is written.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
};

use anyhow::{Context as _, ensure};

/// A range of addresses with what the system calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// `[heap]`, `[stack]`, a file, or nothing.
    pub name: String,
}

/// The memory of a live process.
#[derive(Debug)]
pub struct Memory {
    pid: u32,
    file: File,
    mappings: Vec<Mapping>,
}

impl Memory {
    /// Everything that the process could have written: its heap, stacks, anonymous memory, and data of its files.
    ///
    /// # Errors
    /// When the process is gone, or this user may not look into it.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let maps =
            fs::read_to_string(format!("/proc/{pid}/maps")).context("list the mappings of a process")?;
        let mappings: Vec<_> = maps.lines().filter_map(writable).collect();
        ensure!(!mappings.is_empty(), "process {pid} has no writable memory");
        let file = File::open(format!("/proc/{pid}/mem")).context("open the memory of a process")?;
        Ok(Self { pid, file, mappings })
    }

    /// The mappings, by address.
    #[must_use]
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// Reads from `address` on; fewer bytes than `buffer` holds only at the end of what is there.
    ///
    /// # Errors
    /// When the process does not let itself be read.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let at = address + u64::try_from(read).context("an address fits 64 bits")?;
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(more) => read += more,
                // A guard page, or memory that was given back since the mappings were listed.
                Err(error) if matches!(error.raw_os_error(), Some(libc_codes::EIO | libc_codes::EFAULT)) => {
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("read the memory of process {}", self.pid));
                }
            }
        }
        Ok(read)
    }
}

/// Bytes of memory that the process has resident.
///
/// # Errors
/// When the process is gone.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read the status of a process")?;
    let kibibytes = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    Ok(kibibytes.context("the status names the resident size")? * 1024)
}

fn writable(line: &str) -> Option<Mapping> {
    let mut fields = line.split_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    if !permissions.starts_with("rw") {
        return None;
    }
    let name = fields.nth(3).unwrap_or_default().to_owned();
    let (start, end) = range.split_once('-')?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        name,
    })
}

/// What Linux answers for addresses that can't be read.
mod libc_codes {
    pub(super) const EIO: i32 = 5;
    pub(super) const EFAULT: i32 = 14;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_mappings_are_told_from_others() {
        let heap = writable("55d0c8f6e000-55d0c8f8f000 rw-p 00000000 00:00 0    [heap]").unwrap();
        assert_eq!((heap.end - heap.start, heap.name.as_str()), (0x21000, "[heap]"));
        let anonymous = writable("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!(anonymous.name, "");
        assert_eq!(
            writable("7f0000000000-7f0000001000 r-xp 00000000 08:01 42 /lib/libc.so"),
            None
        );
    }

    #[test]
    fn resident_memory_grows_with_what_is_touched() {
        let before = resident_bytes(std::process::id()).unwrap();
        let touched = vec![1_u8; 64 << 20];
        let after = resident_bytes(std::process::id()).unwrap();
        assert!(after > before + (48 << 20), "{before} to {after}");
        drop(touched);
    }
}
