//! Traces as they lie on disk (`testing/oracle/README.md`), and the random values that their steps draw.

use std::collections::VecDeque;

use rand_chacha::rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use unhidra_crypto::{hash::sha256, kdf};

/// Times of a trace count from here, in milliseconds.
pub(crate) const START: u64 = 1_790_000_000_000;

pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) seed: [u8; 32],
    pub(crate) steps: Vec<Value>,
}

pub(crate) fn read(text: &str) -> Vec<Trace> {
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut traces = Vec::new();
    while let Some(head) = lines.next() {
        let count = usize::try_from(head["steps"].as_u64().unwrap()).unwrap();
        traces.push(Trace {
            name: head["trace"].as_str().unwrap().into(),
            seed: hex(head["seed"].as_str().unwrap()).try_into().unwrap(),
            steps: lines.by_ref().take(count).collect(),
        });
    }
    traces
}

/// One step, with what it draws.
pub(crate) struct Step<'a> {
    pub(crate) facts: &'a Value,
    seed: [u8; 32],
    number: usize,
}

impl<'a> Step<'a> {
    pub(crate) fn of(trace: &'a Trace, number: usize) -> Self {
        Self {
            facts: &trace.steps[number],
            seed: trace.seed,
            number,
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        !self.facts[key].is_null()
    }

    pub(crate) fn text(&self, key: &str) -> &'a str {
        self.facts[key].as_str().unwrap_or("")
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.facts[key].as_u64().unwrap_or(0)
    }

    pub(crate) fn index(&self, key: &str) -> usize {
        self.number(key).try_into().unwrap()
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        hex(self.text(key))
    }

    pub(crate) fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        self.bytes(key).try_into().unwrap()
    }

    /// The random value of this name in this step.
    pub(crate) fn random<const N: usize>(&self, name: &str) -> [u8; N] {
        let info = format!("unhidra-oracle/{}/{name}", self.number);
        *kdf::hkdf::<N>(&[0; 32], &[&self.seed], &[info.as_bytes()]).expose()
    }

    /// All that the step draws, in its order.
    pub(crate) fn feed(&self, usual: &str) -> Feed {
        self.values(self.facts["random"].as_str().unwrap_or(usual).split_whitespace())
    }

    /// All that message `i` of a repetition draws: names end in its number, and a header nonce alone is not listed.
    pub(crate) fn feed_repeated(&self, i: u64) -> Feed {
        let suffix = format!(".{i}");
        let listed = self
            .text("random")
            .split_whitespace()
            .filter(|name| name.ends_with(&suffix));
        match listed.clone().count() {
            0 => self.values([format!("header_nonce.{i}").as_str()]),
            _ => self.values(listed),
        }
    }

    fn values<'b>(&self, names: impl IntoIterator<Item = &'b str>) -> Feed {
        let mut bytes = VecDeque::new();
        for name in names {
            match name.split('.').next().unwrap() {
                "header_nonce" | "part_nonce" => bytes.extend(self.random::<12>(name)),
                "msg_id" => {}
                "kem_seed" => bytes.extend(self.random::<64>(name)),
                _ => bytes.extend(self.random::<32>(name)),
            }
        }
        Feed {
            bytes,
            overdrawn: false,
        }
    }
}

/// A generator that gives what the trace names; beyond that zeros, and a mark.
pub(crate) struct Feed {
    bytes: VecDeque<u8>,
    overdrawn: bool,
}

impl Feed {
    /// Whether exactly what the trace names was drawn.
    pub(crate) fn is_spent(&self) -> bool {
        self.bytes.is_empty() && !self.overdrawn
    }
}

impl TryRng for Feed {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        for to in target {
            let next = self.bytes.pop_front();
            self.overdrawn |= next.is_none();
            *to = next.unwrap_or(0);
        }
        Ok(())
    }
}

impl TryCryptoRng for Feed {}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    if let Some(zeros) = text.strip_prefix("0*") {
        return vec![0; zeros.parse().unwrap()];
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a trace writes `bytes`: in full, or 16 bytes of the hash where it writes a long value short.
pub(crate) fn shown(bytes: &[u8], like: &str) -> String {
    if like.starts_with('#') {
        format!("#{}", to_hex(&sha256(&[bytes])[..16]))
    } else {
        to_hex(bytes)
    }
}
