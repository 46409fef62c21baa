//! Operations: what takes effect, what is refused and why, and that a key happens once.

use dtvn_client::api::{BatchAnswer, Kind, OPERATIONS_BINCODE, OperationRequest, decode_answers, encode_requests};
use dtvn_messages::TicketId;
use serde_json::{Value, json};

use crate::http::Ask;
use crate::kit::{TestNode, key};

fn on(ticket: &str) -> Value {
    json!({"ticket_id": ticket})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_goes_its_way_and_every_wrong_step_is_explained() {
    let node = TestNode::start().await;
    let post = async |kind: &str, body: Value| node.post(&format!("/api/v1/tickets{kind}"), body).await;
    let issued = post("", json!({"ticket_id": "A", "data": "x", "metadata": {"seat": "A1"}})).await.good();
    assert_eq!(issued["status"], "accepted");
    assert_eq!((&issued["ticket"]["state"], &issued["ticket"]["metadata"]["seat"]), (&json!("ISSUED"), &json!("A1")));
    let again = post("", on("A")).await;
    assert_eq!((again.status, again.reason().as_str()), (409, "already_issued"));
    let early = post("/consume", on("A")).await;
    assert_eq!((early.status, early.reason().as_str()), (409, "not_validated"));
    let scan = json!({"ticket_id": "A", "gate": "North", "device": "scanner-7"});
    assert_eq!(post("/validate", scan).await.good()["ticket"]["state"], "VALIDATED");
    let twice = post("/validate", on("A")).await;
    assert_eq!((twice.status, twice.reason().as_str()), (409, "already_validated"));
    let problem = twice.json();
    assert_eq!((&problem["first"]["gate"], &problem["first"]["device"]), (&json!("North"), &json!("scanner-7")));
    assert_eq!((&problem["retryable"], &problem["state"]), (&json!(false), &json!("VALIDATED")));
    assert_eq!(post("/consume", on("A")).await.good()["ticket"]["state"], "CONSUMED");
    assert_eq!(post("/consume", on("A")).await.reason(), "already_consumed");
    post("", on("B")).await.good();
    assert_eq!(post("/dispute", on("B")).await.reason(), "not_validated");
    post("/validate", on("B")).await.good();
    let disputed = post("/dispute", json!({"ticket_id": "B", "reason": "a copy"})).await.good();
    assert_eq!(disputed["ticket"]["disputed"]["reason"], "a copy");
    assert_eq!(post("/consume", on("B")).await.reason(), "disputed");
    let unknown = post("/validate", on("nobody")).await;
    assert_eq!((unknown.status, unknown.reason().as_str()), (404, "unknown_ticket"));
    let elsewhere = post("/validate", json!({"ticket_id": "A", "event": "elsewhere"})).await;
    assert_eq!((elsewhere.status, elsewhere.reason().as_str()), (404, "unknown_event"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_read_back_at_once_and_names_its_place() {
    let node = TestNode::start().await;
    let mut line = node.line().await;
    for number in 0..50 {
        let ticket = format!("T-{number}");
        let issued = line.ask(&Ask::post("/api/v1/tickets").json(&on(&ticket))).await.good();
        let read = line.ask(&Ask::get(&format!("/api/v1/tickets/{ticket}"))).await;
        let height: u64 = read.header("dtvn-height").unwrap().parse().unwrap();
        assert!(height >= issued["height"].as_u64().unwrap());
        assert_eq!(read.good(), issued["ticket"]);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_happens_once_whether_in_header_or_body() {
    let node = TestNode::start().await;
    let ask = |ticket: &str| Ask::post("/api/v1/tickets").json(&on(ticket));
    let first = node.ask(&ask("A").header("Idempotency-Key", &key(1))).await;
    assert_eq!(first.header("idempotency-key"), Some(key(1).as_str()));
    let first = first.good();
    let again = node.post("/api/v1/tickets", json!({"ticket_id": "A", "idempotency_key": key(1)})).await.good();
    assert_eq!((&again["height"], &again["index"]), (&first["height"], &first["index"]));
    let other = node.ask(&ask("B").header("Idempotency-Key", &key(1))).await;
    assert_eq!((other.status, other.reason().as_str()), (422, "key_reused"));
    let both = json!({"ticket_id": "C", "idempotency_key": key(2)});
    let both = Ask::post("/api/v1/tickets").json(&both).header("Idempotency-Key", &key(3));
    assert_eq!(node.ask(&both).await.reason(), "malformed", "two keys that differ");
    for bad in ["short", "x y z x y z x y z \u{e9}", &"x".repeat(129)] {
        assert_eq!(node.ask(&ask("D").header("Idempotency-Key", bad)).await.reason(), "malformed", "{bad:?}");
    }
    let made_up = node.ask(&ask("E")).await;
    let made_up_key = made_up.header("idempotency-key").unwrap().to_owned();
    assert_eq!(made_up.clone().good()["idempotency_key"], made_up_key);
    let outcome = node.get(&format!("/api/v1/operations/{made_up_key}")).await.good();
    assert_eq!((&outcome["status"], &outcome["outcome"]["index"]), (&json!("accepted"), &made_up.good()["index"]));
    let unknown = node.get(&format!("/api/v1/operations/{}", key(99))).await;
    assert_eq!((unknown.status, unknown.reason().as_str()), (404, "not_found"));
    assert_eq!(node.get("/api/v1/operations/short").await.reason(), "malformed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_want_to_wait_is_told_where_to_ask() {
    let node = TestNode::start().await;
    let ask = Ask::post("/api/v1/tickets").json(&on("A")).header("Prefer", "respond-async");
    let pending = node.ask(&ask.header("Idempotency-Key", &key(1))).await;
    assert_eq!(pending.status, 202);
    let location = pending.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/operations/{}", key(1)));
    let body = pending.json();
    assert_eq!((&body["status"], &body["location"]), (&json!("pending"), &json!(location)));
    let begin = std::time::Instant::now();
    let outcome = loop {
        let answer = node.get(&location).await;
        if answer.status == 200 {
            break answer.json();
        }
        assert_eq!(answer.reason(), "not_found");
        assert!(begin.elapsed() < crate::http::PATIENCE);
    };
    assert_eq!(outcome["outcome"]["ticket_id"], "A");
    // The same key again waits for nothing, and is the same operation.
    let again = Ask::post("/api/v1/tickets").json(&on("A")).header("Idempotency-Key", &key(1));
    assert_eq!(node.ask(&again).await.good()["index"], outcome["outcome"]["index"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_another_event_is_found_where_the_answer_says() {
    let node = TestNode::start().await;
    let ask = Ask::post("/api/v1/tickets/validate").json(&json!({"ticket_id": "A", "event": "else where"}));
    let pending = node.ask(&ask.header("Prefer", "respond-async").header("Idempotency-Key", &key(1))).await;
    let location = pending.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/operations/{}?event=else%20where", key(1)));
    let begin = std::time::Instant::now();
    while node.get(&location).await.status == 404 {
        assert!(begin.elapsed() < crate::http::PATIENCE);
    }
    let told = node.get(&location).await.good();
    assert_eq!((&told["status"], &told["outcome"]["reason"]), (&json!("refused"), &json!("unknown_event")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_asked_for_again_tells_of_its_own_operation_only() {
    let node = TestNode::start().await;
    node.post("/api/v1/tickets", on("A")).await.good();
    let validate = Ask::post("/api/v1/tickets/validate").json(&on("A")).header("Idempotency-Key", &key(1));
    let first = node.ask(&validate).await.good();
    node.post("/api/v1/tickets/consume", json!({"ticket_id": "A", "data": "exit-B"})).await.good();
    assert_eq!(node.ask(&validate).await.good(), first);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_is_taken_in_also_while_others_are_being_decided() {
    let node = TestNode::start().await;
    let asks: Vec<Ask> = (0..60)
        .map(|number| {
            let ask = Ask::post("/api/v1/tickets").json(&on(&format!("T{number}")));
            ask.header("Prefer", "respond-async").header("Idempotency-Key", &key(number))
        })
        .collect();
    let answers = futures::future::join_all(asks.iter().map(|ask| node.ask(ask))).await;
    let taken: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(taken, [202; 60]);
    let begin = std::time::Instant::now();
    for number in 0..60 {
        while node.get(&format!("/api/v1/tickets/T{number}")).await.status != 200 {
            assert!(begin.elapsed() < crate::http::PATIENCE, "T{number} is promised");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeding_makes_the_tickets_once() {
    let node = TestNode::start().await;
    node.seed().await;
    let again = node.ask(&Ask::post("/api/v1/tickets/seed").json(&json!({}))).await.good();
    assert_eq!(again["seeded"], 0);
    let ticket = node.get("/api/v1/tickets/TICKET-001").await.good();
    let facts = &ticket["metadata"];
    assert_eq!((&facts["source"], &facts["section"], &facts["seat"]), (&json!("seed"), &json!("VIP"), &json!("A1")));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fast_lane_answers_each_operation_in_its_place() {
    let node = TestNode::start().await;
    let operations = json!([
        {"kind": "issue", "ticket_id": "A"},
        {"kind": "validate", "ticket_id": "A"},
        {"kind": "validate", "ticket_id": "nobody"},
        {"kind": "consume", "ticket_id": "A", "idempotency_key": key(1)},
    ]);
    let answers = node.post("/api/v1/operations", operations).await.good();
    let statuses: Vec<&Value> = answers.as_array().unwrap().iter().map(|answer| &answer["status"]).collect();
    assert_eq!(statuses, [&json!("accepted"), &json!("accepted"), &json!(404), &json!("accepted")]);
    assert_eq!((&answers[2]["reason"], &answers[3]["state"]), (&json!("unknown_ticket"), &json!("CONSUMED")));
    assert_eq!(node.post("/api/v1/operations", json!([])).await.good(), json!([]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fast_lane_speaks_bincode() {
    let node = TestNode::start().await;
    let ticket = TicketId::new("A").unwrap();
    let requests =
        [Kind::Issue, Kind::Validate, Kind::Validate].map(|kind| OperationRequest::new(kind, ticket.clone()));
    let ask = Ask::post("/api/v1/operations").bytes(OPERATIONS_BINCODE, encode_requests(&requests).unwrap());
    let answer = node.ask(&ask).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(OPERATIONS_BINCODE)));
    let answers = decode_answers(&answer.body).unwrap();
    assert!(matches!(&answers[0], BatchAnswer::Accepted(accepted) if accepted.version == 1));
    assert!(matches!(&answers[1], BatchAnswer::Accepted(accepted) if accepted.version == 2));
    assert!(matches!(&answers[2], BatchAnswer::Refused(problem) if problem.status == 409));
    let garbage = Ask::post("/api/v1/operations").bytes(OPERATIONS_BINCODE, vec![0xff; 40]);
    assert_eq!(node.ask(&garbage).await.reason(), "malformed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_one_session_from_its_first_operation_until_it_ends() {
    let node = TestNode::start().await;
    let sessions = async || {
        let tree = crate::http::Line::open(node.admin()).await.ask(&Ask::get("/admin/actors")).await.good();
        tree.to_string().matches("\"edge/session-").count()
    };
    let mut line = node.line().await;
    line.ask(&Ask::get("/api/v1/status")).await.good();
    assert_eq!(sessions().await, 0, "reading needs none");
    for ticket in ["A", "B", "C"] {
        line.ask(&Ask::post("/api/v1/tickets").json(&on(ticket))).await.good();
    }
    assert_eq!(sessions().await, 1);
    drop(line);
    let begin = std::time::Instant::now();
    while sessions().await != 0 {
        assert!(begin.elapsed() < crate::http::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_dies_costs_its_connection_nothing() {
    let node = TestNode::start().await;
    let mut line = node.line().await;
    line.ask(&Ask::post("/api/v1/tickets").json(&on("A"))).await.good();
    let tree = crate::http::Line::open(node.admin()).await.ask(&Ask::get("/admin/actors")).await.good().to_string();
    let number: String =
        tree.split("\"edge/session-").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    assert_eq!(node.admin_post(&format!("/admin/actors/edge/session-{number}/crash")).await.status, 202);
    let begin = std::time::Instant::now();
    loop {
        let answer = line.ask(&Ask::post("/api/v1/tickets").json(&on("B"))).await;
        if answer.status == 200 || answer.reason() == "already_issued" {
            break;
        }
        assert!(["restarting", "outcome_unknown"].contains(&answer.reason().as_str()), "{answer:?}");
        assert!(begin.elapsed() < crate::http::PATIENCE);
    }
    node.stop().await;
}
