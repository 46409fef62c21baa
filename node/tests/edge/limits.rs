//! Bounds: sizes, times, rates, and connections that are kept.

use serde_json::{Value, json};

use crate::http::Ask;
use crate::kit::{KEY, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_hung_up_on() {
    let node = TestNode::start().await;
    let long = json!({"ticket_id": "A", "data": "x".repeat(70 * 1024)});
    let answer = node.post("/api/v1/tickets", long).await;
    assert_eq!((answer.status, answer.reason().as_str()), (413, "too_large"));
    let data = node.post("/api/v1/tickets", json!({"ticket_id": "A", "data": "x".repeat(20 * 1024)})).await;
    assert_eq!((data.status, data.reason().as_str()), (413, "too_large"), "of one field");
    let operation = json!({"kind": "validate", "ticket_id": "A"});
    let many = node.post("/api/v1/operations", Value::Array(vec![operation; 1_001])).await;
    assert_eq!((many.status, many.reason().as_str()), (413, "too_large"));
    // Announced, never sent.
    let mut line = node.line().await;
    line.send(b"POST /api/v1/operations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n")
        .await;
    assert_eq!(line.answer(false).await.unwrap().reason(), "too_large");
    assert!(line.is_closed().await);
    // Not announced, sent in chunks without end.
    let mut line = node.line().await;
    line.send(b"POST /api/v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..5 {
        line.send(chunk.as_bytes()).await;
    }
    assert_eq!(line.answer(false).await.unwrap().reason(), "too_large");
    node.get("/health").await.good();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_is_cut_off() {
    let node = TestNode::start().await;
    let mut line = node.line().await;
    line.send(
        b"POST /api/v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
    )
    .await;
    let answer = loop {
        tokio::select! {
            answer = line.answer(false) => break answer.unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
        }
        line.send(b"{").await;
    };
    assert_eq!((answer.status, answer.reason().as_str()), (408, "request_timeout"));
    assert!(line.is_closed().await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_is_cut_off() {
    let node = TestNode::start().await;
    let mut line = node.line().await;
    line.send(b"GET /health HTTP/1.1\r\nHost:").await;
    let answer = tokio::time::timeout(crate::http::PATIENCE, line.answer(false)).await.unwrap();
    assert!(answer.is_none_or(|answer| answer.status == 408));
    assert!(line.is_closed().await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_requests_also_pipelined() {
    let node = TestNode::start().await;
    let mut line = node.line().await;
    for _ in 0..500 {
        line.ask(&Ask::get("/api/v1/status")).await.good();
    }
    let refused = line.ask(&Ask::post("/api/v1/tickets").bytes("application/json", "{")).await;
    assert_eq!(refused.reason(), "malformed");
    let mut bytes = Vec::new();
    for number in 0..20 {
        bytes.extend(Ask::post("/api/v1/tickets").json(&json!({"ticket_id": format!("T-{number}")})).to_bytes());
    }
    line.send(&bytes).await;
    for number in 0..20 {
        let answer = line.answer(false).await.unwrap().good();
        assert_eq!(answer["ticket"]["id"], format!("T-{number}"), "in order");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let node = TestNode::start_with(|config| config.api.rate_per_address = 5).await;
    let mut line = node.line().await;
    let mut limited = None;
    for _ in 0..100 {
        let answer = line.ask(&Ask::get("/api/v1/status")).await;
        if answer.status != 200 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("nobody was limited");
    assert_eq!((limited.status, limited.reason().as_str()), (429, "rate_limited"));
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert_eq!(limited.header("ratelimit-policy"), Some("\"address\";q=5;w=1"));
    assert_eq!(limited.header("ratelimit"), Some("\"address\";r=0;t=1"));
    let problem = limited.json();
    assert_eq!((&problem["retryable"], &problem["retry_after_seconds"]), (&json!(true), &json!(1)));
    assert_eq!(line.ask(&Ask::get("/health")).await.status, 200, "health is not counted");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(line.ask(&Ask::get("/api/v1/status")).await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_its_own_count() {
    let node = TestNode::start_with(|config| {
        config.api.key = Some(dtvn::config::Secret::new(KEY));
        config.api.rate_per_key = 5;
    })
    .await;
    let mut line = node.line().await;
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(line.ask(&Ask::get("/api/v1/status").header("X-API-Key", KEY)).await.status);
    }
    assert!(statuses.contains(&429) && statuses[..5] == [200; 5], "{statuses:?}");
    let wrong = line.ask(&Ask::get("/api/v1/status").header("X-API-Key", "wrong")).await;
    assert_eq!(wrong.status, 401, "a wrong key counts for nobody");
    node.stop().await;
}
