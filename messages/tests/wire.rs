//! Frames: every message there and back, and every way in which a frame can be wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_messages::wire::{
    Class, CommittedBlock, PeerMessage, PrePrepare, Status, WIRE_VERSION, WireError, decode, encode,
};
use dtvn_messages::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::TestRunner;

const CLASSES: [Class; 3] = [Class::Consensus, Class::Bundles, Class::Sync];

fn statuses() -> impl Strategy<Value = Status> {
    (any::<[u64; 5]>(), any::<bool>(), any::<bool>()).prop_map(|(numbers, active, pending)| Status {
        epoch: Epoch(numbers[0]),
        view: View(numbers[1]),
        active,
        committed: Height(numbers[2]),
        stable: Height(numbers[3]),
        wish: View(numbers[4]),
        pending,
    })
}

fn byte_strings() -> impl Strategy<Value = Arc<Vec<u8>>> {
    vec(any::<u8>(), 0..60).prop_map(Arc::new)
}

fn committed_blocks() -> impl Strategy<Value = CommittedBlock> {
    (blocks(), proptest::option::of(certificates()), vec(byte_strings(), 0..3))
        .prop_map(|(block, certificate, bundles)| CommittedBlock { block: Arc::new(block), certificate, bundles })
}

/// A kind of message each, of those on the stream for consensus.
fn of_consensus() -> Vec<BoxedStrategy<PeerMessage>> {
    let list = || vec(digests(), 0..4);
    let proposals = (any::<u64>(), blocks(), signatures()).prop_map(|(view, block, signature)| {
        PeerMessage::PrePrepare(Arc::new(PrePrepare { view: View(view), block: Arc::new(block), signature }))
    });
    let wishes =
        any::<[u64; 2]>().prop_map(|[epoch, view]| PeerMessage::Wish { epoch: Epoch(epoch), view: View(view) });
    let fetches =
        (any::<u64>(), list()).prop_map(|(view, digests)| PeerMessage::FetchViewChanges { view: View(view), digests });
    vec![
        proposals.boxed(),
        signed(votes()).prop_map(PeerMessage::Vote).boxed(),
        wishes.boxed(),
        signed(view_changes()).prop_map(|change| PeerMessage::ViewChange(Arc::new(change))).boxed(),
        signed(new_views()).prop_map(|new_view| PeerMessage::NewView(Arc::new(new_view))).boxed(),
        fetches.boxed(),
        signed(checkpoints()).prop_map(PeerMessage::Checkpoint).boxed(),
        stable_checkpoints().prop_map(|proof| PeerMessage::StableCheckpoint(Arc::new(proof))).boxed(),
        prepared().prop_map(|proof| PeerMessage::Prepared(Arc::new(proof))).boxed(),
        committed().prop_map(|proof| PeerMessage::Committed(Arc::new(proof))).boxed(),
        list().prop_map(PeerMessage::FetchBlocks).boxed(),
        blocks().prop_map(|block| PeerMessage::Block(Arc::new(block))).boxed(),
        statuses().prop_map(PeerMessage::Status).boxed(),
        recoveries().prop_map(|recovery| PeerMessage::Recover(Box::new(recovery))).boxed(),
    ]
}

/// The same for bundles, and what waits for votes as they do.
fn of_bundles() -> Vec<BoxedStrategy<PeerMessage>> {
    let list = || vec(digests(), 0..4);
    vec![
        byte_strings().prop_map(PeerMessage::Bundle).boxed(),
        list().prop_map(PeerMessage::FetchBundles).boxed(),
        list().prop_map(PeerMessage::AnnounceBundles).boxed(),
        vec(signed(heads()), 0..3).prop_map(PeerMessage::Cosign).boxed(),
        any::<u64>().prop_map(|above| PeerMessage::FetchReceipts { above: Height(above) }).boxed(),
        vec(receipt_certificates(), 0..3).prop_map(PeerMessage::Receipts).boxed(),
        evidence().prop_map(|evidence| PeerMessage::Evidence(Arc::new(evidence))).boxed(),
    ]
}

/// The same for those who are behind.
fn of_sync() -> Vec<BoxedStrategy<PeerMessage>> {
    let heights = || any::<[u64; 2]>().prop_map(|heights| heights.map(Height));
    let height = || any::<u64>().prop_map(Height);
    vec![
        heights().prop_map(|[from, to]| PeerMessage::SyncRequest { from, to }).boxed(),
        vec(committed_blocks(), 0..3).prop_map(PeerMessage::SyncBlocks).boxed(),
        epoch_ends().prop_map(|end| PeerMessage::EpochEnd(Arc::new(end))).boxed(),
        (heights(), any::<u64>())
            .prop_map(|([height, at_least], epoch)| PeerMessage::SnapshotRequest {
                height,
                at_least,
                epoch: Epoch(epoch),
            })
            .boxed(),
        vec(epoch_ends().prop_map(Arc::new), 0..3).prop_map(PeerMessage::EpochEnds).boxed(),
        manifests().prop_map(|manifest| PeerMessage::Snapshot(Arc::new(manifest))).boxed(),
        (height(), parts()).prop_map(|(height, part)| PeerMessage::PartRequest { height, part }).boxed(),
        (height(), parts(), byte_strings())
            .prop_map(|(height, part, entries)| PeerMessage::Part { height, part, entries })
            .boxed(),
        height().prop_map(|height| PeerMessage::SnapshotRefused { height }).boxed(),
    ]
}

/// Every kind of message, each once.
fn kinds() -> Vec<BoxedStrategy<PeerMessage>> {
    [of_consensus(), of_bundles(), of_sync()].concat()
}

fn messages() -> impl Strategy<Value = PeerMessage> {
    Union::new(kinds())
}

/// How many kinds the decoder knows: it alone has to be changed for another one. In a frame a kind is a number below that.
fn known_kinds() -> u8 {
    let is_known = |number: &u8| match decode(&[WIRE_VERSION, *number], Class::Consensus) {
        Err(error) => !error.to_string().contains("UnexpectedVariant"),
        Ok(_) => true,
    };
    let known: Vec<u8> = (0..=250).filter(is_known).collect();
    let count = u8::try_from(known.len()).unwrap();
    assert!(known.into_iter().eq(0..count));
    count
}

#[test]
fn every_kind_of_message_is_among_those_that_are_tested() {
    let mut runner = TestRunner::deterministic();
    let mut number = |kind: &BoxedStrategy<PeerMessage>| {
        let message = kind.new_tree(&mut runner).unwrap().current();
        encode(&message).unwrap()[1]
    };
    let mut tested: Vec<u8> = kinds().iter().map(&mut number).collect();
    tested.sort_unstable();
    assert!(tested.iter().copied().eq(0..known_kinds()), "{tested:?} of {}", known_kinds());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_comes_through(message in messages()) {
        let frame = encode(&message).unwrap();
        prop_assert_eq!(decode(&frame, message.class()), Ok(message));
    }

    #[test]
    fn another_class_refuses_it(message in messages()) {
        let frame = encode(&message).unwrap();
        for class in CLASSES.into_iter().filter(|class| *class != message.class()) {
            prop_assert_eq!(decode(&frame, class), Err(WireError::WrongClass(message.name())));
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused(message in messages()) {
        let frame = encode(&message).unwrap();
        prop_assert_eq!(decode(&[], message.class()), Err(WireError::Empty));
        for cut in 1..frame.len() {
            prop_assert!(matches!(decode(&frame[..cut], message.class()), Err(WireError::Malformed(_))), "at {}", cut);
        }
    }

    #[test]
    fn bytes_left_over_are_refused(message in messages(), extra in vec(any::<u8>(), 1..9)) {
        let mut frame = encode(&message).unwrap();
        frame.extend_from_slice(&extra);
        prop_assert_eq!(decode(&frame, message.class()), Err(WireError::Trailing(extra.len())));
    }

    #[test]
    fn another_version_is_refused(message in messages(), version in any::<u8>()) {
        prop_assume!(version != WIRE_VERSION);
        let mut frame = encode(&message).unwrap();
        frame[0] = version;
        prop_assert_eq!(decode(&frame, message.class()), Err(WireError::Version(version)));
    }

    #[test]
    fn noise_never_panics(noise in vec(any::<u8>(), 0..300), first in 0..=known_kinds(), version in any::<bool>()) {
        let mut frame = noise;
        if version && frame.len() > 1 {
            (frame[0], frame[1]) = (WIRE_VERSION, first);
        }
        for class in CLASSES {
            if let Ok(message) = decode(&frame, class) {
                prop_assert_eq!(message.class(), class);
            }
        }
    }

    #[test]
    fn a_damaged_frame_never_panics(message in messages(), at in any::<usize>(), byte in any::<u8>()) {
        let mut frame = encode(&message).unwrap();
        let length = frame.len();
        frame[at % length] = byte;
        if let Ok(read) = decode(&frame, message.class()) {
            prop_assert_eq!(decode(&encode(&read).unwrap(), read.class()), Ok(read));
        }
    }
}

/// A frame of a message whose first field is a length of `promised`, written as bincode writes a `u64`.
fn promise(variant: u8, promised: u64, tail: usize) -> Vec<u8> {
    let mut frame = vec![WIRE_VERSION, variant, 253];
    frame.extend_from_slice(&promised.to_le_bytes());
    frame.resize(frame.len() + tail, 0);
    frame
}

#[test]
fn a_length_that_the_frame_cannot_hold_is_refused_before_anything_is_allocated() {
    let name = |variant: u8, class| match decode(&promise(variant, 0, 0), class) {
        Ok(message) => message.name(),
        Err(_) => "",
    };
    assert_eq!(name(10, Class::Consensus), "fetch_blocks");
    assert_eq!(name(13, Class::Bundles), "bundle");
    assert_eq!(name(14, Class::Bundles), "fetch_bundles");
    assert_eq!(name(19, Class::Sync), "sync_blocks");
    for (variant, class) in [(10, Class::Consensus), (13, Class::Bundles), (14, Class::Bundles), (19, Class::Sync)] {
        for promised in [4_096, 1 << 20, 15 << 20, 1 << 32, 1 << 62, u64::MAX] {
            let error = decode(&promise(variant, promised, 100), class).unwrap_err();
            // bincode counts against the limit before it allocates; "unexpected end" would come after.
            assert!(
                matches!(&error, WireError::Malformed(text) if text.contains("Limit") || text.contains("usize")),
                "{variant} {promised}: {error}"
            );
        }
    }
    // A layout inside is read where it lies: nothing to allocate, whatever it promises.
    for promised in [200, 1 << 62] {
        assert!(decode(&promise(1, promised, 150), Class::Consensus).is_err());
    }
}

#[test]
fn too_long_frames_are_refused_before_they_are_looked_at() {
    for class in CLASSES {
        let limit = class.frame_bytes_max();
        let found = limit + 1;
        assert_eq!(decode(&vec![0; found], class), Err(WireError::TooLong { found, limit }));
        assert_eq!(decode(&vec![0; limit], class), Err(WireError::Version(0)));
    }
    let limit = Class::Bundles.frame_bytes_max();
    let message = PeerMessage::Bundle(Arc::new(vec![7; limit]));
    assert!(matches!(encode(&message), Err(WireError::TooLong { limit: at, .. }) if at == limit));
}

#[test]
fn frames_exactly_at_their_limit_come_through() {
    let bundle = |length: usize| PeerMessage::Bundle(Arc::new(vec![7; length]));
    let blocks = |length: usize| {
        let header = header_at(1);
        let block = Arc::new(Block { header, bundles: vec![Digest([1; 32]); limits::BLOCK_BUNDLES_MAX] });
        PeerMessage::SyncBlocks(vec![CommittedBlock {
            block,
            certificate: None,
            bundles: vec![Arc::new(vec![7; length])],
        }])
    };
    for (class, message) in [(Class::Bundles, &bundle as &dyn Fn(usize) -> PeerMessage), (Class::Sync, &blocks)] {
        let limit = class.frame_bytes_max();
        let overhead = encode(&message(1 << 20)).unwrap().len() - (1 << 20);
        let largest = message(limit - overhead);
        let frame = encode(&largest).unwrap();
        assert_eq!(frame.len(), limit);
        assert_eq!(decode(&frame, class), Ok(largest));
        assert!(encode(&message(limit - overhead + 1)).is_err());
    }
    assert!(limits::BUNDLE_BYTES_MAX < Class::Bundles.frame_bytes_max());
}

#[test]
fn small_numbers_do_not_meet_the_limit_of_a_short_frame() {
    let small = Status {
        epoch: Epoch(0),
        view: View(0),
        active: true,
        committed: Height(1),
        stable: Height(0),
        wish: View(0),
        pending: false,
    };
    let frame = encode(&PeerMessage::Status(small)).unwrap();
    assert_eq!(decode(&frame, Class::Consensus), Ok(PeerMessage::Status(small)));
    // Many empty bundles: each is one byte in the frame and counts eight.
    for bundles in [1, 100, 500, 4_000, 30_000, 250_000] {
        let block = Arc::new(Block { header: header_at(1), bundles: Vec::new() });
        let bundles = (0..bundles).map(|_| Arc::new(Vec::new())).collect();
        let message = PeerMessage::SyncBlocks(vec![CommittedBlock { block, certificate: None, bundles }]);
        assert_eq!(decode(&encode(&message).unwrap(), Class::Sync), Ok(message));
    }
}

#[test]
fn too_many_entries_are_refused() {
    let digests = |count| vec![Digest([1; 32]); count];
    let (most, over) = (limits::FETCH_DIGESTS_MAX, limits::FETCH_DIGESTS_MAX + 1);
    let lists: [fn(Vec<Digest>) -> PeerMessage; 4] =
        [PeerMessage::FetchBlocks, PeerMessage::FetchBundles, PeerMessage::AnnounceBundles, |digests| {
            PeerMessage::FetchViewChanges { view: View(1), digests }
        }];
    for list in lists {
        let (fits, exceeds) = (list(digests(most)), list(digests(over)));
        assert!(decode(&encode(&fits).unwrap(), fits.class()).is_ok());
        let error = decode(&encode(&exceeds).unwrap(), exceeds.class());
        assert!(matches!(error, Err(WireError::Malformed(_))), "{}", exceeds.name());
    }
    let block = Arc::new(Block { header: header_at(1), bundles: Vec::new() });
    let entry = CommittedBlock { block, certificate: None, bundles: Vec::new() };
    let blocks = |count| PeerMessage::SyncBlocks(vec![entry.clone(); count]);
    assert!(decode(&encode(&blocks(limits::SYNC_BLOCKS_MAX)).unwrap(), Class::Sync).is_ok());
    assert!(decode(&encode(&blocks(limits::SYNC_BLOCKS_MAX + 1)).unwrap(), Class::Sync).is_err());
}

#[test]
fn a_vote_inside_a_frame_must_be_its_layout() {
    let vote = vote_for(&header_at(9), VoteKind::Prepare, 6);
    let signed = Signed::new(vote, &chain(), ValidatorIndex(2), &key_pair(2));
    let frame = encode(&PeerMessage::Vote(signed)).unwrap();
    // Version, variant, length of the layout; then signer (2), signature (64), kind.
    let kind = 3 + 2 + 64;
    assert_eq!(frame[kind], 1);
    let mut broken = frame;
    broken[kind] = 3;
    let error = decode(&broken, Class::Consensus).unwrap_err();
    assert!(error.to_string().contains("neither PREPARE (1) nor COMMIT (2)"), "{error}");
}

#[test]
fn layouts_come_through_bincode_and_reject_what_is_no_layout() {
    let config = bincode::config::standard();
    let clock: VectorClock = [(NodeName::new("b").unwrap(), 1), (NodeName::new("a").unwrap(), 2)].into_iter().collect();
    let bytes = bincode::encode_to_vec(&clock, config).unwrap();
    assert_eq!(bincode::decode_from_slice(&bytes, config).unwrap(), (clock, bytes.len()));
    let unsorted = vec![("b".to_owned(), 1u64), ("a".to_owned(), 2)];
    let zero = vec![("a".to_owned(), 0u64)];
    for wrong in [unsorted, zero] {
        let bytes = bincode::encode_to_vec(&wrong, config).unwrap();
        assert!(bincode::decode_from_slice::<VectorClock, _>(&bytes, config).is_err(), "{wrong:?}");
    }
    let set = set_of(&[1, 2, 3]);
    let bytes = bincode::encode_to_vec(&set, config).unwrap();
    assert_eq!(bincode::decode_from_slice(&bytes, config).unwrap(), (set, bytes.len()));
    let name = bincode::encode_to_vec("not a name", config).unwrap();
    assert!(bincode::decode_from_slice::<NodeName, _>(&name, config).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tickets_and_outcomes_come_through_a_store(ticket in tickets(), outcome in outcomes(), operation in operations()) {
        let config = bincode::config::standard();
        let bytes = bincode::encode_to_vec(&ticket, config).unwrap();
        prop_assert_eq!(bincode::decode_from_slice(&bytes, config).unwrap(), (ticket, bytes.len()));
        let bytes = bincode::encode_to_vec((&outcome, &operation), config).unwrap();
        prop_assert_eq!(bincode::decode_from_slice(&bytes, config).unwrap(), ((outcome, operation), bytes.len()));
    }
}

#[test]
fn more_cosignatures_or_receipts_than_allowed_are_refused() {
    let head = Head {
        epoch: Epoch(0),
        height: Height(1),
        block: Digest::ZERO,
        log_size: 0,
        log_root: Digest::ZERO,
        time_seconds: 0,
    };
    let signed = Signed { body: head, signer: ValidatorIndex(0), signature: Signature([0; 64]) };
    let certificate = ReceiptCertificate { head, signatures: certificate::Signatures::default() };
    let cosign = |count| PeerMessage::Cosign(vec![signed.clone(); count]);
    let receipts = |count| PeerMessage::Receipts(vec![certificate.clone(); count]);
    for (message, limit) in
        [(&cosign as &dyn Fn(usize) -> PeerMessage, limits::COSIGN_HEADS_MAX), (&receipts, limits::RECEIPTS_SENT_MAX)]
    {
        let decoded = |count| decode(&encode(&message(count)).unwrap(), Class::Bundles);
        assert_eq!(decoded(limit), Ok(message(limit)));
        assert!(matches!(decoded(limit + 1), Err(WireError::Malformed(_))));
    }
}
