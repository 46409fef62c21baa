//! Everybody this node knows, as senders and operators see them: a [`Link`] each. Read by all, written by the peer
//! manager only; outlives restarts.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use dtvn_messages::ids::ValidatorIndex;
use libp2p::PeerId;

use super::link::Link;

/// The links.
#[derive(Debug, Default)]
pub struct Contacts {
    table: RwLock<Arc<Table>>,
}

/// One state of the contacts.
#[derive(Debug, Default, Clone)]
pub struct Table {
    /// By validator index; none where this node itself is.
    pub validators: Vec<Option<Arc<Link>>>,
    /// Everybody, by identity.
    pub by_peer: HashMap<PeerId, Arc<Link>>,
}

impl Contacts {
    /// The present state.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The link of a validator.
    #[must_use]
    pub fn validator(&self, index: ValidatorIndex) -> Option<Arc<Link>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.validators.get(index.position()).cloned().flatten()
    }

    /// The link of whoever has that identity.
    #[must_use]
    pub fn peer(&self, peer: &PeerId) -> Option<Arc<Link>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).by_peer.get(peer).cloned()
    }

    /// Adds somebody, unless known already.
    pub(crate) fn admit(&self, link: Arc<Link>) -> Arc<Link> {
        let mut guard = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let table = Arc::make_mut(&mut guard);
        Arc::clone(table.by_peer.entry(link.peer()).or_insert(link))
    }

    /// Forgets somebody who is no validator.
    pub(crate) fn forget(&self, peer: &PeerId) {
        Arc::make_mut(&mut self.table.write().unwrap_or_else(PoisonError::into_inner)).by_peer.remove(peer);
    }

    /// Puts the links in the order of a validator set, by the index that each link has.
    pub(crate) fn order(&self) {
        let mut guard = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let table = Arc::make_mut(&mut guard);
        table.validators.clear();
        for link in table.by_peer.values() {
            let Some(position) = link.index().map(ValidatorIndex::position) else { continue };
            if table.validators.len() <= position {
                table.validators.resize(position + 1, None);
            }
            table.validators[position] = Some(Arc::clone(link));
        }
    }
}
