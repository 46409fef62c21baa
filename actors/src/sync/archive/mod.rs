//! The archived state on disk, in `archive/` ([`dtvn_replication::archive`]): each part in a file that is called after its
//! hash, and `manifest`, which is written last. What is there as a whole has a manifest, whenever the process ends; parts
//! that two states share are written once. A part that was damaged since is found so when it is read: the others are served
//! still, and a later state takes the place of this one as soon as there is one.

mod folder;
mod pace;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dtvn_messages::{Height, limits};
use dtvn_replication::archive::{self, Archived};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::message::SyncMessage;
use crate::shared::Shared;
use crate::supervision::{ActorError, Context};

use folder::{Job, Written, read, remove};
use pace::Pace;

pub use folder::Done;

const FOLDER: &str = "archive";

/// The archive of a node.
pub(super) struct Archive {
    shared: Shared,
    path: PathBuf,
    every: u64,
    archived: Option<Written>,
    /// That it is damaged was said.
    is_known_damaged: bool,
    is_working: bool,
    /// The last state that there was when one could not be written.
    failed: Option<Height>,
}

/// Work beside the mailbox.
enum Work {
    /// Write a state. It may take minutes.
    Write(Job),
    /// What the archive holds is of no use to anybody: remove it.
    Remove { path: PathBuf, alone: Arc<Mutex<()>> },
}

impl Work {
    fn run(&self) -> io::Result<Done> {
        match self {
            Self::Write(job) => job.run().map(Done::Written),
            Self::Remove { path, alone } => remove(path, alone).map(|()| Done::Removed),
        }
    }
}

impl Archive {
    /// Opens it with what a former process wrote, if that holds.
    ///
    /// # Errors
    /// If the work is cut off.
    pub(super) async fn open(shared: &Shared, directory: &Path) -> Result<Self, ActorError> {
        let path = directory.join(FOLDER);
        let (from, of) = (path.clone(), shared.clone());
        let archived = tokio::task::spawn_blocking(move || match read(&from, &of) {
            Ok(archived) => archived,
            Err(why) => {
                tracing::warn!(why, "The archived state is of no use; a later one takes its place.");
                None
            }
        });
        Ok(Self::new(shared.clone(), path, archived.await?))
    }

    fn new(shared: Shared, path: PathBuf, archived: Option<Written>) -> Self {
        let every = archive::every(shared.genesis.parameters());
        let archive = Self { shared, path, every, archived, is_known_damaged: false, is_working: false, failed: None };
        archive.post();
        archive
    }

    /// The state that it holds.
    pub(super) fn archived(&self) -> Option<Arc<Archived>> {
        self.archived.as_ref().map(|written| Arc::clone(&written.archived))
    }

    fn height(&self) -> Option<Height> {
        self.archived.as_ref().map(|written| written.archived.height())
    }

    fn post(&self) {
        self.shared.board.post_archived(self.height());
    }

    /// Writes a stable state, if one is due; or removes the one that is here, if it is of no use any more.
    pub(super) fn tend(&mut self, context: &Context<SyncMessage>) {
        let Some(work) = self.next(context.over()) else { return };
        let life = context.lifeline();
        let work = tokio::task::spawn_blocking(move || {
            let _until_done = life;
            work.run()
        });
        context.spawn_then(work, |done| {
            let done = done.map_err(|error| error.to_string());
            SyncMessage::Archive(done.and_then(|done| done.map_err(|error| error.to_string())))
        });
    }

    fn next(&mut self, over: CancellationToken) -> Option<Work> {
        if self.is_working || self.shared.board.first_block().is_none() {
            return None;
        }
        let work = match self.shared.epoch().config.me {
            Some(_) => self.due(over).map(Work::Write),
            None => self.is_superfluous().then(|| self.removal()),
        };
        self.is_working = work.is_some();
        work
    }

    /// Without a vote a node archives nothing, and collects blocks above what it archived before.
    fn is_superfluous(&self) -> bool {
        self.archived.is_some() && self.shared.board.reach() != self.height()
    }

    fn removal(&mut self) -> Work {
        self.archived = None;
        self.post();
        Work::Remove { path: self.path.clone(), alone: Arc::clone(&self.shared.archive) }
    }

    fn due(&mut self, over: CancellationToken) -> Option<Job> {
        let damaged = self.archived.as_ref().filter(|written| written.is_damaged());
        if let Some(damaged) = damaged.filter(|_| !self.is_known_damaged) {
            let height = damaged.archived.height().0;
            tracing::error!(height, "A part of the archived state is damaged: a later state takes its place.");
            self.is_known_damaged = true;
        }
        // What could not be written is as far as this came: it is tried again when the next one is due.
        let from = match self.failed {
            None if self.is_known_damaged => None,
            failed => failed.max(self.shared.board.reach()),
        };
        let shelf = self.shared.shelf.get();
        Some(Job {
            path: self.path.clone(),
            snapshot: Arc::clone(archive::due(&shelf, from, self.every)?),
            former: self.archived(),
            free_bytes_min: self.shared.board.health().disk_free_bytes_min,
            alone: Arc::clone(&self.shared.archive),
            pace: self.pace(),
            over,
        })
    }

    /// It is to be done in half of the time until the next one is due. None without a runtime, which tests do without.
    fn pace(&self) -> Option<Pace> {
        let (runtime, board) = (Handle::try_current().ok()?, Arc::clone(&self.shared.board));
        let (begin, rest_max) = (board.committed(), limits::ARCHIVE_REST_MAX);
        Some(Pace { runtime, board, begin, blocks: self.every / 2, rest_max })
    }

    /// Work is done, or could not be.
    pub(super) fn on_done(&mut self, done: Result<Done, String>) {
        self.is_working = false;
        match done {
            Ok(Done::Written(written)) => {
                tracing::info!(height = written.archived.height().0, "The state is archived.");
                self.archived = Some(written);
                (self.is_known_damaged, self.failed) = (false, None);
            }
            Ok(Done::Removed) => {}
            Err(why) => {
                tracing::warn!(
                    why,
                    "The archive could not be changed: a state could not be written or removed. It is tried again when the \
                     next one is due, or at the next start."
                );
                self.failed = self.shared.shelf.get().snapshots.keys().next_back().copied().max(self.failed);
            }
        }
        self.post();
    }
}
