//! Nodes that stand still or were away: what they missed they get, and nobody decides without a quorum.

use std::time::Duration;

use dtvn_client::api::Kind;
use dtvn_messages::TicketState;
use futures::future::join_all;

use crate::kit::{Network, accepted, request, seed_ticket, until};

#[tokio::test(flavor = "multi_thread")]
async fn two_of_four_stand_still_and_nothing_is_decided_until_they_move() {
    let network = Network::start(&[]).await;
    network.seed().await;
    let before = network.at(0).sequence(None).await.unwrap();
    network.cluster.nodes()[2].pause();
    network.cluster.nodes()[3].pause();
    let impatient = network.at(0).with_deadline(Duration::from_secs(3));
    let answer = impatient.on_ticket(Kind::Validate, request("TICKET-001")).await;
    assert!(answer.is_err(), "two of four decided: {answer:?}");
    let after = network.at(0).sequence(None).await.unwrap();
    assert_eq!(after.height, before.height, "two of four committed a block");
    network.cluster.nodes()[2].resume();
    network.cluster.nodes()[3].resume();
    accepted(&network.at(1), Kind::Validate, "TICKET-002").await;
    for node in 0..4 {
        network.until_healthy(node).await;
    }
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_is_replaced_and_follows_when_it_moves() {
    let network = Network::start(&[]).await;
    network.seed().await;
    let leader = network.leader(0).await;
    network.cluster.nodes()[leader].pause();
    let others: Vec<_> = (0..4).filter(|node| *node != leader).collect();
    for (number, node) in others.iter().enumerate() {
        accepted(&network.at(*node), Kind::Validate, &seed_ticket(number + 1)).await;
    }
    network.cluster.nodes()[leader].resume();
    network.until_healthy(leader).await;
    network.assert_equal_histories().await;
    assert_eq!(network.state(leader, &seed_ticket(3)).await, TicketState::Validated);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_down_for_hundreds_of_blocks_catches_up() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    network.cluster.kill(3).await;
    let down_at = network.at(0).sequence(None).await.unwrap().height;
    // One after the other, so that each has a block of its own; more than a checkpoint interval of them.
    for number in 1..=150 {
        let ticket = seed_ticket(number);
        accepted(&network.at(number % 3), Kind::Validate, &ticket).await;
        accepted(&network.at((number + 1) % 3), Kind::Consume, &ticket).await;
    }
    let missed = network.at(0).sequence(None).await.unwrap().height.0 - down_at.0;
    assert!(missed >= 300, "only {missed} blocks");
    network.cluster.restart(3).await.unwrap();
    network.until_healthy(3).await;
    network.assert_equal_histories().await;
    assert_eq!(network.state(3, &seed_ticket(150)).await, TicketState::Consumed);
    // It votes again: without another node it is needed for the quorum.
    network.cluster.kill(1).await;
    accepted(&network.at(3), Kind::Validate, &seed_ticket(151)).await;
    network.cluster.restart(1).await.unwrap();
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_two_hundred_stalls_nothing() {
    let network = Network::start(&[]).await;
    network.seed().await;
    let clients: Vec<_> = (0..4).map(|node| network.at(node)).collect();
    let tries = (1..=200).map(|number| {
        let client = &clients[number % 4];
        // Every fifth ticket does not exist.
        let ticket = if number % 5 == 0 { format!("UNKNOWN-{number}") } else { seed_ticket(number) };
        async move { (number, client.on_ticket(Kind::Validate, request(&ticket)).await) }
    });
    for (number, result) in join_all(tries).await {
        if number % 5 == 0 {
            assert_eq!(crate::kit::reason(result), "unknown_ticket");
        } else {
            result.unwrap_or_else(|error| panic!("{number}: {error}"));
        }
    }
    accepted(&network.client, Kind::Validate, &seed_ticket(499)).await;
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_know_nothing_of_each_other_make_one_history() {
    let network = Network::start(&[]).await;
    network.seed().await;
    let clients = (0..4).map(|node| {
        let client = network.at(node);
        async move {
            // The same tickets at every node, in another order at each.
            let mut accepted = Vec::new();
            for step in 0..60 {
                let number = 1 + (step * 7 + node * 13) % 40;
                let kind = if step % 3 == 2 { Kind::Consume } else { Kind::Validate };
                if client.on_ticket(kind, request(&seed_ticket(number))).await.is_ok() {
                    accepted.push((kind, number));
                }
            }
            accepted
        }
    });
    let mut accepted: Vec<_> = join_all(clients).await.into_iter().flatten().collect();
    let all = accepted.len();
    accepted.sort_by_key(|(kind, number)| (kind.name(), *number));
    accepted.dedup();
    assert_eq!(accepted.len(), all, "no ticket was validated or consumed twice");
    assert!(all >= 40, "each was validated once: {all}");
    network.assert_equal_histories().await;
    for number in 1..=40 {
        let ticket = seed_ticket(number);
        let first = network.state(0, &ticket).await;
        for node in 1..4 {
            assert_eq!(network.state(node, &ticket).await, first, "{ticket} at node{node}");
        }
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_says_that_it_has_no_quorum_and_keeps_its_state() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    for node in 1..4 {
        network.cluster.kill(node).await;
    }
    let lonely = "1 of 4 validators are connected, 3 are needed";
    until("node0 notices", async || {
        network.at(0).health().await.is_ok_and(|health| health.reasons.iter().any(|reason| reason == lonely))
    })
    .await;
    let impatient = network.at(0).with_deadline(Duration::from_secs(3));
    let answer = impatient.on_ticket(Kind::Validate, request("TICKET-001")).await;
    assert!(answer.is_err(), "one of four decided: {answer:?}");
    assert_eq!(network.state(0, "TICKET-001").await, TicketState::Issued, "it still serves what it knows");
    for node in 1..4 {
        network.cluster.restart(node).await.unwrap();
    }
    accepted(&network.client, Kind::Validate, "TICKET-002").await;
    network.assert_equal_histories().await;
    network.stop().await;
}
