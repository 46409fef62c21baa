//! What one validator signs and sends, and what its disk remembers.

use std::sync::Arc;

use dtvn_messages::view_change::Sealed;
use dtvn_messages::wire::{PeerMessage, PrePrepare};
use dtvn_messages::{
    Block, Bundle, BundleBody, Certificate, Checkpoint, CommittedProof, Digest, Epoch, Genesis, Head, Height, NewView,
    PreparedCertificate, Signed, Statement, ValidatorIndex, View, ViewChange, Vote, VoteKind,
};
use dtvn_pbft::Record;
use dtvn_replication::log::{Opened, RecordNumber};
use dtvn_replication::record::LogRecord;

use super::super::{Invariant, Promises, Violation};
use super::assert_violates;
use super::history::{History, issue, operation, sign, signed_by};

const ME: ValidatorIndex = ValidatorIndex(1);
const OTHER: Digest = Digest([7; 32]);

/// The oracle's memory of validator 1, and what that one may sign.
struct Watched {
    genesis: Arc<Genesis>,
    promises: Promises,
    block: Arc<Block>,
    digest: Digest,
    records: u64,
}

impl Watched {
    fn new() -> Self {
        let mut history = History::new();
        let (committed, _) = history.make(Vec::new());
        let genesis = Arc::clone(&history.genesis);
        let mut promises = Promises::new("node1".to_owned(), genesis.chain_id().clone());
        promises.entered(Epoch(0), Some(ME));
        Self { genesis, promises, block: committed.block, digest: committed.digest, records: 0 }
    }

    fn signed<T: Statement>(&self, body: T) -> Signed<T> {
        let signature = sign(&self.genesis, ME.position(), &body);
        Signed { body, signer: ME, signature }
    }

    fn vote(&self, kind: VoteKind, view: u64, digest: Digest) -> PeerMessage {
        let vote = Vote { kind, epoch: Epoch(0), view: View(view), height: Height(1), digest };
        PeerMessage::Vote(self.signed(vote))
    }

    /// It sends something, with nothing in its derived state.
    fn send(&mut self, message: &PeerMessage) -> Result<(), Violation> {
        self.promises.sent(message, Height(0))
    }

    /// A record is appended, and not yet durable.
    fn log(&mut self, record: Record) {
        self.records += 1;
        self.promises.logged(RecordNumber(self.records), &LogRecord::Replica(record).encode());
    }

    fn sync(&mut self) {
        self.promises.durable(RecordNumber(self.records));
    }

    fn log_proposal(&mut self, view: u64) {
        let (view, block) = (View(view), Arc::clone(&self.block));
        self.log(Record::Proposal { view, block });
    }

    fn log_prepared(&mut self, view: u64) {
        let (header, digest) = (self.block.header.clone(), self.digest);
        let vote = Vote { kind: VoteKind::Prepare, epoch: Epoch(0), view: View(view), height: Height(1), digest };
        let certificate = Certificate { vote, signatures: signed_by(&self.genesis, 3, &vote) };
        self.log(Record::Prepared(Arc::new(PreparedCertificate { header, certificate })));
    }

    /// It starts on a log that ends at a record.
    fn starts(&mut self, last: u64) -> Result<(), Violation> {
        let (first, last) = (RecordNumber(1), RecordNumber(last));
        let opened = Opened { records: last.0, first, last, last_position: None, cut_bytes: None };
        self.promises.opened(Some(opened), false)
    }
}

/// PREPARE leaves before the proposal is on the disk.
pub(super) fn prepare_before_its_record() -> Result<(), Violation> {
    let mut watched = Watched::new();
    watched.log_proposal(0);
    let prepare = watched.vote(VoteKind::Prepare, 0, watched.digest);
    watched.send(&prepare)
}

#[test]
fn prepare_waits_for_the_proposal_on_the_disk() {
    assert_violates(prepare_before_its_record(), Invariant::DurableBeforeSent, "sends Prepare at 1");
    let mut watched = Watched::new();
    let prepare = watched.vote(VoteKind::Prepare, 0, watched.digest);
    assert_violates(watched.send(&prepare), Invariant::DurableBeforeSent, "sends Prepare at 1");
    let block = Arc::clone(&watched.block);
    let signature = sign(&watched.genesis, ME.position(), &watched.block.header);
    let proposal = PeerMessage::PrePrepare(Arc::new(PrePrepare { view: View(0), block, signature }));
    assert_violates(watched.send(&proposal), Invariant::DurableBeforeSent, "sends Prepare at 1");
    // That of another view is none.
    watched.log_proposal(1);
    watched.sync();
    assert_violates(watched.send(&prepare), Invariant::DurableBeforeSent, "sends Prepare at 1");
    watched.log_proposal(0);
    watched.sync();
    assert_eq!((watched.send(&prepare), watched.send(&proposal)), (Ok(()), Ok(())));
}

#[test]
fn commit_waits_for_the_prepared_certificate_on_the_disk() {
    let mut watched = Watched::new();
    let commit = watched.vote(VoteKind::Commit, 1, watched.digest);
    watched.log_proposal(1);
    watched.sync();
    assert_violates(watched.send(&commit), Invariant::DurableBeforeSent, "sends COMMIT at 1");
    // One of an earlier view does not do.
    watched.log_prepared(0);
    watched.sync();
    assert_violates(watched.send(&commit), Invariant::DurableBeforeSent, "sends COMMIT at 1");
    watched.log_prepared(1);
    assert_violates(watched.send(&commit), Invariant::DurableBeforeSent, "sends COMMIT at 1");
    watched.sync();
    assert_eq!(watched.send(&commit), Ok(()));
}

/// Votes for two blocks in one slot, the second after a restart.
pub(super) fn two_votes_in_a_slot() -> Result<(), Violation> {
    let mut watched = Watched::new();
    watched.log_proposal(0);
    watched.sync();
    let prepare = watched.vote(VoteKind::Prepare, 0, watched.digest);
    watched.send(&prepare).unwrap();
    watched.starts(1).unwrap();
    let other = watched.vote(VoteKind::Commit, 0, OTHER);
    watched.send(&other)
}

#[test]
fn two_votes_in_a_slot_are_found() {
    assert_violates(two_votes_in_a_slot(), Invariant::Integrity, "signs twice for Vote");
}

#[test]
fn nobody_signs_under_an_index_that_is_not_its_own() {
    let mut watched = Watched::new();
    let vote = watched.vote(VoteKind::Prepare, 0, watched.digest);
    watched.promises.entered(Epoch(0), Some(ValidatorIndex(2)));
    assert_violates(watched.send(&vote), Invariant::Integrity, "signs as 1");
    watched.promises.entered(Epoch(0), None);
    assert_violates(watched.send(&vote), Invariant::Integrity, "signs as 1");
    let head = watched.signed(Head::of(&watched.block.header, watched.digest));
    assert_violates(watched.send(&PeerMessage::Cosign(vec![head])), Invariant::Integrity, "signs as 1");
}

#[test]
fn statements_are_on_the_disk_before_they_leave_and_said_in_one_way() {
    let mut watched = Watched::new();
    let chain = watched.genesis.chain_id().clone();
    let view_change = |view: u64, of: &Watched, prepared| {
        let (epoch, view) = (Epoch(0), View(view));
        of.signed(ViewChange { epoch, view, stable: None, committed: None, prepared })
    };
    let new_view = |of: &Watched, view_changes| of.signed(NewView { epoch: Epoch(0), view: View(1), view_changes });
    let checkpoint = |of: &Watched, state_root| {
        let (epoch, height, block) = (Epoch(0), Height(2), OTHER);
        of.signed(Checkpoint { epoch, height, block, state_root, next_epoch: epoch, next_set: OTHER })
    };
    let first = view_change(1, &watched, Vec::new());
    let start = new_view(&watched, Vec::new());
    let mark = checkpoint(&watched, OTHER);
    let true_ones = [
        (PeerMessage::ViewChange(Arc::new(first.clone())), Record::ViewChange(Sealed::new(first, &chain))),
        (
            PeerMessage::NewView(Arc::new(start.clone())),
            Record::NewView { new_view: Sealed::new(start, &chain), view_changes: Vec::new() },
        ),
        (PeerMessage::Checkpoint(mark.clone()), Record::Checkpoint(mark)),
    ];
    for (message, record) in true_ones {
        assert_violates(watched.send(&message), Invariant::DurableBeforeSent, "node1 sends");
        watched.log(record);
        assert_violates(watched.send(&message), Invariant::DurableBeforeSent, "node1 sends");
        watched.sync();
        assert_eq!(watched.send(&message), Ok(()));
    }
    let mut other = view_change(1, &watched, Vec::new());
    let vote = Vote { kind: VoteKind::Commit, epoch: Epoch(0), view: View(0), height: Height(1), digest: OTHER };
    let certificate = Certificate { vote, signatures: Default::default() };
    other.body.committed = Some(CommittedProof { header: watched.block.header.clone(), certificate });
    let others = [
        PeerMessage::ViewChange(Arc::new(other.clone())),
        PeerMessage::NewView(Arc::new(new_view(&watched, vec![(ME, OTHER)]))),
        PeerMessage::Checkpoint(checkpoint(&watched, Digest([8; 32]))),
    ];
    for message in others {
        assert_violates(watched.send(&message), Invariant::Integrity, "signs twice for");
    }
    // What others said it may repeat, and needs no record.
    other.signer = ValidatorIndex(2);
    assert_eq!(watched.send(&PeerMessage::ViewChange(Arc::new(other))), Ok(()));
}

#[test]
fn a_head_is_cosigned_once_its_block_is_durable() {
    let mut watched = Watched::new();
    let cosign = |of: &Watched, size| {
        let head = Head { log_size: size, ..Head::of(&of.block.header, of.digest) };
        PeerMessage::Cosign(vec![of.signed(head)])
    };
    let (head, other) = (cosign(&watched, 0), cosign(&watched, 5));
    assert_violates(watched.send(&head), Invariant::DurableBeforeSent, "a cosignature at 1");
    assert_eq!(watched.promises.sent(&head, Height(1)), Ok(()), "it is in the derived state");
    let block = Arc::clone(&watched.block);
    watched.log(Record::Committed { block, certificate: None });
    assert_violates(watched.send(&head), Invariant::DurableBeforeSent, "a cosignature at 1");
    watched.sync();
    assert_eq!(watched.send(&head), Ok(()));
    assert_violates(watched.send(&other), Invariant::Integrity, "signs twice for Head");
}

#[test]
fn no_number_is_given_to_two_bundles() {
    let mut watched = Watched::new();
    let bundle = |of: &Watched, origin, ticket| {
        let operations = vec![operation("first", issue(ticket))];
        let body = BundleBody { epoch: Epoch(0), origin, start: 1, number: 0, operations };
        let signature = sign(&of.genesis, ME.position(), &body);
        let bundle = Bundle::assemble(body, signature, of.genesis.chain_id());
        PeerMessage::Bundle(Arc::new(bundle.bytes.clone()))
    };
    let (one, two) = (bundle(&watched, ME, "one"), bundle(&watched, ME, "two"));
    assert_eq!((watched.send(&one), watched.send(&one)), (Ok(()), Ok(())));
    assert_violates(watched.send(&two), Invariant::Integrity, "signs twice for Bundle");
    let [one, two] = ["one", "two"].map(|ticket| bundle(&watched, ValidatorIndex(2), ticket));
    assert_eq!((watched.send(&one), watched.send(&two)), (Ok(()), Ok(())), "those of others it passes on");
}

#[test]
fn a_log_that_forgets_what_was_durable_is_found() {
    let logged = || {
        let mut watched = Watched::new();
        watched.log_proposal(0);
        watched.log_prepared(0);
        watched.sync();
        watched
    };
    assert_eq!(logged().starts(2), Ok(()));
    assert_violates(logged().starts(1), Invariant::DurableBeforeSent, "its log ends at 1");
    assert_violates(logged().promises.opened(None, false), Invariant::DurableBeforeSent, "its log ends at 0");
    // What was not durable may be lost, and then it allows nothing.
    let mut cut = logged();
    let commit = cut.vote(VoteKind::Commit, 0, cut.digest);
    cut.log_proposal(1);
    let later = cut.vote(VoteKind::Prepare, 1, cut.digest);
    assert_eq!((cut.starts(2), cut.send(&commit)), (Ok(()), Ok(())));
    assert_violates(cut.send(&later), Invariant::DurableBeforeSent, "sends Prepare at 1");
}

#[test]
fn whoever_forgot_signs_nothing_until_it_has_recovered() {
    let mut watched = Watched::new();
    watched.log_proposal(0);
    watched.sync();
    let said = watched.vote(VoteKind::Prepare, 0, watched.digest);
    let new = watched.vote(VoteKind::Prepare, 1, watched.digest);
    watched.send(&said).unwrap();
    assert_eq!(watched.promises.opened(None, true), Ok(()));
    assert_eq!(watched.send(&said), Ok(()), "what it said before it may be told again");
    assert_violates(watched.send(&new), Invariant::Integrity, "does not know what it signed before");
    watched.promises.recovered(Epoch(1));
    assert_violates(watched.send(&new), Invariant::Integrity, "does not know what it signed before");
    // In the epoch that its recovery opened it is a validator like others.
    watched.promises.entered(Epoch(1), Some(ME));
    let (kind, view, digest) = (VoteKind::Prepare, View(0), watched.digest);
    let vote = watched.signed(Vote { kind, epoch: Epoch(1), view, height: Height(3), digest });
    let vote = PeerMessage::Vote(vote);
    assert_violates(watched.send(&vote), Invariant::DurableBeforeSent, "sends Prepare at 3");
}
