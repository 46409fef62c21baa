//! What one honest node promised: integrity of its signatures over all its lives, and nothing sent before it is on the
//! disk.

use std::collections::BTreeMap;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Bundle, ChainId, Digest, Epoch, Head, Height, Signed, Statement, ValidatorIndex, View, Vote, VoteKind,
};
use dtvn_pbft::Record;
use dtvn_replication::log::{Opened, RecordNumber};
use dtvn_replication::record::{Encoded, LogRecord};

use super::{Invariant, Violation, ensure};

/// What a record of the log allows to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Basis {
    Proposal(View, Height, Digest),
    Prepared(Height, View),
    Statement(Digest),
    Committed(Height, Digest),
}

/// What was signed, by what may be signed only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Vote(View, Height),
    ViewChange(View),
    NewView(View),
    Checkpoint(Height),
    Head(Height),
    Bundle(u64, u64),
}

/// The promises of one honest validator, over all its lives.
pub(crate) struct Promises {
    /// Who, for people.
    who: String,
    chain: ChainId,
    signed: BTreeMap<(Epoch, Slot), Digest>,
    /// Which validator it is in each epoch that it was in.
    indices: BTreeMap<Epoch, Option<ValidatorIndex>>,
    /// For each basis the first record that holds it.
    records: BTreeMap<Basis, RecordNumber>,
    durable: RecordNumber,
    /// Its log was lost: below this epoch it signs nothing any more, and what it said before may be repeated to it and by
    /// it.
    forgotten: Option<Epoch>,
}

impl Promises {
    pub(crate) fn new(who: String, chain: ChainId) -> Self {
        let (signed, indices, records) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { who, chain, signed, indices, records, durable: RecordNumber(0), forgotten: None }
    }

    /// It has another disk, which remembers nothing.
    pub(crate) fn began_anew(&mut self) {
        self.records.clear();
        self.durable = RecordNumber(0);
    }

    /// It is in an epoch, as this validator or none.
    pub(crate) fn entered(&mut self, epoch: Epoch, me: Option<ValidatorIndex>) {
        self.indices.insert(epoch, me);
    }

    fn me(&self, epoch: Epoch) -> Option<ValidatorIndex> {
        self.indices.get(&epoch).copied().flatten()
    }

    /// The log was opened: what it holds is durable, and nothing that was durable is gone, unless the log was damaged.
    pub(crate) fn opened(&mut self, opened: Option<Opened>, may_forget: bool) -> Result<(), Violation> {
        if opened.is_none() && self.durable > RecordNumber(0) {
            self.forgotten = Some(Epoch(u64::MAX));
        }
        let last = opened.map_or(RecordNumber(0), |opened| opened.last);
        let has_lost = if opened.is_none() { !may_forget } else { true } && last < self.durable;
        ensure(!has_lost, Invariant::DurableBeforeSent, || {
            format!("{}: records up to {} were durable, its log ends at {last}", self.who, self.durable)
        })?;
        self.records.retain(|_, number| *number <= last);
        self.durable = last;
        Ok(())
    }

    /// A record was appended.
    pub(crate) fn logged(&mut self, number: RecordNumber, record: &Encoded) {
        let Ok(LogRecord::Replica(record)) = LogRecord::decode(record.kind, &record.payload, &self.chain) else {
            return;
        };
        let basis = match record {
            Record::Proposal { view, block } => {
                Basis::Proposal(view, block.header.height, block.header.digest(&self.chain))
            }
            Record::Prepared(prepared) => Basis::Prepared(prepared.height(), prepared.view()),
            Record::ViewChange(sealed) => Basis::Statement(sealed.digest),
            Record::NewView { new_view, .. } => Basis::Statement(new_view.digest),
            Record::Checkpoint(vote) => Basis::Statement(vote.body.digest(&self.chain)),
            Record::Committed { block, .. } => Basis::Committed(block.header.height, block.header.digest(&self.chain)),
            Record::Stable(_) => return,
        };
        self.records.entry(basis).or_insert(number);
    }

    /// Its own recovery opened this epoch: from here on it may sign again.
    pub(crate) fn recovered(&mut self, epoch: Epoch) {
        self.forgotten = Some(epoch);
    }

    /// Everything up to this record is durable.
    pub(crate) fn durable(&mut self, durable: RecordNumber) {
        self.durable = durable;
    }

    /// The node sends something; `stored` is how far its derived state is durable.
    pub(crate) fn sent(&mut self, message: &PeerMessage, stored: Height) -> Result<(), Violation> {
        match message {
            PeerMessage::Cosign(list) => list.iter().try_for_each(|signed| self.cosigned(signed, stored)),
            PeerMessage::PrePrepare(proposal) => {
                let digest = proposal.block.header.digest(&self.chain);
                self.voted(None, &proposal.vote(digest))
            }
            PeerMessage::Vote(vote) => self.voted(Some(vote.signer), &vote.body),
            PeerMessage::ViewChange(signed) => self.said(signed, Slot::ViewChange(signed.body.view)),
            PeerMessage::NewView(signed) => self.said(signed, Slot::NewView(signed.body.view)),
            PeerMessage::Checkpoint(vote) => self.said(vote, Slot::Checkpoint(vote.body.height)),
            PeerMessage::Bundle(bytes) => {
                let Ok(bundle) = Bundle::from_bytes(bytes, &self.chain) else { return Ok(()) };
                if Some(bundle.body.origin) != self.me(bundle.body.epoch) {
                    return Ok(());
                }
                self.sign_once(bundle.body.epoch, Slot::Bundle(bundle.body.start, bundle.body.number), bundle.digest)
            }
            _ => Ok(()),
        }
    }

    /// A statement of its own; it may also relay others'.
    fn said<T: Statement>(&mut self, signed: &Signed<T>, slot: Slot) -> Result<(), Violation> {
        let epoch = signed.body.epoch();
        if Some(signed.signer) != self.me(epoch) {
            return Ok(());
        }
        let digest = signed.body.digest(&self.chain);
        self.sign_once(epoch, slot, digest)?;
        self.must_be_durable(epoch, Basis::Statement(digest), || format!("{slot:?}"))
    }

    /// A head is cosigned once its block is committed and durable: in the log, or in the derived state.
    fn cosigned(&mut self, signed: &Signed<Head>, stored: Height) -> Result<(), Violation> {
        let head = &signed.body;
        self.must_be(head.epoch, signed.signer)?;
        self.sign_once(head.epoch, Slot::Head(head.height), head.digest(&self.chain))?;
        if head.height <= stored {
            return Ok(());
        }
        self.must_be_durable(head.epoch, Basis::Committed(head.height, head.block), || {
            format!("a cosignature at {}", head.height)
        })
    }

    /// Whoever signs is a validator of the epoch, under its own index.
    fn must_be(&self, epoch: Epoch, signer: ValidatorIndex) -> Result<(), Violation> {
        let me = self.me(epoch);
        ensure(me == Some(signer), Invariant::Integrity, || {
            format!("{} signs as {signer} in epoch {epoch}, and is {me:?} there", self.who)
        })
    }

    fn voted(&mut self, signer: Option<ValidatorIndex>, vote: &Vote) -> Result<(), Violation> {
        self.must_be(vote.epoch, signer.or(self.me(vote.epoch)).unwrap_or_default())?;
        let (view, height, digest) = (vote.view, vote.height, vote.digest);
        self.sign_once(vote.epoch, Slot::Vote(view, height), digest)?;
        self.must_be_durable(vote.epoch, Basis::Proposal(view, height, digest), || {
            format!("{:?} at {height}", vote.kind)
        })?;
        if vote.kind == VoteKind::Commit {
            let prepared = Basis::Prepared(height, view)..=Basis::Prepared(height, View(u64::MAX));
            let first = self.records.range(prepared).map(|(_, number)| *number).min();
            self.check_durable(vote.epoch, first, || format!("COMMIT at {height} in view {view}"))?;
        }
        Ok(())
    }

    fn has_forgotten(&self, epoch: Epoch) -> bool {
        self.forgotten.is_some_and(|forgotten| epoch < forgotten)
    }

    fn sign_once(&mut self, epoch: Epoch, slot: Slot, digest: Digest) -> Result<(), Violation> {
        let may_sign = !self.has_forgotten(epoch) || self.signed.contains_key(&(epoch, slot));
        ensure(may_sign, Invariant::Integrity, || {
            format!("{} signs for {slot:?} of epoch {epoch}, and does not know what it signed before", self.who)
        })?;
        let known = *self.signed.entry((epoch, slot)).or_insert(digest);
        ensure(known == digest, Invariant::Integrity, || {
            format!("{} signs twice for {slot:?} of epoch {epoch}", self.who)
        })
    }

    fn must_be_durable(&self, epoch: Epoch, basis: Basis, what: impl FnOnce() -> String) -> Result<(), Violation> {
        self.check_durable(epoch, self.records.get(&basis).copied(), what)
    }

    fn check_durable(
        &self,
        epoch: Epoch,
        record: Option<RecordNumber>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Violation> {
        let is_durable = self.has_forgotten(epoch) || record.is_some_and(|record| record <= self.durable);
        ensure(is_durable, Invariant::DurableBeforeSent, || {
            let (who, durable) = (&self.who, self.durable);
            format!("{who} sends {} on record {record:?}, durable is {durable}", what())
        })
    }
}
