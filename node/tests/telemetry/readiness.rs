//! Ready and live, as the listeners say.

use crate::kit::{Alone, get, post, sample, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_works_is_ready_and_live() {
    let alone = Alone::start(|_| {}).await;
    alone.until_ready().await;
    for (listener, path) in [(alone.admin, "/health/live"), (alone.admin, "/health/ready"), (alone.api, "/health")] {
        let answer = get(listener, path).await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("healthy")), "{path}");
    }
    let metrics = get(alone.admin, "/metrics").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_nearly_full_does_not_vote_and_says_so() {
    let alone = Alone::start(|config| config.node.min_free_disk_mib = u64::MAX / (1024 * 1024)).await;
    let answer = get(alone.api, "/health").await;
    assert_eq!(answer.status, 503);
    let reasons = answer.json()["reasons"].to_string();
    assert!(reasons.contains("its disk is nearly full") && reasons.contains("MiB free"), "{reasons}");
    assert_eq!(get(alone.admin, "/health/live").await.status, 200, "it lives");
    let status = get(alone.api, "/api/v1/status").await.json();
    assert_eq!(
        (status["voting"].as_bool(), status["not_voting_because"].as_str()),
        (Some(false), Some("its disk is nearly full"))
    );
    until("the refusal", async || {
        let answer = post(alone.api, "/api/v1/tickets", r#"{"ticket_id":"T-1"}"#).await;
        answer.status == 503 && answer.json()["retryable"] == true
    })
    .await;
    let metrics = alone.metrics().await;
    assert_eq!(sample(&metrics, "dtvn_consensus_voting"), Some(0.0));
    assert_eq!(sample(&metrics, "dtvn_node_ready"), Some(0.0));
    assert!(sample(&metrics, "dtvn_disk_free_bytes") < sample(&metrics, "dtvn_disk_free_min_bytes"));
    alone.stop().await;
}
