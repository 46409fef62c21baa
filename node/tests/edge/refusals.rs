//! What is not understood: each fault has its reason, in one form, and none is a fault of the node.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::http::{Ask, Line};
use crate::kit::TestNode;

const BODIES: &[&str] = &[
    "/api/v1/tickets",
    "/api/v1/tickets/validate",
    "/api/v1/tickets/consume",
    "/api/v1/tickets/dispute",
    "/api/v1/tickets/seed",
    "/api/v1/operations",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_cannot_be_done_there() {
    let node = TestNode::start().await;
    for target in
        ["/", "/api", "/api/v1", "/api/v1/", "/api/v2/status", "/api/v1/tickets/", "/api/v1/status/", "/metric"]
    {
        let answer = node.get(target).await;
        // No ticket has an empty name.
        assert!(["not_found", "malformed"].contains(&answer.reason().as_str()), "{target}: {answer:?}");
        assert!([400, 404].contains(&answer.status));
    }
    let document = node.get("/api/v1/openapi.json").await.good();
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.replace("{id}", "A").replace("{height}", "1").replace("{key}", "0123456789abcdef");
        let answer = node.ask(&Ask::new("DELETE", &target)).await;
        assert_eq!((answer.status, answer.reason().as_str()), (405, "method_not_allowed"), "{target}");
        let allowed = answer.header("allow").unwrap();
        // A ticket may be called like what is posted beside it.
        let is_name = path.strip_prefix("/api/v1/tickets/").is_some_and(|name| !name.contains(['/', '{']));
        assert_eq!(allowed.contains("GET"), item["get"].is_object() || is_name, "{target}: {allowed}");
        assert_eq!(allowed.contains("POST"), item["post"].is_object(), "{target}: {allowed}");
    }
    let redeemed = node.post("/api/v1/tickets/redeem", json!({"ticket_id": "A"})).await;
    assert_eq!((redeemed.status, redeemed.reason().as_str()), (405, "method_not_allowed"));
    let detail = redeemed.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail, "/api/v1/tickets/redeem is no operation: there are validate, consume, dispute, seed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_understood() {
    let node = TestNode::start().await;
    let deep = format!("{{\"ticket_id\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies: &[(&str, &[u8])] = &[
        ("nothing", b""),
        ("half", b"{\"ticket_id\": "),
        ("no object", b"[]"),
        ("a number", b"{\"ticket_id\": 1}"),
        ("a name that is none", b"{\"ticket_id\": \"a/b\"}"),
        ("an unknown field", b"{\"ticket_id\": \"A\", \"colour\": \"red\"}"),
        ("a field twice", b"{\"ticket_id\": \"A\", \"ticket_id\": \"B\"}"),
        ("no UTF-8", b"{\"ticket_id\": \"\xff\xfe\"}"),
        ("half a surrogate", b"{\"ticket_id\": \"\\ud800\"}"),
        ("more behind it", b"{\"ticket_id\": \"A\"} x"),
        ("too deep", deep.as_bytes()),
        ("an event that is none", b"{\"ticket_id\": \"A\", \"event\": \"a b/c\"}"),
        ("a time that is none", b"{\"ticket_id\": \"A\", \"scanned_at\": \"yesterday\"}"),
    ];
    for (what, body) in bodies {
        for kind in ["validate", "consume", "dispute"] {
            let ask = Ask::post(&format!("/api/v1/tickets/{kind}")).bytes("application/json", *body);
            let answer = node.ask(&ask).await;
            assert_eq!((answer.status, answer.reason().as_str()), (400, "malformed"), "{what}");
        }
    }
    let twice = b"{\"ticket_id\": \"A\", \"metadata\": {\"seat\": \"A1\", \"seat\": \"B2\"}}";
    let answer = node.ask(&Ask::post("/api/v1/tickets").bytes("application/json", *twice)).await;
    assert_eq!(answer.reason(), "malformed");
    assert!(answer.json()["detail"].as_str().unwrap().contains("\"seat\" comes twice"));
    let foreign = node.post("/api/v1/operations", json!([{"kind": "seed", "ticket_id": "A"}])).await;
    assert!(foreign.json()["detail"].as_str().unwrap().contains("operation 0"), "it says which one");
    assert_eq!(node.get("/api/v1/stats").await.good()["operations"], 0, "nothing of it was recorded");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_other_kinds() {
    let node = TestNode::start().await;
    for target in BODIES {
        for media_type in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "garbage"] {
            let answer = node.ask(&Ask::post(target).bytes(media_type, "{\"ticket_id\": \"A\"}")).await;
            let expected = (415, "unsupported_media_type");
            assert_eq!((answer.status, answer.reason().as_str()), expected, "{target} {media_type:?}");
        }
        let packed = Ask::post(target).bytes("application/json", "x").header("Content-Encoding", "gzip");
        assert_eq!(node.ask(&packed).await.status, 415, "{target}");
    }
    let parameters = Ask::post("/api/v1/tickets").bytes("Application/JSON; charset=utf-8", "{\"ticket_id\": \"A\"}");
    node.ask(&parameters).await.good();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_not_understood() {
    let node = TestNode::start().await;
    node.issue("A").await;
    for (target, reason) in [
        ("/api/v1/tickets?colour=red", "malformed"),
        ("/api/v1/tickets?limit=0", "malformed"),
        ("/api/v1/tickets?limit=1001", "malformed"),
        ("/api/v1/tickets?limit=many", "malformed"),
        ("/api/v1/tickets?limit=1&limit=2", "malformed"),
        ("/api/v1/tickets?state=LOST", "malformed"),
        ("/api/v1/tickets?event=", "malformed"),
        ("/api/v1/tickets?after=made-up", "bad_cursor"),
        ("/api/v1/tickets/A/history?after=made-up", "bad_cursor"),
        ("/api/v1/tickets/A?event=a/b", "malformed"),
        ("/api/v1/tickets/a%2Fb", "malformed"),
        ("/api/v1/tickets/..%2F..%2Fstatus", "malformed"),
        ("/api/v1/tickets/%2e%2e%2f%2e%2e%2fetc", "malformed"),
        ("/api/v1/tickets/a%00b", "malformed"),
        ("/api/v1/tickets/a%0Ab", "malformed"),
        ("/api/v1/tickets/a%5Cb", "malformed"),
        ("/api/v1/tickets/%FF", "malformed"),
        ("/api/v1/tickets/B", "unknown_ticket"),
        ("/api/v1/tickets/A?event=elsewhere", "unknown_ticket"),
        ("/api/v1/events/elsewhere", "unknown_event"),
        ("/api/v1/events/a%2Fb", "malformed"),
        ("/api/v1/blocks/last", "malformed"),
        ("/api/v1/blocks/-1", "malformed"),
        ("/api/v1/blocks/999999", "not_found"),
        ("/api/v1/sequence?height=999999", "not_found"),
        ("/api/v1/sequence?height=18446744073709551616", "malformed"),
    ] {
        assert_eq!(node.get(target).await.reason(), reason, "{target}");
    }
    let long = node.get(&format!("/api/v1/tickets/{}", "x".repeat(129))).await;
    assert_eq!(long.reason(), "malformed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_bytes_come_the_node_is_not_at_fault() {
    let node = TestNode::start().await;
    let address = node.api();
    let property = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let body = prop_oneof![
            vec(any::<u8>(), 0..200),
            // Nearly right.
            "\\{\"ticket_id\": ?\"[A-Za-z/\\\\ ]{0,4}\"(, ?\"(event|data|gate|seen|kind|reason)\": ?[\"0-9a-z{}\\[\\]]{0,8})?\\}?"
                .prop_map(String::into_bytes),
            "\\[\\{\"kind\": ?\"(issue|seed|validate|x)\"(, ?\"ticket_id\": ?\"A?\")?\\}\\]".prop_map(String::into_bytes),
        ];
        let media_type = prop_oneof![Just("application/json"), Just("application/vnd.dtvn.operations+bincode")];
        let mut runner = TestRunner::new(Config { cases: 1_500, ..Config::default() });
        let result = runner.run(&(0..BODIES.len(), media_type, body), |(target, media_type, body)| {
            let answer = runtime.block_on(async {
                Line::open(address).await.ask(&Ask::post(BODIES[target]).bytes(media_type, body)).await
            });
            prop_assert!(answer.status < 500, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            if answer.status >= 400 {
                answer.reason();
            }
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{error}"));
    });
    property.await.unwrap();
    node.stop().await;
}
