//! Which server an enrolment goes to, and who vouches for it: asked once, then kept in the profile.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use unhidra_client_native::{
    ClientError,
    account::Account,
    authority::{Trust, Untrusted},
    client::Destination,
    invitation::InvitationLink,
    server_url::{Scheme, ServerUrl},
};
use unhidra_types::Fingerprint;

use super::{enrol::usage, opening::settings};
use crate::{
    arguments::Authority,
    exit::{Exit, Failure, OrExit as _},
    output::Output,
};

/// A server as it was named, with the authority that its invitation names.
pub(super) struct Named {
    server: ServerUrl,
    authority: Option<Fingerprint>,
}

impl Named {
    /// A server whose address is known.
    pub(super) const fn at(server: ServerUrl) -> Self {
        Self {
            server,
            authority: None,
        }
    }

    /// Reads an address or a link.
    pub(super) fn of(server: Option<&str>, link: Option<&InvitationLink>) -> Result<Self, Failure> {
        match (server, link) {
            (Some(_), Some(_)) => Err(usage("the invitation names the server: leave --server out")),
            (None, Some(link)) => Ok(Self {
                server: link.server.clone(),
                authority: link.authority,
            }),
            (Some(server), None) => {
                let server = server.parse();
                Ok(Self::at(server.context("--server").or_exit(Exit::Usage)?))
            }
            (None, None) => Err(usage("name the server with --server")),
        }
    }

    /// With whom it vouches for: what the options or the invitation say, or what the profile has kept, or whom this
    /// machine knows, or whom the person accepts.
    pub(super) async fn destination(
        self,
        options: &Authority,
        account: Option<&Account>,
        output: Output,
    ) -> Result<Destination, Failure> {
        let Self { server, authority } = self;
        let named = match options {
            Authority {
                ca_file: Some(file), ..
            } => {
                // The profile is used from other folders later.
                let file = std::path::absolute(file)
                    .context("find the folder")
                    .or_exit(Exit::Usage)?;
                Some(Trust::File(file))
            }
            Authority {
                ca_fingerprint: Some(fingerprint),
                ..
            } => Some(Trust::Pinned(*fingerprint)),
            _ => authority.map(Trust::Pinned),
        };
        if server.scheme() == Scheme::Http {
            if !server.is_local() {
                return Err(Failure {
                    exit: Exit::Untrusted,
                    error: anyhow::anyhow!(
                        "{server} is on another machine, and without TLS everybody on the way reads the password: use https://"
                    ),
                });
            }
            return match named {
                None => Ok(Destination {
                    server,
                    trust: Trust::System,
                }),
                Some(_) => Err(usage("authorities vouch for https:// addresses only")),
            };
        }
        if let (Some(Trust::Pinned(one)), Some(Trust::Pinned(other))) = (&named, authority.map(Trust::Pinned))
            && *one != other
        {
            return Err(usage(
                "the invitation names another authority than --ca-fingerprint",
            ));
        }
        let kept = account
            .filter(|account| account.server().is_ok_and(|known| known == server))
            .map(|account| account.trust.clone());
        if let Some(trust) = named.or(kept) {
            return Ok(Destination { server, trust });
        }
        introduce(server, output).await
    }
}

/// A server that this machine meets for the first time.
async fn introduce(server: ServerUrl, output: Output) -> Result<Destination, Failure> {
    let destination = Destination {
        server,
        trust: Trust::System,
    };
    let reached = destination.rest(settings())?.reach().await;
    let error = match reached.map_err(ClientError::from) {
        Ok(()) => return Ok(destination),
        Err(error) => error,
    };
    let Some(Untrusted::UnknownAuthority { own: Some(own) }) = error.untrusted() else {
        return Err(error.into());
    };
    if !std::io::stdin().is_terminal() || output.json {
        return Err(Failure {
            exit: Exit::Untrusted,
            error: anyhow::anyhow!(
                "{error}: compare its own authority {own} with what `unhidra tls fingerprint` prints there, and name it \
                 with --ca-fingerprint"
            ),
        });
    }
    eprintln!(
        "{} has an authority of its own, with the fingerprint\n  {own}\n`unhidra tls fingerprint` prints it on the server.",
        destination.server
    );
    eprint!("Is it the same? [y/N] ");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("read the answer")?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        return Err(Failure {
            exit: Exit::Untrusted,
            error: anyhow::anyhow!("the server is not trusted: nothing was sent to it"),
        });
    }
    Ok(Destination {
        trust: Trust::Pinned(*own),
        ..destination
    })
}
