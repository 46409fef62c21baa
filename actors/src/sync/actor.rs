//! The sync's actor: mailbox to planner and back, and blocks from the store for peers.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::snapshot::CheckedManifest;
use dtvn_messages::wire::{CommittedBlock, PeerMessage};
use dtvn_messages::{Digest, Height, ValidatorIndex, limits};
use dtvn_replication::sync::{Effect, Input, Peer, Sync as Planner, serve, serve_manifest, serve_part};
use dtvn_replication::verify::CheckedPart;
use tokio::sync::Mutex;

use super::archive::Archive;
use super::install::{Prepared, make, unless_outrun};
use super::message::{SnapshotAsk, SyncMessage};
use super::parts::Parts;
use crate::instruments::Instruments;
use crate::mailbox::Address;
use crate::network::Offence;
use crate::network::pace::Pace;
use crate::replica::{self, ReplicaMessage};
use crate::shared::{Credit, Shared};
use crate::storage::StoreSlot;
use crate::storage::store::{StoreError, StoreReader};
use crate::supervision::{ActorError, Behaviour, Context, TaskHandle};

/// Where the storage stands in the tree: with it all of the core starts anew.
const STORAGE: &str = "core/storage";

/// What the sync is made with.
#[derive(Clone)]
pub struct SyncArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// Where the store is.
    pub store: StoreSlot,
    /// The data directory: `snapshots/` and `archive/` are in it.
    pub directory: PathBuf,
    /// The instruments.
    pub instruments: Instruments,
}

/// How much one peer is served in a second.
const SERVED: NonZeroU32 = NonZeroU32::new(limits::SERVED_SYNC_KIB_PER_SECOND).unwrap();
/// Whoever holds the lock is being served.
type Purse = Arc<Mutex<Pace>>;

/// The sync.
pub struct Sync {
    planner: Planner,
    shared: Shared,
    store: StoreSlot,
    directory: PathBuf,
    instruments: Instruments,
    parts: Parts,
    archive: Archive,
    /// Parts that are being written.
    writing: usize,
    /// What is to be installed once they are; none: the genesis.
    install: Option<Option<Arc<CheckedManifest>>>,
    /// A database is being made.
    making: bool,
    /// What those who ask may still be served.
    purses: BTreeMap<Peer, Purse>,
    replica: Address<ReplicaMessage>,
    timer: Option<TaskHandle>,
}

impl Sync {
    /// Starts with the parts of snapshots that are kept. If the replica found its state wrong before, it is healed.
    ///
    /// # Errors
    /// If the folder of the parts cannot be read.
    pub async fn start(context: Context<SyncMessage>, arguments: SyncArguments) -> Result<Self, ActorError> {
        let SyncArguments { shared, store, directory, instruments } = arguments;
        let opening = directory.clone();
        let (parts, kept) =
            tokio::task::spawn_blocking(move || Parts::open(&opening, limits::SNAPSHOT_PARTS_KEPT_MAX)).await??;
        let archive = Archive::open(&shared, &directory).await?;
        let held = (shared.genesis.base(), shared.genesis.parameters().retain_blocks);
        let mut sync = Self {
            planner: Planner::new(shared.epoch().config.epoch, others(&shared), held, kept),
            store,
            directory,
            instruments,
            parts,
            archive,
            writing: 0,
            install: None,
            making: false,
            purses: BTreeMap::new(),
            replica: context.address_of(&replica::ROLE),
            timer: None,
            shared,
        };
        context.send_every(limits::OBSERVER_FOLLOW_INTERVAL, || SyncMessage::Follow);
        sync.shared.awaited.publish(sync.planner.awaited_strangers());
        sync.heal_if_diverged(&context);
        Ok(sync)
    }

    /// A replica that found its state wrong said so once, perhaps while nobody listened.
    fn heal_if_diverged(&mut self, context: &Context<SyncMessage>) {
        let shown = self.shared.board.consensus().borrow().replica;
        if let Some(shown) = shown.filter(|shown| shown.diverged && !self.planner.heals()) {
            self.step(context, Input::Heal { at_least: shown.stable, differs_at: shown.executed });
        }
    }

    fn step(&mut self, context: &Context<SyncMessage>, input: Input) {
        let mut effects = Vec::new();
        self.planner.step(self.shared.clock.now(), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    self.shared.network.send_to_peer(to, &message);
                }
                Effect::Deliver(checked) => {
                    // A replica that starts again asks again.
                    let _down = self.replica.try_send(ReplicaMessage::Synced(Box::new(checked)));
                }
                Effect::SetTimer { generation, after_us } => {
                    let after = Duration::from_micros(after_us);
                    let handle = context.send_after(after, SyncMessage::Timer(generation));
                    if let Some(former) = self.timer.replace(handle) {
                        former.cancel();
                    }
                }
                Effect::Keep(part) => self.keep(context, part),
                Effect::Install(checked) => self.install = Some(Some(checked)),
                Effect::InstallGenesis => self.install = Some(None),
                Effect::Blame { peer, why } => {
                    tracing::warn!(?peer, why, "A peer broke the protocol.");
                    self.instruments.blamed();
                    self.shared.network.report(peer, Offence::Lie);
                }
            }
        }
        self.shared.awaited.publish(self.planner.awaited_strangers());
        self.install_if_kept(context);
    }

    /// Nobody tells an observer what is committed: it asks, and is answered with what proves itself. So does a validator
    /// that nobody talks to: the others may be in an epoch in which it is none. And so does one that waits at the end of
    /// its epoch: those whose votes it lacks may be in the next one already, without a vote there. Where no quorum of its
    /// epoch is to be found, strangers are asked too: all of them may have other keys by now.
    fn follow(&mut self, context: &Context<SyncMessage>) {
        self.archive.tend(context);
        self.heal_if_diverged(context);
        let board = &self.shared.board;
        let waits_at_end = board.consensus().borrow().replica.is_some_and(|shown| shown.at_epoch_end);
        let is_found = *board.quorum().borrow() && !waits_at_end;
        let is_told = is_found && board.epoch().config.me.is_some();
        let strangers = match self.shared.network.get().filter(|_| !is_found) {
            Some(handle) => handle.strangers().into_iter().collect(),
            None => Vec::new(),
        };
        self.step(context, Input::Strangers(strangers));
        if is_told || self.planner.is_fetching() {
            return;
        }
        let from = self.shared.board.committed().next();
        let to = from.plus(limits::SYNC_BLOCKS_MAX as u64 - 1);
        self.step(context, Input::Follow { from, to });
    }

    fn keep(&mut self, context: &Context<SyncMessage>, part: CheckedPart) {
        self.writing += 1;
        let parts = self.parts.clone();
        let hash = part.hash;
        let life = context.lifeline();
        let work = tokio::task::spawn_blocking(move || {
            let _until_written = life;
            parts.write(&part.hash, &part.entries)
        });
        context.spawn_then(work, move |written| {
            let failed = match written {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            SyncMessage::Kept { hash, failed }
        });
    }

    fn on_kept(&mut self, context: &Context<SyncMessage>, hash: Digest, failed: Option<String>) {
        self.writing = self.writing.saturating_sub(1);
        match failed {
            None => self.install_if_kept(context),
            Some(why) => {
                tracing::warn!(why, "A part of a snapshot could not be written; it is fetched again in a while.");
                self.install = None;
                context.send_after(limits::SNAPSHOT_DISK_PAUSE, SyncMessage::Unkept(BTreeSet::from([hash])));
            }
        }
    }

    /// All parts are there and written: the database is made, beside the mailbox.
    fn install_if_kept(&mut self, context: &Context<SyncMessage>) {
        // One at a time: they are made in the same place.
        if self.writing > 0 || self.making {
            return;
        }
        let Some(checked) = self.install.take() else { return };
        let height = checked.as_ref().map_or(Height(0), |checked| checked.height());
        if self.planner.is_outrun(height, self.shared.board.committed()) {
            return self.step(context, Input::Outrun);
        }
        tracing::info!(height = height.0, "A certified state is complete; its database is being made.");
        let (shared, directory, parts) = (self.shared.clone(), self.directory.clone(), self.parts.clone());
        // By then the fetch may be forgotten: an epoch may begin.
        let may_be_outrun = self.planner.is_outrun(height, height);
        // A successor makes it in the same place.
        let life = context.lifeline();
        self.making = true;
        let work = tokio::task::spawn_blocking(move || {
            let _until_made = life;
            let made = make(&shared, &directory, &parts, checked.as_deref());
            if may_be_outrun { unless_outrun(&shared, &directory, made) } else { made }
        });
        context.spawn_then(work, |made| {
            SyncMessage::Prepared(made.unwrap_or_else(|error| Prepared::Failed(error.to_string())))
        });
    }

    fn on_prepared(&mut self, context: &Context<SyncMessage>, prepared: Prepared) {
        self.making = false;
        match prepared {
            Prepared::Lost(lost) => {
                tracing::warn!(parts = lost.len(), "Parts of a snapshot were damaged on disk: they are fetched again.");
                self.step(context, Input::Lost(lost));
            }
            Prepared::Failed(why) => {
                tracing::error!(why, "A certified state could not be stored; it is tried again in a while.");
                // None of its parts is lost: with this the planner asks for the installation again.
                context.send_after(limits::SNAPSHOT_DISK_PAUSE, SyncMessage::Unkept(BTreeSet::new()));
            }
            Prepared::Outrun => {
                tracing::info!("The certified state is not needed: this node went on meanwhile.");
                self.step(context, Input::Outrun);
            }
            Prepared::Ready { height, difference } => {
                if let Some(difference) = difference {
                    tracing::error!(
                        height = height.0,
                        difference,
                        "This is the first entry in which the state differed."
                    );
                }
                tracing::info!(height = height.0, "The core starts again from a certified state.");
                let tree = context.tree().clone();
                // Not a task of this actor: it ends with what it restarts.
                tokio::spawn(async move {
                    if let Err(error) = tree.restart(STORAGE).await {
                        tracing::warn!(%error, "The core was not restarted; its next start takes the new state.");
                    }
                });
            }
        }
    }

    /// The purse of a peer that asks; none if it has asked for enough already: it holds places that all share, and an
    /// honest one asks again, or somebody else.
    fn purse(&mut self, peer: Peer) -> Option<Purse> {
        if self.purses.len() > limits::STRANGERS_REMEMBERED_MAX {
            // Nobody is served from these at present.
            self.purses.retain(|_, purse| Arc::strong_count(purse) > 1);
        }
        let purse = self.purses.entry(peer).or_insert_with(|| Arc::new(Mutex::new(Pace::new(SERVED))));
        (served(purse) < limits::SERVED_REQUESTS_PER_ASKER_MAX).then(|| Arc::clone(purse))
    }

    /// Reads what a peer asked for beside the mailbox, and sends it.
    fn serve_snapshot(&mut self, context: &Context<SyncMessage>, peer: Peer, ask: SnapshotAsk, credit: Credit) {
        let (shelf, archived) = (self.shared.shelf.get(), self.archive.archived());
        let network = self.shared.network.clone();
        let read = move || match ask {
            SnapshotAsk::Manifest(height, at_least, epoch) => {
                serve_manifest(&shelf, archived.as_deref(), height, at_least, epoch)
            }
            SnapshotAsk::Part(height, part) => serve_part(&shelf, archived.as_deref(), height, part),
        };
        let Some(purse) = self.purse(peer) else { return };
        context.spawn(async move {
            // One after the other, and each paid for before the next: the peer's credits are spent meanwhile.
            let pace = purse.lock().await;
            let bytes = match tokio::task::spawn_blocking(read).await {
                Ok(message) => network.send_to_peer(peer, &message),
                Err(error) => {
                    tracing::warn!(?peer, %error, "Reading a state for a peer was cut off.");
                    0
                }
            };
            pace.pay(cost_kib(bytes)).await;
            drop(credit);
        });
    }

    /// Reads blocks beside the mailbox, and sends them.
    fn serve(&mut self, context: &Context<SyncMessage>, peer: Peer, (from, to): (Height, Height), credit: Credit) {
        let Some(store) = self.store.get() else { return };
        let network = self.shared.network.clone();
        let shelf = self.shared.shelf.get();
        let end = shelf.ends.iter().rev().find(|end| end.height().next() == from).cloned();
        // Who asks for blocks that are collected is told so by an empty answer.
        let last = store.applied_watch().borrow().height;
        let Some(purse) = self.purse(peer) else { return };
        context.spawn(async move {
            let pace = purse.lock().await;
            let proof = end.map_or(0, |end| network.send_to_peer(peer, &PeerMessage::EpochEnd(end)));
            let bytes = match tokio::task::spawn_blocking(move || read_blocks(&store, from, to)).await {
                Ok(Ok(blocks)) if blocks.is_empty() && from > last => 0,
                Ok(Ok(blocks)) => network.send_to_peer(peer, &PeerMessage::SyncBlocks(blocks)),
                Ok(Err(error)) => {
                    tracing::warn!(?peer, %error, "Blocks for a peer could not be read.");
                    0
                }
                Err(error) => {
                    tracing::warn!(?peer, %error, "Reading blocks for a peer was cut off.");
                    0
                }
            };
            pace.pay(cost_kib(proof + bytes)).await;
            drop(credit);
        });
    }
}

/// Requests of an asker that are being served, or wait for it: each holds its purse, and so does the list.
fn served(purse: &Purse) -> usize {
    Arc::strong_count(purse) - 1
}

/// Whom to ask when nobody has shown to have something.
fn others(shared: &Shared) -> Vec<ValidatorIndex> {
    let config = &shared.epoch().config;
    config.set.iter().map(|(index, _)| index).filter(|index| Some(*index) != config.me).collect()
}

/// What an answer costs its asker, in KiB.
fn cost_kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1_024).unwrap_or(u32::MAX).max(limits::SERVED_SYNC_REQUEST_KIB)
}

/// The blocks from `from` on, up to `to` and the limits of one answer; the last has a certificate.
fn read_blocks(store: &StoreReader, from: Height, to: Height) -> Result<Vec<CommittedBlock>, StoreError> {
    store.read(|view| serve(from, to, |height| view.committed_block(height)))
}

impl Behaviour for Sync {
    type Message = SyncMessage;

    async fn handle(&mut self, context: &Context<SyncMessage>, message: SyncMessage) -> Result<(), ActorError> {
        match message {
            SyncMessage::Ask { from, to, holders } => self.step(context, Input::Ask { from, to, holders }),
            SyncMessage::Request { peer, from, to, credit } => self.serve(context, peer, (from, to), credit),
            SyncMessage::Follow => self.follow(context),
            SyncMessage::Epoch => {
                // What was about to be installed may be behind by now; what is wrong is found wrong again.
                self.install = None;
                self.planner.begin_epoch(self.shared.epoch().config.epoch, others(&self.shared));
                self.shared.awaited.publish(self.planner.awaited_strangers());
            }
            SyncMessage::Faulty(peer) => self.step(context, Input::Faulty(peer)),
            SyncMessage::SnapshotRequest { peer, ask, credit } => self.serve_snapshot(context, peer, ask, credit),
            SyncMessage::Answer { input, credit } => {
                drop(credit);
                self.step(context, *input);
            }
            SyncMessage::Heal { at_least, differs_at } => self.step(context, Input::Heal { at_least, differs_at }),
            SyncMessage::Kept { hash, failed } => self.on_kept(context, hash, failed),
            SyncMessage::Archive(done) => self.archive.on_done(done),
            SyncMessage::Prepared(prepared) => self.on_prepared(context, prepared),
            SyncMessage::Unkept(hashes) => self.step(context, Input::Lost(hashes)),
            SyncMessage::Timer(generation) => self.step(context, Input::Timer { generation }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dtvn_messages::Timestamp;
    use dtvn_pbft::{Base, Replica, ReplicaView};
    use tokio::sync::watch;

    use super::super::message::ROLE;
    use super::*;
    use crate::shared::tests::shared;
    use crate::supervision::tests::soon;
    use crate::supervision::{ChildSpec, NodeTree, Strategy, SupervisorSpec};

    /// A sync that tells after each message whether it fetches a state in the place of a wrong one.
    struct Watched {
        sync: Sync,
        heals: watch::Sender<bool>,
    }

    impl Watched {
        async fn start(
            context: Context<SyncMessage>,
            arguments: SyncArguments,
            heals: watch::Sender<bool>,
        ) -> Result<Self, ActorError> {
            Ok(Self { sync: Sync::start(context, arguments).await?, heals })
        }
    }

    impl Behaviour for Watched {
        type Message = SyncMessage;

        async fn handle(&mut self, context: &Context<SyncMessage>, message: SyncMessage) -> Result<(), ActorError> {
            self.sync.handle(context, message).await?;
            self.heals.send_replace(self.sync.planner.heals());
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_state_that_is_found_wrong_while_nobody_tells_the_sync_is_healed_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let shared = shared();
        let arguments = SyncArguments {
            shared: shared.clone(),
            store: StoreSlot::default(),
            directory: directory.path().to_owned(),
            instruments: Instruments::new(&opentelemetry::global::meter("test")),
        };
        let (heals, mut told) = watch::channel(false);
        let child = ChildSpec::worker(ROLE, move |context| Watched::start(context, arguments.clone(), heals.clone()));
        let root = SupervisorSpec::new("root", Strategy::OneForOne).child(child);
        let _tree = soon("start", NodeTree::start(root)).await.unwrap();
        soon("a tick", told.changed()).await.unwrap();
        assert!(!*told.borrow(), "nothing is wrong");
        let replica = Replica::new(shared.epoch().config.clone(), Base::genesis(&shared.genesis), true);
        shared.board.post_replica(ReplicaView { diverged: true, ..replica.show() }, Timestamp(1));
        soon("healing", told.wait_for(|heals| *heals)).await.unwrap();
    }

    #[test]
    fn an_asker_has_so_many_requests_waiting() {
        let listed: Purse = Arc::new(Mutex::new(Pace::new(SERVED)));
        assert_eq!(served(&listed), 0);
        let waiting: Vec<Purse> = (0..limits::SERVED_REQUESTS_PER_ASKER_MAX).map(|_| Arc::clone(&listed)).collect();
        assert_eq!(served(&listed), limits::SERVED_REQUESTS_PER_ASKER_MAX);
        drop(waiting);
        assert_eq!(served(&listed), 0);
    }
}
