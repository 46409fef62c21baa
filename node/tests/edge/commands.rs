//! The client and the commands that ask a node, against the real routes.

use std::process::Output;
use std::time::{Duration, Instant};

use dtvn_client::TicketFilter;
use dtvn_messages::{Height, TicketId};
use serde_json::{Value, json};

use crate::http::{Ask, Line, PATIENCE};
use crate::kit::TestNode;

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

async fn dtvn(line: &str) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtvn"));
    command.env_remove("DTVN_NODES").env_remove("DTVN_ADMIN").env_remove("DTVN_API_KEY").env_remove("DTVN_ADMIN_KEY");
    let done = command.args(line.split_whitespace()).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, done).await.expect("a command takes too long").unwrap()
}

/// What a command prints, and that it exits with this code.
async fn prints(line: &str, code: i32) -> String {
    let output = dtvn(line).await;
    assert_eq!(output.status.code(), Some(code), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_that_the_client_asks_for_goes_on_where_the_one_before_ended() {
    let node = TestNode::start().await;
    for number in 0..7 {
        node.issue(&format!("T-{number}")).await;
    }
    let client = node.client();
    let tip = client.stats().await.unwrap().sequence;
    let all: Vec<Height> = (1..=tip.0).rev().map(Height).collect();
    assert!(all.len() >= 7, "{tip}");
    let (mut blocks, mut logs, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = client.blocks(after, Some(2)).await.unwrap();
        let same = client.consensus_logs(after, Some(2)).await.unwrap();
        assert!(page.blocks.len() <= 2 && page.next == same.next);
        blocks.extend(page.blocks.iter().map(|block| block.height));
        logs.extend(same.logs.iter().map(|entry| entry.height));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((&blocks, &logs), (&all, &all), "newest first, each once");
    let mut filter = TicketFilter { limit: Some(2), ..TicketFilter::default() };
    let mut tickets = Vec::new();
    loop {
        let page = client.tickets(&filter).await.unwrap();
        tickets.extend(page.tickets.iter().map(|ticket| ticket.id.to_string()));
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(tickets, (0..7).map(|number| format!("T-{number}")).collect::<Vec<_>>());
    let history = client.history(&TicketId::new("T-3").unwrap(), None, None).await.unwrap();
    assert_eq!(history.history.len(), 1);
    assert_eq!(client.epochs().await.unwrap().epochs.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_who_voted_who_saw_it_when_and_who_says_nothing() {
    let node = TestNode::start().await;
    node.issue("A").await;
    node.post("/api/v1/tickets/validate", json!({"ticket_id": "A"})).await.good();
    node.issue("B").await;
    let url = format!("http://{}", node.api());
    let story = prints(&format!("explain A --nodes {url}"), 0).await;
    assert_eq!(story.matches(" by the votes of node0\n").count(), 2, "{story}");
    let seen: Vec<&str> = story.lines().filter(|line| line.contains(&format!("  {url} saw it "))).collect();
    assert_eq!(seen.len(), 2, "{story}");
    assert!(
        seen.iter().all(|line| ["proposed ", "prepared ", "committed "].iter().all(|it| line.contains(it))),
        "{story}"
    );
    assert!(!story.contains("does not say"), "{story}");
    let story = prints(&format!("explain 2 --nodes {url},{NOBODY}"), 0).await;
    assert!(story.contains(&format!("  {url} saw it proposed ")), "{story}");
    assert!(story.contains(&format!("  {NOBODY} does not say when it saw it: no node can be reached")), "{story}");
    let told: Value =
        serde_json::from_str(&prints(&format!("explain 2 --json --nodes {url},{NOBODY}"), 0).await).unwrap();
    assert_eq!((&told["seen"][0][0], &told["seen"][0][1]["signers"]), (&json!(url), &json!(["node0"])));
    assert_eq!((told["seen"].as_array().unwrap().len(), &told["not_said"][0][0]), (1, &json!(NOBODY)));
    assert_eq!(dtvn(&format!("explain 999 --nodes {url}")).await.status.code(), Some(1));
    node.stop().await;
}

/// How often the listener of the operator was started again.
async fn restarts_of_admin(node: &TestNode) -> Option<u64> {
    let stream = tokio::net::TcpStream::connect(node.admin()).await.ok()?;
    drop(stream);
    let answer = Line::open(node.admin()).await.ask(&Ask::get("/admin/actors/edge%2Fadmin")).await;
    answer.json()["restarts"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_cuts_its_own_answer_off_happens_once_and_is_told_as_it_is_known() {
    let node = TestNode::start().await;
    let admin = format!("http://{}", node.admin());
    let restarted = prints(&format!("actors restart edge/intake --admin {admin}"), 0).await;
    assert_eq!(restarted, "edge/intake: restarted\n");
    // The one that would answer is the one that restarts: the answer may come just before, or not at all.
    let cut_off = dtvn(&format!("actors restart edge/admin --admin {admin}")).await;
    let (told, said) = (String::from_utf8_lossy(&cut_off.stdout), String::from_utf8_lossy(&cut_off.stderr));
    match cut_off.status.code() {
        Some(0) => assert_eq!(told, "edge/admin: restarted\n"),
        Some(4) => assert!(said.contains("the command was sent, and how it ended is not known"), "{said}"),
        other => panic!("exit code {other:?}: {told}{said}"),
    }
    let begin = Instant::now();
    while restarts_of_admin(&node).await.is_none() {
        assert!(begin.elapsed() < PATIENCE, "the listener does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(restarts_of_admin(&node).await, Some(1));
    node.stop().await;
}
