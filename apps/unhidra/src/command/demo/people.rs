//! Alice with a laptop and a phone, Bob with a laptop.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use anyhow::Context as _;
use tokio::time::Instant;
use unhidra_client::{MessageBody, MessageKey};
use unhidra_client_native::{
    Client, Settings,
    authority::Trust,
    client::{Destination, LoggedIn, WaitFor},
};
use unhidra_pair::linking::LinkCode;
use unhidra_runtime::Clock;
use unhidra_types::{Role, UserId, Username};
use unhidra_wire::{
    base64,
    rest::{Hidden, LogIn, OpenAccount},
};

use super::table::Row;
use crate::{
    arguments::Keep,
    command::opening::{Opening, first_line},
    exit::{Exit, Failure, OrExit as _},
    output::Output,
    server::Server,
};

/// What is said, and on which device.
const SCRIPT: [(Who, &str); 5] = [
    (Who::AliceLaptop, "Lunch at noon?"),
    (Who::Bob, "Yes. Same place?"),
    (Who::AlicePhone, "Same place, my phone says"),
    (Who::Bob, "See you at the harbour"),
    (Who::AliceLaptop, "Bring the plans"),
];
/// How long any one step may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The demo leaves nothing in the keyring of whoever looks at it.
const IN_A_FILE: Keep = Keep {
    keyring: false,
    no_keyring: true,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    AliceLaptop,
    AlicePhone,
    Bob,
}

/// The three devices, logged in.
pub(super) struct People {
    alice: Client,
    phone: Client,
    bob: Client,
}

impl People {
    /// Registers both, and links Alice's phone.
    pub(super) async fn gather(
        folder: &Path,
        url: &str,
        setup_token: Option<&Path>,
        output: Output,
    ) -> Result<Self, Failure> {
        let token_file =
            setup_token.context("the folder holds a server with accounts already: name an empty one")?;
        let setup_token = first_line(token_file, "--setup-token-file").or_exit(Exit::Failed)?;
        let (alice_password, bob_password) = (password(folder, "alice")?, password(folder, "bob")?);
        let mut alice = register(folder, url, "alice", &setup_token, &alice_password).await?;
        output.progress("Alice has registered on her laptop, as the first administrator.");
        let invitation = alice.invite(Role::Member, Duration::from_secs(3_600)).await?;
        let bob = register(folder, url, "bob", invitation.token.expose(), &bob_password).await?;
        output.progress("Bob has registered with her invitation.");
        let phone = link_phone(&mut alice, folder, url, &alice_password).await?;
        output.progress("Alice has linked her phone; both devices showed the same six digits.\n");
        Ok(Self { alice, phone, bob })
    }

    /// Plays the script; answers what every device saw and what the server held of it.
    pub(super) async fn talk(mut self, server: &Server) -> Result<Vec<Row>, Failure> {
        let (alice, bob) = (self.alice.account().user_id, self.bob.account().user_id);
        let mut rows = Vec::new();
        for (who, text) in SCRIPT {
            let (client, peer) = match who {
                Who::AliceLaptop => (&mut self.alice, bob),
                Who::AlicePhone => (&mut self.phone, bob),
                Who::Bob => (&mut self.bob, alice),
            };
            catch_up(client).await?;
            let outgoing = client.send(peer, vec![(MessageKey::Random, text.to_owned())])?;
            client
                .wait(
                    outgoing.conversation,
                    &outgoing.ids,
                    WaitFor::Sent,
                    Instant::now() + PATIENCE,
                )
                .await?;
            let msg_id = *outgoing.ids.first().context("one text is one message")?;
            let stored = server
                .stored(outgoing.conversation, msg_id)
                .await
                .context("look into the server")?;
            rows.push(Row {
                msg_id,
                seq: stored.seq,
                stored: stored.body,
                capsules: stored.capsules,
                seen: [const { None }; 3],
            });
        }
        for (column, client) in [&mut self.alice, &mut self.phone, &mut self.bob]
            .into_iter()
            .enumerate()
        {
            catch_up(client).await?;
            fill_in(&mut rows, column, client)?;
        }
        for client in [self.alice, self.phone, self.bob] {
            client.close().await;
        }
        Ok(rows)
    }
}

fn fill_in(rows: &mut [Row], column: usize, client: &mut Client) -> Result<(), Failure> {
    let own: UserId = client.account().user_id;
    let this = client.device_id();
    for (_, message) in client
        .device()
        .journal(0, 1_000)
        .map_err(unhidra_client_native::ClientError::from)?
    {
        let MessageBody::Text(text) = &message.body else {
            continue;
        };
        let arrow = match (message.sender_device == this, message.sender == own) {
            (true, _) => "sent: ",
            (false, true) => "own:  ",
            (false, false) => "got:  ",
        };
        let row = rows.iter_mut().find(|row| row.msg_id == message.msg_id);
        if let Some(cell) = row.and_then(|row| row.seen.get_mut(column)) {
            *cell = Some(format!("{arrow}{text}"));
        }
    }
    Ok(())
}

async fn catch_up(client: &mut Client) -> Result<(), Failure> {
    if !client.is_connected() {
        client.sync_until_caught_up(Instant::now() + PATIENCE).await?;
    }
    // What others have sent since arrives by itself; receipts for it leave.
    client.step(Instant::now() + Duration::from_millis(200)).await?;
    Ok(client.settle(Instant::now() + PATIENCE).await?)
}

async fn register(
    folder: &Path,
    url: &str,
    name: &str,
    invitation: &str,
    password: &str,
) -> Result<Client, Failure> {
    let account = OpenAccount {
        invitation: Hidden::new(invitation.to_owned()),
        username: username(name)?,
        password: Hidden::new(password.to_owned()),
    };
    let profile = Opening::in_home(folder.to_owned(), name)?.profile(IN_A_FILE)?.0;
    // Nobody needs the recovery key of an account that is for looking at.
    let founding = Client::register(
        profile,
        server(url)?,
        account,
        format!("{name}'s laptop"),
        Settings::default(),
    )
    .await?;
    Ok(founding.upload().await?)
}

async fn link_phone(alice: &mut Client, folder: &Path, url: &str, password: &str) -> Result<Client, Failure> {
    let log_in = LogIn {
        username: username("alice")?,
        password: Hidden::new(password.to_owned()),
    };
    let profile = Opening::in_home(folder.to_owned(), "alice-phone")?
        .profile(IN_A_FILE)?
        .0;
    let logged_in = Client::log_in(
        profile,
        server(url)?,
        log_in,
        "alice's phone".to_owned(),
        Settings::default(),
    )
    .await?;
    let LoggedIn::NewDevice(new) = logged_in else {
        return Err(anyhow::anyhow!("the phone was known already: name an empty folder").into());
    };
    let (show, shown) = tokio::sync::oneshot::channel();
    let offering = new.offer(move |code: &LinkCode| drop(show.send(code.to_text())));
    let certifying = async {
        let text = shown.await.context("the phone shows a code")?;
        let code = LinkCode::parse_text(&text).or_exit(Exit::Failed)?;
        Ok::<_, Failure>(alice.link(&code).await?)
    };
    let (comparing, certifying) = tokio::try_join!(async { Ok::<_, Failure>(offering.await?) }, certifying)?;
    if comparing.sas().to_string() != certifying.sas().to_string() {
        return Err(anyhow::anyhow!("the two devices show different digits").into());
    }
    let name = "alice's phone".to_owned();
    let (phone, _device) = tokio::try_join!(comparing.confirm(), certifying.confirm(name))?;
    Ok(phone)
}

/// A random password, kept in a file so that the account can be used by hand.
fn password(folder: &Path, name: &str) -> anyhow::Result<String> {
    let password = base64::encode(&Clock::System.context().random::<18>());
    let file = folder.join(format!("{name}.password"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)
        .with_context(|| format!("write {}", file.display()))?;
    writeln!(file, "{password}").context("write a password")?;
    Ok(password)
}

fn username(name: &str) -> Result<Username, Failure> {
    name.parse().or_exit(Exit::Failed)
}

fn server(url: &str) -> Result<Destination, Failure> {
    Ok(Destination {
        server: url.parse().or_exit(Exit::Failed)?,
        trust: Trust::System,
    })
}
