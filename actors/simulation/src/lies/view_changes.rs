//! Lying view changes.

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{NewView, PreparedCertificate, Signed, ValidatorIndex, View, ViewChange};

use super::{Behaviour, Filter, Lie, Moment, also, any_digest, one};

/// Views that a storm is ahead of the truth.
const STORM_VIEWS: u64 = 4;

impl Filter {
    pub(super) fn say_of_views(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        match message {
            PeerMessage::ViewChange(signed) if signed.signer == self.me => {
                self.change_otherwise(behaviour, signed, moment)
            }
            PeerMessage::NewView(signed) if signed.signer == self.me => self.start_otherwise(behaviour, signed, moment),
            PeerMessage::Status(status) => {
                let view = status.view;
                match behaviour {
                    Behaviour::Storm => {
                        let views = (1..=STORM_VIEWS).map(|above| View(view.0 + above));
                        also(message, views.map(|view| self.empty_view_change(view)))
                    }
                    Behaviour::LastView => {
                        let last = View(u64::MAX);
                        let wish = PeerMessage::Wish { epoch: self.epoch, view: last };
                        also(message, [wish, self.empty_view_change(last), self.empty_view_change(View(u64::MAX - 1))])
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

    fn empty_view_change(&self, view: View) -> PeerMessage {
        let body = ViewChange { epoch: self.epoch, view, stable: None, committed: None, prepared: Vec::new() };
        PeerMessage::ViewChange(Arc::new(self.sign(body)))
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

    fn start_otherwise(&self, behaviour: Behaviour, signed: &Signed<NewView>, moment: &mut Moment<'_>) -> Lie {
        let mut body = signed.body.clone();
        match behaviour {
            Behaviour::TooFewChanges => body.view_changes.truncate(1),
            Behaviour::UnknownChanges => {
                let random = &mut *moment.random;
                body.view_changes.iter_mut().for_each(|(_, digest)| *digest = any_digest(random));
            }
            Behaviour::TwoNewViews => {
                let quorum = self.set.quorum() as usize;
                if body.view_changes.len() > quorum && moment.is_even() {
                    body.view_changes.remove(0);
                } else if moment.is_even() {
                    body.view_changes.reverse();
                } else {
                    body.view_changes.truncate(quorum);
                }
            }
            _ => return None,
        }
        one(PeerMessage::NewView(Arc::new(self.sign(body))))
    }
}
