//! The workload: clients that ask for operations on a few tickets, at one node or at several, and ask again elsewhere with
//! the same key until they hear an outcome.

use std::collections::BTreeMap;

use dtvn_ledger::OperationResult;
use dtvn_messages::{Action, EventId, IdempotencyKey, Operation, TicketId, Timestamp};
use dtvn_replication::intake::{Answer, RequestId};
use dtvn_replication::node::Input;

use crate::oracle::Violation;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::world::{Event, World};

/// An operation on its way.
#[derive(Debug, Clone)]
struct Asking {
    operation: Operation,
    decided: bool,
    times: u64,
}

#[derive(Debug, Default)]
struct Client {
    /// The operation that it waits for.
    asking: Option<usize>,
    left: u64,
    /// The number of its next turn: earlier ones are over.
    turn: u64,
}

/// All clients.
pub(crate) struct Clients {
    clients: Vec<Client>,
    operations: Vec<Asking>,
    requests: BTreeMap<u64, (usize, usize)>,
    next_request: u64,
    tickets: u64,
}

impl Clients {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let client = || Client { left: scenario.operations, ..Client::default() };
        Self {
            clients: (0..scenario.clients).map(|_| client()).collect(),
            operations: Vec::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            tickets: scenario.tickets,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Nothing new is asked for from now on.
    pub(crate) fn finish(&mut self) {
        self.clients.iter_mut().for_each(|client| client.left = 0);
    }

    /// Whether all have heard the outcomes of all that they asked for.
    pub(crate) fn are_content(&self) -> bool {
        self.clients.iter().all(|client| client.asking.is_none())
    }

    /// What is not decided, in words.
    pub(crate) fn undecided(&self) -> Vec<String> {
        let asking = self.clients.iter().filter_map(|client| self.operations.get(client.asking?));
        asking.map(|asking| format!("{} ({} times)", asking.operation.key, asking.times)).collect()
    }

    fn new_operation(&mut self, client: usize, random: &mut Random) -> Operation {
        // Now and then a key is used again for something else, or the very same is asked for again.
        let number = self.operations.len();
        let earlier = (number > 0).then(|| self.operations[random.below(number as u64) as usize].operation.clone());
        if let Some(earlier) = &earlier
            && random.permille(30)
        {
            return earlier.clone();
        }
        let name = format!("ticket-{}", random.below(self.tickets));
        let ticket = TicketId::new(&name).unwrap_or_else(|error| unreachable!("{name} is a name: {error}"));
        let action = match random.below(10) {
            0..4 => {
                Action::Issue { ticket, data: None, metadata: BTreeMap::new(), valid_from: None, valid_until: None }
            }
            4..7 => Action::Validate { ticket, data: None },
            7..9 => Action::Consume { ticket, data: None },
            _ => Action::Dispute { ticket, reason: None },
        };
        let text = format!("client {client:>4} operation {number:>6}");
        let fresh = IdempotencyKey::new(&text).unwrap_or_else(|error| unreachable!("{text} is a key: {error}"));
        let key = match earlier {
            Some(earlier) if random.permille(30) => earlier.key,
            _ => fresh,
        };
        let event = EventId::default_event();
        let valid_until = Timestamp(0);
        Operation { key, valid_until, event, gate: None, device: None, scanned_at: None, seen: None, action }
    }
}

impl World {
    /// A client acts: it asks for something new, or for the same again.
    pub(crate) fn on_client(&mut self, client: usize, turn: u64) -> Result<(), Violation> {
        if self.clients.clients.get(client).is_none_or(|at| at.turn != turn) {
            return Ok(());
        }
        self.note(6, client as u64, turn);
        let at = &mut self.clients.clients[client];
        let number = match at.asking {
            Some(number) => {
                self.coverage.retries += 1;
                number
            }
            None if at.left == 0 => return Ok(()),
            None => {
                at.left -= 1;
                let operation = self.clients.new_operation(client, &mut self.randoms.workload);
                self.chain.asked(&operation);
                self.clients.operations.push(Asking { operation, decided: false, times: 0 });
                self.clients.operations.len() - 1
            }
        };
        let hosts = self.hosts.len() as u64;
        let first = self.randoms.workload.below(hosts);
        let at_once = match self.randoms.workload.below(20) {
            0 => hosts,
            1..4 => 2.min(hosts),
            _ => 1,
        };
        let patience_us = self.randoms.workload.between(500_000, 3_000_000);
        self.clients.clients[client].asking = Some(number);
        self.next_turn(client, patience_us);
        for host in (first..first + at_once).map(|host| (host % hosts) as usize) {
            self.submit(client, number, host, patience_us)?;
        }
        Ok(())
    }

    fn submit(&mut self, client: usize, number: usize, host: usize, patience_us: u64) -> Result<(), Violation> {
        let clients = &mut self.clients;
        let request = clients.next_request;
        clients.next_request += 1;
        clients.operations[number].times += 1;
        clients.requests.insert(request, (client, number));
        let operations = vec![clients.operations[number].operation.clone()];
        let wait_ms = patience_us / 1_000;
        // A host that stands still takes nothing in; a request to it is lost like the process that it waits for.
        if self.hosts[host].paused_until_us > self.now_us {
            return Ok(());
        }
        self.input(host, Input::Submit { request: RequestId(request), operations, wait_ms })
    }

    fn next_turn(&mut self, client: usize, after_us: u64) {
        let at = &mut self.clients.clients[client];
        at.turn += 1;
        let turn = at.turn;
        self.schedule(after_us, Event::Client { client, turn });
    }

    /// An honest node answers.
    pub(crate) fn answered(&mut self, request: RequestId, answer: &Answer) -> Result<(), Violation> {
        let Some((client, number)) = self.clients.requests.remove(&request.0) else { return Ok(()) };
        let is_waiting = self.clients.clients[client].asking == Some(number);
        match answer {
            Answer::Decided(result) => {
                let asking = &mut self.clients.operations[number];
                self.chain.answered(&asking.operation, result)?;
                asking.decided = true;
                match result {
                    OperationResult::Recorded(outcome) => {
                        self.coverage.decided += 1;
                        self.coverage.refused += u64::from(!outcome.verdict.is_accepted());
                    }
                    OperationResult::Repeated(_) => self.coverage.repeats += 1,
                    OperationResult::KeyReused { .. } => self.coverage.keys_reused += 1,
                }
                if is_waiting {
                    self.clients.clients[client].asking = None;
                    let pause_us = self.randoms.workload.around(20_000);
                    self.next_turn(client, pause_us);
                }
            }
            Answer::Refused { .. } | Answer::Unknown => {
                if is_waiting {
                    let pause_us = self.randoms.workload.around(50_000);
                    self.next_turn(client, pause_us);
                }
            }
        }
        Ok(())
    }
}
