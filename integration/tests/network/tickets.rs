//! Tickets through different nodes: one history, one entry, one outcome for a key.

use dtvn_client::api::Kind;
use dtvn_messages::TicketState;
use futures::future::join_all;

use crate::kit::{Network, accepted, reason, request, seed_ticket, with_key};

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_goes_its_way_through_different_nodes() {
    let network = Network::start(&[]).await;
    network.seed().await;
    accepted(&network.at(1), Kind::Validate, "TICKET-001").await;
    let consumed = accepted(&network.at(2), Kind::Consume, "TICKET-001").await;
    assert_eq!(consumed.ticket.state, TicketState::Consumed);
    accepted(&network.at(3), Kind::Validate, "TICKET-002").await;
    accepted(&network.at(0), Kind::Dispute, "TICKET-002").await;
    let refused = network.at(3).on_ticket(Kind::Consume, request("TICKET-001")).await;
    assert_eq!(reason(refused), "already_consumed");
    let refused = network.at(0).on_ticket(Kind::Validate, request("NO-SUCH-TICKET")).await;
    assert_eq!(reason(refused), "unknown_ticket");
    network.assert_equal_histories().await;
    for node in 0..4 {
        assert_eq!(network.state(node, "TICKET-001").await, TicketState::Consumed, "at node{node}");
        assert_eq!(network.state(node, "TICKET-002").await, TicketState::Disputed, "at node{node}");
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_consumed_at_all_nodes_at_once_is_consumed_once() {
    let network = Network::start(&[]).await;
    network.seed().await;
    for number in 1..=20 {
        let ticket = seed_ticket(number);
        accepted(&network.client, Kind::Validate, &ticket).await;
        let clients: Vec<_> = (0..4).map(|node| network.at(node)).collect();
        let tries = clients.iter().map(|client| client.on_ticket(Kind::Consume, request(&ticket)));
        let results = join_all(tries).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{ticket} was consumed {won} times");
        for lost in results.into_iter().filter(Result::is_err) {
            assert_eq!(reason(lost), "already_consumed");
        }
    }
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_outcome_at_every_node() {
    let network = Network::start(&[]).await;
    network.seed().await;
    let first =
        network.at(0).on_ticket(Kind::Validate, with_key("TICKET-003", "the-same-key-everywhere")).await.unwrap();
    for node in 0..4 {
        let again = network.at(node).on_ticket(Kind::Validate, with_key("TICKET-003", "the-same-key-everywhere")).await;
        let again = again.unwrap_or_else(|error| panic!("at node{node}: {error}"));
        assert_eq!((again.height, again.index), (first.height, first.index), "at node{node}");
        let other = network.at(node).on_ticket(Kind::Validate, with_key("TICKET-004", "the-same-key-everywhere")).await;
        assert_eq!(reason(other), "key_reused");
    }
    network.assert_equal_histories().await;
    network.stop().await;
}
