//! The state map, snapshots and catching up (consensus.md sections 5 and 7).

use core::time::Duration;

// ---- the state map and snapshots ------------------------------------------------------------------------------------

/// State roots at committed checkpoint heights that a replica keeps while none becomes stable. The oldest goes; its
/// checkpoint can still become stable by others' votes.
pub const REPLICA_STATE_ROOTS_MAX: usize = 16;
/// States after checkpoint heights that are kept while none of them is stable: as many as roots. The oldest goes, and is
/// not served.
pub const STATE_VERSIONS_MAX: usize = REPLICA_STATE_ROOTS_MAX;
/// Stable states that are served: the latest, and those before for those who are fetching them. An older one is refused.
pub const SNAPSHOTS_SERVED_MAX: usize = 4;
/// The name of an entry of the state: an event's and a ticket's name, or a key's scope and the key. A longer one is
/// malformed.
pub const STATE_NAME_BYTES_MAX: usize = 512;
/// The value of an entry of the state: the largest ticket, with all its facts, is some 40 kB. A longer one is malformed.
pub const STATE_VALUE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of entries in one part of a snapshot: the tree is cut until each part is at most so long, or a single entry.
/// Small enough that several peers share a small state, and that a vote never waits long behind one.
pub const SNAPSHOT_PART_BYTES: u64 = 256 * 1024;
/// A part that is asked for and is longer, because it was never cut so, is refused; a longer one in a frame is malformed.
pub const SNAPSHOT_PART_BYTES_MAX: u64 = 2 * SNAPSHOT_PART_BYTES;
/// Parts of a snapshot: the largest state that the ledger allows has about half as many. A longer list is malformed.
pub const SNAPSHOT_PARTS_MAX: usize = 65_536;
/// How long who writes a state to disk waits for the chain before each of its parts: 2,000 parts wait for
/// 100 s at most. Votes have the processor and the disk in between.
pub const ARCHIVE_REST_MAX: Duration = Duration::from_millis(50);

// ---- fetching a snapshot --------------------------------------------------------------------------------------------

/// Parts that one peer is asked for at a time: while one is on its way, the next is read.
pub const SNAPSHOT_PARTS_PER_PEER: usize = 2;
/// Parts that are asked for at a time: with their answers they are all that a node holds of a snapshot in memory.
pub const SNAPSHOT_PARTS_ASKED_MAX: usize = 16;
/// How long a peer may take for a manifest or a part. Then another is asked.
pub const SNAPSHOT_ANSWER_TIMEOUT_MS: u64 = 2_000;
/// Parts that a peer may fail to send in time, one after the other. Then it is asked for none until nobody else is left.
pub const SNAPSHOT_STRIKES_MAX: u32 = 3;
/// How long one part may take of a peer that alone serves a snapshot, on average: an honest one needs a fraction of it. A
/// slower one is given up, and others are asked whether they have a snapshot by now.
pub const SNAPSHOT_ALONE_PART_MS: u64 = 100;
/// How often a node that fetches a snapshot looks whether answers are late.
pub const SNAPSHOT_TICK_MS: u64 = 250;
/// How long a peer may take for committed blocks. Then the next one is asked.
pub const SYNC_ANSWER_TIMEOUT_MS: u64 = 1_000;
/// A node that is so many blocks behind, and lacks more than it has, fetches a snapshot instead of executing them: about what it
/// executes in the time that a small snapshot takes. One that has more than it lacks executes them for as long as others keep
/// them (`retain_blocks`): with a snapshot it would lose its own history.
pub const SNAPSHOT_BEHIND_BLOCKS: u64 = 1_024;
/// After a disk did not take a part of a snapshot, or the database that is made of them, so long nothing is tried.
pub const SNAPSHOT_DISK_PAUSE: Duration = Duration::from_secs(5);
/// Parts of former attempts that are kept on disk. Beyond it the node begins without them.
pub const SNAPSHOT_PARTS_KEPT_MAX: usize = 2 * SNAPSHOT_PARTS_MAX;
/// How often a node that nobody had a snapshot for asks for blocks, however far it is behind, before it asks for one again.
pub const SNAPSHOT_REFUSED_ASKS: u32 = 16;
/// Requests of nodes without a vote that are answered at a time. A further one is dropped, and asked again.
pub const OBSERVER_CREDITS: usize = 2;
/// How often a node without a vote asks for new blocks when it has all that it knows of.
pub const OBSERVER_FOLLOW_INTERVAL: Duration = Duration::from_millis(250);
