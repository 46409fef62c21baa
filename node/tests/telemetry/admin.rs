//! The admin listener: restarts seen from outside, the level of the logs, and who may.

use std::net::SocketAddr;

use dtvn::config::Secret;

use crate::kit::{Alone, ask, get, logged, post, sample, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_crash_of_an_actor_shows_in_the_metrics_and_in_the_log() {
    let alone = Alone::start(|_| {}).await;
    alone.until_ready().await;
    let restarts =
        |actor: &str, reason: &str| format!("dtvn_actor_restarts_total{{actor=\"{actor}\",reason=\"{reason}\"}}");
    let answer = post(alone.admin, "/admin/actors/core%2Fstate_machine/crash", "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    until("the restart", async || {
        let metrics = alone.metrics().await;
        let failed = sample(&metrics, &restarts("core/state_machine", "failed")) == Some(1.0);
        failed && sample(&metrics, &restarts("core/replica", "neighbour")) == Some(1.0)
    })
    .await;
    let metrics = alone.metrics().await;
    assert_eq!(sample(&metrics, &restarts("core/storage", "failed")), Some(0.0), "it stands before it");
    let line = "An actor is being started again.";
    let is_told = |line: &str| line.contains("core/state_machine") && line.contains("crashed on purpose");
    assert!(logged().lines().filter(|said| said.contains(line)).any(is_told));
    until("a restart by the operator", async || {
        // What depends on the core may be starting again just now.
        let answer = post(alone.admin, "/admin/actors/edge%2Fintake/restart", "").await;
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answer.status == 200
    })
    .await;
    assert_eq!(sample(&alone.metrics().await, &restarts("edge/intake", "requested")), Some(1.0));
    alone.until_ready().await;
    alone.scan_twice("T-1").await;
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_listener_may_crash_and_the_admin_listener_still_answers() {
    let alone = Alone::start(|_| {}).await;
    assert_eq!(post(alone.admin, "/admin/actors/edge%2Fhttp/crash", "").await.status, 202);
    until("its restart", async || {
        let node = get(alone.admin, "/admin/actors/edge%2Fhttp").await;
        node.status == 200 && node.json()["restarts"] == 1 && node.json()["status"] == "running"
    })
    .await;
    assert_eq!(get(alone.api, "/metrics").await.status, 200, "on the same port as before");
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_of_the_logs_can_be_changed_while_the_node_runs() {
    let alone = Alone::start(|_| {}).await;
    let put = async |body: &str| {
        ask(alone.admin, "PUT", "/admin/log-level", &[("Content-Type", "application/json")], body).await
    };
    let whisper = |words: &str| tracing::debug!(target: "whisper", "{words}");
    assert_eq!(get(alone.admin, "/admin/log-level").await.json()["level"], "info");
    whisper("before the change");
    let answer = put(r#"{"level":"info,whisper=debug"}"#).await;
    assert_eq!((answer.status, answer.json()["level"].as_str()), (200, Some("info,whisper=debug")));
    whisper("after the change");
    assert_eq!(get(alone.admin, "/admin/log-level").await.json()["level"], "info,whisper=debug");
    for (body, status) in [(r#"{"level":"loud"}"#, 400), (r#"{"volume":"info"}"#, 400), ("debug", 400)] {
        let answer = put(body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["reason"], "malformed");
    }
    assert_eq!(put(r#"{"level":"info"}"#).await.status, 200);
    whisper("back again");
    let logged = logged();
    assert!(!logged.contains("before the change") && !logged.contains("back again"));
    assert!(logged.contains("after the change") && logged.contains("The log level was changed."));
    let every_line_is_json = logged.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert!(every_line_is_json);
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_listener_asks_for_its_own_key_and_health_for_none() {
    let alone = Alone::start(|config| {
        config.api.key = Some(Secret::new("for the public"));
        config.admin.key = Some(Secret::new("for the operator"));
    })
    .await;
    let status = async |to: SocketAddr, (method, path): (&str, &str), key: &str| {
        let bearer = format!("Bearer {key}");
        let headers: &[_] = match key {
            "" => &[("Content-Type", "application/json")],
            _ => &[("Content-Type", "application/json"), ("Authorization", bearer.as_str())],
        };
        ask(to, method, path, headers, r#"{"level":"info"}"#).await.status
    };
    let of_admin = [
        ("GET", "/metrics"),
        ("GET", "/admin/actors"),
        ("GET", "/admin/actors/core%2Freplica"),
        ("POST", "/admin/actors/edge%2Fintake/restart"),
        ("POST", "/admin/actors/edge%2Fintake/crash"),
        ("GET", "/admin/log-level"),
        ("PUT", "/admin/log-level"),
    ];
    for route in of_admin {
        for wrong in ["", "for the public", "for the operato"] {
            assert_eq!(status(alone.admin, route, wrong).await, 401, "{route:?} with {wrong:?}");
        }
        assert!(status(alone.admin, route, "for the operator").await < 300, "{route:?}");
    }
    assert_eq!(status(alone.api, ("GET", "/metrics"), "").await, 401);
    assert_eq!(status(alone.api, ("GET", "/metrics"), "for the operator").await, 401);
    assert_eq!(status(alone.api, ("GET", "/metrics"), "for the public").await, 200);
    for (listener, path) in [(alone.admin, "/health/live"), (alone.admin, "/health/ready"), (alone.api, "/health")] {
        assert_ne!(status(listener, ("GET", path), "").await, 401, "{path}");
    }
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_are_refused_where_faults_may_not_be_injected() {
    let alone = Alone::start(|config| config.development.fault_injection = false).await;
    let answer = post(alone.admin, "/admin/actors/edge%2Fintake/crash", "").await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (403, Some("not_permitted")));
    assert_eq!(get(alone.admin, "/admin/actors/nobody").await.status, 404);
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_look_and_change_nothing() {
    let alone = Alone::start(|_| {}).await;
    let from = async |origin: &str, method: &str, to: SocketAddr, path: &str| {
        ask(to, method, path, &[("Origin", origin), ("Content-Type", "application/json")], "{}").await.status
    };
    let restart = "/admin/actors/edge%2Fintake/restart";
    assert_eq!(from("https://evil.example", "POST", alone.admin, restart).await, 403);
    assert_eq!(from("https://evil.example", "GET", alone.admin, "/admin/actors").await, 200);
    assert_eq!(from("https://evil.example", "POST", alone.api, "/api/v1/tickets/seed").await, 403);
    assert_ne!(from("http://localhost:3000", "POST", alone.admin, restart).await, 403);
    alone.stop().await;
}
