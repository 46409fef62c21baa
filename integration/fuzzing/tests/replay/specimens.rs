//! Made inputs: a message of each kind, evidence of each kind, and what goes with them, signed by the trusted validators. So
//! what the recorded network happens not to say is there all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_fuzzing::targets::evidence::{BASE, LIAR, holds};
use dtvn_fuzzing::targets::trusted;
use dtvn_messages::block::bundles_root;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::{LastRecovery, NewSet, PendingEnd, Recovery, SignedRecovery, ValidatorsChange};
use dtvn_messages::merkle::{LogEdge, leaf_hash, node_hash};
use dtvn_messages::snapshot::{Manifest, encode_entries};
use dtvn_messages::state::{Cut, Part, RawEntry, kind};
use dtvn_messages::wire::{CommittedBlock, PeerMessage, PrePrepare, Status};
use dtvn_messages::*;

/// Three of four: a quorum.
const SIGNERS: [u16; 3] = [0, 1, 2];

fn chain() -> &'static ChainId {
    trusted::genesis().chain_id()
}

fn set() -> &'static ValidatorSet {
    trusted::genesis().validators()
}

/// A statement of the one that lies: it leads view 3 and view 7 of epoch 2.
fn by<T: Statement>(body: T) -> Signed<T> {
    Signed::new(body, chain(), LIAR, &trusted::key(LIAR).unwrap())
}

fn signed_by<T: Statement>(statement: &T) -> Signatures {
    let bytes = statement.signed_bytes(chain());
    let sign = |signer| (ValidatorIndex(signer), trusted::key(ValidatorIndex(signer)).unwrap().sign(&bytes));
    Signatures(SIGNERS.into_iter().map(sign).collect())
}

fn edge() -> LogEdge {
    let mut edge = LogEdge::new();
    (0_u64..77).for_each(|number| edge.append(leaf_hash(&number.to_be_bytes())));
    edge
}

/// A fresh block of view 3 of epoch 2, without bundles.
fn header(height: u64) -> Header {
    let edge = edge();
    Header {
        epoch: Epoch(2),
        rules_version: RulesVersion(1),
        height: Height(height),
        parent: Digest([0xaa; 32]),
        proposer: LIAR,
        proposed_in_view: View(3),
        timestamp: Timestamp(1_767_225_600_000_001),
        bundles_root: bundles_root(&[]),
        log_size: edge.size(),
        log_root: edge.frontier().root(),
    }
}

fn block(height: u64) -> Arc<Block> {
    Arc::new(Block { header: header(height), bundles: Vec::new() })
}

fn vote(kind: VoteKind, header: &Header) -> Vote {
    let digest = header.digest(chain());
    Vote { kind, epoch: header.epoch, view: View(3), height: header.height, digest }
}

fn certificate(kind: VoteKind, header: &Header) -> Certificate {
    let vote = vote(kind, header);
    Certificate { vote, signatures: signed_by(&vote) }
}

fn prepared(header: Header) -> PreparedCertificate {
    PreparedCertificate { certificate: certificate(VoteKind::Prepare, &header), header }
}

fn committed(header: Header) -> CommittedProof {
    CommittedProof { certificate: certificate(VoteKind::Commit, &header), header }
}

fn checkpoint(header: &Header, state_root: Digest, next_epoch: Epoch) -> Checkpoint {
    let (epoch, height, block) = (header.epoch, header.height, header.digest(chain()));
    Checkpoint { epoch, height, block, state_root, next_epoch, next_set: set().hash() }
}

fn stable(header: Header, state_root: Digest, next_epoch: Epoch) -> StableCheckpoint {
    let checkpoint = checkpoint(&header, state_root, next_epoch);
    StableCheckpoint { signatures: signed_by(&checkpoint), header, checkpoint }
}

fn view_change(view: u64, prepared: Vec<PreparedCertificate>) -> ViewChange {
    ViewChange { epoch: Epoch(2), view: View(view), stable: None, committed: None, prepared }
}

/// A NEW-VIEW of view 7 from these VIEW-CHANGEs, of one validator after the other.
fn new_view(view_changes: &[ViewChange]) -> NewView {
    let digests = view_changes.iter().zip(0_u16..).map(|(it, signer)| (ValidatorIndex(signer), it.digest(chain())));
    NewView { epoch: Epoch(2), view: View(7), view_changes: digests.collect() }
}

fn head(height: u64) -> Head {
    let header = header(height);
    Head::of(&header, header.digest(chain()))
}

pub fn receipt_certificate(head: Head) -> ReceiptCertificate {
    ReceiptCertificate { signatures: signed_by(&head), head }
}

/// The first height of epoch 2, and the VIEW-CHANGEs of view 7 that show that it was prepared.
fn story() -> (Header, Vec<ViewChange>) {
    let first = Header { parent: BASE.1, ..header(BASE.0.0 + 1) };
    let shows = view_change(7, vec![prepared(first.clone())]);
    (first, vec![shows, view_change(7, Vec::new()), view_change(7, Vec::new())])
}

/// Evidence of each kind, all of which holds.
pub fn evidence() -> Vec<Evidence> {
    let (first, shown) = story();
    let one_vote = |kind, view, height, digest| {
        by(Vote { kind, epoch: Epoch(2), view: View(view), height: Height(height), digest: Digest([digest; 32]) })
    };
    let mut forged = prepared(header(9));
    forged.certificate.signatures.0.truncate(2);
    let below = header(8);
    let late = Header { parent: below.digest(chain()), ..header(9) };
    let (of_late, of_other) = (by(vote(VoteKind::Prepare, &late)), by(vote(VoteKind::Prepare, &header(9))));
    let other_head = Head { log_root: Digest([1; 32]), ..head(9) };
    let changes = [0, 1].map(|place: usize| Box::new(by(shown[place].clone())));
    let [with_proof, without] = changes;
    let against = one_vote(VoteKind::Prepare, 7, first.height.0, 1);
    let all = vec![
        Evidence::TwoVotes(one_vote(VoteKind::Prepare, 3, 9, 1), one_vote(VoteKind::Commit, 3, 9, 2)),
        Evidence::TwoHeads(by(head(9)), by(other_head)),
        Evidence::TwoViewChanges(with_proof, without),
        Evidence::TwoNewViews(by(new_view(&shown)), by(new_view(&shown[..2]))),
        Evidence::HiddenCertificate(one_vote(VoteKind::Commit, 3, 9, 1), Box::new(by(view_change(4, Vec::new())))),
        Evidence::BadNewView(by(new_view(&shown[..2])), None),
        Evidence::AgainstNewView(by(new_view(&shown)), shown, against),
        Evidence::BadProposal(of_late, Box::new(late), Some(Box::new(below))),
        Evidence::ForgedCertificate(Box::new(by(view_change(7, vec![forged])))),
        Evidence::WrongResult(of_other, Box::new(header(9)), 1, Digest([1; 32])),
    ];
    for evidence in &all {
        assert!(holds(evidence) && evidence.culprit() == LIAR, "{}", evidence.kind());
    }
    all
}

/// How epoch 0 or 1 ended: the second at the height on which epoch 2 begins.
pub fn epoch_end(epoch: Epoch) -> EpochEnd {
    let last = Header { epoch, ..header(BASE.0.0 / 2 * (epoch.0 + 1)) };
    EpochEnd {
        committed: committed(last.clone()),
        stable: stable(last, Digest([5; 32]), epoch.next()),
        next: set().clone(),
    }
}

pub fn recovery() -> SignedRecovery {
    let validator = set().get(LIAR).unwrap().name.clone();
    let body = Recovery { epoch: Epoch(2), validator, nonce: Nonce([6; 16]) };
    let signature = trusted::key(LIAR).unwrap().sign(&body.signed_bytes(chain()));
    SignedRecovery { body, signature }
}

pub fn change() -> ValidatorsChange {
    let (epoch, replaces, set) = (Epoch(2), set().hash(), set().clone());
    let signatures = signed_by(&NewSet { epoch, replaces, set: set.hash() });
    ValidatorsChange { epoch, replaces, set, signatures }
}

/// The validators when one has recovered, another is about to, and a set is about to follow.
pub fn membership() -> Membership {
    let name = |place| set().get(ValidatorIndex(place)).unwrap().name.clone();
    let recovering: BTreeMap<_, _> = [(name(1), Nonce([6; 16])), (name(2), Nonce([7; 16]))].into();
    Membership {
        epoch: Epoch(2),
        base: BASE.0,
        set: Arc::new(set().clone()),
        opened_by: [(name(0), Nonce([8; 16]))].into(),
        pending: Some(PendingEnd { ends: Height(16), set: Some(Arc::new(set().clone())), recovering }),
        recoveries: [(name(0), LastRecovery { at: Timestamp(1_767_225_600_000_000), wait_us: 60_000_000 })].into(),
    }
}

/// Entries of the state, in the order of their paths.
pub fn entries() -> Vec<RawEntry> {
    let entry = |kind, name, value| RawEntry { kind, name, value };
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let mut log = numbers(&[77, 70]);
    let mut peaks = Writer::default();
    peaks.list(edge().frontier().peaks());
    log.extend(peaks.into_bytes());
    let mut all = vec![
        entry(kind::EVENT, EventId::default_event().to_bytes(), vec![1, 1]),
        entry(kind::MEMBERSHIP, Vec::new(), membership().to_bytes()),
        entry(kind::LOG, Vec::new(), log),
    ];
    let names = set().iter().map(|(_, validator)| validator.name.to_bytes());
    all.extend(names.map(|name| entry(kind::LAST_BUNDLE, name, numbers(&[2, 300, 70_000]))));
    all.sort_by_key(RawEntry::path);
    all
}

/// The halves of that state, each with its entries.
pub fn parts() -> [(Part, Vec<RawEntry>); 2] {
    [false, true].map(|right| {
        let half = Part::WHOLE.half(right).unwrap();
        (half, entries().into_iter().filter(|entry| half.holds(&entry.path())).collect())
    })
}

/// The manifest of that state, at height 8 of epoch 2, for one who is in epoch 1.
pub fn manifest() -> Manifest {
    let hashes = parts().map(|(half, entries)| half.hash_of(&entries).unwrap());
    let header = header(8);
    Manifest {
        stable: Arc::new(stable(header.clone(), state::node_hash(&hashes[0], &hashes[1]), Epoch(2))),
        certificate: Some(certificate(VoteKind::Commit, &header)),
        block: block(8),
        cut: Cut(hashes.map(|hash| (1, hash)).to_vec()),
        edge: edge().levels().to_vec(),
        ends: vec![Arc::new(epoch_end(Epoch(1)))],
    }
}

/// The receipt of the first of two outcomes, which are all that the log holds.
pub fn receipt(first: &Outcome, second: &Outcome) -> Receipt {
    let leaf = first.to_bytes();
    let (left, right) = (leaf_hash(&leaf), leaf_hash(&second.to_bytes()));
    let head = Head { log_size: 2, log_root: node_hash(&left, &right), ..head(8) };
    let checkpoint = receipt_certificate(head).to_note(chain(), set());
    let receipt = Receipt { leaf, index: 0, path: vec![right], checkpoint };
    assert!(receipt.verify(chain(), |_| Some(set()), &Ed25519).is_ok());
    receipt
}

fn bundle() -> Arc<Vec<u8>> {
    let key = IdempotencyKey::new("0123456789abcdef").unwrap();
    let action = Action::Validate { ticket: TicketId::new("TICKET-001").unwrap(), data: None };
    let operations = vec![Operation::new(key, action)];
    let body = BundleBody { epoch: Epoch(2), origin: LIAR, start: 1, number: 0, operations };
    Arc::new(Bundle::sign(body, chain(), &trusted::key(LIAR).unwrap()).bytes.clone())
}

/// A message of each kind.
pub fn messages() -> Vec<PeerMessage> {
    let (_, shown) = story();
    let (header, block, digests) = (header(8), block(8), vec![Digest([1; 32]), Digest([2; 32])]);
    let prepare = by(vote(VoteKind::Prepare, &header));
    let certificate = Some(certificate(VoteKind::Commit, &header));
    let (epoch, view, height) = (Epoch(2), View(3), Height(8));
    let status = Status { epoch, view, active: true, committed: height, stable: BASE.0, wish: View(4), pending: true };
    let [(part, entries), _] = parts();
    let proposal = PrePrepare { view, block: Arc::clone(&block), signature: prepare.signature };
    let mut messages = vec![
        PeerMessage::PrePrepare(Arc::new(proposal)),
        PeerMessage::Vote(prepare),
        PeerMessage::Vote(by(vote(VoteKind::Commit, &header))),
        PeerMessage::Wish { epoch, view },
        PeerMessage::ViewChange(Arc::new(by(shown[0].clone()))),
        PeerMessage::NewView(Arc::new(by(new_view(&shown)))),
        PeerMessage::FetchViewChanges { view, digests: digests.clone() },
        PeerMessage::Checkpoint(by(checkpoint(&header, Digest([5; 32]), epoch))),
        PeerMessage::StableCheckpoint(Arc::new(stable(header.clone(), Digest([5; 32]), epoch))),
        PeerMessage::Prepared(Arc::new(prepared(header.clone()))),
        PeerMessage::Committed(Arc::new(committed(header))),
        PeerMessage::FetchBlocks(digests.clone()),
        PeerMessage::Block(Arc::clone(&block)),
        PeerMessage::Status(status),
        PeerMessage::Bundle(bundle()),
        PeerMessage::FetchBundles(digests.clone()),
        PeerMessage::AnnounceBundles(digests),
        PeerMessage::SyncRequest { from: BASE.0, to: height },
        PeerMessage::Recover(Box::new(recovery())),
        PeerMessage::EpochEnd(Arc::new(epoch_end(Epoch(1)))),
        PeerMessage::SyncBlocks(vec![CommittedBlock { block, certificate, bundles: vec![bundle()] }]),
        PeerMessage::SnapshotRequest { height, at_least: BASE.0, epoch },
        PeerMessage::EpochEnds(vec![Arc::new(epoch_end(Epoch(1))), Arc::new(epoch_end(Epoch(2)))]),
        PeerMessage::Snapshot(Arc::new(manifest())),
        PeerMessage::PartRequest { height, part },
        PeerMessage::Part { height, part, entries: Arc::new(encode_entries(&entries)) },
        PeerMessage::SnapshotRefused { height },
        PeerMessage::Cosign(vec![by(head(8)), by(head(9))]),
        PeerMessage::FetchReceipts { above: BASE.0 },
        PeerMessage::Receipts(vec![receipt_certificate(head(8)), receipt_certificate(head(9))]),
    ];
    messages.extend(evidence().into_iter().map(|evidence| PeerMessage::Evidence(Arc::new(evidence))));
    messages
}
