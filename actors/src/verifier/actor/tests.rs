//! What peers send waits for a place, and no peer takes more places than there are.

use futures::FutureExt as _;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::{Bundle, BundleBody, Digest, Epoch, Height, KeyPair, View, limits};

use dtvn_replication::sync::Input;

use super::*;
use crate::directory::Role;
use crate::mailbox::Mail;
use crate::network::Class as LinkClass;
use crate::shared::tests::shared;
use crate::supervision::tests::{PATIENCE, soon};
use crate::supervision::{ChildSpec, NodeTree, Strategy, SupervisorSpec};
use crate::verifier;

/// Hands on what it is sent: a place in its mailbox is free again when the test has dropped the message.
struct Keeper<M>(Sender<M>);

impl<M: Mail> Behaviour for Keeper<M> {
    type Message = M;

    async fn handle(&mut self, _: &Context<M>, message: M) -> Result<(), ActorError> {
        // The test may have ended.
        let _over = self.0.send(message).await;
        Ok(())
    }
}

/// More than any bound of these tests.
const MAILBOX: usize = 4_096;

fn keeper<M: Mail>(role: Role<M>) -> (ChildSpec, Receiver<M>) {
    let (sender, kept) = channel(MAILBOX);
    let child = ChildSpec::worker(role, move |_| std::future::ready(Ok(Keeper(sender.clone()))));
    (child.mailbox(MAILBOX), kept)
}

/// What was sent to each.
struct Kept {
    replica: Receiver<ReplicaMessage>,
    gossip: Receiver<GossipMessage>,
    sync: Receiver<SyncMessage>,
}

struct Stage {
    receivers: Receivers,
    tree: NodeTree,
}

async fn stage() -> (Stage, Kept) {
    let shared = shared();
    let ((replica, kept_replica), (gossip, kept_gossip), (sync, kept_sync)) =
        (keeper(replica::ROLE), keeper(gossip::ROLE), keeper(sync::ROLE));
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(replica).child(gossip).child(sync);
    let tree = NodeTree::start(root).await.unwrap();
    let receivers = Receivers {
        shared,
        replica: tree.directory().address(&replica::ROLE),
        gossip: tree.directory().address(&gossip::ROLE),
        sync: tree.directory().address(&sync::ROLE),
        intake: tree.directory().address(&intake::ROLE),
    };
    (Stage { receivers, tree }, Kept { replica: kept_replica, gossip: kept_gossip, sync: kept_sync })
}

impl Stage {
    /// A frame of the second validator.
    fn frame(&self, message: &PeerMessage) -> (InboundFrame, Class) {
        let epoch = self.receivers.shared.epoch();
        let (peer, index) = epoch.peers.iter().find(|(_, index)| **index == ValidatorIndex(1)).unwrap();
        frame(*peer, Some(*index), message)
    }

    /// As many of these as there are places are taken at once, and the next one when a place is free: the peer's stream
    /// is not read meanwhile.
    async fn fills<M>(&self, places: usize, message: &PeerMessage, kept: &mut Receiver<M>) {
        let mut held = Vec::new();
        for number in 0..places {
            let (frame, class) = self.frame(message);
            let taken = self.receivers.take(frame, class).now_or_never();
            assert!(taken.is_some(), "{number} of {places} waits");
            held.push(soon("what was taken", kept.recv()).await.unwrap());
        }
        let (frame, class) = self.frame(message);
        let mut waiting = std::pin::pin!(self.receivers.take(frame, class));
        assert!((&mut waiting).now_or_never().is_none(), "there is no place, and it was taken");
        assert!(kept.try_recv().is_err());
        drop(held.pop());
        soon("its turn", waiting).await;
        soon("what had to wait", kept.recv()).await.unwrap();
    }
}

fn frame(peer: PeerId, validator: Option<ValidatorIndex>, message: &PeerMessage) -> (InboundFrame, Class) {
    let class = message.class();
    let link_class = match class {
        Class::Consensus => LinkClass::Consensus,
        Class::Bundles => LinkClass::Bundles,
        Class::Sync => LinkClass::Sync,
    };
    let bytes = wire::encode(message).unwrap().into();
    (InboundFrame { peer, validator, class: link_class, bytes }, class)
}

/// One that is no validator.
fn stranger(number: u64) -> PeerId {
    keys::peer_id(&KeyPair::development("strangers", &format!("stranger{number}")).public()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_messages_of_peers_wait_for_the_replica_and_the_next_is_not_read() {
    let (stage, mut kept) = stage().await;
    stage
        .fills(limits::REPLICA_CREDITS, &PeerMessage::Wish { epoch: Epoch(0), view: View(1) }, &mut kept.replica)
        .await;
    stage.tree.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_messages_of_peers_wait_for_the_gossip_and_the_next_is_not_read() {
    let (stage, mut kept) = stage().await;
    stage.fills(limits::GOSSIP_CREDITS, &PeerMessage::FetchBundles(vec![Digest([7; 32])]), &mut kept.gossip).await;
    stage.tree.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_messages_of_peers_wait_for_the_sync_and_the_next_is_not_read() {
    let (stage, mut kept) = stage().await;
    let asks = PeerMessage::SyncRequest { from: Height(1), to: Height(2) };
    stage.fills(limits::SYNC_CREDITS, &asks, &mut kept.sync).await;
    stage.tree.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn observers_have_so_many_requests_under_way_and_a_further_one_is_dropped() {
    let (stage, mut kept) = stage().await;
    let asks = |from: u64| PeerMessage::SyncRequest { from: Height(from), to: Height(100) };
    let observer = |number: u64| frame(stranger(number), None, &asks(number));
    let mut held = Vec::new();
    // One more than there are places, each of another observer; the last one is never heard of.
    for number in 0..=limits::OBSERVER_CREDITS as u64 {
        let (frame, class) = observer(number);
        assert!(stage.receivers.take(frame, class).now_or_never().is_some(), "nobody waits for an observer");
    }
    let (of_validator, class) = stage.frame(&asks(50));
    stage.receivers.take(of_validator, class).await;
    for expected in (0..limits::OBSERVER_CREDITS as u64).chain([50]) {
        match soon("a request", kept.sync.recv()).await {
            Some(SyncMessage::Request { from, credit, .. }) => {
                assert_eq!(from, Height(expected));
                held.push(credit);
            }
            _ => panic!("no request"),
        }
    }
    drop(held);
    let (frame, class) = observer(60);
    stage.receivers.take(frame, class).await;
    let again = soon("a request", kept.sync.recv()).await;
    assert!(matches!(again, Some(SyncMessage::Request { from: Height(60), .. })), "its place is free again");
    stage.tree.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_heard_where_it_was_asked_and_nowhere_else() {
    let (stage, mut kept) = stage().await;
    let (asked, other) = (stranger(1), stranger(2));
    stage.receivers.shared.awaited.publish([keys::public_key(&asked).unwrap()].into());
    let refuses = |height: u64| PeerMessage::SnapshotRefused { height: Height(height) };
    for (from, message) in [
        (other, refuses(1)),
        (asked, PeerMessage::Wish { epoch: Epoch(0), view: View(1) }),
        (asked, PeerMessage::FetchBundles(vec![Digest([7; 32])])),
        (asked, refuses(2)),
    ] {
        let (frame, class) = frame(from, None, &message);
        stage.receivers.take(frame, class).await;
    }
    match soon("an answer", kept.sync.recv()).await {
        Some(SyncMessage::Answer { input, .. }) => match *input {
            Input::Refused { from, height } => {
                assert_eq!((from.stranger(), height), (keys::public_key(&asked), Height(2)));
            }
            other => panic!("{other:?}"),
        },
        _ => panic!("no answer"),
    }
    stage.tree.shutdown(PATIENCE).await.unwrap();
    assert!(kept.replica.try_recv().is_err() && kept.gossip.try_recv().is_err() && kept.sync.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_another_epoch_is_judged_by_nobody() {
    let (shared, inbound) = (shared(), Inbound::new());
    let (chain, key) = (shared.genesis.chain_id().clone(), KeyPair::development(DEVELOPMENT_SEED, "node1"));
    let arguments = WorkerArguments { shared, inbound, worker: 0 };
    let worker = ChildSpec::worker(verifier::role(0), move |context| Worker::start(context, arguments.clone()));
    let (gossip, mut kept) = keeper(gossip::ROLE);
    let tree =
        NodeTree::start(SupervisorSpec::new("root", Strategy::OneForOne).child(gossip).child(worker)).await.unwrap();
    let worker = tree.directory().address(&verifier::role(0));
    for epoch in [Epoch(1), Epoch(0)] {
        let body = BundleBody { epoch, origin: ValidatorIndex(1), start: 1, number: 0, operations: Vec::new() };
        let bundle = Bundle::sign(body, &chain, &key);
        worker.send(VerifierMessage::Bundle { from: ValidatorIndex(1), bundle }).await.unwrap();
    }
    // Its origin may be another validator there: nobody is to be blamed by this epoch's keys.
    match soon("a verdict", kept.recv()).await {
        Some(GossipMessage::Verified { bundle, ok, .. }) => assert_eq!((bundle.body.epoch, ok), (Epoch(0), true)),
        _ => panic!("no verdict"),
    }
    tree.shutdown(PATIENCE).await.unwrap();
}
