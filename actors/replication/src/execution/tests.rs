//! The ledger beside its state map, whose root comes later.

use dtvn_messages::certificate::Signatures;
use dtvn_messages::{Block, Checkpoint, Ed25519};

use super::*;
use crate::sync::tests::header;

/// A block without bundles is committed at each height up to the first checkpoint, whose root is not known yet.
fn at_checkpoint() -> (Execution, Arc<Block>) {
    let genesis = Arc::new(Genesis::development(4, "execution", false).unwrap());
    let stored = Stored::genesis(&genesis);
    let (interval, time) = (genesis.parameters().checkpoint_interval, genesis.file().time);
    let identity = Identity { genesis, key: None, scheme: Arc::new(Ed25519) };
    let mut execution = Execution::load(identity, stored).unwrap();
    let mut last = None;
    for height in 1..=interval {
        last = Some(commit(&mut execution, height, Timestamp(time.0 + height)));
    }
    (execution, last.unwrap())
}

fn commit(execution: &mut Execution, height: u64, timestamp: Timestamp) -> Arc<Block> {
    let header = dtvn_messages::Header { timestamp, ..header(height) };
    execution.execute(Height(height), timestamp, &[]);
    let block = Arc::new(Block { header, bundles: Vec::new() });
    let (digest, certificate, bundles) = (Digest::ZERO, None, Vec::new());
    execution.commit(&Committed { block: Arc::clone(&block), digest, certificate, bundles }).unwrap();
    block
}

fn stable(block: &Block, state_root: Digest) -> Arc<StableCheckpoint> {
    let header = block.header.clone();
    let checkpoint = Checkpoint {
        epoch: header.epoch,
        height: header.height,
        block: Digest::ZERO,
        state_root,
        next_epoch: header.epoch,
        next_set: Digest::ZERO,
    };
    Arc::new(StableCheckpoint { header, checkpoint, signatures: Signatures(Vec::new()) })
}

#[test]
fn a_state_is_served_whichever_comes_first_its_root_or_its_certificate() {
    let (mut first, block) = at_checkpoint();
    let (height, root) = {
        let rooting = first.next_rooting().unwrap();
        first.rooted(rooting.run())
    };
    first.stable(&stable(&block, root));
    assert!(first.shelf().snapshots.contains_key(&height));
    // The others were faster.
    let (mut second, _) = at_checkpoint();
    second.stable(&stable(&block, root));
    assert!(second.shelf().snapshots.is_empty(), "it has no such state yet");
    let rooting = second.next_rooting().unwrap();
    assert_eq!(second.rooted(rooting.run()), (height, root));
    assert!(second.shelf().snapshots.contains_key(&height));
    // A certificate of another state makes nothing of this one's.
    let (mut third, _) = at_checkpoint();
    third.stable(&stable(&block, Digest::ZERO));
    let rooting = third.next_rooting().unwrap();
    third.rooted(rooting.run());
    assert!(third.shelf().snapshots.is_empty());
}

#[test]
fn a_root_belongs_to_the_checkpoint_and_to_no_block_after_it() {
    let (mut at_rest, _) = at_checkpoint();
    assert_eq!(at_rest.base.state_root, None, "nobody has worked it out yet");
    let rooting = at_rest.next_rooting().unwrap();
    let (_, root) = at_rest.rooted(rooting.run());
    assert_eq!(at_rest.base.state_root, Some(root));
    // A replica that starts at this block would promise a root that is not this block's.
    let (mut further, last) = at_checkpoint();
    let rooting = further.next_rooting().unwrap();
    commit(&mut further, last.header.height.0 + 1, last.header.timestamp.plus_micros(1));
    assert_eq!(further.rooted(rooting.run()), (last.header.height, root));
    assert_eq!(further.base.state_root, None);
}
