//! The ratchet as bytes.

use alloc::vec::Vec;

use unhidra_chain::codec::Reader;
use unhidra_crypto::x25519::{PublicKey, SecretKey};
use unhidra_types::Secret;

use super::{Chain, Ratchet, Turn};
use crate::{
    chain_key::ChainKey, error::StoredError, header::HeaderKey, root_key::RootKey, skipped_keys::SkippedKeys,
    sparse_kem::SparseKem,
};

impl Ratchet {
    /// `RK NHKs NHKr DHs DHs.public` (32 each) `Ns Nr PN` (4 each) `step_due(1)`, then, each behind a presence byte,
    /// `DHr(32)`, `CKs HKs` and `CKr HKr`, then the skip store, then what stands in `sparse_kem`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.root.expose());
        out.extend_from_slice(self.next_sending.expose());
        out.extend_from_slice(self.next_receiving.expose());
        out.extend_from_slice(self.own.to_bytes().expose());
        out.extend_from_slice(self.own.public().as_bytes());
        for count in [self.sent, self.received, self.previous] {
            out.extend_from_slice(&count.to_be_bytes());
        }
        out.push(u8::from(self.turn == Turn::Step));
        out.push(u8::from(self.peer.is_some()));
        out.extend(self.peer.iter().flat_map(|peer| *peer.as_bytes()));
        for chain in [&self.sending, &self.receiving] {
            out.push(u8::from(chain.is_some()));
            if let Some(chain) = chain {
                out.extend_from_slice(chain.key.expose());
                out.extend_from_slice(chain.header_key.expose());
            }
        }
        self.skipped.write(out);
        self.kem.write(out);
    }

    /// Reads what [`Ratchet::write`] wrote; the last part of it by `read_kem`.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        read_kem: impl FnOnce(&mut Reader<'_>) -> Result<SparseKem, StoredError>,
    ) -> Result<Self, StoredError> {
        let root = RootKey::new(Secret::new(reader.array()?));
        let next_sending = HeaderKey::new(Secret::new(reader.array()?));
        let next_receiving = HeaderKey::new(Secret::new(reader.array()?));
        let own = SecretKey::from_parts(&Secret::new(reader.array()?), read_public(reader)?);
        let (sent, received, previous) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let turn = if read_flag(reader)? {
            Turn::Step
        } else {
            Turn::Continue
        };
        let peer = if read_flag(reader)? {
            Some(read_public(reader)?)
        } else {
            None
        };
        let sending = Chain::read(reader)?;
        let receiving = Chain::read(reader)?;
        let skipped = SkippedKeys::read(reader)?;
        if peer.is_none() && (sending.is_some() || receiving.is_some() || turn == Turn::Step) {
            return Err(StoredError::Malformed);
        }
        Ok(Self {
            root,
            own,
            peer,
            sending,
            receiving,
            next_sending,
            next_receiving,
            sent,
            received,
            previous,
            turn,
            skipped,
            kem: read_kem(reader)?,
        })
    }
}

impl Chain {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, StoredError> {
        if !read_flag(reader)? {
            return Ok(None);
        }
        Ok(Some(Self {
            key: ChainKey::new(Secret::new(reader.array()?)),
            header_key: HeaderKey::new(Secret::new(reader.array()?)),
        }))
    }
}

fn read_flag(reader: &mut Reader<'_>) -> Result<bool, StoredError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StoredError::Malformed),
    }
}

fn read_public(reader: &mut Reader<'_>) -> Result<PublicKey, StoredError> {
    PublicKey::from_bytes(&reader.array()?).map_err(|_| StoredError::Malformed)
}
