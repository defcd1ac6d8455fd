//! Which certificate the server presents, and how it changes while the server runs (`docs/tls.md`).

use std::{
    convert::Infallible,
    fs,
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use unhidra_http::tls::{Prepared, Tls};
use unhidra_identity::Identity;
use unhidra_keys::{
    certificate::{Certificate, Dates},
    local_ca::{self, LocalCa},
};
use unhidra_runtime::{Clock, Context, Stop, signal::Hangup};
use unhidra_types::{Fingerprint, Timestamp};

use crate::{
    command::read::shown_time,
    configuration::{Configuration, ServerConfig},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Where the local CA lies in the data folder.
const FOLDER: &str = "tls";

/// Encryption between clients and the server.
#[derive(Clone, Debug, confique::Config)]
pub(crate) struct TlsConfig {
    /// `files` for a certificate of your own, `local-ca` for an authority that the server makes for itself, `off` for plain HTTP on loopback or behind a proxy.
    #[config(default = "off")]
    pub(crate) mode: Mode,
    /// File with the certificate and its chain, PEM, for `files`. It is read again when it changes, within a minute or at SIGHUP.
    pub(crate) certificate: Option<PathBuf>,
    /// File with the certificate's private key, PEM and unencrypted, not readable by everybody, for `files`.
    pub(crate) key: Option<PathBuf>,
    /// DNS names and addresses that the certificate of the local CA is for, beside the issuer's, the one listened on and those of this machine.
    #[config(default = [])]
    pub(crate) names: Vec<String>,
}

/// Who vouches for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Off,
    Files,
    LocalCa,
}

/// Where certificates come from.
enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    LocalCa { folder: PathBuf, names: Vec<String> },
}

/// The certificate that the server presents.
pub(crate) struct Served {
    source: Source,
    tls: Tls,
    certificate: Certificate,
    authority: Option<Fingerprint>,
    /// Why the files were refused last, so that it is said once.
    refused: Option<String>,
    /// What was said about the dates last.
    dates: Dates,
}

/// Refuses what would let others read along: a listener that they reach, without TLS.
///
/// # Errors
/// What to do about it.
pub(crate) fn check_exposure(configuration: &Configuration) -> anyhow::Result<()> {
    let Configuration {
        server,
        identity,
        tls,
        ..
    } = configuration;
    let is_encrypted = tls.mode != Mode::Off;
    ensure!(
        is_encrypted || server.behind_proxy || server.listen.ip().is_loopback(),
        "{} is not a loopback address, and others must not read along: choose a certificate with --tls files or \
         --tls local-ca, or --behind-proxy if a proxy speaks TLS for this server",
        server.listen
    );
    ensure!(
        is_encrypted || (tls.certificate.is_none() && tls.key.is_none()),
        "`tls.certificate` or `tls.key` is set and `tls.mode` is `off`: set it to `files`"
    );
    ensure!(
        !server.behind_proxy || identity.issuer.is_some(),
        "behind a proxy the server can't know its own address: name it with --public-url, such as https://chat.example.org"
    );
    Ok(())
}

impl Served {
    /// The certificate that the configuration asks for, ready to be served; `None` without TLS.
    ///
    /// # Errors
    /// What the operator has to correct.
    pub(crate) fn open(configuration: &Configuration, now: Timestamp) -> anyhow::Result<Option<Self>> {
        let Some(source) = Source::of(configuration)? else {
            return Ok(None);
        };
        if let Source::LocalCa { folder, .. } = &source {
            let made = fs::DirBuilder::new().mode(0o700).create(folder);
            match made {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("create {}", folder.display()));
                }
                _ => {}
            }
        }
        let (certificate, authority) = source.load(now)?;
        let tls = Tls::new(source.prepare(&certificate)?);
        let mut served = Self {
            source,
            tls,
            certificate,
            authority,
            refused: None,
            dates: Dates::Good,
        };
        served.watch_dates(now);
        Ok(Some(served))
    }

    /// For the listener.
    pub(crate) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// What the certificate is for.
    pub(crate) fn names(&self) -> &[String] {
        &self.certificate.names
    }

    /// What clients know the local CA by, if it is one.
    pub(crate) fn authority(&self) -> Option<Fingerprint> {
        self.authority
    }

    /// Looks at the files every minute and at SIGHUP, and serves what changed, once the audit log says so. What can't be
    /// served is said, and the old certificate stays.
    pub(crate) async fn keep_up(
        mut self,
        identity: Identity,
        clock: Clock,
        mut hangup: Hangup,
        stop: Stop,
    ) -> Result<(), Infallible> {
        loop {
            let asked = tokio::select! {
                () = stop.requested() => return Ok(()),
                () = hangup.next() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let context = clock.context();
            match self.reload(&identity, &context).await {
                Ok(true) => tracing::info!(
                    until = shown_time(self.certificate.not_after),
                    "another certificate is served"
                ),
                Ok(false) if asked => tracing::info!("the certificate has not changed"),
                Ok(false) => self.refused = None,
                Err(error) => self.refuse(format!("{error:#}")),
            }
            self.watch_dates(context.now);
        }
    }

    /// Whether there was something new.
    async fn reload(&mut self, identity: &Identity, context: &Context) -> anyhow::Result<bool> {
        let (fresh, authority) = self.source.load(context.now)?;
        if fresh.chain == self.certificate.chain {
            return Ok(false);
        }
        let prepared = self.source.prepare(&fresh)?;
        identity
            .note_certificate(context)
            .await
            .context("write it to the audit log")?;
        self.tls.replace(prepared);
        (self.certificate, self.authority) = (fresh, authority);
        self.refused = None;
        Ok(true)
    }

    fn refuse(&mut self, why: String) {
        if self.refused.as_ref() != Some(&why) {
            tracing::error!("the certificate was not replaced, the old one stays: {why}");
            self.refused = Some(why);
        }
    }

    fn watch_dates(&mut self, now: Timestamp) {
        let dates = self.certificate.dates(now);
        if dates == std::mem::replace(&mut self.dates, dates) {
            return;
        }
        let (from, until) = (
            shown_time(self.certificate.not_before),
            shown_time(self.certificate.not_after),
        );
        match dates {
            Dates::Good => {}
            Dates::EndsSoon => tracing::warn!(until, "the certificate ends soon: renew it"),
            Dates::Tolerated => tracing::error!(
                from,
                until,
                "the certificate is outside its dates: renew it, or set this machine's clock; clients refuse it after a day"
            ),
            Dates::Expired | Dates::NotYetValid => {
                tracing::error!(
                    from,
                    until,
                    "clients refuse the certificate for its dates: renew it"
                );
            }
        }
    }
}

impl Source {
    fn of(configuration: &Configuration) -> anyhow::Result<Option<Self>> {
        let Configuration { server, tls, .. } = configuration;
        Ok(Some(match tls.mode {
            Mode::Off => return Ok(None),
            Mode::Files => {
                let named = "`tls.mode` is `files`: name the certificate with --tls-certificate and its key with --tls-key";
                Self::Files {
                    certificate: tls.certificate.clone().context(named)?,
                    key: tls.key.clone().context(named)?,
                }
            }
            Mode::LocalCa => Self::LocalCa {
                folder: folder(&server.data),
                names: names(server, configuration.identity.issuer.as_deref(), &tls.names),
            },
        }))
    }

    /// What is there now, if it can be served.
    fn load(&self, now: Timestamp) -> anyhow::Result<(Certificate, Option<Fingerprint>)> {
        match self {
            Self::Files {
                certificate: file,
                key,
            } => {
                let certificate = Certificate::read(file, key).context("read the certificate")?;
                let (from, until) = (
                    shown_time(certificate.not_before),
                    shown_time(certificate.not_after),
                );
                match certificate.dates(now) {
                    Dates::Good | Dates::EndsSoon | Dates::Tolerated => Ok((certificate, None)),
                    Dates::Expired => bail!(
                        "the certificate in {} expired at {until}: put a renewed one there; if it is good, set this machine's clock",
                        file.display()
                    ),
                    Dates::NotYetValid => bail!(
                        "the certificate in {} is valid from {from} on only: set this machine's clock",
                        file.display()
                    ),
                }
            }
            Self::LocalCa { folder, names } => {
                let authority = LocalCa::open(folder, now)?;
                let certificate = authority.certificate(names, now)?;
                Ok((certificate, Some(authority.fingerprint())))
            }
        }
    }

    fn prepare(&self, certificate: &Certificate) -> anyhow::Result<Prepared> {
        Prepared::new(certificate.chain.clone(), certificate.key.clone_key()).with_context(|| match self {
            Self::Files { certificate, key } => {
                format!("use {} and {}", certificate.display(), key.display())
            }
            Self::LocalCa { folder, .. } => format!("use {}", folder.display()),
        })
    }
}

/// What `doctor` says about the certificate: what was found, or what is wrong and what to do.
pub(crate) fn examine(configuration: &Configuration, now: Timestamp) -> Result<String, (String, String)> {
    let data = &configuration.server.data;
    let remedy = |text: &str| text.to_owned();
    let source = Source::of(configuration).map_err(|error| {
        (
            format!("{error:#}"),
            remedy("complete the section [tls] of the configuration"),
        )
    })?;
    let Some(source) = source else {
        return Ok("no TLS: plain HTTP on loopback or behind a proxy".to_owned());
    };
    if matches!(source, Source::LocalCa { .. }) && matches!(fingerprint(data), Ok(None)) {
        return Ok("the local CA will be made".to_owned());
    }
    if let Source::LocalCa { folder, names } = &source
        && let Ok(authority) = LocalCa::open(folder, now)
        && authority.made(names, now).is_none()
    {
        // A check changes nothing: a server that runs with other names would have to make its own anew.
        return Ok(format!(
            "will be made for {}, by the local CA {}",
            names.join(", "),
            authority.fingerprint()
        ));
    }
    let broken = |error: anyhow::Error| {
        (
            format!("{error:#}"),
            remedy("`docs/tls.md` says which files are needed and how they are renewed"),
        )
    };
    let (certificate, authority) = source.load(now).map_err(broken)?;
    source.prepare(&certificate).map_err(broken)?;
    let until = shown_time(certificate.not_after);
    let (names, dates) = (certificate.names.join(", "), certificate.dates(now));
    match dates {
        Dates::Good => Ok(match authority {
            Some(authority) => format!("{names}, until {until}, by the local CA {authority}"),
            None => format!("{names}, until {until}"),
        }),
        _ => Err((
            format!(
                "{names}: valid from {} until {until}",
                shown_time(certificate.not_before)
            ),
            remedy("renew it, or set this machine's clock"),
        )),
    }
}

/// The fingerprint of the local CA in a data folder.
pub(crate) fn fingerprint(data: &Path) -> anyhow::Result<Option<Fingerprint>> {
    Ok(local_ca::fingerprint_in(&folder(data))?)
}

fn folder(data: &Path) -> PathBuf {
    data.join(FOLDER)
}

/// Everything that people may call this server, the best known first, each once.
fn names(server: &ServerConfig, issuer: Option<&str>, configured: &[String]) -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let own = server.listen.ip();
    let mut names: Vec<String> = issuer.and_then(host_of).into_iter().collect();
    names.extend(configured.iter().cloned());
    if !own.is_unspecified() {
        names.push(own.to_string());
    }
    // A host name need not be a DNS name.
    let is_dns = |name: &String| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    names.extend(Some(host).filter(|host| !host.is_empty() && is_dns(host)));
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let mut each = Vec::new();
    for name in names {
        let name = name.to_ascii_lowercase();
        if !each.contains(&name) {
            each.push(name);
        }
    }
    each
}

/// The host of `https://HOST:PORT/`, without brackets.
fn host_of(url: &str) -> Option<String> {
    let url: axum::http::Uri = url.parse().ok()?;
    let host = url.host()?.trim_matches(['[', ']']);
    Some(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_for_every_name_of_the_server_once() {
        let server = ServerConfig {
            listen: "0.0.0.0:9000".parse().unwrap(),
            ..crate::configuration::tests::defaults().server
        };
        let configured = ["Chat.example".to_owned(), "192.0.2.1".into()];
        let names = names(&server, Some("https://[2001:db8::1]:443"), &configured);
        assert_eq!(names[..3], ["2001:db8::1", "chat.example", "192.0.2.1"]);
        assert_eq!(names.iter().filter(|name| *name == "127.0.0.1").count(), 1);
        assert!(!names.contains(&"0.0.0.0".to_owned()));
    }
}
