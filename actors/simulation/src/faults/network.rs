//! Partitions of all shapes, and votes that are lost.

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Height, VoteKind};

use super::Act;
use crate::links::Shape;
use crate::random::Random;
use crate::world::{Event, World};

/// How long a link that flaps is up or down.
const FLAP_US: u64 = 120_000;

/// Votes of which many are lost, and with them the certificates that would replace them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostVotes {
    /// How many of 1,000 PREPAREs.
    pub prepares_permille: u64,
    /// How many of 1,000 COMMITs.
    pub commits_permille: u64,
    /// PREPAREs only at heights that leave this remainder by two; none is at all.
    pub parity: Option<u64>,
    /// The host that gets all PREPAREs.
    pub prepares_to: Option<usize>,
    /// The host that gets all COMMITs.
    pub commits_to: Option<usize>,
}

impl LostVotes {
    fn draw(hosts: usize, random: &mut Random) -> Self {
        Self {
            prepares_permille: random.pick(&[0, 200, 600, 1_000]),
            commits_permille: random.pick(&[0, 600, 950, 1_000]),
            parity: random.permille(300).then(|| random.below(2)),
            prepares_to: random.permille(400).then(|| random.below(hosts as u64) as usize),
            commits_to: random.permille(400).then(|| random.below(hosts as u64) as usize),
        }
    }

    /// Whether a message to a host is lost.
    pub(crate) fn take(&self, to: usize, message: &PeerMessage, random: &mut Random) -> bool {
        let prepares = |height: Height| match self.parity {
            Some(parity) if height.0 % 2 != parity => 0,
            _ => self.prepares_permille,
        };
        let (permille, spared) = match message {
            PeerMessage::Vote(vote) if vote.body.kind == VoteKind::Prepare => {
                (prepares(vote.body.height), self.prepares_to)
            }
            PeerMessage::Prepared(prepared) => (prepares(prepared.height()), self.prepares_to),
            PeerMessage::Vote(_) | PeerMessage::Committed(_) => (self.commits_permille, self.commits_to),
            _ => return false,
        };
        spared != Some(to) && random.permille(permille)
    }
}

impl World {
    pub(super) fn lose_votes(&mut self) {
        self.vote_loss += 1;
        let hosts = self.hosts.len();
        self.lossy_votes = Some(LostVotes::draw(hosts, &mut self.randoms.faults));
        let (time, after_us) = (self.vote_loss, self.randoms.faults.around(1_000_000));
        self.schedule(after_us, Event::Act(Act::Votes(time)));
    }

    pub(super) fn part(&mut self) {
        let shape = self.randoms.faults.pick(&Shape::ALL);
        self.cut(shape);
        let partition = self.partition;
        if self.randoms.faults.permille(150) {
            self.coverage.flapping += 1;
            let times = self.randoms.faults.between(4, 16);
            self.schedule(FLAP_US, Event::Act(Act::Flap(partition, times)));
        } else {
            let after_us = self.randoms.faults.around(1_000_000);
            self.schedule(after_us, Event::Act(Act::Heal(partition)));
        }
    }

    /// Parts the network in a way, until something else is done about it.
    pub(crate) fn cut(&mut self, shape: Shape) {
        self.partition += 1;
        self.coverage.partitions += 1;
        self.coverage.shapes.0[shape as usize] += 1;
        self.links.cut(shape, self.hosts.len(), self.now_us, &mut self.randoms.faults);
        self.look_at_all();
    }

    pub(super) fn flap(&mut self, partition: u64, times: u64) {
        self.note(10, partition, times);
        self.links.flap(self.now_us);
        if times == 0 {
            self.links.heal();
        } else {
            self.schedule(FLAP_US, Event::Act(Act::Flap(partition, times - 1)));
        }
        self.look_at_all();
    }

    pub(crate) fn heal_links(&mut self) {
        self.links.heal();
        self.look_at_all();
    }

    /// All hosts notice soon which of their links are up.
    pub(crate) fn look_at_all(&mut self) {
        for host in 0..self.hosts.len() {
            for peer in 0..self.hosts.len() {
                let is_linked = self.hosts[host].linked.contains(&peer);
                let is_joined = self.hosts[peer].is_up() && self.links.joins(host, peer);
                if host != peer && self.hosts[host].is_up() && is_linked != is_joined {
                    self.look(host, peer, is_joined);
                }
            }
        }
    }
}
