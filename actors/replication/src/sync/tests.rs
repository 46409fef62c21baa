//! The planner, one input at a time.

use super::*;

/// A planner of validator 9 of ten.
fn planner() -> Sync {
    Sync::new((0..9).map(ValidatorIndex).collect(), BTreeSet::new())
}

fn ask(sync: &mut Sync, from: u64, to: u64, holders: &[u16]) -> Vec<Effect> {
    let holders = holders.iter().map(|holder| ValidatorIndex(*holder)).collect();
    step(sync, Input::Ask { from: Height(from), to: Height(to), holders })
}

fn step(sync: &mut Sync, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    sync.step(Now::default(), input, &mut effects);
    effects
}

/// Whom a step asks, and for what.
fn asked(effects: &[Effect]) -> Option<(u16, u64, u64)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { to, message: PeerMessage::SyncRequest { from, to: last } } => Some((to.0, from.0, last.0)),
        _ => None,
    })
}

fn generation(effects: &[Effect]) -> u64 {
    let timers = effects.iter().rev().find_map(|effect| match effect {
        Effect::SetTimer { generation, .. } => Some(*generation),
        _ => None,
    });
    timers.unwrap()
}

#[test]
fn who_does_not_answer_is_followed_by_the_next_holder() {
    let mut sync = planner();
    let first = ask(&mut sync, 1, 9, &[2, 3]);
    assert_eq!(asked(&first), Some((2, 1, 9)));
    let second = step(&mut sync, Input::Timer { generation: generation(&first) });
    assert_eq!(asked(&second), Some((3, 1, 9)));
    assert_eq!(asked(&step(&mut sync, Input::Timer { generation: generation(&first) })), None, "an old timer");
    assert_eq!(asked(&step(&mut sync, Input::Faulty(ValidatorIndex(3)))), Some((2, 1, 9)));
}

#[test]
fn holders_that_are_known_later_are_asked_when_the_first_ones_are_gone() {
    let mut sync = planner();
    let first = ask(&mut sync, 2, 7, &[6]);
    assert_eq!(asked(&ask(&mut sync, 2, 15, &[0, 6])), None, "one request at a time");
    assert_eq!(asked(&ask(&mut sync, 3, 16, &[0, 1])), None);
    let second = step(&mut sync, Input::Timer { generation: generation(&first) });
    assert_eq!(asked(&second), Some((1, 3, 16)));
}

#[test]
fn an_answer_ends_with_the_last_block_that_has_a_certificate() {
    let none = |_| Ok::<_, std::convert::Infallible>(None);
    assert_eq!(serve(Height(1), Height(5), none), Ok(Vec::new()));
}
