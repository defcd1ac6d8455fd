//! An authority for one server, for whoever has no certificate from a public one (`docs/adr/0010`).
//!
//! Its key and certificate are made once, beside the database; the certificate that the server presents is made from it
//! and renewed. Whoever trusts the authority's fingerprint goes on trusting the server through every renewal.
//!
//! Files: `ca.pem` (public), `ca.key`, `server.pem` (key and chain), all of mode 0600.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use time::OffsetDateTime;
use unhidra_types::{Fingerprint, Timestamp};

use crate::{
    certificate::{self, Certificate, CertificateError, fingerprint},
    file::{FileError, read_secret, write_secret},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long an authority lives. Replacing it means that every client has to be told the new fingerprint.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// How long the certificate that it signs lives, and with how much time left another one is made.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3_600);
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Certificates begin before they are made, for clients whose clocks are late.
const BACKDATE: Duration = DAY;
const CA_NAME: &str = "Unhidra local CA";
const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const SERVER_FILE: &str = "server.pem";

/// The authority of one server.
pub struct LocalCa {
    folder: PathBuf,
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
}

/// Why the authority can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalCaError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate that it signed can't be read back.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate is there and its key is not, or the reverse of what was written.
    #[error(
        "{} is damaged or lacks its key: restore ca.pem and ca.key from a backup, or delete both; \
         every client must then be told the new fingerprint", .0.display()
    )]
    Damaged(PathBuf),
    /// Ten years are over.
    #[error(
        "the local CA in {} has expired: check this machine's clock; if it is right, delete ca.pem and ca.key, and \
         tell every client the new fingerprint", .0.display()
    )]
    Expired(PathBuf),
    /// A name that no certificate can be for.
    #[error("`{0}` is neither a DNS name nor an address")]
    Name(String),
    /// The cryptographic library failed.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
}

impl LocalCa {
    /// Opens the authority in `folder`, or makes one.
    ///
    /// # Errors
    /// [`LocalCaError`].
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, LocalCaError> {
        let file = folder.join(CA_FILE);
        let damaged = || LocalCaError::Damaged(file.clone());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_not_pem| damaged());
        let key = read_secret(&folder.join(CA_KEY_FILE))?;
        let (pem, key) = match (read_secret(&file)?, key) {
            (Some(pem), Some(key)) => {
                let key = KeyPair::from_pem(&text(key.to_vec())?).map_err(|_not_a_key| damaged())?;
                (text(pem.to_vec())?, key)
            }
            (Some(_), None) => return Err(damaged()),
            // A crash between the two files: nobody has seen a certificate of this key.
            (None, _) => found(folder, now)?,
        };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_not_pem| damaged())?;
        let (_, _, not_after) = certificate::facts(&certificate).ok_or_else(damaged)?;
        if now > not_after {
            return Err(LocalCaError::Expired(folder.to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self {
            folder: folder.to_owned(),
            pem,
            certificate,
            issuer,
            not_after,
        })
    }

    /// What clients know it by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.certificate)
    }

    /// The certificate that was made before, if it still serves for `names`.
    #[must_use]
    pub fn made(&self, names: &[String], now: Timestamp) -> Option<Certificate> {
        let file = self.folder.join(SERVER_FILE);
        let made = Certificate::read(&file, &file).ok()?;
        let serves = made.names == names
            && made.chain.get(1) == Some(&self.certificate)
            && made.not_before <= now
            && (now.saturating_add(RENEW_BEFORE) <= made.not_after || made.not_after == self.not_after);
        serves.then_some(made)
    }

    /// The certificate for `names`: the one that was made before, or a new one when that ends soon, is not valid yet, or
    /// is for other names.
    ///
    /// # Errors
    /// [`LocalCaError`].
    pub fn certificate(&self, names: &[String], now: Timestamp) -> Result<Certificate, LocalCaError> {
        if let Some(made) = self.made(names, now) {
            return Ok(made);
        }
        let file = self.folder.join(SERVER_FILE);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        for name in names {
            let one = CertificateParams::new([name.clone()])
                .map_err(|_unusable| LocalCaError::Name(name.clone()))?;
            params.subject_alt_names.extend(one.subject_alt_names);
        }
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, names.first().map_or(CA_NAME, String::as_str));
        params.not_before = date(now.saturating_sub(BACKDATE));
        params.not_after = date(now.saturating_add(LIFETIME).min(self.not_after));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let content = [key.serialize_pem(), certificate.pem(), self.pem.clone()].concat();
        write_secret(&file, content.as_bytes())?;
        Ok(Certificate::read(&file, &file)?)
    }
}

/// The fingerprint of the authority in `folder`, if there is one.
///
/// # Errors
/// [`LocalCaError`], when it can't be read.
pub fn fingerprint_in(folder: &Path) -> Result<Option<Fingerprint>, LocalCaError> {
    let file = folder.join(CA_FILE);
    let Some(pem) = read_secret(&file)? else {
        return Ok(None);
    };
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_not_pem| LocalCaError::Damaged(file))?;
    Ok(Some(fingerprint(&certificate)))
}

/// Makes an authority. The key is written first: a certificate whose key is lost would be of no use.
fn found(folder: &Path, now: Timestamp) -> Result<(String, KeyPair), LocalCaError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // Two authorities of one name would be mistaken for each other by whoever trusts both.
    let hash = digest(&SHA256, key.public_key_raw());
    let hash: String = hash
        .as_ref()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{CA_NAME} {hash}"));
    params.not_before = date(now.saturating_sub(BACKDATE));
    params.not_after = date(now.saturating_add(CA_LIFETIME));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    write_secret(&folder.join(CA_KEY_FILE), key.serialize_pem().as_bytes())?;
    write_secret(&folder.join(CA_FILE), certificate.pem().as_bytes())?;
    Ok((certificate.pem(), key))
}

/// To the second, which is what certificates know.
fn date(time: Timestamp) -> OffsetDateTime {
    let seconds = i64::try_from(time.as_millis() / 1_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn looking_for_a_certificate_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let authority = LocalCa::open(folder.path(), NOW).unwrap();
        let served = names(&["chat.example"]);
        assert!(authority.made(&served, NOW).is_none());
        let made = authority.certificate(&served, NOW).unwrap();
        assert!(authority.made(&names(&["other.example"]), NOW).is_none());
        assert_eq!(authority.made(&served, NOW).unwrap().chain, made.chain);
    }

    #[test]
    fn the_authority_stays_and_its_certificate_is_renewed_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = |now| LocalCa::open(folder.path(), now).unwrap();
        let wanted = names(&["chat.example.org", "192.0.2.1", "::1"]);
        let first = open(NOW).certificate(&wanted, NOW).unwrap();
        assert_eq!(first.names, wanted);
        let fingerprint = open(NOW).fingerprint();
        assert_eq!(fingerprint_in(folder.path()).unwrap(), Some(fingerprint));

        let later = NOW.saturating_add(DAY * 59);
        assert_eq!(
            open(later).certificate(&wanted, later).unwrap().chain,
            first.chain
        );
        let later = NOW.saturating_add(DAY * 61);
        let renewed = open(later).certificate(&wanted, later).unwrap();
        assert_ne!(renewed.chain.first(), first.chain.first());
        assert_eq!(renewed.chain.get(1), first.chain.get(1));
        assert!(renewed.not_after > first.not_after);
        assert_eq!(open(later).fingerprint(), fingerprint);
    }

    #[test]
    fn other_names_and_a_clock_that_was_wrong_make_another_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let ca = LocalCa::open(folder.path(), NOW).unwrap();
        let first = ca.certificate(&names(&["a"]), NOW).unwrap();
        assert_eq!(
            ca.certificate(&names(&["a", "b"]), NOW).unwrap().names,
            ["a", "b"]
        );
        assert_ne!(ca.certificate(&names(&["a"]), NOW).unwrap().chain, first.chain);
        let next_year = NOW.saturating_add(DAY * 365);
        ca.certificate(&names(&["a"]), next_year).unwrap();
        assert!(ca.certificate(&names(&["a"]), NOW).unwrap().not_before <= NOW);
        let error = ca.certificate(&names(&["ä ö"]), NOW).unwrap_err();
        assert!(matches!(error, LocalCaError::Name(_)), "{error}");
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let ca = LocalCa::open(folder.path(), NOW).unwrap();
        let late = ca.not_after.saturating_sub(DAY * 2);
        let last = ca.certificate(&names(&["a"]), late).unwrap();
        assert_eq!(last.not_after, ca.not_after);
        assert_eq!(ca.certificate(&names(&["a"]), late).unwrap().chain, last.chain);
        let over = LocalCa::open(folder.path(), ca.not_after.saturating_add(DAY));
        assert!(matches!(over, Err(LocalCaError::Expired(_))));
    }

    #[test]
    fn the_files_are_private_and_a_lost_key_is_no_reason_for_a_new_authority() {
        let folder = tempfile::tempdir().unwrap();
        let ca = LocalCa::open(folder.path(), NOW).unwrap();
        ca.certificate(&names(&["a"]), NOW).unwrap();
        for file in [CA_FILE, CA_KEY_FILE, SERVER_FILE] {
            let mode = fs::metadata(folder.path().join(file))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        fs::remove_file(folder.path().join(CA_KEY_FILE)).unwrap();
        let lost = LocalCa::open(folder.path(), NOW);
        assert!(matches!(lost, Err(LocalCaError::Damaged(_))));
    }
}
