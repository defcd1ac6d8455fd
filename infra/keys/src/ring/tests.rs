use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;
use unhidra_runtime::{Clock, context::ManualClock};
use unhidra_types::{DeviceId, OrgId, SessionId, UserId};

use super::*;
use crate::token::{Bearer, MAX_TOKEN_BYTES, TokenError};

const ISSUER: &str = "https://chat.example";
const USER: UserId = UserId::from_bytes([1; 16]);
const ORG: OrgId = OrgId::from_bytes([2; 16]);
const SESSION: Bearer = Bearer::Session {
    device: DeviceId::from_bytes([3; 16]),
    session: SessionId::from_bytes([4; 16]),
};
const DAY: Duration = Duration::from_secs(86_400);

struct World {
    folder: tempfile::TempDir,
    clock: Clock,
    hand: ManualClock,
}

impl World {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock,
            hand,
        }
    }

    fn open(&self, issuer: &str) -> Keys {
        Keys::open(&config(), self.folder.path(), issuer, &self.clock.context()).unwrap()
    }

    fn now(&self) -> Timestamp {
        self.clock.context().now
    }

    fn token(&self, keys: &Keys) -> String {
        keys.sign(USER, ORG, SESSION, &self.clock.context()).unwrap()
    }
}

fn config() -> KeysConfig {
    KeysConfig {
        file: "keys.sealed".into(),
        sealing_key: "sealing.key".into(),
        token_lifetime: Duration::from_secs(600),
        rotation: 90 * DAY,
        overlap: DAY,
    }
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// Another implementation's view: JSON, base64url and a raw Ed25519 verification, from the JWKS alone.
fn verifies_from_jwks(token: &str, jwks: &Value) -> bool {
    let kid = &part(token, 0)["kid"];
    let Some(key) = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == *kid)
    else {
        return false;
    };
    let public = BASE64_URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ED25519, public)
        .verify(signed.as_bytes(), &signature)
        .is_ok()
}

#[test]
fn a_verifier_that_knows_only_the_jwks_verifies_a_token() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let token = world.token(&keys);
    let jwks = serde_json::to_value(keys.jwks(world.now())).unwrap();
    assert!(verifies_from_jwks(&token, &jwks));
    assert_eq!(jwks["keys"][0]["alg"], "EdDSA");
    assert_eq!(part(&token, 0)["alg"], "EdDSA");
    let claims = part(&token, 1);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["scope"], "full");
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        600
    );
}

#[test]
fn a_token_made_by_another_library_under_the_same_key_verifies_here() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let mut claims = part(&world.token(&keys), 1);
    claims["jti"] = "by hand".into();
    let ring = keys.ring();
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({"alg": "EdDSA", "typ": "JWT", "kid": &*ring.signing[0].kid});
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let pair = Ed25519KeyPair::from_seed_unchecked(ring.signing[0].seed.expose()).unwrap();
    let token = format!(
        "{signed}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()))
    );
    let first = keys.verify(&token, world.now());
    assert!(first.is_ok());
    assert_eq!(keys.verify(&token, world.now()), first, "from memory");
}

#[test]
fn a_token_ends_with_its_lifetime_and_the_leeway() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let token = world.token(&keys);
    world.hand.advance(Duration::from_secs(660));
    assert!(keys.verify(&token, world.now()).is_ok());
    world.hand.advance(Duration::from_secs(1));
    assert_eq!(keys.verify(&token, world.now()), Err(TokenError::OutOfDate));
}

#[test]
fn a_token_from_the_future_is_refused() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let token = world.token(&keys);
    let before = world.now().saturating_sub(Duration::from_secs(61));
    assert_eq!(keys.verify(&token, before), Err(TokenError::OutOfDate));
}

#[test]
fn altered_foreign_and_unsigned_tokens_are_refused() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let token = world.token(&keys);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());

    let mut claims = part(&token, 1);
    claims["sub"] = UserId::from_bytes([9; 16]).to_string().into();
    let altered = format!(
        "{}.{}.{signature}",
        signed.split('.').next().unwrap(),
        encode(&claims)
    );
    assert_eq!(keys.verify(&altered, world.now()), Err(TokenError::Forged));

    for alg in ["none", "HS256"] {
        let mut header = part(&token, 0);
        header["alg"] = alg.into();
        let confused = format!(
            "{}.{}.{signature}",
            encode(&header),
            signed.split('.').nth(1).unwrap()
        );
        assert_eq!(
            keys.verify(&confused, world.now()),
            Err(TokenError::Malformed),
            "{alg}"
        );
    }

    let elsewhere = World::new();
    assert_eq!(
        keys.verify(&elsewhere.token(&elsewhere.open(ISSUER)), world.now()),
        Err(TokenError::UnknownKey)
    );
    assert_eq!(
        keys.verify(&world.token(&world.open("https://other.example")), world.now()),
        Err(TokenError::Malformed)
    );
    assert_eq!(keys.verify("", world.now()), Err(TokenError::Malformed));
    assert_eq!(
        keys.verify(&"a".repeat(MAX_TOKEN_BYTES + 1), world.now()),
        Err(TokenError::Malformed)
    );
}

#[test]
fn a_replaced_key_verifies_for_the_overlap_and_not_longer() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let old = world.token(&keys);
    world.hand.advance(Duration::from_secs(60));
    keys.rotate(&world.clock.context()).unwrap();
    let new = world.token(&keys);
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"]);

    let jwks = serde_json::to_value(keys.jwks(world.now())).unwrap();
    assert!(verifies_from_jwks(&old, &jwks) && verifies_from_jwks(&new, &jwks));
    assert!(keys.verify(&old, world.now()).is_ok());

    world.hand.advance(DAY + Duration::from_secs(1));
    assert_eq!(keys.verify(&old, world.now()), Err(TokenError::UnknownKey));
    assert_eq!(keys.jwks(world.now()).keys.len(), 1);
}

#[test]
fn rotation_is_due_at_its_age() {
    let world = World::new();
    let keys = world.open(ISSUER);
    assert!(!keys.rotation_due(world.now()));
    world.hand.advance(90 * DAY);
    assert!(keys.rotation_due(world.now()));
}

#[test]
fn the_ring_survives_a_restart_and_needs_its_sealing_key() {
    let world = World::new();
    let keys = world.open(ISSUER);
    keys.rotate(&world.clock.context()).unwrap();
    let token = world.token(&keys);
    let sealed = keys.seal(b"x", b"value").unwrap();
    drop(keys);

    let again = world.open(ISSUER);
    assert!(again.verify(&token, world.now()).is_ok());
    assert_eq!(again.open_sealed(b"x", &sealed).unwrap().as_slice(), b"value");

    file::write_secret(&world.folder.path().join("sealing.key"), &[7; 32]).unwrap();
    let refused = Keys::open(&config(), world.folder.path(), ISSUER, &world.clock.context());
    assert!(matches!(refused, Err(KeyError::File(FileError::Unusable { .. }))));
}

#[test]
fn the_key_file_shows_no_seed() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let bytes = std::fs::read(world.folder.path().join("keys.sealed")).unwrap();
    let ring = keys.ring();
    let seed = ring.signing[0].seed.expose();
    assert!(!bytes.windows(32).any(|window| window == seed));
    assert!(!bytes.windows(8).any(|window| window == b"\"signing"));
}

#[test]
fn an_overlap_shorter_than_a_token_is_refused() {
    let world = World::new();
    let config = KeysConfig {
        overlap: Duration::from_secs(1),
        ..config()
    };
    let refused = Keys::open(&config, world.folder.path(), ISSUER, &world.clock.context());
    assert!(matches!(refused, Err(KeyError::OverlapTooShort)));
}

fn head_verifies(key: [u8; 32], head: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key)
        .verify(head, signature)
        .is_ok()
}

#[test]
fn the_key_of_the_audit_log_stays_through_rotation_and_restart_and_signs_no_token() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let (key, log) = (keys.audit_key(), keys.audit_log());
    keys.rotate(&world.clock.context()).unwrap();
    drop(keys);
    let again = world.open(ISSUER);
    assert_eq!((again.audit_key(), again.audit_log()), (key, log));
    assert!(head_verifies(key, b"head", &again.sign_tree_head(b"head")));
    let public = BASE64_URL_SAFE_NO_PAD.encode(key);
    assert!(again.jwks(world.now()).keys.iter().all(|jwk| jwk.x != public));
    let read = Keys::read_audit_key(&config(), world.folder.path()).unwrap();
    assert_eq!(read, Some(key));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(Keys::read_audit_key(&config(), empty.path()).unwrap(), None);
}

#[test]
fn a_key_file_from_before_the_audit_tree_gets_a_key_once() {
    let world = World::new();
    let keys = world.open(ISSUER);
    let token = world.token(&keys);
    let sealing_key = file::sealing_key(&world.folder.path().join("sealing.key"), || [0; 32]).unwrap();
    let path = world.folder.path().join("keys.sealed");
    let plain = file::read_sealed(&path, &sealing_key).unwrap().unwrap();
    let mut stored: Value = serde_json::from_slice(&plain).unwrap();
    stored.as_object_mut().unwrap().remove("audit").unwrap();
    file::write_sealed(&path, &sealing_key, &serde_json::to_vec(&stored).unwrap()).unwrap();

    let upgraded = world.open(ISSUER);
    assert!(upgraded.verify(&token, world.now()).is_ok());
    assert_ne!(upgraded.audit_key(), keys.audit_key());
    assert_eq!(world.open(ISSUER).audit_log(), upgraded.audit_log());
}

#[test]
fn key_files_are_told_apart_without_making_any() {
    let world = World::new();
    let look = || examine(&config(), world.folder.path());
    assert_eq!(look().unwrap(), OnDisk::Nothing);
    world.open(ISSUER);
    assert_eq!(look().unwrap(), OnDisk::Whole);
    let (sealed, key) = (
        world.folder.path().join("keys.sealed"),
        world.folder.path().join("sealing.key"),
    );
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    assert_eq!(look().unwrap(), OnDisk::SealedAlone);
    file::write_secret(&key, &[9; 32]).unwrap();
    assert!(matches!(look(), Err(KeyError::File(FileError::Unusable { .. }))));
    file::write_secret(&key, &kept[..31]).unwrap();
    assert!(matches!(look(), Err(KeyError::File(FileError::Unusable { .. }))));
    file::write_secret(&key, &kept).unwrap();
    std::fs::remove_file(&sealed).unwrap();
    assert_eq!(look().unwrap(), OnDisk::SealingKeyAlone);
}

#[test]
fn lifetimes_that_contradict_each_other_are_refused() {
    let hour = Duration::from_secs(3_600);
    let with = |token_lifetime, rotation, overlap| {
        let config = KeysConfig {
            token_lifetime,
            rotation,
            overlap,
            ..config()
        };
        config.validate()
    };
    assert_eq!(config().validate(), Ok(()));
    assert_eq!(
        with(Duration::ZERO, DAY, DAY),
        Err(crate::ConfigError::TokenLifetime)
    );
    assert_eq!(
        with(25 * hour, DAY, 2 * DAY),
        Err(crate::ConfigError::TokenLifetime)
    );
    assert_eq!(with(hour, Duration::ZERO, DAY), Err(crate::ConfigError::Rotation));
    assert_eq!(with(2 * hour, DAY, hour), Err(crate::ConfigError::Overlap));
}
