//! The way of peers' frames to the workers. It outlives the incarnations of both network and workers.

use std::sync::Arc;

use dtvn_messages::limits;
use futures::future::BoxFuture;
use libp2p::PeerId;
use tokio::sync::Mutex;

use crate::network::{Class, FairInbox, FairReceiver, FrameSink, FrameSinks, InboundFrame, OfferError, fair_inbox};

/// The lanes of one worker, by class. Whoever holds the lock reads.
#[derive(Clone)]
pub(super) struct Lanes {
    pub(super) consensus: Arc<Mutex<FairReceiver>>,
    pub(super) bundles: Arc<Mutex<FairReceiver>>,
    pub(super) sync: Arc<Mutex<FairReceiver>>,
}

/// All lanes of a node.
pub struct Inbound {
    sinks: FrameSinks,
    lanes: Vec<Lanes>,
}

/// Gives each peer the inbox of its worker.
struct Spread(Vec<Arc<FairInbox>>);

impl Spread {
    fn of(&self, peer: PeerId) -> Option<&Arc<FairInbox>> {
        // The last byte of a peer id is a byte of its public key: as good as random, and the same for ever.
        let byte = peer.to_bytes().last().copied().unwrap_or(0);
        self.0.get(usize::from(byte) % self.0.len().max(1))
    }
}

impl FrameSink for Spread {
    fn offer(&self, frame: InboundFrame) -> Result<(), OfferError> {
        match self.of(frame.peer) {
            Some(inbox) => inbox.offer(frame),
            None => Err(OfferError::Closed),
        }
    }

    fn room(&self, peer: PeerId) -> BoxFuture<'_, ()> {
        match self.of(peer) {
            Some(inbox) => inbox.room(peer),
            None => Box::pin(std::future::ready(())),
        }
    }
}

impl Inbound {
    /// Lanes for all workers.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let workers = limits::VERIFIER_WORKERS;
        let make = |class: Class| {
            let made = (0..workers).map(|_| fair_inbox(class.inbound_bounds()));
            let (inboxes, receivers): (Vec<_>, Vec<_>) = made.unzip();
            let receivers: Vec<_> = receivers.into_iter().map(|receiver| Arc::new(Mutex::new(receiver))).collect();
            (Arc::new(Spread(inboxes)) as Arc<dyn FrameSink>, receivers)
        };
        let (consensus, consensus_lanes) = make(Class::Consensus);
        let (bundles, bundle_lanes) = make(Class::Bundles);
        let (sync, sync_lanes) = make(Class::Sync);
        let lanes = consensus_lanes
            .into_iter()
            .zip(bundle_lanes)
            .zip(sync_lanes)
            .map(|((consensus, bundles), sync)| Lanes { consensus, bundles, sync })
            .collect();
        Arc::new(Self { sinks: FrameSinks { consensus, bundles, sync }, lanes })
    }

    /// Where the network puts what it receives.
    #[must_use]
    pub fn sinks(&self) -> FrameSinks {
        self.sinks.clone()
    }

    pub(super) fn lanes(&self, worker: usize) -> Option<Lanes> {
        self.lanes.get(worker).cloned()
    }
}
