//! The bounds on what is read: at the limit it is taken, one more is refused before room is made for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::note::{NoteError, NoteSignature, SignedNote};
use dtvn_messages::snapshot::{Manifest, decode_entries, encode_entries};
use dtvn_messages::state::{Cut, RawEntry};
use dtvn_messages::wire::{Class, PeerMessage, WireError, decode, encode};
use dtvn_messages::*;

fn is_too_large<T: std::fmt::Debug>(read: Result<T, DecodeError>, most: usize) {
    assert!(
        matches!(read, Err(DecodeError::TooLarge { found, limit, .. }) if found > most && limit == most),
        "{read:?}"
    );
}

fn operation(number: usize, data_bytes: usize) -> Operation {
    let ticket = TicketId::new("T").unwrap();
    let data = Some("x".repeat(data_bytes).into());
    Operation::new(
        IdempotencyKey::new(&format!("a key of a test {number:>8}")).unwrap(),
        Action::Validate { ticket, data },
    )
}

fn bundle(operations: usize, data_bytes: usize) -> Arc<Bundle> {
    let operations = (0..operations).map(|number| operation(number, data_bytes)).collect();
    let body = BundleBody { epoch: Epoch(2), origin: ValidatorIndex(0), start: 1, number: 0, operations };
    Bundle::sign(body, &chain(), &key_pair(0))
}

#[test]
fn a_bundle_of_too_many_operations_or_bytes_is_malformed() {
    let read = |bundle: &Bundle| Bundle::from_bytes(&bundle.bytes, &chain());
    let most = bundle(limits::BUNDLE_OPERATIONS_MAX, 0);
    assert_eq!(read(&most).unwrap(), most);
    is_too_large(read(&bundle(limits::BUNDLE_OPERATIONS_MAX + 1, 0)), limits::BUNDLE_OPERATIONS_MAX);
    // As many of the largest as fit.
    let one =
        bundle(2, limits::TICKET_DATA_BYTES_MAX).bytes.len() - bundle(1, limits::TICKET_DATA_BYTES_MAX).bytes.len();
    let fitting = bundle((limits::BUNDLE_BYTES_MAX - 200) / one, limits::TICKET_DATA_BYTES_MAX);
    assert!(limits::BUNDLE_BYTES_MAX - fitting.bytes.len() <= one);
    assert_eq!(read(&fitting).unwrap(), fitting);
    is_too_large(
        read(&bundle(limits::BUNDLE_BYTES_MAX / one + 1, limits::TICKET_DATA_BYTES_MAX)),
        limits::BUNDLE_BYTES_MAX,
    );
}

#[test]
fn a_block_of_too_many_bundles_is_malformed() {
    let block = |bundles: usize| Block { header: header_at(9), bundles: vec![Digest([1; 32]); bundles] };
    let most = block(limits::BLOCK_BUNDLES_MAX);
    assert_eq!(Block::from_bytes(&most.to_bytes()), Ok(most));
    is_too_large(Block::from_bytes(&block(limits::BLOCK_BUNDLES_MAX + 1).to_bytes()), limits::BLOCK_BUNDLES_MAX);
}

/// A layout that ends in the count of a list.
fn counted(write: impl FnOnce(&mut Writer), count: usize) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.count(count);
    writer.into_bytes()
}

#[test]
fn a_view_change_has_at_most_a_certificate_for_each_height_of_the_largest_window() {
    let view_change = |count| {
        let head = |writer: &mut Writer| {
            Epoch(2).write(writer);
            View(1).write(writer);
            writer.u8(0);
            writer.u8(0);
        };
        ViewChange::from_bytes(&counted(head, count))
    };
    assert!(matches!(view_change(limits::LOG_WINDOW_MAX), Err(DecodeError::Short { .. })), "all of them are missing");
    is_too_large(view_change(limits::LOG_WINDOW_MAX + 1), limits::LOG_WINDOW_MAX);
}

#[test]
fn signatures_and_the_view_changes_of_evidence_are_at_most_as_many_as_validators() {
    let signatures = |count: usize| {
        let one = |index| (ValidatorIndex(index as u16), Signature([1; 64]));
        Signatures::from_bytes(&Signatures((0..count).map(one).collect()).to_bytes())
    };
    assert!(signatures(limits::VALIDATORS_MAX).is_ok());
    is_too_large(signatures(limits::VALIDATORS_MAX + 1), limits::VALIDATORS_MAX);

    let by = |body: Vote| Signed::new(body, &chain(), ValidatorIndex(0), &key_pair(0));
    let vote = by(vote_for(&header_at(9), VoteKind::Prepare, 3));
    let view_change =
        ViewChange { epoch: Epoch(2), view: View(3), stable: None, committed: None, prepared: Vec::new() };
    let new_view = NewView { epoch: Epoch(2), view: View(3), view_changes: Vec::new() };
    let new_view = Signed::new(new_view, &chain(), ValidatorIndex(0), &key_pair(0));
    let evidence = |count| {
        let evidence = Evidence::AgainstNewView(new_view.clone(), vec![view_change.clone(); count], vote.clone());
        Evidence::decode(&evidence.to_bytes())
    };
    assert!(evidence(limits::EVIDENCE_VIEW_CHANGES_MAX).is_ok());
    is_too_large(evidence(limits::EVIDENCE_VIEW_CHANGES_MAX + 1), limits::EVIDENCE_VIEW_CHANGES_MAX);
}

#[test]
fn an_answer_shows_so_many_epochs_and_parts() {
    let header = header_at(256);
    let checkpoint = Checkpoint {
        epoch: header.epoch,
        height: header.height,
        block: Digest::ZERO,
        state_root: Digest::ZERO,
        next_epoch: header.epoch,
        next_set: Digest::ZERO,
    };
    let stable = StableCheckpoint { header: header.clone(), checkpoint, signatures: Signatures::default() };
    let certificate = Certificate { vote: vote_for(&header, VoteKind::Commit, 6), signatures: Signatures::default() };
    let committed = CommittedProof { header: header.clone(), certificate };
    let end = Arc::new(EpochEnd { committed, stable: stable.clone(), next: set_of(&[1]) });
    let shown = |ends: usize, parts: usize| {
        let manifest = Manifest {
            stable: Arc::new(stable.clone()),
            block: Arc::new(Block { header: header.clone(), bundles: Vec::new() }),
            certificate: None,
            cut: Cut(vec![(16, Digest::ZERO); parts]),
            edge: Vec::new(),
            ends: vec![Arc::clone(&end); ends],
        };
        decode(&encode(&PeerMessage::Snapshot(Arc::new(manifest))).unwrap(), Class::Sync)
    };
    assert!(shown(limits::EPOCH_ENDS_MAX, limits::SNAPSHOT_PARTS_MAX).is_ok());
    for too_many in [(limits::EPOCH_ENDS_MAX + 1, 1), (1, limits::SNAPSHOT_PARTS_MAX + 1)] {
        let refused = shown(too_many.0, too_many.1);
        assert!(matches!(refused, Err(WireError::Malformed(_))), "{too_many:?}: {refused:?}");
    }
    let alone = |ends| {
        let message = PeerMessage::EpochEnds(vec![Arc::clone(&end); ends]);
        decode(&encode(&message).unwrap(), Class::Sync)
    };
    assert!(alone(limits::EPOCH_ENDS_MAX).is_ok());
    let refused = alone(limits::EPOCH_ENDS_MAX + 1);
    assert!(matches!(refused, Err(WireError::Malformed(_))), "{refused:?}");
}

#[test]
fn a_state_entry_with_a_longer_name_is_malformed() {
    let entry = |name_bytes| vec![RawEntry { kind: 1, name: vec![7; name_bytes], value: Vec::new() }];
    let most = entry(limits::STATE_NAME_BYTES_MAX);
    assert_eq!(decode_entries(&encode_entries(&most)), Ok(most));
    is_too_large(
        decode_entries(&encode_entries(&entry(limits::STATE_NAME_BYTES_MAX + 1))),
        limits::STATE_NAME_BYTES_MAX,
    );
}

#[test]
fn a_note_of_too_many_signatures_or_bytes_is_refused() {
    let line = |number: usize| NoteSignature { name: format!("k{number}"), key_id: [1; 4], payload: vec![2; 72] };
    let note = |signatures: usize| {
        let note = SignedNote { text: "a text\n".to_owned(), signatures: (0..signatures).map(line).collect() };
        SignedNote::parse(&note.to_text())
    };
    assert!(note(limits::NOTE_SIGNATURES_MAX).is_ok());
    assert!(matches!(note(limits::NOTE_SIGNATURES_MAX + 1), Err(NoteError::Form(_))));
    let long = format!("{}\n\n{}", "a".repeat(limits::NOTE_BYTES_MAX), line(0).line());
    let limit = limits::NOTE_BYTES_MAX;
    assert_eq!(SignedNote::parse(&long), Err(NoteError::TooLong { found: long.len(), limit }));
}
