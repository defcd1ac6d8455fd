//! A client whose server says anything. Nothing makes it panic or damages its store: what it keeps opens again, and it goes
//! on taking messages from its user.

use std::time::Duration;

use bytes::Bytes;
use unhidra_chain::DeviceKind;
use unhidra_client::{Device, MessageKey, Opened, store::MemoryStore};
use unhidra_types::{DeviceId, SessionId, Timestamp, UserId};
use unhidra_wire::{
    base64::{Base64, Base64Array},
    content::Content,
    frame::{ListVersion, PrekeyStock, ServerFrame, Welcome},
    rest::{Bundles, ChainHead, ChainRecords, Stock},
};

use crate::session::Dice;

const ME: UserId = UserId::from_bytes([0xa0; 16]);
const PEER: UserId = UserId::from_bytes([0xb0; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([0xa1; 16]);
const THEIRS: DeviceId = DeviceId::from_bytes([0xb1; 16]);
/// Beyond this an input says nothing new, and takes long.
const MAX_ACTS: usize = 64;

/// Acts: a byte that says which, two of length, so many bytes.
pub fn hostile_server(data: &[u8]) {
    let mut dice = Dice::of(1);
    let mut now = Timestamp::from_millis(1_790_000_000_000);
    let store = MemoryStore::new();
    let mut device = Device::create(store, ME, DEVICE, DeviceKind::Human, &mut dice)
        .unwrap_or_else(|error| panic!("{error}"));
    let founded = device
        .found_identity(now, &mut dice)
        .unwrap_or_else(|error| panic!("{error}"));
    let head = ListVersion {
        user: ME,
        version: 1,
        head_hash: unhidra_crypto::hash::sha256(&[founded.records.last().map_or(&[][..], Vec::as_slice)]),
    };
    let mut rest = data;
    for _ in 0..MAX_ACTS {
        let Some(([act, high, low], tail)) = rest.split_first_chunk::<3>() else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (argument, tail) = tail.split_at(length);
        rest = tail;
        now = now.saturating_add(std::time::Duration::from_secs(u64::from(*act)));
        take(&mut device, *act, argument, head, now, &mut dice);
    }
    let reopened = Device::open(device.into_store()).unwrap_or_else(|error| panic!("{error}"));
    let Opened::Device(mut device) = reopened else {
        panic!("a device is gone")
    };
    let idle = device.idle(now, &mut dice);
    drop(idle.unwrap_or_else(|error| panic!("the store is damaged: {error}")));
}

fn take(
    device: &mut Device<MemoryStore>,
    act: u8,
    argument: &[u8],
    head: ListVersion,
    now: Timestamp,
    dice: &mut Dice,
) {
    let done = match act % 9 {
        0 => device.receive(frames(argument), now, dice).map(drop),
        1 => device
            .receive(vec![welcome(argument, head, now)], now, dice)
            .map(drop),
        2 => device.idle(now, dice).map(drop),
        3 => {
            device.disconnected();
            Ok(())
        }
        4 => device
            .learn_chain(PEER, u32::from(act / 128), &chain(argument), now, dice)
            .map(drop),
        5 => {
            let bundles = Bundles {
                bundles: [(THEIRS, Base64(argument.to_vec()))].into(),
            };
            device
                .bundles_taken(PEER, &[THEIRS], &bundles, now, dice)
                .map(drop)
        }
        6 => device.conversation_opened(PEER, now, dice).map(drop),
        7 => {
            let stock = Stock {
                generation: u64::from(act),
                one_time: Vec::new(),
                one_time_kem: Vec::new(),
            };
            device.stock_listed(&stock, now, dice).map(drop)
        }
        _ => {
            let text = Content::Text(String::from_utf8_lossy(argument).into_owned());
            // Blocked, not certified, too long: all may be.
            drop(device.submit(PEER, &[(MessageKey::Random, text)], now, dice));
            device.outgoing(None, 8).map(drop)
        }
    };
    done.unwrap_or_else(|error| panic!("the store is damaged: {error}"));
}

/// Frames behind each other, with two bytes of length each.
fn frames(argument: &[u8]) -> Vec<ServerFrame> {
    let (mut rest, mut frames) = (argument, Vec::new());
    while let Some(([high, low], tail)) = rest.split_first_chunk::<2>() {
        let (frame, tail) = tail.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(tail.len()));
        rest = tail;
        if let Ok(Some(frame)) = ServerFrame::decode(Bytes::copy_from_slice(frame)) {
            frames.push(frame);
        }
    }
    frames
}

fn welcome(argument: &[u8], own_list: ListVersion, server_time: Timestamp) -> ServerFrame {
    let counts = argument
        .first_chunk::<3>()
        .copied()
        .unwrap_or_default()
        .map(u32::from);
    let [generation, one_time, one_time_kem] = counts;
    ServerFrame::Welcome(Welcome {
        device: DEVICE,
        session: SessionId::from_bytes([1; 16]),
        server_time,
        last_accepted: None,
        own_list,
        stock: PrekeyStock {
            generation: u64::from(generation),
            one_time,
            one_time_kem,
        },
        session_age: argument
            .get(3)
            .map(|days| Duration::from_secs(u64::from(*days) * 86_400)),
    })
}

/// A chain of one record, or of pieces of 231 bytes.
fn chain(argument: &[u8]) -> ChainRecords {
    let (first, rest) = argument.split_at(argument.len().min(229));
    let pieces = std::iter::once(first).chain(rest.chunks(231));
    let records: Vec<Base64> = pieces.map(|piece| Base64(piece.to_vec())).collect();
    let last = records.last().map_or(&[][..], |record| record.0.as_slice());
    ChainRecords {
        head: ChainHead {
            version: u32::try_from(records.len().saturating_sub(1)).unwrap_or(u32::MAX),
            hash: Base64Array(unhidra_crypto::hash::sha256(&[last])),
        },
        records,
    }
}
