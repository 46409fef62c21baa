//! Manifests that are true, and of no use.

use std::collections::VecDeque;

use super::*;

/// How one that alone has a snapshot sends its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    /// After what is said in fewer bytes, like an honest one.
    Soon,
    /// Just in time.
    Late,
    /// Not at all.
    Nothing,
}

/// What came of it, and how often that peer was asked for a manifest.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The state is installed.
    Installed { given: u32 },
    /// Another peer was asked for a manifest.
    AnotherAsked { given: u32 },
}

/// One gives a true manifest that nobody else serves; another peer never answers.
fn served_by_one_alone(peers: u16, (alone, silent): (u16, u16), sends: Sends) -> End {
    let (alone, silent) = (peer(alone), peer(silent));
    let (useless, map) = manifest(256, 600, 0);
    let mut sync =
        Sync::new(Epoch(0), (0..peers).map(ValidatorIndex).collect(), (Height(0), RETAINED), BTreeSet::new());
    let mut open = VecDeque::from(ask(&mut sync, 1, 9_999, &[1]));
    let mut under_way: VecDeque<(u64, Input)> = VecDeque::new();
    let (mut given, mut at_ms) = (0, 0);
    loop {
        let Some(effect) = open.pop_front() else {
            at_ms += limits::SNAPSHOT_ALONE_PART_MS / 2;
            while let Some((_, input)) = under_way.pop_front_if(|(due_ms, _)| *due_ms <= at_ms) {
                open.extend(step_at(&mut sync, at_ms, input));
            }
            let generation = sync.generation;
            open.extend(step_at(&mut sync, at_ms, Input::Timer { generation }));
            assert!(at_ms < 60_000, "nobody is asked any more");
            continue;
        };
        let (from, message) = match effect {
            Effect::Install(_) => return End::Installed { given },
            Effect::Send { to, message } => (to, message),
            _ => continue,
        };
        let input = match message {
            _ if from == silent => continue,
            PeerMessage::SnapshotRequest { .. } if from != alone => return End::AnotherAsked { given },
            PeerMessage::SnapshotRequest { .. } => {
                given += 1;
                Input::Manifest { from, checked: Arc::clone(&useless) }
            }
            PeerMessage::PartRequest { height, .. } if from != alone => Input::Refused { from, height },
            PeerMessage::PartRequest { height, part } => {
                let after_ms = match sends {
                    Sends::Soon => 1,
                    Sends::Late => limits::SNAPSHOT_ANSWER_TIMEOUT_MS - limits::SNAPSHOT_TICK_MS,
                    Sends::Nothing => continue,
                };
                under_way.push_back((at_ms + after_ms, Input::Part { from, part: answer(&map, height, part) }));
                continue;
            }
            _ => continue,
        };
        open.extend(step_at(&mut sync, at_ms, input));
    }
}

#[test]
fn who_alone_has_a_snapshot_has_time_to_send_it_and_keeps_this_node_no_longer_from_asking_others() {
    for peers in 3..10 {
        for (alone, silent) in [(0, 1), (0, peers - 1), (1, 0), (peers - 1, 0)] {
            for sends in [Sends::Soon, Sends::Late, Sends::Nothing] {
                let end = served_by_one_alone(peers, (alone, silent), sends);
                let expected: &[End] = match sends {
                    // The first that is asked may be another one.
                    Sends::Soon => &[End::Installed { given: 1 }, End::AnotherAsked { given: 0 }],
                    _ => &[End::AnotherAsked { given: 1 }, End::AnotherAsked { given: 0 }],
                };
                assert!(
                    expected.contains(&end),
                    "{end:?}: of {peers} peers, {alone} serves {sends:?}, {silent} is silent"
                );
            }
        }
    }
    assert_eq!(served_by_one_alone(4, (0, 1), Sends::Soon), End::Installed { given: 1 });
    assert_eq!(served_by_one_alone(4, (0, 1), Sends::Late), End::AnotherAsked { given: 1 });
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
