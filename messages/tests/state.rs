//! Test vectors of the state map, for whoever writes a verifier in another language, and proofs that must not hold.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use dtvn_messages::state::{Cut, NOTHING, Part, RawEntry, StateProof, bit, kind, node_hash, subtree_hash};
use dtvn_messages::{Digest, EventId, Layout, TicketId, Writer};
use serde_json::{Value, json};

fn ticket_name(event: &str, ticket: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    EventId::new(event).unwrap().write(&mut writer);
    TicketId::new(ticket).unwrap().write(&mut writer);
    writer.into_bytes()
}

/// Five entries, ascending by path.
fn entries() -> Vec<RawEntry> {
    let ticket = |number: u8| RawEntry {
        kind: kind::TICKET,
        name: ticket_name("default", &format!("T-{number}")),
        value: vec![number; 3],
    };
    let mut event = Writer::default();
    event.text("default");
    let event = RawEntry { kind: kind::EVENT, name: event.into_bytes(), value: vec![1, 0] };
    let log = RawEntry { kind: kind::LOG, name: Vec::new(), value: vec![0; 20] };
    let mut entries = vec![ticket(1), ticket(2), ticket(3), event, log];
    entries.sort_by_key(RawEntry::path);
    entries
}

fn leaves(entries: &[RawEntry]) -> Vec<(Digest, Digest)> {
    entries.iter().map(|entry| (entry.path(), entry.leaf())).collect()
}

/// A proof made from the definition alone.
fn prove(entries: &[RawEntry], path: &Digest) -> StateProof {
    let mut siblings = Vec::new();
    let mut rest = leaves(entries);
    while rest.len() > 1 {
        let depth = siblings.len();
        let (way, beside): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|leaf| bit(&leaf.0, depth) == bit(path, depth));
        siblings.push(subtree_hash(depth + 1, &beside));
        rest = way;
    }
    let end = rest.first().filter(|(at, _)| at != path).map(|(at, _)| {
        let entry = entries.iter().find(|entry| entry.path() == *at).unwrap();
        dtvn_messages::state::EndLeaf { path: *at, entry: dtvn_messages::sha256(&[&entry.to_bytes()]) }
    });
    StateProof { siblings, end }
}

#[test]
fn the_state_map_is_that_of_the_file() {
    let entries = entries();
    let entry = |entry: &RawEntry| {
        json!({
            "kind": entry.kind, "name": hex::encode(&entry.name), "value": hex::encode(&entry.value),
            "bytes": hex::encode(entry.to_bytes()), "path": entry.path(), "leaf": entry.leaf(),
        })
    };
    let roots: Value = (0..=entries.len()).map(|count| json!(subtree_hash(0, &leaves(&entries[..count])))).collect();
    let root = subtree_hash(0, &leaves(&entries));
    let absent = ticket_name("default", "T-9");
    let absent_proof = prove(&entries, &dtvn_messages::state::path(kind::TICKET, &absent));
    assert!(absent_proof.proves_absent(kind::TICKET, &absent, &root));
    let proofs: Value = entries
        .iter()
        .map(|entry| {
            let proof = prove(&entries, &entry.path());
            assert!(proof.proves(entry, &root));
            json!({ "path": entry.path(), "proof": hex::encode(proof.to_bytes()) })
        })
        .collect();
    let found = json!({
        "entries": entries.iter().map(entry).collect::<Value>(),
        "roots_of_the_first_n": roots,
        "inclusion": proofs,
        "absent": { "kind": kind::TICKET, "name": hex::encode(&absent), "proof": hex::encode(absent_proof.to_bytes()) },
    });
    let path = format!("{}/tests/vectors/state.json", env!("CARGO_MANIFEST_DIR"));
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
    assert!(
        expected == found,
        "the state map is not what {path} says: other nodes and verifiers could not follow. This is what the code makes \
         now:\n{}",
        serde_json::to_string_pretty(&found).unwrap()
    );
}

#[test]
fn no_leaf_or_node_passes_for_another() {
    let entries = entries();
    let root = subtree_hash(0, &leaves(&entries));
    for (position, entry) in entries.iter().enumerate() {
        let proof = prove(&entries, &entry.path());
        for other in entries.iter().filter(|other| *other != entry) {
            assert!(!proof.proves(other, &root));
            assert!(!proof.proves_absent(other.kind, &other.name, &root), "it is there");
        }
        let mut renamed = entry.clone();
        renamed.name.push(0);
        assert!(!proof.proves(&renamed, &root));
        // The other leaf at the end of the way must lie on the way.
        let mut lying = proof.clone();
        let neighbour = &entries[(position + 1) % entries.len()];
        let content = dtvn_messages::sha256(&[&neighbour.to_bytes()]);
        lying.end = Some(dtvn_messages::state::EndLeaf { path: neighbour.path(), entry: content });
        assert!(!lying.proves_absent(entry.kind, &entry.name, &root));
    }
    let longer = StateProof { siblings: vec![NOTHING; 257], end: None };
    assert!(!longer.proves_absent(kind::TICKET, b"x", &root));
}

#[test]
fn a_leaf_on_another_way_does_not_prove_absence() {
    // A single leaf is the root of its tree: at depth 0 it is on every way, below it is not.
    let entries = entries();
    let root = node_hash(&entries[0].leaf(), &NOTHING);
    let elsewhere = entries.iter().find(|entry| bit(&entry.path(), 0)).unwrap();
    let content = dtvn_messages::sha256(&[&entries[0].to_bytes()]);
    let end = Some(dtvn_messages::state::EndLeaf { path: entries[0].path(), entry: content });
    let proof = StateProof { siblings: vec![entries[0].leaf()], end };
    assert!(!proof.proves_absent(elsewhere.kind, &elsewhere.name, &root));
}

#[test]
fn a_cut_of_no_parts_is_nothing_and_one_part_is_the_root() {
    let root = subtree_hash(0, &leaves(&entries()));
    assert!(Cut::default().parts(&root).is_none());
    assert_eq!(Cut(vec![(0, root)]).parts(&root), Some(vec![(Part::WHOLE, root)]));
    assert!(Cut(vec![(0, root), (0, root)]).parts(&root).is_none());
    assert!(Cut(vec![(1, root); 2]).parts(&root).is_none());
}

#[test]
fn a_part_that_is_longer_than_allowed_is_malformed_wherever_it_is_read() {
    use dtvn_messages::limits::{SNAPSHOT_PART_BYTES_MAX, STATE_VALUE_BYTES_MAX};
    use dtvn_messages::snapshot::{decode_entries, encode_entries};
    use dtvn_messages::wire::{Class, PeerMessage, WireError, decode, encode};
    let entry = |number: u8| RawEntry { kind: 1, name: vec![number], value: vec![0; STATE_VALUE_BYTES_MAX] };
    let fits: Vec<_> = (0..3).map(entry).collect();
    assert_eq!(decode_entries(&encode_entries(&fits)).unwrap(), fits);
    let long = encode_entries(&(0..5).map(entry).collect::<Vec<_>>());
    assert!(long.len() as u64 > SNAPSHOT_PART_BYTES_MAX);
    assert!(decode_entries(&long).is_err());
    let message = |entries: Vec<u8>| PeerMessage::Part {
        height: dtvn_messages::Height(4),
        part: Part::WHOLE,
        entries: std::sync::Arc::new(entries),
    };
    let frame = encode(&message(encode_entries(&fits))).unwrap();
    assert!(decode(&frame, Class::Sync).is_ok());
    assert!(matches!(decode(&encode(&message(long)).unwrap(), Class::Sync), Err(WireError::Malformed(_))));
    let value = RawEntry { kind: 1, name: Vec::new(), value: vec![0; STATE_VALUE_BYTES_MAX + 1] };
    assert!(decode_entries(&encode_entries(&[value])).is_err());
}
