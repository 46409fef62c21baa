//! What goes in comes out.

use super::chain::id;
use super::*;
use dtvn_ledger::{BlockEffects, BlockInput, KeyScope, Ledger, LedgerImage, OperationResult};
use dtvn_messages::{Bundle, Digest, EventId, Outcome, TicketState};

#[test]
fn the_image_is_the_ledgers_after_every_block_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    assert_eq!(store.load_image().unwrap(), chain.ledger.image());
    let blocks = eventful(&mut chain);
    for (block, image) in blocks.iter().zip(eventful_images()) {
        store.apply(std::slice::from_ref(block)).unwrap();
        assert_eq!(store.load_image().unwrap(), image, "after block {}", block.block.header.height);
    }
    assert_eq!(store.load_image().unwrap(), chain.ledger.image());
    let before = contents(&store).unwrap();
    assert_eq!(close(store), Height(blocks.len() as u64));
    let (store, opened) = reopen(directory.path(), &chain).unwrap();
    assert!(!opened.created);
    assert_eq!(opened.applied.height, Height(blocks.len() as u64));
    assert_eq!(opened.applied.block, blocks.last().unwrap().block.header.digest(chain.genesis.chain_id()));
    assert!(contents(&store).unwrap() == before);
    let image = store.load_image().unwrap();
    assert_eq!(Ledger::load(&chain.genesis, image).unwrap().image(), chain.ledger.image());
}

/// The images after each of the eventful blocks.
fn eventful_images() -> Vec<LedgerImage> {
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut ledger = Ledger::new(&chain.genesis);
    let set = chain.genesis.validators();
    blocks
        .iter()
        .map(|block| {
            let (height, timestamp) = (block.block.header.height, block.block.header.timestamp);
            let input = BlockInput { height, timestamp, bundles: &block.bundles, set, scheme: &dtvn_messages::Ed25519 };
            ledger.execute(&input);
            ledger.commit(height);
            ledger.image()
        })
        .collect()
}

#[test]
fn many_blocks_at_once_leave_the_same_as_one_by_one() {
    let (one_by_one, at_once) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut first = open(one_by_one.path(), &chain);
    for block in &blocks {
        first.apply(std::slice::from_ref(block)).unwrap();
    }
    let mut second = open(at_once.path(), &chain);
    second.apply(&blocks).unwrap();
    let (first, second) = (contents(&first).unwrap(), contents(&second).unwrap());
    assert!(first.len() > 1_000, "there is something to compare: {}", first.len());
    assert_eq!(first, second);
}

#[test]
fn tickets_blocks_and_outcomes_are_read_as_they_were_applied() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks).unwrap();
    let event = EventId::default_event();
    let reader = store.reader();
    reader
        .read(|view| {
            assert_eq!(view.applied().height, Height(6));
            for ticket in chain.ledger.image().tickets {
                assert_eq!(view.ticket(&event, &ticket.id)?.as_ref(), Some(&*ticket));
            }
            assert_eq!(view.ticket(&event, &id("T-99"))?, None);
            assert_eq!(view.ticket(&EventId::new("other").unwrap(), &id("T-1"))?, None);
            let results = blocks.iter().flat_map(|block| &block.effects.results);
            let mut expected = Vec::new();
            for result in results {
                if let OperationResult::Recorded(outcome) = result {
                    assert_eq!(view.outcome(outcome.index)?.as_ref(), Some(&**outcome));
                    expected.push(Outcome::clone(outcome));
                }
            }
            assert_eq!(view.outcomes(0, 1_000)?, expected);
            assert_eq!(view.outcomes(90, 3)?, expected[90..93]);
            assert_eq!(view.outcomes(expected.len() as u64, 3)?, []);
            assert_eq!(view.outcome(expected.len() as u64)?, None);
            for (height, block) in (1..).map(Height).zip(&blocks) {
                let stored = view.block(height)?.unwrap();
                assert_eq!(stored.block, *block.block);
                assert_eq!((&stored.certificate, &stored.local), (&block.certificate, &block.local));
                assert_eq!(view.height_of(&stored.digest)?, Some(height));
                let sent = view.committed_block(height)?.unwrap();
                let bytes: Vec<_> = block.bundles.iter().map(|bundle| bundle.bytes.clone()).collect();
                assert!(sent.bundles.iter().map(|bundle| &**bundle).eq(&bytes));
            }
            let mut of_blocks = Vec::new();
            for height in (1..=6).map(Height) {
                of_blocks.extend(view.outcomes_of(&view.block(height)?.unwrap())?);
            }
            assert_eq!(of_blocks, expected, "each block has its own, and no other's");
            let third = view.block(Height(3))?.unwrap();
            assert_eq!((third.first_index, third.accepted, third.refused, third.repeated), (70, 25, 2, 2));
            assert_eq!(view.block(Height(7))?, None);
            assert_eq!(view.height_of(&Digest([1; 32]))?, None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn keys_lead_to_their_first_outcome_until_their_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let first = chain.issue("T-1");
    let scope = KeyScope::of(&first);
    let blocks = [chain.block(vec![first.clone()]), chain.block(vec![first.clone()])];
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks).unwrap();
    let outcome = |store: &Store| store.reader().read(|view| view.outcome_of_key(&scope, &first.key)).unwrap();
    assert_eq!(outcome(&store).unwrap().index, 0);
    assert_eq!(store.applied().counts.keys, 1);
    let outcomes_at = |store: &Store, height| {
        store.reader().read(|view| view.outcomes_of(&view.block(Height(height))?.unwrap())).unwrap().len()
    };
    store.apply(&[chain.block(Vec::new())]).unwrap();
    assert_eq!([1, 2, 3].map(|height| outcomes_at(&store, height)), [1, 0, 0], "a repetition is no outcome");
    let elsewhere = KeyScope::Event(EventId::new("elsewhere").unwrap());
    assert_eq!(store.reader().read(|view| view.outcome_of_key(&elsewhere, &first.key)).unwrap(), None);
    chain.pass_hours(25);
    store.apply(&[chain.block(Vec::new())]).unwrap();
    assert_eq!(outcome(&store), None);
    assert_eq!(store.applied().counts.keys, 0);
}

#[test]
fn counts_are_exact_after_every_block() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    let (mut accepted, mut refused) = (0, 0);
    for (block, image) in blocks.iter().zip(eventful_images()) {
        store.apply(std::slice::from_ref(block)).unwrap();
        let counts = store.applied().counts;
        for state in TicketState::ALL {
            let expected = image.tickets.iter().filter(|ticket| ticket.state == state).count() as u64;
            assert_eq!(counts.tickets_in(state), expected, "{state} after {}", block.block.header.height);
        }
        for result in &block.effects.results {
            if let OperationResult::Recorded(outcome) = result {
                if outcome.verdict.is_accepted() { accepted += 1 } else { refused += 1 }
            }
        }
        assert_eq!((counts.keys, counts.accepted, counts.refused), (image.keys.len() as u64, accepted, refused));
    }
    let counts = store.applied().counts;
    assert_eq!(counts.tickets(), 541);
    assert_eq!(counts.by_state()["DISPUTED"], 5);
    assert_eq!(counts.outcomes(), store.applied().log.size());
}

#[test]
fn the_history_of_a_ticket_has_every_operation_on_it_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks).unwrap();
    let event = EventId::default_event();
    let kinds = |ticket: &str| -> Vec<(&'static str, bool)> {
        let page = store.reader().read(|view| view.history(&event, &id(ticket), None, 100)).unwrap();
        assert_eq!(page.next, None);
        page.items.iter().map(|outcome| (outcome.action_name(), outcome.verdict.is_accepted())).collect()
    };
    assert_eq!(kinds("T-5"), [("issue", true), ("validate", true), ("consume", true), ("consume", false)]);
    assert_eq!(kinds("T-22"), [("issue", true), ("validate", true), ("dispute", true)]);
    assert_eq!(kinds("T-39"), [("issue", true)]);
    assert_eq!(kinds("nobody's"), [("consume", false)]);
    // Issued in the block that seeds: the seeding left it alone. Its neighbour was seeded there and used at once.
    assert_eq!(kinds("TICKET-007"), [("issue", true), ("validate", true), ("consume", true)]);
    assert_eq!(kinds("TICKET-008"), [("seed", true), ("validate", true)]);
    assert_eq!(kinds("TICKET-500"), [("seed", true)]);
    assert_eq!(kinds("made at the gate"), [("validate", true)]);
    assert_eq!(kinds("never seen"), []);
}

#[test]
fn blocks_that_do_not_fit_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks[..2]).unwrap();
    let before = contents(&store).unwrap();
    let out_of_order = |result| matches!(result, Err(StoreError::OutOfOrder { expected: Height(3), .. }));
    assert!(out_of_order(store.apply(&blocks[1..2])));
    assert!(out_of_order(store.apply(&blocks[3..])));
    let other = eventful(&mut Chain::seeded("another chain"));
    let inconsistent = |result| matches!(result, Err(StoreError::Inconsistent { height: Height(3), .. }));
    assert!(inconsistent(store.apply(&other[2..3])));
    for spoil in [
        (|effects, _| effects.timestamp = Timestamp(1)) as fn(&mut BlockEffects, &mut Vec<Arc<Bundle>>),
        |_, bundles| bundles.clear(),
        |effects, _| effects.log.first_index += 1,
        |effects, _| drop(effects.results.pop()),
        |effects, _| effects.log.leaves.truncate(1),
        |effects, _| effects.log.frontier.append(Digest::ZERO),
    ] {
        let mut spoilt = blocks[2].clone();
        spoil(Arc::make_mut(&mut spoilt.effects), &mut spoilt.bundles);
        assert!(inconsistent(store.apply(&[spoilt])));
    }
    // The first of two is sound, the second is not: neither is applied.
    let mut pair = blocks[2..4].to_vec();
    pair[1].bundles.clear();
    assert!(store.apply(&pair).is_err());
    assert_eq!(contents(&store).unwrap(), before);
    store.apply(&blocks[2..]).unwrap();
    assert_eq!(store.load_image().unwrap(), chain.ledger.image());
}

#[test]
fn a_store_may_move_to_another_thread_and_readers_may_be_shared() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    moves::<Store>();
    is_shared::<StoreReader>();
}

#[test]
fn who_waits_for_a_height_hears_of_it_and_then_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    let reader = store.reader();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut watch = reader.applied_watch();
    let waiting = std::thread::spawn(move || {
        let seen =
            runtime.block_on(async { watch.wait_for(|applied| applied.height >= Height(2)).await.unwrap().height });
        let read = reader.read(|view| Ok(view.applied().height)).unwrap();
        assert!(read >= seen, "{read} was read after {seen} was told");
        reader
    });
    for block in &blocks {
        store.apply(std::slice::from_ref(block)).unwrap();
    }
    let reader = waiting.join().unwrap();
    close(store);
    assert!(matches!(reader.read(|_| Ok(())), Err(StoreError::Closed)));
    assert!(reader.applied_watch().has_changed().is_err(), "the channel ends with the store");
}
