//! How fast a state is written.

use std::sync::Arc;

use dtvn_messages::Height;
use tokio::runtime::Handle;
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use crate::board::Board;

/// Leaves the processor and the disk to the votes between two parts: the work goes on as fast as the chain, so that it is done
/// when that is so many blocks further. Where the chain stands still it does not wait for it.
pub(super) struct Pace {
    pub(super) runtime: Handle,
    pub(super) board: Arc<Board>,
    /// Where the chain was when the work began.
    pub(super) begin: Height,
    /// How far it may come meanwhile.
    pub(super) blocks: u64,
    /// How long the chain is waited for before each part.
    pub(super) rest_max: Duration,
}

impl Pace {
    /// Blocks the thread until it is time for the next part, so many of all being done.
    pub(super) fn rest(&self, done: usize, parts: usize, over: &CancellationToken) {
        self.runtime.block_on(self.due(done, parts, over));
    }

    /// The chain is as far as the work, or was waited for; or the work is cut off.
    async fn due(&self, done: usize, parts: usize, over: &CancellationToken) {
        let due = Height(self.begin.0.saturating_add(share(self.blocks, done, parts)));
        let mut shown = self.board.consensus();
        tokio::select! {
            _ = shown.wait_for(|shown| shown.replica.is_some_and(|replica| replica.committed >= due)) => {}
            () = over.cancelled() => {}
            () = sleep(self.rest_max) => {}
        }
    }
}

/// The part of the blocks that belongs to so many parts of all.
fn share(blocks: u64, done: usize, parts: usize) -> u64 {
    let share = u128::from(blocks) * done as u128 / parts.max(1) as u128;
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dtvn_messages::Timestamp;
    use dtvn_pbft::{Base, Replica, ReplicaView};
    use futures::FutureExt as _;

    use super::*;
    use crate::shared::tests::shared;

    #[test]
    fn blocks_are_shared_out_among_parts() {
        for (blocks, done, parts, expected) in
            [(100, 0, 4, 0), (100, 1, 4, 25), (100, 4, 4, 100), (3, 1, 4, 0), (u64::MAX, 4, 4, u64::MAX), (5, 0, 0, 0)]
        {
            assert_eq!(share(blocks, done, parts), expected, "{done} of {parts}");
        }
    }

    #[tokio::test]
    async fn the_work_goes_on_as_fast_as_the_chain_and_waits_for_no_more() {
        let shared = shared();
        let board = &shared.board;
        let replica = Replica::new(shared.epoch().config.clone(), Base::genesis(&shared.genesis), true);
        let commit = |height| {
            board.post_replica(ReplicaView { committed: Height(height), ..replica.show() }, Timestamp(1));
        };
        let pace = |rest_max| Pace {
            runtime: Handle::current(),
            board: Arc::clone(board),
            begin: Height(100),
            blocks: 40,
            rest_max,
        };
        let (patient, over) = (pace(Duration::from_secs(3_600)), CancellationToken::new());
        let is_due = |done| patient.due(done, 4, &over).now_or_never().is_some();
        assert!(!is_due(0), "where the chain is, nobody knows yet");
        commit(109);
        assert_eq!([0, 1, 2].map(is_due), [true, false, false]);
        commit(110);
        assert_eq!([0, 1, 2].map(is_due), [true, true, false]);
        tokio::join!(patient.due(2, 4, &over), async { commit(120) });
        assert_eq!([2, 3].map(is_due), [true, false]);
        pace(Duration::from_millis(1)).due(3, 4, &over).await;
        over.cancel();
        assert!(is_due(3), "what is cut off waits for nothing");
    }
}
