//! What a liar remembers of what it hears, to make something of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Epoch, Signed, ValidatorIndex, View, ViewChange, Vote};

/// VIEW-CHANGEs that a liar remembers: those for the highest views.
const VIEW_CHANGES: usize = 64;

/// What a liar heard in its epoch, from anybody.
#[derive(Default)]
pub(super) struct Heard {
    /// The first VIEW-CHANGE of each validator for a view, its own too. Nobody has checked them.
    pub(super) view_changes: BTreeMap<(View, ValidatorIndex), Arc<Signed<ViewChange>>>,
    /// The last vote in the name of the validator that it works against.
    pub(super) vote: Option<Signed<Vote>>,
}

impl Heard {
    pub(super) fn hear(&mut self, message: &PeerMessage, epoch: Epoch, victim: ValidatorIndex) {
        match message {
            PeerMessage::ViewChange(signed) if signed.body.epoch == epoch => {
                let name = (signed.body.view, signed.signer);
                self.view_changes.entry(name).or_insert_with(|| Arc::clone(signed));
                if self.view_changes.len() > VIEW_CHANGES {
                    self.view_changes.pop_first();
                }
            }
            PeerMessage::Vote(vote) if vote.body.epoch == epoch && vote.signer == victim => {
                self.vote = Some(vote.clone());
            }
            _ => {}
        }
    }

    /// The VIEW-CHANGEs for a view.
    pub(super) fn of_view(&self, view: View) -> impl Iterator<Item = &Arc<Signed<ViewChange>>> {
        let (first, last) = ((view, ValidatorIndex(0)), (view, ValidatorIndex(u16::MAX)));
        self.view_changes.range(first..=last).map(|(_, signed)| signed)
    }
}
