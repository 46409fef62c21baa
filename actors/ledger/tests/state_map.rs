//! The state map against a naive model of its definition, its proofs, its cuts, and snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use dtvn_ledger::state::ticket_name;
use dtvn_ledger::{Bounds, Ledger, LedgerImage, StateEntry, StateMap};
use dtvn_messages::state::{NOTHING, Part, RawEntry, StateProof, bit, kind, node_hash, subtree_hash};
use dtvn_messages::{BundlePosition, Digest, Epoch, EventId, LastBundle, Layout, NodeName};
use proptest::prelude::*;

/// The definition, as it is written: by filtering bits, without order or sharing.
fn definition(depth: usize, leaves: &[(Digest, Digest)]) -> Digest {
    match leaves {
        [] => NOTHING,
        [(_, leaf)] => *leaf,
        _ => {
            let side = |right: bool| -> Vec<(Digest, Digest)> {
                leaves.iter().filter(|(path, _)| bit(path, depth) == right).copied().collect()
            };
            node_hash(&definition(depth + 1, &side(false)), &definition(depth + 1, &side(true)))
        }
    }
}

fn root_by_definition<'a>(entries: impl Iterator<Item = &'a StateEntry>) -> Digest {
    let leaves: Vec<_> = entries.map(|entry| (entry.path(), entry.to_raw().leaf())).collect();
    definition(0, &leaves)
}

fn entry(name: u16, value: u64) -> StateEntry {
    let position = BundlePosition { start: value, number: value / 3 };
    StateEntry::LastBundle(NodeName::new(&format!("n{name}")).unwrap(), LastBundle { epoch: Epoch(0), position })
}

fn path_of(name: u16) -> Digest {
    entry(name, 0).path()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_map_is_its_definition_whatever_its_history(
        batches in prop::collection::vec(
            prop::collection::vec((0u16..40, prop::option::of(0u64..9)), 0..30), 1..8),
        asked in 0u16..60,
    ) {
        let (mut map, mut model) = (StateMap::default(), BTreeMap::new());
        let mut versions = Vec::new();
        for batch in batches {
            let change = |(name, value): &(u16, Option<u64>)| (path_of(*name), value.map(|value| entry(*name, value)));
            map.update(batch.iter().map(change));
            for (name, value) in batch {
                match value {
                    Some(value) => drop(model.insert(name, entry(name, value))),
                    None => drop(model.remove(&name)),
                }
            }
            let root = root_by_definition(model.values());
            prop_assert_eq!(map.root(), root);
            prop_assert_eq!(map.len(), model.len() as u64);
            versions.push((map.clone(), root, model.clone()));
        }
        // What was a version stays it, whatever came after.
        for (version, root, model) in &versions {
            prop_assert_eq!(version.root(), *root);
            prop_assert_eq!(version.entries().len(), model.len());
            let name = entry(asked, 0).to_raw().name;
            let (found, proof) = version.prove(kind::LAST_BUNDLE, &name);
            prop_assert_eq!(&found, &model.get(&asked).map(StateEntry::to_raw));
            match &found {
                Some(raw) => {
                    prop_assert!(proof.proves(raw, root));
                    let other = RawEntry { value: vec![1], ..raw.clone() };
                    prop_assert!(!proof.proves(&other, root));
                    prop_assert!(!proof.proves_absent(kind::LAST_BUNDLE, &name, root));
                }
                None => {
                    prop_assert!(proof.proves_absent(kind::LAST_BUNDLE, &name, root));
                    prop_assert!(!proof.proves(&entry(asked, 3).to_raw(), root));
                }
            }
            prop_assert_eq!(StateProof::from_bytes(&proof.to_bytes()).unwrap(), proof.clone());
            let mut shorter = proof;
            if shorter.siblings.pop().is_some() {
                prop_assert!(found.is_none_or(|raw| !shorter.proves(&raw, root)));
                prop_assert!(!shorter.proves_absent(kind::LAST_BUNDLE, &name, root));
            }
        }
        // The first difference is found, and is one.
        let (first, last) = (&versions[0], &versions[versions.len() - 1]);
        let difference = first.0.first_difference(&last.0);
        let differing = (0..40).filter(|name| first.2.get(name) != last.2.get(name)).map(|name| (path_of(name), name));
        match (differing.min(), difference) {
            (None, found) => prop_assert!(found.is_none()),
            (Some((path, name)), found) => {
                let found = found.unwrap();
                prop_assert_eq!((found.path, found.own.as_ref()), (path, first.2.get(&name)));
                prop_assert_eq!(found.other.as_ref(), last.2.get(&name));
            }
        }
    }

    #[test]
    fn a_cut_is_the_whole_tree_and_each_part_proves_itself(count in 0u16..200, bytes_max in 40u64..2_000) {
        let map = StateMap::of((0..count).map(|name| entry(name, u64::from(name))));
        let cut = map.cut(bytes_max);
        let parts = cut.parts(&map.root()).unwrap();
        let mut all = Vec::new();
        for (part, hash) in &parts {
            let entries = map.part(part, bytes_max.max(60)).unwrap();
            prop_assert_eq!(part.hash_of(&entries), Some(*hash));
            prop_assert!(entries.len() == 1 || entries.iter().map(|raw| raw.to_bytes().len() as u64).sum::<u64>() <= bytes_max);
            if let Some((_, rest)) = entries.split_first() {
                prop_assert_ne!(part.hash_of(rest), Some(*hash), "an entry less is another part");
                let mut altered = entries.clone();
                altered[0].value[0] ^= 1;
                prop_assert_ne!(part.hash_of(&altered), Some(*hash));
            }
            all.extend(entries);
        }
        prop_assert_eq!(all.len(), usize::from(count));
        let again = StateMap::of(all.iter().map(|raw| StateEntry::from_raw(raw).unwrap()));
        prop_assert_eq!(again.root(), map.root());
        // No other list of parts is this tree.
        for at in 0..cut.0.len() {
            let mut other = cut.clone();
            other.0[at].1.0[5] ^= 1;
            prop_assert!(other.parts(&map.root()).is_none());
            let mut other = cut.clone();
            other.0[at].0 = other.0[at].0.wrapping_add(1);
            prop_assert!(other.parts(&map.root()).is_none());
            let mut other = cut.clone();
            other.0.remove(at);
            prop_assert!(other.parts(&map.root()).is_none());
        }
        let mut longer = cut;
        longer.0.push((longer.0[0].0, NOTHING));
        prop_assert!(longer.parts(&map.root()).is_none());
    }
}

#[test]
fn a_part_that_is_too_long_is_refused_and_foreign_or_unsorted_entries_prove_nothing() {
    let map = StateMap::of((0..50).map(|name| entry(name, 1)));
    assert!(map.part(&Part::WHOLE, 100).is_none());
    let entries = map.part(&Part::WHOLE, 1 << 20).unwrap();
    assert_eq!(Part::WHOLE.hash_of(&entries), Some(map.root()));
    let reversed: Vec<_> = entries.iter().rev().cloned().collect();
    assert_eq!(Part::WHOLE.hash_of(&reversed), None);
    let twice: Vec<_> = entries.iter().flat_map(|raw| [raw.clone(), raw.clone()]).collect();
    assert_eq!(Part::WHOLE.hash_of(&twice), None);
    assert_eq!(Part::WHOLE.half(false).unwrap().hash_of(&entries), None, "half of them lie in the other half");
    assert_eq!(subtree_hash(0, &[]), NOTHING);
}

/// A chain with some history, block by block.
fn worked() -> (Chain, StateMap) {
    let mut chain = Chain::of(genesis(), Bounds::default());
    let mut map = chain.ledger.image().state_map(&chain.genesis);
    for round in 0..30u64 {
        let now = START + 1_000 + round * RETENTION / 7;
        let act = |name: &str, action| operation(&format!("{name}-{round}"), now, action);
        let ticket = format!("T{round}");
        let operations = vec![
            act("issue", issue(&ticket)),
            act("validate", validate(&ticket)),
            act("again", validate(&ticket)),
            act("older", consume(&format!("T{}", round / 2))),
        ];
        let origin = u16::try_from(round % 3).unwrap();
        let effects = chain.block(now, vec![(origin, operations)]);
        map.apply(&[Arc::new(effects)]);
        assert_eq!(map.root(), chain.ledger.image().state_root(&chain.genesis), "after block {round}");
    }
    (chain, map)
}

#[test]
fn blocks_lead_the_map_to_the_state_that_they_lead_the_ledger_to() {
    let (chain, map) = worked();
    let image = chain.ledger.image();
    assert!(image.keys.len() < 60 && !image.keys.is_empty(), "keys were added and have expired");
    assert_eq!(image.accepted, 30 + 30 + 15);
    assert_eq!(map.len(), (1 + chain.genesis.file().events.len() + 30 + image.keys.len() + 3 + 1) as u64);
    assert_eq!(root_by_definition(map.entries().iter()), map.root());
    let name = ticket_name(&EventId::default_event(), &ticket_id("T3"));
    let (found, proof) = map.prove(kind::TICKET, &name);
    assert!(proof.proves(&found.unwrap(), &map.root()));
}

#[test]
fn several_blocks_at_once_are_the_same_as_one_by_one() {
    let mut chain = Chain::new();
    let mut at_once = chain.ledger.image().state_map(&chain.genesis);
    let mut one_by_one = at_once.clone();
    let mut blocks = Vec::new();
    for round in 0..20u64 {
        // Keys expire and are used anew within the batch.
        let now = START + 1 + round * (RETENTION / 2 + 1);
        let operation = operation(&format!("key-{}", round % 3), now, issue(&format!("T{round}")));
        blocks.push(Arc::new(chain.block(now, vec![(0, vec![operation])])));
        one_by_one.apply(&blocks[blocks.len() - 1..]);
    }
    at_once.apply(&blocks);
    assert_eq!(at_once.root(), one_by_one.root());
    assert_eq!(at_once.root(), chain.ledger.image().state_root(&chain.genesis));
}

#[test]
fn a_ledger_that_is_made_from_entries_goes_on_as_the_one_that_they_are_of() {
    let (mut chain, map) = worked();
    let image = chain.ledger.image();
    let raw: Vec<RawEntry> = map.entries().iter().map(StateEntry::to_raw).collect();
    let entries = raw.iter().map(|raw| StateEntry::from_raw(&RawEntry::from_bytes(&raw.to_bytes()).unwrap()).unwrap());
    let made = LedgerImage::from_entries(&chain.genesis, image.height, image.timestamp, entries).unwrap();
    assert_eq!(made, image);
    let mut other = Ledger::load(&chain.genesis, made).unwrap();
    let now = image.timestamp.0 + 5;
    let bundle = chain.bundle(0, vec![operation("later", now, consume("T29"))]);
    let executed = chain.execute(now, std::slice::from_ref(&bundle));
    let block = dtvn_ledger::BlockInput {
        height: other.tip().next(),
        timestamp: dtvn_messages::Timestamp(now),
        bundles: &[bundle],
        set: chain.genesis.validators(),
        scheme: &dtvn_messages::Ed25519,
    };
    assert_eq!(other.execute(&block), executed);
}

#[test]
fn entries_that_are_no_state_of_this_chain_are_refused() {
    let (chain, map) = worked();
    let image = |entries: Vec<StateEntry>| {
        LedgerImage::from_entries(&chain.genesis, chain.ledger.tip(), chain.ledger.tip_timestamp(), entries)
    };
    let without = |kind: u8| map.entries().into_iter().filter(|entry| entry.kind() != kind).collect::<Vec<_>>();
    assert!(image(map.entries()).is_ok());
    assert!(image(without(kind::EVENT)).unwrap_err().to_string().contains("events"));
    assert!(image(without(kind::LOG)).unwrap_err().to_string().contains("log"));
    for twice in [kind::LOG, kind::MEMBERSHIP, kind::EVENT] {
        let more = map.entries().into_iter().filter(|entry| entry.kind() == twice).take(1);
        assert!(image(map.entries().into_iter().chain(more).collect()).is_err(), "two of kind {twice}");
    }
    let path = map.entries()[0].path();
    assert_eq!(map.get(&path).map(StateEntry::path), Some(path));
    assert_eq!(map.get(&path_of(9_999)), None);
    for raw in map.entries().iter().map(StateEntry::to_raw) {
        let mut renamed = raw.clone();
        renamed.name.push(b'x');
        assert!(StateEntry::from_raw(&renamed).is_err(), "{raw:?} under another name");
        let mut longer = raw.clone();
        longer.value.push(0);
        assert!(StateEntry::from_raw(&longer).is_err(), "{raw:?} with a byte more");
    }
    assert!(StateEntry::from_raw(&RawEntry { kind: 99, name: Vec::new(), value: Vec::new() }).is_err());
}

#[test]
fn a_difference_says_what_each_side_has_there() {
    let (_, map) = worked();
    // One is there and not here, for each kind of entry.
    let told = |part: &StateEntry| {
        let less = StateMap::of(map.entries().into_iter().filter(|entry| entry != part));
        less.first_difference(&map).unwrap().to_string()
    };
    let mut seen = 0;
    for part in map.entries() {
        let path = part.path();
        let what = match &part {
            StateEntry::Ticket(ticket) if ticket.id == ticket_id("T3") => {
                "ticket T3 of event default (CONSUMED, version 3)".to_owned()
            }
            StateEntry::Event(policy) if policy.id == event("gala") => "event gala".to_owned(),
            StateEntry::Key(entry) => {
                format!("idempotency key {} (outcome {})", entry.outcome.key, entry.outcome.index)
            }
            StateEntry::LastBundle(origin, _) if *origin == node("west") => {
                "last bundle of west (number 9 of start 1)".to_owned()
            }
            StateEntry::Membership(_) => "validators of epoch 0".to_owned(),
            StateEntry::Log(_) => format!("transparency log of {} outcomes", 4 * 30),
            _ => continue,
        };
        assert_eq!(told(&part), format!("nothing here, {what} there, at path {path}"));
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}
