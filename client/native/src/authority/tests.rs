use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ServerConfig, SupportedProtocolVersion, version::TLS12};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_rustls::TlsAcceptor;
use unhidra_keys::local_ca::LocalCa;
use unhidra_types::Timestamp;

use super::*;
use crate::{
    edge,
    rest::{Rest, RestError},
    route::Route,
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);

/// A server with a certificate of its own authority, which answers one request after another with nothing.
struct Stranger {
    folder: tempfile::TempDir,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    authority: Fingerprint,
}

impl Stranger {
    async fn new(name: &str, made: Timestamp, version: &'static SupportedProtocolVersion) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = LocalCa::open(folder.path(), made).unwrap();
        let certificate = authority.certificate(&[name.to_owned()], made).unwrap();
        let configuration = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificate.chain, certificate.key)
            .unwrap();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: Arc::new(configuration).into(),
            authority: authority.fingerprint(),
            folder,
        }
    }

    async fn usual() -> Self {
        Self::new("127.0.0.1", edge::now(), &TLS13).await
    }

    async fn reached_by(&self, trust: Trust) -> Result<(), Untrusted> {
        self.reached(trust, |_| {}).await
    }

    async fn reached(&self, trust: Trust, warn: fn(&str)) -> Result<(), Untrusted> {
        let url = format!("https://{}", self.listener.local_addr().unwrap());
        let route = Route::new(url.parse().unwrap(), &trust, warn).unwrap();
        let rest = Rest::new(route).unwrap();
        let serve = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            if let Ok(mut stream) = self.acceptor.accept(stream).await {
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        };
        let (reached, ()) = tokio::join!(rest.reach(), serve);
        match reached {
            Ok(()) => Ok(()),
            Err(RestError::Untrusted(untrusted)) => Err(untrusted),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn pinned(&self) -> Trust {
        Trust::Pinned(self.authority)
    }
}

#[tokio::test]
async fn a_pinned_authority_is_trusted_and_no_other() {
    let server = Stranger::usual().await;
    assert_eq!(server.reached_by(server.pinned()).await, Ok(()));
    let pinned = Fingerprint::from_bytes([7; 32]);
    let other = server.reached_by(Trust::Pinned(pinned)).await;
    assert_eq!(other, Err(Untrusted::OtherAuthority { pinned }));
}

#[tokio::test]
async fn an_authority_that_only_stands_in_the_chain_vouches_for_nothing() {
    // The other server shows the first one's authority beside its own certificate.
    let (trusted, liar) = (Stranger::usual().await, Stranger::usual().await);
    let (own, foreign) = (
        LocalCa::open(liar.folder.path(), edge::now()).unwrap(),
        std::fs::read(trusted.folder.path().join("ca.pem")).unwrap(),
    );
    let mut certificate = own.certificate(&["127.0.0.1".to_owned()], edge::now()).unwrap();
    certificate.chain.truncate(1);
    certificate
        .chain
        .push(CertificateDer::from_pem_slice(&foreign).unwrap());
    let configuration = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificate.chain, certificate.key)
        .unwrap();
    let liar = Stranger {
        acceptor: Arc::new(configuration).into(),
        ..liar
    };
    let refused = liar.reached_by(trusted.pinned()).await;
    assert_eq!(refused, Err(Untrusted::UnknownAuthority { own: None }));
}

#[tokio::test]
async fn an_unknown_authority_is_named_for_a_person_to_compare() {
    let server = Stranger::usual().await;
    let own = Some(server.authority);
    let unknown = server.reached_by(Trust::System).await;
    assert_eq!(unknown, Err(Untrusted::UnknownAuthority { own }));
}

#[tokio::test]
async fn authorities_of_a_file_are_trusted_and_others_are_not() {
    let (server, other) = (Stranger::usual().await, Stranger::usual().await);
    let file = |server: &Stranger| Trust::File(server.folder.path().join("ca.pem"));
    assert_eq!(server.reached_by(file(&server)).await, Ok(()));
    let own = Some(server.authority);
    let refused = server.reached_by(file(&other)).await;
    assert_eq!(refused, Err(Untrusted::UnknownAuthority { own }));
    let missing = Trust::File(server.folder.path().join("none")).configuration(|_| {});
    assert!(matches!(missing, Err(AuthorityError::File { .. })));
}

#[tokio::test]
async fn a_pin_does_not_excuse_another_name() {
    let server = Stranger::new("other.example", edge::now(), &TLS13).await;
    assert_eq!(
        server.reached_by(server.pinned()).await,
        Err(Untrusted::OtherName)
    );
}

/// What a person was told, in the test that looks at it.
static WARNED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[tokio::test]
async fn dates_have_a_day_of_tolerance_with_a_warning_and_no_more() {
    let warn: fn(&str) = |text| {
        let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
        warned.push(text.to_owned());
    };
    let now = edge::now();
    for (made, expected) in [
        (now.saturating_sub(DAY * 90 + HOUR * 12), Ok(())),
        (now.saturating_add(DAY + HOUR * 12), Ok(())),
        (now.saturating_sub(DAY * 92), Err("expired 2 days")),
        (now.saturating_add(DAY * 4), Err("becomes valid")),
    ] {
        let server = Stranger::new("127.0.0.1", made, &TLS13).await;
        let reached = server.reached(server.pinned(), warn).await;
        match (reached, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (reached, expected) => panic!("{reached:?} and not {expected:?}"),
        }
    }
    let warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    let [late, early] = warned.as_slice() else {
        panic!("each is warned of once: {warned:?}");
    };
    assert!(
        late.contains("expired 12 hours") && late.contains("clock"),
        "{late}"
    );
    assert!(early.contains("becomes valid"), "{early}");
}

#[tokio::test]
async fn older_versions_and_plain_text_are_told_apart() {
    let old = Stranger::new("127.0.0.1", edge::now(), &TLS12).await;
    assert_eq!(
        old.reached_by(old.pinned()).await,
        Err(Untrusted::NoCommonVersion)
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let route = Route::new(url.parse().unwrap(), &Trust::System, |_| {}).unwrap();
    let rest = Rest::new(route).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        // The answer has to be read before the connection ends.
        let mut rest = tokio::io::sink();
        let _either_way = tokio::io::copy(&mut stream, &mut rest).await;
    };
    let (reached, ()) = tokio::join!(rest.reach(), serve);
    assert!(
        matches!(reached, Err(RestError::Untrusted(Untrusted::NotTls))),
        "{reached:?}"
    );
}
