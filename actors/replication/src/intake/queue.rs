//! Operations that wait for a bundle: a lane for each request, served in turn.

use std::collections::VecDeque;

use dtvn_messages::limits;

use super::flights::{FlightId, Flights, Place};

/// The lanes. An operation that is no longer queued stays in its lane and is passed over.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: VecDeque<VecDeque<FlightId>>,
    listed: usize,
    operations: usize,
    bytes: usize,
}

impl Queue {
    /// How many operations wait.
    pub(super) fn operations(&self) -> usize {
        self.operations
    }

    /// The sum of their lengths.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts an operation that goes into a lane now.
    pub(super) fn count(&mut self, bytes: usize) {
        self.operations += 1;
        self.bytes += bytes;
    }

    /// An operation no longer waits.
    pub(super) fn discount(&mut self, bytes: usize) {
        self.operations -= 1;
        self.bytes -= bytes;
    }

    /// Adds a lane behind the others, or, if these have waited before, in front of them.
    pub(super) fn add_lane(&mut self, lane: VecDeque<FlightId>, in_front: bool) {
        if lane.is_empty() {
            return;
        }
        self.listed += lane.len();
        if in_front {
            self.lanes.push_front(lane);
        } else {
            self.lanes.push_back(lane);
        }
    }

    /// The next operation in turn, if its length is at most `bytes_max`; one that is longer stays next.
    pub(super) fn pop(&mut self, flights: &Flights, bytes_max: usize) -> Option<FlightId> {
        while let Some(lane) = self.lanes.front_mut() {
            let Some(id) = lane.front().copied() else {
                self.lanes.pop_front();
                continue;
            };
            let queued = flights.get(id).filter(|flight| matches!(flight.place, Place::Queued(_)));
            if queued.is_some_and(|flight| flight.bytes > bytes_max) {
                return None;
            }
            lane.pop_front();
            self.listed -= 1;
            if let Some(flight) = queued {
                self.discount(flight.bytes);
                self.lanes.rotate_left(1);
                return Some(id);
            }
        }
        None
    }

    /// All operations that wait, in the order of the lanes.
    pub(super) fn waiting(&self, flights: &Flights) -> Vec<FlightId> {
        let listed = self.lanes.iter().flatten().copied();
        listed.filter(|id| is_queued(flights, *id)).collect()
    }

    /// Drops dead entries once they are too many.
    pub(super) fn sweep(&mut self, flights: &Flights) {
        if self.listed > limits::INTAKE_DEAD_ENTRIES_MAX + 2 * self.operations {
            for lane in &mut self.lanes {
                lane.retain(|id| is_queued(flights, *id));
            }
            self.lanes.retain(|lane| !lane.is_empty());
            self.listed = self.lanes.iter().map(VecDeque::len).sum();
        }
    }

    #[cfg(test)]
    pub(super) fn listed(&self) -> usize {
        self.listed
    }
}

fn is_queued(flights: &Flights, id: FlightId) -> bool {
    flights.get(id).is_some_and(|flight| matches!(flight.place, Place::Queued(_)))
}
