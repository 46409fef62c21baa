//! Snapshots: putting a fetched one in the place of this node's.

use std::sync::Arc;

use dtvn_messages::snapshot::CheckedManifest;
use dtvn_messages::{Digest, Height};

use super::{Effect, Failure, Mail, MemoryStore, Node};
use crate::initial::beginning;
use crate::log::Disk;
use crate::sync::{AssembleError, assemble};
use crate::{pool, sync};

impl<D: Disk> Node<D> {
    /// A snapshot is complete: it becomes the state of this node, which recovers from it as after a start.
    pub(super) fn install(&mut self, checked: &Arc<CheckedManifest>, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        if self.sync.is_outrun(checked.height(), self.consensus.show().committed) {
            self.mail.push_back(Mail::Sync(sync::Input::Outrun));
            return Ok(());
        }
        let shelf = self.execution.shelf();
        let read = |hash: &Digest| self.parts.get(hash).cloned();
        let assembled = match assemble(&self.settings.genesis, checked, &shelf.ends, read) {
            Ok(assembled) => assembled,
            Err(AssembleError::Lost(lost)) => {
                self.parts.retain(|hash, _| !lost.contains(hash));
                self.mail.push_back(Mail::Sync(sync::Input::Lost(lost)));
                return Ok(());
            }
            Err(unknown) => return Err(Failure::new(unknown)),
        };
        let height = checked.height();
        let digest = checked.manifest.stable.checkpoint.block;
        let own = shelf.versions.get(&height);
        let difference = own.and_then(|own| own.map.first_difference(&assembled.map));
        let difference = difference.map(|difference| difference.to_string());
        self.store.check_space().map_err(Failure::new)?;
        self.store.install(assembled.stored);
        self.parts.clear();
        self.start_from_store(height, effects)?;
        effects.push(Effect::Installed { height, digest, difference });
        Ok(())
    }

    /// There was no checkpoint yet: the genesis is the state to start from, and the log holds every block.
    pub(super) fn install_genesis(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let genesis = &self.settings.genesis;
        let (height, digest) = (genesis.base(), genesis.hash());
        let stored = beginning(genesis, self.settings.initial.as_ref()).map_err(Failure::new)?;
        self.store = MemoryStore::of(stored);
        self.start_from_store(height, effects)?;
        effects.push(Effect::Installed { height, digest, difference: None });
        Ok(())
    }

    fn start_from_store(&mut self, height: Height, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.restart_from_state_machine(effects)?;
        self.tell_gossip(self.positions());
        self.tell_gossip(pool::Input::Stable { height });
        self.cover(height);
        Ok(())
    }
}
