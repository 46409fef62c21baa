//! Histories that one machine did say: each call takes effect at one moment between its begin and its end.

use dtvn_integration::history::{Ask, Call, Entry, Place, Read, Said, Ticket};
use dtvn_messages::{TicketId, TicketState};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

pub struct Made {
    pub calls: Vec<Call>,
    pub reads: Vec<Read>,
    pub log: Vec<Entry>,
    effects_us: Vec<u64>,
    random: Random,
}

const CALLS: usize = 40;
const TICKETS: u64 = 3;

impl Made {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut planned = Vec::new();
        for number in 0..CALLS {
            let invoked_us = random.below(2_000);
            let length = 1 + random.below(150);
            let effect_us = invoked_us + random.below(length);
            // One in six is never answered; half of these never happen.
            let fate = random.below(12);
            let ask = [Ask::Issue, Ask::Validate, Ask::Validate, Ask::Consume, Ask::Consume, Ask::Dispute]
                [random.below(6) as usize];
            let call = Call {
                client: number % 4,
                key: format!("key-{number}"),
                ticket: TicketId::new(&format!("T{}", random.below(TICKETS))).unwrap(),
                ask,
                invoked_us,
                answered_us: (fate > 1).then_some(invoked_us + length),
                said: Said::Unknown,
                place: None,
                by: (fate > 1).then_some((random.below(4) as usize, 0)),
            };
            planned.push((effect_us, fate, call));
        }
        planned.sort_by_key(|(effect_us, ..)| *effect_us);
        let (calls, reads, log, effects_us) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut made = Self { calls, reads, log, effects_us, random };
        for (effect_us, fate, call) in planned {
            made.take(effect_us, fate, call);
        }
        made.read();
        made
    }

    /// A call takes effect, or never does.
    fn take(&mut self, effect_us: u64, fate: u64, mut call: Call) {
        if fate > 0 {
            let (_, said) = self.at(&call.ticket, u64::MAX).step(call.ask);
            let place = Place { height: 1 + self.log.len() as u64 / 3, index: self.log.len() as u64 };
            let about = Some((call.ticket.clone(), call.ask));
            self.log.push(Entry { place, key: call.key.clone(), about, said });
            self.effects_us.push(effect_us);
            if call.answered_us.is_some() {
                (call.said, call.place) = (said, Some(place));
            }
        }
        self.calls.push(call);
    }

    /// Some tickets are looked at, right after an answer at the node that gave it.
    fn read(&mut self) {
        for call in &self.calls {
            if let (Some(answered_us), Some(by)) = (call.answered_us, call.by)
                && self.random.below(3) == 0
            {
                let (invoked_us, answered_us) = (answered_us + 1, answered_us + 2);
                let seen = self.at(&call.ticket, answered_us).0;
                let seen = seen.map(|(state, version)| (state.as_message(), version));
                self.reads.push(Read { by, ticket: call.ticket.clone(), invoked_us, answered_us, seen });
            }
        }
    }

    /// A ticket after all that had taken effect by a moment.
    fn at(&self, ticket: &TicketId, moment_us: u64) -> Ticket {
        let until_then = self.log.iter().zip(&self.effects_us).filter(|(_, effect_us)| **effect_us <= moment_us);
        let asked = until_then.filter_map(|(entry, _)| entry.about.as_ref().filter(|(about, _)| about == ticket));
        asked.fold(Ticket::default(), |ticket, (_, ask)| ticket.step(*ask).0)
    }

    pub fn logs(&self) -> Vec<(String, Vec<Entry>)> {
        (0..4).map(|node| (format!("node{node}"), self.log.clone())).collect()
    }

    pub fn any(&mut self, like: impl Fn(&Call) -> bool) -> Option<usize> {
        let positions: Vec<_> = (0..self.calls.len()).filter(|position| like(&self.calls[*position])).collect();
        if positions.is_empty() { None } else { Some(positions[self.random.below(positions.len() as u64) as usize]) }
    }

    pub fn unknown_in_log(&self) -> bool {
        let unknown = self.calls.iter().filter(|call| call.said == Said::Unknown);
        unknown.into_iter().any(|call| self.log.iter().any(|entry| entry.key == call.key))
    }

    pub fn entry_of(&self, key: &str) -> usize {
        self.log.iter().position(|entry| entry.key == key).unwrap()
    }

    /// Exchanges what stands at two places; the answers follow.
    pub fn swap(&mut self, first: usize, second: usize) {
        let places = (self.log[first].place, self.log[second].place);
        self.log.swap(first, second);
        (self.log[first].place, self.log[second].place) = places;
        for position in [first, second] {
            let entry = self.log[position].clone();
            for call in self.calls.iter_mut().filter(|call| call.key == entry.key) {
                call.place = Some(entry.place);
            }
        }
    }

    /// Two answered calls about different tickets, the second begun after the first ended, such that no entry between
    /// them in the log is about either ticket.
    pub fn ordered_pair(&self) -> Option<(String, String)> {
        let answered: Vec<_> = self.calls.iter().filter(|call| call.place.is_some()).collect();
        for first in &answered {
            for second in &answered {
                let (from, to) = (first.place?.index as usize, second.place?.index as usize);
                let is_after = first.answered_us? < second.invoked_us && first.ticket != second.ticket && from < to;
                let between = self.log.get(from + 1..to).unwrap_or_default();
                let is_free = |entry: &Entry| {
                    entry.about.as_ref().is_none_or(|(about, _)| *about != first.ticket && *about != second.ticket)
                };
                if is_after && between.iter().all(is_free) {
                    return Some((first.key.clone(), second.key.clone()));
                }
            }
        }
        None
    }

    /// A read that shows what an accepted call had just told at the same node.
    pub fn read_after_news(&self) -> Option<usize> {
        let is_news = |read: &Read| {
            self.calls.iter().any(|call| {
                let shown = read.seen.map(|(_, version)| version);
                let told = matches!(call.said, Said::Accepted { version, .. } if Some(version) == shown);
                (&call.ticket, call.by, told) == (&read.ticket, Some(read.by), true)
                    && call.answered_us.is_some_and(|answered_us| answered_us < read.invoked_us)
            })
        };
        self.reads.iter().position(is_news)
    }

    pub fn state_at(&self, ticket: &TicketId, version: u64) -> Option<(TicketState, u64)> {
        self.log.iter().find_map(|entry| match (&entry.about, entry.said) {
            (Some((about, _)), Said::Accepted { state, version: of }) if about == ticket && of == version => {
                Some((state, version))
            }
            _ => None,
        })
    }
}
