//! Those who are no validators of this epoch, of whom some may be those of a later one.

use std::collections::BTreeSet;

use super::*;

/// A planner of a validator of four whom nobody tells anything, and so many strangers.
fn among(strangers: u8) -> Sync {
    let mut sync = Sync::new(Epoch(0), (0..3).map(ValidatorIndex).collect(), (Height(0), RETAINED), BTreeSet::new());
    meet(&mut sync, 0..strangers);
    sync
}

fn key(stranger: u8) -> PublicKey {
    PublicKey([stranger; 32])
}

fn stranger(number: u8) -> Peer {
    Peer::Stranger(key(number))
}

fn meet(sync: &mut Sync, strangers: impl Iterator<Item = u8>) {
    step(sync, Input::Strangers(strangers.map(key).collect()));
}

/// Whom a follower asks; nobody answers.
fn followed(sync: &mut Sync) -> Peer {
    let effects = follow(sync, 4);
    let Some(Effect::Send { to, message: PeerMessage::SyncRequest { .. } }) = effects.first() else {
        panic!("{effects:?}")
    };
    assert_eq!(sync.awaited_strangers(), to.stranger().into_iter().collect());
    step(sync, Input::Timer { generation: generation(&effects) });
    assert_eq!(sync.awaited_strangers(), BTreeSet::new(), "it is not waited for any more");
    *to
}

#[test]
fn validators_and_strangers_take_turns_however_many_strangers_there_are() {
    let mut sync = among(50);
    let asked: Vec<Peer> = (0..12).map(|_| followed(&mut sync)).collect();
    let validators: Vec<Peer> = asked.iter().copied().step_by(2).collect();
    assert_eq!(validators, [0, 1, 2, 0, 1, 2].map(peer));
    let strangers: Vec<Peer> = asked.iter().copied().skip(1).step_by(2).collect();
    assert_eq!(strangers, [0, 1, 2, 3, 4, 5].map(stranger));
    // A quorum is connected: there is no need of them.
    meet(&mut sync, 0..0);
    assert!((0..6).all(|_| !followed(&mut sync).is_stranger()));
}

#[test]
fn a_stranger_that_has_blocks_is_asked_again_and_one_whose_answer_is_false_is_not() {
    let mut sync = among(2);
    followed(&mut sync);
    let effects = follow(&mut sync, 4);
    assert_eq!(sync.awaited_strangers(), BTreeSet::from([key(0)]));
    let block = Arc::new(Block { header: header(4), bundles: Vec::new() });
    let first = dtvn_pbft::CertifiedBlock { block, digest: Digest::ZERO, certificate: None };
    let checked = CheckedBlocks { blocks: vec![first], bundles: Vec::new() };
    let of_another = step(&mut sync, Input::Blocks { from: stranger(1), checked: checked.clone() });
    assert!(of_another.is_empty(), "{of_another:?}");
    let delivered = step(&mut sync, Input::Blocks { from: stranger(0), checked });
    assert!(matches!(delivered[..], [Effect::Deliver(_)]), "{effects:?} {delivered:?}");
    follow(&mut sync, 5);
    assert_eq!(sync.awaited_strangers(), BTreeSet::from([key(0)]), "it had some");
    step(&mut sync, Input::Faulty(stranger(0)));
    assert_eq!(followed(&mut sync), peer(1));
    assert_eq!(followed(&mut sync), stranger(1));
}

#[test]
fn what_is_proved_is_asked_of_strangers_when_those_who_showed_it_are_gone() {
    let mut sync = among(2);
    let mut effects = ask(&mut sync, 4, 9, &[1]);
    let mut others = BTreeSet::new();
    for _ in 0..8 {
        let Some(Effect::Send { to, message: PeerMessage::SyncRequest { from, to: last } }) = effects.first() else {
            panic!("{effects:?}")
        };
        assert_eq!((*from, *last), (Height(4), Height(9)));
        others.insert(*to);
        effects = step(&mut sync, Input::Timer { generation: generation(&effects) });
    }
    assert_eq!(others, [peer(0), peer(1), peer(2), stranger(0), stranger(1)].into());
}

#[test]
fn a_state_is_asked_of_strangers_when_no_validator_gives_one() {
    let (checked, map) = manifest(256, 600, 0);
    let mut sync = among(2);
    let mut effects = ask(&mut sync, 1, 9_999, &[2]);
    for _ in 0..3 {
        let from = manifest_asked(&effects).unwrap();
        assert!(!from.is_stranger());
        assert_eq!(sync.awaited_strangers(), BTreeSet::new());
        effects = step(&mut sync, Input::Refused { from, height: Height(1) });
    }
    assert_eq!(manifest_asked(&effects), Some(stranger(1)));
    assert_eq!(sync.awaited_strangers(), BTreeSet::from([key(1)]));
    let effects = step(&mut sync, Input::Manifest { from: stranger(1), checked });
    // Perhaps they have it by now; when they say that they do not, strangers are asked for its parts.
    assert!(parts_asked(&effects).iter().all(|(to, ..)| !to.is_stranger()));
    let mut open = Vec::new();
    for from in (0..3).map(peer) {
        open.extend(parts_asked(&step(&mut sync, Input::Refused { from, height: Height(256) })));
    }
    open.retain(|(to, ..)| to.is_stranger());
    assert_eq!(sync.awaited_strangers(), BTreeSet::from([key(0), key(1)]));
    let mut is_installed = false;
    while let Some((from, height, part)) = open.pop() {
        let effects = step(&mut sync, Input::Part { from, part: answer(&map, height, part) });
        is_installed |= is_installing(&effects);
        open.extend(parts_asked(&effects));
    }
    assert!(is_installed);
}

#[test]
fn strangers_who_come_later_are_asked_for_a_state_and_those_who_went_are_forgotten() {
    let mut sync = among(0);
    let mut effects = step(&mut sync, Input::Heal { at_least: Height(4), differs_at: Height(9) });
    for _ in 0..3 {
        let from = manifest_asked(&effects).unwrap();
        effects = step(&mut sync, Input::Refused { from, height: Height(9) });
    }
    let known = |sync: &Sync| sync.fetching.as_ref().unwrap().fetch.known();
    assert_eq!(known(&sync), 3);
    for came in (0..200).collect::<Vec<u8>>().chunks(10) {
        meet(&mut sync, came.iter().copied());
        assert!(known(&sync) <= 3 + 10 + 1, "{}", known(&sync));
    }
    let mut asked = BTreeSet::new();
    for tick in 1..60 {
        let generation = sync.generation;
        let effects = step_at(&mut sync, tick * limits::SNAPSHOT_ANSWER_TIMEOUT_MS, Input::Timer { generation });
        asked.extend(manifest_asked(&effects));
    }
    assert!((190..200).map(stranger).all(|stranger| asked.contains(&stranger)), "{asked:?}");
}
