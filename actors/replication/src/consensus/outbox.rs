//! The outbox: nothing leaves before what it promises is on disk (consensus.md section 4).
//!
//! Records carry tickets, what is to leave waits for one, and the durability watermark releases it, in order. A replica's
//! own votes come back to it by the same way.

use std::collections::BTreeMap;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::wire::PeerMessage;
use dtvn_pbft::{Input, Own, Ticket};

/// Something that waits for the disk.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// To all validators.
    Broadcast(PeerMessage),
    /// Back to this replica.
    Return(Box<Input>),
}

/// What waits, by the ticket that it waits for.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    issued: Ticket,
    durable: Ticket,
    flushing: Ticket,
    /// Whether the next flush is to cover all that was issued.
    all: bool,
    waiting: BTreeMap<Ticket, Vec<Waiting>>,
}

impl Outbox {
    /// A record got this ticket and went to the disk.
    pub(crate) fn issue(&mut self, ticket: Ticket) {
        assert_eq!(ticket, self.issued + 1, "tickets ascend by one");
        self.issued = ticket;
    }

    /// Keeps something back until a ticket is durable. Returns it if that is so already.
    pub(crate) fn hold(&mut self, after: Ticket, what: Waiting) -> Option<Waiting> {
        assert!(after <= self.issued, "nothing waits for a record that was never handed to the disk");
        if after <= self.durable || planted(Canary::SendBeforeSync) {
            return Some(what);
        }
        if planted(Canary::OwnVotesAtOnce)
            && matches!(&what, Waiting::Return(input) if matches!(**input, Input::Own(Own::Vote(_))))
        {
            return Some(what);
        }
        self.waiting.entry(after).or_default().push(what);
        None
    }

    /// Everything up to this ticket is durable: what it kept back, in order.
    pub(crate) fn release(&mut self, durable: Ticket) -> Vec<Waiting> {
        assert!(durable <= self.issued, "the disk knows no ticket that was not issued");
        self.durable = self.durable.max(durable);
        let mut released = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.durable {
                break;
            }
            released.extend(entry.remove());
        }
        released
    }

    /// Somebody wants all that was issued on the disk.
    pub(crate) fn want_flush(&mut self) {
        self.all = true;
    }

    /// The ticket up to which the disk must be flushed now, if something waits for it and it was not asked for yet.
    pub(crate) fn take_flush(&mut self) -> Option<Ticket> {
        let all = std::mem::take(&mut self.all).then_some(self.issued);
        let last = self.waiting.last_key_value().map(|(ticket, _)| *ticket).max(all)?;
        (last > self.flushing).then(|| {
            self.flushing = last;
            last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtvn_messages::{Epoch, View};

    fn wish(view: u64) -> Waiting {
        Waiting::Broadcast(PeerMessage::Wish { epoch: Epoch(0), view: View(view) })
    }

    fn views(released: &[Waiting]) -> Vec<u64> {
        released
            .iter()
            .map(|waiting| match waiting {
                Waiting::Broadcast(PeerMessage::Wish { view, .. }) => view.0,
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_waits_leaves_when_its_ticket_is_durable_and_in_order() {
        let mut outbox = Outbox::default();
        outbox.issue(1);
        outbox.issue(2);
        assert!(outbox.hold(2, wish(20)).is_none());
        assert!(outbox.hold(1, wish(10)).is_none());
        assert_eq!(outbox.take_flush(), Some(2));
        assert_eq!(outbox.take_flush(), None, "a flush is asked for once");
        assert_eq!(views(&outbox.release(1)), [10]);
        assert_eq!(views(&outbox.release(2)), [20]);
        assert!(outbox.hold(2, wish(21)).is_some(), "a durable ticket keeps nothing back");
    }

    #[test]
    fn all_that_was_issued_is_flushed_when_somebody_wants_it() {
        let mut outbox = Outbox::default();
        outbox.issue(1);
        assert_eq!(outbox.take_flush(), None, "nothing waits for it");
        outbox.want_flush();
        assert_eq!(outbox.take_flush(), Some(1));
        assert_eq!(outbox.take_flush(), None);
    }

    #[test]
    #[should_panic(expected = "never handed to the disk")]
    fn nothing_waits_for_a_ticket_that_does_not_exist() {
        Outbox::default().hold(1, wish(1));
    }
}
