//! Whole networks of pools: whatever is lost on the way, every honest node gets every bundle that one of them holds.

use std::collections::{BTreeSet, VecDeque};

use dtvn_messages::Ed25519;

use super::*;

/// Pools with one clock, and what is on its way between them.
struct Network {
    nodes: Vec<World>,
    /// They take what they are sent and say nothing.
    silent: BTreeSet<u16>,
    /// Whether a message is lost: from, to, and how many were sent before.
    loses: fn(u16, u16, u64) -> bool,
    on_way: VecDeque<(u16, u16, PeerMessage)>,
    sent: u64,
    /// Copies of whole bundles that were delivered.
    copies: usize,
}

impl Network {
    fn new(validators: u16, silent: &[u16], loses: fn(u16, u16, u64) -> bool) -> Self {
        let nodes = (0..validators).map(|own| World::at(own, usize::from(validators), |_| {})).collect();
        let silent = silent.iter().copied().collect();
        Self { nodes, silent, loses, on_way: VecDeque::new(), sent: 0, copies: 0 }
    }

    fn step(&mut self, node: u16, input: Input) {
        let effects = self.nodes[usize::from(node)].step(input);
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, node: u16, effects: Vec<Effect>) {
        if self.silent.contains(&node) {
            return;
        }
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.send(node, to.0, message),
                Effect::Broadcast(message) => {
                    let others = (0..self.nodes.len() as u16).filter(|to| *to != node);
                    others.for_each(|to| self.send(node, to, message.clone()));
                }
                Effect::Verify { from, bundle } => {
                    let genesis = genesis(self.nodes.len());
                    let ok = bundle.verify(genesis.chain_id(), genesis.validators(), &Ed25519);
                    self.step(node, verified(from.0, &bundle, ok));
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, from: u16, to: u16, message: PeerMessage) {
        self.sent += 1;
        if !(self.loses)(from, to, self.sent) {
            self.on_way.push_back((from, to, message));
        }
    }

    /// Delivers everything, and lets time pass in steps of ten milliseconds.
    fn run_ms(&mut self, time_ms: u64) {
        for _ in 0..=time_ms / 10 {
            while let Some((from, to, message)) = self.on_way.pop_front() {
                let from = peer(from);
                let input = match message {
                    PeerMessage::Bundle(bytes) => {
                        self.copies += 1;
                        Input::Received { from, bytes }
                    }
                    PeerMessage::FetchBundles(digests) => Input::Fetch { from, digests },
                    PeerMessage::AnnounceBundles(digests) => Input::Announce { from, digests },
                    other => panic!("a pool does not say {}", other.name()),
                };
                self.step(to, input);
            }
            for node in 0..self.nodes.len() {
                let effects = self.nodes[node].pass_ms(10);
                self.carry_out(node as u16, effects);
            }
        }
    }

    /// The nodes that speak and lack a bundle.
    fn lacking(&self, bundle: &Bundle) -> Vec<u16> {
        let honest = (0..self.nodes.len() as u16).filter(|node| !self.silent.contains(node));
        honest.filter(|node| self.nodes[usize::from(*node)].pool.bundle(&bundle.digest).is_none()).collect()
    }
}

const NOBODY: [u16; 0] = [];

fn nothing_is_lost(_: u16, _: u16, _: u64) -> bool {
    false
}

#[test]
fn each_node_gets_one_copy_if_nothing_is_lost() {
    for validators in [4, 16, 17, 40] {
        let mut network = Network::new(validators, &[], nothing_is_lost);
        let bundle = network.nodes[0].bundle(0, 0);
        network.step(0, Input::Own(Arc::clone(&bundle)));
        network.run_ms(1_000);
        assert_eq!(network.lacking(&bundle), NOBODY);
        assert_eq!(network.copies, usize::from(validators) - 1, "{validators} validators");
    }
}

#[test]
fn in_a_large_network_silent_relays_are_made_up_for() {
    for number in 0..5 {
        let silent = [3, 6, 9, 12, 15, 18, 21, 24];
        let mut network = Network::new(25, &silent, nothing_is_lost);
        let bundle = network.nodes[0].bundle(0, number);
        network.step(0, Input::Own(Arc::clone(&bundle)));
        network.run_ms(500);
        assert_eq!(network.lacking(&bundle), NOBODY, "bundle {number}");
    }
}

#[test]
fn what_was_shown_to_one_gets_to_all_once_it_is_relayed() {
    for validators in [7, 25] {
        let mut network = Network::new(validators, &[0], nothing_is_lost);
        let bundle = network.nodes[0].bundle(0, 0);
        network.step(3, received(0, &bundle));
        network.run_ms(1_000);
        assert!(network.lacking(&bundle).len() > 1, "it is not passed on by itself to all");
        network.step(3, Input::Relay { digests: vec![bundle.digest], leader: peer(1) });
        network.run_ms(500);
        assert_eq!(network.lacking(&bundle), NOBODY);
    }
}

#[test]
fn a_proposal_is_enough_to_get_a_bundle_from_whoever_has_it() {
    let mut network = Network::new(7, &[0, 2], nothing_is_lost);
    let bundle = network.nodes[0].bundle(0, 0);
    network.step(3, received(0, &bundle));
    for node in [1, 3, 4, 5, 6] {
        network.step(node, want(&[bundle.digest], &[2]));
    }
    network.run_ms(10 + 6 * 250);
    assert_eq!(network.lacking(&bundle), NOBODY, "the leader and the origin say nothing, one backup has it");
}

#[test]
fn a_third_of_the_messages_lost_only_delays() {
    let mut network = Network::new(10, &[], |_, _, sent| sent % 3 == 0);
    let bundles: Vec<_> = (0..10).map(|origin| network.nodes[0].bundle(origin, 0)).collect();
    for (node, bundle) in bundles.iter().enumerate() {
        network.step(node as u16, Input::Own(Arc::clone(bundle)));
    }
    network.run_ms(100);
    assert!(bundles.iter().any(|bundle| !network.lacking(bundle).is_empty()), "or this test shows nothing");
    for (node, bundle) in bundles.iter().enumerate() {
        network.step(node as u16, Input::Relay { digests: vec![bundle.digest], leader: peer(0) });
    }
    network.run_ms(1_000);
    for node in 0..10 {
        let wanted: Vec<Digest> = bundles.iter().map(|bundle| bundle.digest).collect();
        network.step(node, want(&wanted, &[0]));
    }
    network.run_ms(5_000);
    for bundle in &bundles {
        assert_eq!(network.lacking(bundle), NOBODY);
    }
}

#[test]
fn halves_that_meet_again_tell_each_other_what_they_missed() {
    let mut network = Network::new(6, &[], |from, to, _| (from < 3) != (to < 3));
    let bundles: Vec<_> = (0..6).map(|origin| network.nodes[0].bundle(origin, 0)).collect();
    for (node, bundle) in bundles.iter().enumerate() {
        network.step(node as u16, Input::Own(Arc::clone(bundle)));
    }
    network.run_ms(1_000);
    assert_eq!(network.lacking(&bundles[0]), [3, 4, 5]);
    network.loses = nothing_is_lost;
    network.step(2, Input::PeerUp(peer(3)));
    network.step(3, Input::PeerUp(peer(2)));
    network.run_ms(500);
    let lack = |node: u16| bundles.iter().filter(|bundle| network.lacking(bundle).contains(&node)).count();
    assert_eq!([2, 3].map(lack), [0, 0], "one link is enough for the two that it joins");
}
