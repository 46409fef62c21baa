//! Frames and bundles of peers.

use std::sync::Arc;

use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{Bundle, ChainId, Epoch, Height, Now, Timestamp, ValidatorIndex};
use dtvn_replication::pool::{Effect, Input, Pool, PoolLimits, PoolSettings};

use super::{choice, trusted};
use crate::Judged;

pub(super) const CLASSES: [Class; 3] = [Class::Consensus, Class::Bundles, Class::Sync];

/// A chain to hash for; any will do.
#[expect(clippy::expect_used, reason = "the name is a valid one")]
pub(super) fn chain() -> ChainId {
    ChainId::new("dtvn-fuzzing").expect("a valid name")
}

/// A frame on the stream of the class that the first byte names. bincode is not canonical; what is read must be written,
/// and read as the same once more. Bundles in it are opened too.
pub(super) fn frame(input: &[u8]) -> Judged {
    let Some((class, frame)) = choice(input, CLASSES.len()) else { return Judged::Refused };
    let class = CLASSES[class];
    let Ok(message) = wire::decode(frame, class) else { return Judged::Refused };
    let Ok(again) = wire::encode(&message) else { panic!("a {} that was read cannot be written", message.name()) };
    assert!(again.len() <= frame.len(), "what is written is the shortest form");
    assert_eq!(wire::decode(&again, class).as_ref(), Ok(&message));
    open(&message);
    Judged::Accepted
}

/// What a node does with a message before it knows whether it believes it: names, digests, bundles.
fn open(message: &PeerMessage) {
    let chain = chain();
    match message {
        PeerMessage::Bundle(bytes) => {
            let _refused = Bundle::from_bytes(bytes, &chain);
        }
        PeerMessage::SyncBlocks(blocks) => {
            for block in blocks {
                assert!(block.block.header.height >= Height(0));
                let _digest = block.block.header.digest(&chain);
                for bytes in &block.bundles {
                    let _refused = Bundle::from_bytes(bytes, &chain);
                }
            }
        }
        PeerMessage::PrePrepare(proposal) => {
            let _vote = proposal.vote(proposal.block.header.digest(&chain));
        }
        _ => {}
    }
}

/// What a pool of epoch 0 does with the bytes of a bundle. It looks at their head first, and goes no further with most
/// of what it does not need; it must not take there what is no bundle.
fn received(input: &[u8], chain: ChainId) -> Option<Effect> {
    let validators = Arc::new(trusted::genesis().validators().clone());
    // It forgets nothing that it was not told, so it needs no room to remember.
    let limits = PoolLimits { remembered_max: 1, bloom_digests_max: 8, ..PoolLimits::default() };
    let own = Some(ValidatorIndex(0));
    let mut pool = Pool::new(PoolSettings { chain, epoch: Epoch(0), validators, own, seed: 7, limits });
    let received = Input::Received { from: ValidatorIndex(1), bytes: Arc::new(input.to_vec()) };
    let mut effects = Vec::new();
    pool.step(Now { monotonic_us: 1, wall: Timestamp(1) }, received, &mut effects);
    effects.into_iter().find(|effect| !matches!(effect, Effect::SetTimer { .. } | Effect::Full(_)))
}

/// A bundle as it travels: canonical. A pool that receives it has its signature checked, or says why not.
pub(super) fn bundle(input: &[u8]) -> Judged {
    let chain = chain();
    let effect = received(input, chain.clone());
    let Ok(bundle) = Bundle::from_bytes(input, &chain) else {
        assert!(matches!(effect, Some(Effect::Blame { .. } | Effect::Refused { .. })), "{effect:?}");
        return Judged::Refused;
    };
    let is_expected = bundle.body.epoch == Epoch(0) && trusted::genesis().validators().contains(bundle.body.origin);
    match effect {
        Some(Effect::Verify { bundle: same, .. }) => assert!(is_expected && same.digest == bundle.digest),
        other => assert!(!is_expected && matches!(other, Some(Effect::Blame { .. } | Effect::Refused { .. }))),
    }
    let again = Bundle::assemble(bundle.body.clone(), bundle.signature, &chain);
    assert_eq!(again.bytes, input);
    assert_eq!(again.digest, bundle.digest);
    for operation in &bundle.body.operations {
        assert_eq!(operation.check(), Ok(()), "what can be read keeps the limits");
    }
    Judged::Accepted
}
