//! What must never be in the log.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::world::{PASSWORD, World};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_password_and_no_token_is_ever_logged_however_it_was_sent() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("trace"))
        .with_writer(captured.clone())
        .finish();
    // For the whole process: what the tests beside this one log is looked at as well.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let (world, root, alice) = World::with_two().await;
    let device = &alice.devices[0];
    world.log_in("alice", "a mistyped secret").await;
    world
        .get(&format!("/v1/me?access_token={}", alice.access()), root.access())
        .await;
    world
        .get(&format!("/v1/users/{}", alice.access()), root.access())
        .await;
    world.get("/v1/me", &format!("{}x", alice.access())).await;
    device.refresh(&world, &device.refresh_token()).await;
    device.refresh(&world, "an invented token").await;

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("request answered") && log.contains("/v1/sessions/refresh"),
        "nothing was logged"
    );
    let secrets = [
        PASSWORD,
        "a mistyped secret",
        "an invented token",
        alice.access(),
        &alice.enrol,
        &device.refresh_token(),
        root.access(),
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} was logged");
    }
}
