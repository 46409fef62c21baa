//! The thread of the store: brings RocksDB up to date, beside the way of a vote.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::{Digest, Epoch, EpochEnd, Evidence, Height, ReceiptCertificate, StableCheckpoint, limits};
use dtvn_replication::archive;
use tokio::sync::mpsc::{Receiver, Sender};

use super::install;
use super::log_thread::LogWork;
use super::message::{Loaded, StorageMessage};
use super::store::{AppliedBlock, Store, StoreError};
use crate::board::Board;
use crate::mailbox::{Address, Reply};
use crate::supervision::Lifeline;

/// How long readers may still have a view when the store is closed: less than the end of the storage is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Work for the thread.
pub(super) enum StoreWork {
    /// A committed block.
    Apply(Box<AppliedBlock>),
    /// A checkpoint became stable.
    Stable(Arc<StableCheckpoint>),
    /// A validator is shown to lie.
    Evidence(Arc<Evidence>),
    /// A block has its receipt certificate.
    Receipt(Arc<ReceiptCertificate>),
    /// How an epoch ended.
    EpochEnd(Arc<EpochEnd>),
    /// The whole state.
    Load(Reply<Result<Loaded, String>>),
    /// What is stored is no state that a ledger can have.
    Condemn(String),
    /// What is stored is not what a quorum certified: the next start does without it.
    Distrust(String),
}

/// What the thread works on.
pub(super) struct StoreThread {
    pub(super) store: Store,
    pub(super) log: Sender<LogWork>,
    pub(super) directory: PathBuf,
    pub(super) board: Arc<Board>,
    pub(super) checkpoint_interval: u64,
    pub(super) retain_blocks: u64,
    pub(super) covered: Height,
}

impl StoreThread {
    /// Works until nobody can give it work any more, or the database fails.
    pub(super) fn run(mut self, mut work: Receiver<StoreWork>, storage: &Address<StorageMessage>, life: Lifeline) {
        let mut stands = self.post_first_block();
        while let Some(first) = work.blocking_recv() {
            stands = stands.and_then(|()| self.take(first, &mut work));
            if let Err(error) = &stands {
                tracing::error!(%error, "The store failed.");
                if matches!(error, StoreError::Damaged { .. })
                    && let Err(error) = install::condemn(&self.directory, &error.to_string())
                {
                    tracing::error!(%error, "The damaged database could not be marked.");
                }
                let _down = storage.try_send(StorageMessage::Failed(format!("the store failed: {error}")));
                break;
            }
        }
        if let Err(error) = self.store.close(CLOSE_TIMEOUT) {
            tracing::warn!(%error, "The store was not closed in good order; what it lacks is in the consensus log.");
        }
        drop(life);
    }

    fn take(&mut self, first: StoreWork, work: &mut Receiver<StoreWork>) -> Result<(), StoreError> {
        let (mut blocks, mut receipts, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(item) = next.take() {
            match item {
                StoreWork::Apply(block) => blocks.push(*block),
                StoreWork::Stable(stable) => {
                    self.apply(&mut blocks)?;
                    self.on_stable(&stable)?;
                }
                StoreWork::Evidence(piece) => evidence.push(piece),
                StoreWork::Receipt(certificate) => receipts.push(certificate),
                StoreWork::EpochEnd(end) => {
                    self.apply(&mut blocks)?;
                    self.store.put_epoch_end(&end)?;
                }
                StoreWork::Load(reply) => {
                    self.apply(&mut blocks)?;
                    let loaded = load(&self.store, &self.board.identity.genesis.hash());
                    let said = loaded.as_ref().err().map(ToString::to_string);
                    match (loaded, said) {
                        (Err(error), Some(said)) => {
                            reply.send(Err(said.clone()));
                            // A disk that does not answer now may answer at the next start.
                            let is_passing = matches!(error, StoreError::Disk { .. } | StoreError::Closed);
                            return Err(if is_passing { error } else { StoreError::Damaged { what: said } });
                        }
                        (loaded, _) => _ = reply.send(loaded.map_err(|error| error.to_string())),
                    }
                }
                StoreWork::Condemn(what) => {
                    return Err(StoreError::Damaged { what });
                }
                StoreWork::Distrust(why) => {
                    if let Err(error) = install::condemn(&self.directory, &why) {
                        tracing::error!(%error, "That the state is wrong could not be noted: a restart would forget it.");
                    }
                }
            }
            if blocks.len() + receipts.len() + evidence.len() < limits::STORE_BATCH_BLOCKS_MAX {
                next = work.try_recv().ok();
            }
        }
        self.apply(&mut blocks)?;
        self.store.put_receipts(&receipts)?;
        self.store.put_evidence(&evidence)
    }

    fn apply(&mut self, blocks: &mut Vec<AppliedBlock>) -> Result<(), StoreError> {
        let before = self.store.applied().height;
        self.store.apply(blocks)?;
        blocks.clear();
        let height = self.store.applied().height;
        // Without a vote it is shown no stable checkpoint, and promised nothing that its log would have to keep.
        if before.0 / self.checkpoint_interval < height.0 / self.checkpoint_interval
            && self.board.epoch().config.me.is_none()
        {
            self.cover(height)?;
        }
        Ok(())
    }

    fn on_stable(&mut self, stable: &StableCheckpoint) -> Result<(), StoreError> {
        self.store.put_stable_checkpoint(stable)?;
        self.cover(stable.height())
    }

    /// Up to this height nothing is needed of the log that the store has durably.
    fn cover(&mut self, height: Height) -> Result<(), StoreError> {
        let covered = height.min(self.store.durable_height()?);
        if covered > self.covered {
            self.covered = covered;
            // A log that is gone has failed, and the storage is about to start again.
            let _gone = self.log.blocking_send(LogWork::Covered(covered));
        }
        let (is_validator, reach) = (self.board.epoch().config.me.is_some(), self.board.reach());
        let covered = covered.min(self.store.applied().height);
        let below = archive::collectable(covered, self.retain_blocks, is_validator, reach);
        if below > Height(0) {
            self.store.collect(below)?;
            self.post_first_block()?;
        }
        Ok(())
    }

    fn post_first_block(&self) -> Result<(), StoreError> {
        self.board.post_first_block(self.store.reader().read(|view| view.first_block())?);
        Ok(())
    }
}

/// The state in a store of the chain with this genesis.
pub(super) fn load(store: &Store, genesis: &Digest) -> Result<Loaded, StoreError> {
    let image = store.load_image()?;
    let applied = store.applied();
    let (height, is_beginning) = (applied.height, applied.block == *genesis);
    let (block, stable, ends) = store.reader().read(|view| {
        let block = if is_beginning { None } else { view.block(height)? };
        let ends = view.epoch_ends(Epoch(0), usize::MAX)?.into_iter().map(Arc::new).collect();
        Ok((block, view.latest_stable_checkpoint()?, ends))
    })?;
    let edge = store.edge()?;
    Ok(Loaded { image, applied, block, edge, stable, ends })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dtvn_messages::{Ed25519, Timestamp};
    use tokio::sync::mpsc::channel;

    use super::super::message::ROLE;
    use super::super::stopped;
    use super::super::store::tests::chain::Chain;
    use super::super::store::{IfMissing, StoreOptions};
    use super::*;
    use crate::board::Identity;
    use crate::supervision::tests::soon;
    use crate::supervision::{ActorError, Behaviour, ChildSpec, Context, NodeTree, Strategy, SupervisorSpec};

    /// The thread of this store, in this data directory.
    fn thread_of(store: Store, directory: &Path, chain: &Chain) -> StoreThread {
        let identity = chain.identity();
        let shown = Identity {
            name: identity.node,
            public_key: identity.key,
            may_vote: true,
            genesis: Arc::new(chain.genesis.clone()),
            started_at: Timestamp(0),
        };
        StoreThread {
            store,
            log: channel(1).0,
            directory: directory.to_owned(),
            board: Board::new(shown, Arc::new(Ed25519)),
            checkpoint_interval: 1_000,
            retain_blocks: 1_000,
            covered: Height(0),
        }
    }

    #[test]
    fn so_many_blocks_are_gathered_and_the_next_ones_are_for_the_next_batch() {
        const MORE: usize = 10;
        let directory = tempfile::tempdir().unwrap();
        let mut chain = Chain::new();
        let opened = Store::open(directory.path(), chain.identity(), StoreOptions::default(), IfMissing::Create);
        let mut thread = thread_of(opened.unwrap().0, directory.path(), &chain);
        let (sender, mut work) = channel(limits::STORE_BATCH_BLOCKS_MAX + MORE);
        for number in 0..limits::STORE_BATCH_BLOCKS_MAX + MORE {
            let operations = vec![chain.issue(&format!("T-{number}"))];
            sender.try_send(StoreWork::Apply(Box::new(chain.block(operations)))).ok().unwrap();
        }
        for (applied, left) in [(limits::STORE_BATCH_BLOCKS_MAX, MORE), (limits::STORE_BATCH_BLOCKS_MAX + MORE, 0)] {
            let first = work.try_recv().unwrap();
            thread.take(first, &mut work).unwrap();
            assert_eq!((thread.store.applied().height, work.len()), (Height(applied as u64), left));
        }
        thread.store.close(CLOSE_TIMEOUT).unwrap();
    }

    /// A storage that is told that its thread failed, and does nothing about it.
    struct Storage;

    impl Behaviour for Storage {
        type Message = StorageMessage;

        async fn handle(&mut self, _: &Context<StorageMessage>, _: StorageMessage) -> Result<(), ActorError> {
            Ok(())
        }
    }

    /// A store of one block, of which the files that hold the keys are not open: only a load of the state reads them.
    fn store_with_closed_files(directory: &Path, chain: &mut Chain) -> Store {
        let opened = Store::open(directory, chain.identity(), StoreOptions::default(), IfMissing::Create);
        let mut store = opened.unwrap().0;
        let issued = vec![chain.issue("A")];
        store.apply(&[chain.block(issued)]).unwrap();
        store.flush().unwrap();
        store.settle();
        store.close(CLOSE_TIMEOUT).unwrap();
        let options = StoreOptions { open_files: 20, ..StoreOptions::default() };
        Store::open(directory, chain.identity(), options, IfMissing::Refuse).unwrap().0
    }

    /// A storage, and lifelines for two threads of it; it lives as long as the tree.
    async fn storage() -> (NodeTree, Address<StorageMessage>, [Lifeline; 2]) {
        let (sender, mut started) = channel(1);
        let storage = ChildSpec::worker(ROLE, move |context: Context<StorageMessage>| {
            let lifelines = [context.lifeline(), context.lifeline()];
            sender.try_send((context.myself(), lifelines)).ok().unwrap();
            std::future::ready(Ok(Storage))
        });
        let root = SupervisorSpec::new("root", Strategy::OneForOne).child(storage);
        let tree = soon("start", NodeTree::start(root)).await.unwrap();
        let (storage, lifelines) = soon("the storage", started.recv()).await.unwrap();
        (tree, storage, lifelines)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_that_is_not_trusted_serves_on_and_is_not_used_at_the_next_start() {
        let (_tree, storage, [life, _]) = storage().await;
        let directory = tempfile::tempdir().unwrap();
        let chain = Chain::new();
        let database = install::database(directory.path());
        let opened = Store::open(&database, chain.identity(), StoreOptions::default(), IfMissing::Create);
        let store = opened.unwrap().0;
        let (give, work) = channel(2);
        let (reply, loaded) = Reply::channel();
        give.try_send(StoreWork::Distrust("another root".to_owned())).ok().unwrap();
        give.try_send(StoreWork::Load(reply)).ok().unwrap();
        drop(give);
        let thread = thread_of(store, directory.path(), &chain);
        let run = tokio::task::spawn_blocking(move || thread.run(work, &storage, life));
        soon("the end of the thread", run).await.unwrap();
        assert!(loaded.await.unwrap().is_ok(), "it serves until another takes its place");
        assert_eq!(install::condemned(directory.path()).unwrap().as_deref(), Some("another root"));
        let by_an_operator = stopped::stored(directory.path(), &chain.genesis, chain.identity());
        assert!(matches!(by_an_operator, Err(StoreError::Damaged { what }) if what == "another root"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_refuses_while_the_state_is_loaded_does_not_condemn_the_database_and_damage_does() {
        let (_tree, storage, lifelines) = storage().await;
        for (is_damage, life) in [false, true].into_iter().zip(lifelines) {
            let directory = tempfile::tempdir().unwrap();
            let database = install::database(directory.path());
            let mut chain = Chain::new();
            let store = store_with_closed_files(&database, &mut chain);
            let files = std::fs::read_dir(database.join("rocksdb")).unwrap().map(|entry| entry.unwrap().path());
            let tables: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|it| it == "sst")).collect();
            for table in &tables {
                std::fs::remove_file(table).unwrap();
                if !is_damage {
                    // A link to itself: it is there, and whoever opens it gets an error.
                    std::os::unix::fs::symlink(table, table).unwrap();
                }
            }
            let (give, work) = channel(1);
            let (reply, loaded) = Reply::channel();
            give.try_send(StoreWork::Load(reply)).ok().unwrap();
            drop(give);
            let (thread, storage) = (thread_of(store, directory.path(), &chain), storage.clone());
            let run = tokio::task::spawn_blocking(move || thread.run(work, &storage, life));
            soon("the end of the thread", run).await.unwrap();
            let refused = loaded.await.unwrap().unwrap_err();
            assert_eq!(refused.contains("damaged"), is_damage, "{refused}");
            let condemned = install::condemned(directory.path()).unwrap();
            assert_eq!(condemned.is_some(), is_damage, "{condemned:?}");
        }
    }
}
