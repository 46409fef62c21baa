//! Every layout: what is written is read back, and what can be read is exactly what would be written; so a value has
//! one encoding, and a hash or signature over it one meaning.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::*;
use dtvn_messages::*;
use proptest::prelude::*;

/// A small damage to an encoding, that may leave it decodable.
#[derive(Debug, Clone)]
enum Damage {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Swap(usize, usize),
    Truncate(usize),
}

fn damages() -> impl Strategy<Value = Damage> {
    let place = any::<usize>();
    prop_oneof![
        4 => (place, any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        2 => (place, 0..3u8).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        1 => (place, any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => place.prop_map(Damage::Remove),
        1 => (place, place).prop_map(|(left, right)| Damage::Swap(left, right)),
        1 => place.prop_map(Damage::Truncate),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match damage {
            Damage::Replace(at, byte) => bytes[at % length] = *byte,
            Damage::Insert(at, byte) => bytes.insert(at % length, *byte),
            Damage::Remove(at) => drop(bytes.remove(at % length)),
            Damage::Swap(left, right) => bytes.swap(left % length, right % length),
            Damage::Truncate(at) => bytes.truncate(at % length),
        }
    }
    bytes
}

fn check<T: Layout + PartialEq + std::fmt::Debug>(value: &T, damages: &[Damage], noise: &[u8]) {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    for cut in 0..bytes.len() {
        assert!(T::from_bytes(&bytes[..cut]).is_err(), "cut at {cut} of {}", bytes.len());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(T::from_bytes(&longer), Err(DecodeError::Trailing(1)));
    for bytes in [damaged(bytes, damages), noise.to_vec()] {
        if let Ok(read) = T::from_bytes(&bytes) {
            assert_eq!(read.to_bytes(), bytes, "{read:?}");
        }
    }
}

macro_rules! layouts {
    ($($name:ident: $strategy:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(
                    value in $strategy,
                    damages in proptest::collection::vec(damages(), 1..4),
                    noise in proptest::collection::vec(any::<u8>(), 0..200),
                ) {
                    check(&value, &damages, &noise);
                }
            )*
        }
    };
}

layouts! {
    chain_id: chain_ids();
    node_name: node_names();
    event_id: event_ids();
    ticket_id: ticket_ids();
    idempotency_key: keys();
    vector_clock: clocks();
    action: actions();
    operation: operations();
    scan: scans();
    ticket: tickets();
    verdict: verdicts();
    outcome: outcomes();
    bundle_body: bundle_bodies();
    header: headers();
    block: blocks();
    vote: votes();
    checkpoint: checkpoints();
    signature_list: signature_lists();
    certificate: certificates();
    prepared_certificate: prepared();
    committed_proof: committed();
    stable_checkpoint: stable_checkpoints();
    view_change: view_changes();
    new_view: new_views();
    validator_set: validator_sets();
    validators_change: validators_changes();
    recovery: recoveries();
    membership: memberships();
    signed_vote: signed(votes());
    signed_checkpoint: signed(checkpoints());
    signed_view_change: signed(view_changes());
    signed_new_view: signed(new_views());
    signed_head: signed(heads());
    receipt_certificate: receipt_certificates();
    epoch_end: epoch_ends();
    any_evidence: evidence();
    state_entry: raw_entries();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A bundle keeps the bytes it came in, and no two different byte strings are one bundle.
    #[test]
    fn bundle(body in bundle_bodies(), signature in signatures(), damages in proptest::collection::vec(damages(), 1..4)) {
        let bundle = Bundle::assemble(body, signature, &chain());
        let read = Bundle::from_bytes(&bundle.bytes, &chain()).unwrap();
        prop_assert_eq!(&read, &bundle);
        let bytes = damaged(bundle.bytes.clone(), &damages);
        if let Ok(read) = Bundle::from_bytes(&bytes, &chain()) {
            let again = Bundle::assemble(read.body.clone(), read.signature, &chain());
            prop_assert_eq!(&again.bytes, &bytes);
            prop_assert_eq!(read.digest == bundle.digest, read.body == bundle.body);
        }
    }

    /// What passes [`Operation::check`] can be read by every peer, and what does not cannot.
    #[test]
    fn checked_operations_are_readable(operation in operations(), part in 0..9usize, over in any::<bool>()) {
        let operation = at_limit(operation, part, over);
        prop_assert_eq!(operation.check().is_ok(), !over);
        prop_assert_eq!(Operation::from_bytes(&operation.to_bytes()).is_ok(), !over);
    }

    /// The same fields under another chain, epoch or kind of statement are other signed bytes.
    #[test]
    fn signed_bytes_bind_chain_epoch_and_kind(vote in votes(), other_chain in chain_ids()) {
        prop_assume!(other_chain != chain());
        let bytes = vote.signed_bytes(&chain());
        prop_assert_ne!(&bytes, &vote.signed_bytes(&other_chain));
        let other_kind = if vote.kind == VoteKind::Commit { VoteKind::Prepare } else { VoteKind::Commit };
        prop_assert_ne!(&bytes, &Vote { kind: other_kind, ..vote }.signed_bytes(&chain()));
        prop_assert_ne!(&bytes, &Vote { epoch: Epoch(vote.epoch.0 ^ 1), ..vote }.signed_bytes(&chain()));
        prop_assert_ne!(&bytes, &Vote { view: View(vote.view.0 ^ 1), ..vote }.signed_bytes(&chain()));
        prop_assert_ne!(&bytes, &Vote { height: Height(vote.height.0 ^ 1), ..vote }.signed_bytes(&chain()));
    }

    /// Clocks form a lattice: the merge covers both, and nothing less does.
    #[test]
    fn merged_clocks_cover_both(left in clocks(), right in clocks()) {
        let mut merged = left.clone();
        merged.merge(&right);
        prop_assert!(merged.covers(&left) && merged.covers(&right));
        for (node, counter) in merged.iter() {
            prop_assert_eq!(counter, left.get(node).max(right.get(node)));
        }
        prop_assert_eq!(left.covers(&right), merged == left);
        prop_assert_eq!(left.partial_cmp(&right), right.partial_cmp(&left).map(std::cmp::Ordering::reverse));
    }
}

/// The operation with one part exactly at its limit, or just over it.
fn at_limit(mut operation: Operation, part: usize, over: bool) -> Operation {
    let extra = usize::from(over);
    let text = |limit: usize| -> Box<str> { "x".repeat(limit + extra).into() };
    let ticket = TicketId::new("T").unwrap();
    let issue =
        |data, metadata| Action::Issue { ticket: ticket.clone(), data, metadata, valid_from: None, valid_until: None };
    match part {
        0 => operation.gate = Some(text(limits::LABEL_BYTES_MAX)),
        1 => operation.device = Some(text(limits::LABEL_BYTES_MAX)),
        2 => {
            let entry = |number| (NodeName::new(&format!("v{number}")).unwrap(), 1);
            operation.seen = Some((0..limits::VALIDATORS_MAX + extra).map(entry).collect());
        }
        3 => operation.action = issue(Some(text(limits::TICKET_DATA_BYTES_MAX)), Default::default()),
        4 => {
            let entry = |number: usize| (number.to_string().into(), "".into());
            operation.action = issue(None, (0..limits::METADATA_ENTRIES_MAX + extra).map(entry).collect());
        }
        5 => operation.action = issue(None, [(text(limits::LABEL_BYTES_MAX), "".into())].into()),
        6 => operation.action = issue(None, [("".into(), text(limits::METADATA_VALUE_BYTES_MAX))].into()),
        7 => operation.action = Action::Consume { ticket, data: Some(text(limits::TICKET_DATA_BYTES_MAX)) },
        _ => operation.action = Action::Dispute { ticket, reason: Some(text(limits::REASON_BYTES_MAX)) },
    }
    operation
}

#[test]
fn names_at_their_bounds() {
    let long = |length: usize| "x".repeat(length);
    assert!(TicketId::new(&long(128)).is_ok() && TicketId::new(&long(129)).is_err() && TicketId::new("").is_err());
    assert!(EventId::new(&long(128)).is_ok() && EventId::new(&long(129)).is_err());
    assert!(NodeName::new(&long(63)).is_ok() && NodeName::new(&long(64)).is_err());
    assert!(ChainId::new(&long(64)).is_ok() && ChainId::new(&long(65)).is_err());
    assert!(IdempotencyKey::new(&long(16)).is_ok() && IdempotencyKey::new(&long(15)).is_err());
    assert!(IdempotencyKey::new(&long(128)).is_ok() && IdempotencyKey::new(&long(129)).is_err());
    for bad in ["a/b", "a\\b", "a\nb", "a\0b", "a\u{200b}b", "a\u{202e}b", "\u{feff}a"] {
        assert!(TicketId::new(bad).is_err(), "{bad:?}");
        let mut writer = Writer::default();
        writer.text(bad);
        assert!(TicketId::from_bytes(writer.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(NodeName::new("-a").is_err() && NodeName::new("a-").is_ok() && NodeName::new("A").is_err());
    assert!(IdempotencyKey::new("ééééééééé").is_err());
}

#[test]
fn a_count_promises_no_more_than_the_input_holds() {
    let mut writer = Writer::default();
    writer.u64(0);
    writer.u16(0);
    writer.u64(0);
    writer.u64(0);
    writer.u32(limits::BUNDLE_OPERATIONS_MAX as u32);
    // All that it promises is missing: found out before room is made for it.
    let missing = limits::BUNDLE_OPERATIONS_MAX * 32;
    assert_eq!(BundleBody::from_bytes(writer.as_bytes()), Err(DecodeError::Short { missing }));
    let mut writer = Writer::default();
    writer.u32(u32::MAX);
    assert!(matches!(ValidatorSet::from_bytes(writer.as_bytes()), Err(DecodeError::TooLarge { .. })));
}

/// A list of (text, number or text) as a vector clock or metadata would write it.
fn entries<T>(entries: &[(&str, T)], write: impl Fn(&mut Writer, &T)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.count(entries.len());
    for (name, value) in entries {
        writer.text(name);
        write(&mut writer, value);
    }
    writer.into_bytes()
}

#[test]
fn entries_out_of_order_or_twice_are_refused() {
    let clock = |list: &[(&str, u64)]| VectorClock::from_bytes(&entries(list, |writer, value| writer.u64(*value)));
    assert!(clock(&[("a", 1), ("b", 1)]).is_ok());
    for bad in [&[("b", 1), ("a", 1)][..], &[("a", 1), ("a", 1)], &[("a", 1), ("a", 2)], &[("a", 0)]] {
        assert!(matches!(clock(bad), Err(DecodeError::Invalid(_))), "{bad:?}");
    }
    let issue = |list: &[(&str, &str)]| {
        let mut bytes = Writer::default();
        bytes.u8(1);
        bytes.text("T");
        bytes.u8(0);
        bytes.fixed(&entries(list, |writer, value| writer.text(value)));
        bytes.u16(0);
        Action::from_bytes(bytes.as_bytes())
    };
    assert!(issue(&[("a", "1"), ("b", "1")]).is_ok());
    for bad in [&[("b", "1"), ("a", "1")][..], &[("a", "1"), ("a", "1")], &[("a", "1"), ("a", "2")]] {
        assert!(matches!(issue(bad), Err(DecodeError::Invalid(_))), "{bad:?}");
    }
}
