//! The checkers of histories: they accept what one machine could have said, and refuse what it could not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod made;

use dtvn_integration::history::{
    Ask, Call, Entry, Fault, Place, Read, Said, check, check_against_log, check_equal, check_linearizable, check_reads,
};
use dtvn_messages::{Reason, TicketId, TicketState};
use made::{Made, Random};
use proptest::prelude::*;

const CASES: u32 = 300;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_one_machine_said_is_accepted(seed: u64) {
        let made = Made::new(seed);
        prop_assert_eq!(check(&made.calls, &made.reads, &made.logs()), Ok(()));
    }

    #[test]
    fn a_second_acceptance_of_the_same_is_refused(seed: u64) {
        let mut made = Made::new(seed);
        // A refusal for the ticket's state becomes an acceptance: the gate opens twice.
        let refused = |call: &Call| matches!(call.said, Said::Refused { reason: Reason::AlreadyConsumed, .. });
        let Some(position) = made.any(refused) else { return Ok(()) };
        let ticket = made.calls[position].ticket.clone();
        let consumed = |entry: &&Entry| entry.about == Some((ticket.clone(), Ask::Consume))
            && matches!(entry.said, Said::Accepted { .. });
        let Some(first) = made.log.iter().find(consumed).cloned() else { return Ok(()) };
        // Only if a client heard of the first one: else this could be it.
        let was_heard = made.calls.iter().any(|call| call.key == first.key && call.said != Said::Unknown);
        made.calls[position].ask = Ask::Consume;
        made.calls[position].said = first.said;
        let refused = check_against_log(&made.calls, &made.log);
        prop_assert!(refused.is_err());
        if was_heard {
            let refused = check_linearizable(&made.calls);
            prop_assert!(matches!(&refused, Err(Fault::NotLinearizable { .. })), "{:?}", refused);
        }
    }

    #[test]
    fn an_answer_that_got_lost_is_refused(seed: u64) {
        let mut made = Made::new(seed);
        let Some(position) = made.any(|call| matches!(call.said, Said::Accepted { .. })) else { return Ok(()) };
        let key = made.calls[position].key.clone();
        let mut log: Vec<_> = made.log.iter().filter(|entry| entry.key != key).cloned().collect();
        for (index, entry) in log.iter_mut().enumerate() {
            entry.place.index = index as u64;
        }
        prop_assert!(check_against_log(&made.calls, &log).is_err());
    }

    #[test]
    fn two_that_are_swapped_in_the_log_against_real_time_are_refused(seed: u64) {
        let mut made = Made::new(seed);
        let Some((earlier, later)) = made.ordered_pair() else { return Ok(()) };
        // Different tickets, so that the verdicts stay right and only real time tells.
        let (first, second) = (made.entry_of(&earlier), made.entry_of(&later));
        made.swap(first, second);
        let refused = check_against_log(&made.calls, &made.log);
        prop_assert!(matches!(&refused, Err(Fault::OrderSwapped { .. })), "{:?}", refused);
    }

    #[test]
    fn a_read_of_what_was_before_is_refused(seed: u64) {
        let mut made = Made::new(seed);
        let Some(position) = made.read_after_news() else { return Ok(()) };
        let seen = made.reads[position].seen.unwrap();
        let before = made.state_at(&made.reads[position].ticket.clone(), seen.1 - 1);
        made.reads[position].seen = before;
        let refused = check_reads(&made.reads, &made.calls, &made.log);
        prop_assert!(matches!(&refused, Err(Fault::WrongRead { .. })), "{:?}", refused);
    }
}

#[test]
fn the_generator_makes_what_the_properties_need() {
    let mut counts = [0; 6];
    for seed in 0..u64::from(CASES) {
        let mut made = Made::new(seed);
        let kinds: [bool; 6] = [
            made.any(|call| matches!(call.said, Said::Refused { reason: Reason::AlreadyConsumed, .. })).is_some(),
            made.any(|call| matches!(call.said, Said::Accepted { .. })).is_some(),
            made.ordered_pair().is_some(),
            made.read_after_news().is_some(),
            made.any(|call| call.said == Said::Unknown).is_some(),
            made.unknown_in_log(),
        ];
        for (count, is_there) in counts.iter_mut().zip(kinds) {
            *count += u32::from(is_there);
        }
    }
    assert!(counts.iter().all(|count| *count > CASES / 4), "{counts:?} of {CASES}");
}

fn ticket(name: &str) -> TicketId {
    TicketId::new(name).unwrap()
}

fn call(number: usize, ask: Ask, from_us: u64, to_us: Option<u64>, said: Said) -> Call {
    Call {
        client: number,
        key: format!("key-{number}"),
        ticket: ticket("A"),
        ask,
        invoked_us: from_us,
        answered_us: to_us,
        said,
        place: None,
        by: None,
    }
}

const ISSUED: Said = Said::Accepted { state: TicketState::Issued, version: 1 };
const VALIDATED: Said = Said::Accepted { state: TicketState::Validated, version: 2 };
const CONSUMED: Said = Said::Accepted { state: TicketState::Consumed, version: 3 };

#[test]
fn an_answer_before_its_cause_is_not_linearizable() {
    let calls = [call(0, Ask::Validate, 0, Some(10), VALIDATED), call(1, Ask::Issue, 20, Some(30), ISSUED)];
    assert!(check_linearizable(&calls).is_err());
    let overlapping = [call(0, Ask::Validate, 0, Some(25), VALIDATED), call(1, Ask::Issue, 20, Some(30), ISSUED)];
    assert_eq!(check_linearizable(&overlapping), Ok(()));
}

#[test]
fn what_nobody_answered_may_have_happened_at_any_time_or_never() {
    let unknown = call(1, Ask::Validate, 20, None, Said::Unknown);
    let never = [call(0, Ask::Issue, 0, Some(10), ISSUED), unknown.clone()];
    assert_eq!(check_linearizable(&never), Ok(()));
    let late = [never.to_vec(), vec![call(2, Ask::Consume, 500, Some(510), CONSUMED)]].concat();
    assert_eq!(check_linearizable(&late), Ok(()), "its validation came between");
    let twice = [late, vec![call(3, Ask::Consume, 600, Some(610), CONSUMED)]].concat();
    assert!(check_linearizable(&twice).is_err());
    let too_early = [call(0, Ask::Issue, 0, Some(10), ISSUED), call(2, Ask::Consume, 11, Some(15), CONSUMED), unknown];
    assert!(check_linearizable(&too_early).is_err(), "it was not even asked for");
}

#[test]
fn many_open_calls_do_not_stall_the_search() {
    // The worst case: everything overlaps, half is unknown, and there is no order.
    let mut calls: Vec<_> = (0..40).map(|number| call(number, Ask::Validate, 0, None, Said::Unknown)).collect();
    calls.push(call(90, Ask::Issue, 0, Some(1_000), ISSUED));
    for number in 100..110 {
        calls.push(call(number, Ask::Consume, 0, Some(1_000), CONSUMED));
    }
    assert!(check_linearizable(&calls[..1]).is_ok());
    calls.truncate(60);
    let short: Vec<_> = calls[28..].to_vec();
    assert!(check_linearizable(&short).is_err(), "only one consumes");
}

#[test]
fn logs_of_nodes_are_compared_whole() {
    let made = Made::new(3);
    let mut shorter = made.log.clone();
    let last = shorter.pop().unwrap();
    let differ = check_equal(&[("a".to_owned(), made.log.clone()), ("b".to_owned(), shorter.clone())]);
    assert!(matches!(differ, Err(Fault::LogsDiffer { index, .. }) if index == last.place.index), "{differ:?}");
    shorter.push(Entry { place: Place { height: last.place.height + 1, ..last.place }, ..last });
    assert!(check_equal(&[("a".to_owned(), made.log), ("b".to_owned(), shorter)]).is_err());
}

#[test]
fn a_log_with_a_hole_a_repeated_key_or_a_wrong_verdict_is_refused() {
    let made = Made::new(5);
    let mut holed = made.log.clone();
    holed.remove(2);
    assert!(matches!(check_against_log(&made.calls, &holed), Err(Fault::LogBroken { .. })));
    let mut wrong = made.log.clone();
    let accepted = wrong.iter().position(|entry| matches!(entry.said, Said::Accepted { .. })).unwrap();
    wrong[accepted].said = Said::Refused { reason: Reason::AlreadyConsumed, state: Some(TicketState::Consumed) };
    assert!(matches!(check_against_log(&made.calls, &wrong), Err(Fault::WrongVerdict { .. })));
    let mut twice = made.log.clone();
    let place = Place { index: twice.len() as u64, height: u64::MAX };
    let expired = Said::Refused { reason: Reason::Expired, state: None };
    twice.push(Entry { place, said: expired, ..made.log[accepted].clone() });
    assert!(matches!(check_against_log(&made.calls, &twice), Err(Fault::KeyTwice { .. })));
    let mut invented = made.log.clone();
    invented.push(Entry { place, key: "nobody's".to_owned(), said: expired, ..made.log[accepted].clone() });
    assert!(matches!(check_against_log(&made.calls, &invented), Err(Fault::NeverAsked { .. })));
}

#[test]
fn a_read_from_the_future_or_of_nothing_that_ever_was_is_refused() {
    let calls = [call(0, Ask::Issue, 100, Some(110), ISSUED)];
    let log = [Entry {
        place: Place { height: 1, index: 0 },
        key: "key-0".to_owned(),
        about: Some((ticket("A"), Ask::Issue)),
        said: ISSUED,
    }];
    let read = |from, to, seen| Read { by: (0, 0), ticket: ticket("A"), invoked_us: from, answered_us: to, seen };
    let issued = Some((TicketState::Issued, 1));
    assert_eq!(check_reads(&[read(0, 50, None), read(90, 105, issued)], &calls, &log), Ok(()));
    for wrong in [read(0, 50, issued), read(200, 210, Some((TicketState::Issued, 2)))] {
        assert!(check_reads(std::slice::from_ref(&wrong), &calls, &log).is_err(), "{wrong:?}");
    }
    assert!(check_reads(&[read(120, 130, issued), read(140, 150, None)], &calls, &log).is_err(), "it went back");
}

#[test]
fn the_random_numbers_are_the_same_each_time() {
    let draw = |seed| (0..5).map(|_| Random::new(seed).below(1_000)).collect::<Vec<_>>();
    assert_eq!(draw(4), draw(4));
}
