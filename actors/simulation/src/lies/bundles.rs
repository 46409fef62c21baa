//! Lying origins.

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Action, Bundle, BundleBody, IdempotencyKey, Statement, TicketId, ValidatorIndex};

use super::{Behaviour, Filter, Lie, Moment, also, one};

impl Filter {
    pub(super) fn say_of_bundles(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        let PeerMessage::Bundle(bytes) = message else { return None };
        let bundle = Bundle::from_bytes(bytes, self.chain()).ok()?;
        if behaviour == Behaviour::WithheldBundle {
            let favourite = ValidatorIndex(u16::from(self.me.0 == 0));
            return (moment.to != favourite).then(Vec::new);
        }
        if bundle.body.origin != self.me {
            return None;
        }
        let send = |bundle: &Bundle| PeerMessage::Bundle(Arc::new(bundle.bytes.clone()));
        match behaviour {
            Behaviour::BundleSignature => {
                one(send(&Bundle::assemble(bundle.body.clone(), Self::NO_SIGNATURE, self.chain())))
            }
            Behaviour::BundleForged => {
                let body = BundleBody { origin: self.victim(), start: bundle.body.start + 1, ..bundle.body.clone() };
                also(message, [send(&self.assemble(BundleBody { number: 0, ..body }))])
            }
            Behaviour::BundleInvented => one(send(&self.other_bundle(&bundle, moment))),
            Behaviour::BundleTwice => moment.is_even().then(|| vec![send(&self.other_bundle(&bundle, moment)).into()]),
            Behaviour::BundleForEach => {
                let text = format!(
                    "invented by {} for {} in {}/{}",
                    self.me, moment.to, bundle.body.start, bundle.body.number
                );
                one(send(&self.with_invented(&bundle, &text)))
            }
            Behaviour::BundleGap => {
                let number = bundle.body.number + 1_000;
                one(send(&self.assemble(BundleBody { number, ..bundle.body.clone() })))
            }
            _ => None,
        }
    }

    pub(super) fn assemble(&self, body: BundleBody) -> Arc<Bundle> {
        let signature = self.signer.sign(&body.signed_bytes(self.chain()));
        Bundle::assemble(body, signature, self.chain())
    }

    /// Another bundle under the same number, with an operation that nobody asked for: the same for everyone.
    fn other_bundle(&self, bundle: &Bundle, moment: &mut Moment<'_>) -> Arc<Bundle> {
        if let Some(other) = moment.conspiracy.bundles.get(&bundle.digest) {
            return Arc::clone(other);
        }
        let text = format!("invented by {} in {}/{}", self.me, bundle.body.start, bundle.body.number);
        let other = self.with_invented(bundle, &text);
        moment.conspiracy.bundles.insert(bundle.digest, Arc::clone(&other));
        other
    }

    /// The bundle with an operation that nobody asked for in the place of its first, under this key.
    fn with_invented(&self, bundle: &Bundle, key: &str) -> Arc<Bundle> {
        let mut body = bundle.body.clone();
        let ticket = TicketId::new(&format!("invented-{}", body.number % 3));
        if let (Some(first), Ok(key), Ok(ticket)) = (body.operations.first_mut(), IdempotencyKey::new(key), ticket) {
            (first.key, first.action) = (key, Action::Validate { ticket, data: None });
        }
        self.assemble(body)
    }
}
