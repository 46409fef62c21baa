//! How large the consensus log grows: below the size that the formula states, whatever a network goes through.

use dtvn_messages::Height;
use dtvn_messages::wire::PeerMessage;
use dtvn_replication::log_size::LogLoad;

use crate::harness::{LOG_LIMITS, Network, issue};

/// What the tests load a node with: a few small bundles in a block, and a few that are pending.
fn load(views: u64) -> LogLoad {
    LogLoad {
        validators: 4,
        block_bytes: 4 * 1_024,
        block_bundles: 8,
        pending_bytes: 64 * 1_024,
        pending_bundles: 128,
        // The store of the harness is durable after each third block.
        store_behind: 3,
        views,
    }
}

fn bound(network: &Network, views: u64) -> u64 {
    load(views).log_bytes_max(network.genesis().parameters(), &LOG_LIMITS)
}

/// Bytes of the files of a node's log.
fn log_bytes(network: &mut Network, node: usize) -> u64 {
    network.node(node).log().unwrap().segments().map(|segment| segment.file_bytes).sum()
}

fn assert_within(network: &mut Network, views: u64) {
    let most = bound(network, views);
    for node in 0..4 {
        let bytes = log_bytes(network, node);
        assert!(bytes <= most, "the log of node {node} has {bytes} bytes, the formula says {most}");
    }
}

fn work(network: &mut Network, first: u64, count: u64) {
    for request in first..first + count {
        network.submit((request % 4) as usize, request, issue(&format!("a ticket with number {request}"), request));
        network.run_for(5_000);
    }
}

#[test]
fn the_log_stays_below_its_size_however_many_heights_there_are() {
    let mut network = Network::new(4);
    let mut written = 0;
    for round in 0..60 {
        work(&mut network, round * 20, 20);
        assert_within(&mut network, 1);
        let last = network.node(0).log().unwrap().segments().last().unwrap();
        written = last.segment.0 * u64::from(LOG_LIMITS.segment_bytes);
    }
    network.run();
    assert_eq!(network.accepted().len(), 1_200);
    assert!(network.node(0).show().committed > Height(500));
    let most = bound(&network, 1);
    assert!(written > 2 * most, "{written} bytes were written, of {most} allowed: it says something");
}

/// Drops what makes checkpoints stable, for those who are asked about.
fn without_checkpoints(network: &mut Network, hides: impl Fn(usize) -> bool + 'static) {
    network.tamper = Some(Box::new(move |_, to, message| {
        let is_of_checkpoint = matches!(message, PeerMessage::Checkpoint(_) | PeerMessage::StableCheckpoint(_));
        (!is_of_checkpoint || !hides(to)).then_some(message)
    }));
}

#[test]
fn without_a_stable_checkpoint_the_window_ends_all_growth_and_nothing_is_lost() {
    let mut network = Network::new(4);
    let window = network.genesis().parameters().log_window;
    work(&mut network, 0, 10);
    without_checkpoints(&mut network, |_| true);
    work(&mut network, 10, 60);
    let end = network.node(0).show().stable.plus(window);
    assert_eq!(network.node(0).show().committed, end, "the window is over");
    let at_the_end = log_bytes(&mut network, 0);
    work(&mut network, 70, 60);
    network.run();
    assert_eq!(network.node(0).show().committed, end);
    // What goes on are failing views, and bundles that wait.
    let views = network.node(0).show().view.0 + 1;
    assert_within(&mut network, views);
    let segments = (log_bytes(&mut network, 0) - at_the_end) / u64::from(LOG_LIMITS.segment_bytes);
    assert!(segments <= 2, "{segments} more segments");
    network.tamper = None;
    network.run_for(60_000_000);
    assert_eq!(network.accepted().len(), 130);
    work(&mut network, 130, 200);
    network.run();
    assert_within(&mut network, views);
}

#[test]
fn one_node_that_hears_of_no_stable_checkpoint_stops_at_its_window_and_catches_up_later() {
    let mut network = Network::new(4);
    let window = network.genesis().parameters().log_window;
    work(&mut network, 0, 10);
    without_checkpoints(&mut network, |to| to == 3);
    work(&mut network, 10, 600);
    network.run();
    let late = network.node(3).show();
    assert_eq!(late.committed, late.stable.plus(window));
    assert!(network.node(0).show().committed > Height(200), "the others do not wait for it");
    assert_within(&mut network, 1);
    network.tamper = None;
    network.run_for(5_000_000);
    let (late, first) = (network.node(3).show(), network.node(0).show());
    assert_eq!((late.committed, late.committed_digest), (first.committed, first.committed_digest));
    assert_within(&mut network, 1);
}
