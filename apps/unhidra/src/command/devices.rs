//! `devices list`, `link` and `revoke`.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::Client;
use unhidra_pair::linking::LinkCode;
use unhidra_types::{DeviceId, Timestamp};

use super::{
    enrol::{compared, usage},
    identity::certifiers_in_words,
    opening::Opening,
    read::shown_time,
};
use crate::{
    exit::{Exit, Failure, OrExit as _, Outcome},
    output::Output,
};

#[derive(Serialize)]
struct Listed {
    device_id: DeviceId,
    name: String,
    this: bool,
    created_at: Timestamp,
    last_seen_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

/// Lists the account's devices.
pub(crate) async fn list(opening: &Opening, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let this = client.device_id();
    let devices = client.devices().await?.into_iter().map(|device| Listed {
        device_id: device.device_id,
        name: device.name,
        this: device.device_id == this,
        created_at: device.created_at,
        last_seen_at: device.last_seen_at,
        revoked_at: device.revoked_at,
    });
    let devices: Vec<_> = devices.collect();
    output
        .list(["DEVICE", "NAME", "STANDING"], &devices, |device| {
            [
                device.device_id.to_string(),
                device.name.clone(),
                standing(device),
            ]
        })
        .context("print the devices")?;
    Ok(())
}

fn standing(device: &Listed) -> String {
    match (device.this, device.revoked_at, device.last_seen_at) {
        (_, Some(at), _) => format!("revoked {}", shown_time(at)),
        (true, ..) => "this device".to_owned(),
        (false, None, Some(at)) => format!("seen {}", shown_time(at)),
        (false, None, None) => "never seen".to_owned(),
    }
}

/// Certifies the device that shows `code`.
pub(crate) async fn link(opening: &Opening, code: &str, yes: bool, name: String, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Linked {
        device_id: DeviceId,
        digits: String,
    }
    let code = LinkCode::parse_text(code)
        .context("this is no linking code: copy all of what the new device shows")
        .or_exit(Exit::Input)?;
    let mut client = opening.client()?;
    if !client.device().can_certify() {
        return Err(not_here(&mut client).await);
    }
    let certifying = client.link(&code).await?;
    let digits = certifying.sas().to_string();
    output.progress(&format!("Both devices have to show {digits}."));
    if !yes && !compared(&format!("Does the new device show {digits}?"))? {
        return Err(Failure {
            exit: Exit::Failed,
            error: anyhow::anyhow!("the digits differ: the device was not linked"),
        });
    }
    let device_id = certifying.confirm(name).await?;
    output
        .result(&Linked { device_id, digits }, || format!("Linked {device_id}."))
        .context("print the result")?;
    Ok(())
}

/// Only a device that holds the identity key links and revokes.
async fn not_here(client: &mut Client) -> Failure {
    let elsewhere = certifiers_in_words(client).await;
    Failure {
        exit: Exit::Failed,
        error: anyhow::anyhow!("this device does not hold the account's identity key: {elsewhere}"),
    }
}

/// Revokes a device for good.
pub(crate) async fn revoke(opening: &Opening, device: DeviceId, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Revoked {
        revoked: DeviceId,
    }
    let mut client = opening.client()?;
    if client
        .devices()
        .await?
        .iter()
        .all(|known| known.device_id != device)
    {
        return Err(Failure {
            exit: Exit::NotFound,
            error: anyhow::anyhow!("the account has no such device: `unhidra devices list` names them"),
        });
    }
    if device == client.device_id() {
        return Err(usage(
            "this is the device itself: revoke it on another one, or end its session with `unhidra logout`",
        ));
    }
    if !client.device().can_certify() {
        return Err(not_here(&mut client).await);
    }
    client.revoke_device(device).await?;
    output
        .result(&Revoked { revoked: device }, || {
            format!("Revoked {device}; it is cut off for good.")
        })
        .context("print the result")?;
    Ok(())
}
