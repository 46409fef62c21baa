//! `/ws`: every committed event, once, in order, from where the client was; and who may listen.

use std::net::SocketAddr;

use dtvn_messages::limits;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::http::{Ask, PATIENCE};
use crate::kit::{KEY, TestNode, key};

/// A client that listens.
struct Listener(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Listener {
    async fn open(address: SocketAddr, target: &str, headers: &[(&'static str, &str)]) -> Result<Self, StatusCode> {
        let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Listens, and hears the first word.
    async fn listen(node: &TestNode, target: &str) -> (Self, Value) {
        let mut listener = Self::open(node.api(), target, &[]).await.unwrap();
        let hello = listener.event().await;
        assert_eq!(hello["type"], "connected");
        (listener, hello)
    }

    async fn message(&mut self) -> Option<Message> {
        let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing was heard");
        message.and_then(Result::ok)
    }

    async fn event(&mut self) -> Value {
        loop {
            match self.message().await.expect("the socket was closed") {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The types and tickets of the next events.
    async fn events(&mut self, count: usize) -> Vec<(String, String)> {
        let mut events = Vec::new();
        for _ in 0..count {
            let event = self.event().await;
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            events.push((text("type"), text("ticket_id")));
        }
        events
    }

    async fn say(&mut self, words: &Value) {
        self.0.send(Message::text(words.to_string())).await.unwrap();
    }

    async fn say_in_pieces(&mut self, words: &str, pieces: usize) {
        let mut rest = words.as_bytes().chunks(words.len().div_ceil(pieces)).peekable();
        let mut kind = Data::Text;
        while let Some(piece) = rest.next() {
            let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), rest.peek().is_none());
            self.0.send(Message::Frame(frame)).await.unwrap();
            kind = Data::Continue;
        }
    }

    /// The code and reason with which the node closes.
    async fn closed(&mut self) -> (CloseCode, String) {
        let heard = async {
            loop {
                match self.message().await.expect("closed without a word") {
                    Message::Close(Some(frame)) => return (frame.code, frame.reason.to_string()),
                    Message::Close(None) => panic!("closed without a code"),
                    _ => {}
                }
            }
        };
        // A node that does not close goes on with its pings.
        tokio::time::timeout(PATIENCE, heard).await.expect("it was not closed")
    }
}

fn pair(kind: &str, ticket: &str) -> (String, String) {
    (kind.to_owned(), ticket.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_committed_event_is_told_in_order_with_its_place() {
    let node = TestNode::start().await;
    let (mut listener, hello) = Listener::listen(&node, "/ws").await;
    assert_eq!((hello["id"].as_str(), hello["validator_id"].as_str()), (Some("0.0"), Some("node0")));
    node.seed().await;
    node.issue("A").await;
    for kind in ["validate", "dispute"] {
        node.post(&format!("/api/v1/tickets/{kind}"), json!({"ticket_id": "A"})).await.good();
    }
    let validated = json!({"ticket_id": "TICKET-001", "gate": "North", "idempotency_key": key(1)});
    let answer = node.post("/api/v1/tickets/validate", validated.clone()).await.good();
    node.post("/api/v1/tickets/validate", validated).await.good();
    node.post("/api/v1/tickets/consume", json!({"ticket_id": "TICKET-001"})).await.good();
    let refused = node.post("/api/v1/tickets/consume", json!({"ticket_id": "TICKET-001"})).await;
    assert_eq!(refused.reason(), "already_consumed");
    let seeded = listener.event().await;
    assert_eq!((seeded["type"].as_str(), seeded["count"].as_u64()), (Some("tickets_seeded"), Some(500)));
    assert_eq!(
        listener.events(3).await,
        ["issued", "validated", "disputed"].map(|it| pair(&format!("ticket_{it}"), "A"))
    );
    let event = listener.event().await;
    assert_eq!(event["type"], "ticket_validated");
    assert_eq!((&event["ticket_id"], &event["event"]), (&json!("TICKET-001"), &json!("default")));
    assert_eq!(event["id"], format!("{}.{}", answer["height"], answer["index"]));
    assert_eq!(event["timestamp"], answer["ticket"]["timestamp"]);
    assert_eq!(event["agreed_time"], answer["agreed_time"]);
    assert_eq!((event["state"].as_str(), event["version"].as_u64()), (Some("VALIDATED"), Some(2)));
    assert_eq!(listener.event().await["type"], "ticket_consumed", "a repeated key is told once");
    let refusal = listener.event().await;
    assert_eq!(
        (refusal["type"].as_str(), refusal["reason"].as_str()),
        (Some("operation_refused"), Some("already_consumed"))
    );
    assert_eq!(
        (refusal["operation"].as_str(), refusal["first"]["validator"].as_str()),
        (Some("consume"), Some("node0"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_resumes_where_it_was_also_after_the_node_has_restarted() {
    let node = TestNode::start().await;
    let (mut listener, _) = Listener::listen(&node, "/ws").await;
    for ticket in ["A", "B"] {
        node.issue(ticket).await;
    }
    let first = listener.event().await;
    drop(listener);
    let node = node.restarted().await;
    node.issue("C").await;
    let (mut resumed, hello) = Listener::listen(&node, &format!("/ws?since={}", first["id"].as_str().unwrap())).await;
    assert_eq!(hello["id"], first["id"]);
    assert_eq!(resumed.events(2).await, [pair("ticket_issued", "B"), pair("ticket_issued", "C")]);
    node.issue("D").await;
    assert_eq!(resumed.events(1).await, [pair("ticket_issued", "D")], "and then live");
    let (mut all, _) = Listener::listen(&node, "/ws?since=0.0").await;
    assert_eq!(all.events(4).await, ["A", "B", "C", "D"].map(|ticket| pair("ticket_issued", ticket)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_past_is_told_without_gap_while_more_happens() {
    let node = TestNode::start().await;
    for batch in 0..5 {
        issue_batch(&node, batch, 500).await;
    }
    let (mut listener, _) = Listener::listen(&node, "/ws?since=0.0").await;
    let more = async {
        for batch in 5..10 {
            issue_batch(&node, batch, 500).await;
        }
    };
    let heard = async {
        for index in 0..5_000 {
            let event = listener.event().await;
            let id = event["id"].as_str().unwrap().to_owned();
            assert_eq!(id.split('.').nth(1).unwrap().parse::<u64>().unwrap(), index, "{event}");
        }
    };
    tokio::join!(more, heard);
    node.stop().await;
}

async fn issue_batch(node: &TestNode, batch: usize, count: usize) {
    let operation = |number: usize| json!({"kind": "issue", "ticket_id": format!("T-{batch}-{number}")});
    let operations: Vec<Value> = (0..count).map(operation).collect();
    let answers = node.post("/api/v1/operations", json!(operations)).await.good();
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["status"] == "accepted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_none_is_refused_before_the_socket_opens() {
    let node = TestNode::start().await;
    node.issue("A").await;
    for since in ["x", "1", "0.7", "1.5", "99.0", "2.0"] {
        let refused = node.get(&format!("/ws?since={since}")).await;
        assert_eq!((refused.status, refused.reason().as_str()), (400, "bad_cursor"), "{since}");
    }
    let refused = node.get("/ws?from=1.0").await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "malformed"));
    let plain = node.get("/ws").await;
    assert_eq!((plain.status, plain.reason().as_str()), (400, "malformed"), "no handshake");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_is_counted_and_has_a_session_until_it_leaves() {
    let node = TestNode::start().await;
    let clients = async || node.get("/api/v1/status").await.good()["ws_clients"].as_u64().unwrap();
    assert_eq!(clients().await, 0);
    let (listener, _) = Listener::listen(&node, "/ws").await;
    let (second, _) = Listener::listen(&node, "/ws").await;
    assert_eq!(clients().await, 2);
    drop((listener, second));
    let begin = std::time::Instant::now();
    while clients().await != 0 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_ask_whether_the_node_is_there() {
    let node = TestNode::start().await;
    let (mut listener, _) = Listener::listen(&node, "/ws").await;
    listener.say(&json!({"type": "ping"})).await;
    assert_eq!(listener.event().await, json!({"type": "pong"}));
    listener.say(&json!({"type": "words of a later version"})).await;
    listener.0.send(Message::Ping(vec![7; 3].into())).await.unwrap();
    assert_eq!(listener.message().await, Some(Message::Pong(vec![7; 3].into())));
    node.stop().await;
}

/// A ping of so many bytes.
fn long_ping(length: usize) -> String {
    let around = json!({"type": "ping", "x": ""}).to_string().len();
    json!({"type": "ping", "x": "x".repeat(length - around)}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_closes_the_socket_whole_or_in_pieces() {
    let node = TestNode::start().await;
    let longest = long_ping(limits::WS_MESSAGE_BYTES_MAX);
    let longer = long_ping(limits::WS_MESSAGE_BYTES_MAX + 1);
    for pieces in [1, 4] {
        let (mut listener, _) = Listener::listen(&node, "/ws").await;
        listener.say_in_pieces(&longest, pieces).await;
        assert_eq!(listener.event().await, json!({"type": "pong"}));
        listener.say_in_pieces(&longer, pieces).await;
        assert_eq!(listener.closed().await.0, CloseCode::Size, "in {pieces} pieces");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_may_come_as_header_pass_or_first_message() {
    let node = TestNode::guarded().await;
    let open = async |target: &str, headers: &[(&'static str, &str)]| {
        Listener::open(node.api(), target, headers).await.map(|_| ()).map_err(|status| status.as_u16())
    };
    assert_eq!(open("/ws", &[("x-api-key", KEY)]).await, Ok(()));
    assert_eq!(open("/ws", &[("authorization", &format!("Bearer {KEY}"))]).await, Ok(()));
    assert_eq!(open("/ws", &[("x-api-key", "wrong")]).await, Err(401));
    assert_eq!(open("/ws?ticket=made-up", &[]).await, Err(401));
    let pass = node.ask(&Ask::post("/api/v1/ws-ticket").header("X-API-Key", KEY)).await.good();
    assert_eq!(pass["expires_in_seconds"], 30);
    let target = format!("/ws?ticket={}", pass["ticket"].as_str().unwrap());
    assert_eq!(open(&target, &[]).await, Ok(()));
    assert_eq!(open(&target, &[]).await, Err(401), "a pass holds once");

    let mut first = Listener::open(node.api(), "/ws", &[]).await.unwrap();
    first.say(&json!({"type": "auth", "key": KEY})).await;
    assert_eq!(first.event().await["type"], "connected");
    for words in [json!({"type": "auth", "key": "wrong"}), json!({"type": "ping"}), json!("x")] {
        let mut refused = Listener::open(node.api(), "/ws", &[]).await.unwrap();
        refused.say(&words).await;
        assert_eq!(refused.closed().await.0, CloseCode::Policy, "{words}");
    }
    let mut lost = Listener::open(node.api(), "/ws?since=7.7", &[]).await.unwrap();
    lost.say(&json!({"type": "auth", "key": KEY})).await;
    // Ahead of this node, which may be behind: that is no error.
    assert_eq!(lost.event().await["id"], "7.7");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_have_not_shown_the_key_share_few_places_and_take_none_of_those_that_have() {
    let node = TestNode::guarded().await;
    let open = async || Listener::open(node.api(), "/ws", &[]).await.map_err(|status| status.as_u16());
    // They are let go after a few seconds: on a slow machine the first may be gone before the last has come.
    let mut strangers: Vec<Listener> = Vec::new();
    for round in 0.. {
        assert!(round < 20, "{} strangers were let in, and there was always room for another", strangers.len());
        let opening = (0..limits::EVENT_STRANGERS_MAX).map(|_| open());
        let opened: Vec<_> = futures::future::join_all(opening).await;
        strangers.extend(opened.into_iter().filter_map(Result::ok));
        match open().await {
            Err(refused) => {
                assert_eq!(refused, 503);
                break;
            }
            Ok(another) => strangers.push(another),
        }
    }
    assert!(strangers.len() >= limits::EVENT_STRANGERS_MAX);
    let mut known = Listener::open(node.api(), "/ws", &[("x-api-key", KEY)]).await.unwrap();
    assert_eq!(known.event().await["type"], "connected");
    // Who shows the key leaves its place to others.
    let mut last = strangers.pop().unwrap();
    last.say(&json!({"type": "auth", "key": KEY})).await;
    assert_eq!(last.event().await["type"], "connected");
    assert_eq!(open().await.err(), None);
    drop((strangers, last, known));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_not_listen() {
    let node = TestNode::start_with(|config| config.api.ws_origins = vec!["https://gate.example".to_owned()]).await;
    let same = format!("http://{}", node.api());
    for (origin, expected) in [
        (same.as_str(), Ok(())),
        ("http://localhost:3000", Ok(())),
        ("https://gate.example", Ok(())),
        ("https://evil.example", Err(403)),
        ("null", Err(403)),
    ] {
        let opened = Listener::open(node.api(), "/ws", &[("origin", origin)]).await;
        assert_eq!(opened.map(|_| ()).map_err(|status| status.as_u16()), expected, "{origin}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_and_resumes_without_loss() {
    let node = TestNode::start().await;
    let (mut listener, _) = Listener::listen(&node, "/ws").await;
    // Far more than the sockets and the queue of one client hold.
    for batch in 0..60 {
        issue_batch(&node, batch, 1_000).await;
    }
    let mut next = 0;
    let place = loop {
        match listener.message().await {
            Some(Message::Text(text)) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                let id = event["id"].as_str().unwrap().to_owned();
                assert_eq!(id.split('.').nth(1).unwrap().parse::<u64>().unwrap(), next);
                next += 1;
            }
            Some(Message::Close(Some(frame))) => {
                assert_eq!(frame.code, CloseCode::Again, "{}", frame.reason);
                break frame.reason.split("since=").nth(1).unwrap().to_owned();
            }
            Some(_) => {}
            // Its last words did not reach it: it resumes after the last event that did.
            None => break String::new(),
        }
    };
    assert!(next < 60_000, "it was not cut off");
    if !place.is_empty() {
        assert_eq!(place.split('.').nth(1).unwrap().parse::<u64>().unwrap() + 1, next);
        let (mut resumed, _) = Listener::listen(&node, &format!("/ws?since={place}")).await;
        for index in next..60_000 {
            let id = resumed.event().await["id"].as_str().unwrap().to_owned();
            assert_eq!(id.split('.').nth(1).unwrap().parse::<u64>().unwrap(), index);
        }
    }
    assert_eq!(node.get("/api/v1/stats").await.good()["operations"], 60_000, "nobody else was held up");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_tells_where_to_resume() {
    let node = TestNode::start().await;
    let (mut listener, _) = Listener::listen(&node, "/ws").await;
    let issued = node.issue("A").await;
    listener.event().await;
    assert_eq!(node.admin_post("/admin/actors/edge/events/restart").await.status, 200);
    let (code, reason) = listener.closed().await;
    let place = format!("{}.{}", issued["height"], issued["index"]);
    assert_eq!((code, reason), (CloseCode::Restart, format!("restarting: resume with since={place}")));
    let (mut resumed, _) = Listener::listen(&node, &format!("/ws?since={place}")).await;
    node.issue("B").await;
    assert_eq!(resumed.events(1).await, [pair("ticket_issued", "B")]);
    let stopping = tokio::spawn(node.stop());
    assert_eq!(resumed.closed().await.0, CloseCode::Restart);
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}
