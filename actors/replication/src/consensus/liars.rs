//! What a replica tells of those who lie to it.

use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::evidence::EvidenceKind;
use dtvn_messages::{BundleBody, Genesis, KeyPair, Statement, Timestamp, View, Vote, VoteKind};

use super::*;
use crate::receipts::Said;

const LIAR: ValidatorIndex = ValidatorIndex(1);

fn key(index: u16) -> KeyPair {
    KeyPair::development(DEVELOPMENT_SEED, &format!("node{index}"))
}

/// The first of four validators; and what comes out when it hears something, of evidence and blame.
struct Node {
    consensus: Consensus,
    chain: ChainId,
}

impl Node {
    fn new() -> Self {
        let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
        let key = key(0);
        let config = Config::from_genesis(&genesis, Some(&key.public()));
        let chain = config.chain.clone();
        Self { consensus: Consensus::new(config, Base::genesis(&genesis), true, Arc::new(key)), chain }
    }

    fn says<T: Statement>(&self, body: T) -> Signed<T> {
        Signed::new(body, &self.chain, LIAR, &key(LIAR.0))
    }

    fn hears(&mut self, input: Input) -> Vec<&'static str> {
        let mut effects = Vec::new();
        let now = Now { monotonic_us: 1, wall: Timestamp(1) };
        self.consensus.step(now, input, &mut effects);
        let told = |effect: Effect| match effect {
            Effect::Evidence(evidence) => {
                assert_eq!(evidence.culprit(), LIAR);
                Some(match evidence.kind() {
                    EvidenceKind::TwoVotes => "two votes",
                    EvidenceKind::TwoHeads => "two heads",
                    other => panic!("{other:?}"),
                })
            }
            Effect::Broadcast(PeerMessage::Evidence(_)) => Some("told to all"),
            Effect::Blame { peer, .. } => {
                assert_eq!(peer, LIAR);
                Some("blamed")
            }
            _ => None,
        };
        effects.into_iter().filter_map(told).collect()
    }

    fn vote(&mut self, digest: u8) -> Vec<&'static str> {
        let digest = Digest([digest; 32]);
        let vote = Vote { kind: VoteKind::Prepare, epoch: Epoch(0), view: View(0), height: Height(1), digest };
        let message = Message::Vote(self.says(vote));
        self.hears(Input::Message { from: LIAR, message })
    }

    fn cosign(&mut self, block: u8) -> Vec<&'static str> {
        let block = Digest([block; 32]);
        let head =
            Head { epoch: Epoch(0), height: Height(1), block, log_size: 1, log_root: Digest([7; 32]), time_seconds: 1 };
        let said = Said::Cosignatures(vec![self.says(head)]);
        self.hears(Input::Receipts { from: LIAR, said })
    }
}

#[test]
fn what_two_messages_prove_is_kept_and_told_to_all_once() {
    let mut node = Node::new();
    assert_eq!([node.vote(1), node.vote(1)], [[], []] as [[&str; 0]; 2]);
    assert_eq!(node.vote(2), ["two votes", "told to all", "blamed"]);
    let again = [node.vote(1), node.vote(2)].concat();
    assert!(!again.contains(&"two votes") && !again.contains(&"told to all"), "it is known: {again:?}");
}

#[test]
fn who_cosigns_two_heads_is_blamed_and_it_is_proved_to_all() {
    let mut node = Node::new();
    assert_eq!([node.cosign(1), node.cosign(1)], [[], []] as [[&str; 0]; 2]);
    assert_eq!(node.cosign(2), ["blamed", "two heads", "told to all"]);
}

#[test]
fn a_bundle_of_another_epoch_that_comes_with_blocks_is_not_taken() {
    let mut node = Node::new();
    for (epoch, is_taken) in [(1, false), (0, true)] {
        let body = BundleBody { epoch: Epoch(epoch), origin: LIAR, start: 1, number: 0, operations: Vec::new() };
        let bundle = Arc::new(Bundle::sign(body, &node.chain, &key(LIAR.0)));
        let checked = CheckedBlocks { blocks: Vec::new(), bundles: vec![Arc::clone(&bundle)] };
        node.hears(Input::Synced(checked));
        let mut pending = node.consensus.pending_bundles();
        assert_eq!(pending.any(|held| held.digest == bundle.digest), is_taken);
    }
}
