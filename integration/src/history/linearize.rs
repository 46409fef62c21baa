//! Is there an order of the calls to a ticket, consistent with real time, in which the state machine gives these answers?
//!
//! Wing and Gong, "Testing and verifying concurrent objects" (1993), with the memory of Lowe, "Testing for
//! linearizability" (2017): a set of calls done and a state reached are looked at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use dtvn_messages::TicketId;

use super::{Call, Fault, Said, Ticket};

/// Checks each ticket's calls; tickets begin as none.
///
/// # Errors
/// [`Fault::NotLinearizable`].
pub fn check_linearizable(calls: &[Call]) -> Result<(), Fault> {
    let mut by_ticket: BTreeMap<&TicketId, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_ticket.entry(&call.ticket).or_default().push(call);
    }
    for (ticket, mut calls) in by_ticket {
        calls.sort_by_key(|call| call.invoked_us);
        let mut search = Search { calls: &calls, seen: BTreeSet::new(), deepest: Done::new(calls.len()) };
        if !search.run(Done::new(calls.len()), Ticket::default()) {
            return Err(Fault::NotLinearizable { ticket: ticket.clone(), stuck: search.stuck() });
        }
    }
    Ok(())
}

/// Which calls are in the order so far.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Done {
    words: Vec<u64>,
    count: usize,
}

impl Done {
    fn new(calls: usize) -> Self {
        Self { words: vec![0; calls.div_ceil(64)], count: 0 }
    }

    fn has(&self, call: usize) -> bool {
        self.words[call / 64] & (1 << (call % 64)) != 0
    }

    fn with(&self, call: usize) -> Self {
        let mut more = self.clone();
        more.words[call / 64] |= 1 << (call % 64);
        more.count += 1;
        more
    }
}

struct Search<'a> {
    /// Ascending by invocation.
    calls: &'a [&'a Call],
    seen: BTreeSet<(Done, Ticket)>,
    /// The most that could be put into an order.
    deepest: Done,
}

impl Search<'_> {
    /// Tries all orders from here, without recursion: a ticket may have many calls.
    fn run(&mut self, done: Done, ticket: Ticket) -> bool {
        let mut open = vec![(done, ticket)];
        while let Some((done, ticket)) = open.pop() {
            // No call may be later in the order than one that was invoked after its end.
            let left = || (0..self.calls.len()).filter(|call| !done.has(*call));
            let first_end = left().filter_map(|call| self.calls[call].answered_us).min();
            let Some(first_end) = first_end else {
                // What is left was never answered, and need not have happened.
                return true;
            };
            if done.count > self.deepest.count {
                self.deepest = done.clone();
            }
            for call in left().take_while(|call| self.calls[*call].invoked_us <= first_end) {
                let asked = self.calls[call];
                if let Some(after) = ticket.explain(asked.ask, asked.said) {
                    let next = (done.with(call), after);
                    if self.seen.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
        }
        false
    }

    /// The calls that could not be explained, where the longest try ended.
    fn stuck(&self) -> String {
        let mut text = String::new();
        let left = (0..self.calls.len()).filter(|call| !self.deepest.has(*call));
        for call in left.map(|call| self.calls[call]).filter(|call| call.said != Said::Unknown).take(5) {
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "  client {} {} {} from {} to {:?}: {:?} at {:?}",
                call.client,
                call.ask.name(),
                call.key,
                call.invoked_us,
                call.answered_us,
                call.said,
                call.place
            );
        }
        text
    }
}
