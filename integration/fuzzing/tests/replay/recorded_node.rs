//! Inputs for the decoders of the heavier crates.

use dtvn::cluster::{Roster, RosterNode};
use dtvn::config::keys::KeyFile;
use dtvn_actors::network::greet;
use dtvn_actors::storage::amnesia;
use dtvn_actors::storage::store::inspect::{self, Value};
use dtvn_actors::storage::store::{IfMissing, LocalView, Store, StoreIdentity, StoreOptions, StoredBlock};
use dtvn_fuzzing::targets::{network, node, store as targets_store};
use dtvn_messages::merkle::{Frontier, leaf_hash};
use dtvn_messages::*;
use futures::executor::block_on;
use futures::io::Cursor;

use crate::recorded::Recorded;

pub fn all(recorded: &mut Recorded) {
    let mut said = Cursor::new(Vec::new());
    // It says what it has to say, and then hears nothing.
    assert!(block_on(greet(&mut said, &network::hello(), true)).is_err());
    recorded.add("handshake", "hello", said.into_inner());
    for piece in [1_u8, 7, 200] {
        let frames = [&[0, 0, 0, 3][..], b"abc", &[0; 4], &[0, 0, 1, 0], &[9; 256]].concat();
        recorded.choose("frames", "stream", piece, &frames);
    }
    files(recorded);
    store(recorded);
    recorded.choose("http_inputs", "said", 1, br#"{"type":"auth","key":"a key"}"#);
    recorded.choose("http_inputs", "said", 1, br#"{"type":"ping"}"#);
    recorded.choose("http_inputs", "position", 2, b"17.42");
    let address = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C";
    recorded.choose("http_inputs", "address", 3, address.as_bytes());
    recorded.choose("http_inputs", "address", 3, b"/dns4/node0.example/udp/4001/quic-v1");
    recorded.choose("http_inputs", "tile", 4, b"2/x001/x234/067");
    recorded.choose("http_inputs", "tile", 4, b"entries/273.p/112");
    for level in [&b"info"[..], b"WARN", b"info,dtvn_pbft=debug", b"warn, dtvn=trace"] {
        recorded.choose("http_inputs", "log-level", 5, level);
    }
    cursors(recorded);
    marks(recorded);
}

fn cursors(recorded: &mut Recorded) {
    let (list, genesis) = targets_store::LIST;
    for key in [&b"default\0TICKET-001"[..], &[0; 8], &[]] {
        recorded.choose("cursors", "cursor", 0, inspect::cursor(list, &genesis, key).as_bytes());
        recorded.choose("cursors", "key", 1, key);
    }
}

fn marks(recorded: &mut Recorded) {
    let folder = tempfile::tempdir().unwrap();
    amnesia::lift(folder.path(), Some(Epoch(12))).unwrap();
    let recovered = std::fs::read(folder.path().join("RECOVERED")).unwrap();
    recorded.named("amnesia_marks", node::MARKS, "RECOVERED", &recovered);
    let forgotten = b"070707070707070707070707070707aa\nthe log is damaged: segment 3\n";
    recorded.named("amnesia_marks", node::MARKS, "AMNESIA", forgotten);
}

fn files(recorded: &mut Recorded) {
    let folder = tempfile::tempdir().unwrap();
    recorded.choose("node_files", "identity", 0, &serde_json::to_vec_pretty(&node::identity()).unwrap());
    let path = folder.path().join("key");
    // A fixed key, so that the recorded file is the same each time but for its date.
    let mut key = KeyFile::generate(Some("node0".parse().unwrap())).unwrap();
    key.pair = KeyPair::from_seed(&[3; 32]);
    key.created = "2026-01-01T00:00:00Z".parse().unwrap();
    key.save_new(&path).unwrap();
    recorded.choose("node_files", "key", 1, &std::fs::read(&path).unwrap());
    let settings = "[node]\nid = \"node0\"\ntotal_nodes = 4\n\n[p2p]\nport = 0\n\n[api]\nport = 0\n";
    recorded.choose("node_files", "settings", 2, settings.as_bytes());
    let node = |number: u16| RosterNode {
        name: format!("node{number}"),
        pid: 4_711,
        started_at: 123_456,
        api: format!("127.0.0.1:{}", 8_081 + number),
        admin: format!("127.0.0.1:{}", 9_081 + number),
    };
    Roster { nodes: (0..2).map(node).collect() }.save(folder.path()).unwrap();
    recorded.choose("node_files", "devnet", 3, &std::fs::read(Roster::file(folder.path())).unwrap());
}

/// The values of the database: most are layouts that the network's recording has already.
fn store(recorded: &mut Recorded) {
    let number = |value: Value| u8::try_from(Value::ALL.iter().position(|known| *known == value).unwrap()).unwrap();
    let of_layouts = [
        ("ticket", Value::Ticket),
        ("outcome", Value::Outcome),
        ("stable", Value::Checkpoint),
        ("view-change", Value::ViewChange),
        ("evidence", Value::Evidence),
        ("receipt", Value::Receipt),
        ("membership", Value::Membership),
        ("epoch-end", Value::EpochEnd),
    ];
    for (kind, value) in of_layouts {
        for (_, input) in recorded.of("layouts", 3).into_iter().filter(|(name, _)| name == kind) {
            recorded.choose("store_records", kind, number(value), &input[1..]);
        }
    }
    let mut with_height = Vec::new();
    for (kind, input) in recorded.of("layouts", 3) {
        match kind.as_str() {
            "new-view" => with_height.push([&8_u64.to_be_bytes(), &input[1..]].concat()),
            "block" => {
                let stored = stored_block(Block::from_bytes(&input[1..]).unwrap());
                let value = bincode::encode_to_vec(&stored, bincode::config::standard()).unwrap();
                recorded.choose("store_records", "block", number(Value::Block), &value);
            }
            _ => {}
        }
    }
    for value in with_height {
        recorded.choose("store_records", "new-view", number(Value::NewView), &value);
    }
    recorded.choose("store_records", "key", number(Value::Key), &7_u64.to_be_bytes());
    let last = LastBundle { epoch: Epoch(1), position: BundlePosition { start: 300, number: 70_000 } };
    let last = bincode::encode_to_vec(last, bincode::config::standard()).unwrap();
    recorded.choose("store_records", "last-bundle", number(Value::LastBundle), &last);
    recorded.choose("store_records", "applied", number(Value::Applied), &applied());
    let installed = [256_u64, 77].map(u64::to_be_bytes).concat();
    recorded.choose("store_records", "installed", number(Value::Installed), &installed);
    sealed(recorded, number(Value::Seal), number(Value::Identity));
}

/// How far a store is after three outcomes, of which one is a refusal: field by field, as it is stored.
fn applied() -> Vec<u8> {
    let mut log = Frontier::new();
    (0..3_u8).for_each(|number| log.append(leaf_hash(&[number])));
    let place = (Height(9), Digest([4; 32]), Timestamp(1_767_225_600_000_000));
    let (tickets, held, accepted, refused) = ([1_u64, 1, 0, 0, 0], 3_u64, 2_u64, 1_u64);
    let fields = (place, log.size(), log.peaks().to_vec(), (tickets, held, accepted, refused));
    bincode::encode_to_vec(fields, bincode::config::standard()).unwrap()
}

fn stored_block(block: Block) -> StoredBlock {
    StoredBlock {
        digest: block.header.digest(&ChainId::new("any").unwrap()),
        block,
        certificate: None,
        local: LocalView { committed_by: vec![ValidatorIndex(0), ValidatorIndex(3)], ..LocalView::default() },
        first_index: 7,
        accepted: 1,
        refused: 0,
        repeated: 0,
        bundle_bytes: 400,
    }
}

/// A real store writes its seal.
fn sealed(recorded: &mut Recorded, seal: u8, identity: u8) {
    let folder = tempfile::tempdir().unwrap();
    let genesis = Genesis::development(4, "a seed", true).unwrap();
    let of = StoreIdentity::new(&genesis, "node0".parse().unwrap(), PublicKey([9; 32]));
    let (store, _) = Store::open(folder.path(), of.clone(), StoreOptions::default(), IfMissing::Create).unwrap();
    drop(store);
    recorded.choose("store_records", "seal", seal, &std::fs::read(folder.path().join("seal")).unwrap());
    recorded.choose("store_records", "identity", identity, &of.to_bytes());
}
