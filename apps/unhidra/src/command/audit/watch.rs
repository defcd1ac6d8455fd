//! `audit heads` and `accept-restore`, and what `read`, `send` and `listen` say when the log went back.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use unhidra_client_native::{
    Client,
    witness::{Contradiction, Evidence, Seen},
};

use super::save;
use crate::{
    command::{opening::Opening, read::shown_time},
    exit::{Exit, Failure, Outcome},
    output::Output,
};

/// The notice that scripts get.
#[derive(Serialize)]
pub(crate) struct Told<'a> {
    notice: &'static str,
    #[serde(flatten)]
    evidence: &'a Evidence,
}

#[derive(Serialize)]
struct Watched<'a> {
    seen: &'a Seen,
    evidence: &'a [Evidence],
}

impl<'a> Told<'a> {
    pub(crate) const fn new(evidence: &'a Evidence) -> Self {
        Self {
            notice: "audit-contradicted",
            evidence,
        }
    }

    /// Says it: as a notice on standard output for scripts, as a warning on standard error for people.
    pub(crate) fn say(&self, output: Output) -> Outcome {
        if output.json {
            output.result(self, String::new).context("print a notice")?;
        }
        output.progress(&self.warning());
        Ok(())
    }

    /// What people are told.
    pub(crate) fn warning(&self) -> String {
        format!(
            "WARNING: {}. Ask the server's administrators; if they announced a restore, go on with `unhidra audit accept-restore`. The evidence: `unhidra audit heads`",
            sentence(self.evidence)
        )
    }
}

/// Says what was noticed and nobody has accepted.
pub(crate) fn tell(client: &mut Client, output: Output) -> Outcome {
    for evidence in client.audit_evidence()? {
        if evidence.accepted_at.is_none() {
            Told::new(&evidence).say(output)?;
        }
    }
    Ok(())
}

fn sentence(evidence: &Evidence) -> String {
    let (earlier, later) = (&evidence.earlier, &evidence.later);
    let before = format!(
        "on {} the server signed an audit log of {} records",
        shown_time(earlier.at),
        earlier.size
    );
    match evidence.contradiction {
        Contradiction::Shrunk => format!(
            "{before}, and on {} one of only {}: it was restored from an older copy, or hides what happened",
            shown_time(later.at),
            later.size
        ),
        Contradiction::Forked => format!(
            "{before}, and on {} one of {} in which they are not the same: it went on from an older copy, or shows others another log",
            shown_time(later.at),
            later.size
        ),
        Contradiction::OtherLog => {
            format!(
                "{before}, and now it shows another log: its keys were lost or replaced, or it is another server"
            )
        }
        Contradiction::Forged => format!("{before}, and now it shows a log whose signature does not hold"),
    }
}

/// Looks now, and shows what was seen.
pub(crate) async fn heads(opening: &Opening, out: Option<&Path>, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let seen = client.watch_audit().await?;
    let evidence = client.audit_evidence()?;
    let watched = Watched {
        seen: &seen,
        evidence: &evidence,
    };
    let text = || {
        let mut lines = vec![format!(
            "{} records, signed {}; root {}",
            seen.head.size,
            shown_time(seen.head.at),
            super::hex(&seen.head.root.0)
        )];
        for evidence in &evidence {
            let state = match evidence.accepted_at {
                Some(at) => format!("accepted {}", shown_time(at)),
                None => "NOT ACCEPTED".to_owned(),
            };
            let noticed = shown_time(evidence.noticed_at);
            lines.push(format!("{state}, noticed {noticed}: {}", sentence(evidence)));
        }
        lines.join("\n")
    };
    output.result(&watched, text).context("print the heads")?;
    if let Some(path) = out {
        save(
            path,
            &serde_json::to_string(&seen.head).context("encode the head")?,
        )?;
    }
    match evidence.iter().rfind(|evidence| evidence.accepted_at.is_none()) {
        None => Ok(()),
        Some(evidence) => Err(Failure {
            exit: Exit::Store,
            error: anyhow!(
                "{}: ask the server's administrators; if they announced a restore, go on with `unhidra audit accept-restore`",
                sentence(evidence)
            ),
        }),
    }
}

/// Takes the log as it is now.
pub(crate) async fn accept(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let seen = client.accept_audit().await?;
    let text = || {
        format!(
            "From now on the log continues {} records, signed {}; what was noticed before stays in `unhidra audit heads`.",
            seen.head.size,
            shown_time(seen.head.at)
        )
    };
    output.result(&seen, text).context("print the result")?;
    Ok(())
}
