//! What the README of the original DTVN tells its users to type, typed: its programs' names, its flags, its curl calls.
//! Only the ports are others, so that several tests can run on one machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{PATIENCE, until};

/// The peer id that the original's README gives for node0.
const NODE0: &str = "12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C";

/// A process that is asked to end when it is dropped.
struct Validator {
    child: Child,
    ready: Value,
}

impl Drop for Validator {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _asked = Command::new("kill").args(["-TERM", &pid]).status();
        let _ended = self.child.wait();
    }
}

/// Types a line in a directory, in the background, as in a terminal of its own.
fn type_validator(directory: &Path, line: &str) -> Validator {
    let mut child = Command::new("bash")
        .args(["-c", &format!("exec {line}")])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ready = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{line}: {error}: {first}"));
    Validator { child, ready }
}

/// Types a line: what it prints.
fn typed(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(line: &str) -> Value {
    let text = typed(line);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

/// A directory with `bin/validator`, as `make build` makes it.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_dtvn-under-test"), home.path().join("bin/validator")).unwrap();
    home
}

/// Ports that nobody uses: they were given by the system a moment ago.
fn ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_single_node_of_the_original_readme_works() {
    let home = home();
    let [port, api, admin] = ports(3)[..] else { unreachable!("three were asked for") };
    let node = type_validator(
        home.path(),
        &format!(
            "./bin/validator \
  -id node0 \
  -port {port} \
  -api-port {api} \
  -data-dir ./data/node0 \
  -primary \
  -total-nodes 1 --admin-addr 127.0.0.1:{admin}"
        ),
    );
    assert_eq!(node.ready["node"], "node0");
    assert!(home.path().join("data/node0/node.json").exists());
    let seeded = json(&format!("curl -sS -X POST http://localhost:{api}/api/v1/tickets/seed"));
    assert_eq!(seeded["seeded"], 500);
    let crypto = json(&format!("curl -sS http://localhost:{api}/api/v1/node/crypto"));
    assert_eq!(crypto["peer_id"], NODE0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_four_nodes_and_the_example_requests_of_the_original_readme_work() {
    let home = home();
    let ports = ports(12);
    let line = |node: usize, rest: &str| {
        let (port, api, admin) = (ports[3 * node], ports[3 * node + 1], ports[3 * node + 2]);
        format!(
            "./bin/validator -id node{node} -port {port} -api-port {api} -data-dir ./data/node{node} {rest} \
             --admin-addr 127.0.0.1:{admin}"
        )
    };
    let bootstrap = format!("-total-nodes 4 -bootstrap \"/ip4/127.0.0.1/tcp/{}/p2p/{NODE0}\"", ports[0]);
    let mut nodes = vec![type_validator(home.path(), &line(0, "-primary -total-nodes 4"))];
    nodes.extend((1..4).map(|node| type_validator(home.path(), &line(node, &bootstrap))));
    let base = format!("http://localhost:{}", ports[1]);
    // Somebody listens at another node than the one that is asked.
    let (mut live, _) = tokio_tungstenite::connect_async(format!("ws://localhost:{}/ws", ports[10])).await.unwrap();
    until("node0 is healthy", async || typed(&format!("curl -sS {base}/health")).contains("\"healthy\"")).await;
    let seeded = json(&format!("curl -sS -X POST {base}/api/v1/tickets/seed"));
    assert_eq!(seeded["seeded"], 500);
    let post = |what: &str, ticket: &str| {
        json(&format!(
            "curl -sS -X POST {base}/api/v1/tickets/{what} \
  -H \"Content-Type: application/json\" \
  -d '{{\"ticket_id\": \"{ticket}\"}}'"
        ))
    };
    assert_eq!(post("validate", "TICKET-001")["ticket"]["state"], "VALIDATED");
    assert_eq!(post("consume", "TICKET-001")["ticket"]["state"], "CONSUMED");
    // The example disputes the consumed ticket; the table of states allows that for a validated one only.
    assert_eq!(post("dispute", "TICKET-001")["reason"], "already_consumed");
    assert_eq!(post("validate", "TICKET-002")["ticket"]["state"], "VALIDATED");
    assert_eq!(post("dispute", "TICKET-002")["ticket"]["state"], "DISPUTED");
    assert_eq!(json(&format!("curl -sS {base}/api/v1/tickets/TICKET-001"))["state"], "CONSUMED");
    let listed = json(&format!("curl -sS {base}/api/v1/tickets"));
    assert_eq!(listed["tickets"].as_array().unwrap().len(), 500);
    until("all are connected", async || json(&format!("curl -sS {base}/api/v1/stats"))["peer_count"] == 3).await;
    assert_eq!(json(&format!("curl -sS {base}/api/v1/config"))["node_id"], "node0");
    assert_eq!(json(&format!("curl -sS {base}/api/v1/peers"))["peers"].as_array().unwrap().len(), 3);
    let logs = json(&format!("curl -sS {base}/api/v1/consensus/logs"));
    assert!(!logs["logs"].as_array().unwrap().is_empty(), "{logs}");
    let stored = json(&format!("curl -sS {base}/api/v1/storage/entries"));
    assert_eq!((&stored["total_tickets"], &stored["ticket_states"]["CONSUMED"]), (&500.into(), &1.into()), "{stored}");
    let mut heard = Vec::new();
    for expected in ["tickets_seeded", "ticket_validated", "ticket_consumed", "ticket_validated", "ticket_disputed"] {
        heard.push(loop {
            let message = tokio::time::timeout(PATIENCE, live.next()).await.unwrap_or_else(|_| panic!("no {expected}"));
            let Ok(text) = message.unwrap().unwrap().into_text() else { continue };
            let Ok(event) = serde_json::from_str::<Value>(&text) else { continue };
            // The original knows nothing of refusals and views.
            match event["type"].as_str() {
                Some("operation_refused" | "view_changed" | "connected") | None => {}
                Some(name) => break (name.to_owned(), event["ticket_id"].as_str().map(str::to_owned)),
            }
        });
    }
    let ticket = |id: &str| Some(id.to_owned());
    assert_eq!(
        heard,
        [
            ("tickets_seeded".to_owned(), None),
            ("ticket_validated".to_owned(), ticket("TICKET-001")),
            ("ticket_consumed".to_owned(), ticket("TICKET-001")),
            ("ticket_validated".to_owned(), ticket("TICKET-002")),
            ("ticket_disputed".to_owned(), ticket("TICKET-002")),
        ]
    );
    // What was done through node0 is at node3 too.
    let elsewhere = format!("http://localhost:{}", ports[10]);
    until("it is at node3", async || {
        json(&format!("curl -sS {elsewhere}/api/v1/tickets/TICKET-002"))["state"] == "DISPUTED"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_ways_of_authentication_work() {
    let home = home();
    let [port, api, admin] = ports(3)[..] else { unreachable!("three were asked for") };
    let flags = format!("-id node0 -port {port} -api-port {api} -data-dir ./data -total-nodes 1");
    let _node = type_validator(
        home.path(),
        &format!("./bin/validator {flags} -api-key YOUR_KEY --admin-addr 127.0.0.1:{admin}"),
    );
    let url = format!("http://localhost:{api}");
    let status = |arguments: &str| typed(&format!("curl -sS -o /dev/null -w '%{{http_code}}' {arguments}"));
    assert_eq!(status(&format!("{url}/api/v1/stats")), "401");
    assert_eq!(status(&format!("-H \"X-API-Key: YOUR_KEY\" {url}/api/v1/stats")), "200");
    assert_eq!(status(&format!("-H \"Authorization: Bearer YOUR_KEY\" {url}/api/v1/stats")), "200");
    assert_eq!(status(&format!("-H \"X-API-Key: ANOTHER\" {url}/api/v1/stats")), "401");
    until("it is healthy", async || status(&format!("{url}/health")) == "200").await;
}
