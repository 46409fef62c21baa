//! Load runs against a small ledger behind HTTP: what they send, and what they report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::ClientConfig;

/// Tickets by name: how far each is in its life. A step out of order is refused.
type Ledger = Arc<Mutex<BTreeMap<String, usize>>>;

const STEPS: [&str; 3] = ["issue", "validate", "consume"];

async fn start(ledger: Ledger, delay: Duration) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&ledger), delay));
        }
    });
    Client::new(&ClientConfig::new(vec![url])).unwrap()
}

async fn serve(mut stream: TcpStream, ledger: Ledger, delay: Duration) {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let total = end + 4 + length.trim().parse::<usize>().unwrap();
        while bytes.len() < total {
            stream.read_buf(&mut bytes).await.unwrap();
        }
        let body: Value = serde_json::from_slice(&bytes[end + 4..total]).unwrap();
        bytes.drain(..total);
        tokio::time::sleep(delay).await;
        let (status, answer) = answer(&ledger, head.split(' ').nth(1).unwrap(), &body);
        let text = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", text.len());
        stream.write_all((head + &text).as_bytes()).await.unwrap();
    }
}

fn answer(ledger: &Ledger, path: &str, body: &Value) -> (u16, Value) {
    match path.strip_prefix("/api/v1/tickets").map(|rest| rest.trim_start_matches('/')) {
        Some("") => one(ledger, "issue", body, true),
        Some(step) => one(ledger, step, body, true),
        None => {
            let operations = body.as_array().unwrap().iter();
            let answers = operations.map(|item| one(ledger, item["kind"].as_str().unwrap(), item, false).1);
            (200, answers.collect())
        }
    }
}

fn one(ledger: &Ledger, step: &str, body: &Value, with_ticket: bool) -> (u16, Value) {
    let id = body["ticket_id"].as_str().unwrap().to_owned();
    assert!(body["idempotency_key"].as_str().unwrap().starts_with(&id));
    let mut ledger = ledger.lock().unwrap();
    let done = ledger.entry(id.clone()).or_insert(0);
    if STEPS.get(*done) != Some(&step) {
        let problem = crate::api::Problem::new(dtvn_messages::Reason::NotValidated, "out of order");
        return (409, serde_json::to_value(problem).unwrap());
    }
    *done += 1;
    let mut answer = json!({"status": "accepted", "height": 1, "index": 1, "version": *done,
                            "agreed_time": "2026-01-01T00:00:00Z", "idempotency_key": "0123456789abcdef"});
    if with_ticket {
        answer["ticket"] = json!({
            "event": "default", "id": id, "state": "ISSUED", "data": null, "metadata": {}, "valid_from": null,
            "valid_until": null, "version": 1, "vector_clock": {}, "validator_id": "node0", "timestamp": 0,
            "validated": null, "consumed": null, "disputed": null,
        });
    }
    (200, answer)
}

async fn run(ledger: &Ledger, delay_ms: u64, plan: LoadPlan) -> LoadReport {
    let client = start(Arc::clone(ledger), Duration::from_millis(delay_ms)).await;
    let load = Load::new(client, plan).unwrap();
    load.prepare().await.unwrap();
    load.run(|_| ()).await
}

#[tokio::test]
async fn a_run_of_so_many_requests_sends_so_many() {
    let ledger = Ledger::default();
    let report = run(&ledger, 0, LoadPlan::of_requests(100, 9)).await;
    assert_eq!((report.accepted, report.failed, report.requests), (100, 0, 100));
    let steps: usize = ledger.lock().unwrap().values().sum();
    assert_eq!(steps, 100);
}

#[tokio::test]
async fn a_batch_counts_each_operation() {
    let ledger = Ledger::default();
    let plan = LoadPlan { lane: Lane::Batch { size: 10, bincode: false }, ..LoadPlan::of_requests(6, 1) };
    let report = run(&ledger, 0, plan).await;
    assert_eq!((report.accepted, report.requests), (60, 6));
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.len(), 20, "two batches of tickets");
    assert!(ledger.values().all(|steps| *steps == 3), "each through its whole life");
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let ledger = Ledger::default();
    let plan = LoadPlan { workload: Workload::Validate, ..LoadPlan::of_requests(5, 1) };
    let client = start(Arc::clone(&ledger), Duration::ZERO).await;
    // Nothing was issued beforehand.
    let report = Load::new(client, LoadPlan { tickets: 5, ..plan }).unwrap().run(|_| ()).await;
    assert_eq!((report.accepted, report.failed), (0, 5));
    assert_eq!(report.errors, BTreeMap::from([("not_validated".to_owned(), 5)]));
}

#[tokio::test]
async fn an_open_loop_charges_a_stall_to_all_that_it_held_up() {
    // 20 arrivals, 10 ms apart, and one connection that takes 50 ms for each: the last one, due at 190 ms, is answered
    // at 1,000 ms. A closed loop would report 50 ms for every one.
    let plan = LoadPlan {
        workload: Workload::Issue,
        pace: Pace::Open { per_second: 100.0, in_flight_max: 1 },
        ..LoadPlan::of_requests(20, 1)
    };
    let report = run(&Ledger::default(), 50, plan).await;
    assert_eq!(report.accepted, 20);
    assert!(report.latency_us.max >= 750_000, "{report:?}");
    assert!(report.latency_us.p50 >= 300_000, "{report:?}");
}

#[tokio::test]
async fn a_run_ends_with_its_time_or_its_tickets() {
    let timed = LoadPlan { until: Until::Milliseconds(150), ..LoadPlan::of_requests(0, 2) };
    let report = run(&Ledger::default(), 1, timed).await;
    assert!(report.accepted > 0 && report.elapsed_ms >= 150, "{report:?}");
    let few = LoadPlan {
        workload: Workload::Validate,
        until: Until::Milliseconds(60_000),
        tickets: 7,
        lane: Lane::Single,
        pace: Pace::Closed { concurrency: 3 },
    };
    let ledger = Ledger::default();
    let client = start(Arc::clone(&ledger), Duration::ZERO).await;
    let load = Load::new(client, few).unwrap();
    for number in 0..7 {
        ledger.lock().unwrap().insert(format!("{}-{number}", load.run), 1);
    }
    let report = load.run(|_| ()).await;
    assert_eq!((report.accepted, report.failed), (7, 0));
}

#[tokio::test]
async fn impossible_plans_are_refused() {
    let client = |nodes| Client::new(&ClientConfig::new(vec!["http://127.0.0.1:1".to_owned(); nodes])).unwrap();
    let plan = LoadPlan::of_requests(1, 1);
    let at_once = |concurrency| LoadPlan { pace: Pace::Closed { concurrency }, ..plan.clone() };
    for (nodes, most) in
        [(1, limits::API_CONNECTIONS_PER_CLIENT_MAX), (2, limits::LOAD_WORKERS_MAX), (4, limits::LOAD_WORKERS_MAX)]
    {
        assert!(Load::new(client(nodes), at_once(most)).is_ok());
        assert!(matches!(Load::new(client(nodes), at_once(most + 1)), Err(ClientError::Usage(_))));
    }
    let open = |per_second| Pace::Open { per_second, in_flight_max: 1 };
    for wrong in [
        LoadPlan { pace: Pace::Closed { concurrency: 1_000_000 }, ..plan.clone() },
        LoadPlan { pace: open(0.0), ..plan.clone() },
        LoadPlan { pace: open(f64::NAN), ..plan.clone() },
        LoadPlan { lane: Lane::Batch { size: 0, bincode: true }, ..plan.clone() },
        LoadPlan { lane: Lane::Batch { size: 1_001, bincode: true }, ..plan },
    ] {
        assert!(matches!(Load::new(client(1), wrong), Err(ClientError::Usage(_))));
    }
}
