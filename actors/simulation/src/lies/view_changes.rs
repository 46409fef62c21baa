//! Lying view changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::block::bundles_root;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Block, Digest, NewView, PreparedCertificate, Signed, Statement, ValidatorIndex, View, ViewChange, Vote, VoteKind,
};
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::Node;

use super::{Behaviour, Filter, Lie, Moment, Said, also, any_digest, one};

/// Views that a storm is ahead of the truth.
const STORM_VIEWS: u64 = 4;

impl Filter {
    pub(super) fn say_of_views(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        match message {
            PeerMessage::ViewChange(signed) if signed.signer == self.me => {
                self.change_otherwise(behaviour, signed, moment)
            }
            PeerMessage::NewView(signed) if signed.signer == self.me => self.start_otherwise(behaviour, signed, moment),
            PeerMessage::Vote(vote) if behaviour == Behaviour::AlteredBlock => self.alter_selected(vote),
            PeerMessage::Status(status) => {
                let view = status.view;
                match behaviour {
                    Behaviour::Storm => {
                        let views = (1..=STORM_VIEWS).map(|above| View(view.0 + above));
                        also(message, views.map(|view| PeerMessage::ViewChange(self.empty_view_change(view))))
                    }
                    Behaviour::LastView => {
                        let last = View(u64::MAX);
                        let wish = PeerMessage::Wish { epoch: self.epoch, view: last };
                        let moves = [last, View(last.0 - 1)].map(|view| self.empty_view_change(view));
                        also(message, std::iter::once(wish).chain(moves.map(PeerMessage::ViewChange)))
                    }
                    Behaviour::WrongLeader => {
                        let view = view.next();
                        let view_changes = Vec::new();
                        let new_view = self.sign(NewView { epoch: self.epoch, view, view_changes });
                        also(message, [PeerMessage::NewView(Arc::new(new_view))])
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn empty_view_change(&self, view: View) -> Arc<Signed<ViewChange>> {
        let body = ViewChange { epoch: self.epoch, view, stable: None, committed: None, prepared: Vec::new() };
        Arc::new(self.sign(body))
    }

    fn change_otherwise(&self, behaviour: Behaviour, signed: &Signed<ViewChange>, moment: &mut Moment<'_>) -> Lie {
        let mut body = signed.body.clone();
        if behaviour == Behaviour::HiddenCertificate {
            body.prepared.clear();
            if moment.is_even() {
                body.committed = None;
            }
            return one(PeerMessage::ViewChange(Arc::new(self.sign(body))));
        }
        let other = body.prepared.get(1).cloned();
        let shown = body.prepared.first_mut()?;
        let signatures = &mut shown.certificate.signatures.0;
        match behaviour {
            Behaviour::ForgedCertificate => {
                shown.header.log_root = any_digest(moment.random);
                self.rename(shown);
                shown.certificate.signatures.0.iter_mut().for_each(|(_, signature)| *signature = Self::NO_SIGNATURE);
            }
            Behaviour::MixedCertificate => {
                shown.header = other.map_or_else(
                    || {
                        let mut header = shown.header.clone();
                        header.log_size += 1;
                        header
                    },
                    |other| other.header,
                );
            }
            Behaviour::RepeatedSigner => {
                let own = (self.me, self.sign(shown.certificate.vote).signature);
                signatures.iter_mut().for_each(|signature| *signature = own);
            }
            Behaviour::ForeignSigner => {
                let strangers = self.set.len() as u16..;
                signatures.iter_mut().zip(strangers).for_each(|(signature, index)| signature.0 = ValidatorIndex(index));
            }
            Behaviour::TooFewSigners => signatures.truncate(1),
            _ => return None,
        }
        one(PeerMessage::ViewChange(Arc::new(self.sign(body))))
    }

    /// The votes of a certificate are for the block that its header now is.
    fn rename(&self, certificate: &mut PreparedCertificate) {
        certificate.certificate.vote.digest = certificate.header.digest(self.chain());
    }

    fn start_otherwise(&self, behaviour: Behaviour, signed: &Arc<Signed<NewView>>, moment: &mut Moment<'_>) -> Lie {
        let mut body = signed.body.clone();
        match behaviour {
            Behaviour::TooFewChanges => body.view_changes.truncate(1),
            Behaviour::UnknownChanges => {
                let random = &mut *moment.random;
                body.view_changes.iter_mut().for_each(|(_, digest)| *digest = any_digest(random));
            }
            Behaviour::TwoNewViews => {
                let first = std::iter::once(PeerMessage::NewView(Arc::clone(signed)));
                let second = self.second_start(signed, moment)?.into_iter();
                let both: Vec<PeerMessage> = match (moment.is_even(), moment.to == self.victim()) {
                    (true, true) => second.chain(first).collect(),
                    (true, false) => second.collect(),
                    (false, true) => first.chain(second).collect(),
                    (false, false) => return None,
                };
                return Some(both.into_iter().map(Said::from).collect());
            }
            _ => return None,
        }
        one(PeerMessage::NewView(Arc::new(self.sign(body))))
    }

    /// What is said in the place of a NEW-VIEW to those who are shown another one, each time the same.
    fn second_start(&self, first: &Signed<NewView>, moment: &mut Moment<'_>) -> Option<Vec<PeerMessage>> {
        let name = first.body.digest(self.chain());
        let known = moment.conspiracy.starts.get(&name).cloned();
        let second = known.unwrap_or_else(|| self.start_again(&first.body, moment.node));
        moment.conspiracy.starts.insert(name, second.clone());
        second
    }

    /// Another NEW-VIEW for the same view that holds by itself too, and before it the VIEW-CHANGE that others may lack.
    /// It builds on another quorum, with one that the first leaves out or without one that it does not need; where there is
    /// neither, on another VIEW-CHANGE of its own, which hides all.
    fn start_again(&self, first: &NewView, node: &Node<MemoryDisk>) -> Option<Vec<PeerMessage>> {
        let before: BTreeMap<ValidatorIndex, Digest> = first.view_changes.iter().copied().collect();
        let mut named = before.clone();
        let mut added = self.left_out(first, node);
        if let Some(added) = &added {
            named.insert(added.signer, added.body.digest(self.chain()));
        }
        let is_spare = |signer: &ValidatorIndex| {
            let power = self.set.power_of(named.keys().copied().filter(|other| other != signer));
            let is_old = before.contains_key(signer) && *signer != self.me;
            is_old && power >= self.set.quorum()
        };
        let spare = named.keys().copied().find(is_spare);
        if let Some(spare) = spare {
            named.remove(&spare);
        }
        if named == before {
            let own = self.empty_view_change(first.view);
            named.insert(self.me, own.body.digest(self.chain()));
            added = Some(own);
        }
        let body = NewView { view_changes: named.into_iter().collect(), ..first.clone() };
        if body == *first {
            return None;
        }
        let added = added.into_iter().map(PeerMessage::ViewChange);
        Some(added.chain([PeerMessage::NewView(Arc::new(self.sign(body)))]).collect())
    }

    /// A VIEW-CHANGE that holds, of one whom a NEW-VIEW does not name.
    fn left_out(&self, first: &NewView, node: &Node<MemoryDisk>) -> Option<Arc<Signed<ViewChange>>> {
        let (chain, set, scheme) = (self.chain(), &*self.set, &*node.settings().scheme);
        let is_named = |signer: ValidatorIndex| first.view_changes.iter().any(|(named, _)| *named == signer);
        let mut others = self.heard.of_view(first.view).filter(|signed| !is_named(signed.signer));
        let holds = |signed: &&Arc<Signed<ViewChange>>| {
            signed.verify(chain, set, scheme) && signed.body.verify(chain, set, scheme).is_ok()
        };
        others.find(holds).cloned()
    }

    /// In a view that it leads its own PREPARE is for a block that its NEW-VIEW selects: it proposes another one there.
    fn alter_selected(&self, vote: &Signed<Vote>) -> Lie {
        let Vote { kind, epoch, view, digest, .. } = vote.body;
        let leads = view > View(0) && vote.signer == self.me && self.set.leader(epoch, view) == self.me;
        if kind != VoteKind::Prepare || !leads {
            return None;
        }
        let mut shown = self.heard.view_changes.values().flat_map(|signed| &signed.body.prepared);
        let mut header = shown.find(|shown| shown.digest() == digest)?.header.clone();
        header.timestamp = header.timestamp.plus_micros(1);
        (header.proposed_in_view, header.proposer) = (view, self.me);
        header.bundles_root = bundles_root(&[]);
        one(PeerMessage::PrePrepare(self.propose(view, Block { header, bundles: Vec::new() })))
    }
}
