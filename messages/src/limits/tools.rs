//! The client, processes that we start, and the simulator: what waits for a node from outside.

use core::time::Duration;

// ---- the client's patience (api.md section 2) -----------------------------------------------------------------------

/// After what time in all a client's request gives up: above a node's own wait for an outcome (20 s). Then the outcome
/// is unknown, or the nodes unreachable.
pub const CLIENT_DEADLINE: Duration = Duration::from_secs(30);
/// After what time without any answer a client asks another node, with the same key: longer than a change of leader
/// takes, short enough that a node that hangs is not felt as an outage.
pub const CLIENT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a connection may take to be made. Then the next node is asked.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// After what time without use a client closes a connection: before the server does (5 s), so that no request meets a
/// connection that is being closed.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a node that failed is left alone at first, and how long a request waits after its first round over all
/// nodes. Doubles up to [`CLIENT_BACKOFF_MAX`].
pub const CLIENT_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest such wait, unless a node's Retry-After asks for more.
pub const CLIENT_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Bytes of one answer that a client reads: 1,000 of the largest tickets. A longer one is an error.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Requests that a load run may have under way: each has a connection, and a node takes so many of one client
/// ([`super::API_CONNECTIONS_PER_CLIENT_MAX`]). A larger plan is refused.
pub const LOAD_WORKERS_MAX: usize = 4_096;

// ---- node processes that we start (devnet, bench, tests) ------------------------------------------------------------

/// How long a node process may take until its API answers: it may recover a full log first. Then it is killed, and the
/// cluster is not started.
pub const NODE_READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a node process may take to end when asked. Then it is killed.
pub const NODE_STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a node's log that a message about its failure shows.
pub const NODE_LOG_TAIL_BYTES: u64 = 4_096;

/// How long a new network may take until all its nodes are healthy. Then whoever waits goes on and says so.
pub const NODE_HEALTH_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a node's health is looked at while somebody waits for it.
pub const HEALTH_LOOK_INTERVAL: Duration = Duration::from_millis(50);

// ---- the simulator (`dtvn simulator`) -------------------------------------------------------------------------------

/// Nodes of a simulated network: messages grow with the square. More are refused.
pub const SIMULATOR_NODES_MAX: usize = 31;
/// Tickets of a simulation: each is held with all its outcomes, several times over. More are refused.
pub const SIMULATOR_TICKETS_MAX: usize = 100_000;
/// Virtual time of a simulation, in microseconds: a day. More is refused.
pub const SIMULATOR_DURATION_US_MAX: u64 = 24 * 3_600 * 1_000_000;
/// Latency of a simulated link, in microseconds: beyond it nobody waits for an answer. More is refused.
pub const SIMULATOR_LATENCY_US_MAX: u64 = 10 * 1_000_000;
