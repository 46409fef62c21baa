//! Clients at all nodes that work without a pause, retry with the same key at other nodes, and write down what they did
//! and heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dtvn::cluster::node_name;
use dtvn_client::ClientError;
use dtvn_client::api::{Accepted, IssueRequest, Kind, TicketRequest};
use dtvn_integration::history::{Ask, Call, Entry, Place, Read, Said, check};
use dtvn_messages::{IdempotencyKey, TicketId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;

use crate::field::{Field, PATIENCE, Shared};

/// One try waits this long for an answer.
const TRY: Duration = Duration::from_secs(2);
/// Between two operations of a client.
const PAUSE: Duration = Duration::from_millis(40);
/// So many operations are about a ticket, more or less, before a new one is taken.
const CALLS_PER_TICKET: usize = 14;

/// The seeded choices of one client or of the nemesis.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }
}

/// What the clients wrote down.
#[derive(Default)]
pub struct History {
    pub calls: Vec<Call>,
    pub reads: Vec<Read>,
}

/// Clients at work.
pub struct Clients {
    work: JoinSet<History>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    shared: Shared,
}

impl Clients {
    /// So many clients begin, two and more at each node.
    pub fn start(shared: &Shared, seed: u64, clients: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut work = JoinSet::new();
        for number in 0..clients {
            let random = Random::new(seed, 1 + number as u64);
            let (shared, stop, done) = (shared.clone(), Arc::clone(&stop), Arc::clone(&done));
            let client = Worker { number, shared, random, seed, done, history: History::default() };
            work.spawn(client.run(stop));
        }
        Self { work, stop, done, shared: shared.clone() }
    }

    /// How many operations have got an outcome.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until so many more have got one.
    pub async fn progress(&self, more: usize) {
        let (from, begin) = (self.done(), Instant::now());
        while self.done() < from + more {
            if begin.elapsed() >= PATIENCE {
                let standing = standing(&self.shared).await;
                panic!("only {} of {more} more operations got an outcome; {standing}", self.done() - from);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// No new operations; those that were not given up get an outcome.
    pub async fn finish(mut self) -> History {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = History::default();
        while let Some(history) = self.work.join_next().await {
            let history = history.unwrap();
            all.calls.extend(history.calls);
            all.reads.extend(history.reads);
        }
        all
    }
}

/// Where each node stands, for a message.
async fn standing(shared: &Shared) -> String {
    let mut text = String::new();
    for node in 0..shared.client.nodes().len() {
        let client = shared.client.only(node).with_deadline(TRY);
        let (stats, health) = (client.stats().await, client.health().await);
        let stats = stats.map(|stats| format!("{stats:?}")).unwrap_or_else(|error| error.to_string());
        let health = health.map(|health| format!("{:?}", health.reasons)).unwrap_or_else(|error| error.to_string());
        text.push_str(&format!("\nnode{node}: {stats} {health}"));
    }
    text
}

struct Worker {
    number: usize,
    shared: Shared,
    random: Random,
    seed: u64,
    done: Arc<AtomicUsize>,
    history: History,
}

/// What a try brought.
enum Heard {
    Decided(Said, Option<Place>),
    Nothing,
}

impl Worker {
    async fn run(mut self, stop: Arc<AtomicBool>) -> History {
        for count in 0_usize.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            self.call(count).await;
            if self.random.below(2) == 0 {
                self.read().await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.history
    }

    fn ticket(&mut self) -> TicketId {
        // Four tickets are in use at a time, by all clients.
        let generation = self.done.load(Ordering::SeqCst) / (4 * CALLS_PER_TICKET);
        TicketId::new(&format!("N{}-{generation}-{}", self.seed, self.random.below(4))).unwrap()
    }

    fn nodes(&self) -> usize {
        self.shared.client.nodes().len()
    }

    /// One operation, tried at one node after the other until somebody says what became of it, or it is given up.
    async fn call(&mut self, count: usize) {
        let ask = [Ask::Issue, Ask::Validate, Ask::Validate, Ask::Consume, Ask::Consume, Ask::Consume, Ask::Dispute]
            [self.random.below(7)];
        let (ticket, gives_up) = (self.ticket(), self.random.below(10) == 0);
        let key = format!("nemesis-{}-{}-{count:06}", self.seed, self.number);
        let mut call = Call {
            client: self.number,
            key: key.clone(),
            ticket,
            ask,
            invoked_us: self.shared.now_us(),
            answered_us: None,
            said: Said::Unknown,
            place: None,
            by: None,
        };
        let (begin, mut node) = (Instant::now(), (self.number + count) % self.nodes());
        loop {
            let life = self.shared.life(node);
            if let Heard::Decided(said, place) = self.attempt(node, &call).await {
                (call.said, call.place, call.answered_us) = (said, place, Some(self.shared.now_us()));
                // Who was killed meanwhile may have answered in either life.
                call.by = (self.shared.life(node) == life).then_some(life);
                self.done.fetch_add(1, Ordering::SeqCst);
                break;
            }
            if gives_up {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{key} got no outcome");
            node = (node + 1 + self.random.below(self.nodes() - 1)) % self.nodes();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.history.calls.push(call);
    }

    async fn attempt(&mut self, node: usize, call: &Call) -> Heard {
        let client = self.shared.client.only(node).with_deadline(TRY);
        let idempotency_key = Some(IdempotencyKey::new(&call.key).unwrap());
        let ticket_id = call.ticket.clone();
        let on_ticket =
            || TicketRequest { idempotency_key: idempotency_key.clone(), ..TicketRequest::new(ticket_id.clone()) };
        let answer = match call.ask {
            Ask::Issue => {
                let request = IssueRequest {
                    ticket_id,
                    event: None,
                    data: None,
                    metadata: Default::default(),
                    valid_from: None,
                    valid_until: None,
                    gate: None,
                    device: None,
                    idempotency_key,
                };
                client.issue(request).await
            }
            Ask::Validate => client.on_ticket(Kind::Validate, on_ticket()).await,
            Ask::Consume => client.on_ticket(Kind::Consume, on_ticket()).await,
            Ask::Dispute => client.on_ticket(Kind::Dispute, on_ticket()).await,
        };
        heard(answer)
    }

    /// What any node shows of a ticket.
    async fn read(&mut self) {
        let node = self.random.below(self.nodes());
        let (ticket, life, invoked_us) = (self.ticket(), self.shared.life(node), self.shared.now_us());
        let answer = self.shared.client.only(node).with_deadline(TRY).ticket(&ticket, None).await;
        let seen = match answer {
            Ok(shown) => Some((shown.state, shown.version)),
            Err(ClientError::Refused(problem)) if problem.reason.name() == "unknown_ticket" => None,
            Err(_) => return,
        };
        if self.shared.life(node) == life {
            let answered_us = self.shared.now_us();
            self.history.reads.push(Read { by: life, ticket, invoked_us, answered_us, seen });
        }
    }
}

fn heard(answer: Result<Accepted, ClientError>) -> Heard {
    match answer {
        Ok(accepted) => {
            let said = Said::Accepted { state: accepted.ticket.state, version: accepted.ticket.version };
            Heard::Decided(said, Some(Place { height: accepted.height.0, index: accepted.index }))
        }
        Err(ClientError::Refused(problem)) if problem.reason.is_remembered() => {
            let said = Said::Refused { reason: problem.reason, state: problem.state };
            let place = problem.height.zip(problem.index).map(|(height, index)| Place { height: height.0, index });
            Heard::Decided(said, place)
        }
        Err(ClientError::Refused(problem)) if !problem.retryable && problem.index.is_none() => {
            panic!("a good request was refused as {}: {}", problem.reason, problem.detail)
        }
        Err(_) => Heard::Nothing,
    }
}

impl History {
    /// Whether there is something to check in what was read: tickets as they were, and some of them at a node that had
    /// told of the same ticket before, in the same life.
    fn assert_read(&self) {
        let shown = self.reads.iter().filter(|read| read.seen.is_some()).count();
        let has_told = |read: &&Read| {
            let is_before = |by: Option<(usize, u32)>, ticket: &TicketId, at_us: u64| {
                by == Some(read.by) && *ticket == read.ticket && at_us < read.invoked_us
            };
            let told = |call: &Call| {
                let answered = call.answered_us.filter(|_| matches!(call.said, Said::Accepted { .. }));
                answered.is_some_and(|at_us| is_before(call.by, &call.ticket, at_us))
            };
            let showed =
                |other: &Read| other.seen.is_some() && is_before(Some(other.by), &other.ticket, other.answered_us);
            self.calls.iter().any(told) || self.reads.iter().any(showed)
        };
        let again = self.reads.iter().filter(has_told).count();
        let all = self.reads.len();
        assert!(
            shown > 0 && again > 0,
            "of {all} reads {shown} show a ticket, and {again} come after one at the same node"
        );
    }
}

/// Ends the work, brings all nodes to one height, and checks everything. Nobody may be accused.
pub async fn judge(field: &Field, clients: Clients, nodes: &[usize]) -> (History, Vec<Entry>) {
    judge_but(field, clients, nodes, None).await
}

/// As [`judge`], where one node may be accused.
pub async fn judge_but(field: &Field, clients: Clients, nodes: &[usize], liar: Option<usize>) -> (History, Vec<Entry>) {
    let history = clients.finish().await;
    let logs = field.logs(nodes).await;
    let log = logs[0].1.clone();
    let verdict = check(&history.calls, &history.reads, &logs);
    let unknown = history.calls.iter().filter(|call| call.said == Said::Unknown).count();
    println!(
        "{} calls ({unknown} given up without an answer), {} reads, {} outcomes in the log",
        history.calls.len(),
        history.reads.len(),
        log.len()
    );
    if let Err(fault) = verdict {
        panic!("{fault}");
    }
    history.assert_read();
    for node in nodes {
        for culprit in field.accused(*node).await {
            assert_eq!(Some(&culprit), liar.map(node_name).as_ref(), "node{node} has evidence against {culprit}");
        }
    }
    (history, log)
}
