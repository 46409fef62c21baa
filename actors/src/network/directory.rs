//! Which outbox belongs to which validator: what every sender reads and only the peer manager writes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use dtvn_messages::ids::ValidatorIndex;
use libp2p::PeerId;

use super::outbox::Outbox;

/// The outboxes of the peers that can be sent to.
#[derive(Debug, Default)]
pub struct Directory {
    table: RwLock<Arc<Table>>,
}

/// One state of the directory.
#[derive(Debug, Default, Clone)]
pub struct Table {
    /// By validator index; none where this node itself is.
    pub validators: Vec<Option<Arc<Outbox>>>,
    /// Observers with a standing session.
    pub observers: HashMap<PeerId, Arc<Outbox>>,
}

impl Directory {
    /// The present state.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The outbox of a validator.
    #[must_use]
    pub fn validator(&self, index: ValidatorIndex) -> Option<Arc<Outbox>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.validators.get(index.position()).cloned().flatten()
    }

    /// The outbox of whoever has that identity.
    #[must_use]
    pub fn peer(&self, peer: &PeerId) -> Option<Arc<Outbox>> {
        let table = self.table();
        let validators = table.validators.iter().flatten();
        validators.chain(table.observers.values()).find(|outbox| outbox.peer() == *peer).cloned()
    }

    pub(crate) fn replace(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}
