//! The witness: remembers what others signed, and finds what proves that one of them lies (consensus.md section 8).
//!
//! It sees every message whose signatures were checked, certificates inside others included, before the replica acts on
//! it, and promises nothing itself. What it remembers is bounded for each signer, so that nobody pushes out what another
//! one said. What it finds verifies by itself: each piece passes the checks of [`Evidence::verify`] before it is told.

mod docket;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::evidence::EpochContext;
use dtvn_messages::limits::{
    EVIDENCE_BYTES_MAX, WITNESS_HEADERS_PER_SENDER_MAX, WITNESS_KEPT_HEIGHTS, WITNESS_LOOKED_BYTES_MAX,
    WITNESS_VIEW_CHANGES_PER_SENDER_MAX, WITNESS_VOTES_PER_SENDER_MAX,
};
use dtvn_messages::view_change::{Sealed, SealedNewView, SealedViewChange};
use dtvn_messages::{
    Certificate, Digest, Evidence, Head, Header, Height, Layout, PublicKey, Scheme, Signature, Signed, ValidatorIndex,
    View, ViewChange, Vote, VoteKind,
};
use dtvn_pbft::{Config, Message};

pub use docket::Docket;

/// What a validator signed in one slot: the first digest, and its votes for it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    digest: Digest,
    prepare: Option<Signature>,
    commit: Option<Signature>,
}

/// Its signatures were checked when they came.
struct Checked;

impl Scheme for Checked {
    fn verify(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        true
    }
}

/// What others signed.
#[derive(Debug)]
pub struct Witness {
    config: Config,
    committed: Height,
    votes: BTreeMap<ValidatorIndex, BTreeMap<(Height, View), Seen>>,
    /// The headers of committed blocks.
    committed_headers: BTreeMap<(Height, Digest), Header>,
    /// The headers that each leader proposed: none can push out another's.
    proposed: BTreeMap<ValidatorIndex, BTreeMap<(Height, Digest), Header>>,
    view_changes: BTreeMap<ValidatorIndex, Vec<SealedViewChange>>,
    new_views: BTreeMap<ValidatorIndex, Vec<SealedNewView>>,
    /// How many bytes were looked at for a remembered VIEW-CHANGE or NEW-VIEW.
    looked: BTreeMap<Digest, usize>,
}

impl Witness {
    /// A witness that has seen nothing.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            committed: config.epoch_base,
            config,
            votes: BTreeMap::new(),
            committed_headers: BTreeMap::new(),
            proposed: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            new_views: BTreeMap::new(),
            looked: BTreeMap::new(),
        }
    }

    /// A block is committed here: what is far below it is forgotten.
    pub fn committed(&mut self, header: &Header, digest: Digest) {
        self.committed = self.committed.max(header.height);
        self.committed_headers.insert((header.height, digest), header.clone());
        let lowest = self.lowest();
        forget_below(&mut self.committed_headers, lowest);
        self.proposed.values_mut().for_each(|proposed| forget_below(proposed, lowest));
        self.votes.values_mut().for_each(|votes| forget_below(votes, lowest));
    }

    /// Sees a message whose signatures were checked, or this node's own VIEW-CHANGE, and appends what it proves.
    pub fn see(&mut self, message: &Message, found: &mut Vec<Evidence>) {
        match message {
            Message::PrePrepare { view, block, digest, signature } => {
                let header = &block.header;
                let signer = self.config.set.leader(self.config.epoch, *view);
                let body = self.vote(VoteKind::Prepare, *view, header.height, *digest);
                let vote = Signed { body, signer, signature: *signature };
                self.keep_proposed(signer, header, *digest);
                self.judge_proposal(&vote, header, found);
                self.see_vote(vote, found);
            }
            Message::Vote(vote) => self.see_vote(vote.clone(), found),
            Message::ViewChange(view_change) => self.see_view_change(view_change, found),
            Message::NewView(new_view) => self.see_new_view(new_view, found),
            Message::Prepared(prepared) => self.see_certificate(&prepared.certificate, found),
            Message::Committed(proof) => self.see_certificate(&proof.certificate, found),
            _ => {}
        }
    }

    /// Sees the votes of a certificate that was checked.
    pub fn see_certificate(&mut self, certificate: &Certificate, found: &mut Vec<Evidence>) {
        for (signer, signature) in &certificate.signatures.0 {
            let vote = Signed { body: certificate.vote, signer: *signer, signature: *signature };
            self.see_vote(vote, found);
        }
    }

    /// The accusation of a leader whose block has another result than its execution here.
    #[must_use]
    pub fn accuse(&self, view: View, height: Height, digest: Digest, own: (u64, Digest)) -> Option<Evidence> {
        let signer = self.config.set.leader(self.config.epoch, view);
        let seen = self.votes.get(&signer)?.get(&(height, view)).filter(|seen| seen.digest == digest)?;
        let body = self.vote(VoteKind::Prepare, view, height, digest);
        let vote = Signed { body, signer, signature: seen.prepare? };
        let header = Box::new(self.header(height, digest)?.clone());
        self.proven(Evidence::WrongResult(vote, header, own.0, own.1))
    }

    /// Two heads by one signer that contradict each other.
    #[must_use]
    pub fn contradiction(&self, first: Signed<Head>, second: Signed<Head>) -> Option<Evidence> {
        self.proven(Evidence::TwoHeads(first, second))
    }

    fn vote(&self, kind: VoteKind, view: View, height: Height, digest: Digest) -> Vote {
        Vote { kind, epoch: self.config.epoch, view, height, digest }
    }

    /// A piece of evidence, if it proves something, and is not too large to tell.
    fn proven(&self, evidence: Evidence) -> Option<Evidence> {
        let Config { chain, epoch, set, epoch_base, epoch_base_digest, parameters, .. } = &self.config;
        let context = EpochContext {
            set,
            base: (*epoch_base, *epoch_base_digest),
            rotation_interval: parameters.rotation_interval,
        };
        let holds = evidence.verify(chain, |of| (of == *epoch).then_some(context), &Checked).is_ok();
        (holds && Some(evidence.culprit()) != self.config.me && evidence.to_bytes().len() <= EVIDENCE_BYTES_MAX)
            .then_some(evidence)
    }

    fn add(&self, evidence: Evidence, found: &mut Vec<Evidence>) {
        found.extend(self.proven(evidence));
    }

    /// Looks at a VIEW-CHANGE or NEW-VIEW, with `bytes` in all, as a whole: not if that is more than can be told, and only
    /// until it has proved something, or so many bytes were looked at. A liar chooses how long it is, and how often there is occasion.
    fn look_at(&mut self, name: Digest, bytes: usize, evidence: impl FnOnce() -> Evidence, found: &mut Vec<Evidence>) {
        let looked = self.looked.get(&name).copied().unwrap_or(0);
        if bytes > EVIDENCE_BYTES_MAX || looked >= WITNESS_LOOKED_BYTES_MAX {
            return;
        }
        let proven = self.proven(evidence());
        self.looked.insert(name, if proven.is_some() { WITNESS_LOOKED_BYTES_MAX } else { looked + bytes });
        found.extend(proven);
    }

    /// What is remembered no more needs no count.
    fn forget_looked(&mut self) {
        let view_changes = self.view_changes.values().flatten().map(|known| known.digest);
        let kept: BTreeSet<Digest> =
            view_changes.chain(self.new_views.values().flatten().map(|known| known.digest)).collect();
        self.looked.retain(|name, _| kept.contains(name));
    }

    /// The lowest height about which anything is remembered.
    fn lowest(&self) -> Height {
        Height(self.committed.0.saturating_sub(WITNESS_KEPT_HEIGHTS))
    }

    fn is_near(&self, height: Height) -> bool {
        let highest = self.committed.plus(2 * self.config.parameters.log_window);
        (self.lowest()..=highest).contains(&height)
    }

    /// Remembers what a leader proposed. Above the bound the farthest future goes first.
    fn keep_proposed(&mut self, leader: ValidatorIndex, header: &Header, digest: Digest) {
        if self.is_near(header.height) {
            let proposed = self.proposed.entry(leader).or_default();
            proposed.entry((header.height, digest)).or_insert_with(|| header.clone());
            if proposed.len() > WITNESS_HEADERS_PER_SENDER_MAX {
                proposed.pop_last();
            }
        }
    }

    fn header(&self, height: Height, digest: Digest) -> Option<&Header> {
        let name = (height, digest);
        let committed = self.committed_headers.get(&name);
        committed.or_else(|| self.proposed.values().find_map(|proposed| proposed.get(&name)))
    }

    fn judge_proposal(&self, vote: &Signed<Vote>, header: &Header, found: &mut Vec<Evidence>) {
        let below = self.header(header.height.previous(), header.parent);
        let header = || Box::new(header.clone());
        self.add(Evidence::BadProposal(vote.clone(), header(), None), found);
        if let Some(below) = below {
            self.add(Evidence::BadProposal(vote.clone(), header(), Some(Box::new(below.clone()))), found);
        }
    }

    /// Remembers a vote: the first digest of a signer in a slot stays, and each other one contradicts it.
    fn see_vote(&mut self, vote: Signed<Vote>, found: &mut Vec<Evidence>) {
        let Vote { kind, epoch, view, height, digest } = vote.body;
        if epoch != self.config.epoch || Some(vote.signer) == self.config.me || !self.is_near(height) {
            return;
        }
        let of_signer = self.votes.entry(vote.signer).or_default();
        let seen = of_signer.entry((height, view)).or_insert(Seen { digest, prepare: None, commit: None });
        if seen.digest == digest {
            let place = match kind {
                VoteKind::Prepare => &mut seen.prepare,
                VoteKind::Commit => &mut seen.commit,
            };
            let is_new = place.replace(vote.signature).is_none();
            if of_signer.len() > WITNESS_VOTES_PER_SENDER_MAX {
                of_signer.pop_last();
            }
            if is_new {
                self.compare_with_view_changes(&vote, found);
            }
        } else {
            let first = *seen;
            let known = [(VoteKind::Prepare, first.prepare), (VoteKind::Commit, first.commit)];
            let known = known.into_iter().find_map(|(kind, signature)| Some((kind, signature?)));
            if let Some((kind, signature)) = known {
                let body = self.vote(kind, view, height, first.digest);
                let first = Signed { body, signer: vote.signer, signature };
                self.add(Evidence::TwoVotes(first, vote.clone()), found);
            }
        }
        self.compare_with_new_view(&vote, found);
    }

    fn compare_with_view_changes(&mut self, vote: &Signed<Vote>, found: &mut Vec<Evidence>) {
        if vote.body.kind == VoteKind::Commit {
            for view_change in self.view_changes.get(&vote.signer).cloned().unwrap_or_default() {
                self.compare(vote, &view_change, found);
            }
        }
    }

    fn compare(&mut self, commit: &Signed<Vote>, view_change: &SealedViewChange, found: &mut Vec<Evidence>) {
        let body = &view_change.signed.body;
        let hides = body.view > commit.body.view
            && body.base(Height(0)) < commit.body.height
            && !body
                .prepared
                .iter()
                .any(|shown| shown.height() == commit.body.height && shown.view() >= commit.body.view);
        if hides {
            let evidence = || Evidence::HiddenCertificate(commit.clone(), Box::new(view_change.signed.clone()));
            self.look_at(view_change.digest, view_change.bytes, evidence, found);
        }
    }

    fn see_view_change(&mut self, view_change: &SealedViewChange, found: &mut Vec<Evidence>) {
        let Signed { body, signer, .. } = &view_change.signed;
        if body.epoch != self.config.epoch {
            return;
        }
        if !keep(self.view_changes.entry(*signer).or_default(), view_change, |it| it.signed.body.view) {
            return;
        }
        self.forget_looked();
        let known = self.view_changes.get(signer).cloned().unwrap_or_default();
        for other in known.iter().filter(|it| it.signed.body.view == body.view && it.digest != view_change.digest) {
            let both = || {
                let (first, second) = (Box::new(other.signed.clone()), Box::new(view_change.signed.clone()));
                Evidence::TwoViewChanges(first, second)
            };
            self.look_at(view_change.digest, other.bytes + view_change.bytes, both, found);
        }
        for (height, view, seen) in self.slots_of(*signer) {
            if let Some(signature) = seen.commit {
                let body = self.vote(VoteKind::Commit, view, height, seen.digest);
                self.compare(&Signed { body, signer: *signer, signature }, view_change, found);
            }
        }
        let certificates = body.prepared.iter().map(|shown| &shown.certificate);
        for certificate in certificates.chain(body.committed.iter().map(|shown| &shown.certificate)) {
            self.see_certificate(certificate, found);
        }
        let new_views: Vec<SealedNewView> = self.new_views.values().flatten().cloned().collect();
        new_views.iter().for_each(|new_view| self.judge_new_view(new_view, found));
    }

    fn slots_of(&self, signer: ValidatorIndex) -> Vec<(Height, View, Seen)> {
        let slots = self.votes.get(&signer).into_iter().flatten();
        slots.map(|((height, view), seen)| (*height, *view, *seen)).collect()
    }

    fn see_new_view(&mut self, new_view: &SealedNewView, found: &mut Vec<Evidence>) {
        let Signed { body, signer, .. } = &new_view.signed;
        if body.epoch != self.config.epoch || Some(*signer) == self.config.me {
            return;
        }
        if !keep(self.new_views.entry(*signer).or_default(), new_view, |it| it.signed.body.view) {
            return;
        }
        self.forget_looked();
        let known = self.new_views.get(signer).cloned().unwrap_or_default();
        for other in known.iter().filter(|it| it.signed.body.view == body.view && it.digest != new_view.digest) {
            let both = || Evidence::TwoNewViews(other.signed.clone(), new_view.signed.clone());
            self.look_at(new_view.digest, other.bytes + new_view.bytes, both, found);
        }
        let alone = || Evidence::BadNewView(new_view.signed.clone(), None);
        self.look_at(new_view.digest, new_view.bytes, alone, found);
        self.judge_new_view(new_view, found);
    }

    /// Compares a NEW-VIEW with the VIEW-CHANGEs that it names, and with its leader's votes.
    fn judge_new_view(&mut self, new_view: &SealedNewView, found: &mut Vec<Evidence>) {
        let body = &new_view.signed.body;
        for (_, digest) in &body.view_changes {
            if let Some(named) = self.find(digest).filter(|named| named.signed.body.view != body.view).cloned() {
                let bad = || Evidence::BadNewView(new_view.signed.clone(), Some(Box::new(named.signed.body.clone())));
                self.look_at(new_view.digest, new_view.bytes + named.bytes, bad, found);
            }
        }
        let slots = self.slots_of(new_view.signed.signer);
        for (height, view, seen) in slots.into_iter().filter(|(_, view, _)| *view == body.view) {
            let votes = [(VoteKind::Prepare, seen.prepare), (VoteKind::Commit, seen.commit)];
            if let Some((kind, signature)) = votes.into_iter().find_map(|(kind, signature)| Some((kind, signature?))) {
                let body = self.vote(kind, view, height, seen.digest);
                let vote = Signed { body, signer: new_view.signed.signer, signature };
                self.compare_with(new_view, &vote, found);
            }
        }
    }

    fn compare_with_new_view(&mut self, vote: &Signed<Vote>, found: &mut Vec<Evidence>) {
        let of_leader = self.new_views.get(&vote.signer).into_iter().flatten();
        let of_view = of_leader.filter(|new_view| new_view.signed.body.view == vote.body.view);
        for new_view in of_view.cloned().collect::<Vec<_>>() {
            self.compare_with(&new_view, vote, found);
        }
    }

    /// Whether a leader's vote is for a block that its NEW-VIEW does not select, as far as a look at the certificates
    /// tells; then all that it names goes into the evidence.
    fn compare_with(&mut self, new_view: &SealedNewView, vote: &Signed<Vote>, found: &mut Vec<Evidence>) {
        let named = new_view.signed.body.view_changes.iter().map(|(_, digest)| self.find(digest).cloned());
        let Some(named) = named.collect::<Option<Vec<SealedViewChange>>>() else { return };
        let Vote { height, digest, .. } = vote.body;
        let shown = |view_change: &SealedViewChange| {
            let mut prepared = view_change.signed.body.prepared.iter();
            prepared.any(|shown| shown.height() == height && shown.digest() != digest)
        };
        let interval = self.config.parameters.rotation_interval;
        let bases = named.iter().map(|view_change| view_change.signed.body.base(self.config.epoch_base));
        let base = bases.max().unwrap_or(self.config.epoch_base);
        if named.iter().any(shown) || (interval > 0 && height > base.plus(interval)) {
            let bytes = named.iter().map(|named| named.bytes).sum::<usize>() + new_view.bytes;
            let against = || {
                let bodies: Vec<ViewChange> = named.iter().map(|named| named.signed.body.clone()).collect();
                Evidence::AgainstNewView(new_view.signed.clone(), bodies, vote.clone())
            };
            self.look_at(new_view.digest, bytes, against, found);
        }
    }

    fn find(&self, digest: &Digest) -> Option<&SealedViewChange> {
        self.view_changes.values().flatten().find(|known| known.digest == *digest)
    }
}

/// Forgets what is about heights below one. Heights rise one by one, so there is little to do each time.
fn forget_below<K: Ord, V>(known: &mut BTreeMap<(Height, K), V>, lowest: Height) {
    while known.first_key_value().is_some_and(|((height, _), _)| *height < lowest) {
        known.pop_first();
    }
}

/// Keeps one of the latest views of a sender; says whether it is new.
fn keep<T>(known: &mut Vec<Arc<Sealed<T>>>, new: &Arc<Sealed<T>>, view: impl Fn(&Sealed<T>) -> View) -> bool {
    if known.iter().any(|known| known.digest == new.digest) {
        return false;
    }
    known.push(Arc::clone(new));
    known.sort_by_key(|known| std::cmp::Reverse(view(known)));
    known.truncate(WITNESS_VIEW_CHANGES_PER_SENDER_MAX);
    known.iter().any(|known| known.digest == new.digest)
}
