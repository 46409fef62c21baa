//! Supervision, mailboxes, and the health of actors (architecture.md sections 2, 4 and 11).

use core::time::Duration;

// ---- supervision and mailboxes --------------------------------------------------------------------------------------

/// Messages that may wait in a mailbox unless the child says otherwise: a few milliseconds of work for a busy actor.
/// What happens then is each message type's policy.
pub const MAILBOX_BOUND_DEFAULT: usize = 1_024;

/// Failures within [`SUPERVISOR_RESTART_WINDOW`] that a supervisor mends. One more, and it stops its children and
/// fails itself, so that its own supervisor takes over.
pub const SUPERVISOR_RESTARTS_MAX: u32 = 3;

/// The sliding window of the restart intensity.
pub const SUPERVISOR_RESTART_WINDOW: Duration = Duration::from_secs(5);

/// Commands (add, remove, restart) that may wait for one supervisor; the next caller waits for a place.
pub const SUPERVISOR_COMMANDS_MAX: usize = 64;

/// How long a start may take: a recovery from a full log is seconds. Then the start is killed and counts as failed.
pub const ACTOR_START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long an orderly stop may take unless the child says otherwise: it flushes a few megabytes. Then it is killed.
pub const ACTOR_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an ended actor's tasks and threads may still take. Then tasks are logged and no longer waited for; a thread that
/// holds what is the actor's own ends the process.
pub const ACTOR_END_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the threads of an actor with files of its own may still take, the consensus log's for instance: a disk may hang,
/// and a queue is written first. Then the process ends: two incarnations never write to the same files.
pub const CORE_END_TIMEOUT: Duration = Duration::from_secs(60);

/// How long after a kill, beyond [`ACTOR_END_TIMEOUT`], the end must be seen. Then a handler blocks its thread: a stop
/// goes on without it, anything else is given up and ends the process.
pub const ACTOR_KILL_GRACE: Duration = Duration::from_secs(2);

/// Timers and background tasks of one incarnation. One more is a broken invariant and fails the actor.
pub const ACTOR_TASKS_MAX: usize = 16_384;

// ---- mailboxes of the core and links --------------------------------------------------------------------------------

/// Mailbox of an actor inside `core` and `links`. The node's own messages are bounded by the protocol far below it; a
/// full one is a broken invariant, and its sender fails.
pub const CORE_MAILBOX_MAX: usize = 16_384;
/// Peers' messages that may wait in the replica's mailbox; then their streams are not read.
pub const REPLICA_CREDITS: usize = 512;
/// Peers' messages that may wait in the gossip's mailbox; then their streams are not read.
pub const GOSSIP_CREDITS: usize = 128;
/// Peers' messages that may wait in the sync's mailbox; then their streams are not read.
pub const SYNC_CREDITS: usize = 8;
/// Submissions that may wait in the intake's mailbox; above it sessions are answered `overloaded`.
pub const INTAKE_SUBMISSIONS_MAX: usize = 4_096;
/// Work that waits for the thread of the consensus log or of the store; then the storage actor waits.
pub const STORAGE_QUEUE_MAX: usize = 8_192;
/// Blocks that the store's thread takes into one batch.
pub const STORE_BATCH_BLOCKS_MAX: usize = 64;
/// How long a part of the core waits for another at its start; then its start fails.
pub const CORE_START_WAIT_MS: u64 = 120_000;
/// Workers that check signatures.
pub const VERIFIER_WORKERS: usize = 2;

// ---- health ---------------------------------------------------------------------------------------------------------

/// How often the watchdog looks at all mailboxes: a look costs microseconds.
pub const WATCHDOG_INTERVAL: Duration = Duration::from_secs(1);
/// After what time without a handled message, while messages wait, an actor counts as stuck: far above the longest handler
/// of an honest one. Then the node is not live, and says so.
pub const WATCHDOG_STALL_AFTER: Duration = Duration::from_secs(10);
/// After what time without a look of the watchdog itself the node is not live: its threads are blocked.
pub const WATCHDOG_SILENCE_MAX: Duration = Duration::from_secs(15);
/// How often the free space of the disk is looked at: a node at full speed writes some 200 MB meanwhile.
pub const DISK_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// MiB that must be free on the disk of the data directory unless configured otherwise: what is written between two looks,
/// and room to recover. Below it the node stops voting.
pub const DISK_FREE_MIB_MIN: u64 = 256;
/// Blocks that the store may be behind what is committed. More, and the node is not ready.
pub const STORE_BEHIND_BLOCKS_MAX: u64 = 1_024;
/// Blocks that others may have proved above a node's tip while it counts as being there: as many are under way anyway.
/// More, and it is not ready.
pub const READY_BEHIND_BLOCKS_MAX: u64 = 8;
/// Messages that may wait for an actor at the edge: all submissions, and as much again of what they are about.
pub const EDGE_MAILBOX_MAX: usize = 2 * INTAKE_SUBMISSIONS_MAX;
