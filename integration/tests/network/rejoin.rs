//! Nodes that lose their disks, or whose disks lie: they come back by themselves, while the network goes on.

use std::path::Path;

use dtvn_client::api::Kind;
use dtvn_client::load::{Load, LoadPlan, Pace, Until};
use dtvn_client::{Client, ClientError};
use dtvn_messages::TicketState;
use rocksdb::{DB, Options};

use crate::kit::{Network, accepted, answer, seed_ticket, until};

/// Load until the network has made so many more blocks.
async fn blocks(network: &Network, count: u64) {
    let height = async || network.at(0).sequence(None).await.unwrap().height.0;
    let wanted = height().await + count;
    while height().await < wanted {
        let mut plan = LoadPlan::of_requests(0, 8);
        (plan.until, plan.pace) = (Until::Milliseconds(1_500), Pace::Closed { concurrency: 8 });
        let report = Load::new(network.client.clone(), plan).unwrap().run(drop).await;
        assert!(report.accepted > 0, "{report:?}");
    }
}

fn data_dir(network: &Network, node: usize) -> std::path::PathBuf {
    network.cluster.nodes()[node].command().data_dir.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_database_and_then_without_its_log_too_is_back_at_the_tip_under_load() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    accepted(&network.client, Kind::Validate, &seed_ticket(1)).await;
    // More blocks than are worth executing again, and some checkpoints.
    blocks(&network, 1_300).await;
    network.cluster.kill(3).await;
    std::fs::remove_dir_all(data_dir(&network, 3).join("db")).unwrap();
    network.cluster.restart(3).await.unwrap();
    network.until_healthy(3).await;
    until("from its log", async || is_known(&network.at(3), 1).await).await;
    accepted(&network.at(3), Kind::Validate, &seed_ticket(2)).await;
    network.cluster.kill(3).await;
    std::fs::remove_dir_all(data_dir(&network, 3).join("db")).unwrap();
    std::fs::remove_dir_all(data_dir(&network, 3).join("log")).unwrap();
    network.cluster.restart(3).await.unwrap();
    tokio::join!(blocks(&network, 50), async {
        until("the ticket is there again", async || is_known(&network.at(3), 2).await).await;
    });
    network.assert_equal_histories().await;
    assert!(network.log(3).contains("The core starts again from a certified state."), "{}", network.log(3));
    assert!(network.log(3).contains("may have signed what it does not remember"), "{}", network.log(3));
    // What came before the state that it took over it cannot tell, and says so.
    let (head, body) = answer(network.cluster.urls()[3].as_str(), "/ws?since=0.0");
    assert!(head.starts_with("HTTP/1.1 410") && body.contains("ask another node"), "{head} {body}");
    until("the others recover it", async || network.at(3).status().await.is_ok_and(|status| status.voting)).await;
    network.stop().await;
}

/// Whether a node knows the ticket, which is validated. It may not be ready to say so; it must not say that there is none.
async fn is_known(node: &Client, ticket: usize) -> bool {
    match node.ticket(&crate::kit::id(&seed_ticket(ticket)), None).await {
        Ok(ticket) => ticket.state == TicketState::Validated,
        Err(ClientError::Refused(problem)) => panic!("a false answer: {problem:?}"),
        Err(_not_ready) => false,
    }
}

/// Changes one letter of a stored ticket, as no checksum can tell. The length stays.
fn alter(directory: &Path, ticket: &str, from: &str, to: &str) {
    let path = directory.join("db/rocksdb");
    let options = Options::default();
    let columns = DB::list_cf(&options, &path).unwrap();
    let database = DB::open_cf(&options, &path, columns).unwrap();
    let tickets = database.cf_handle("tickets").unwrap();
    let key = format!("default\0{ticket}");
    let value = database.get_cf(&tickets, &key).unwrap().unwrap();
    let at = value.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    let altered = [&value[..at], to.as_bytes(), &value[at + from.len()..]].concat();
    database.put_cf(&tickets, &key, altered).unwrap();
    database.flush_cf(&tickets).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_altered_on_disk_is_found_named_and_healed() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    assert!(network.cluster.terminate(2).await);
    alter(&data_dir(&network, 2), "TICKET-001", "buyer_001", "thief_001");
    network.cluster.restart(2).await.unwrap();
    network.until_healthy(2).await;
    let buyer = async |node: usize| {
        let ticket = network.at(node).ticket(&crate::kit::id("TICKET-001"), None).await.unwrap();
        serde_json::to_string(&ticket).unwrap()
    };
    assert!(buyer(2).await.contains("thief_001"), "nobody looked yet");
    blocks(&network, 300).await;
    until("it is healed", async || buyer(2).await.contains("buyer_001")).await;
    network.until_healthy(2).await;
    let log = network.log(2);
    assert!(log.contains("This node's state differs from what a quorum certified"), "{log}");
    let difference = log.lines().find(|line| line.contains("the first entry in which the state differed"));
    assert!(difference.is_some_and(|line| line.contains("ticket TICKET-001 of event default")), "{log}");
    accepted(&network.at(2), Kind::Validate, "TICKET-001").await;
    network.assert_equal_histories().await;
    assert!(network.at(2).status().await.unwrap().voting);
    network.stop().await;
}
