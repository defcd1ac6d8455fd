//! Who vouches for a server, and what is wrong when nobody does (`docs/adr/0010`).
//!
//! Names and dates are checked whoever vouches: a pinned authority replaces the list of known authorities and nothing
//! else. Dates have a day of tolerance, with a warning, for clocks that are wrong.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    version::TLS13,
};
use serde::{Deserialize, Serialize};
use unhidra_crypto::hash::sha256;
use unhidra_types::Fingerprint;

/// How far a clock may be wrong before a certificate is refused for its dates. The server allows as much.
const DATE_TOLERANCE: Duration = Duration::from_secs(24 * 3_600);

/// Whose word is taken for who a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The authorities that this machine knows.
    #[default]
    System,
    /// The authorities in a PEM file, and no others.
    File(PathBuf),
    /// The authority whose certificate has this fingerprint, and no other.
    Pinned(Fingerprint),
}

/// Why there is no connection that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// Nobody that is known vouches for the server.
    #[error("nobody that this machine knows vouches for the server")]
    UnknownAuthority {
        /// The server's own authority, if it showed one and everything else about its certificate is right.
        own: Option<Fingerprint>,
    },
    /// Somebody else vouches for the server than did before.
    #[error("the server's certificate is not from the authority that was trusted ({pinned})")]
    OtherAuthority {
        /// Who did.
        pinned: Fingerprint,
    },
    /// The certificate is another server's.
    #[error("the server's certificate is for another name")]
    OtherName,
    /// The certificate is over.
    #[error("the server's certificate expired {} before this machine's clock", days(.0))]
    Expired(Duration),
    /// The certificate is not valid yet.
    #[error("the server's certificate becomes valid {} after this machine's clock", days(.0))]
    NotYetValid(Duration),
    /// The other side does not speak TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// The other side speaks no TLS 1.3, or breaks its rules.
    #[error("the server speaks no TLS 1.3")]
    NoCommonVersion,
    /// Something else is wrong with the certificate.
    #[error("the server's certificate does not hold: {0}")]
    Invalid(String),
}

/// Why the authorities can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file can't be read, or holds no certificate.
    #[error("{} holds no certificate in PEM form", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
    },
    /// The cryptographic library failed.
    #[error("TLS can't be used")]
    Library(#[from] rustls::Error),
}

impl Untrusted {
    /// What a person can do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownAuthority { own: Some(_) } => {
                "compare the fingerprint with what `unhidra tls fingerprint` prints on the server, and name it with --ca-fingerprint"
            }
            Self::UnknownAuthority { own: None } => {
                "name the file of its authority with --ca-file, or install this system's ca-certificates"
            }
            Self::OtherAuthority { .. } => {
                "ask the administrator, not by this server, whether the CA was replaced; if so log in again with the new --ca-fingerprint"
            }
            Self::OtherName => "use the address that the administrator gave",
            Self::Expired(_) => {
                "check this machine's clock; if it is right, the administrator has to renew it"
            }
            Self::NotYetValid(_) => "set this machine's clock",
            Self::NotTls => "use http:// if the server is on this machine, or ask the administrator",
            Self::NoCommonVersion => "the administrator has to allow TLS 1.3",
            Self::Invalid(_) => "the administrator has to replace it",
        }
    }

    /// What `error` says about trust, if that is why there was no connection.
    pub(crate) fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Self::of(error);
            }
            // An error inside of an `io::Error` is not its source, but stands for it.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    fn of(error: &rustls::Error) -> Option<Self> {
        use rustls::{AlertDescription, Error};
        Some(match error {
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
                Self::NoCommonVersion
            }
            _ => return None,
        })
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownAuthority { own: None },
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            CertificateError::ExpiredContext { time, not_after } => Self::Expired(apart(*time, *not_after)),
            CertificateError::NotValidYetContext { time, not_before } => {
                Self::NotYetValid(apart(*not_before, *time))
            }
            CertificateError::Other(OtherError(own)) => match own.downcast_ref::<Self>() {
                Some(own) => own.clone(),
                None => Self::Invalid(own.to_string()),
            },
            error => Self::Invalid(error.to_string()),
        }
    }
}

impl Trust {
    /// How to shake hands with a server that these authorities vouch for. `warn` tells a person that a certificate is
    /// just outside its dates.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub(crate) fn configuration(&self, warn: fn(&str)) -> Result<ClientConfig, AuthorityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let authorities = match self {
            Self::System => system(&provider),
            Self::File(path) => Authorities::Known(known(from_file(path)?, &provider)?),
            Self::Pinned(fingerprint) => Authorities::Pinned(*fingerprint),
        };
        configuration(authorities, provider, warn)
    }

    /// For a server that is not asked for a certificate.
    pub(crate) fn nobody() -> Result<ClientConfig, AuthorityError> {
        configuration(Authorities::None, Arc::new(aws_lc_rs::default_provider()), |_| {})
    }
}

fn configuration(
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
    warn: fn(&str),
) -> Result<ClientConfig, AuthorityError> {
    let verifier = Verifier {
        authorities,
        provider: Arc::clone(&provider),
        warn,
        warned: AtomicBool::new(false),
    };
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

/// Who may have signed.
#[derive(Debug)]
enum Authorities {
    None,
    Known(Arc<dyn ServerCertVerifier>),
    Pinned(Fingerprint),
}

/// The authorities of this machine. A machine without any knows nobody, and is told so when a server is not trusted.
fn system(provider: &Arc<CryptoProvider>) -> Authorities {
    match rustls_platform_verifier::Verifier::new(Arc::clone(provider)) {
        Ok(verifier) => Authorities::Known(Arc::new(verifier)),
        Err(error) => {
            tracing::debug!(error = %error, "this machine knows no authorities");
            Authorities::None
        }
    }
}

fn from_file(path: &Path) -> Result<RootCertStore, AuthorityError> {
    let none = || AuthorityError::File {
        path: path.to_owned(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_unreadable| none())? {
        roots.add(certificate.map_err(|_not_pem| none())?)?;
    }
    if roots.is_empty() { Err(none()) } else { Ok(roots) }
}

fn known(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(verifier)
}

struct Verifier {
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
    warn: fn(&str),
    warned: AtomicBool,
}

/// What a server shows of itself.
struct Presented<'a> {
    certificate: &'a CertificateDer<'a>,
    chain: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
}

impl Verifier {
    fn check(&self, presented: &Presented<'_>, now: UnixTime) -> Result<ServerCertVerified, rustls::Error> {
        match &self.authorities {
            Authorities::None => Err(CertificateError::UnknownIssuer.into()),
            Authorities::Known(verifier) => {
                let Presented {
                    certificate,
                    chain,
                    name,
                } = presented;
                verifier.verify_server_cert(certificate, chain, name, &[], now)
            }
            Authorities::Pinned(pinned) => {
                let mut chain = presented.chain.iter();
                match chain.find(|certificate| fingerprint(certificate) == *pinned) {
                    Some(authority) => self.check_by(authority, presented, now),
                    None => Err(other(Untrusted::OtherAuthority { pinned: *pinned })),
                }
            }
        }
    }

    /// Whether `authority` alone vouches for the server.
    fn check_by(
        &self,
        authority: &CertificateDer<'_>,
        presented: &Presented<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = known(roots, &self.provider)?;
        verifier.verify_server_cert(presented.certificate, presented.chain, presented.name, &[], now)
    }

    /// The last of the chain that vouches for the server, for a person to compare.
    fn own_authority(&self, presented: &Presented<'_>, now: UnixTime) -> Option<Fingerprint> {
        let mut chain = presented.chain.iter().rev();
        let own = chain.find(|authority| self.check_by(authority, presented, now).is_ok())?;
        Some(fingerprint(own))
    }

    fn check_with_tolerance(
        &self,
        presented: &Presented<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = match self.check(presented, now) {
            Err(rustls::Error::InvalidCertificate(refused)) => refused,
            result => return result,
        };
        let (end, distance) = match &refused {
            CertificateError::ExpiredContext { time, not_after } => (*not_after, apart(*time, *not_after)),
            CertificateError::NotValidYetContext { time, not_before } => {
                (*not_before, apart(*not_before, *time))
            }
            _ => return Err(refused.into()),
        };
        if distance > DATE_TOLERANCE {
            return Err(refused.into());
        }
        let verified = self.check(presented, end)?;
        if !self.warned.swap(true, Ordering::Relaxed) {
            let what = Untrusted::of_certificate(&refused);
            (self.warn)(&format!("{what}: {}; it is accepted for a day", what.remedy()));
        }
        Ok(verified)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = Presented {
            certificate,
            chain,
            name,
        };
        self.check_with_tolerance(&presented, now)
            .map_err(|error| match error {
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                    let own = self.own_authority(&presented, now);
                    other(Untrusted::UnknownAuthority { own })
                }
                error => error,
            })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Not reached: only TLS 1.3 is offered.
        Err(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.authorities).finish()
    }
}

fn other(untrusted: Untrusted) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(untrusted))).into()
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint::from_bytes(sha256(&[certificate]))
}

fn apart(later: UnixTime, earlier: UnixTime) -> Duration {
    Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs()))
}

/// A duration as people say it.
fn days(duration: &Duration) -> String {
    match duration.as_secs() / 3_600 {
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests;
