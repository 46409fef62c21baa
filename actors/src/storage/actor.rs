//! The storage actor: opens what is on disk, and hands work to the threads of the log and of the store.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dtvn_messages::{Genesis, Height, NodeName, Nonce, limits};
use dtvn_replication::log::{LogError, LogIdentity, LogLimits};
use dtvn_replication::logbook::{LogBook, Verdict};
use dtvn_replication::recovery::Amnesia;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::disk::FileDisk;
use super::log_thread::{LogThread, LogWork, open_log};
use super::message::StorageMessage;
use super::store::{IfMissing, Opened, Store, StoreError, StoreIdentity, StoreOptions, StoreReader};
use super::store_thread::{StoreThread, StoreWork};
use super::{amnesia, files, initial, install};
use crate::instruments::{GroupCommit, Instruments};
use crate::mailbox::Address;
use crate::shared::Shared;
use crate::supervision::{ActorError, Behaviour, Context, Lifeline, StopReason};

/// The way to the store for readers; empty while the storage restarts.
#[derive(Clone, Default)]
pub struct StoreSlot(Arc<RwLock<Option<StoreReader>>>);

impl StoreSlot {
    /// A reader, if the store is open.
    #[must_use]
    pub fn get(&self) -> Option<StoreReader> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another reader in place.
    pub fn publish(&self, reader: Option<StoreReader>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = reader;
    }
}

/// What the storage actor is made with.
#[derive(Clone)]
pub struct StorageArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// The data directory; `log/` and `db/` are in it.
    pub directory: PathBuf,
    /// Whether the storage was started in this directory, or with this key, before, by this process or another: then a
    /// missing log is amnesia, and a missing store a loss.
    pub used_before: Arc<AtomicBool>,
    /// Where readers find the store.
    pub store: StoreSlot,
    /// The instruments.
    pub instruments: Instruments,
}

/// The storage actor.
pub struct Storage {
    log: Sender<LogWork>,
    store: Sender<StoreWork>,
    slot: StoreSlot,
}

impl Storage {
    /// Opens log and store, and starts their threads.
    ///
    /// # Errors
    /// If the store cannot be opened or belongs to another node. A log that is missing or damaged is no error: the node
    /// then follows and does not vote; nor is a store that is: it is rebuilt.
    pub async fn start(context: Context<StorageMessage>, arguments: StorageArguments) -> Result<Self, ActorError> {
        let opening = arguments.clone();
        let OpenedAll { store, opened, log_thread } = tokio::task::spawn_blocking(move || open(&opening)).await??;
        tracing::info!(applied = opened.applied.height.0, created = opened.created, "The store is open.");
        if let Some(Amnesia { why, .. }) = &log_thread.amnesia {
            tracing::error!(why, "This node may have signed what it does not remember: it follows and does not vote.");
            arguments.shared.board.post_forgotten(Some(why.clone()));
        }
        // From here on the node votes, so what is missing at the next start is lost.
        let used_before = arguments.used_before.swap(true, Ordering::SeqCst);
        let is_new = used_before && opened.applied.height <= arguments.shared.genesis.base();
        arguments.shared.board.post_rebuilding(is_new);
        arguments.store.publish(Some(store.reader()));
        let ((log, log_work), (store_sender, store_work)) = (queue(), queue());
        let parameters = arguments.shared.genesis.parameters();
        let store_thread = StoreThread {
            store,
            log: log.clone(),
            directory: arguments.directory.clone(),
            board: Arc::clone(&arguments.shared.board),
            checkpoint_interval: parameters.checkpoint_interval,
            retain_blocks: parameters.retain_blocks,
            covered: Height(0),
        };
        spawn("consensus-log", &context, move |myself, life| log_thread.run(log_work, myself, life))?;
        spawn("store", &context, move |myself, life| store_thread.run(store_work, myself, life))?;
        Ok(Self { log, store: store_sender, slot: arguments.store })
    }
}

/// Starts a thread that no successor of this incarnation overlaps.
fn spawn(
    name: &str,
    context: &Context<StorageMessage>,
    run: impl FnOnce(&Address<StorageMessage>, Lifeline) + Send + 'static,
) -> Result<(), ActorError> {
    let (myself, life) = (context.myself(), context.lifeline());
    std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&myself, life))?;
    Ok(())
}

struct OpenedAll {
    store: Store,
    opened: Opened,
    log_thread: LogThread,
}

fn open(arguments: &StorageArguments) -> Result<OpenedAll, ActorError> {
    let identity = &arguments.shared.board.identity;
    let genesis = &arguments.shared.genesis;
    let log_directory = arguments.directory.join("log");
    let had_log = log_directory.is_dir();
    let used_before = arguments.used_before.load(Ordering::SeqCst);
    std::fs::create_dir_all(&log_directory)?;
    if install::take_over(&arguments.directory)? {
        arguments.instruments.installed();
        tracing::warn!("The database was replaced by one that was made from a certified state.");
    }
    files::sync_directory(&arguments.directory)?;
    let chain = genesis.chain_id().clone();
    let log_identity = LogIdentity::new(&chain, &identity.name, &genesis.hash());
    let missing = if used_before && had_log { IfMissing::Refuse } else { IfMissing::Create };
    let store_identity = StoreIdentity::new(genesis, identity.name.clone(), identity.public_key);
    let (store, opened) = open_store(arguments, store_identity, missing)?;
    let (log, records) = match open_log(&log_directory, log_identity, &chain) {
        Ok(opened) => opened,
        Err(error) => match Verdict::of(&error, used_before, opened.applied.block != genesis.hash()) {
            Verdict::Create => (create_log(&log_directory, log_identity)?, Vec::new()),
            Verdict::Amnesia => {
                // The mark comes first: whatever happens from here on, this node does not vote as if it remembered.
                let nonce = Nonce(rand::random());
                amnesia::mark(&arguments.directory, &Amnesia { why: error.to_string(), nonce })?;
                amnesia::set_aside(&arguments.directory)?;
                (create_log(&log_directory, log_identity)?, Vec::new())
            }
            Verdict::Fail => return Err(ActorError::from(error)),
        },
    };
    let log_thread = LogThread {
        log: Some(log),
        directory: log_directory,
        data_directory: arguments.directory.clone(),
        identity: log_identity,
        chain,
        records: Some(records),
        amnesia: amnesia::marked(&arguments.directory)?,
        votes_from: amnesia::votes_from(&arguments.directory)?,
        instruments: arguments.instruments.clone(),
        waiting: None,
        flush: false,
        unsynced: GroupCommit::default(),
    };
    Ok(OpenedAll { store, opened, log_thread })
}

/// Opens the store. One that is damaged, or gone although the node was used, is made anew and empty: the node rebuilds its
/// content from the consensus log or from its peers. One of another chain, node or program is refused.
fn open_store(
    arguments: &StorageArguments,
    identity: StoreIdentity,
    missing: IfMissing,
) -> Result<(Store, Opened), ActorError> {
    let path = install::database(&arguments.directory);
    std::fs::create_dir_all(&path)?;
    let open = |missing| Store::open(&path, identity.clone(), StoreOptions::default(), missing);
    let create = || -> Result<_, ActorError> {
        let genesis = &arguments.shared.genesis;
        let is_empty = path.read_dir()?.next().is_none();
        if genesis.file().continues.is_some() && is_empty {
            let stored = initial::beginning_of(&arguments.directory, genesis)?;
            Store::build(&path, identity.clone(), &StoreOptions::default(), &stored)?;
        }
        Ok(open(IfMissing::Create)?)
    };
    let why = match install::condemned(&arguments.directory)? {
        Some(why) => why,
        None if missing == IfMissing::Create => return create(),
        None => match open(missing) {
            Ok(opened) => return Ok(opened),
            Err(error @ (StoreError::Damaged { .. } | StoreError::Missing { .. })) => error.to_string(),
            Err(error) => return Err(error.into()),
        },
    };
    let aside = install::set_aside(&arguments.directory)?;
    arguments.instruments.damaged();
    tracing::error!(why, aside = %aside.display(), "The database is set aside, and rebuilt from the log or from peers.");
    std::fs::create_dir_all(&path)?;
    create()
}

/// Makes the consensus log of a node that never signed anything, durably, unless an earlier attempt made it.
///
/// # Errors
/// If the disk refuses: there is no space for the first segment, perhaps.
pub fn make_log(directory: &Path, genesis: &Genesis, name: &NodeName) -> std::io::Result<()> {
    let log = directory.join("log");
    std::fs::create_dir_all(&log)?;
    files::sync_directory(directory)?;
    match create_log(&log, LogIdentity::new(genesis.chain_id(), name, &genesis.hash())) {
        Ok(_) | Err(LogError::AlreadyExists) => Ok(()),
        Err(error) => Err(std::io::Error::other(error)),
    }
}

fn create_log(directory: &Path, identity: LogIdentity) -> Result<LogBook<FileDisk>, LogError> {
    let log = LogBook::create(FileDisk::open(directory)?, identity, LogLimits::default());
    log.map_err(|unopened| unopened.error)
}

impl Behaviour for Storage {
    type Message = StorageMessage;

    async fn handle(&mut self, _context: &Context<StorageMessage>, message: StorageMessage) -> Result<(), ActorError> {
        match message {
            StorageMessage::Append(record) => give(&self.log, LogWork::Append(record)).await,
            StorageMessage::Records { records, flush, replica, run } => {
                give(&self.log, LogWork::Records { records, flush, replica: (replica, run) }).await
            }
            StorageMessage::Replay(reply) => give(&self.log, LogWork::Replay(reply)).await,
            StorageMessage::NewStart(reply) => give(&self.log, LogWork::NewStart(reply)).await,
            StorageMessage::Apply(block) => give(&self.store, StoreWork::Apply(block)).await,
            StorageMessage::Stable(stable) => give(&self.store, StoreWork::Stable(stable)).await,
            StorageMessage::Evidence(evidence) => give(&self.store, StoreWork::Evidence(evidence)).await,
            StorageMessage::Receipt(certificate) => give(&self.store, StoreWork::Receipt(certificate)).await,
            StorageMessage::EpochEnd(end) => give(&self.store, StoreWork::EpochEnd(end)).await,
            StorageMessage::Recovered { opened, reply } => give(&self.log, LogWork::Recovered(opened, reply)).await,
            StorageMessage::Load(reply) => give(&self.store, StoreWork::Load(reply)).await,
            StorageMessage::Condemn(why) => give(&self.store, StoreWork::Condemn(why)).await,
            StorageMessage::Distrust(why) => give(&self.store, StoreWork::Distrust(why)).await,
            StorageMessage::Failed(why) => Err(ActorError::new(why)),
        }
    }

    async fn stop(&mut self, _context: &Context<StorageMessage>, _reason: StopReason) -> Result<(), ActorError> {
        self.slot.publish(None);
        Ok(())
    }
}

/// The work that waits for a thread.
fn queue<T>() -> (Sender<T>, Receiver<T>) {
    channel(limits::STORAGE_QUEUE_MAX)
}

/// Hands work to a thread, waiting for a place. A thread that is gone has failed.
async fn give<T>(thread: &Sender<T>, work: T) -> Result<(), ActorError> {
    thread.send(work).await.map_err(|_| ActorError::new("a thread of the storage has ended"))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn so_much_work_waits_for_a_thread_and_then_the_storage_does() {
        let (thread, mut work) = queue();
        for number in 0..limits::STORAGE_QUEUE_MAX {
            assert!(matches!(give(&thread, number).now_or_never(), Some(Ok(()))), "{number}");
        }
        let mut waiting = Box::pin(give(&thread, limits::STORAGE_QUEUE_MAX));
        assert!(waiting.as_mut().now_or_never().is_none(), "there is no place");
        assert_eq!(work.try_recv(), Ok(0));
        assert!(matches!(waiting.now_or_never(), Some(Ok(()))));
        drop(work);
        assert!(matches!(give(&thread, 0).now_or_never(), Some(Err(_))), "a thread that is gone takes nothing");
    }
}
