//! Actors that die: the smallest broken subtree starts again, and nothing acknowledged is lost.

use dtvn_client::api::{ActorCommandAnswer, Kind};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::TicketState;

use crate::kit::{Network, accepted, seed_ticket, until};

/// Every kind of actor there is.
const ACTORS: &[&str] = &[
    "core/storage",
    "core/state_machine",
    "core/replica",
    "core/sync",
    "verifier/checker-0",
    "links/network",
    "links/peer_manager",
    "links/gossip",
    "edge/intake",
    "edge/http",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_actor_dies_and_the_node_goes_on() {
    let network = Network::start(&["--fault-injection"]).await;
    network.seed().await;
    let admin = Client::new(&ClientConfig::new(network.cluster.admin_urls())).unwrap().only(0);
    for (number, actor) in ACTORS.iter().enumerate() {
        let ticket = seed_ticket(number + 1);
        accepted(&network.client, Kind::Validate, &ticket).await;
        let _: ActorCommandAnswer = admin.command(&format!("/admin/actors/{actor}/crash")).await.unwrap();
        accepted(&network.client, Kind::Consume, &ticket).await;
        network.until_healthy(0).await;
        // Through the very node whose actor died.
        let again = seed_ticket(number + 101);
        accepted(&network.at(0), Kind::Validate, &again).await;
        assert_eq!(network.state(0, &ticket).await, TicketState::Consumed, "after the crash of {actor}");
        // A crash counts against the intensity of its subtree for five seconds.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_refused_unless_faults_may_be_injected() {
    let network = Network::start(&[]).await;
    let admin = Client::new(&ClientConfig::new(network.cluster.admin_urls())).unwrap().only(0);
    let refused: Result<ActorCommandAnswer, _> = admin.command("/admin/actors/core/replica/crash").await;
    assert!(refused.is_err());
    until("the tree is served", async || admin.get::<serde_json::Value>("/admin/actors").await.is_ok()).await;
    network.stop().await;
}
