//! Nodes that die: what was acknowledged stays, what was not decided is not claimed, and who returns has the same history.

use std::time::Duration;

use dtvn_client::api::Kind;
use dtvn_messages::TicketState;

use crate::kit::{Network, accepted, request, seed_ticket};

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_dies_and_nothing_acknowledged_is_lost() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    let leader = network.leader(0).await;
    let mut acknowledged = Vec::new();
    for number in 1..=60 {
        if number == 20 {
            network.cluster.kill(leader).await;
        }
        let ticket = seed_ticket(number);
        accepted(&network.client, Kind::Validate, &ticket).await;
        acknowledged.push(ticket);
    }
    network.cluster.restart(leader).await.unwrap();
    network.until_healthy(leader).await;
    network.assert_equal_histories().await;
    for ticket in &acknowledged {
        assert_eq!(network.state(leader, ticket).await, TicketState::Validated, "{ticket} at the old leader");
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_four_decide_nothing_and_go_on_when_one_returns() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    let before = network.at(0).sequence(None).await.unwrap();
    network.cluster.kill(2).await;
    network.cluster.kill(3).await;
    let impatient = network.at(0).with_deadline(Duration::from_secs(3));
    let answer = impatient.on_ticket(Kind::Validate, request("TICKET-005")).await;
    assert!(answer.is_err(), "two of four decided: {answer:?}");
    let after = network.at(0).sequence(None).await.unwrap();
    assert_eq!(after.height, before.height, "two of four committed a block");
    network.cluster.restart(3).await.unwrap();
    network.until_healthy(0).await;
    accepted(&network.at(1), Kind::Validate, "TICKET-006").await;
    network.cluster.restart(2).await.unwrap();
    network.until_healthy(2).await;
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_die_at_once_and_go_on_from_their_disks() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    for number in 1..=10 {
        accepted(&network.client, Kind::Validate, &seed_ticket(number)).await;
    }
    for node in 0..4 {
        network.cluster.kill(node).await;
    }
    for node in 0..4 {
        network.cluster.restart(node).await.unwrap();
    }
    for node in 0..4 {
        network.until_healthy(node).await;
        assert_eq!(network.state(node, "TICKET-010").await, TicketState::Validated, "at node{node}");
    }
    accepted(&network.client, Kind::Consume, "TICKET-010").await;
    network.assert_equal_histories().await;
    network.stop().await;
}
