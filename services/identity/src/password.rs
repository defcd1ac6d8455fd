//! Argon2id (RFC 9106), computed on a few low-priority threads, with one computation for every guess.
//!
//! A name that nobody has costs the same computation, against a hash that no password has. An account whose stored
//! parameters are older than the configured ones costs its own until its next login.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::phc::PasswordHash,
};
use unhidra_runtime::{Context, Overloaded, Workers};
use zeroize::Zeroizing;

use crate::config::{IdentityConfig, PasswordHashing};

/// Passwords that wait for a thread; one more is refused with a time to try again.
const QUEUE: usize = 256;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// KiB, passes and lanes of the cheap profile.
const CHEAP: (u32, u32, u32) = (64, 1, 1);

/// Computes and checks password hashes. Clones share threads and counter.
#[derive(Clone)]
pub(crate) struct Hasher {
    workers: Workers,
    argon2: Argon2<'static>,
    /// Stands in for the hash of an account that does not exist.
    decoy: Arc<str>,
    computations: Arc<AtomicU64>,
}

/// What a guess turned out to be.
pub(crate) enum Guess {
    /// The password.
    Right {
        /// The hash under raised parameters, when they were raised since it was stored.
        rehashed: Option<String>,
    },
    /// Not the password, or there is no account.
    Wrong,
}

pub(crate) enum StartError {
    Parameters,
    Threads(io::Error),
}

impl Hasher {
    pub(crate) fn start(config: &IdentityConfig, context: &Context) -> Result<Self, StartError> {
        let (memory, iterations, lanes) = match config.password_hashing {
            PasswordHashing::Cheap => CHEAP,
            PasswordHashing::Standard => {
                let kib = u32::try_from(config.password_memory.as_u64() / 1024)
                    .map_err(|_| StartError::Parameters)?;
                (kib, config.password_iterations, config.password_lanes)
            }
        };
        let params =
            Params::new(memory, iterations, lanes, Some(HASH_BYTES)).map_err(|_| StartError::Parameters)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = decoy(&argon2, context).ok_or(StartError::Parameters)?;
        let threads = Workers::half_of_the_machine();
        let workers = Workers::start("passwords", threads, QUEUE).map_err(StartError::Threads)?;
        Ok(Self {
            workers,
            argon2,
            decoy: decoy.into(),
            computations: Arc::default(),
        })
    }

    /// The PHC string of a new password.
    pub(crate) async fn hash(
        &self,
        password: Zeroizing<String>,
        context: &Context,
    ) -> Result<String, Overloaded> {
        let (hasher, salt) = (self.clone(), context.random());
        self.workers
            .run(move || hasher.compute(&password, salt))
            .await?
            .ok_or(Overloaded)
    }

    /// Checks a guess against the stored PHC string of an account, or against nothing at the same cost.
    pub(crate) async fn check(
        &self,
        password: Zeroizing<String>,
        stored: Option<String>,
        context: &Context,
    ) -> Result<Guess, Overloaded> {
        let (hasher, salt) = (self.clone(), context.random());
        self.workers
            .run(move || hasher.compare(&password, stored.as_deref(), salt))
            .await
    }

    pub(crate) fn computations(&self) -> u64 {
        self.computations.load(Ordering::Relaxed)
    }

    fn compute(&self, password: &str, salt: [u8; SALT_BYTES]) -> Option<String> {
        self.computations.fetch_add(1, Ordering::Relaxed);
        let hash = self
            .argon2
            .hash_password_with_salt(password.as_bytes(), &salt)
            .ok()?;
        Some(hash.to_string())
    }

    fn compare(&self, password: &str, stored: Option<&str>, salt: [u8; SALT_BYTES]) -> Guess {
        let Ok(hash) = PasswordHash::new(stored.unwrap_or(&self.decoy)) else {
            tracing::error!("a stored password hash is damaged");
            return Guess::Wrong;
        };
        self.computations.fetch_add(1, Ordering::Relaxed);
        let fits = self.argon2.verify_password(password.as_bytes(), &hash).is_ok();
        if !fits || stored.is_none() {
            return Guess::Wrong;
        }
        let rehashed = if self.is_outdated(&hash) {
            self.compute(password, salt)
        } else {
            None
        };
        Guess::Right { rehashed }
    }

    fn is_outdated(&self, hash: &PasswordHash) -> bool {
        let wanted = self.argon2.params();
        Params::try_from(hash).is_ok_and(|stored| {
            stored.m_cost() < wanted.m_cost()
                || stored.t_cost() < wanted.t_cost()
                || stored.p_cost() < wanted.p_cost()
        })
    }
}

/// A PHC string with the configured parameters and a random hash, which costs nothing to make.
fn decoy(argon2: &Argon2<'_>, context: &Context) -> Option<String> {
    use argon2::password_hash::phc::{Output, ParamsString, Salt};
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).ok()?,
        salt: Some(Salt::new(&context.random::<SALT_BYTES>()).ok()?),
        hash: Some(Output::new(&context.random::<HASH_BYTES>()).ok()?),
    };
    Some(hash.to_string())
}

#[cfg(test)]
mod tests {
    use unhidra_runtime::{ByteSize, Clock};

    use super::*;

    fn config(memory: ByteSize) -> IdentityConfig {
        IdentityConfig {
            issuer: None,
            password_hashing: PasswordHashing::Standard,
            password_memory: memory,
            password_iterations: 1,
            password_lanes: 1,
            session_idle: std::time::Duration::ZERO,
            session_lifetime: std::time::Duration::ZERO,
            max_devices: 1,
        }
    }

    fn start(memory: ByteSize) -> (Hasher, Context) {
        let context = Clock::System.context();
        let Ok(hasher) = Hasher::start(&config(memory), &context) else {
            panic!("no hasher")
        };
        (hasher, context)
    }

    fn password(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_is_a_phc_string_with_the_configured_parameters() {
        let (hasher, context) = start(ByteSize::from_kib(64));
        let hash = hasher.hash(password("correct horse"), &context).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let again = hasher.hash(password("correct horse"), &context).await.unwrap();
        assert_ne!(hash, again, "the salt is the same");
    }

    #[tokio::test]
    async fn a_wrong_password_and_an_unknown_name_cost_one_computation_each() {
        let (hasher, context) = start(ByteSize::from_kib(64));
        let hash = hasher.hash(password("right"), &context).await.unwrap();
        for stored in [Some(hash), None] {
            let before = hasher.computations();
            let guess = hasher.check(password("wrong"), stored, &context).await.unwrap();
            assert!(matches!(guess, Guess::Wrong));
            assert_eq!(hasher.computations() - before, 1);
        }
    }

    #[tokio::test]
    async fn raised_parameters_rehash_at_the_next_login_and_only_then() {
        let (weak, context) = start(ByteSize::from_kib(64));
        let hash = weak.hash(password("right"), &context).await.unwrap();
        let (strong, context) = start(ByteSize::from_kib(128));
        let guess = strong
            .check(password("right"), Some(hash.clone()), &context)
            .await
            .unwrap();
        let Guess::Right {
            rehashed: Some(raised),
        } = guess
        else {
            panic!("not rehashed")
        };
        assert!(raised.contains("m=128"), "{raised}");
        let guess = strong
            .check(password("right"), Some(raised), &context)
            .await
            .unwrap();
        assert!(matches!(guess, Guess::Right { rehashed: None }));
        assert!(matches!(
            strong.check(password("wrong"), Some(hash), &context).await,
            Ok(Guess::Wrong)
        ));
    }
}
