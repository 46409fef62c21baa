//! Forgetting old blocks, and copies for backups.

use super::*;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::checkpoint::Checkpoint as CheckpointBody;
use dtvn_messages::view_change::NewView;
use dtvn_messages::{Digest, Epoch, KeyPair, Signed, ValidatorIndex, View as ViewNumber, ViewChange};

fn blocks(chain: &mut Chain, count: usize, operations: usize) -> Vec<AppliedBlock> {
    (0..count)
        .map(|block| {
            let issued = (0..operations).map(|number| chain.issue(&format!("T-{block}-{number}"))).collect();
            chain.block(issued)
        })
        .collect()
}

fn checkpoint_at(block: &AppliedBlock) -> StableCheckpoint {
    let header = block.block.header.clone();
    let (epoch, height) = (header.epoch, header.height);
    let checkpoint = CheckpointBody {
        epoch,
        height,
        block: Digest::ZERO,
        state_root: header.log_root,
        next_epoch: epoch,
        next_set: Digest::ZERO,
    };
    StableCheckpoint { header, checkpoint, signatures: Signatures(Vec::new()) }
}

fn new_view_at(chain: &Chain, height: u64, view: u64) -> StoredNewView {
    let key = KeyPair::from_seed(&[3; 32]);
    let (epoch, view) = (Epoch(0), ViewNumber(view));
    let view_changes: Vec<_> = (0..3)
        .map(|signer| {
            let body = ViewChange { epoch, view, stable: None, committed: None, prepared: Vec::new() };
            Signed::new(body, chain.genesis.chain_id(), ValidatorIndex(signer), &key)
        })
        .collect();
    let named = view_changes.iter().map(|signed| (signed.signer, Digest::ZERO)).collect();
    let body = NewView { epoch, view, view_changes: named };
    let new_view = Signed::new(body, chain.genesis.chain_id(), ValidatorIndex(0), &key);
    StoredNewView { height: Height(height), new_view, view_changes }
}

#[test]
fn what_is_collected_is_gone_and_the_rest_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let blocks = blocks(&mut chain, 20, 3);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks).unwrap();
    for height in [4, 8, 12] {
        store.put_stable_checkpoint(&checkpoint_at(&blocks[height - 1])).unwrap();
    }
    let new_views = [new_view_at(&chain, 2, 1), new_view_at(&chain, 9, 2), new_view_at(&chain, 11, 3)];
    new_views.iter().for_each(|new_view| store.put_new_view(new_view).unwrap());
    let new_view =
        |store: &Store, view: u64| store.reader().read(|read| read.new_view(Epoch(0), ViewNumber(view))).unwrap();
    assert_eq!(new_view(&store, 1).as_ref(), Some(&new_views[0]));
    assert_eq!(store.collect(Height(10)).unwrap(), Height(10));
    assert_eq!(store.collect(Height(7)).unwrap(), Height(10), "nothing comes back");
    let check = |store: &Store| {
        store
            .reader()
            .read(|view| {
                assert_eq!(view.lowest_block()?, Height(10));
                for (height, block) in (1..).map(Height).zip(&blocks) {
                    let kept = height >= Height(10);
                    assert_eq!(view.block(height)?.is_some(), kept, "block {height}");
                    assert_eq!(view.committed_block(height)?.is_some(), kept);
                    let digest = block.block.header.digest(chain.genesis.chain_id());
                    assert_eq!(view.height_of(&digest)?, kept.then_some(height));
                }
                assert_eq!(view.blocks(None, 100)?.items.len(), 11);
                assert_eq!(view.outcomes(0, 1_000)?.len(), 60, "outcomes stay");
                assert_eq!(view.log_root(17)?, Some(log_root_of(&blocks, 17)));
                assert_eq!(view.stable_checkpoint(Height(8))?, None);
                assert_eq!(view.stable_checkpoint(Height(12))?, Some(checkpoint_at(&blocks[11])));
                Ok(())
            })
            .unwrap();
        assert_eq!((new_view(store, 1), new_view(store, 2)), (None, None));
        assert_eq!(new_view(store, 3).as_ref(), Some(&new_views[2]));
    };
    check(&store);
    close(store);
    let (mut store, _) = reopen(directory.path(), &chain).unwrap();
    check(&store);
    assert_eq!(store.collect(Height(1_000)).unwrap(), Height(20), "the last block stays");
    let read = |view: &View<'_>| Ok((view.latest_stable_checkpoint()?, view.block(Height(20))?.is_some()));
    assert_eq!(store.reader().read(read).unwrap(), (Some(checkpoint_at(&blocks[11])), true));
    assert_eq!(new_view(&store, 3).as_ref(), Some(&new_views[2]), "the latest stays, however old");
    close(store);
    let (store, _) = reopen(directory.path(), &chain).unwrap();
    assert_eq!(store.load_image().unwrap(), chain.ledger.image());
}

fn log_root_of(blocks: &[AppliedBlock], size: usize) -> Digest {
    let mut frontier = dtvn_messages::merkle::Frontier::new();
    let leaves = blocks.iter().flat_map(|block| &block.effects.log.leaves);
    leaves.take(size).for_each(|leaf| frontier.append(*leaf));
    frontier.root()
}

#[test]
fn the_disk_space_of_collected_blocks_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    let body_bytes = |store: &Store| {
        let stats = store.reader().stats().unwrap();
        stats.columns.iter().find(|column| column.name == "bodies").unwrap().disk_bytes
    };
    let blocks = blocks(&mut chain, 40, 50);
    for (part, blocks) in (0u64..).zip(blocks.chunks(10)) {
        store.apply(blocks).unwrap();
        store.flush().unwrap();
        // To where files are in the end, each with its own heights.
        let (from, to) = (schema::body(Height(part * 10), 0), schema::body(Height(part * 10 + 11), 0));
        store.database.raw().compact_range_cf(store.database.handle(Column::Bodies), Some(from), Some(to));
    }
    store.settle();
    let whole = body_bytes(&store);
    store.collect(Height(31)).unwrap();
    store.collect(Height(31)).unwrap();
    assert_eq!(body_bytes(&store), whole, "not before the collection is durable: after a crash it would not be known");
    store.flush().unwrap();
    store.settle();
    store.collect(Height(31)).unwrap();
    let rest = body_bytes(&store);
    assert!(rest * 2 < whole, "{rest} of {whole} bytes are left");
    let heights = store.reader().read(|view| Ok(view.blocks(None, 100)?.items.len())).unwrap();
    assert_eq!(heights, 10);
    assert!(store.reader().read(|view| view.committed_block(Height(31))).unwrap().is_some());
}

#[test]
fn a_copy_is_a_store_of_its_own() {
    let (directory, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks[..4]).unwrap();
    let at_4 = contents(&store).unwrap();
    let copy = backups.path().join("copy");
    assert_eq!(store.checkpoint_to(&copy).unwrap().height, Height(4));
    assert!(matches!(store.checkpoint_to(&copy), Err(StoreError::Disk { .. })), "nothing is overwritten");
    store.apply(&blocks[4..]).unwrap();
    let (mut copied, opened) = reopen(&copy, &chain).unwrap();
    assert_eq!((opened.applied.height, opened.durable), (Height(4), Height(4)));
    assert!(contents(&copied).unwrap() == at_4);
    copied.apply(&blocks[4..]).unwrap();
    assert_eq!(copied.load_image().unwrap(), chain.ledger.image());
    assert_eq!(store.load_image().unwrap(), chain.ledger.image());
}
