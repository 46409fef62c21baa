//! The 500 seed tickets, exactly as api.md section 3 has them, and who may seed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_ledger::{Bounds, seed_tickets};
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{Action, Operation, Reason, Ticket, TicketState, Timestamp, Verdict, Writer, sha256};

const NOW: u64 = START + 1;

fn facts(section: &str, price: &str, seat: &str, buyer: &str) -> Metadata {
    let common = [("source", "seed"), ("event", "Summer Music Festival 2026"), ("venue", "Grand Arena")];
    let own = [("section", section), ("price", price), ("seat", seat), ("buyer", buyer)];
    common.into_iter().chain(own).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn the_seed_tickets_are_those_of_the_table() {
    let rows = [
        (1, "TICKET-001", facts("VIP", "150.00", "A1", "buyer_001@email.com")),
        (2, "TICKET-002", facts("Floor", "85.00", "A2", "buyer_002@email.com")),
        (10, "TICKET-010", facts("Floor", "85.00", "A10", "buyer_010@email.com")),
        (11, "TICKET-011", facts("Balcony", "65.00", "B1", "buyer_011@email.com")),
        (27, "TICKET-027", facts("Balcony", "65.00", "C7", "buyer_027@email.com")),
        (260, "TICKET-260", facts("General", "40.00", "Z10", "buyer_260@email.com")),
        (261, "TICKET-261", facts("VIP", "150.00", "A1", "buyer_261@email.com")),
        (500, "TICKET-500", facts("General", "40.00", "X10", "buyer_500@email.com")),
    ];
    assert_eq!(seed_tickets().len(), 500);
    for (number, id, metadata) in rows {
        let seed = &seed_tickets()[number - 1];
        assert_eq!((seed.id.as_str(), &*seed.metadata), (id, &metadata));
    }
    let mut writer = Writer::default();
    for seed in seed_tickets() {
        writer.text(seed.id.as_str());
        for (name, value) in seed.metadata.iter() {
            writer.text(name);
            writer.text(value);
        }
    }
    assert_eq!(
        sha256(&[writer.as_bytes()]).to_string(),
        "4df021ba9573090e912b6659e57bbf0201c1d8c08d58ca3b296b9ac110e43a34"
    );
}

#[test]
fn a_seeding_is_one_operation_with_one_leaf_and_500_tickets() {
    let mut chain = Chain::new();
    let effects = chain.block(NOW, vec![(1, vec![operation("seed", NOW, Action::Seed)])]);
    let outcome = recorded(&effects.results[0]);
    assert_eq!(outcome.verdict, Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: 500 });
    assert_eq!(outcome.ticket, None);
    assert_eq!(effects.log.leaves.len(), 1);
    assert_eq!(effects.tickets.len(), 500);
    assert_eq!(chain.ledger.counts(&event("default")).unwrap().get(TicketState::Issued), 500);
    let expected = Ticket {
        event: event("default"),
        id: ticket_id("TICKET-027"),
        state: TicketState::Issued,
        data: None,
        metadata: Arc::new(facts("Balcony", "65.00", "C7", "buyer_027@email.com")),
        valid_from: None,
        valid_until: None,
        version: 1,
        vector_clock: [(node("north"), 1)].into_iter().collect(),
        validator: node("north"),
        updated_at: Timestamp(NOW),
        validated: None,
        consumed: None,
        disputed: None,
        dispute_reason: None,
    };
    assert_eq!(chain.ticket("TICKET-027"), Some(expected));
}

#[test]
fn a_seeding_leaves_what_exists_alone_and_counts_the_new_ones() {
    let mut chain = Chain::new();
    chain.act(NOW, issue("TICKET-027"));
    chain.act(NOW + 1, validate("TICKET-027"));
    let before = chain.ticket("TICKET-027");
    let seeded = |tickets| Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets };
    assert_eq!(chain.act(NOW + 2, Action::Seed), seeded(499));
    assert_eq!(chain.ticket("TICKET-027"), before);
    assert_eq!(chain.act(NOW + 3, Action::Seed), seeded(0));
}

#[test]
fn a_seeding_rolls_back_as_a_whole() {
    let mut chain = Chain::new();
    chain.act(NOW, issue("TICKET-027"));
    let before = chain.ledger.image();
    let bundle = chain.bundle(0, vec![operation("seed", NOW + 1, Action::Seed)]);
    chain.execute(NOW + 1, &[bundle]);
    assert_eq!(chain.ledger.tickets_len(), 500);
    chain.ledger.roll_back(chain.ledger.committed());
    assert_eq!(chain.ledger.image(), before);
}

#[test]
fn only_a_genesis_that_says_so_can_be_seeded() {
    let mut chain = Chain::of(genesis_with(false), Bounds::default());
    assert_eq!(chain.act(NOW, Action::Seed).refusal(), Some(Reason::NotPermitted));
    assert_eq!(chain.ledger.tickets_len(), 0);
}

#[test]
fn only_the_default_event_can_be_seeded() {
    let mut chain = Chain::new();
    let elsewhere = Operation { event: event("gala"), ..operation("seed", NOW, Action::Seed) };
    assert_eq!(reason(&chain.one(NOW, elsewhere)), Reason::WrongEvent);
    assert_eq!(chain.ledger.tickets_len(), 0);
}
