//! The archived state on disk, in `archive/` ([`dtvn_replication::archive`]): each part in a file that is called after its
//! hash, and `manifest`, which is written last. What is there as a whole has a manifest, whenever the process ends; parts
//! that two states share are written once. A part that was damaged since is found so when it is read: the others are served
//! still, and a later state takes the place of this one as soon as there is one.

mod folder;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dtvn_messages::Height;
use dtvn_replication::archive::{self, Archived};
use tokio_util::sync::CancellationToken;

use super::message::SyncMessage;
use crate::shared::Shared;
use crate::supervision::{ActorError, Context};

use folder::{Job, read, remove};

pub use folder::Written;

const FOLDER: &str = "archive";

/// The archive of a node.
pub(super) struct Archive {
    shared: Shared,
    path: PathBuf,
    every: u64,
    archived: Option<Written>,
    /// That it is damaged was said.
    is_known_damaged: bool,
    /// The last attempt to write failed, as was said.
    is_failing: bool,
    is_writing: bool,
    /// The last state that was begun to be written: one that could not be is not tried again.
    tried: Option<Height>,
}

/// Work beside the mailbox.
enum Work {
    /// Write a state. It may take minutes.
    Write(Job),
    /// The archive is of no use to anybody: remove it.
    Remove,
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
        let archive = Self {
            shared,
            path,
            every,
            archived,
            is_known_damaged: false,
            is_failing: false,
            is_writing: false,
            tried: None,
        };
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

    /// Writes the latest stable state, if one is due.
    pub(super) fn tend(&mut self, context: &Context<SyncMessage>) {
        match self.next(context.over()) {
            None => {}
            Some(Work::Write(job)) => {
                let life = context.lifeline();
                let work = tokio::task::spawn_blocking(move || {
                    let _until_written = life;
                    job.run()
                });
                context.spawn_then(work, |written| {
                    let written = written.map_err(|error| error.to_string());
                    SyncMessage::Archived(written.and_then(|written| written.map_err(|error| error.to_string())))
                });
            }
            Some(Work::Remove) => {
                let (path, alone) = (self.path.clone(), Arc::clone(&self.shared.archive));
                context.spawn(async move {
                    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || remove(&path, &alone)).await {
                        tracing::warn!(%error, "The archived state, which is of no use any more, could not be removed.");
                    }
                });
            }
        }
    }

    fn next(&mut self, over: CancellationToken) -> Option<Work> {
        if self.is_writing || self.shared.board.first_block().is_none() {
            return None;
        }
        let reach = self.shared.board.reach();
        if self.shared.epoch().config.me.is_none() {
            // Without a vote it collects blocks above it, too.
            let has_gap = reach != self.height();
            self.archived.take_if(|_| has_gap)?;
            self.post();
            return Some(Work::Remove);
        }
        let damaged = self.archived.as_ref().filter(|written| written.is_damaged());
        if let Some(damaged) = damaged.filter(|_| !self.is_known_damaged) {
            let height = damaged.archived.height().0;
            tracing::error!(height, "A part of the archived state is damaged: a later state takes its place.");
            (self.is_known_damaged, self.tried) = (true, None);
        }
        let reach = reach.filter(|_| !self.is_known_damaged);
        let shelf = self.shared.shelf.get();
        let due = archive::due(&shelf, reach, self.every).filter(|due| Some(due.stable.height()) != self.tried);
        let snapshot = Arc::clone(due?);
        (self.is_writing, self.tried) = (true, Some(snapshot.stable.height()));
        Some(Work::Write(Job {
            path: self.path.clone(),
            snapshot,
            former: self.archived(),
            free_bytes_min: self.shared.board.health().disk_free_bytes_min,
            alone: Arc::clone(&self.shared.archive),
            over,
        }))
    }

    /// A state was written, or could not be: then the next one is tried.
    pub(super) fn on_written(&mut self, written: Result<Written, String>) {
        self.is_writing = false;
        match written {
            Ok(written) => {
                tracing::info!(height = written.archived.height().0, "The state is archived.");
                self.archived = Some(written);
                (self.is_known_damaged, self.is_failing) = (false, false);
            }
            // There are several checkpoints in a second, and a disk is full for long.
            Err(why) if std::mem::replace(&mut self.is_failing, true) => {
                tracing::debug!(why, "The state could not be archived either.");
            }
            Err(why) => tracing::warn!(why, "The state could not be archived; the next ones are tried."),
        }
        self.post();
    }
}
