//! A fetched state becomes this node's database. May take seconds, so it runs beside the mailbox.

use std::collections::BTreeSet;
use std::path::Path;

use dtvn_messages::snapshot::CheckedManifest;
use dtvn_messages::{Digest, Height};
use dtvn_replication::sync::{AssembleError, assemble};

use super::parts::Parts;
use crate::shared::Shared;
use crate::storage::initial;
use crate::storage::install::{discard, prepare};
use crate::storage::store::StoreIdentity;

/// What came of it.
#[derive(Debug)]
pub enum Prepared {
    /// The new database is ready to be put in place.
    Ready {
        /// The height of its state.
        height: Height,
        /// The first entry in which this node's own state at that height differed, in words.
        difference: Option<String>,
    },
    /// Parts that were kept are gone or damaged.
    Lost(BTreeSet<Digest>),
    /// This node went on beyond it while it was made: it is dropped.
    Outrun,
    /// It cannot be done.
    Failed(String),
}

/// Makes the database of a snapshot whose parts are all kept; none: that of the genesis.
pub(super) fn make(shared: &Shared, directory: &Path, parts: &Parts, checked: Option<&CheckedManifest>) -> Prepared {
    let Some(checked) = checked else { return make_genesis(shared, directory) };
    let shelf = shared.shelf.get();
    let assembled = match assemble(&shared.genesis, checked, &shelf.ends, |hash| parts.read(hash)) {
        Ok(assembled) => assembled,
        Err(AssembleError::Lost(lost)) => return Prepared::Lost(lost),
        Err(unknown) => return Prepared::Failed(unknown.to_string()),
    };
    let height = checked.height();
    let difference = shelf.versions.get(&height).and_then(|own| own.map.first_difference(&assembled.map));
    let difference = difference.map(|difference| difference.to_string());
    if let Err(error) = prepare(directory, identity(shared), &assembled.stored) {
        return Prepared::Failed(error.to_string());
    }
    // What is left behind is cleared at the next start.
    let _left = parts.clear();
    Prepared::Ready { height, difference }
}

/// Drops what is ready if it would take this node back by now.
pub(super) fn unless_outrun(shared: &Shared, directory: &Path, made: Prepared) -> Prepared {
    match made {
        Prepared::Ready { height, .. } if height <= shared.board.committed() => match discard(directory) {
            Ok(()) => Prepared::Outrun,
            Err(error) => Prepared::Failed(format!("it is not needed, and cannot be removed: {error}")),
        },
        other => other,
    }
}

fn make_genesis(shared: &Shared, directory: &Path) -> Prepared {
    let stored = match initial::beginning_of(directory, &shared.genesis) {
        Ok(stored) => stored,
        Err(error) => return Prepared::Failed(error.to_string()),
    };
    match prepare(directory, identity(shared), &stored) {
        Ok(()) => Prepared::Ready { height: shared.genesis.base(), difference: None },
        Err(error) => Prepared::Failed(error.to_string()),
    }
}

fn identity(shared: &Shared) -> StoreIdentity {
    let identity = &shared.board.identity;
    StoreIdentity::new(&shared.genesis, identity.name.clone(), identity.public_key)
}
