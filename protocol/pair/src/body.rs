//! Body objects: a message sealed once under a random key, and the capsule that carries that key to each device.
//!
//! `body_obj = ver(1) | com(32) | AEAD(key, 0, pad(plaintext))`, `capsule = K_b(32) | H(body_obj)(32)`,
//! `plaintext = peer(16) | cseq(8) | after(16) | Content`.

use alloc::vec::Vec;

use rand_core::CryptoRng;
use unhidra_chain::{
    codec::{Reader, concat},
    direct::direct_conversation,
    label,
};
use unhidra_crypto::{
    aead::{self, NONCE_BYTES},
    hash::sha256,
    kdf,
};
use unhidra_types::{ConversationId, MsgId, Secret, UserId, limits::MAX_FRAME_BYTES};

use crate::{
    derived::part,
    envelope::Address,
    error::{OpenError, SealError},
    padding,
};

const VERSION: u8 = 1;
/// The key seals one body and no other, so the nonce need not vary.
const NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];

/// What is sealed: the prefix that every member checks, and the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plaintext {
    /// The other user of the direct conversation, as the sender sees it.
    pub peer: UserId,
    /// Counts from 1 per sending device and conversation; a gap is shown.
    pub cseq: u64,
    /// The last message displayed before this one was written, [`MsgId::NONE`] if none.
    pub after: MsgId,
    /// The encoded `Content`.
    pub content: Vec<u8>,
}

/// Which message a body belongs to; its key is bound to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The log of the conversation.
    pub conversation: ConversationId,
    /// The message.
    pub msg_id: MsgId,
    /// The device that wrote it.
    pub sender: Address,
}

/// `K_b | H(body_obj)`: 64 B of plaintext for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// The random key of the body.
    pub key: Secret<32>,
    /// The hash of the body object, which replies and reports cite.
    pub hash: [u8; 32],
}

/// A body, sealed for every device at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBody {
    /// What each device gets in its ratchet message.
    pub capsule: Capsule,
    /// What is stored and sent once.
    pub object: Vec<u8>,
}

/// Seals `plaintext` under a fresh key.
///
/// # Errors
/// [`SealError::TooLong`] when the object would not fit into a frame.
pub fn seal<R: CryptoRng + ?Sized>(
    plaintext: &Plaintext,
    context: &Context,
    rng: &mut R,
) -> Result<SealedBody, SealError> {
    let mut random = [0; 32];
    rng.fill_bytes(&mut random);
    let key = Secret::new(random);
    let (aead_key, commitment) = derive(&key, context);
    let padded = padding::pad(&[
        plaintext.peer.as_bytes(),
        &plaintext.cseq.to_be_bytes(),
        plaintext.after.as_bytes(),
        &plaintext.content,
    ])?;
    let sealed = aead_key
        .seal(&NONCE, &aad(), &padded)
        .map_err(|_| SealError::TooLong)?;
    let object = [&[VERSION], commitment.expose().as_slice(), &sealed].concat();
    if object.len() > MAX_FRAME_BYTES {
        return Err(SealError::TooLong);
    }
    let hash = sha256(&[&object]);
    Ok(SealedBody {
        capsule: Capsule { key, hash },
        object,
    })
}

/// Opens `object` with the capsule that came for it, as a member of the direct conversation.
///
/// # Errors
/// [`OpenError::BadTag`] when hash, commitment, tag or conversation do not fit, [`OpenError::Unsupported`] for another
/// version, [`OpenError::Malformed`] when padding or prefix are wrong.
pub fn open(capsule: &Capsule, object: &[u8], context: &Context, me: UserId) -> Result<Plaintext, OpenError> {
    if sha256(&[object]) != capsule.hash {
        return Err(OpenError::BadTag);
    }
    let mut reader = Reader::new(object);
    if reader.u8()? != VERSION {
        return Err(OpenError::Unsupported);
    }
    let stated = Secret::new(reader.array()?);
    let (key, commitment) = derive(&capsule.key, context);
    // `Secret` compares in constant time.
    if stated != commitment {
        return Err(OpenError::BadTag);
    }
    let padded = key
        .open(&NONCE, &aad(), reader.rest())
        .map_err(|_| OpenError::BadTag)?;
    let plaintext = Plaintext::from_bytes(padding::unpad(&padded)?)?;
    let sender = context.sender.user;
    if direct_conversation(sender, plaintext.peer) != context.conversation
        || (me != sender && me != plaintext.peer)
    {
        return Err(OpenError::BadTag);
    }
    Ok(plaintext)
}

impl Plaintext {
    fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut reader = Reader::new(bytes);
        let plaintext = Self {
            peer: UserId::from_bytes(reader.array()?),
            cseq: reader.u64()?,
            after: MsgId::from_bytes(reader.array()?),
            content: reader.rest().to_vec(),
        };
        if plaintext.cseq == 0 {
            return Err(OpenError::Malformed);
        }
        Ok(plaintext)
    }
}

impl Capsule {
    /// Bytes of the encoding.
    pub const BYTES: usize = 64;

    /// The encoding, for the outbox that answers retries.
    #[must_use]
    pub fn to_bytes(&self) -> Secret<{ Self::BYTES }> {
        Secret::new(concat(&[self.key.expose(), &self.hash]))
    }

    /// Reads [`Capsule::to_bytes`].
    ///
    /// # Errors
    /// [`OpenError::Malformed`] for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut reader = Reader::new(bytes);
        let capsule = Self {
            key: Secret::new(reader.array()?),
            hash: reader.array()?,
        };
        reader.finish()?;
        Ok(capsule)
    }
}

/// `key(32) | com(32)`.
fn derive(key: &Secret<32>, context: &Context) -> (aead::Key, Secret<32>) {
    let okm = kdf::hkdf::<64>(
        &[0; 32],
        &[key.expose()],
        &[
            label!("UNH1/body"),
            context.conversation.as_bytes(),
            context.msg_id.as_bytes(),
            context.sender.user.as_bytes(),
            context.sender.device.as_bytes(),
        ],
    );
    (aead::Key::new(part::<0, 32, 64>(&okm)), part::<32, 32, 64>(&okm))
}

fn aad() -> [u8; 11] {
    concat(&[label!("UNH1/body"), &[VERSION]])
}
