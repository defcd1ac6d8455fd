use futures_util::{SinkExt as _, StreamExt as _};
use http::header::HeaderName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_websockets::{CloseCode, ServerBuilder, WebSocketStream};
use unhidra_types::{ConversationId, DeviceId, MsgId, Timestamp, UserId};
use unhidra_wire::frame::{Append, Deliver};

use super::*;
use crate::authority::Trust;

const FAST: Heartbeat = Heartbeat {
    ping_after: Duration::from_millis(50),
    give_up_after: Duration::from_millis(500),
    handshake: Duration::from_secs(5),
};

async fn listen() -> (TcpListener, Route) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let route = Route::new(url.parse().unwrap(), &Trust::System, |_| {});
    (listener, route.unwrap())
}

/// Accepts one connection and answers the handshake with `protocol`; gives what the client had offered.
async fn accept(listener: &TcpListener, protocol: &'static str) -> (String, WebSocketStream<TcpStream>) {
    let (stream, _) = listener.accept().await.unwrap();
    let name: HeaderName = SEC_WEBSOCKET_PROTOCOL;
    let builder = ServerBuilder::new()
        .add_header(name, HeaderValue::from_static(protocol))
        .unwrap();
    let (request, socket) = builder.accept(stream).await.unwrap();
    let offered = request.headers()[SEC_WEBSOCKET_PROTOCOL].to_str().unwrap();
    (offered.to_owned(), socket)
}

fn token() -> Hidden {
    Hidden::new("the.access-token".into())
}

#[tokio::test]
async fn the_token_is_offered_beside_the_protocol_and_frames_pass_both_ways() {
    let (listener, url) = listen().await;
    let token = token();
    let (opened, (offered, mut server)) = tokio::join!(
        Connection::open(&url, &token, FAST),
        accept(&listener, SUBPROTOCOL)
    );
    assert_eq!(offered, "unhidra.v1, bearer.the.access-token");
    let mut connection = opened.unwrap();
    let frame = ClientFrame::Acknowledge {
        conversation: ConversationId::from_bytes([1; 16]),
        seq: 7,
    };
    connection.feed(&frame).unwrap();
    connection.flush().await.unwrap();
    let arrived = server.next().await.unwrap().unwrap();
    assert_eq!(ClientFrame::decode(arrived.into_payload().into()).unwrap(), frame);
    let caught_up = Message::binary(ServerFrame::CaughtUp.encode());
    server.send(caught_up).await.unwrap();
    assert_eq!(connection.receive().await.unwrap(), ServerFrame::CaughtUp);
}

#[tokio::test]
async fn a_server_of_another_version_is_told_from_one_that_is_none_of_ours() {
    for (selected, is_ours) in [("unhidra.v2", true), ("chat", false), ("", false)] {
        let (listener, url) = listen().await;
        let token = token();
        let (opened, _server) =
            tokio::join!(Connection::open(&url, &token, FAST), accept(&listener, selected));
        match opened {
            Err(ConnectError::OtherVersion) => assert!(is_ours, "{selected}"),
            Err(ConnectError::NotOurServer) => assert!(!is_ours, "{selected}"),
            _ => panic!("{selected} was taken"),
        }
    }
}

#[tokio::test]
async fn refused_handshakes_are_told_apart() {
    type Expected = fn(&ConnectError) -> bool;
    let cases: [(&str, Expected); 6] = [
        ("401 Unauthorized", |error| {
            matches!(error, ConnectError::Unauthenticated)
        }),
        ("426 Upgrade Required", |error| {
            matches!(error, ConnectError::OtherVersion)
        }),
        ("429 Too Many Requests", |error| {
            matches!(error, ConnectError::Refused(429))
        }),
        ("503 Service Unavailable", |error| {
            matches!(error, ConnectError::Refused(503))
        }),
        ("404 Not Found", |error| {
            matches!(error, ConnectError::NotOurServer)
        }),
        ("200 OK", |error| matches!(error, ConnectError::NotOurServer)),
    ];
    for (status, is_expected) in cases {
        let (listener, url) = listen().await;
        let token = token();
        let refuse = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(read > 0);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (opened, ()) = tokio::join!(Connection::open(&url, &token, FAST), refuse);
        let error = opened.err().unwrap();
        assert!(is_expected(&error), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_answers_pings_is_kept_and_a_silent_one_is_given_up() {
    let (listener, url) = listen().await;
    let token = token();
    let (opened, (_, mut server)) = tokio::join!(
        Connection::open(&url, &token, FAST),
        accept(&listener, SUBPROTOCOL)
    );
    let mut connection = opened.unwrap();
    let serving = async { while server.next().await.is_some() {} };
    let waiting = async { tokio::join!(connection.receive(), serving) };
    let outcome = timeout(FAST.give_up_after * 3, waiting).await;
    assert!(outcome.is_err(), "a living connection waits");
    // From now on nobody reads on the other side.
    assert!(matches!(connection.receive().await, Err(Disconnect::Silent)));
}

#[tokio::test]
async fn a_server_that_pings_and_does_not_read_is_left() {
    let (listener, url) = listen().await;
    let token = token();
    let (opened, (_, mut server)) = tokio::join!(
        Connection::open(&url, &token, FAST),
        accept(&listener, SUBPROTOCOL)
    );
    let mut connection = opened.unwrap();
    // More answers than the buffers of both sides hold.
    let flood = async {
        for _ in 0..256 * 1024 {
            server.feed(Message::ping(vec![0; 125])).await?;
        }
        server.flush().await
    };
    tokio::select! {
        ended = connection.receive() => assert!(matches!(ended, Err(Disconnect::Silent))),
        flooded = flood => panic!("{flooded:?}: answers were kept for nobody"),
    }
}

#[tokio::test]
async fn the_reason_of_a_close_is_told() {
    let (listener, url) = listen().await;
    let token = token();
    let (opened, (_, mut server)) = tokio::join!(
        Connection::open(&url, &token, FAST),
        accept(&listener, SUBPROTOCOL)
    );
    let mut connection = opened.unwrap();
    let code = CloseCode::try_from(Close::DeviceRevoked.code()).unwrap();
    server.send(Message::close(Some(code), "")).await.unwrap();
    let ended = connection.receive().await;
    assert!(matches!(
        ended,
        Err(Disconnect::Closed(Some(Close::DeviceRevoked)))
    ));
}

#[tokio::test]
async fn two_sides_that_write_megabytes_before_they_read_do_not_wait_for_each_other() {
    /// More than the buffers of a TCP connection and what is kept while sending.
    const EACH: u64 = 512;
    let (listener, url) = listen().await;
    let token = token();
    let heartbeat = Heartbeat::default();
    let (opened, (_, mut server)) = tokio::join!(
        Connection::open(&url, &token, heartbeat),
        accept(&listener, SUBPROTOCOL)
    );
    let mut connection = opened.unwrap();
    let body = vec![7; 64 * 1024];
    let conversation = ConversationId::from_bytes([1; 16]);
    let append = ClientFrame::Append(Append {
        conversation,
        msg_id: MsgId::from_bytes([2; 16]),
        attempt: 0,
        list_versions: Vec::new(),
        body: body.clone().into(),
        capsules: Vec::new(),
        dest: None,
    });
    let deliver = |seq| {
        ServerFrame::Deliver(Deliver {
            conversation,
            seq,
            msg_id: MsgId::from_bytes([2; 16]),
            sender: UserId::from_bytes([3; 16]),
            sender_device: DeviceId::from_bytes([4; 16]),
            server_time: Timestamp::from_millis(1),
            version: 1,
            flags: 0,
            attempt: 0,
            capsule: None,
            body: body.clone().into(),
        })
    };
    let serving = async {
        for seq in 1..=EACH {
            let deliver = Message::binary(deliver(seq).encode());
            server.send(deliver).await.unwrap();
        }
        for _ in 0..EACH {
            let arrived = server.next().await.unwrap().unwrap();
            let arrived = ClientFrame::decode(arrived.into_payload().into()).unwrap();
            assert!(matches!(arrived, ClientFrame::Append(_)));
        }
        server
            .send(Message::binary(ServerFrame::CaughtUp.encode()))
            .await
            .unwrap();
    };
    let talking = async {
        for _ in 0..EACH {
            connection.feed(&append).unwrap();
        }
        connection.flush().await.unwrap();
        for expected in 1..=EACH {
            let ServerFrame::Deliver(deliver) = connection.receive().await.unwrap() else {
                panic!("entries come in order");
            };
            assert_eq!(deliver.seq, expected);
        }
        assert_eq!(connection.receive().await.unwrap(), ServerFrame::CaughtUp);
    };
    let both = async { tokio::join!(serving, talking) };
    assert!(
        timeout(Duration::from_secs(30), both).await.is_ok(),
        "both sides wait"
    );
}

#[tokio::test]
async fn a_close_that_arrives_while_sending_is_told_after_what_came_before_it() {
    let (listener, url) = listen().await;
    let token = token();
    let (opened, (_, mut server)) = tokio::join!(
        Connection::open(&url, &token, Heartbeat::default()),
        accept(&listener, SUBPROTOCOL)
    );
    let mut connection = opened.unwrap();
    let code = CloseCode::try_from(Close::DeviceRevoked.code()).unwrap();
    server
        .send(Message::binary(ServerFrame::CaughtUp.encode()))
        .await
        .unwrap();
    server.send(Message::close(Some(code), "")).await.unwrap();
    // More than a connection buffers, to a peer that reads no more.
    let frame = ClientFrame::Acknowledge {
        conversation: ConversationId::from_bytes([1; 16]),
        seq: 7,
    };
    let sending = async {
        loop {
            for _ in 0..4_096 {
                connection.feed(&frame)?;
            }
            connection.flush().await?;
            if let Some(frame) = connection.receive_now()? {
                assert_eq!(frame, ServerFrame::CaughtUp);
            }
        }
    };
    let ended: Result<(), Disconnect> = timeout(Duration::from_secs(30), sending).await.unwrap();
    assert!(
        matches!(ended, Err(Disconnect::Closed(Some(Close::DeviceRevoked)))),
        "{ended:?}"
    );
}
