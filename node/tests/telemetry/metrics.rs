//! `/metrics` of a node: the table both ways, and figures that move with what happens.

use std::collections::{BTreeMap, BTreeSet};

use dtvn_actors::instruments::table;

use crate::kit::{Alone, get, post, sample, until};

/// What `/metrics` says of one metric.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The metrics of a text, with the names of the labels of all their samples.
fn shown(text: &str) -> BTreeMap<String, Shown> {
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            all.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            all.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let name = base.filter(|base| all.contains_key(*base)).unwrap_or(name);
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let names = labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()));
            let of_metric = all.get_mut(name).unwrap_or_else(|| panic!("a sample without a head: {line}"));
            of_metric.labels.extend(names.filter(|label| label != "le"));
        }
    }
    all
}

fn of_the_table() -> BTreeMap<String, Shown> {
    let of_metric = |metric: &table::Metric| Shown {
        kind: metric.kind_name().to_owned(),
        help: metric.meaning.to_owned(),
        labels: metric.labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    table::ALL.iter().map(|metric| (metric.prometheus_name(), of_metric(metric))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_metrics_is_what_a_node_that_works_shows() {
    let alone = Alone::start(|_| {}).await;
    alone.until_ready().await;
    alone.scan_twice("T-1").await;
    let (table, metrics) = (of_the_table(), shown(&alone.metrics().await));
    for (name, metric) in &table {
        assert_eq!(Some(metric), metrics.get(name), "{name}: the table, and what the node shows");
    }
    let unknown: Vec<&String> = metrics.keys().filter(|name| !table.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "not in the table: {unknown:?}");
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_move_with_what_happens() {
    let alone = Alone::start(|_| {}).await;
    alone.until_ready().await;
    alone.scan_twice("T-1").await;
    let before = alone.metrics().await;
    let is = |series: &str, value: f64| assert_eq!(sample(&before, series), Some(value), "{series}");
    let operations = |rest: &str| format!("dtvn_ledger_operations_total{{{rest}}}");
    is(&operations(r#"kind="issue",reason="none",verdict="accepted""#), 1.0);
    is(&operations(r#"kind="validate",reason="none",verdict="accepted""#), 1.0);
    is(&operations(r#"kind="validate",reason="already_validated",verdict="refused""#), 1.0);
    is("dtvn_consensus_bundle_seconds_count", 3.0);
    is("dtvn_consensus_block_operations_sum", 3.0);
    is(r#"dtvn_consensus_view_changes_total{cause="no_quorum"}"#, 0.0);
    is("dtvn_consensus_voting", 1.0);
    is("dtvn_consensus_leader", 1.0);
    is("dtvn_node_ready", 1.0);
    is("dtvn_node_live", 1.0);
    is(r#"dtvn_actor_restarts_total{actor="core/replica",reason="failed"}"#, 0.0);
    is("dtvn_network_validators_connected", 0.0);
    is(r#"dtvn_http_in_flight{listener="admin"}"#, 1.0);
    let request = |status| {
        let labels = format!(r#"method="POST",route="/api/v1/tickets/validate",status="{status}""#);
        format!("dtvn_http_request_seconds_count{{{labels}}}")
    };
    is(&request(200), 1.0);
    is(&request(409), 1.0);
    let above = |series: &str, least: f64| {
        let value = sample(&before, series).unwrap_or_else(|| panic!("no {series}"));
        assert!(value > least, "{series} is {value}");
    };
    above("dtvn_storage_sync_seconds_count", 2.0);
    above("dtvn_storage_sync_size_bytes_sum", 300.0);
    above(r#"dtvn_consensus_phase_seconds_count{phase="whole"}"#, 2.0);
    above(r#"dtvn_consensus_height{stage="committed"}"#, 2.0);
    above("dtvn_consensus_last_commit_seconds", 1.5e9);
    above(r#"dtvn_actor_messages_total{actor="core/replica"}"#, 5.0);
    above(r#"dtvn_actor_mailbox_bound{actor="core/replica"}"#, 1_000.0);
    above("process_resident_memory_bytes", 1e6);
    alone.scan_twice("T-2").await;
    until("the store applies it", async || {
        sample(&alone.metrics().await, r#"dtvn_ledger_tickets{state="VALIDATED"}"#) == Some(2.0)
    })
    .await;
    let after = alone.metrics().await;
    for series in ["dtvn_consensus_height{stage=\"committed\"}", "dtvn_storage_sync_records_sum", &request(409)] {
        assert!(sample(&after, series) > sample(&before, series), "{series}");
    }
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_takes_shares_one_label_and_templates_stand_for_paths() {
    let alone = Alone::start(|_| {}).await;
    for path in ["/api/v1/tickets/T-1", "/api/v1/tickets/T-2", "/nowhere", "/api/v1/nowhere/1"] {
        assert_eq!(get(alone.api, path).await.status, 404, "{path}");
    }
    assert_eq!(post(alone.api, "/api/v1/status", "{}").await.status, 405);
    let metrics = alone.metrics().await;
    let count = |route: &str, method: &str, status: u16| {
        let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
        sample(&metrics, &format!("dtvn_http_request_seconds_count{{{labels}}}"))
    };
    assert_eq!(count("/api/v1/tickets/{id}", "GET", 404), Some(2.0));
    assert_eq!(count("none", "GET", 404), Some(2.0));
    assert_eq!(count("/api/v1/status", "POST", 405), Some(1.0));
    assert!(!metrics.contains("T-1") && !metrics.contains("nowhere"));
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_in_one_process_count_for_themselves() {
    let (first, second) = (Alone::start(|_| {}).await, Alone::start(|_| {}).await);
    first.until_ready().await;
    first.scan_twice("T-1").await;
    let series = r#"dtvn_ledger_operations_total{kind="issue",reason="none",verdict="accepted"}"#;
    assert_eq!(sample(&first.metrics().await, series), Some(1.0));
    assert_eq!(sample(&second.metrics().await, series), None);
    first.stop().await;
    second.stop().await;
}
