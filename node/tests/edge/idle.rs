//! Connections that are held open and say nothing, by the thousand: they cost a place each, and nobody who asks is left
//! unserved.

use std::io::Write as _;

use dtvn_messages::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::http::{Ask, Line, PATIENCE};
use crate::kit::TestNode;

/// Connections held at a time: fewer than there are places, and more than half of them.
const HELD: usize = 3_000;

/// They come from so many clients at a time: one alone may not hold them.
const CLIENTS: usize = 3;

/// Held by the test that holds the connections: two would need twice as many files.
static CONNECTIONS: Mutex<()> = Mutex::const_new(());

/// Files for the other tests of this process.
const FILES_OF_OTHERS: u64 = 1_000;

/// Of how many connections this process may have both ends, after raising its limit of open files as far as it may.
fn connections_that_fit() -> usize {
    let most = getrlimit(Resource::Nofile).maximum;
    // Where it must not be raised, it stays what it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(FILES_OF_OTHERS) / 2).unwrap()
}

/// A silent connection is told that its time is over, or just closed.
async fn is_cut_off(line: &mut Line) -> bool {
    let answer = timeout(PATIENCE, line.answer(false)).await.unwrap();
    answer.is_none_or(|answer| answer.status == 408) && line.is_closed().await
}

/// Says what this machine cannot show, past the harness: that keeps to itself what a test prints and ends well.
fn left_out(what: &str) {
    std::io::stderr().write_all(format!("LEFT OUT: {what}\n").as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_are_held_and_who_asks_beside_them_is_served() {
    let _alone = CONNECTIONS.lock().await;
    let count = connections_that_fit().min(HELD);
    if count < HELD {
        left_out(&format!("so few files may be open that {count} idle connections were held instead of {HELD}"));
    }
    let node = TestNode::start().await;
    // Two times: there are not places for all of them together, so the first ones must leave theirs.
    for round in 0..2 {
        let (mut asked, mut silent) = (Vec::new(), Vec::new());
        for number in 0..count {
            // The places of the clients before these may not be free again.
            let client = u8::try_from(1 + CLIENTS * round + number % CLIENTS).unwrap();
            let mut line = Line::open_as(client, node.api()).await;
            if number % 3 == 0 {
                silent.push(line);
            } else {
                // Its answer shows that it has its place, and those before it too.
                line.ask(&Ask::get("/api/v1/status")).await.good();
                asked.push(line);
            }
        }
        let ticket = format!("T-{round}");
        node.issue(&ticket).await;
        node.post("/api/v1/tickets/validate", json!({"ticket_id": ticket})).await.good();
        // None of those that may stay had to go for it.
        for line in &mut asked {
            line.ask(&Ask::get("/api/v1/status")).await.good();
        }
    }
    node.get("/health").await.good();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_in_all_places_make_a_client_wait_until_their_time_is_over() {
    let _alone = CONNECTIONS.lock().await;
    // The last of them wait in the listener's backlog.
    let count = limits::API_CONNECTIONS_MAX + 64;
    if connections_that_fit() < count {
        left_out("so few files may be open that not all places for connections could be taken");
        return;
    }
    let node = TestNode::start().await;
    let mut silent = Vec::new();
    for number in 0..count {
        let client = u8::try_from(1 + number % CLIENTS).unwrap();
        silent.push(Line::open_as(client, node.api()).await);
    }
    // Behind all of them.
    node.issue("T-1").await;
    for line in &mut silent {
        assert!(is_cut_off(line).await);
    }
    node.post("/api/v1/tickets/validate", json!({"ticket_id": "T-1"})).await.good();
    node.stop().await;
}
