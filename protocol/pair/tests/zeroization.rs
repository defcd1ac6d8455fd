//! Invariant 38: when sessions, prekeys and bodies are dropped, none of their secrets is left in the heap.
//!
//! Secrets wipe themselves where they are dropped, and the allocator wipes what is freed, as that of the program does:
//! a vector that grows leaves nothing behind. This test has a main function of its own, so that there is one thread, and
//! reads its own memory from outside, which needs the `/proc` of Linux. Stacks are not
//! searched: a value that moves leaves its old place there to be overwritten.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

#[path = "pair/network.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod network;

use std::{alloc::System, fs, os::unix::fs::FileExt as _};

use unhidra_pair::prekeys::Prekey;
use zeroizing_alloc::ZeroAlloc;

use self::network::{CURRENT, DAY, Two, secrets_of_active};

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

const NAME: &str = "no_secret_is_left_in_the_heap_after_its_owner_is_dropped";
/// Bytes of a needle: enough to be found by no accident.
const NEEDLE: usize = 16;
/// Every needle is kept under this mask, so that the search does not find itself.
const MASK: u8 = 0xa5;
/// Read at once, onto the stack.
const CHUNK: usize = 64 * 1024;

fn main() {
    // What a runner of tests asks: which tests are here.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("{NAME}: test");
        }
        return;
    }
    let wanted = arguments.iter().filter(|argument| !argument.starts_with('-'));
    if wanted.clone().count() > 0 && !wanted.clone().any(|name| NAME.contains(name.as_str())) {
        return;
    }
    no_secret_is_left_in_the_heap_after_its_owner_is_dropped();
    println!("test {NAME} ... ok");
}

fn no_secret_is_left_in_the_heap_after_its_owner_is_dropped() {
    let mut needles = Vec::new();
    let mut two = Box::new(Two::with(CURRENT, 38));
    talk(&mut two, &mut needles);
    // Their place stays allocated when they are dropped there: nobody wipes it but they themselves.
    let mut sessions = Vec::with_capacity(2);
    let mut keys = Vec::with_capacity(2);
    for at in [0, 1] {
        let device = &two.devices[at];
        sessions.push(device.sessions(two.devices[1 - at].address()));
        keys.push((device.local.dik.clone(), device.dsk.clone()));
    }
    assert!(needles.len() > 400, "{} secrets are few", needles.len());
    assert_eq!(
        found(&needles),
        needles.len(),
        "the search must find what is alive"
    );
    drop(two);
    sessions.clear();
    keys.clear();
    assert_eq!(found(&needles), 0, "secrets are left in the heap");
    drop((sessions, keys));
}

/// Two devices talk, with messages that come late and a session that is archived. What they hold in the end is masked.
fn talk(two: &mut Two, needles: &mut Vec<[u8; NEEDLE]>) {
    for _ in 0..3 {
        two.now = two.now.saturating_add(DAY);
        for from in [0, 1] {
            two.send(from, b"late");
            two.exchange(from, b"on time");
        }
    }
    two.initiate(0);
    two.exchange(0, b"in a second session");
    two.exchange(1, b"and the answer");
    for at in [0, 1] {
        let device = &two.devices[at];
        mask(&secrets_of_active(&two.stored(at)), needles);
        mask(device.local.dik.to_bytes().expose(), needles);
        mask(device.dsk.to_seed().expose(), needles);
        for row in device.prekeys.keys().map(Prekey::to_bytes) {
            mask(&row[22..], needles);
        }
    }
}

/// Cuts a secret into needles.
fn mask(secret: &[u8], needles: &mut Vec<[u8; NEEDLE]>) {
    for part in secret.chunks_exact(NEEDLE) {
        needles.push(std::array::from_fn(|at| part[at] ^ MASK));
    }
}

/// How many of the needles stand in writable memory that is no stack.
fn found(needles: &[[u8; NEEDLE]]) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let memory = fs::File::open("/proc/self/mem").unwrap();
    let mut hit = vec![false; needles.len()];
    let mut begins = vec![false; 1 << 16];
    for needle in needles {
        begins[begin(needle[0], needle[1])] = true;
    }
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, mode) = (fields.next().unwrap(), fields.next().unwrap());
        let name = fields.nth(3).unwrap_or("");
        if !mode.starts_with("rw") || !(name.is_empty() || name == "[heap]") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let (mut at, end) = (hex(start), hex(end));
        while at < end {
            let mut chunk = [0_u8; CHUNK];
            let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let Ok(read) = memory.read_at(&mut chunk[..length], at) else {
                break;
            };
            mark(&chunk[..read], needles, &begins, &mut hit);
            // A needle may lie across the border of two chunks.
            at += u64::try_from(if read < CHUNK { read } else { CHUNK - NEEDLE }).unwrap();
            if read == 0 {
                break;
            }
        }
    }
    hit.into_iter().filter(|hit| *hit).count()
}

fn mark(bytes: &[u8], needles: &[[u8; NEEDLE]], begins: &[bool], hit: &mut [bool]) {
    for (at, pair) in bytes.windows(2).enumerate() {
        if !begins[begin(pair[0] ^ MASK, pair[1] ^ MASK)] {
            continue;
        }
        let Some(window) = bytes.get(at..at + NEEDLE) else {
            return;
        };
        for (needle, hit) in needles.iter().zip(hit.iter_mut()) {
            *hit |= window
                .iter()
                .zip(needle)
                .all(|(byte, masked)| byte ^ MASK == *masked);
        }
    }
}

fn begin(first: u8, second: u8) -> usize {
    usize::from(u16::from_be_bytes([first, second]))
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|error| panic!("{text}: {error}"))
}
