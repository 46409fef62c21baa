//! Requests that wait for answers, and until when.

use std::collections::{BTreeMap, BTreeSet};

use super::flights::FlightId;
use super::messages::RequestId;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Request {
    deadline_us: u64,
    /// For each of its operations the one it waits for, until it is answered.
    places: Vec<Option<FlightId>>,
    open: usize,
}

impl Request {
    /// The places that are not answered.
    pub(super) fn open_places(&self) -> impl Iterator<Item = (usize, FlightId)> {
        self.places.iter().enumerate().filter_map(|(index, flight)| flight.map(|flight| (index, flight)))
    }
}

/// The requests that wait.
#[derive(Debug, Default)]
pub(super) struct Requests {
    requests: BTreeMap<RequestId, Request>,
    deadlines: BTreeSet<(u64, RequestId)>,
    places: usize,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// How many answers are waited for.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    pub(super) fn contains(&self, request: RequestId) -> bool {
        self.requests.contains_key(&request)
    }

    /// A request waits for the places that name an operation.
    pub(super) fn insert(&mut self, request: RequestId, places: Vec<Option<FlightId>>, deadline_us: u64) {
        let open = places.iter().flatten().count();
        if open > 0 {
            self.places += open;
            self.deadlines.insert((deadline_us, request));
            self.requests.insert(request, Request { deadline_us, places, open });
        }
    }

    /// A place is answered. Whether it waited.
    pub(super) fn answered(&mut self, request: RequestId, index: usize) -> bool {
        let Some(entry) = self.requests.get_mut(&request) else { return false };
        if entry.places.get_mut(index).and_then(Option::take).is_none() {
            return false;
        }
        entry.open -= 1;
        self.places -= 1;
        if entry.open == 0 {
            self.deadlines.remove(&(entry.deadline_us, request));
            self.requests.remove(&request);
        }
        true
    }

    /// A request no longer waits.
    pub(super) fn remove(&mut self, request: RequestId) -> Option<Request> {
        let entry = self.requests.remove(&request)?;
        self.deadlines.remove(&(entry.deadline_us, request));
        self.places -= entry.open;
        Some(entry)
    }

    /// Any request that waits.
    pub(super) fn first(&self) -> Option<RequestId> {
        self.requests.keys().next().copied()
    }

    /// A request whose time is over. It still waits.
    pub(super) fn first_due(&self, now_us: u64) -> Option<RequestId> {
        self.deadlines.first().filter(|(deadline_us, _)| *deadline_us <= now_us).map(|(_, request)| *request)
    }

    /// When the first request's time is over.
    pub(super) fn deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_us, _)| *deadline_us)
    }
}
