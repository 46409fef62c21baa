//! The client of a DTVN network: several nodes, one idempotency key, one final outcome.
//!
//! A request goes to a node in turn. What did not arrive, or was answered "not now" (429, 503), goes to the next node;
//! what may have arrived (a broken connection, 504, `in_progress`) is asked for again with the same key, anywhere: the
//! table of keys is replicated, so it happens once. Waits grow, honour Retry-After and end with a total deadline. What
//! then remains open is [`ClientError::OutcomeUnknown`], never "refused". A command to one node has no key, so what may
//! have arrived is not sent again: [`ClientError::Unconfirmed`].

mod error;
mod node;
mod operations;
mod reads;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dtvn_messages::{IdempotencyKey, Reason, limits};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::time::Instant;

use self::node::Node;
use self::transport::{Ask, NoReply, Reply, Transport};
use crate::api::Problem;

pub use error::ClientError;
pub use operations::BatchForm;
pub use reads::TicketFilter;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// URLs of nodes: `http://host:port`. At least one.
    pub nodes: Vec<String>,
    /// The key that the nodes ask for.
    pub api_key: Option<String>,
    /// After what time in all a request gives up.
    pub deadline: Duration,
    /// After what time without an answer another node is asked. Above the time in which a node answers
    /// `outcome_unknown` itself this only matters for nodes that hang.
    pub attempt_timeout: Duration,
}

impl ClientConfig {
    /// The usual times, for these nodes.
    #[must_use]
    pub fn new(nodes: Vec<String>) -> Self {
        let (deadline, attempt_timeout) = (limits::CLIENT_DEADLINE, limits::CLIENT_ATTEMPT_TIMEOUT);
        Self { nodes, api_key: None, deadline, attempt_timeout }
    }
}

/// A client of some nodes of one network. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    nodes: Arc<[Arc<Node>]>,
    turn: Arc<AtomicUsize>,
    /// Whether each request begins at the next node, or all at the first.
    takes_turns: bool,
    transport: Transport,
    deadline: Duration,
    attempt_timeout: Duration,
}

/// What a request is for: it decides what may be done when nobody knows what became of an attempt.
#[derive(Debug, Clone, Copy)]
enum Purpose<'a> {
    /// A read, or what makes no difference the second time: it is asked again.
    Repeatable,
    /// An operation, which happens once for its key: it is asked again with the same one.
    Operation(&'a IdempotencyKey),
    /// What a node does each time that it is told: it is not told twice, and has the whole deadline to answer.
    Command,
}

/// What is known after an attempt.
enum Attempt<T> {
    /// The answer.
    Answered(T),
    /// A final refusal.
    Refused(Box<Problem>),
    /// Nothing happened: another node may be asked.
    NotNow(Failure),
    /// It may have happened: ask again with the same key.
    Unknown(Failure),
}

/// A failed attempt.
struct Failure {
    why: Why,
    /// How long this request should wait before it asks again, whomever it asks.
    wait: Duration,
}

enum Why {
    Problem(Box<Problem>),
    Text(String),
}

impl Why {
    fn into_text(self) -> String {
        match self {
            Self::Problem(problem) => problem.detail,
            Self::Text(text) => text,
        }
    }
}

impl Client {
    /// A client of these nodes. No connection is made yet.
    ///
    /// # Errors
    /// If there is no node, a URL is none, or the key cannot stand in a header.
    pub fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        if config.nodes.is_empty() {
            return Err(ClientError::Usage("at least one node's URL is needed".to_owned()));
        }
        let nodes: Result<Vec<_>, _> = config.nodes.iter().map(|url| Node::new(url).map(Arc::new)).collect();
        let api_key = match &config.api_key {
            None => None,
            Some(key) => {
                let refused = |_| ClientError::Usage("the API key has characters that no header may have".to_owned());
                let mut value = HeaderValue::from_str(key).map_err(refused)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            nodes: nodes?.into(),
            turn: Arc::new(AtomicUsize::new(0)),
            takes_turns: true,
            transport: Transport::new(api_key),
            deadline: config.deadline,
            attempt_timeout: config.attempt_timeout,
        })
    }

    /// The nodes' URLs.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.nodes.iter().map(|node| node.url())
    }

    /// The same client for one node only, counted round; no other is asked in its place.
    #[must_use]
    pub fn only(&self, node: usize) -> Self {
        let node = Arc::clone(&self.nodes[node % self.nodes.len()]);
        Self { nodes: Arc::new([node]), ..self.clone() }
    }

    /// The same client, whose requests begin at one node, counted round, and go on to the others only if it fails.
    #[must_use]
    pub fn preferring(&self, node: usize) -> Self {
        let mut nodes: Vec<_> = self.nodes.to_vec();
        let count = nodes.len();
        nodes.rotate_left(node % count);
        Self { nodes: nodes.into(), takes_turns: false, ..self.clone() }
    }

    /// The same client with another total deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// Asks one node after the other until there is a final answer or the deadline passes.
    async fn ask<T>(
        &self,
        ask: &Ask,
        purpose: Purpose<'_>,
        read: impl Fn(&Reply) -> Result<T, String>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.deadline;
        let (key, attempt_timeout) = match purpose {
            Purpose::Repeatable => (None, self.attempt_timeout),
            Purpose::Operation(key) => (Some(key), self.attempt_timeout),
            Purpose::Command => (None, self.deadline),
        };
        let first = if self.takes_turns { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let mut may_have_happened = false;
        let mut without_vote = 0;
        let mut last = None;
        let mut position = first;
        for attempt in 0_u32.. {
            if attempt > 0 {
                position = position.wrapping_add(1);
            }
            let Some(node) = self.rested_node(position, deadline).await else { break };
            let until = deadline.min(Instant::now() + attempt_timeout);
            let reply = self.transport.ask(node, ask, until).await;
            let failure = match judge(node, reply, &read)? {
                Attempt::Answered(answer) => return Ok(answer),
                // A node without a vote, which takes no operations in: others do.
                Attempt::Refused(problem)
                    if key.is_some() && is_of_this_node(&problem) && without_vote + 1 < self.nodes.len() =>
                {
                    without_vote += 1;
                    Failure { why: Why::Problem(problem), wait: Duration::ZERO }
                }
                Attempt::Refused(problem) => {
                    return Err(match key.filter(|_| may_have_happened && !is_decided(&problem)) {
                        // What this node refuses another one may have taken in.
                        Some(key) => ClientError::OutcomeUnknown { key: key.clone(), last: problem.detail },
                        None => ClientError::Refused(problem),
                    });
                }
                Attempt::NotNow(failure) => failure,
                Attempt::Unknown(Failure { why, .. }) if matches!(purpose, Purpose::Command) => {
                    return Err(ClientError::Unconfirmed(why.into_text()));
                }
                Attempt::Unknown(failure) => {
                    may_have_happened = true;
                    failure
                }
            };
            let wait = failure.wait.max(self.round_wait(attempt));
            last = Some(failure.why);
            if Instant::now() + wait >= deadline {
                break;
            }
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        let last = last.unwrap_or_else(|| Why::Text("all nodes asked to be left alone".to_owned()));
        Err(match (key.filter(|_| may_have_happened), last) {
            (Some(key), last) => ClientError::OutcomeUnknown { key: key.clone(), last: last.into_text() },
            (None, Why::Problem(problem)) => ClientError::Unavailable(problem),
            (None, Why::Text(last)) => ClientError::Unreachable(last),
        })
    }

    /// The node whose turn it is, or the next that need not be left alone; waits for one if it must. None if the
    /// deadline comes first.
    async fn rested_node(&self, position: usize, deadline: Instant) -> Option<&Node> {
        loop {
            let count = self.nodes.len();
            let in_turn = (0..count).map(|offset| &*self.nodes[position.wrapping_add(offset) % count]);
            let best = in_turn.min_by_key(|node| node.rest())?;
            let wait = best.rest();
            if Instant::now() + wait >= deadline {
                return None;
            }
            if wait.is_zero() {
                return Some(best);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// How long a request waits after an attempt: not at all within a round over all nodes.
    fn round_wait(&self, attempt: u32) -> Duration {
        let count = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        if (attempt + 1).is_multiple_of(count) { backoff((attempt + 1) / count - 1) } else { Duration::ZERO }
    }
}

/// How long to wait after a number of rounds: longer each time, and never the same.
fn backoff(rounds: u32) -> Duration {
    let wait = limits::CLIENT_BACKOFF_MIN.saturating_mul(1 << rounds.min(16)).min(limits::CLIENT_BACKOFF_MAX);
    wait.mul_f64(rand::random_range(0.5..1.0))
}

/// What an answer, or its absence, means.
fn judge<T>(
    node: &Node,
    reply: Result<Reply, NoReply>,
    read: impl Fn(&Reply) -> Result<T, String>,
) -> Result<Attempt<T>, ClientError> {
    let nothing = |why: String| Failure { why: Why::Text(format!("{}: {why}", node.url())), wait: Duration::ZERO };
    let reply = match reply {
        Ok(reply) => reply,
        Err(NoReply::NotSent(why)) => {
            node.failed();
            return Ok(Attempt::NotNow(nothing(why)));
        }
        Err(NoReply::Lost(why)) => {
            node.failed();
            return Ok(Attempt::Unknown(nothing(why)));
        }
    };
    let not_understood = |message| ClientError::NotUnderstood { node: node.url().to_owned(), message };
    node.answered();
    if reply.status.is_success() {
        return read(&reply).map(Attempt::Answered).map_err(not_understood);
    }
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(problem) => Ok(judge_problem(node, problem, reply.retry_after)),
        // A proxy between us and the node: the request may have arrived.
        Err(_) if reply.status.is_server_error() => {
            node.failed();
            Ok(Attempt::Unknown(nothing(format!("answered {} without saying why", reply.status))))
        }
        Err(error) => Err(not_understood(format!("status {}, but no problem: {error}", shown(&reply)))),
    }
}

fn judge_problem<T>(node: &Node, problem: Problem, retry_after: Option<Duration>) -> Attempt<T> {
    let asked = retry_after.or(problem.retry_after_seconds.map(|seconds| Duration::from_secs(seconds.into())));
    let fate = fate(&problem);
    let problem = Box::new(problem);
    match fate {
        Fate::Final => Attempt::Refused(problem),
        Fate::NotNow => {
            node.leave_alone(asked.unwrap_or(limits::CLIENT_BACKOFF_MIN));
            Attempt::NotNow(Failure { why: Why::Problem(problem), wait: Duration::ZERO })
        }
        // This operation is under way: that says nothing about the node.
        Fate::Unknown => {
            let wait = asked.unwrap_or(limits::CLIENT_BACKOFF_MIN);
            Attempt::Unknown(Failure { why: Why::Problem(problem), wait })
        }
    }
}

/// What a problem says about the operation that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Refused for good.
    Final,
    /// In no bundle: it may be given to any node.
    NotNow,
    /// It may happen, or have happened: only the same key may be used again.
    Unknown,
}

/// Whether only the node that was asked refuses, as it has no vote.
fn is_of_this_node(problem: &Problem) -> bool {
    problem.reason == Reason::NotPermitted && problem.index.is_none()
}

/// Whether the network decided so.
fn is_decided(problem: &Problem) -> bool {
    problem.index.is_some() || problem.reason == Reason::KeyReused
}

fn fate(problem: &Problem) -> Fate {
    match problem.reason {
        Reason::InProgress | Reason::OutcomeUnknown | Reason::Internal => Fate::Unknown,
        // It stays full: for a person to mend.
        Reason::LedgerFull => Fate::Final,
        _ if problem.retryable => Fate::NotNow,
        _ => Fate::Final,
    }
}

fn shown(reply: &Reply) -> String {
    let body: Bytes = reply.body.slice(..reply.body.len().min(120));
    match reply.status {
        StatusCode::NOT_FOUND => format!("{} (is it a DTVN node?)", reply.status),
        status => format!("{status} {:?}", String::from_utf8_lossy(&body)),
    }
}

/// A new random idempotency key: 32 hexadecimal digits.
#[must_use]
pub fn new_key() -> IdempotencyKey {
    let text = format!("{:032x}", rand::random::<u128>());
    #[expect(clippy::expect_used, reason = "32 hexadecimal digits are printable ASCII of the right length")]
    IdempotencyKey::new(&text).expect("32 hexadecimal digits make a key")
}
