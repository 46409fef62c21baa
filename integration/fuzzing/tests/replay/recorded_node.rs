//! Inputs for the decoders of the heavier crates.

use dtvn::config::keys::KeyFile;
use dtvn_actors::network::greet;
use dtvn_actors::storage::store::inspect::Value;
use dtvn_actors::storage::store::{IfMissing, LocalView, Store, StoreIdentity, StoreOptions, StoredBlock};
use dtvn_fuzzing::targets::{network, node};
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
}

/// The values of the database: most are layouts that the network's recording has already.
fn store(recorded: &mut Recorded) {
    let number = |value: Value| u8::try_from(Value::ALL.iter().position(|known| *known == value).unwrap()).unwrap();
    let of_layouts = [
        ("ticket", Value::Ticket),
        ("outcome", Value::Outcome),
        ("stable", Value::Checkpoint),
        ("view-change", Value::ViewChange),
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
    sealed(recorded, number(Value::Seal), number(Value::Identity));
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
