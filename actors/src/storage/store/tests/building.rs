//! A store that is made from a state goes on like the one that it is of.

use super::*;
use dtvn_ledger::LedgerImage;
use dtvn_messages::Digest;
use dtvn_messages::merkle::{leaf_hash, verify_inclusion};
use dtvn_replication::execution::{LastBlock, Stored};

fn stored(chain: &Chain, store: &Store, last: &AppliedBlock) -> Stored {
    let image: LedgerImage = store.load_image().unwrap();
    assert_eq!(image.state_root(&chain.genesis), chain.ledger.image().state_root(&chain.genesis));
    let block = LastBlock {
        block: (*last.block).clone(),
        digest: store.applied().block,
        certificate: last.certificate.clone(),
    };
    Stored { image, block: Some(block), stable: None, ends: Vec::new(), edge: store.edge().unwrap() }
}

/// A store with some history, and one that was made from its state.
fn pair(directory: &Path) -> (Chain, Store, Store) {
    let mut chain = Chain::new();
    let mut whole = open(&directory.join("whole"), &chain);
    let mut blocks = eventful(&mut chain);
    for round in 0..300 {
        // Enough for some full tiles, and an edge in the middle of one.
        let issued = (0..3).map(|number| chain.issue(&format!("R{round}-{number}"))).collect();
        blocks.push(chain.block(issued));
    }
    whole.apply(&blocks).unwrap();
    let state = stored(&chain, &whole, blocks.last().unwrap());
    let made = directory.join("made");
    Store::build(&made, chain.identity(), &StoreOptions::default(), &state).unwrap();
    let (made, opened) = reopen(&made, &chain).unwrap();
    assert_eq!(opened.applied, whole.applied());
    assert_eq!(opened.durable, whole.applied().height, "it is durable from the start");
    (chain, whole, made)
}

#[test]
fn it_has_the_same_state_and_takes_the_same_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let (mut chain, mut whole, mut made) = pair(directory.path());
    let begins = made.applied();
    assert_eq!(made.load_image().unwrap(), whole.load_image().unwrap());
    for round in 0..200 {
        let mut operations: Vec<_> = (0..4).map(|number| chain.issue(&format!("S{round}-{number}"))).collect();
        operations.push(chain.dispute("R1-1"));
        operations.push(chain.validate(&format!("R{round}-0")));
        let block = chain.block(operations);
        whole.apply(std::slice::from_ref(&block)).unwrap();
        made.apply(&[block]).unwrap();
    }
    assert_eq!(made.applied(), whole.applied());
    assert_eq!(made.load_image().unwrap(), whole.load_image().unwrap());
    assert_eq!(made.edge().unwrap(), whole.edge().unwrap());
    // What is above the state is proved alike, what is below is said not to be there.
    let log = whole.applied().log;
    made.reader()
        .read(|view| {
            let first = begins.log.size();
            assert_eq!(view.installed()?, Installed { height: begins.height, log_size: first });
            for index in first..log.size() {
                let leaf = view.leaf(index)?.unwrap();
                let path = view.inclusion_path(index, log.size())?.unwrap();
                assert!(verify_inclusion(&leaf_hash(&leaf), index, log.size(), &path, &log.root()), "outcome {index}");
            }
            let consistency = view.consistency_path(first, log.size())?;
            let expected = whole.reader().read(|view| view.consistency_path(first, log.size()))?;
            assert_eq!(consistency, expected);
            assert_eq!(view.outcome(0)?, None);
            assert_eq!(view.inclusion_path(0, log.size())?, None);
            assert_eq!(view.consistency_path(1, log.size())?, None);
            assert_eq!(view.log_root(1)?, None);
            assert_eq!(view.tile(0, 0, TILE_WIDTH)?, None);
            assert_eq!(view.outcomes(0, 5)?.first().map(|outcome| outcome.index), Some(first));
            assert_eq!(view.committed_block(begins.height)?, None, "its bundles are not here");
            assert!(view.block(begins.height)?.is_some());
            assert!(view.committed_block(begins.height.next())?.is_some());
            Ok(())
        })
        .unwrap();
    // The same after a restart.
    let applied = made.applied();
    close(made);
    let (made, opened) = reopen(&directory.path().join("made"), &chain).unwrap();
    assert_eq!(opened.applied, applied);
    assert_eq!(made.edge().unwrap(), whole.edge().unwrap());
    close(made);
    close(whole);
}

#[test]
fn one_without_its_seal_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, whole, made) = pair(directory.path());
    close(made);
    std::fs::remove_file(directory.path().join("made/seal")).unwrap();
    assert!(matches!(reopen(&directory.path().join("made"), &chain), Err(StoreError::Damaged { .. })));
    close(whole);
}

#[test]
fn that_of_a_chain_which_continues_another_begins_without_a_block_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (mut chain, whole, made) = pair(directory.path());
    close(made);
    let (height, image) = (whole.applied().height, whole.load_image().unwrap());
    let state = Stored { image, block: None, stable: None, ends: Vec::new(), edge: whole.edge().unwrap() };
    let path = directory.path().join("continued");
    // The next block's parent is the genesis of its chain, so that is the last block here.
    let identity = StoreIdentity {
        genesis: whole.applied().block,
        genesis_time: state.image.timestamp,
        ..StoreIdentity::new(&chain.genesis, chain.identity().node, chain.identity().key)
    };
    let open = || Store::open(&path, identity.clone(), StoreOptions::default(), IfMissing::Refuse);
    Store::build(&path, identity.clone(), &StoreOptions::default(), &state).unwrap();
    let (mut store, opened) = open().unwrap();
    assert_eq!((opened.applied.height, opened.applied.block), (height, identity.genesis));
    assert_eq!(store.load_image().unwrap(), whole.load_image().unwrap());
    store
        .reader()
        .read(|view| {
            assert_eq!((view.lowest_block()?, view.block(height)?), (height.next(), None));
            assert_eq!((view.installed()?.height, view.installed()?.log_size), (height, state.image.log.size()));
            Ok(())
        })
        .unwrap();
    let issued = vec![chain.issue("after")];
    store.apply(&[chain.block(issued)]).unwrap();
    assert_eq!(store.edge().unwrap().size(), state.image.log.size() + 1);
    close(store);
    let (store, opened) = open().unwrap();
    assert_eq!(opened.applied.height, height.next());
    close(store);
    // Of another beginning it is no database.
    let other = StoreIdentity { genesis: Digest([8; 32]), ..identity.clone() };
    let refused = Store::open(&path, other, StoreOptions::default(), IfMissing::Refuse);
    assert!(matches!(refused, Err(StoreError::Foreign { what: "genesis", .. })));
    close(whole);
}

#[test]
fn that_of_the_genesis_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let path = directory.path().join("made");
    let state = Stored::genesis(&chain.genesis);
    Store::build(&path, chain.identity(), &StoreOptions::default(), &state).unwrap();
    let (mut store, _) = reopen(&path, &chain).unwrap();
    for block in eventful(&mut chain) {
        store.apply(&[block]).unwrap();
    }
    close(store);
}
