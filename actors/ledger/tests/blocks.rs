//! Blocks in and effects out: order, speculation by hand, invariants that must stop a node, and damaged images.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_ledger::{BlockInput, Bounds, KeyEntry, Ledger, LedgerImage, LoadError};
use dtvn_messages::merkle::Frontier;
use dtvn_messages::{
    Bundle, BundleBody, BundlePosition, Epoch, Height, LastBundle, Outcome, Reason, Signature, Ticket, TicketState,
    Timestamp, ValidatorIndex, Verdict,
};

const NOW: u64 = START + 100;

fn scan_chain() -> Chain {
    let mut chain = Chain::new();
    chain.act(NOW, issue("A"));
    chain.act(NOW + 1, issue("B"));
    chain
}

#[test]
fn results_come_in_the_order_of_bundles_and_operations() {
    let mut chain = scan_chain();
    let first = vec![operation("1", NOW + 2, consume("A")), operation("2", NOW + 2, validate("A"))];
    let second = vec![operation("3", NOW + 2, consume("A")), operation("4", NOW + 2, consume("A"))];
    let effects = chain.block(NOW + 2, vec![(2, first), (0, second)]);
    let told: Vec<_> =
        effects.results.iter().map(|result| (recorded(result).key.clone(), is_accepted(result))).collect();
    assert_eq!(told, [(key("1"), false), (key("2"), true), (key("3"), true), (key("4"), false)]);
    assert_eq!(effects.tickets.len(), 1, "a ticket that changed twice is written once");
    assert_eq!(*effects.tickets[0], chain.ticket("A").unwrap());
    let last = |number| LastBundle { epoch: Epoch(0), position: BundlePosition { start: 1, number } };
    assert_eq!(effects.last_bundles, [(node("east"), last(0)), (node("west"), last(2))]);
}

#[test]
fn effects_show_their_block_and_not_a_later_speculation() {
    let mut chain = scan_chain();
    for (step, action) in [validate("A"), consume("A")].into_iter().enumerate() {
        let time = NOW + 2 + step as u64;
        let bundle = chain.bundle(0, vec![operation(&format!("s{step}"), time, action)]);
        chain.execute(time, &[bundle]);
    }
    let states =
        |effects: &[dtvn_ledger::BlockEffects]| effects.iter().map(|at| at.tickets[0].state).collect::<Vec<_>>();
    assert_eq!(states(&chain.ledger.commit(Height(3))), [TicketState::Validated]);
    assert_eq!(chain.ledger.committed(), Height(3));
    assert_eq!(chain.ticket("A").unwrap().state, TicketState::Consumed, "reads are at the speculative tip");
    assert_eq!(states(&chain.ledger.commit(Height(4))), [TicketState::Consumed]);
    assert!(chain.ledger.commit(Height(4)).is_empty());
    assert!(chain.ledger.commit(Height(1)).is_empty(), "what is committed is not committed again");
}

#[test]
fn a_rolled_back_block_can_be_replaced() {
    let mut chain = scan_chain();
    let before = chain.ledger.image();
    let scan = operation("scan", NOW + 2, validate("A"));
    let loser = chain.bundle(0, vec![scan.clone(), operation("other", NOW + 2, validate("B"))]);
    chain.execute(NOW + 2, &[loser]);
    chain.execute(NOW + 3, &[]);
    chain.ledger.roll_back(Height(2));
    assert_eq!(chain.ledger.image(), before);
    assert_eq!(chain.ledger.root_at(Height(3)), None);
    let winner = bundle_at(&chain.genesis, 1, 0, vec![scan]);
    chain.execute(NOW + 9, &[winner]);
    let effects = chain.ledger.commit(Height(3)).remove(0);
    assert!(is_accepted(&effects.results[0]), "the key is free again");
    assert_eq!(recorded(&effects.results[0]).agreed_time, Timestamp(NOW + 9));
}

#[test]
fn a_rolled_back_expiry_holds_the_key_again() {
    let mut chain = Chain::new();
    let issue = operation("issue", NOW, issue("A"));
    chain.one(NOW, issue.clone());
    let before = chain.ledger.image();
    chain.execute(NOW + RETENTION + 1, &[]);
    assert_eq!(chain.ledger.keys_len(), 0);
    chain.ledger.roll_back(Height(1));
    assert_eq!(chain.ledger.image(), before);
    assert!(matches!(chain.one(NOW + 5, issue), dtvn_ledger::OperationResult::Repeated(_)));
}

mod broken_invariants {
    use super::*;

    fn input<'a>(chain: &'a Chain, height: u64, time: u64, bundles: &'a [Arc<Bundle>]) -> BlockInput<'a> {
        BlockInput {
            height: Height(height),
            timestamp: Timestamp(time),
            bundles,
            set: chain.genesis.validators(),
            scheme: &dtvn_messages::Ed25519,
        }
    }

    #[test]
    #[should_panic(expected = "directly above the tip")]
    fn a_hole_in_the_chain() {
        let chain = scan_chain();
        chain.ledger.clone().execute(&input(&chain, 4, NOW + 2, &[]));
    }

    #[test]
    #[should_panic(expected = "directly above the tip")]
    fn a_height_twice() {
        let chain = scan_chain();
        chain.ledger.clone().execute(&input(&chain, 2, NOW + 2, &[]));
    }

    #[test]
    #[should_panic(expected = "agreed time must rise")]
    fn time_that_stands_still() {
        let chain = scan_chain();
        chain.ledger.clone().execute(&input(&chain, 3, NOW + 1, &[]));
    }

    fn order(epoch: u64, start: u64, number: u64) {
        let chain = scan_chain();
        let operations = vec![operation("x", NOW + 2, validate("A"))];
        let body = BundleBody { epoch: Epoch(epoch), origin: ValidatorIndex(0), start, number, operations };
        let bundle = Bundle::assemble(body, Signature([0; 64]), chain.genesis.chain_id());
        chain.ledger.clone().execute(&input(&chain, 3, NOW + 2, &[bundle]));
    }

    #[test]
    fn a_bundle_in_order_is_taken() {
        order(0, 1, 2);
        order(0, 2, 0);
        order(1, 1, 0);
    }

    #[test]
    #[should_panic(expected = "does not follow")]
    fn a_bundle_twice() {
        order(0, 1, 1);
    }

    #[test]
    #[should_panic(expected = "does not follow")]
    fn a_bundle_left_out() {
        order(0, 1, 3);
    }

    #[test]
    #[should_panic(expected = "does not follow")]
    fn a_bundle_of_an_earlier_start() {
        order(0, 0, 0);
    }

    #[test]
    #[should_panic(expected = "not in the set")]
    fn a_bundle_of_a_stranger() {
        let chain = scan_chain();
        let bundle = bundle_at(&chain.genesis, 3, 0, vec![operation("x", NOW + 2, validate("A"))]);
        chain.ledger.clone().execute(&input(&chain, 3, NOW + 2, &[bundle]));
    }

    #[test]
    #[should_panic(expected = "a committed block is final")]
    fn a_roll_back_of_a_committed_block() {
        scan_chain().ledger.roll_back(Height(1));
    }

    #[test]
    #[should_panic(expected = "nothing to go back from")]
    fn a_roll_back_upwards() {
        scan_chain().ledger.roll_back(Height(3));
    }

    #[test]
    #[should_panic(expected = "was not executed")]
    fn a_commit_of_what_was_not_executed() {
        scan_chain().ledger.commit(Height(3));
    }
}

/// An image of a chain with two tickets and two keys.
fn image() -> (Chain, LedgerImage) {
    let chain = scan_chain();
    let image = chain.ledger.image();
    (chain, image)
}

fn load(damage: impl FnOnce(&mut LedgerImage)) -> Result<(), LoadError> {
    let (chain, mut image) = image();
    damage(&mut image);
    Ledger::load(&chain.genesis, image).map(|_| ())
}

fn outcome_fault(damage: impl FnOnce(&mut Outcome)) -> Option<&'static str> {
    let result = load(|image| {
        let mut outcome = (*image.keys[1].outcome).clone();
        damage(&mut outcome);
        image.keys[1] = KeyEntry { outcome: Arc::new(outcome), ..image.keys[1].clone() };
    });
    match result {
        Err(LoadError::KeyOutcome { fault, .. }) => Some(fault),
        _ => None,
    }
}

#[test]
fn an_undamaged_image_loads_in_any_order_and_continues_the_same() {
    let (mut chain, mut image) = image();
    image.tickets.reverse();
    image.keys.reverse();
    let mut loaded = Ledger::load(&chain.genesis, image).unwrap();
    assert_eq!(loaded.image(), chain.ledger.image());
    let bundle = chain.bundle(0, vec![operation("next", NOW + 2, validate("A"))]);
    let (height, timestamp) = (Height(3), Timestamp(NOW + 2));
    let bundles = [bundle];
    let input = BlockInput {
        height,
        timestamp,
        bundles: &bundles,
        set: &chain.genesis.validators().clone(),
        scheme: &dtvn_messages::Ed25519,
    };
    assert_eq!(loaded.execute(&input), chain.ledger.execute(&input));
    assert_eq!(loaded.commit(height), chain.ledger.commit(height));
}

#[test]
fn the_image_of_a_new_ledger_is_empty_and_loads() {
    let chain = Chain::new();
    let image = chain.ledger.image();
    assert_eq!((image.height, image.timestamp, image.log.size()), (Height(0), Timestamp(START), 0));
    assert_eq!(Ledger::load(&chain.genesis, image).unwrap().image(), chain.ledger.image());
}

#[test]
fn damaged_images_are_refused_each_with_its_reason() {
    assert_eq!(load(|_| {}), Ok(()));
    let early = load(|image| image.timestamp = Timestamp(START - 1));
    assert_eq!(early, Err(LoadError::BeforeGenesis { found: Timestamp(START - 1), genesis: Timestamp(START) }));
    let stranger = load(|image| {
        let ticket = Ticket { event: event("nowhere"), ..(*image.tickets[0]).clone() };
        image.tickets[0] = Arc::new(ticket);
    });
    assert_eq!(stranger, Err(LoadError::UnknownEvent { event: event("nowhere"), ticket: ticket_id("A") }));
    let twice = load(|image| image.tickets[1] = Arc::clone(&image.tickets[0]));
    assert_eq!(twice, Err(LoadError::SameTicket { event: event("default"), ticket: ticket_id("A") }));
    let twice = load(|image| image.keys[1] = image.keys[0].clone());
    assert_eq!(twice, Err(LoadError::SameKey(key("act-1"))));
    let twice = load(|image| {
        let index = image.keys[0].outcome.index;
        let outcome = Outcome { index, ..(*image.keys[1].outcome).clone() };
        image.keys[1].outcome = Arc::new(outcome);
    });
    assert_eq!(twice, Err(LoadError::SameKey(key("act-2"))));
    let twice = load(|image| image.last_bundles.push(image.last_bundles[0].clone()));
    assert_eq!(twice, Err(LoadError::SameOrigin(node("west"))));
    assert!(load(|image| image.log = Frontier::new()).is_err());
}

#[test]
fn outcomes_that_no_key_can_have_are_refused() {
    assert_eq!(outcome_fault(|_| {}), None);
    let fault = outcome_fault(|outcome| outcome.index = 2);
    assert_eq!(fault, Some("its leaf is beyond the end of the log"));
    let later = Some("it is from a later block than the state");
    assert_eq!(outcome_fault(|outcome| outcome.height = Height(3)), later);
    assert_eq!(outcome_fault(|outcome| outcome.agreed_time = Timestamp(NOW + 2)), later);
    let fault = outcome_fault(|outcome| outcome.agreed_time = Timestamp(NOW - 1));
    assert_eq!(fault, Some("it is earlier than that of a leaf before it"));
    for reason in [Reason::OperationExpired, Reason::LedgerFull] {
        let verdict = Verdict::Refused { reason, version: 0, state: None, first: None };
        let fault = outcome_fault(|outcome| outcome.verdict = verdict);
        assert_eq!(fault, Some("a refusal for this reason uses up no key"));
    }
}

#[test]
fn an_image_of_a_hundred_thousand_tickets_loads_completely() {
    let (chain, mut image) = image();
    let template = image.tickets[0].clone();
    image.tickets = (0..100_000)
        .map(|number| Arc::new(Ticket { id: ticket_id(&format!("N{number}")), ..(*template).clone() }))
        .collect();
    let ledger = Ledger::load_with_bounds(&chain.genesis, image, Bounds::default()).unwrap();
    assert_eq!(ledger.tickets_len(), 100_000);
    assert_eq!(ledger.counts(&event("default")).unwrap().get(TicketState::Issued), 100_000);
    assert_eq!(ledger.ticket(&event("default"), &ticket_id("N99999")).unwrap().id, ticket_id("N99999"));
}
