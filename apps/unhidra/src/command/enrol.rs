//! `register` and `login`: from a password to a certified device.

use std::{io::IsTerminal as _, path::Path};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::{
    Client, ClientError,
    client::{Founding, LoggedIn, NewDevice},
    invitation::InvitationLink,
    server_url::ServerUrl,
};
use unhidra_pair::recovery::RecoveryKey;
use unhidra_types::{DeviceId, UserId};
use unhidra_wire::rest::{Hidden, LogIn, OpenAccount, ProblemCode};
use zeroize::Zeroizing;

use super::{
    destination::Named,
    key::told_after_making,
    opening::{Made, Opening, first_line, settings, whole_file},
};
use crate::{
    arguments::{Login, Register},
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::{Output, printable},
    qr::{self, Wish},
};

#[derive(Serialize)]
struct Enrolled<'a> {
    user_id: UserId,
    username: &'a str,
    device_id: DeviceId,
}

/// Whether recovery words may have been shown for the account before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    First,
    Again,
    Reset,
}

/// Opens an account and certifies this device.
pub(crate) async fn register(opening: &Opening, options: Register, output: Output) -> Outcome {
    let link = match options.invitation.as_deref() {
        Some(text) if InvitationLink::is_one(text) => {
            Some(text.parse::<InvitationLink>().or_exit(Exit::Input)?)
        }
        _ => None,
    };
    let token = link.as_ref().map(|link| link.token.expose());
    let invitation = match (token.or(options.invitation.as_deref()), &options.setup_token_file) {
        (Some(token), _) => Zeroizing::new(token.to_owned()),
        (None, Some(file)) => first_line(file, "--setup-token-file").or_exit(Exit::Credentials)?,
        (None, None) => return Err(usage("name an invitation or a set-up token file")),
    };
    let password = password(options.password_file.as_deref(), Repeat::Yes)?;
    let account = OpenAccount {
        invitation: Hidden::new(invitation.to_string()),
        username: options.username,
        password: Hidden::new(password.to_string()),
    };
    let name = device_name(options.device_name);
    if opening.client().is_ok() {
        return Err(usage(
            "the profile is in use by an account: name a new one with --profile",
        ));
    }
    let named = Named::of(options.server.as_deref(), link.as_ref())?;
    let destination = named.destination(&options.authority, None, output).await?;
    let (profile, made) = opening.profile(options.keep)?;
    let founding = Client::register(profile, destination, account, name, settings()).await?;
    let client = found(founding, Words::First, output).await?;
    show(&client, output)?;
    tell_place(opening, made, output)
}

/// Logs this profile in; a device that no chain names is linked or recovered.
pub(crate) async fn login(opening: &Opening, options: Login, output: Output) -> Outcome {
    let account = opening.account()?;
    let unnamed = || usage("the profile has no account yet: name --server URL and --username NAME");
    let server: ServerUrl = match (&options.server, &account) {
        (Some(server), _) => server.parse().or_exit(Exit::Usage)?,
        (None, Some(account)) => account.server().map_err(ClientError::from)?,
        (None, None) => return Err(unnamed()),
    };
    let username = options
        .username
        .or_else(|| account.as_ref().map(|account| account.username.clone()));
    let password = password(options.password_file.as_deref(), Repeat::No)?;
    let log_in = LogIn {
        username: username.ok_or_else(unnamed)?,
        password: Hidden::new(password.to_string()),
    };
    let name = device_name(options.device_name);
    let destination = Named::at(server)
        .destination(&options.authority, account.as_ref(), output)
        .await?;
    let (profile, made) = opening.profile(options.keep)?;
    let logged_in = Client::log_in(profile, destination, log_in, name.clone(), settings()).await;
    let client = match logged_in.map_err(wrong_credentials)? {
        LoggedIn::Ready(client) => *client,
        LoggedIn::Founding(founding) => found(*founding, Words::Again, output).await?,
        LoggedIn::NewDevice(new) => match &options.recovery_key_file {
            Some(file) => {
                let words = whole_file(file, "--recovery-key-file").or_exit(Exit::Credentials)?;
                let key = RecoveryKey::parse(&words).or_exit(Exit::Credentials)?;
                new.recover(&key).await?
            }
            None => be_linked(*new, &name, options.yes, Wish::unless(options.no_qr), output).await?,
        },
    };
    show(&client, output)?;
    tell_place(opening, made, output)
}

/// Says of a new profile where its key lies: what protects it is its owner's to know.
pub(crate) fn tell_place(opening: &Opening, made: Made, output: Output) -> Outcome {
    if made == Made::Now {
        output.progress(&told_after_making(opening)?);
    }
    Ok(())
}

/// The server does not say what is wrong with a name and a password.
pub(super) fn wrong_credentials(error: ClientError) -> Failure {
    match error {
        ClientError::Rest(refused) if refused.code() == Some(ProblemCode::Unauthenticated) => {
            let error = anyhow::anyhow!("wrong name or password, or the account is disabled");
            Failure {
                exit: Exit::Credentials,
                error,
            }
        }
        error => error.into(),
    }
}

async fn be_linked(
    new: NewDevice,
    name: &str,
    yes: bool,
    wish: Wish,
    output: Output,
) -> Result<Client, Failure> {
    #[derive(Serialize)]
    struct Code<'a> {
        linking_code: &'a str,
        device_name: &'a str,
    }
    #[derive(Serialize)]
    struct Digits<'a> {
        digits: &'a str,
    }
    let comparing = new
        .offer(|code| {
            let text = code.to_text();
            let code = Code {
                linking_code: &text,
                device_name: name,
            };
            let shown = output.result(&code, || {
                let code = qr::shown(&text, wish, output).map_or_else(String::new, |code| code + "\n");
                format!(
                    "{code}On a device that is logged in, run\n  unhidra devices link {} --name={}\nwithin two minutes.",
                    &*text,
                    quoted(name)
                )
            });
            if let Err(error) = shown {
                tracing::debug!(error = %error, "the code could not be shown");
            }
        })
        .await?;
    let digits = comparing.sas().to_string();
    if output.json {
        output
            .result(&Digits { digits: &digits }, String::new)
            .context("print the digits")?;
    }
    if !yes && !compared(&format!("Does the other device show {digits}?"))? {
        return Err(Failure {
            exit: Exit::Failed,
            error: anyhow::anyhow!(
                "the digits differ: this device was not linked, and its keys are given up. If the other device says that \
                 it linked one, revoke it there (`unhidra devices list`, `unhidra devices revoke`); then log in again"
            ),
        });
    }
    Ok(comparing.confirm().await?)
}

/// A name as a shell takes it for one word: the device that certifies is the one that names.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("'{}'", printable(name).replace('\'', r"'\''"))
}

/// Shows recovery words, behind what is to be said first.
pub(super) fn show_words(phrase: &str, first: &str, output: Output) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Recovery<'a> {
        recovery_key: &'a str,
    }
    let recovery = Recovery { recovery_key: phrase };
    output.result(&recovery, || {
        format!(
            "{first}Write these 24 words down; they are shown once and bring the account back:\n\n{}\n",
            in_rows(phrase)
        )
    })
}

/// Shows the recovery words, and uploads the identity only then: an account whose words nobody saw can't be recovered.
pub(super) async fn found(founding: Founding, words: Words, output: Output) -> Result<Client, Failure> {
    let void = match words {
        Words::First => "",
        Words::Again => "The registration was cut off. Words that it has shown are void.\n",
        Words::Reset => "The words before are void, and every other device of the account is revoked.\n",
    };
    show_words(&founding.recovery().to_phrase(), void, output)
        .context("show the recovery words: nothing was uploaded, log in to go on")?;
    Ok(founding.upload().await?)
}

pub(super) fn show(client: &Client, output: Output) -> Outcome {
    let account = client.account();
    let enrolled = Enrolled {
        user_id: account.user_id,
        username: account.username.as_str(),
        device_id: client.device_id(),
    };
    let text = || format!("Logged in as {} on {}.", account.username, enrolled.device_id);
    output.result(&enrolled, text).context("print the result")?;
    Ok(())
}

fn in_rows(phrase: &str) -> String {
    let words: Vec<_> = phrase.split(' ').collect();
    let rows = words.chunks(6).map(|row| format!("  {}", row.join(" ")));
    rows.collect::<Vec<_>>().join("\n")
}

/// Whether a new password is typed twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Yes,
    No,
}

pub(super) fn password(file: Option<&Path>, repeat: Repeat) -> Result<Zeroizing<String>, Failure> {
    if let Some(file) = file {
        return first_line(file, "--password-file").or_exit(Exit::Credentials);
    }
    if !std::io::stdin().is_terminal() {
        return Err(usage(
            "there is no terminal to ask for the password: use --password-file",
        ));
    }
    let password = Zeroizing::new(rpassword::prompt_password("Password: ").context("read the password")?);
    if repeat == Repeat::Yes {
        let again = Zeroizing::new(rpassword::prompt_password("Again: ").context("read the password")?);
        if again != password {
            return Err(Failure {
                exit: Exit::Input,
                error: anyhow::anyhow!("the two passwords differ"),
            });
        }
    }
    Ok(password)
}

/// Asks a question about digits on the terminal.
pub(super) fn compared(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(usage(
            "there is no terminal to ask on: add --yes once the digits were compared",
        ));
    }
    asked(question)
}

/// Asks on the terminal whether to do what can't be undone.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(usage("there is no terminal to ask on: add --yes to go on"));
    }
    asked(question)
}

/// The answer that is typed; anything but yes is no.
pub(super) fn asked(question: &str) -> Result<bool, Failure> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(super) fn usage(text: &'static str) -> Failure {
    Failure {
        exit: Exit::Usage,
        error: anyhow::anyhow!(text),
    }
}

pub(super) fn device_name(named: Option<String>) -> String {
    named.unwrap_or_else(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let printable: String = host.chars().filter(|c| !c.is_control()).take(64).collect();
        if printable.is_empty() {
            "device".to_owned()
        } else {
            printable
        }
    })
}
