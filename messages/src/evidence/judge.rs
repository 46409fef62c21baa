//! What each kind of evidence has to show, by public keys alone.

use super::{EpochContext, EvidenceError};
use crate::block::Header;
use crate::certificate::CertificateError;
use crate::crypto::{Digest, Scheme};
use crate::head::Head;
use crate::ids::{ChainId, Height, View};
use crate::selection::select;
use crate::statement::{Signed, Statement};
use crate::view_change::{NewView, ViewChange};
use crate::vote::{Vote, VoteKind};

/// Whether it shows that.
pub(super) type Judged = Result<(), EvidenceError>;

/// Checks evidence of one epoch.
pub(super) struct Judge<'a> {
    pub(super) chain: &'a ChainId,
    pub(super) context: EpochContext<'a>,
    pub(super) scheme: &'a dyn Scheme,
}

/// Something must be so, or the evidence is none.
fn must(holds: bool, otherwise: &'static str) -> Judged {
    if holds { Ok(()) } else { Err(EvidenceError::Harmless(otherwise)) }
}

impl Judge<'_> {
    fn signed<T: Statement>(&self, statement: &Signed<T>) -> Judged {
        let signer = statement.signer;
        if !self.context.set.contains(signer) {
            return Err(EvidenceError::Stranger(signer));
        }
        let holds = statement.verify(self.chain, self.context.set, self.scheme);
        if holds { Ok(()) } else { Err(EvidenceError::BadSignature(signer)) }
    }

    fn both<T: Statement, U: Statement>(&self, first: &Signed<T>, second: &Signed<U>) -> Judged {
        if first.signer != second.signer {
            return Err(EvidenceError::TwoSigners);
        }
        must(first.body.epoch() == second.body.epoch(), "they are of two epochs")?;
        self.signed(first)?;
        self.signed(second)
    }

    pub(super) fn two_votes(&self, first: &Signed<Vote>, second: &Signed<Vote>) -> Judged {
        let place = |vote: &Signed<Vote>| (vote.body.view, vote.body.height);
        must(place(first) == place(second), "they are votes in two slots")?;
        must(first.body.digest != second.body.digest, "they are votes for one block")?;
        self.both(first, second)
    }

    pub(super) fn two_heads(&self, first: &Signed<Head>, second: &Signed<Head>) -> Judged {
        must(!first.body.is_consistent_with(&second.body), "one log may have both heads")?;
        self.both(first, second)
    }

    pub(super) fn two_view_changes(&self, first: &Signed<ViewChange>, second: &Signed<ViewChange>) -> Judged {
        must(first.body.view == second.body.view, "they are moves to two views")?;
        must(first.body != second.body, "they are one")?;
        self.both(first, second)
    }

    pub(super) fn two_new_views(&self, first: &Signed<NewView>, second: &Signed<NewView>) -> Judged {
        must(first.body.view == second.body.view, "they start two views")?;
        must(first.body != second.body, "they are one")?;
        self.both(first, second)
    }

    pub(super) fn hidden_certificate(&self, commit: &Signed<Vote>, view_change: &Signed<ViewChange>) -> Judged {
        let (vote, body) = (&commit.body, &view_change.body);
        must(vote.kind == VoteKind::Commit, "only COMMIT says that there is a certificate")?;
        must(body.view > vote.view, "the move is not to a later view")?;
        must(body.base(Height(0)) < vote.height, "the height is committed or stable")?;
        let is_shown = body.prepared.iter().any(|shown| shown.height() == vote.height && shown.view() >= vote.view);
        must(!is_shown, "the certificate is shown")?;
        self.both(commit, view_change)
    }

    pub(super) fn bad_new_view(&self, new_view: &Signed<NewView>, named: Option<&ViewChange>) -> Judged {
        let (body, set) = (&new_view.body, self.context.set);
        match named {
            None => {
                let is_leader = new_view.signer == set.leader(body.epoch, body.view);
                must(!is_leader || body.check(set).is_err() || body.view == View(0), "it is in order by itself")?;
            }
            Some(view_change) => {
                let digest = view_change.digest(self.chain);
                must(body.view_changes.iter().any(|(_, named)| *named == digest), "it does not name that VIEW-CHANGE")?;
                let fits = view_change.view == body.view && view_change.epoch == body.epoch;
                let holds = || self.holds(view_change).is_ok();
                must(!fits || !holds(), "the VIEW-CHANGE that it names is in order")?;
            }
        }
        self.signed(new_view)
    }

    fn holds(&self, view_change: &ViewChange) -> Result<(), CertificateError> {
        view_change.verify(self.chain, self.context.set, self.scheme)
    }

    pub(super) fn against_new_view(
        &self,
        new_view: &Signed<NewView>,
        view_changes: &[ViewChange],
        vote: &Signed<Vote>,
    ) -> Judged {
        let named = new_view.body.view_changes.iter().map(|(_, digest)| *digest);
        let given = view_changes.iter().map(|view_change| view_change.digest(self.chain));
        must(named.eq(given), "these are not the VIEW-CHANGEs that it names")?;
        must(vote.body.view == new_view.body.view, "the vote is in another view")?;
        let shown: Vec<&ViewChange> = view_changes.iter().collect();
        let selection = select(&shown, self.context.base);
        let height = vote.body.height;
        let is_above = self.last_height(selection.end).is_some_and(|last| height > last);
        let selected = selection.blocks.get(&height);
        let is_against = selected.is_some_and(|selected| selected.digest != vote.body.digest);
        must(is_against || is_above, "the vote is what the NEW-VIEW selects, or free")?;
        self.both(new_view, vote)
    }

    /// The last height of a view whose selection ends here; none if views have no end.
    fn last_height(&self, end: Height) -> Option<Height> {
        let interval = self.context.rotation_interval;
        (interval > 0).then(|| end.plus(interval))
    }

    /// A vote in the view in which the block claims to be proposed: its signer checked the header before, as fresh.
    fn fresh(&self, vote: &Signed<Vote>, header: &Header) -> Judged {
        must(vote.body.digest == header.digest(self.chain), "the vote is for another block")
    }

    pub(super) fn bad_proposal(&self, vote: &Signed<Vote>, header: &Header, below: Option<&Header>) -> Judged {
        self.fresh(vote, header)?;
        let body = &vote.body;
        let is_fresh = header.proposed_in_view == body.view;
        let is_bad = match below {
            None => {
                let proposer = self.context.set.leader(header.epoch, header.proposed_in_view);
                let end = self.context.base.0;
                let is_above = self.last_height(end).is_some_and(|last| header.height > last);
                header.epoch != body.epoch
                    || header.height != body.height
                    || header.proposed_in_view > body.view
                    || (is_fresh && header.proposer != proposer)
                    || (is_fresh && body.view == View(0) && (is_above || header.height <= end))
            }
            Some(below) => {
                must(header.parent == below.digest(self.chain), "the block builds on another one")?;
                let is_next = header.height == below.height.next();
                let is_later = header.timestamp > below.timestamp && header.epoch >= below.epoch;
                is_fresh && !(is_next && is_later && header.log_size >= below.log_size)
            }
        };
        must(is_bad, "the header may be an honest leader's")?;
        self.signed(vote)
    }

    pub(super) fn forged_certificate(&self, view_change: &Signed<ViewChange>) -> Judged {
        must(self.holds(&view_change.body).is_err(), "all that it shows holds")?;
        self.signed(view_change)
    }

    pub(super) fn wrong_result(&self, vote: &Signed<Vote>, header: &Header, own: (u64, Digest)) -> Judged {
        self.fresh(vote, header)?;
        let is_leaders = header.proposed_in_view == vote.body.view
            && vote.signer == self.context.set.leader(vote.body.epoch, vote.body.view);
        must(is_leaders, "it is not the leader's own proposal")?;
        must((header.log_size, header.log_root) != own, "the results are equal")?;
        self.signed(vote)
    }
}
