//! Every bound of the product, in one place: what it is, why this value, and what happens when it is reached.

// ---- names and texts ------------------------------------------------------------------------------------------------

/// A chain id is in every signed layout: short. Longer ones are refused with the genesis.
pub const CHAIN_ID_BYTES_MAX: usize = 64;
/// A node id is a DNS label, so that it can be a host name. Longer ones are refused.
pub const NODE_NAME_BYTES_MAX: usize = 63;
/// A ticket id fits a barcode. Longer ones are `malformed`.
pub const TICKET_ID_BYTES_MAX: usize = 128;
/// An event id. Longer ones are `malformed`.
pub const EVENT_ID_BYTES_MAX: usize = 128;
/// An idempotency key must be hard to meet by accident. Shorter ones are `malformed`.
pub const IDEMPOTENCY_KEY_BYTES_MIN: usize = 16;
/// The longest idempotency key. Longer ones are `malformed`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// A gate's, device's or metadata entry's name. Longer ones are `malformed`.
pub const LABEL_BYTES_MAX: usize = 128;
/// A ticket's opaque data. More is `too_large`.
pub const TICKET_DATA_BYTES_MAX: usize = 4_096;
/// Metadata entries of a ticket. More is `too_large`.
pub const METADATA_ENTRIES_MAX: usize = 32;
/// One metadata value. More is `too_large`.
pub const METADATA_VALUE_BYTES_MAX: usize = 512;
/// The reason of a dispute, in words. More is `too_large`.
pub const REASON_BYTES_MAX: usize = 512;

// ---- consensus ------------------------------------------------------------------------------------------------------

/// Messages grow with the square of the validators; the design is for tens. A larger genesis is refused.
pub const VALIDATORS_MAX: usize = 128;
/// The largest `log_window`; it bounds a VIEW-CHANGE. A genesis above it is refused.
pub const LOG_WINDOW_MAX: usize = 4_096;
/// Addresses of one validator in the genesis. More are refused.
pub const VALIDATOR_ADDRESSES_MAX: usize = 16;
/// Events in the genesis file; more can be made by operations. More are refused.
pub const GENESIS_EVENTS_MAX: usize = 1_024;
/// Operations in one bundle: a bundle is cut at this size. A larger one from a peer is malformed.
pub const BUNDLE_OPERATIONS_MAX: usize = 4_000;
/// Bytes of one bundle: it is cut before it grows beyond. A larger one from a peer is malformed.
pub const BUNDLE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bundles in one block. The leader stops there; a larger proposal is refused.
pub const BLOCK_BUNDLES_MAX: usize = 256;
/// Operations in one block: bounds the time of one execution. The leader stops there; a larger proposal is refused.
pub const BLOCK_OPERATIONS_MAX: usize = 8_000;
/// Bytes of all bundles of one block. The leader stops there; a larger proposal is refused.
pub const BLOCK_BYTES_MAX: usize = 8 * 1024 * 1024;

// ---- ledger ---------------------------------------------------------------------------------------------------------

/// Idempotency keys that the ledger remembers: about 340 bytes each, so 1.4 GB; at the default retention of 24 hours 46
/// operations a second without end, or a rush of hours. Beyond it operations are refused as `ledger_full`.
pub const LEDGER_KEYS_MAX: usize = 4_000_000;
/// Bytes of all tickets, where each counts [`LEDGER_TICKET_BYTES`] and its data, metadata and dispute reason: two
/// million bare tickets. An operation that would go beyond is refused as `ledger_full`; scans that add no data still
/// work.
pub const LEDGER_TICKETS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// What a ticket counts in memory without its texts: measured, with two scans and two facts.
pub const LEDGER_TICKET_BYTES: u64 = 1_024;

// ---- wire -----------------------------------------------------------------------------------------------------------

/// A frame of the consensus class: the largest is a VIEW-CHANGE. A longer one closes the stream and counts against the
/// peer.
pub const CONSENSUS_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A frame of the bundle class: one bundle and its envelope. A longer one closes the stream.
pub const BUNDLE_FRAME_BYTES_MAX: usize = BUNDLE_BYTES_MAX + 1_024;
/// A frame of the sync class: some blocks with their bundles. A longer one closes the stream.
pub const SYNC_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Digests asked for in one fetch. More are malformed.
pub const FETCH_DIGESTS_MAX: usize = 1_024;
/// Blocks in one sync answer; the server also stops at half of [`SYNC_FRAME_BYTES_MAX`]. More are malformed.
pub const SYNC_BLOCKS_MAX: usize = 256;

// Supervision and mailboxes (architecture, sections 2 and 4).

use core::time::Duration;

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

/// How long an ended actor's tasks and threads may still take. Then they are logged and no longer waited for.
pub const ACTOR_END_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after a kill, beyond [`ACTOR_END_TIMEOUT`], the end must be seen. Then a handler blocks its thread: a stop
/// goes on without it, anything else is given up and ends the process.
pub const ACTOR_KILL_GRACE: Duration = Duration::from_secs(2);

/// Timers and background tasks of one incarnation. One more is a broken invariant and fails the actor.
pub const ACTOR_TASKS_MAX: usize = 16_384;

// ---- clients (api.md sections 2 and 3) ------------------------------------------------------------------------------

/// Operations in one `POST /api/v1/operations`. More are `too_large`.
pub const API_BATCH_OPERATIONS_MAX: usize = 1_000;
/// Bytes of one batch, one way, in JSON or bincode. More are `too_large`; a client refuses a longer answer.
pub const API_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

// ---- bundle pool ----------------------------------------------------------------------------------------------------

/// Up to so many validators a bundle goes from its origin to each of them directly; above it through about the square
/// root of their number.
pub const POOL_DIRECT_VALIDATORS_MAX: usize = 16;
/// Pending bundles of one origin: an honest one has [`INTAKE_BUNDLES_ON_WAY_MAX`] on their way, more only after restarts.
/// A peer's bundle beyond it is not taken; a proposal may still name it, then it is fetched.
pub const POOL_ORIGIN_BUNDLES_MAX: usize = 64;
/// Bytes of the pending bundles of one origin, at most an even share of [`POOL_BYTES_MAX`]. Beyond it as above; this
/// node's own intake refuses operations as `overloaded` before.
pub const POOL_ORIGIN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of all pending bundles without the reserve. Each origin has its share, so nobody can fill another's.
pub const POOL_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Bytes beyond an origin's share that may be taken because a proposal names them: eight blocks. Beyond it a bundle is
/// not taken until there is room, and is asked for again.
pub const POOL_RESERVE_BYTES_MAX: usize = 8 * BLOCK_BYTES_MAX;
/// Bytes of ordered bundles that are kept for peers. Beyond it the lowest heights go first: they are in the consensus
/// log, and whoever lacks them syncs.
pub const POOL_RETAINED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bundles of one origin at one position: two prove that it equivocates, more prove nothing else. A third is not taken
/// unless a proposal names it.
pub const POOL_VARIANTS_MAX: usize = 2;
/// Bundles that the replica may want at once: the largest pipeline of the largest blocks. Beyond it the replica is told
/// so, and asks again with its next proposal.
pub const POOL_WANTS_MAX: usize = 64 * BLOCK_BUNDLES_MAX;
/// How long a bundle that is wanted may still arrive by itself before it is fetched: proposals overtake bundles, and a
/// fetch sends the same bytes again.
pub const POOL_WANT_GRACE_MS: u64 = 10;
/// Bundles asked for and not yet answered by one peer. Beyond it the next holder is asked, or this one later.
pub const POOL_FETCHES_PER_PEER_MAX: usize = 1_024;
/// Of the bundles that wait until somebody may be asked, so many are looked at in one step: it bounds the step. The others
/// wait behind them, at most [`POOL_FETCH_TIMEOUT_MS`] for each round.
pub const POOL_WAITING_SERVED_MAX: usize = 64;
/// After this time the next holder is asked for a bundle: a quarter of the default view timeout.
pub const POOL_FETCH_TIMEOUT_MS: u64 = 250;
/// Announced bundles, first heard of from one peer, that are looked for. What it announces beyond is ignored.
pub const POOL_ANNOUNCED_PER_PEER_MAX: usize = 1_024;
/// How long an announced bundle may still arrive by itself before it is fetched.
pub const POOL_ANNOUNCE_GRACE_MS: u64 = 50;
/// How long a second peer may take to announce a bundle that the Bloom filter takes for an old one. Then it is forgotten.
pub const POOL_ANNOUNCE_DOUBT_MS: u64 = 10_000;
/// Bundles that one peer sent unasked and that are not verified yet. More are not taken.
pub const POOL_UNVERIFIED_BUNDLES_PER_PEER_MAX: usize = 16;
/// Bytes of the bundles of one peer, asked for or not, that are not verified yet: two blocks. More are not taken; those
/// that are wanted are asked for again.
pub const POOL_UNVERIFIED_BYTES_PER_PEER_MAX: usize = 2 * BLOCK_BYTES_MAX;
/// How long a verification may take. Then it is given up: the verifier was restarted.
pub const POOL_VERIFY_TIMEOUT_MS: u64 = 5_000;
/// Bytes in answer to one fetch: one block. What is left over is asked for again, elsewhere.
pub const POOL_SERVE_ANSWER_BYTES_MAX: usize = BLOCK_BYTES_MAX;
/// Bytes served to one peer in [`POOL_SERVE_INTERVAL_MS`]. Beyond it nothing is served until the next interval.
pub const POOL_SERVE_INTERVAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The interval of that bound.
pub const POOL_SERVE_INTERVAL_MS: u64 = 1_000;
/// Digests of finished bundles that are remembered exactly. The one not heard of for longest goes first.
pub const POOL_REMEMBERED_MAX: usize = 16_384;
/// Digests in one generation of the Bloom filter, which remembers the last one to two generations of finished bundles.
pub const POOL_BLOOM_DIGESTS_MAX: usize = 131_072;
/// Bits of the Bloom filter for each of them: with seven probes one in two thousand is taken for old by mistake.
pub const POOL_BLOOM_BITS_PER_DIGEST: usize = 16;

// ---- intake ---------------------------------------------------------------------------------------------------------

/// Bundles of this node that may be on their way at once: one, and more only if full ones wait. Then operations wait.
pub const INTAKE_BUNDLES_ON_WAY_MAX: usize = 4;
/// Operations of one request. More are `too_large`.
pub const INTAKE_REQUEST_OPERATIONS_MAX: usize = 1_000;
/// Operations that are queued or on their way: four seconds of the load of a node. More are `overloaded`.
pub const INTAKE_OPERATIONS_MAX: usize = 32_768;
/// Bytes of the operations that are queued: eight bundles. More are `overloaded`.
pub const INTAKE_QUEUED_BYTES_MAX: usize = 8 * BUNDLE_BYTES_MAX;
/// Entries in the lanes of the queue whose operations no longer wait, beyond twice those that do. Then they are swept out.
pub const INTAKE_DEAD_ENTRIES_MAX: usize = 1_024;
/// Requests that wait for the outcome of one operation. More are `in_progress`.
pub const INTAKE_WAITERS_PER_OPERATION_MAX: usize = 64;
/// Places in all requests that wait. Beyond it a new operation is `overloaded`, and one that would join a wait is
/// `in_progress`.
pub const INTAKE_WAITERS_MAX: usize = 65_536;
/// The longest wait for an outcome. A longer one is cut to it.
pub const INTAKE_WAIT_MS_MAX: u64 = 120_000;
/// How long after it was taken in an operation may be executed, unless the keys are remembered for less. Later it is
/// refused by the network as `operation_expired`.
pub const INTAKE_OPERATION_LIFETIME_MS: u64 = 60_000;
/// A node whose others have proved so many more blocks is catching up. Then it takes nothing in.
pub const INTAKE_SYNCING_BLOCKS: u64 = 32;

// ---- consensus log --------------------------------------------------------------------------------------------------

/// Length of a segment's file. A full one is finished, and the next one made: about a millisecond. Small enough that
/// what is no longer needed is freed soon.
pub const LOG_SEGMENT_BYTES: u32 = 64 * 1024 * 1024;
/// Longest batch, so also what one commit writes at most, and what opening a log holds in memory: the longest message
/// and some more. A record that does not fit beside those before it goes into the next batch; one that fits into no
/// batch is refused.
pub const LOG_BATCH_BYTES_MAX: u32 = CONSENSUS_FRAME_BYTES_MAX as u32 + 64 * 1024;
/// Files of the log that are held open. The one not used for longest is closed, and opened again when it is needed.
pub const LOG_OPEN_FILES_MAX: usize = 16;

// ---- network (architecture, sections 4 and 6) ------------------------------------------------------------------------

/// The longest handshake in bytes: about 300 are used. A longer one closes the stream and counts against the peer.
pub const HANDSHAKE_BYTES_MAX: usize = 2_048;
/// The longest summary of the validator set that a handshake may carry, in bytes. A longer one is malformed.
pub const HANDSHAKE_SUMMARY_BYTES_MAX: usize = 1_024;
/// How long a connection may take until its session stands: generous for 300 ms round trips and a loaded
/// machine. After it the connection is closed and dialed again.
pub const SESSION_SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without streams (a spare one, a refused peer, a stranger that only discovers) is closed after this.
pub const CONNECTION_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The one heartbeat interval: each connection is pinged this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Silence after which a peer is suspect: two heartbeats missed, and half of one for the answer's way. Shown, not
/// acted upon.
pub const PEER_SUSPECT_AFTER: Duration = Duration::from_millis(2_500);
/// Silence after which a connection is given up and dialed anew: five heartbeats, so that a pause of a loaded machine
/// costs nothing.
pub const PEER_LOST_AFTER: Duration = Duration::from_secs(5);

/// The second dial of a peer waits about this long (the first is made at once); each further one twice as long.
pub const DIAL_BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two dials. Dialing goes on for ever at this pace; it is never fatal.
pub const DIAL_BACKOFF_CAP: Duration = Duration::from_secs(10);
/// A session that stood this long, was a good one: after its loss the peer is dialed at once. One that broke
/// sooner continues the back-off, so that two nodes that disagree do not spin.
pub const SESSION_STABLE: Duration = Duration::from_secs(5);
/// The addresses remembered per peer beside the configured ones. The oldest learned one goes.
pub const PEER_LEARNED_ADDRESSES_MAX: usize = 8;
/// The longest address taken from another node, in bytes. Longer ones are ignored.
pub const PEER_ADDRESS_BYTES_MAX: usize = 256;

/// The longest frame taken from a peer that is no validator, in bytes: it asks, it has nothing long to say. A longer
/// one closes the session and counts against the peer.
pub const STRANGER_FRAME_BYTES_MAX: usize = 64 << 10;

/// Consensus frames waiting to be written to one peer. When full, the oldest of the same superseded kind goes, else
/// the sender is told `full`.
pub const OUTBOUND_CONSENSUS_FRAMES_MAX: usize = 8_192;
/// Their bytes.
pub const OUTBOUND_CONSENSUS_BYTES_MAX: usize = 32 << 20;
/// Bundle frames waiting to be written to one peer. When full, the sender is told, or waits if it asked to.
pub const OUTBOUND_BUNDLE_FRAMES_MAX: usize = 1_024;
/// Their bytes.
pub const OUTBOUND_BUNDLE_BYTES_MAX: usize = 16 << 20;
/// Sync frames waiting to be written to one peer: few, so that a slow asker holds little. When full, the sender is
/// told, or waits if it asked to.
pub const OUTBOUND_SYNC_FRAMES_MAX: usize = 16;
/// Their bytes.
pub const OUTBOUND_SYNC_BYTES_MAX: usize = 32 << 20;

/// Consensus frames received from one peer and not yet taken by the replica. When full, that peer's stream is not
/// read; others are not affected.
pub const INBOUND_CONSENSUS_FRAMES_MAX: usize = 1_024;
/// Their bytes.
pub const INBOUND_CONSENSUS_BYTES_MAX: usize = 16 << 20;
/// Bundle frames received from one peer and not yet taken. As above.
pub const INBOUND_BUNDLE_FRAMES_MAX: usize = 256;
/// Their bytes.
pub const INBOUND_BUNDLE_BYTES_MAX: usize = 8 << 20;
/// Sync frames received from one peer and not yet taken. As above.
pub const INBOUND_SYNC_FRAMES_MAX: usize = 16;
/// Their bytes.
pub const INBOUND_SYNC_BYTES_MAX: usize = 16 << 20;

/// What one write to a stream gathers at most, in bytes: 256 frames of 200 bytes, where throughput levels off.
pub const WRITE_BATCH_BYTES_MAX: usize = 64 << 10;
/// Frames of at least this size are written from their own bytes instead of being copied into the batch.
pub const WRITE_COPY_BYTES_MAX: usize = 16 << 10;
/// What one read from a stream takes at most, in bytes; also the step in which a long frame's buffer starts to grow.
pub const READ_CHUNK_BYTES_MAX: usize = 32 << 10;
/// Unread bytes per stream that the other side may have under way; at this point it stops until we read. Fixed, never
/// grown: it is what bounds how long a vote waits behind bundles and sync on the same TCP connection (with two such
/// streams 512 KiB: 4 ms at 1 Gbit/s).
pub const STREAM_WINDOW_BYTES: usize = 256 << 10;
/// Streams of one connection (three of ours, ping, identify, Kademlia). A peer that opens more is disconnected.
pub const STREAMS_PER_CONNECTION_MAX: usize = 64;
/// Unread bytes of one QUIC connection over all its streams.
pub const QUIC_CONNECTION_WINDOW_BYTES: usize = 4 << 20;
/// Streams of one connection that may be negotiating their protocol at a time. Further ones are reset.
pub const STREAMS_NEGOTIATING_MAX: usize = 16;

/// Connections to one validator: the used one, a spare from a simultaneous dial, and room for a restart on each side.
/// Further ones are refused.
pub const CONNECTIONS_PER_VALIDATOR_MAX: usize = 4;
/// Connections of one peer that is no validator. Further ones are refused.
pub const CONNECTIONS_PER_STRANGER_MAX: usize = 2;
/// Connections of all peers that are no validators (observers, discovery). Further ones are refused.
pub const STRANGER_CONNECTIONS_MAX: usize = 32;
/// Inbound connections whose identity is not known yet. Further ones are closed unanswered.
pub const PENDING_INBOUND_CONNECTIONS_MAX: usize = 256;
/// Those of them that come from one IP address, so that one that stalls leaves room for others. Further ones likewise.
pub const PENDING_INBOUND_CONNECTIONS_PER_ADDRESS_MAX: usize = 64;
/// Inbound connections that one IP address may open at once (a whole development network has one address).
pub const INBOUND_CONNECTIONS_PER_ADDRESS_BURST: u32 = 128;
/// And per second after that. Further ones are closed before any cryptography.
pub const INBOUND_CONNECTIONS_PER_ADDRESS_PER_SECOND: u32 = 32;
/// IP addresses whose connection rate is remembered. Above it, unknown addresses share one rate.
pub const INBOUND_ADDRESSES_MAX: usize = 1_024;

/// Misbehaviour points at which a peer is banned for a while. They leak away, one each second.
pub const MISBEHAVIOUR_POINTS_MAX: u32 = 100;
/// How long a ban lasts: long enough that the offence costs little, short enough that a repaired validator is
/// back soon.
pub const BAN_DURATION: Duration = Duration::from_secs(60);
/// Peers that are no validators whose misbehaviour or ban is remembered at a time. Beyond it one that is not connected
/// is forgotten, among the banned the one whose ban ends first.
pub const STRANGERS_REMEMBERED_MAX: usize = 1_024;

/// Actors of peers: validators and peers at bootstrap addresses. One more is not started, and that is logged.
pub const PEER_ACTORS_MAX: usize = VALIDATORS_MAX + 64;
/// Failures of peers' actors within [`SUPERVISOR_RESTART_WINDOW`] that are mended: there are many of them, and each
/// failure ends one session only. One more, and the whole subtree of links starts anew.
pub const PEER_RESTARTS_MAX: u32 = 10;
/// Commands and notices waiting inside the network layer, per queue. When full, the asker waits.
pub const NETWORK_QUEUE_MAX: usize = 256;
/// Network events waiting for a slow listener. At the bound, refusals are dropped (and counted), and a connection that
/// came and went unseen is left out.
pub const NETWORK_EVENTS_MAX: usize = 1_024;
/// How long a graceful shutdown waits for queued frames to be written and read. What remains is dropped.
pub const NETWORK_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

// ---- actors of the core and links -----------------------------------------------------------------------------------

// ---- actors ---------------------------------------------------------------------------------------------------------

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

// ---- derived store (architecture.md section 5) ----------------------------------------------------------------------

/// Bytes that may be written to RocksDB and be in memory only; then they are flushed in the background. What a crash
/// takes away, at most about twice this, is applied again from the consensus log within seconds. Measured: less makes the
/// background dearer than it makes writing cheaper, more the other way round.
pub const STORE_MEMORY_BYTES: usize = 32 * 1024 * 1024;
/// Blocks that may be applied and be in memory only; then they are flushed in the background. It lets a node with little
/// work drop old segments of its consensus log; each flush leaves a dozen files, so not often.
pub const STORE_MEMORY_BLOCKS: u64 = 4_096;
/// Blocks that are written in one step; more are written in several. It bounds the memory of one: 128 MiB at the largest
/// blocks. Beyond ten or so, gathering gains nothing.
pub const STORE_APPLY_BLOCKS_MAX: usize = 16;
/// RocksDB's cache for what is read. Beyond it, what was not used for long is dropped.
pub const STORE_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Files that RocksDB holds open. Beyond it they are closed and opened again on demand.
pub const STORE_OPEN_FILES_MAX: i32 = 512;
/// A record in the store: a block with 256 bundle digests and all certificates has about 30 kB. A larger one is damage.
pub const STORE_RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Items in one page of a list (api.md section 2). More are not given, whatever is asked for.
pub const STORE_PAGE_ITEMS_MAX: usize = 1_000;
/// Bytes of stored items after which a page ends: a page of the largest tickets would have 25 MB.
pub const STORE_PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Tickets that are looked at for one page of those in a state that is not indexed: about 20 ms. Then the page ends, even
/// if it is not full.
pub const STORE_PAGE_VISITS_MAX: usize = 50_000;
/// A cursor: base64 of the longest key and its check. A longer one is refused.
pub const STORE_CURSOR_BYTES_MAX: usize = 512;

// ---- replica --------------------------------------------------------------------------------------------------------

/// Votes and proposals of one sender that wait for their view or for the block below. Beyond it the one for the farthest
/// future is dropped; it is sent again on the next status.
pub const REPLICA_EARLY_PER_SENDER_MAX: usize = 64;
/// VIEW-CHANGEs of one sender that are kept. Beyond it one goes that no waiting NEW-VIEW names, the lowest view first;
/// what a NEW-VIEW names is fetched by digest.
pub const REPLICA_VIEW_CHANGES_PER_SENDER_MAX: usize = 4;
/// Checkpoint votes of one sender that are kept. Beyond it the one for the farthest future is dropped.
pub const REPLICA_CHECKPOINT_VOTES_PER_SENDER_MAX: usize = 8;
/// How far execution runs ahead of the committed height. What is above waits for commits.
pub const REPLICA_EXECUTE_AHEAD_MAX: u64 = 256;
/// Proved blocks that wait for their bundles and their execution. More are not taken, and are asked for again later.
pub const REPLICA_CERTIFIED_BLOCKS_MAX: usize = 2 * SYNC_BLOCKS_MAX;
/// A replica that is less than a pipeline behind for less than this is about to catch up by itself; then it asks for
/// sync.
pub const REPLICA_BEHIND_GRACE_MS: u64 = 100;
/// Sync is asked for again after this time if nothing came.
pub const REPLICA_SYNC_AGAIN_MS: u64 = 500;
/// One peer's status, or its fetches, are answered at most this often. What comes in between gets no answer.
pub const REPLICA_ANSWER_INTERVAL_MS: u64 = 15;
/// Replicas tell each other where they stand at this interval when nothing is pending.
pub const REPLICA_STATUS_IDLE_MS: u64 = 1_000;
/// The shortest interval of that while something is pending; else a quarter of the view timeout.
pub const REPLICA_STATUS_PENDING_MS_MIN: u64 = 20;
/// Heights for which one answer to a status carries proposals and votes. The next answer carries the next.
pub const REPLICA_STATUS_HEIGHTS_MAX: usize = 64;
/// The shortest time for which a proposal from the near future is held; then the clock is looked at again.
pub const REPLICA_HOLD_MS_MIN: u64 = 1;
/// Bundle lists of blocks that are asked for at once, and that one answer carries. The next status asks for the rest.
pub const REPLICA_FETCH_BLOCKS_MAX: usize = 64;

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
/// Requests that a load run may have under way: each has a connection. A larger plan is refused.
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

// ---- health (architecture.md sections 2 and 11) ---------------------------------------------------------------------

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

// ---- the public edge: sessions and live events (api.md sections 3 and 4) --------------------------------------------

/// Connections to the API at a time; each may have a session. Beyond it further ones wait in the listener's backlog.
pub const API_CONNECTIONS_MAX: usize = 4_096;
/// Bytes of the body of a single operation: the largest ticket, and its escapes in JSON. A larger one is `too_large`.
pub const API_BODY_BYTES_MAX: usize = 64 * 1024;
/// How long the head of a request may take; then the connection is closed.
pub const API_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the whole body of a request may take to arrive. Then it is refused as `request_timeout`, and the connection
/// is closed: one that trickles would hold its place for ever.
pub const API_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection without requests is kept.
pub const API_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long what was sent to a client may stay unread by its system. Then the connection is dropped.
pub const API_UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Operations that one connection may have in flight: one batch, and room for what its answers have not left yet.
/// More are refused as `overloaded`.
pub const SESSION_OPERATIONS_MAX: usize = 2 * API_BATCH_OPERATIONS_MAX;
/// Subscriptions of one connection: a WebSocket is one. More are refused as `overloaded`.
pub const SESSION_SUBSCRIPTIONS_MAX: usize = 1;
/// Messages that may wait for one session: HTTP/1.1 carries one request at a time. Beyond it: `overloaded`.
pub const SESSION_MAILBOX_MAX: usize = 16;
/// Committed blocks that may wait for the hub of events. One more is dropped: listeners read what they missed from the
/// store.
pub const EVENTS_MAILBOX_MAX: usize = 256;
/// Clients that may listen for events at a time. One more is refused as `overloaded`.
pub const EVENT_CLIENTS_MAX: usize = 1_024;
/// Blocks with events that may wait for one client. One more, and it is cut off as slow; it may resume.
pub const EVENT_QUEUE_BLOCKS_MAX: usize = 1_024;
/// Events that may wait for one client: the largest block, and as much again. Beyond it as above.
pub const EVENT_QUEUE_EVENTS_MAX: usize = 2 * BLOCK_OPERATIONS_MAX;
/// Events read from the store at once, for a client that resumes.
pub const EVENT_PAGE_MAX: usize = STORE_PAGE_ITEMS_MAX;
/// How long one event may take to be taken by a client's connection. Then the client is cut off as slow.
pub const EVENT_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a WebSocket client is pinged. One from which nothing is heard for three times as long is cut off.
pub const WS_PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a WebSocket client may take to send its key as first message. Then it is closed.
pub const WS_AUTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last words to a WebSocket client may take. Then its connection is dropped.
pub const WS_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of one message of a WebSocket client: it has little to say. A longer one closes the connection.
pub const WS_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// How long a pass for a WebSocket (`POST /api/v1/ws-ticket`) holds. It holds once.
pub const WS_PASS_LIFETIME: Duration = Duration::from_secs(30);
/// Passes that were given out and not used. Beyond it the oldest one no longer holds.
pub const WS_PASSES_MAX: usize = 1_024;

// ---- Membership (consensus.md sections 4 and 10) ----

/// Ends of epochs in the manifest of a snapshot: with four validators some 2 kB each. A longer list is malformed; a chain
/// of more epochs is followed by log sync, or from a later genesis.
pub const EPOCH_ENDS_MAX: usize = 1_024;

/// How often a validator that lost its memory asks for its recovery, in milliseconds. What is asked again joins the wait
/// for the first, or gets its outcome.
pub const RECOVERY_AGAIN_MS: u64 = 2_000;
// ---- the state map and snapshots (consensus.md sections 5 and 7) ----------------------------------------------------

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

// ---- cosignatures, receipts and evidence (consensus.md section 3 item 5, and section 8) ------------------------------

/// Signature lines of one signed note: all validators, and as many outside witnesses. More are refused.
pub const NOTE_SIGNATURES_MAX: usize = 2 * VALIDATORS_MAX;
/// Bytes of one signed note or policy: a line for each signature has at most some 300. A longer one is refused.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of one receipt: the largest outcome in base64, 64 hashes, and a note. A longer one is refused.
pub const RECEIPT_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * 1024;
/// Cosignatures in one message. The sender sends more messages; more from a peer are malformed.
pub const COSIGN_HEADS_MAX: usize = 256;
/// Receipt certificates in one answer: at most 1.1 MB with the largest set. More are malformed.
pub const RECEIPTS_SENT_MAX: usize = 128;
/// Heights at and below the committed one for which cosignatures are held: a peer that was away for that long finds
/// the certificates of later heads, which prove what the earlier ones would. Older ones go.
pub const RECEIPTS_KEPT_HEIGHTS: u64 = 256;
/// Heights above the committed one for which cosignatures are held, one for each validator. What is farther in the
/// future is dropped, and asked for when this node is there.
pub const RECEIPTS_AHEAD_HEIGHTS: u64 = 256;
/// The least time between two messages with cosignatures: under load what comes meanwhile goes together. The first one
/// after a pause leaves at once.
pub const COSIGN_INTERVAL_MS: u64 = 10;
/// How long a committed block waits for somebody else's sync before one is asked for: a vote's sync is never behind
/// that of a cosignature.
pub const COSIGN_FLUSH_AFTER_MS: u64 = 5;
/// How long cosignatures may take before others are asked for them. Doubles with each try.
pub const RECEIPTS_FETCH_AFTER_MS: u64 = 500;
/// How often others are asked, one after the other. Then the height stays without a certificate of its own.
pub const RECEIPTS_FETCH_TRIES_MAX: u32 = 8;
/// How long a request waits for the cosignatures of an outcome. Then it is answered without them.
pub const RECEIPT_WAIT: Duration = Duration::from_secs(2);
/// Bytes of one piece of evidence: the largest hold VIEW-CHANGEs. A larger one is not made, and refused.
pub const EVIDENCE_BYTES_MAX: usize = 1024 * 1024;
/// VIEW-CHANGEs in one piece of evidence: all that a NEW-VIEW may name.
pub const EVIDENCE_VIEW_CHANGES_MAX: usize = VALIDATORS_MAX;
/// Pieces of evidence against one validator that are kept and told: one is enough to know it. Further ones are dropped.
pub const EVIDENCE_PER_CULPRIT_MAX: usize = 64;
/// Votes of one validator that are remembered to prove a contradiction: 1 MB. The lowest heights are forgotten first.
pub const WITNESS_VOTES_PER_SENDER_MAX: usize = 4_096;
/// Heights below the committed one for which votes are remembered.
pub const WITNESS_KEPT_HEIGHTS: u64 = 256;
/// Headers that are remembered to prove a bad proposal. The lowest heights are forgotten first.
pub const WITNESS_HEADERS_MAX: usize = 4_096;
/// VIEW-CHANGEs, and NEW-VIEWs, of one validator that are remembered: the latest views.
pub const WITNESS_VIEW_CHANGES_PER_SENDER_MAX: usize = 4;
/// The least time between two answers to one peer that lacks receipts; what it asks meanwhile is dropped.
pub const RECEIPTS_ANSWER_INTERVAL_MS: u64 = 100;

/// Parts that one peer is asked for at a time: while one is on its way, the next is read.
pub const SNAPSHOT_PARTS_PER_PEER: usize = 2;
/// Parts that are asked for at a time: with their answers they are all that a node holds of a snapshot in memory.
pub const SNAPSHOT_PARTS_ASKED_MAX: usize = 16;
/// How long a peer may take for a manifest or a part. Then another is asked.
pub const SNAPSHOT_ANSWER_TIMEOUT_MS: u64 = 2_000;
/// Parts that a peer may fail to send in time, one after the other. Then it is asked for none until nobody else is left.
pub const SNAPSHOT_STRIKES_MAX: u32 = 3;
/// How often a node that fetches a snapshot looks whether answers are late.
pub const SNAPSHOT_TICK_MS: u64 = 250;
/// A node that is so many blocks behind fetches a snapshot instead of executing them: about what it executes in the time
/// that a small snapshot takes.
pub const SNAPSHOT_BEHIND_BLOCKS: u64 = 1_024;
/// Parts of former attempts that are kept on disk. Beyond it the node begins without them.
pub const SNAPSHOT_PARTS_KEPT_MAX: usize = 2 * SNAPSHOT_PARTS_MAX;
/// How often a node that nobody had a snapshot for asks for blocks, however far it is behind, before it asks for one again.
pub const SNAPSHOT_REFUSED_ASKS: u32 = 16;
/// Requests of nodes without a vote that are answered at a time. A further one is dropped, and asked again.
pub const OBSERVER_CREDITS: usize = 2;
/// How often a node without a vote asks for new blocks when it has all that it knows of.
pub const OBSERVER_FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

// The simulator (`dtvn simulator`).

/// Nodes of a simulated network: messages grow with the square. More are refused.
pub const SIMULATOR_NODES_MAX: usize = 31;
/// Tickets of a simulation: each is held with all its outcomes, several times over. More are refused.
pub const SIMULATOR_TICKETS_MAX: usize = 100_000;
/// Virtual time of a simulation, in microseconds: a day. More is refused.
pub const SIMULATOR_DURATION_US_MAX: u64 = 24 * 3_600 * 1_000_000;
/// Latency of a simulated link, in microseconds: beyond it nobody waits for an answer. More is refused.
pub const SIMULATOR_LATENCY_US_MAX: u64 = 10 * 1_000_000;
