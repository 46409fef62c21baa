//! Reading: each route's answer has what api.md promises.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::http::Ask;
use crate::kit::TestNode;

/// What the description says that an object must have.
fn required(document: &Value, path: &str) -> Vec<String> {
    let content = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    let Some(name) = content["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/")) else {
        return Vec::new();
    };
    let required = document["components"]["schemas"][name]["required"].as_array().cloned().unwrap_or_default();
    required.iter().map(|field| field.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_is_read_answers_as_it_is_described() {
    let node = TestNode::start().await;
    node.seed().await;
    let issued = node.issue("A").await;
    let document = node.get("/api/v1/openapi.json").await.good();
    let mut line = node.line().await;
    for (path, item) in document["paths"].as_object().unwrap() {
        if item["get"].is_null() || ["/ws", "/metrics"].contains(&path.as_str()) {
            continue;
        }
        let key = issued["idempotency_key"].as_str().unwrap();
        let target = match path.as_str() {
            "/api/v1/events/{id}" => "/api/v1/events/default".to_owned(),
            path => {
                path.replace("{id}", "A").replace("{height}", "1").replace("{key}", key).replace("{path}", "0/000.p/1")
            }
        };
        let answer = line.ask(&Ask::get(&target)).await;
        let content = item["get"]["responses"]["200"]["content"].as_object().unwrap();
        let described = content.keys().next().unwrap();
        let media_type = answer.header("content-type").unwrap();
        assert_eq!((answer.status, media_type.split(';').next()), (200, Some(described.as_str())), "{target}");
        let head = line.ask(&Ask::new("HEAD", &target)).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        if described != "application/json" {
            continue;
        }
        let body = answer.json();
        for field in required(&document, path) {
            assert!(body.get(&field).is_some(), "{target} lacks {field}: {body}");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_of_itself_what_the_original_told() {
    let node = TestNode::start().await;
    node.seed().await;
    let get = async |path: &str| node.get(&format!("/api/v1/{path}")).await.good();
    let status = get("status").await;
    assert_eq!((&status["status"], &status["ws_clients"]), (&json!("running"), &json!(0)));
    let stats = get("stats").await;
    assert_eq!(
        (&stats["node_id"], &stats["is_primary"], &stats["peer_count"]),
        (&json!("node0"), &json!(true), &json!(0))
    );
    assert_eq!((&stats["tickets"], &stats["operations"]), (&json!(500), &json!(1)));
    let config = get("config").await;
    assert_eq!(
        (&config["total_nodes"], &config["quorum"], &config["fault_tolerance"]),
        (&json!(1), &json!(1), &json!(0))
    );
    let crypto = get("node/crypto").await;
    assert_eq!(crypto["peer_id"], "12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C");
    let storage = get("storage/entries").await;
    assert_eq!((&storage["total_tickets"], &storage["ticket_states"]["ISSUED"]), (&json!(500), &json!(500)));
    let events = get("events").await;
    assert_eq!(events["events"].as_array().unwrap().len(), 1);
    assert_eq!(events["events"][0]["tickets"], 500);
    assert_eq!(get("events/default").await, events["events"][0]);
    assert_eq!(get("validators").await["validators"][0]["node_id"], "node0");
    let height = stats["sequence"].as_u64().unwrap();
    let (sequence, block) = (get(&format!("sequence?height={height}")).await, get(&format!("blocks/{height}")).await);
    assert_eq!(sequence["digest"], block["digest"]);
    let logs = get("consensus/logs").await;
    assert_eq!(logs["logs"][0]["signers"], json!(["node0"]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_paged_without_loss_and_filtered() {
    let node = TestNode::start().await;
    node.seed().await;
    node.post("/api/v1/tickets/validate", json!({"ticket_id": "TICKET-007"})).await.good();
    let (mut seen, mut after) = (BTreeSet::new(), String::new());
    loop {
        let page = node.get(&format!("/api/v1/tickets?limit=77{after}")).await.good();
        let tickets = page["tickets"].as_array().unwrap();
        assert!(tickets.len() <= 77);
        for ticket in tickets {
            assert!(seen.insert(ticket["id"].as_str().unwrap().to_owned()), "{ticket} comes twice");
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen.len(), 500);
    let validated = node.get("/api/v1/tickets?state=VALIDATED&event=default").await.good();
    assert_eq!(validated["tickets"].as_array().unwrap().len(), 1);
    assert_eq!(validated["tickets"][0]["id"], "TICKET-007");
    let history = node.get("/api/v1/tickets/TICKET-007/history").await.good();
    let kinds: Vec<&Value> = history["history"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, [&json!("seed"), &json!("validate")]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_may_be_called_like_what_is_asked_of_tickets() {
    let node = TestNode::start().await;
    for name in ["validate", "consume", "dispute", "seed"] {
        assert_eq!(node.get(&format!("/api/v1/tickets/{name}")).await.reason(), "unknown_ticket");
        node.issue(name).await;
        let ticket = node.get(&format!("/api/v1/tickets/{name}")).await.good();
        assert_eq!((&ticket["id"], &ticket["state"]), (&json!(name), &json!("ISSUED")));
        let history = node.get(&format!("/api/v1/tickets/{name}/history")).await.good();
        assert_eq!((history["history"].as_array().unwrap().len(), &history["complete_from"]), (1, &json!(0)));
    }
    node.post("/api/v1/tickets/validate", json!({"ticket_id": "consume"})).await.good();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_odd_characters_are_found_under_their_escapes() {
    let node = TestNode::start().await;
    for (name, escaped) in [
        ("a b", "a%20b"),
        ("50%", "50%25"),
        ("q?x=1#y", "q%3Fx=1%23y"),
        ("\u{e4}\u{1f39f}", "%C3%A4%F0%9F%8E%9F"),
        ("..", "%2E%2E"),
        ("a+b", "a+b"),
        ("%2F", "%252F"),
    ] {
        node.issue(name).await;
        let found = node.get(&format!("/api/v1/tickets/{escaped}")).await.good();
        assert_eq!(found["id"], name, "{escaped}");
        let history = node.get(&format!("/api/v1/tickets/{escaped}/history")).await.good();
        assert_eq!(history["history"].as_array().unwrap().len(), 1, "{escaped}");
    }
    node.stop().await;
}
