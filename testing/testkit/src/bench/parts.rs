//! What a sample of processor time was spent on: the innermost function of its stack that says so.

use std::collections::BTreeMap;

use super::stacks::{Frame, Place, Stacks};

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The kernel: bytes to sockets. On loopback that is also their way to the other end.
    Send,
    /// The kernel: bytes from sockets.
    Receive,
    /// The kernel: sockets opened, accepted, set up and closed.
    Connect,
    /// The kernel: waiting for sockets, and threads that wait for, or wake, each other.
    Wait,
    /// The kernel: files.
    Files,
    /// The kernel: memory, interrupts, scheduling.
    Kernel,
    /// SQLite.
    Database,
    /// Ciphers, hashes, signatures, TLS.
    Cryptography,
    /// Memory taken and given back.
    Memory,
    /// Tasks, timers and sockets of the runtime.
    Tokio,
    /// Requests and their answers: the HTTP library.
    Http,
    /// Everything that this project has written.
    Ours,
    /// What nothing above claims.
    Other,
}

/// System calls, by how the kernel's names begin.
const CALLS: [(Part, &[&str]); 5] = [
    (Part::Send, &["__x64_sys_send", "__x64_sys_writev", "do_writev"]),
    (Part::Receive, &["__x64_sys_recv", "__x64_sys_readv", "do_readv"]),
    (
        Part::Connect,
        &[
            "__x64_sys_accept",
            "__x64_sys_close",
            "__x64_sys_connect",
            "__x64_sys_getpeername",
            "__x64_sys_getsockname",
            "__x64_sys_setsockopt",
            "__x64_sys_shutdown",
            "__x64_sys_socket",
        ],
    ),
    // The runtime reads and writes event descriptors only.
    (
        Part::Wait,
        &[
            "__x64_sys_epoll",
            "__x64_sys_futex",
            "__x64_sys_sched",
            "ksys_read",
            "ksys_write",
        ],
    ),
    (
        Part::Files,
        &[
            "__do_sys_newfstat",
            "__x64_sys_fcntl",
            "__x64_sys_fdatasync",
            "__x64_sys_fsync",
            "__x64_sys_ftruncate",
            "__x64_sys_open",
            "__x64_sys_pread",
            "__x64_sys_pwrite",
            "__x64_sys_unlink",
        ],
    ),
];

/// Functions of the program, by how their paths begin.
const LIBRARIES: [(Part, &[&str]); 6] = [
    (
        Part::Database,
        &[
            "balance",
            "btree",
            "libsqlite3_sys::",
            "pager",
            "pcache",
            "rusqlite::",
            "sqlite3",
            "unix",
            "vdbe",
            "wal",
        ],
    ),
    (
        Part::Cryptography,
        &[
            "CRYPTO_",
            "EVP_",
            "Lcurve25519",
            "Ledwards25519",
            "T::encrypt",
            "aead",
            "aes_",
            "aws_lc",
            "bignum_",
            "chacha20",
            "cipher::",
            "crypto_common::",
            "curve25519",
            "digest::",
            "ed25519",
            "hkdf::",
            "hmac::",
            "keccak",
            "libcrux",
            "poly1305",
            "poly_hash",
            "rustls::",
            "sha2",
            "sha3::",
            "sha512",
            "tokio_rustls::",
            "universal_hash::",
            "x25519",
        ],
    ),
    (
        Part::Memory,
        &[
            "__libc_calloc",
            "__libc_free",
            "__libc_malloc",
            "__libc_realloc",
            "__rdl_",
            "__rust_",
            "_int_",
            "calloc",
            "cfree",
            "free",
            "malloc",
            "realloc",
            "unlink_chunk",
            "zeroizing_alloc::",
        ],
    ),
    (Part::Tokio, &["tokio::", "mio::", "tokio_util::"]),
    (
        Part::Http,
        &["axum", "futures_util", "http::", "httparse::", "hyper", "tower"],
    ),
    (Part::Ours, &["unhidra"]),
];

impl Part {
    /// How a table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "kernel: sending",
            Self::Receive => "kernel: receiving",
            Self::Connect => "kernel: opening and closing sockets",
            Self::Wait => "kernel: waiting and waking",
            Self::Files => "kernel: files",
            Self::Kernel => "kernel: other",
            Self::Database => "SQLite",
            Self::Cryptography => "cryptography",
            Self::Memory => "allocation",
            Self::Tokio => "tokio",
            Self::Http => "HTTP library",
            Self::Ours => "unhidra",
            Self::Other => "other",
        }
    }

    /// What one function says, if it does.
    #[must_use]
    pub fn of(frame: &Frame) -> Option<Self> {
        let parts: &[(Self, &[&str])] = match frame.place {
            Place::Kernel => &CALLS,
            Place::Program => &LIBRARIES,
            Place::Thread => return None,
        };
        let begins = |beginnings: &&[&str]| beginnings.iter().any(|part| frame.name.starts_with(part));
        parts
            .iter()
            .find(|(_, beginnings)| begins(beginnings))
            .map(|(part, _)| *part)
    }

    /// What a whole stack says.
    #[must_use]
    pub fn of_stack(stack: &[Frame]) -> Self {
        let kernel = stack
            .iter()
            .rev()
            .take_while(|frame| frame.place == Place::Kernel);
        let called = kernel.clone().filter_map(Self::of).last();
        let is_kernel = kernel.count() > 0;
        match called {
            Some(part) => part,
            None if is_kernel => Self::Kernel,
            None => stack.iter().rev().find_map(Self::of).unwrap_or(Self::Other),
        }
    }
}

/// Shares of all samples, the largest first.
#[must_use]
pub fn shares(stacks: &Stacks) -> Vec<(Part, f64)> {
    let mut parts: BTreeMap<Part, u64> = BTreeMap::new();
    for (stack, samples) in stacks.iter() {
        *parts.entry(Part::of_stack(stack)).or_default() += samples;
    }
    let all = stacks.samples().max(1) as f64;
    let mut shares: Vec<(Part, f64)> = parts
        .into_iter()
        .map(|(part, samples)| (part, samples as f64 / all))
        .collect();
    shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[(Place, &str)]) -> Vec<Frame> {
        let frame = |(place, name): &(Place, &str)| Frame {
            name: (*name).to_owned(),
            place: *place,
        };
        frames.iter().map(frame).collect()
    }

    #[test]
    fn the_innermost_function_that_says_so_claims_a_sample() {
        let (kernel, program) = (Place::Kernel, Place::Program);
        let ours = (program, "unhidra_gateway::f");
        let cases = [
            (vec![ours, (program, "memcpy")], Part::Ours),
            (
                vec![ours, (program, "tokio::f"), (program, "core::f")],
                Part::Tokio,
            ),
            (vec![ours, (kernel, "asm_page_fault")], Part::Kernel),
            (
                vec![ours, (kernel, "__x64_sys_sendto"), (kernel, "tcp_v4_rcv")],
                Part::Send,
            ),
            (vec![(Place::Thread, "tokio"), (program, "memcpy")], Part::Other),
        ];
        for (frames, part) in cases {
            assert_eq!(Part::of_stack(&stack(&frames)), part);
        }
    }
}
