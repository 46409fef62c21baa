//! Who may: each route without a key, with a wrong one, and with the right one.

use serde_json::Value;

use crate::http::{Ask, Line};
use crate::kit::{KEY, TestNode};

/// Every route of the description, as a method and a target.
async fn routes(node: &TestNode) -> Vec<(String, String)> {
    let document = node.ask(&Ask::get("/api/v1/openapi.json").header("X-API-Key", KEY)).await.good();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.replace("{id}", "default").replace("{height}", "1").replace("{key}", "0123456789abcdef");
        routes.extend(item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), target.clone())));
    }
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_the_key_but_health() {
    let node = TestNode::guarded().await;
    let routes = routes(&node).await;
    assert!(routes.len() > 25, "{routes:?}");
    for (method, target) in routes {
        let ask = || Ask::new(&method, &target);
        let is_open = target == "/health";
        let wrong = KEY.replace('c', "d");
        // `/ws` without a key is no refusal: the key may be the first message (see `events.rs`).
        let mut refused =
            vec![ask().header("X-API-Key", &wrong), ask().header("Authorization", &format!("Bearer {wrong}"))];
        if target != "/ws" {
            let basic = ask().header("Authorization", &format!("Basic {KEY}"));
            refused.extend([ask(), basic, ask().header("X-API-Key", ""), ask().header("X-API-Key", &KEY[1..])]);
        }
        for ask in refused {
            let answer = node.ask(&ask).await;
            if is_open {
                assert_eq!(answer.status, 200, "{ask:?}");
            } else {
                assert_eq!((answer.status, answer.reason().as_str()), (401, "unauthenticated"), "{ask:?}");
            }
        }
        for header in [("X-API-Key", KEY.to_owned()), ("Authorization", format!("Bearer {KEY}"))] {
            let answer = node.ask(&ask().header(header.0, &header.1)).await;
            assert_ne!(answer.status, 401, "{method} {target}");
            assert_ne!(answer.status, 405, "{method} {target}");
        }
    }
    for hidden in ["/api/v1/nothing", "/api/v1/tickets/A/nothing", "/api/v1"] {
        let answer = node.get(hidden).await;
        assert_eq!(answer.status, 401, "what is there is told to nobody without a key: {hidden}");
    }
    let wrong_method = node.ask(&Ask::new("DELETE", "/api/v1/status")).await;
    assert_eq!(wrong_method.status, 401);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_api_is_not_the_operators() {
    let node = TestNode::start_with(|config| {
        config.api.key = Some(dtvn::config::Secret::new(KEY));
        config.admin.key = Some(dtvn::config::Secret::new("another-key"));
    })
    .await;
    let ask =
        async |key: &str| Line::open(node.admin()).await.ask(&Ask::get("/admin/actors").header("X-API-Key", key)).await;
    assert_eq!(ask(KEY).await.status, 401);
    assert_eq!(ask("another-key").await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_origin_is_invited() {
    let node = TestNode::start().await;
    let answer = node.ask(&Ask::get("/api/v1/status").header("Origin", "https://evil.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let preflight = Ask::new("OPTIONS", "/api/v1/tickets").header("Origin", "https://evil.example");
    let preflight = node.ask(&preflight.header("Access-Control-Request-Method", "POST")).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, None));
    // The secret is nowhere.
    let guarded = TestNode::guarded().await;
    let config: Value = guarded.ask(&Ask::get("/api/v1/config").header("X-API-Key", KEY)).await.good();
    assert!(!config.to_string().contains(KEY));
    guarded.stop().await;
    node.stop().await;
}
