//! A TLS certificate with its key, as it lies in PEM files.
//!
//! It is read and judged here; who listens with it is the business of the listener. The library that speaks TLS checks
//! that key and certificate belong together.

use std::{
    fs,
    io::{self, Read as _},
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use unhidra_types::{Fingerprint, Timestamp};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};
use zeroize::Zeroizing;

/// How far a clock may be wrong before a certificate is refused for its dates. Clients allow as much.
pub const DATE_TOLERANCE: Duration = Duration::from_secs(24 * 3_600);
/// With less time left an operator is warned.
const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);
/// The largest PEM file that is read: a chain of ten has less than 64 KiB.
const MAX_PEM_BYTES: u64 = 256 * 1024;
/// A key file must not be readable by everybody, nor writable by its group. Reading by a group is usual for keys that
/// several services use.
const OPEN_KEY: u32 = 0o027;

/// A certificate that a server can present.
#[derive(Debug)]
pub struct Certificate {
    /// Itself first, then the authorities between it and the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// What the dates of a certificate say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// Valid for a while.
    Good,
    /// Valid, but not for long.
    EndsSoon,
    /// Outside its dates by less than [`DATE_TOLERANCE`].
    Tolerated,
    /// Over.
    Expired,
    /// Not valid yet: more likely the clock is wrong than the certificate.
    NotYetValid,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("{}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others may read the key.
    #[error("{} may be read or changed by others: set its mode to 0600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// There is no certificate, or none that can be read, in the file.
    #[error("{} holds no certificate in PEM form", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no unencrypted private key in the file.
    #[error("{} holds no private key in PEM form (an encrypted one can't be used)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

impl Certificate {
    /// Reads a certificate, with the chain that follows it in its file, and its key.
    ///
    /// # Errors
    /// [`CertificateError`]. The dates are not judged.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let pem = bytes(certificate)?;
        let no_certificate = || CertificateError::NoCertificate {
            path: certificate.to_owned(),
        };
        let chain: Result<Vec<CertificateDer<'static>>, pem::Error> =
            CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|_not_pem| no_certificate())?;
        let facts = chain.first().and_then(facts).ok_or_else(no_certificate)?;
        let key = private_key(key)?;
        let (names, not_before, not_after) = facts;
        Ok(Self {
            chain,
            key,
            names,
            not_before,
            not_after,
        })
    }

    /// What its dates say at `now`.
    #[must_use]
    pub fn dates(&self, now: Timestamp) -> Dates {
        if now > self.not_after.saturating_add(DATE_TOLERANCE) {
            Dates::Expired
        } else if now.saturating_add(DATE_TOLERANCE) < self.not_before {
            Dates::NotYetValid
        } else if now > self.not_after || now < self.not_before {
            Dates::Tolerated
        } else if now.saturating_add(SOON) > self.not_after {
            Dates::EndsSoon
        } else {
            Dates::Good
        }
    }
}

/// The fingerprint of a certificate.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let hash = digest(&SHA256, certificate);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    Fingerprint::from_bytes(bytes)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let mode = fs::metadata(path).map_err(failed(path))?.permissions().mode();
    if mode & OPEN_KEY != 0 {
        return Err(CertificateError::Exposed {
            path: path.to_owned(),
        });
    }
    PrivateKeyDer::from_pem_slice(&bytes(path)?).map_err(|_no_key| CertificateError::NoKey {
        path: path.to_owned(),
    })
}

/// Names and dates of a certificate; `None` when it is none.
pub(crate) fn facts(certificate: &CertificateDer<'_>) -> Option<(Vec<String>, Timestamp, Timestamp)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let alternatives = parsed.subject_alternative_name().ok()?;
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    let validity = parsed.validity();
    let time =
        |seconds: i64| Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    Some((
        names.collect(),
        time(validity.not_before.timestamp()),
        time(validity.not_after.timestamp()),
    ))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

pub(crate) fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let mut bytes = Zeroizing::new(Vec::new());
    fs::File::open(path)
        .and_then(|file| file.take(MAX_PEM_BYTES).read_to_end(&mut bytes))
        .map_err(failed(path))?;
    Ok(bytes)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CertificateError {
    move |source| CertificateError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_ca::LocalCa;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn made() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let ca = LocalCa::open(folder.path(), NOW).unwrap();
        ca.certificate(&["localhost".into()], NOW).unwrap();
        let file = folder.path().join("server.pem");
        (folder, file)
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        let (_folder, file) = made();
        Certificate::read(&file, &file).unwrap();
        for mode in [0o644, 0o604, 0o660] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let refused = Certificate::read(&file, &file);
            assert!(
                matches!(refused, Err(CertificateError::Exposed { .. })),
                "{mode:o}"
            );
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        Certificate::read(&file, &file).unwrap();
    }

    #[test]
    fn a_file_without_a_certificate_or_key_is_named() {
        let (folder, file) = made();
        let other = folder.path().join("other");
        fs::write(&other, "nothing\n").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        let error = |certificate, key| Certificate::read(certificate, key).unwrap_err().to_string();
        assert!(error(&other, &file).ends_with("other holds no certificate in PEM form"));
        assert!(error(&file, &other).contains("other holds no private key"));
        assert!(error(&folder.path().join("none"), &file).ends_with("none"));
    }

    #[test]
    fn dates_are_judged_with_a_day_of_tolerance() {
        let (_folder, file) = made();
        let certificate = Certificate::read(&file, &file).unwrap();
        let (from, until) = (certificate.not_before, certificate.not_after);
        for (now, dates) in [
            (NOW, Dates::Good),
            (until.saturating_sub(DAY), Dates::EndsSoon),
            (until.saturating_add(DAY / 2), Dates::Tolerated),
            (until.saturating_add(DAY * 2), Dates::Expired),
            (from.saturating_sub(DAY / 2), Dates::Tolerated),
            (from.saturating_sub(DAY * 2), Dates::NotYetValid),
        ] {
            assert_eq!(certificate.dates(now), dates);
        }
    }
}
