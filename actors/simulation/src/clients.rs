//! The workload: clients that ask for operations on a few tickets, at one node or at several, and ask again elsewhere with
//! the same key until they hear an outcome.

use std::collections::BTreeMap;

use dtvn_ledger::OperationResult;
use dtvn_messages::{Action, EventId, IdempotencyKey, Operation, TicketId, Timestamp};
use dtvn_replication::intake::{Answer, RequestId};
use dtvn_replication::node::Input;

use crate::lies::Behaviour;
use crate::oracle::Violation;
use crate::random::Random;
use crate::scenario::{Scenario, Workload};
use crate::world::{Event, World};

/// An operation on its way.
#[derive(Debug, Clone)]
struct Asking {
    operation: Operation,
    times: u64,
    /// When it was asked for first.
    since_us: u64,
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
    workload: Workload,
    /// Clients that wait for an outcome, and operations that will still be asked for.
    open: u64,
    /// Operations of which a client heard that they were accepted.
    accepted: u64,
    /// How long each operation took from the first request to its outcome, in virtual microseconds.
    latencies_us: Vec<u64>,
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
            workload: scenario.workload,
            open: scenario.clients as u64 * scenario.operations,
            accepted: 0,
            latencies_us: Vec::new(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Nothing new is asked for from now on; lifecycles that have begun go on.
    pub(crate) fn finish(&mut self) {
        if self.workload == Workload::Anything {
            for client in &mut self.clients {
                self.open -= std::mem::take(&mut client.left);
            }
        }
    }

    /// Whether all have heard the outcomes of all that they asked for.
    pub(crate) const fn are_content(&self) -> bool {
        self.open == 0
    }

    /// How many operations were asked for, and how many there will be, as far as that is known.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let asked = self.operations.len() as u64;
        (asked, asked + self.clients.iter().map(|client| client.left).sum::<u64>())
    }

    /// Of how many operations a client heard that they were accepted.
    pub(crate) const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How long each operation took, in ascending order.
    pub(crate) fn latencies_us(&mut self) -> Vec<u64> {
        self.latencies_us.sort_unstable();
        std::mem::take(&mut self.latencies_us)
    }

    /// What is not decided, in words.
    pub(crate) fn undecided(&self) -> Vec<String> {
        let asking = self.clients.iter().filter_map(|client| self.operations.get(client.asking?));
        asking.map(|asking| format!("{} ({} times)", asking.operation.key, asking.times)).collect()
    }

    fn new_operation(&mut self, client: usize, random: &mut Random) -> Operation {
        if matches!(self.workload, Workload::Lifecycles { .. }) {
            return self.next_of_lifecycle(client);
        }
        // Now and then a key is used again for something else, or the very same is asked for again.
        let number = self.operations.len();
        let earlier = (number > 0).then(|| self.operations[random.below(number as u64) as usize].operation.clone());
        if let Some(earlier) = &earlier
            && random.permille(30)
        {
            return earlier.clone();
        }
        let ticket = ticket_name(random.below(self.tickets));
        let action = match random.below(10) {
            0..4 => issue(ticket),
            4..7 => Action::Validate { ticket, data: None },
            7..9 => Action::Consume { ticket, data: None },
            _ => Action::Dispute { ticket, reason: None },
        };
        let mut operation = self.operation(client, action);
        if let Some(earlier) = earlier
            && random.permille(30)
        {
            operation.key = earlier.key;
        }
        operation
    }

    /// Issue, validate, consume: the next step with the client's own ticket.
    fn next_of_lifecycle(&self, client: usize) -> Operation {
        let ticket = ticket_name(client as u64);
        let action = match self.clients[client].left {
            2.. => issue(ticket),
            1 => Action::Validate { ticket, data: None },
            0 => Action::Consume { ticket, data: None },
        };
        self.operation(client, action)
    }

    fn operation(&self, client: usize, action: Action) -> Operation {
        let text = format!("client {client:>4} operation {:>6}", self.operations.len());
        let key = IdempotencyKey::new(&text).unwrap_or_else(|error| unreachable!("{text} is a key: {error}"));
        let event = EventId::default_event();
        let valid_until = Timestamp(0);
        Operation { key, valid_until, event, gate: None, device: None, scanned_at: None, seen: None, action }
    }
}

fn ticket_name(number: u64) -> TicketId {
    let name = format!("ticket-{number}");
    TicketId::new(&name).unwrap_or_else(|error| unreachable!("{name} is a name: {error}"))
}

fn issue(ticket: TicketId) -> Action {
    Action::Issue { ticket, data: None, metadata: BTreeMap::new(), valid_from: None, valid_until: None }
}

impl World {
    /// Clients begin.
    pub(crate) fn start_clients(&mut self) {
        let clients = self.clients.len();
        for client in 0..clients {
            let soon_us = self.randoms.workload.between(60_000, 200_000);
            let after_us = match self.clients.workload {
                Workload::Anything => 0,
                Workload::Lifecycles { within_us } => within_us / clients as u64 * client as u64,
            };
            self.schedule(soon_us + after_us, Event::Client { client, turn: 0 });
        }
    }

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
                self.clients.operations.push(Asking { operation, times: 0, since_us: self.now_us });
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
        let latency_us = self.scenario.link.map_or(0, |link| link.latency_us);
        let patience_us = self.randoms.workload.between(500_000, 3_000_000) + 20 * latency_us;
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
        let is_ignored = self.hosts[host].filter.as_ref().is_some_and(|filter| filter.ignores_client(client));
        if is_ignored {
            self.coverage.told.0[Behaviour::ClientCensored as usize] += 1;
            return Ok(());
        }
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
        if self.operator_answered(request, answer)? {
            return Ok(());
        }
        if let Some(operation) = self.staged.operation(request) {
            if let Answer::Decided(result) = answer {
                self.chain.answered(operation, result)?;
            }
            self.staged.answered(request, answer.clone());
            return Ok(());
        }
        let Some((client, number)) = self.clients.requests.remove(&request.0) else { return Ok(()) };
        let is_waiting = self.clients.clients[client].asking == Some(number);
        match answer {
            Answer::Decided(result) => {
                let asking = &self.clients.operations[number];
                self.chain.answered(&asking.operation, result)?;
                let took_us = self.now_us - asking.since_us;
                let is_its_own = !matches!(result, OperationResult::KeyReused { .. });
                let is_accepted = is_its_own && result.outcome().verdict.is_accepted();
                match result {
                    OperationResult::Recorded(outcome) => {
                        self.coverage.decided += 1;
                        self.coverage.refused += u64::from(!outcome.verdict.is_accepted());
                    }
                    OperationResult::Repeated(_) => self.coverage.repeats += 1,
                    OperationResult::KeyReused { .. } => self.coverage.keys_reused += 1,
                }
                if is_waiting {
                    self.clients.open -= 1;
                    self.clients.accepted += u64::from(is_accepted);
                    self.clients.latencies_us.push(took_us);
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
