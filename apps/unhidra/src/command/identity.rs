//! `identity`: the account's own identity key.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::Instant;
use unhidra_client::device::NextKey;
use unhidra_client_native::Client;
use unhidra_types::{DeviceId, Timestamp, UserId};
use unhidra_wire::{
    base64::Base64Array,
    rest::{Hidden, LogIn},
};

use super::{
    destination::Named,
    enrol::{Repeat, Words, confirmed, device_name, found, password, show, show_words, tell_place},
    opening::{Opening, settings},
    read::shown_time,
};
use crate::{
    arguments::{Identity, Reset, Rotate},
    exit::{Exit, Failure, Outcome},
    output::{Output, printable},
};

/// How long queued messages may take to leave before the identity is replaced.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs one of the commands.
pub(crate) async fn run(opening: &Opening, command: Identity, output: Output) -> Outcome {
    match command {
        Identity::Show => show_identity(opening, output).await,
        Identity::Rotate(options) => rotate(opening, options, output).await,
        Identity::Reset(options) => reset(opening, options, output).await,
        Identity::RecoveryKey => recovery_key(opening, output).await,
    }
}

#[derive(Serialize)]
struct Shown {
    user_id: UserId,
    identity_key: Base64Array<32>,
    created_at: Timestamp,
    version: u32,
    /// This device holds the key.
    certifies: bool,
    certifiers: Vec<Certifier>,
}

#[derive(Serialize)]
struct Certifier {
    device_id: DeviceId,
    name: Option<String>,
}

async fn show_identity(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let own = client.own_identity().await?;
    if own.replaced {
        return Err(unhidra_client_native::ClientError::IdentityReset.into());
    }
    let shown = Shown {
        user_id: client.account().user_id,
        identity_key: Base64Array(own.uik),
        created_at: own.created_at,
        version: own.version,
        certifies: own.certifies,
        certifiers: named(&mut client, own.certifiers).await,
    };
    output
        .result(&shown, || text(&shown))
        .context("print the result")?;
    Ok(())
}

/// Devices with the names that people gave them, as far as the server can be asked.
async fn named(client: &mut Client, devices: Vec<DeviceId>) -> Vec<Certifier> {
    let listed = client.devices().await.unwrap_or_default();
    let name = |id: &DeviceId| {
        let found = listed.iter().find(|device| device.device_id == *id);
        found.map(|device| device.name.clone())
    };
    let named = devices.into_iter().map(|device_id| Certifier {
        name: name(&device_id),
        device_id,
    });
    named.collect()
}

/// The devices that hold the identity key, in words: for who tried on another one.
pub(super) async fn certifiers_in_words(client: &mut Client) -> String {
    let certifiers = match client.own_identity().await {
        Ok(own) => named(client, own.certifiers).await,
        Err(_) => Vec::new(),
    };
    if certifiers.is_empty() {
        return "no device in use holds it: log in with the 24 words (`login --recovery-key-file`)"
            .to_owned();
    }
    let names: Vec<_> = certifiers.iter().map(in_words).collect();
    format!("do it on {}", names.join(" or "))
}

fn in_words(certifier: &Certifier) -> String {
    match &certifier.name {
        Some(name) => format!("{} ({})", printable(name), certifier.device_id),
        None => certifier.device_id.to_string(),
    }
}

fn text(shown: &Shown) -> String {
    let key: String = shown
        .identity_key
        .0
        .chunks(4)
        .map(|part| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        .collect::<Vec<_>>()
        .join(" ");
    let certifiers: Vec<_> = shown.certifiers.iter().map(in_words).collect();
    let here = if shown.certifies {
        "this device certifies others"
    } else {
        "this device does not certify others"
    };
    format!(
        "identity key {key}\nsince        {}\nrecords      {}\nheld by      {}\n{here}",
        shown_time(shown.created_at),
        shown.version + 1,
        if certifiers.is_empty() {
            "no device in use".to_owned()
        } else {
            certifiers.join(", ")
        },
    )
}

async fn rotate(opening: &Opening, options: Rotate, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Rotated {
        rotated: bool,
        identity_key: Base64Array<32>,
        devices: Vec<DeviceId>,
    }
    let key = if options.keep_key {
        NextKey::Same
    } else {
        NextKey::New
    };
    let mut client = opening.client()?;
    let question = match key {
        NextKey::New => "Replace the identity key? Contacts are told, and verify you again.",
        NextKey::Same => "Begin another chain under the same key?",
    };
    if !options.yes && !confirmed(question)? {
        return Err(declined("nothing was replaced"));
    }
    let deadline = Instant::now() + SETTLE;
    let rotating = client.rotate_identity(key, &options.without, deadline).await?;
    let devices = rotating.kept().to_vec();
    show_words(
        &rotating.recovery().to_phrase(),
        "The words before are void.\n",
        output,
    )
    .context("show the recovery words: nothing was replaced")?;
    rotating.upload().await?;
    let own = client.own_identity().await?;
    let rotated = Rotated {
        rotated: true,
        identity_key: Base64Array(own.uik),
        devices,
    };
    output
        .result(&rotated, || {
            format!(
                "Replaced; {} devices stay, and only this one certifies others.",
                rotated.devices.len()
            )
        })
        .context("print the result")?;
    client.close().await;
    Ok(())
}

async fn reset(opening: &Opening, options: Reset, output: Output) -> Outcome {
    if options.confirm != options.username {
        return Err(Failure {
            exit: Exit::Usage,
            error: anyhow::anyhow!("--confirm names another account: nothing was reset"),
        });
    }
    let password = password(options.password_file.as_deref(), Repeat::No)?;
    let log_in = LogIn {
        username: options.username,
        password: Hidden::new(password.to_string()),
    };
    let account = opening.account()?;
    let destination = Named::of(Some(&options.server), None)?
        .destination(&options.authority, account.as_ref(), output)
        .await?;
    let name = device_name(options.device_name);
    let (profile, made) = opening.profile(options.keep)?;
    let resetting = Client::reset_identity(profile, destination, log_in, name, settings()).await;
    let founding = resetting.map_err(super::enrol::wrong_credentials)?;
    let client = found(founding, Words::Reset, output).await?;
    show(&client, output)?;
    tell_place(opening, made, output)
}

async fn recovery_key(opening: &Opening, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Replaced {
        replaced: bool,
    }
    let mut client = opening.client()?;
    let renewing = client.renew_recovery().await?;
    show_words(&renewing.recovery().to_phrase(), "", output)
        .context("show the recovery words: the words before stay in force")?;
    renewing.upload().await?;
    output
        .result(&Replaced { replaced: true }, || {
            "The words before are void.".to_owned()
        })
        .context("print the result")?;
    Ok(())
}

fn declined(text: &'static str) -> Failure {
    Failure {
        exit: Exit::Failed,
        error: anyhow::anyhow!(text),
    }
}
