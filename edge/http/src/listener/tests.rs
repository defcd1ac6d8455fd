use axum::{Extension, routing::get};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};
use tokio_rustls::TlsConnector;
use unhidra_keys::local_ca::LocalCa;
use unhidra_runtime::{ClientAddress, Clock};

use super::*;
use crate::tls::Prepared;

const PATIENCE: Duration = Duration::from_secs(10);

/// A listener that tells everybody who they are.
struct Mirror {
    address: SocketAddr,
    tasks: Tasks,
}

impl Mirror {
    async fn start(tls: Option<Tls>, trusted: &[&str]) -> Self {
        let who = async |Extension(client): Extension<ClientAddress>| client.to_string();
        let trusted = trusted.iter().map(|network| network.parse().unwrap());
        let proxies = Proxies {
            trusted: trusted.collect(),
            ..Proxies::default()
        };
        Self::of(Front {
            proxies: proxies.into(),
            tls,
            ..Front::new(Router::new().route("/", get(who)))
        })
        .await
    }

    async fn of(front: Front) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let accepting = tasks.clone();
        tasks.spawn(Stage::Listener, "listener", Weight::Critical, async move |stop| {
            accept(listener, front, accepting, stop).await
        });
        Self { address, tasks }
    }

    /// What a client hears that says `words` and reads to the end.
    async fn hears(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // By an end, or by a reset when there were words that nobody read.
        let _ended = stream.read_to_end(&mut heard).await;
        String::from_utf8(heard).unwrap()
    }

    async fn end(self) {
        let ended = self.tasks.shutdown(PATIENCE).await;
        assert_eq!((ended.culprit, ended.aborted), (None, Vec::new()));
    }
}

/// A certificate for this address, and who vouches for it.
fn certificate() -> (Tls, CertificateDer<'static>) {
    let folder = tempfile::tempdir().unwrap();
    let now = Clock::System.context().now;
    let authority = LocalCa::open(folder.path(), now).unwrap();
    let made = authority.certificate(&["127.0.0.1".to_owned()], now).unwrap();
    let authority = made.chain[1].clone();
    (Tls::new(Prepared::new(made.chain, made.key).unwrap()), authority)
}

fn connector(authority: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let configuration = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(configuration).into()
}

const ASKS: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";

#[tokio::test]
async fn a_forged_address_is_ignored_unless_a_trusted_proxy_passes_it_on() {
    let forged = format!("{ASKS}x-forwarded-for: 203.0.113.9, 192.0.2.1\r\n\r\n");
    for (trusted, expected) in [
        (&[][..], "127.0.0.1"),
        (&["10.0.0.0/8"], "127.0.0.1"),
        (&["127.0.0.0/8"], "192.0.2.1"),
        (&["127.0.0.0/8", "192.0.2.0/24"], "203.0.113.9"),
    ] {
        let mirror = Mirror::start(None, trusted).await;
        let heard = mirror.hears(&forged).await;
        assert!(
            heard.ends_with(&format!("\r\n\r\n{expected}")),
            "{trusted:?}: {heard}"
        );
        assert!(!heard.contains("strict-transport-security"), "{heard}");
        mirror.end().await;
    }
}

#[tokio::test]
async fn a_client_that_resumes_is_served_and_one_that_meets_a_new_certificate_is_asked_again() {
    let (tls, authority) = certificate();
    let mirror = Mirror::start(Some(tls.clone()), &[]).await;
    let connector = connector(authority);
    let shaken = async || {
        let stream = TcpStream::connect(mirror.address).await.unwrap();
        let mut stream = connector
            .connect(ServerName::try_from("127.0.0.1").unwrap(), stream)
            .await?;
        stream.write_all(format!("{ASKS}\r\n").as_bytes()).await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        assert!(
            heard.contains("strict-transport-security: max-age=31536000"),
            "{heard}"
        );
        Ok::<_, io::Error>(stream.get_ref().1.handshake_kind())
    };
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(shaken().await.unwrap(), Some(Full));
    assert_eq!(shaken().await.unwrap(), Some(Resumed));

    // Another authority's: the tickets of the old certificate are worth nothing, and the new one is not trusted.
    let folder = tempfile::tempdir().unwrap();
    let now = Clock::System.context().now;
    let other = LocalCa::open(folder.path(), now).unwrap();
    let other = other.certificate(&["127.0.0.1".to_owned()], now).unwrap();
    tls.replace(Prepared::new(other.chain, other.key).unwrap());
    shaken().await.unwrap_err();
    mirror.end().await;
}

#[tokio::test]
async fn a_client_for_whom_there_is_no_room_hears_so_over_tls() {
    let (tls, authority) = certificate();
    let begun = Arc::new(Notify::new());
    let told = Arc::clone(&begun);
    let without_end = async move || {
        told.notify_one();
        std::future::pending::<()>().await;
    };
    let one = SocketLimits {
        open: 1,
        open_per_network: 1,
        waiting: 1,
        waiting_per_network: 1,
    };
    let mirror = Mirror::of(Front {
        admission: Admission::new(one),
        tls: Some(tls),
        ..Front::new(Router::new().route("/", get(without_end)))
    })
    .await;
    let connector = connector(authority);
    let asking = async || {
        let stream = TcpStream::connect(mirror.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(format!("{ASKS}\r\n").as_bytes()).await.unwrap();
        stream
    };
    let served = asking().await;
    begun.notified().await;
    let mut heard = String::new();
    asking().await.read_to_string(&mut heard).await.unwrap();
    assert!(
        heard.starts_with("HTTP/1.1 429 ") && heard.contains("retry-after: "),
        "{heard}"
    );
    drop(served);
    mirror.end().await;
}

#[tokio::test]
async fn http_without_tls_is_told_so_and_anything_else_is_closed() {
    let mirror = Mirror::start(Some(certificate().0), &[]).await;
    let heard = mirror.hears(&format!("{ASKS}\r\n")).await;
    assert!(
        heard.starts_with("HTTP/1.1 400 ") && heard.contains("tls-required"),
        "{heard}"
    );
    assert_eq!(mirror.hears("\u{1}\u{2}").await, "");
    mirror.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_go_on_is_ended_and_harms_nobody() {
    let (tls, authority) = certificate();
    let mirror = Mirror::start(Some(tls), &[]).await;
    let mut silent = TcpStream::connect(mirror.address).await.unwrap();
    let mut begun = TcpStream::connect(mirror.address).await.unwrap();
    // The head of a record that never comes.
    begun.write_all(&[22, 3, 1, 1, 0]).await.unwrap();

    let stream = TcpStream::connect(mirror.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    connector(authority).connect(name, stream).await.unwrap();
    for stream in [&mut silent, &mut begun] {
        let mut rest = Vec::new();
        // Whether by an end or a reset: it is over.
        let _ended = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
    mirror.end().await;
}
