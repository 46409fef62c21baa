//! The client against scripted nodes: what it does when they refuse, break off, stall or lie.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dtvn_messages::{IdempotencyKey, Reason, TicketId};
use hyper::Method;
use hyper::http::uri::PathAndQuery;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::api::{BatchAnswer, Kind, OperationRequest, Problem, TicketRequest};

/// What a scripted node does with a request.
enum Step {
    /// Answers.
    Reply(u16, &'static str, String),
    /// Reads it and closes the connection.
    Break,
    /// Reads it and never answers.
    Stall,
}

/// A request as it arrived.
#[derive(Clone)]
struct Received {
    connection: usize,
    head: String,
    body: Value,
}

#[derive(Clone)]
struct ScriptedNode {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl ScriptedNode {
    /// A node that answers its requests by `script`, which is told their number and body.
    async fn start(script: impl Fn(usize, &Value) -> Step + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let node = Self { url, received: Arc::clone(&received) };
        let script = Arc::new(script);
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, Arc::clone(&received), Arc::clone(&script)));
            }
        });
        node
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    received: Arc<Mutex<Vec<Received>>>,
    script: Arc<impl Fn(usize, &Value) -> Step>,
) {
    while let Some((head, body)) = read_request(&mut stream).await {
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let step = {
            let mut received = received.lock().unwrap();
            received.push(Received { connection, head, body: body.clone() });
            script(received.len() - 1, &body)
        };
        match step {
            Step::Break => return,
            Step::Stall => std::future::pending().await,
            Step::Reply(status, headers, body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
                // The client may have heard enough.
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while bytes.len() < head_end + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some((head, bytes.split_off(head_end)))
}

fn accepted(key: &str) -> Step {
    let ticket = json!({
        "event": "default", "id": "TICKET-001", "state": "VALIDATED", "data": null, "metadata": {},
        "valid_from": null, "valid_until": null, "version": 2, "vector_clock": {"node0": 1}, "validator_id": "node0",
        "timestamp": 1_767_225_600, "validated": null, "consumed": null, "disputed": null,
    });
    let body = json!({
        "status": "accepted", "ticket": ticket, "height": 7, "index": 9,
        "agreed_time": "2026-01-01T00:00:00.000000Z", "idempotency_key": key,
    });
    Step::Reply(200, "content-type: application/json\r\n", body.to_string())
}

fn problem(reason: Reason, headers: &'static str) -> Step {
    Step::Reply(reason.http_status(), headers, serde_json::to_string(&Problem::new(reason, "because")).unwrap())
}

const KEY: &str = "0123456789abcdef";

fn request() -> TicketRequest {
    serde_json::from_value(json!({"ticket_id": "TICKET-001", "idempotency_key": KEY})).unwrap()
}

fn client(nodes: &[&ScriptedNode], deadline_ms: u64) -> Client {
    client_of(nodes.iter().map(|node| node.url.clone()).collect(), deadline_ms)
}

/// A client that begins at the first node.
fn client_of(nodes: Vec<String>, deadline_ms: u64) -> Client {
    let config = ClientConfig {
        api_key: Some("s3cret".to_owned()),
        deadline: Duration::from_millis(deadline_ms),
        attempt_timeout: Duration::from_millis(300),
        ..ClientConfig::new(nodes)
    };
    Client::new(&config).unwrap().preferring(0)
}

/// The URL of a port where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_request_carries_body_key_and_api_key_over_a_kept_connection() {
    let node = ScriptedNode::start(|_, _| accepted(KEY)).await;
    let client = client(&[&node], 20_000);
    for _ in 0..3 {
        let answer = client.validate(request()).await.unwrap();
        assert_eq!((answer.height.0, answer.index, answer.ticket.version), (7, 9, 2));
    }
    let received = node.received();
    assert!(received[0].head.starts_with("post /api/v1/tickets/validate http/1.1"), "{}", received[0].head);
    assert!(received[0].head.contains("x-api-key: s3cret"));
    assert_eq!(received[0].body, json!({"ticket_id": "TICKET-001", "idempotency_key": KEY}));
    assert!(received.iter().all(|request| request.connection == 0), "one connection for all");
}

#[tokio::test]
async fn a_key_is_made_up_and_kept_over_attempts() {
    let breaking = ScriptedNode::start(|_, _| Step::Break).await;
    let good = ScriptedNode::start(|_, _| accepted(KEY)).await;
    let unkeyed: TicketRequest = serde_json::from_value(json!({"ticket_id": "TICKET-001"})).unwrap();
    client(&[&breaking, &good], 20_000).consume(unkeyed).await.unwrap();
    let key = |node: &ScriptedNode| node.received()[0].body["idempotency_key"].clone();
    assert_eq!(key(&breaking), key(&good));
    assert!(IdempotencyKey::new(key(&good).as_str().unwrap()).is_ok());
}

#[tokio::test]
async fn a_dead_node_is_passed_over_and_then_left_alone() {
    let good = ScriptedNode::start(|_, _| accepted(KEY)).await;
    let client = client_of(vec![nobody().await, good.url.clone()], 20_000);
    for _ in 0..5 {
        client.validate(request()).await.unwrap();
    }
    assert_eq!(good.received().len(), 5);
    assert!(!client.nodes[0].rest().is_zero());
}

#[tokio::test]
async fn a_node_that_cannot_now_passes_the_request_on() {
    for reason in [Reason::NoQuorum, Reason::Overloaded, Reason::Syncing, Reason::Restarting, Reason::RateLimited] {
        let busy = ScriptedNode::start(move |_, _| problem(reason, "retry-after: 9\r\n")).await;
        let good = ScriptedNode::start(|_, _| accepted(KEY)).await;
        client(&[&busy, &good], 5_000).validate(request()).await.unwrap();
        assert_eq!((busy.received().len(), good.received().len()), (1, 1));
    }
}

#[tokio::test]
async fn retry_after_is_honoured_when_there_is_no_other_node() {
    let node = ScriptedNode::start(|number, _| match number {
        0 => problem(Reason::Restarting, "retry-after: 1\r\n"),
        _ => accepted(KEY),
    })
    .await;
    let begin = Instant::now();
    client(&[&node], 20_000).validate(request()).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(990), "{:?}", begin.elapsed());
    assert_eq!(node.received().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_final_and_keeps_its_facts() {
    let node = ScriptedNode::start(|_, _| problem(Reason::AlreadyConsumed, "")).await;
    let other = ScriptedNode::start(|_, _| accepted(KEY)).await;
    let error = client(&[&node, &other], 20_000).consume(request()).await.unwrap_err();
    let ClientError::Refused(problem) = error else { panic!("{error:?}") };
    assert_eq!((problem.reason, problem.status), (Reason::AlreadyConsumed, 409));
    assert!(other.received().is_empty(), "a final answer is not asked for twice");
}

#[tokio::test]
async fn what_may_have_happened_is_asked_for_again_with_the_same_key() {
    let node = ScriptedNode::start(|number, _| match number {
        0 => Step::Break,
        1 => Step::Stall,
        2 => problem(Reason::OutcomeUnknown, ""),
        3 => problem(Reason::InProgress, ""),
        4 => Step::Reply(502, "", "<html>Bad gateway</html>".to_owned()),
        _ => accepted(KEY),
    })
    .await;
    client(&[&node], 20_000).validate(request()).await.unwrap();
    let received = node.received();
    assert_eq!(received.len(), 6);
    assert!(received.iter().all(|request| request.body["idempotency_key"] == KEY));
}

#[tokio::test]
async fn an_unknown_outcome_is_never_told_as_unavailable() {
    let node = ScriptedNode::start(|number, _| match number {
        0 => Step::Break,
        _ => problem(Reason::NoQuorum, ""),
    })
    .await;
    let error = client(&[&node], 700).validate(request()).await.unwrap_err();
    let ClientError::OutcomeUnknown { key, last } = error else { panic!("{error:?}") };
    assert_eq!((key.as_str(), last.as_str()), (KEY, "because"));
}

#[tokio::test]
async fn a_command_that_may_have_arrived_is_sent_once() {
    for lost in 0..4 {
        let node = ScriptedNode::start(move |_, _| match lost {
            0 => Step::Break,
            1 => Step::Stall,
            2 => Step::Reply(502, "", "<html>Bad gateway</html>".to_owned()),
            _ => problem(Reason::Internal, ""),
        })
        .await;
        let (client, begin) = (client(&[&node], 900), Instant::now());
        let error = client.command::<Value>("/admin/actors/replica/restart").await.unwrap_err();
        assert!(matches!(&error, ClientError::Unconfirmed(_)), "{lost}: {error:?}");
        assert!(error.to_string().starts_with("the command was sent, and how it ended is not known: "), "{error}");
        let received = node.received();
        assert_eq!(received.len(), 1, "{lost}");
        assert!(received[0].head.starts_with("post /admin/actors/replica/restart "), "{}", received[0].head);
        // A restart may take longer than an attempt of a read.
        assert!(lost != 1 || begin.elapsed() >= Duration::from_millis(850), "{:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_command_of_which_nothing_came_is_sent_again() {
    let node = ScriptedNode::start(|number, _| match number {
        0 => problem(Reason::Restarting, ""),
        _ => Step::Reply(200, "", r#"{"name": "core/replica", "status": "restarted"}"#.to_owned()),
    })
    .await;
    let answer: Value = client(&[&node], 20_000).command("/admin/actors/replica/restart").await.unwrap();
    assert_eq!((answer["status"].as_str(), node.received().len()), (Some("restarted"), 2));
    let unreachable = client_of(vec![nobody().await], 300).command::<Value>("/admin/x").await.unwrap_err();
    assert!(matches!(unreachable, ClientError::Unreachable(_)), "{unreachable:?}");
}

#[tokio::test]
async fn a_page_is_asked_for_by_what_the_page_before_named() {
    let node =
        ScriptedNode::start(|_, _| Step::Reply(200, "", r#"{"blocks": [], "logs": [], "next": null}"#.into())).await;
    let client = client(&[&node], 20_000);
    client.blocks(Some(dtvn_messages::Height(7)), Some(2)).await.unwrap();
    client.consensus_logs(Some(dtvn_messages::Height(7)), None).await.unwrap();
    let heads: Vec<String> = node.received().iter().map(|request| request.head.clone()).collect();
    assert!(heads[0].starts_with("get /api/v1/blocks?after=7&limit=2 "), "{}", heads[0]);
    assert!(heads[1].starts_with("get /api/v1/consensus/logs?after=7 "), "{}", heads[1]);
}

#[tokio::test]
async fn a_node_without_a_vote_is_passed_over() {
    let observer = ScriptedNode::start(|_, _| problem(Reason::NotPermitted, "")).await;
    let node = ScriptedNode::start(|_, _| accepted(KEY)).await;
    client(&[&observer, &node], 20_000).validate(request()).await.unwrap();
    let other = ScriptedNode::start(|_, _| problem(Reason::NotPermitted, "")).await;
    let error = client(&[&observer, &other], 20_000).validate(request()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(problem) if problem.reason == Reason::NotPermitted), "{error:?}");
}

#[tokio::test]
async fn what_a_node_refuses_by_itself_says_nothing_of_an_attempt_at_another_one() {
    for reason in [Reason::Unauthenticated, Reason::NotPermitted] {
        let lost = ScriptedNode::start(|number, _| match number {
            0 => Step::Break,
            _ => problem(Reason::NotPermitted, ""),
        })
        .await;
        let strict = ScriptedNode::start(move |_, _| problem(reason, "")).await;
        let error = client(&[&lost, &strict], 20_000).validate(request()).await.unwrap_err();
        assert!(matches!(&error, ClientError::OutcomeUnknown { key, .. } if key.as_str() == KEY), "{error:?}");
    }
    // What the network decided is decided, whatever came before.
    let lost = ScriptedNode::start(|_, _| Step::Break).await;
    let decided = Problem { index: Some(7), ..Problem::new(Reason::AlreadyConsumed, "because") };
    let body = serde_json::to_string(&decided).unwrap();
    let node = ScriptedNode::start(move |_, _| Step::Reply(409, "", body.clone())).await;
    let error = client(&[&lost, &node], 20_000).validate(request()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(problem) if problem.index == Some(7)), "{error:?}");
}

#[tokio::test]
async fn what_nobody_took_in_is_told_as_unavailable() {
    let node = ScriptedNode::start(|_, _| problem(Reason::NoQuorum, "")).await;
    let error = client(&[&node], 500).validate(request()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unavailable(problem) if problem.reason == Reason::NoQuorum), "{error:?}");
    assert!(node.received().len() > 1);
}

#[tokio::test]
async fn nobody_there_is_told_as_unreachable_within_the_deadline() {
    let begin = Instant::now();
    let error = client_of(vec![nobody().await, nobody().await], 600).validate(request()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn another_kind_of_server_is_told_as_such() {
    for step in [(404, "<html>Not found</html>"), (200, "{\"hello\": \"world\"}")] {
        let node = ScriptedNode::start(move |_, _| Step::Reply(step.0, "", step.1.to_owned())).await;
        let error = client(&[&node], 20_000).validate(request()).await.unwrap_err();
        assert!(matches!(error, ClientError::NotUnderstood { .. }), "{error:?}");
        assert_eq!(node.received().len(), 1);
    }
}

#[tokio::test]
async fn requests_take_turns_over_the_nodes() {
    let nodes = [
        ScriptedNode::start(|_, _| accepted(KEY)).await,
        ScriptedNode::start(|_, _| accepted(KEY)).await,
        ScriptedNode::start(|_, _| accepted(KEY)).await,
    ];
    let client = Client::new(&ClientConfig::new(nodes.iter().map(|node| node.url.clone()).collect())).unwrap();
    for _ in 0..6 {
        client.validate(request()).await.unwrap();
    }
    assert!(nodes.iter().all(|node| node.received().len() == 2));
    client.only(1).validate(request()).await.unwrap();
    client.preferring(1).validate(request()).await.unwrap();
    assert_eq!(nodes[1].received().len(), 4);
}

/// The answer to a batch: the first time only the middle one of three is decided.
fn batch_script(number: usize, body: &Value) -> Step {
    let count = body.as_array().map_or(0, Vec::len);
    let good = json!({"status": "accepted", "state": "ISSUED", "version": number, "height": 1, "index": 1,
                      "agreed_time": "2026-01-01T00:00:00.000000Z"});
    let open = |reason| serde_json::to_value(Problem::new(reason, "because")).unwrap();
    let answers = match (number, count) {
        (0, 3) => json!([open(Reason::Overloaded), good, open(Reason::OutcomeUnknown)]),
        (_, 2) => json!([good, open(Reason::AlreadyIssued)]),
        _ => json!([]),
    };
    Step::Reply(200, "", answers.to_string())
}

#[tokio::test]
async fn only_what_is_open_of_a_batch_is_asked_for_again() {
    let node = ScriptedNode::start(batch_script).await;
    let requests: Vec<_> =
        ["A", "B", "C"].iter().map(|id| OperationRequest::new(Kind::Issue, TicketId::new(id).unwrap())).collect();
    let answers = client(&[&node], 20_000).batch(requests, BatchForm::Json).await.unwrap();
    let received = node.received();
    assert_eq!(received.len(), 2);
    let ids = |request: &Received, field: &str| -> Vec<Value> {
        request.body.as_array().unwrap().iter().map(|operation| operation[field].clone()).collect()
    };
    assert_eq!(ids(&received[1], "ticket_id"), ["A", "C"]);
    let (first, second) = (ids(&received[0], "idempotency_key"), ids(&received[1], "idempotency_key"));
    assert_eq!(second, [first[0].clone(), first[2].clone()], "with the same keys");
    let versions: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            BatchAnswer::Accepted(accepted) => accepted.version.to_string(),
            BatchAnswer::Refused(problem) => problem.reason.to_string(),
        })
        .collect();
    assert_eq!(versions, ["1", "0", "already_issued"]);
}

#[tokio::test]
async fn too_few_answers_to_a_batch_are_not_understood() {
    let node = ScriptedNode::start(|_, _| Step::Reply(200, "", "[]".to_owned())).await;
    let requests = vec![OperationRequest::new(Kind::Issue, TicketId::new("A").unwrap())];
    let error = client(&[&node], 20_000).batch(requests, BatchForm::Json).await.unwrap_err();
    assert!(error.to_string().contains("0 answers to 1 operations"), "{error}");
}

#[tokio::test]
async fn not_ready_is_an_answer() {
    let node =
        ScriptedNode::start(|_, _| Step::Reply(503, "", r#"{"status":"unhealthy","reasons":["x"]}"#.to_owned())).await;
    let health = client(&[&node], 20_000).health().await.unwrap();
    assert!(!health.is_healthy());
    assert_eq!(health.reasons, ["x"]);
}

#[tokio::test]
async fn names_and_filters_are_escaped_in_paths() {
    let node = ScriptedNode::start(|_, _| problem(Reason::UnknownTicket, "")).await;
    let client = client(&[&node], 20_000);
    let event = dtvn_messages::EventId::new("Gala & Ball").unwrap();
    let error = client.ticket(&TicketId::new("A?B #1").unwrap(), Some(&event)).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::UnknownTicket));
    let head = &node.received()[0].head;
    assert!(head.starts_with("get /api/v1/tickets/a%3fb%20%231?event=gala%20%26%20ball http"), "{head}");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_an_error() {
    let longest = limits::CLIENT_ANSWER_BYTES_MAX;
    let node = ScriptedNode::start(move |number, _| Step::Reply(200, "", "x".repeat(longest + number))).await;
    let (transport, node) = (Transport::new(None), Node::new(&node.url).unwrap());
    let ask = Ask {
        method: Method::GET,
        path: PathAndQuery::from_static("/api/v1/stats"),
        media: HeaderValue::from_static("application/json"),
        body: Bytes::new(),
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    assert_eq!(transport.ask(&node, &ask, deadline).await.unwrap().body.len(), longest);
    let longer = transport.ask(&node, &ask, deadline).await.unwrap_err();
    assert!(matches!(&longer, NoReply::Lost(why) if why.contains("length limit exceeded")), "{longer:?}");
}
