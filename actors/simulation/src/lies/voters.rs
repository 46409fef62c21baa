//! Lying voters.

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{ChainId, Epoch, Height, Signed, Statement, View, Vote, VoteKind};

use super::{Behaviour, Filter, Lie, Moment, also, any_digest, one};

/// How far the far future is.
const FAR: u64 = 1_000_000;

impl Filter {
    pub(super) fn say_as_voter(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        let PeerMessage::Vote(vote) = message else { return None };
        let body = vote.body;
        let signed_as = |signed: Vote, said: Vote| {
            let signature = self.sign(signed).signature;
            one(PeerMessage::Vote(Signed { body: said, signer: self.me, signature }))
        };
        match behaviour {
            Behaviour::TwoVotes => {
                let second = self.vote(Vote { digest: any_digest(moment.random), ..body });
                let both = if moment.is_even() { [message.clone(), second] } else { [second, message.clone()] };
                Some(both.map(Into::into).into())
            }
            Behaviour::RandomDigest => one(self.vote(Vote { digest: any_digest(moment.random), ..body })),
            Behaviour::BadSignature => one(PeerMessage::Vote(Signed { signature: Self::NO_SIGNATURE, ..vote.clone() })),
            Behaviour::ForeignIndex => {
                let forged = self.sign(Vote { digest: any_digest(moment.random), ..body });
                also(message, [PeerMessage::Vote(Signed { signer: self.victim(), ..forged })])
            }
            Behaviour::ForeignChain => {
                let chain = ChainId::new("another-chain").ok()?;
                let signature = self.signer.sign(&body.signed_bytes(&chain));
                one(PeerMessage::Vote(Signed { signature, ..vote.clone() }))
            }
            Behaviour::ForeignEpoch => one(self.vote(Vote { epoch: Epoch(body.epoch.0 + 1), ..body })),
            Behaviour::ForeignKind => {
                let kind = match body.kind {
                    VoteKind::Prepare => VoteKind::Commit,
                    VoteKind::Commit => VoteKind::Prepare,
                };
                signed_as(body, Vote { kind, ..body })
            }
            Behaviour::OldView => {
                let old = (!self.votes.is_empty())
                    .then(|| self.votes[moment.random.below(self.votes.len() as u64) as usize].clone())?;
                also(message, [old])
            }
            Behaviour::CommitAtOnce => match body.kind {
                VoteKind::Prepare => one(self.vote(Vote { kind: VoteKind::Commit, ..body })),
                VoteKind::Commit => None,
            },
            Behaviour::FarFuture => {
                let (view, height) = (View(body.view.0 + FAR), Height(body.height.0 + FAR));
                also(message, [self.vote(Vote { view, ..body }), self.vote(Vote { height, ..body })])
            }
            _ => None,
        }
    }
}
