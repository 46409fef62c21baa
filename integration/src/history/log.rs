//! A history against the log of outcomes, which says in which order everything was decided.

use std::collections::BTreeMap;

use dtvn_messages::TicketId;

use super::{Ask, Call, Fault, Place, Read, Said, Ticket};

/// One outcome of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub place: Place,
    /// The idempotency key.
    pub key: String,
    /// The ticket and what was asked of it; none for what is about no single ticket (a seeding).
    pub about: Option<(TicketId, Ask)>,
    /// What was decided.
    pub said: Said,
}

/// Whether all nodes have the same log.
///
/// # Errors
/// [`Fault::LogsDiffer`].
pub fn check_equal(logs: &[(String, Vec<Entry>)]) -> Result<(), Fault> {
    for pair in logs.windows(2) {
        let ((first, one), (second, other)) = (&pair[0], &pair[1]);
        let differs = |index: usize| Fault::LogsDiffer {
            first: first.clone(),
            second: second.clone(),
            index: one.get(index).map_or(index as u64, |entry| entry.place.index),
        };
        if let Some(index) = one.iter().zip(other).position(|(one, other)| one != other) {
            return Err(differs(index));
        }
        if one.len() != other.len() {
            return Err(differs(one.len().min(other.len())));
        }
    }
    Ok(())
}

/// Whether the log follows the rules, holds each key once, and agrees with all that clients were told, in an order that
/// real time allows. Entries about no ticket are passed over.
///
/// # Errors
/// With the first fault.
pub fn check_against_log(calls: &[Call], log: &[Entry]) -> Result<(), Fault> {
    check_shape(log)?;
    replay(log)?;
    let decided = decisions(log)?;
    let by_key: BTreeMap<&str, &Call> = calls.iter().map(|call| (call.key.as_str(), call)).collect();
    for entry in log {
        let Some((ticket, ask)) = &entry.about else { continue };
        let asked = by_key.get(entry.key.as_str());
        if !asked.is_some_and(|call| call.ticket == *ticket && call.ask == *ask) {
            return Err(Fault::NeverAsked { index: entry.place.index, key: entry.key.clone() });
        }
    }
    for call in calls.iter().filter(|call| call.said != Said::Unknown) {
        check_answer(call, decided.get(call.key.as_str()).copied(), log)?;
    }
    check_order(&by_key, &decided)
}

/// Indexes count up from 0 and heights never fall.
fn check_shape(log: &[Entry]) -> Result<(), Fault> {
    let mut height = 0;
    for (expected, entry) in log.iter().enumerate() {
        if entry.place.index != expected as u64 || entry.place.height < height {
            return Err(Fault::LogBroken { index: entry.place.index });
        }
        height = entry.place.height;
    }
    Ok(())
}

/// Each verdict is what the rules give after all before it.
fn replay(log: &[Entry]) -> Result<(), Fault> {
    let mut tickets: BTreeMap<&TicketId, Ticket> = BTreeMap::new();
    for entry in log {
        let Some((ticket, ask)) = &entry.about else { continue };
        let now = tickets.entry(ticket).or_default();
        match now.explain(*ask, entry.said) {
            Some(after) if entry.said != Said::Unknown => *now = after,
            _ => {
                let (index, said, expected) = (entry.place.index, entry.said, now.step(*ask).1);
                return Err(Fault::WrongVerdict { index, said, expected });
            }
        }
    }
    Ok(())
}

/// The decision of each key; only refusals that are not remembered may come before it.
fn decisions(log: &[Entry]) -> Result<BTreeMap<&str, &Entry>, Fault> {
    let mut decided: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in log {
        let before = decided.insert(&entry.key, entry);
        let is_final = |entry: &&Entry| !matches!(entry.said, Said::Refused { reason, .. } if !reason.is_remembered());
        if let Some(first) = before.filter(is_final) {
            let (key, first, second) = (entry.key.clone(), first.place.index, entry.place.index);
            return Err(Fault::KeyTwice { key, first, second });
        }
    }
    Ok(decided)
}

fn check_answer(call: &Call, decided: Option<&Entry>, log: &[Entry]) -> Result<(), Fault> {
    let lost = || Fault::LostAcknowledged { key: call.key.clone(), said: call.said, place: call.place };
    // A refusal that is not remembered may be followed by another decision: look where the answer points.
    let pointed = call.place.and_then(|place| log.iter().find(|entry| entry.place.index == place.index));
    let entry = pointed.filter(|entry| entry.key == call.key).or(decided).ok_or_else(lost)?;
    let same = match (call.said, entry.said) {
        (Said::Refused { reason, state: None }, Said::Refused { reason: logged, .. }) => reason == logged,
        (said, logged) => said == logged,
    };
    if same && call.place.is_none_or(|place| place == entry.place) {
        return Ok(());
    }
    let (logged, at) = (entry.said, entry.place);
    Err(Fault::AnswerDiffers { key: call.key.clone(), said: call.said, place: call.place, logged, at })
}

/// No call stands in the log before one that had ended when it began.
fn check_order(calls: &BTreeMap<&str, &Call>, decided: &BTreeMap<&str, &Entry>) -> Result<(), Fault> {
    let mut in_order: Vec<_> =
        decided.iter().filter_map(|(key, entry)| Some((entry.place.index, *calls.get(key)?))).collect();
    in_order.sort_by_key(|(index, _)| *index);
    let mut latest: Option<&Call> = None;
    for (_, call) in in_order {
        if let Some(before) = latest
            && call.answered_us.is_some_and(|answered_us| answered_us < before.invoked_us)
        {
            return Err(Fault::OrderSwapped { earlier: call.key.clone(), later: before.key.clone() });
        }
        if latest.is_none_or(|before| call.invoked_us > before.invoked_us) {
            latest = Some(call);
        }
    }
    Ok(())
}

/// Each read shows a ticket as it once was: not as it became only after the read, and not as it no longer was by an
/// answer or a read that the same node gave, in the same life, before the read began.
///
/// # Errors
/// [`Fault::WrongRead`].
pub fn check_reads(reads: &[Read], calls: &[Call], log: &[Entry]) -> Result<(), Fault> {
    let by_key: BTreeMap<&str, &Call> = calls.iter().map(|call| (call.key.as_str(), call)).collect();
    let mut versions: BTreeMap<(&TicketId, u64), &Entry> = BTreeMap::new();
    for entry in log {
        if let (Some((ticket, _)), Said::Accepted { version, .. }) = (&entry.about, entry.said) {
            versions.insert((ticket, version), entry);
        }
    }
    for read in reads {
        let wrong =
            |why: String| Err(Fault::WrongRead { node: read.by.0, ticket: read.ticket.clone(), seen: read.seen, why });
        let version = read.seen.map_or(0, |(_, version)| version);
        if let Some((state, version)) = read.seen {
            let Some(entry) = versions.get(&(&read.ticket, version)) else {
                return wrong("it never had this version".to_owned());
            };
            if !matches!(entry.said, Said::Accepted { state: logged, .. } if logged == state) {
                return wrong(format!("in this version it was {:?}", entry.said));
            }
            if by_key.get(entry.key.as_str()).is_some_and(|call| call.invoked_us > read.answered_us) {
                return wrong(format!("{}, which made this version, was asked for only later", entry.key));
            }
        }
        let told = calls
            .iter()
            .filter(|call| call.ticket == read.ticket && call.by == Some(read.by))
            .filter(|call| call.answered_us.is_some_and(|answered_us| answered_us < read.invoked_us))
            .filter_map(|call| match call.said {
                Said::Accepted { version, .. } => Some(version),
                _ => None,
            });
        let shown = reads
            .iter()
            .filter(|other| other.ticket == read.ticket && other.by == read.by && other.answered_us < read.invoked_us)
            .map(|other| other.seen.map_or(0, |(_, version)| version));
        if let Some(newest) = told.chain(shown).max().filter(|newest| *newest > version) {
            return wrong(format!("the same node had told of version {newest} before"));
        }
    }
    Ok(())
}
