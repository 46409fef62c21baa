//! Manifests that are true, and of no use.

use std::collections::VecDeque;

use super::*;

/// A liar gives a true manifest that no honest peer serves, and serves it itself if it is prompt; another peer never
/// answers. How often the liar is asked before an honest one.
fn captured(peers: u16, (liar, silent): (u16, u16), is_prompt: bool) -> u32 {
    let (liar, silent) = (peer(liar), peer(silent));
    let (useless, map) = manifest(256, 600, 0);
    let mut sync = Sync::new(Epoch(0), (0..peers).map(ValidatorIndex).collect(), Height(0), BTreeSet::new());
    let mut open = VecDeque::from(ask(&mut sync, 1, 9_999, &[1]));
    let (mut given, mut at_ms) = (0, 0);
    loop {
        let Some(effect) = open.pop_front() else {
            at_ms += limits::SNAPSHOT_TICK_MS;
            let generation = sync.generation;
            open.extend(step_at(&mut sync, at_ms, Input::Timer { generation }));
            assert!(at_ms < 60_000, "nobody is asked any more");
            continue;
        };
        let Effect::Send { to: from, message } = effect else { continue };
        let input = match message {
            _ if from == silent => continue,
            PeerMessage::SnapshotRequest { .. } if from != liar => return given,
            PeerMessage::SnapshotRequest { .. } => {
                given += 1;
                Input::Manifest { from, checked: Arc::clone(&useless) }
            }
            PeerMessage::PartRequest { height, .. } if from != liar => Input::Refused { from, height },
            PeerMessage::PartRequest { height, part } if is_prompt => {
                Input::Part { from, part: answer(&map, height, part) }
            }
            _ => continue,
        };
        open.extend(step_at(&mut sync, at_ms, input));
    }
}

#[test]
fn who_gives_a_manifest_that_nobody_else_serves_does_not_keep_this_node_from_asking_others() {
    for peers in 3..10 {
        for (liar, silent) in [(0, 1), (0, peers - 1), (1, 0), (peers - 1, 0)] {
            for is_prompt in [false, true] {
                let given = captured(peers, (liar, silent), is_prompt);
                assert!(given <= 1, "{given} times of {peers} peers, {liar} lies and {silent} is silent");
            }
        }
    }
}

#[test]
fn manifests_that_are_of_no_use_one_after_the_other_lead_back_to_blocks() {
    let (useless, _) = manifest(256, 600, 0);
    let mut sync = planner();
    let mut effects = ask(&mut sync, 1, 9_999, &[2]);
    let mut givers = Vec::new();
    while let Some(from) = manifest_asked(&effects).filter(|_| givers.len() < 100) {
        givers.push(from);
        step(&mut sync, Input::Manifest { from, checked: Arc::clone(&useless) });
        let mut refused = Vec::new();
        for from in (0..9).map(peer) {
            refused.extend(step(&mut sync, Input::Refused { from, height: Height(256) }));
        }
        effects = refused;
    }
    givers.sort();
    assert_eq!(givers, (0..9).map(peer).collect::<Vec<_>>(), "each was asked once");
    assert!(!sync.is_fetching());
    assert!(asked(&ask(&mut sync, 1, 9_999, &[2])).is_some());
}
