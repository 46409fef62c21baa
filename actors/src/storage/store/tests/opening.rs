//! Whose store is opened, and when it is refused.

use std::fs;

use super::*;
use dtvn_messages::{NodeName, PublicKey};

fn try_open(directory: &Path, identity: StoreIdentity, if_missing: IfMissing) -> Result<(Store, Opened), StoreError> {
    Store::open(directory, identity, StoreOptions::default(), if_missing)
}

#[test]
fn a_store_is_made_on_the_first_start_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let chain = Chain::new();
    let refused = try_open(&path, chain.identity(), IfMissing::Refuse);
    assert!(matches!(refused, Err(StoreError::Missing { .. })));
    assert!(!path.exists(), "a refusal leaves nothing behind");
    let (store, opened) = try_open(&path, chain.identity(), IfMissing::Create).unwrap();
    assert!(opened.created);
    assert_eq!(opened.applied.height, Height(0));
    assert_eq!(opened.applied.block, chain.genesis.hash());
    assert_eq!(opened.applied.timestamp, chain.genesis.file().time);
    assert_eq!(store.load_image().unwrap(), chain.ledger.image());
    close(store);
    let (store, opened) = try_open(&path, chain.identity(), IfMissing::Create).unwrap();
    assert!(!opened.created, "what is there is not made anew");
    close(store);
}

#[test]
fn a_store_of_another_chain_or_node_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    store.apply(&eventful(&mut chain)).unwrap();
    let before = contents(&store).unwrap();
    close(store);
    let own = chain.identity();
    let foreign = [
        ("chain", Chain::seeded("another chain").identity()),
        ("genesis", StoreIdentity { genesis: dtvn_messages::Digest([1; 32]), ..own.clone() }),
        ("genesis", StoreIdentity { genesis_time: Timestamp(1), ..own.clone() }),
        ("node", StoreIdentity { node: NodeName::new("node1").unwrap(), ..own.clone() }),
        ("key", StoreIdentity { key: PublicKey([1; 32]), ..own.clone() }),
    ];
    for (difference, identity) in foreign {
        for if_missing in [IfMissing::Create, IfMissing::Refuse] {
            match try_open(directory.path(), identity.clone(), if_missing) {
                Err(StoreError::Foreign { what, .. }) => assert_eq!(what, difference),
                other => panic!("{difference}: {:?}", other.map(|(_, opened)| opened)),
            }
        }
    }
    let (store, _) = reopen(directory.path(), &chain).unwrap();
    assert_eq!(contents(&store).unwrap(), before);
}

#[test]
fn another_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    close(open(directory.path(), &chain));
    let seal = Seal::read(directory.path()).unwrap().unwrap();
    let known = schema::SCHEMA_VERSION;
    Seal { schema: known + 1, ..seal }.write(directory.path()).unwrap();
    let refused = reopen(directory.path(), &chain);
    assert!(matches!(refused, Err(StoreError::Schema { found, known: own, .. }) if found == known + 1 && own == known));
}

#[test]
fn a_second_open_is_refused_until_the_first_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let store = open(directory.path(), &chain);
    let second = reopen(directory.path(), &chain);
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{:?}", second.err());
    close(store);
    assert!(reopen(directory.path(), &chain).is_ok());
}

#[test]
fn closing_waits_for_the_views_of_readers() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let store = open(directory.path(), &chain);
    let reader = store.reader();
    let (enter, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        reader
            .read(|view| {
                enter.send(()).unwrap();
                left.recv().unwrap();
                Ok(view.applied().height)
            })
            .unwrap()
    });
    entered.recv().unwrap();
    let refused = store.close(Duration::from_millis(1));
    assert!(matches!(refused, Err(StoreError::InUse { .. })));
    assert!(matches!(reopen(directory.path(), &chain), Err(StoreError::InUse { .. })));
    leave.send(()).unwrap();
    assert_eq!(reading.join().unwrap(), Height(0));
    assert!(reopen(directory.path(), &chain).is_ok());
}

#[test]
fn what_is_left_of_a_store_is_damage_and_never_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    store.apply(&eventful(&mut chain)).unwrap();
    close(store);
    let damaged = || {
        for if_missing in [IfMissing::Create, IfMissing::Refuse] {
            let result = try_open(directory.path(), chain.identity(), if_missing);
            assert!(matches!(result, Err(StoreError::Damaged { .. })), "{:?}", result.err());
        }
    };
    let (seal, aside) = (directory.path().join("seal"), directory.path().join("aside"));
    fs::rename(&seal, &aside).unwrap();
    damaged();
    fs::rename(&aside, &seal).unwrap();
    let database = database_path(directory.path());
    fs::rename(&database, &aside).unwrap();
    damaged();
    fs::create_dir(&database).unwrap();
    damaged();
    fs::remove_dir_all(&database).unwrap();
    fs::rename(&aside, &database).unwrap();
    assert!(reopen(directory.path(), &chain).is_ok());
}

#[test]
fn a_first_start_that_was_cut_short_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    fs::create_dir(database_path(directory.path())).unwrap();
    close(open(directory.path(), &chain));
    fs::remove_file(directory.path().join("seal")).unwrap();
    let (store, opened) = try_open(directory.path(), chain.identity(), IfMissing::Create).unwrap();
    assert!(opened.created);
    close(store);
    assert!(reopen(directory.path(), &chain).is_ok());
}

#[test]
fn a_database_beside_another_ones_seal_is_damage() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (chain, other) = (Chain::new(), Chain::seeded("another chain"));
    close(open(first.path(), &chain));
    close(open(second.path(), &other));
    fs::copy(second.path().join("seal"), first.path().join("seal")).unwrap();
    assert!(matches!(reopen(first.path(), &other), Err(StoreError::Damaged { .. })));
}
