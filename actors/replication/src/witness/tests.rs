//! What the witness finds in what a liar says, and what a verifier makes of evidence that peers show.

mod docket;

use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::evidence::EvidenceKind;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Block, CommittedProof, Ed25519, Epoch, Genesis, KeyPair, NewView, PreparedCertificate, RulesVersion, Statement,
    Timestamp, limits, sha256,
};

use super::*;
use crate::verify::{Checked as Judged, EvidenceRules, Verifier, Way};

/// Who lies.
const LIAR: u16 = 1;

struct Case {
    config: Config,
    witness: Witness,
    verifier: Verifier,
}

impl Case {
    fn new() -> Self {
        let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
        let key = KeyPair::development(DEVELOPMENT_SEED, "node0");
        let config = Config::from_genesis(&genesis, Some(&key.public()));
        let verifier = Verifier {
            former: None,
            chain: config.chain.clone(),
            epoch: config.epoch,
            set: Arc::clone(&config.set),
            log_window: config.parameters.log_window,
            scheme: Arc::new(Ed25519),
            evidence: EvidenceRules::of(&config),
            way: Way::default(),
        };
        Self { witness: Witness::new(config.clone()), config, verifier }
    }

    fn by<T: Statement>(&self, signer: u16, body: T) -> Signed<T> {
        let key = KeyPair::development(DEVELOPMENT_SEED, &format!("node{signer}"));
        Signed::new(body, &self.config.chain, ValidatorIndex(signer), &key)
    }

    fn vote(&self, signer: u16, kind: VoteKind, view: u64, height: u64, digest: Digest) -> Message {
        Message::Vote(self.by(signer, self.witness.vote(kind, View(view), Height(height), digest)))
    }

    fn header(&self, view: u64, height: u64, time: u64, parent: Digest) -> Header {
        Header {
            epoch: Epoch(0),
            rules_version: RulesVersion(1),
            height: Height(height),
            parent,
            proposer: self.config.set.leader(Epoch(0), View(view)),
            proposed_in_view: View(view),
            timestamp: Timestamp(time),
            bundles_root: Digest([1; 32]),
            log_size: height,
            log_root: sha256(&[b"root", &height.to_be_bytes()]),
        }
    }

    fn propose(&self, view: u64, header: &Header) -> Message {
        let digest = header.digest(&self.config.chain);
        let leader = self.config.set.leader(Epoch(0), View(view)).0;
        let signature =
            self.by(leader, self.witness.vote(VoteKind::Prepare, View(view), header.height, digest)).signature;
        let block = Arc::new(Block { header: header.clone(), bundles: Vec::new() });
        Message::PrePrepare { view: View(view), block, digest, signature }
    }

    fn certificate(&self, kind: VoteKind, view: u64, header: &Header) -> Certificate {
        let vote = self.witness.vote(kind, View(view), header.height, header.digest(&self.config.chain));
        let signatures = [1, 2, 3].map(|signer| (ValidatorIndex(signer), self.by(signer, vote).signature));
        Certificate { vote, signatures: Signatures(signatures.to_vec()) }
    }

    fn prepared(&self, view: u64, header: &Header) -> PreparedCertificate {
        PreparedCertificate { header: header.clone(), certificate: self.certificate(VoteKind::Prepare, view, header) }
    }

    fn move_to(&self, view: u64, prepared: Vec<PreparedCertificate>) -> ViewChange {
        ViewChange { epoch: Epoch(0), view: View(view), stable: None, committed: None, prepared }
    }

    fn sealed<T: Statement>(&self, signer: u16, body: T) -> Arc<Sealed<T>> {
        Sealed::new(self.by(signer, body), &self.config.chain)
    }

    /// What it finds in these messages; each piece holds for everybody.
    fn see(&mut self, messages: &[Message]) -> Vec<EvidenceKind> {
        let mut found = Vec::new();
        messages.iter().for_each(|message| self.witness.see(message, &mut found));
        for evidence in &found {
            assert_eq!(self.verifier.check_evidence(evidence), Ok(()), "{evidence:?}");
            assert_eq!(evidence.culprit(), ValidatorIndex(LIAR), "{evidence:?}");
        }
        found.iter().map(Evidence::kind).collect()
    }
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

#[test]
fn two_votes_are_found_in_votes_proposals_and_certificates() {
    for second in [VoteKind::Prepare, VoteKind::Commit] {
        let mut case = Case::new();
        let first = case.vote(LIAR, VoteKind::Prepare, 3, 9, digest(1));
        let second = case.vote(LIAR, second, 3, 9, digest(2));
        let others =
            [case.vote(2, VoteKind::Prepare, 3, 9, digest(2)), case.vote(LIAR, VoteKind::Prepare, 4, 9, digest(2))];
        assert_eq!(case.see(&others), []);
        assert_eq!(case.see(&[first.clone(), first, second]), [EvidenceKind::TwoVotes]);
    }
    let mut case = Case::new();
    let header = case.header(1, 9, 10, digest(9));
    let against = case.vote(LIAR, VoteKind::Commit, 1, 9, digest(2));
    assert_eq!(case.see(&[against.clone(), case.propose(1, &header)]), [EvidenceKind::TwoVotes], "in a proposal");
    let mut case = Case::new();
    let proof = CommittedProof { header: header.clone(), certificate: case.certificate(VoteKind::Commit, 1, &header) };
    assert_eq!(case.see(&[against.clone(), Message::Committed(Arc::new(proof))]), [EvidenceKind::TwoVotes]);
    let mut case = Case::new();
    let prepared = Message::Prepared(Arc::new(case.prepared(1, &header)));
    assert_eq!(case.see(&[against.clone(), prepared]), [EvidenceKind::TwoVotes], "in a certificate that is shown");
    let mut case = Case::new();
    let shown = case.sealed(2, case.move_to(5, vec![case.prepared(1, &header)]));
    assert_eq!(case.see(&[against, Message::ViewChange(shown)]), [EvidenceKind::TwoVotes], "in a view change");
}

/// Two blocks are committed at one height: more liars than the network tolerates. Whoever sees both certificates names all who
/// signed both, which is power F at least, and nobody else.
#[test]
fn a_fork_names_a_third_and_nobody_honest() {
    let mut case = Case::new();
    let signed_by = |case: &Case, signers: [u16; 3], time: u64| {
        let header = case.header(1, 9, time, digest(9));
        let vote = case.witness.vote(VoteKind::Commit, View(1), Height(9), header.digest(&case.config.chain));
        let signatures = signers.map(|signer| (ValidatorIndex(signer), case.by(signer, vote).signature)).to_vec();
        let certificate = Certificate { vote, signatures: Signatures(signatures) };
        Message::Committed(Arc::new(CommittedProof { header, certificate }))
    };
    let (one, other) = (signed_by(&case, [1, 2, 3], 10), signed_by(&case, [0, 1, 2], 11));
    let mut found = Vec::new();
    case.witness.see(&one, &mut found);
    case.witness.see(&other, &mut found);
    found.iter().for_each(|evidence| assert_eq!(case.verifier.check_evidence(evidence), Ok(()), "{evidence:?}"));
    let culprits: Vec<ValidatorIndex> = found.iter().map(Evidence::culprit).collect();
    assert_eq!(culprits, [1, 2].map(ValidatorIndex));
    assert!(case.config.set.power_of(culprits) >= case.config.set.weak_quorum());
}

#[test]
fn a_hidden_certificate_is_found_whichever_comes_first() {
    for commit_first in [true, false] {
        let mut case = Case::new();
        let header = case.header(3, 9, 10, digest(9));
        let commit = case.vote(LIAR, VoteKind::Commit, 3, 9, header.digest(&case.config.chain));
        let honest = Message::ViewChange(case.sealed(LIAR, case.move_to(4, vec![case.prepared(3, &header)])));
        assert_eq!(case.see(&[commit.clone(), honest]), []);
        let mut case = Case::new();
        let hiding = Message::ViewChange(case.sealed(LIAR, case.move_to(4, Vec::new())));
        let both = if commit_first { [commit, hiding] } else { [hiding, commit] };
        assert_eq!(case.see(&both), [EvidenceKind::HiddenCertificate]);
    }
}

#[test]
fn two_stories_for_one_view_are_found() {
    let mut case = Case::new();
    let header = case.header(3, 9, 10, digest(9));
    let one = Message::ViewChange(case.sealed(LIAR, case.move_to(6, Vec::new())));
    let two = Message::ViewChange(case.sealed(LIAR, case.move_to(6, vec![case.prepared(3, &header)])));
    let next = Message::ViewChange(case.sealed(LIAR, case.move_to(7, Vec::new())));
    assert_eq!(case.see(&[one.clone(), one, next, two]), [EvidenceKind::TwoViewChanges]);
    let names = |bytes: &[u8]| bytes.iter().zip(0..).map(|(it, at)| (ValidatorIndex(at), digest(*it))).collect();
    let new_view = |view_changes| NewView { epoch: Epoch(0), view: View(5), view_changes };
    let one = Message::NewView(case.sealed(LIAR, new_view(names(&[1, 2, 3]))));
    let two = Message::NewView(case.sealed(LIAR, new_view(names(&[1, 2, 4]))));
    assert_eq!(case.see(&[one.clone(), one, two]), [EvidenceKind::TwoNewViews]);
}

#[test]
fn bad_new_views_and_votes_against_them_are_found() {
    let mut case = Case::new();
    let few = NewView { epoch: Epoch(0), view: View(5), view_changes: vec![(ValidatorIndex(0), digest(1))] };
    let few = Message::NewView(case.sealed(LIAR, few));
    assert_eq!(case.see(&[few]), [EvidenceKind::BadNewView]);
    for bad in [false, true] {
        let mut case = Case::new();
        let first = case.header(3, 1, 10, case.config.epoch_base_digest);
        let mut changes = vec![case.sealed(0, case.move_to(5, vec![case.prepared(3, &first)]))];
        changes.push(case.sealed(2, case.move_to(if bad { 4 } else { 5 }, Vec::new())));
        changes.push(case.sealed(3, case.move_to(5, Vec::new())));
        let named = changes.iter().map(|change| (change.signed.signer, change.digest)).collect();
        let new_view = case.sealed(LIAR, NewView { epoch: Epoch(0), view: View(5), view_changes: named });
        let mut messages: Vec<Message> = changes.into_iter().map(Message::ViewChange).collect();
        messages.push(Message::NewView(new_view));
        if bad {
            assert_eq!(case.see(&messages), [EvidenceKind::BadNewView]);
            continue;
        }
        messages.push(case.vote(LIAR, VoteKind::Prepare, 5, 1, first.digest(&case.config.chain)));
        messages.push(case.vote(2, VoteKind::Prepare, 5, 1, digest(7)));
        assert_eq!(case.see(&messages), []);
        let mut other = Case::new();
        *messages.last_mut().unwrap() = other.vote(LIAR, VoteKind::Prepare, 5, 1, digest(7));
        messages.remove(4);
        assert_eq!(other.see(&messages), [EvidenceKind::AgainstNewView]);
        // The vote may come first.
        messages.rotate_right(1);
        assert!(Case::new().see(&messages).contains(&EvidenceKind::AgainstNewView));
    }
}

#[test]
fn bad_proposals_are_found_with_the_block_below_them() {
    let mut case = Case::new();
    let below = case.header(1, 8, 10, digest(9));
    case.witness.committed(&below, below.digest(&case.config.chain));
    let parent = below.digest(&case.config.chain);
    assert_eq!(case.see(&[case.propose(1, &case.header(1, 9, 11, parent))]), []);
    let mut late = Case::new();
    late.witness.committed(&below, parent);
    assert_eq!(late.see(&[late.propose(1, &late.header(1, 9, 10, parent))]), [EvidenceKind::BadProposal]);
    let mut foreign = Case::new();
    let header = Header { proposer: ValidatorIndex(2), ..foreign.header(1, 9, 10, digest(9)) };
    assert_eq!(foreign.see(&[foreign.propose(1, &header)]), [EvidenceKind::BadProposal]);
}

#[test]
fn a_wrong_result_is_an_accusation_that_nobody_is_told() {
    let mut case = Case::new();
    let header = case.header(1, 9, 10, digest(9));
    case.see(&[case.propose(1, &header)]);
    let name = header.digest(&case.config.chain);
    let accusation = case.witness.accuse(View(1), Height(9), name, (1, digest(1))).unwrap();
    assert_eq!((accusation.kind(), accusation.kind().is_proof()), (EvidenceKind::WrongResult, false));
    let told = case.verifier.receipts(ValidatorIndex(2), PeerMessage::Evidence(Arc::new(accusation)));
    assert!(told.is_err(), "a peer's accusation is not believed");
    let own = (header.log_size, header.log_root);
    assert_eq!(case.witness.accuse(View(1), Height(9), name, own), None);
}

#[test]
fn own_votes_and_other_epochs_are_left_alone_and_memory_is_bounded() {
    let mut case = Case::new();
    let own = [1, 2].map(|byte| case.vote(0, VoteKind::Prepare, 3, 9, digest(byte)));
    assert_eq!(case.see(&own), []);
    let window = case.config.parameters.log_window;
    let far = [1, 2].map(|byte| case.vote(LIAR, VoteKind::Prepare, 3, 10 * window, digest(byte)));
    assert_eq!(case.see(&far), []);
    // A flood pushes out the farthest future of its own sender, and nothing of others.
    let other = case.vote(2, VoteKind::Prepare, 0, 1, digest(1));
    case.see(&[other]);
    for view in 0..WITNESS_VOTES_PER_SENDER_MAX as u64 + 10 {
        let body = case.witness.vote(VoteKind::Prepare, View(view), Height(1), digest(1));
        let vote = Signed { body, signer: ValidatorIndex(LIAR), signature: Signature([0; 64]) };
        case.witness.see(&Message::Vote(vote), &mut Vec::new());
    }
    assert_eq!(case.witness.votes[&ValidatorIndex(LIAR)].len(), WITNESS_VOTES_PER_SENDER_MAX);
    assert_eq!(case.witness.votes[&ValidatorIndex(2)].len(), 1);
    assert!(case.witness.votes[&ValidatorIndex(LIAR)].contains_key(&(Height(1), View(0))), "the nearest stays");
}

#[test]
fn a_flood_of_votes_does_not_hide_two_votes_of_its_sender() {
    let mut case = Case::new();
    assert_eq!(case.see(&[case.vote(LIAR, VoteKind::Prepare, 0, 1, digest(1))]), []);
    for view in 1..WITNESS_VOTES_PER_SENDER_MAX as u64 + 10 {
        let body = case.witness.vote(VoteKind::Prepare, View(view), Height(2), digest(1));
        let vote = Signed { body, signer: ValidatorIndex(LIAR), signature: Signature([0; 64]) };
        case.witness.see(&Message::Vote(vote), &mut Vec::new());
    }
    assert_eq!(case.see(&[case.vote(LIAR, VoteKind::Prepare, 0, 1, digest(2))]), [EvidenceKind::TwoVotes]);
}

#[test]
fn a_flood_of_proposals_does_not_hide_a_bad_one_of_another_leader() {
    let mut case = Case::new();
    // The good block is another leader's; that of the liar builds on it and is not later.
    let good = case.header(2, 1, 100, digest(0));
    case.see(&[case.propose(2, &good)]);
    for salt in 0..WITNESS_HEADERS_PER_SENDER_MAX as u64 + 10 {
        let mut header = case.header(3, 5, 1_000 + salt, digest(7));
        header.log_size = salt;
        let name = header.digest(&case.config.chain);
        case.witness.keep_proposed(ValidatorIndex(3), &header, name);
    }
    assert_eq!(case.witness.proposed[&ValidatorIndex(3)].len(), WITNESS_HEADERS_PER_SENDER_MAX);
    let bad = case.header(1, 2, 100, good.digest(&case.config.chain));
    assert_eq!(case.see(&[case.propose(1, &bad)]), [EvidenceKind::BadProposal]);
}

#[test]
fn what_is_far_below_the_committed_height_is_forgotten() {
    let mut case = Case::new();
    case.see(&[case.vote(2, VoteKind::Prepare, 3, 1, digest(1)), case.propose(2, &case.header(2, 1, 100, digest(0)))]);
    for height in 1..=2 * WITNESS_KEPT_HEIGHTS {
        let header = case.header(0, height, height, digest(0));
        let name = header.digest(&case.config.chain);
        case.witness.committed(&header, name);
    }
    let heights = usize::try_from(WITNESS_KEPT_HEIGHTS + 1).unwrap();
    assert_eq!(case.witness.committed_headers.len(), heights);
    assert!(case.witness.votes[&ValidatorIndex(2)].is_empty());
    assert!(case.witness.proposed[&ValidatorIndex(2)].is_empty());
}

#[test]
fn of_the_moves_of_one_sender_the_latest_are_remembered() {
    let mut case = Case::new();
    let kept = WITNESS_VIEW_CHANGES_PER_SENDER_MAX as u64;
    let moves: Vec<_> = (1..=3 * kept).map(|view| case.sealed(LIAR, case.move_to(view, Vec::new()))).collect();
    moves.into_iter().for_each(|view_change| drop(case.see(&[Message::ViewChange(view_change)])));
    let views: Vec<u64> =
        case.witness.view_changes[&ValidatorIndex(LIAR)].iter().map(|it| it.signed.body.view.0).collect();
    assert_eq!(views, (2 * kept + 1..=3 * kept).rev().collect::<Vec<_>>());
}

#[test]
fn two_heads_of_one_height_with_different_blocks_are_found_and_one_said_twice_is_not() {
    let case = Case::new();
    let head = |signer: u16, byte: u8| {
        let header = case.header(1, 9, 10, digest(byte));
        case.by(signer, Head::of(&header, header.digest(&case.config.chain)))
    };
    let found = case.witness.contradiction(head(LIAR, 1), head(LIAR, 2)).unwrap();
    assert_eq!((found.kind(), found.culprit()), (EvidenceKind::TwoHeads, ValidatorIndex(LIAR)));
    assert_eq!(case.verifier.check_evidence(&found), Ok(()));
    assert_eq!(case.witness.contradiction(head(LIAR, 1), head(LIAR, 1)), None);
    assert_eq!(case.witness.contradiction(head(LIAR, 1), head(2, 2)), None, "of two validators");
}

#[test]
fn a_forged_certificate_in_a_signed_view_change_is_evidence_against_its_signer() {
    let case = Case::new();
    let mut forged = case.prepared(3, &case.header(3, 9, 10, digest(9)));
    forged.certificate.signatures.0.pop();
    let relayed = PeerMessage::ViewChange(Arc::new(case.by(LIAR, case.move_to(6, vec![forged]))));
    let fault = case.verifier.consensus(ValidatorIndex(2), relayed).unwrap_err();
    let evidence = fault.evidence().unwrap();
    assert_eq!((evidence.kind(), evidence.culprit()), (EvidenceKind::ForgedCertificate, ValidatorIndex(LIAR)));
    assert_eq!(case.verifier.check_evidence(evidence), Ok(()));
}

/// So many prepared certificates that they are longer than what may be told.
fn long_list(case: &Case) -> Vec<PreparedCertificate> {
    let shown = case.prepared(2, &case.header(2, 9, 10, digest(9)));
    vec![shown; 1 + limits::EVIDENCE_BYTES_MAX / 200]
}

#[test]
fn a_lie_that_is_too_long_to_be_kept_costs_its_signer_the_blame_and_is_not_kept() {
    let mut case = Case::new();
    // A window of so few validators' certificates is shorter.
    case.verifier.log_window = u64::MAX;
    let docket = case.verifier.evidence.docket.clone();
    let moved = case.by(LIAR, case.move_to(6, long_list(&case)));
    let fault = case.verifier.consensus(ValidatorIndex(LIAR), PeerMessage::ViewChange(Arc::new(moved.clone())));
    let fault = fault.unwrap_err();
    let evidence = fault.evidence().unwrap();
    assert!(evidence.to_bytes().len() > limits::EVIDENCE_BYTES_MAX);
    assert!(!docket.admit(evidence), "no store could read it again");
    let other = case.by(LIAR, case.move_to(6, Vec::new()));
    let two = Evidence::TwoViewChanges(Box::new(moved), Box::new(other));
    let shown = case.verifier.receipts(ValidatorIndex(2), PeerMessage::Evidence(Arc::new(two)));
    assert_eq!(shown, Ok(Judged::Nothing));
}

#[test]
fn a_move_that_hides_much_is_looked_at_as_a_whole_until_it_has_proved_one_lie() {
    let mut case = Case::new();
    let commits: Vec<_> = (1..=100).map(|height| case.vote(LIAR, VoteKind::Commit, 3, height, digest(9))).collect();
    let hiding = Message::ViewChange(case.sealed(LIAR, case.move_to(4, Vec::new())));
    assert_eq!(case.see(&commits), []);
    assert_eq!(case.see(&[hiding]), [EvidenceKind::HiddenCertificate]);
    let later = case.vote(LIAR, VoteKind::Commit, 3, 101, digest(9));
    assert_eq!(case.see(std::slice::from_ref(&later)), []);
    // The next move of the same liar is another lie.
    let hiding = Message::ViewChange(case.sealed(LIAR, case.move_to(5, Vec::new())));
    assert_eq!(case.see(&[hiding]), [EvidenceKind::HiddenCertificate]);
    // One that nobody could be told of costs no copy.
    let mut case = Case::new();
    let long = Message::ViewChange(case.sealed(LIAR, case.move_to(4, long_list(&case))));
    assert_eq!(case.see(&[commits.as_slice(), &[long, later]].concat()), []);
    assert!(case.witness.looked.is_empty());
}

/// A NEW-VIEW of the liar: at each of so many heights two blocks are shown, of which the later view's is selected, so that a
/// look at certificates alone cannot tell whether the leader votes as it should. Its name, and what is selected.
fn new_view_over(case: &mut Case, heights: u64) -> (Digest, Vec<Digest>) {
    let shown = |case: &Case, view: u64| -> Vec<PreparedCertificate> {
        let parent = case.config.epoch_base_digest;
        (1..=heights).map(|height| case.prepared(view, &case.header(view, height, 10, parent))).collect()
    };
    let (later, earlier) = (shown(case, 3), shown(case, 2));
    let chosen: Vec<Digest> = later.iter().map(PreparedCertificate::digest).collect();
    let changes = [(0, later), (2, earlier), (3, Vec::new())];
    let changes: Vec<_> = changes.map(|(by, prepared)| case.sealed(by, case.move_to(5, prepared))).into();
    let named = changes.iter().map(|change| (change.signed.signer, change.digest)).collect();
    let new_view = case.sealed(LIAR, NewView { epoch: Epoch(0), view: View(5), view_changes: named });
    let name = new_view.digest;
    let mut found = Vec::new();
    changes.iter().for_each(|change| case.witness.see(&Message::ViewChange(Arc::clone(change)), &mut found));
    case.witness.see(&Message::NewView(new_view), &mut found);
    (name, chosen)
}

#[test]
fn true_votes_do_not_hide_the_one_against_a_new_view() {
    let mut case = Case::new();
    let (_, chosen) = new_view_over(&mut case, 30);
    let votes: Vec<_> = (1..)
        .zip(chosen)
        .skip(1)
        .map(|(height, digest)| case.vote(LIAR, VoteKind::Prepare, 5, height, digest))
        .collect();
    assert_eq!(case.see(&votes), []);
    let against = case.vote(LIAR, VoteKind::Prepare, 5, 1, digest(7));
    assert_eq!(case.see(&[against]), [EvidenceKind::AgainstNewView]);
}

#[test]
fn a_new_view_is_compared_with_votes_only_so_far() {
    let mut case = Case::new();
    let (name, chosen) = new_view_over(&mut case, 100);
    let mut found = Vec::new();
    let before = case.witness.looked[&name];
    for (height, digest) in (1..).zip(chosen) {
        let vote = case.vote(LIAR, VoteKind::Prepare, 5, height, digest);
        case.witness.see(&vote, &mut found);
    }
    assert_eq!(found, [], "it votes for what it selected");
    assert!(before < limits::WITNESS_LOOKED_BYTES_MAX);
    let looked = case.witness.looked[&name];
    let once = limits::EVIDENCE_BYTES_MAX;
    assert!((limits::WITNESS_LOOKED_BYTES_MAX..limits::WITNESS_LOOKED_BYTES_MAX + once).contains(&looked), "{looked}");
    // What is remembered no more is not counted either.
    for view in 6..100 {
        let moved = Message::ViewChange(case.sealed(LIAR, case.move_to(view, Vec::new())));
        let of_view = NewView { epoch: Epoch(0), view: View(4 * view + 1), view_changes: Vec::new() };
        case.witness.see(&moved, &mut found);
        case.witness.see(&Message::NewView(case.sealed(LIAR, of_view)), &mut found);
    }
    assert!(case.witness.looked.len() <= 2 * limits::WITNESS_VIEW_CHANGES_PER_SENDER_MAX, "{:?}", case.witness.looked);
    assert!(!case.witness.looked.contains_key(&name));
}
