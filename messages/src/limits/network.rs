//! Connections, streams and queues between nodes (architecture.md sections 4 and 6).

use core::time::Duration;

use super::VALIDATORS_MAX;

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
/// Bytes of the addresses of one peer that others are told when they look for peers. An answer names up to 20 peers, and
/// no node reads one above 16 KiB: what is beyond is not told.
pub const KADEMLIA_ADDRESS_BYTES_MAX: usize = 384;

/// The longest frame taken from a peer that is no validator, in bytes: it asks, it has nothing long to say. A longer
/// one closes the session and counts against the peer.
pub const STRANGER_FRAME_BYTES_MAX: usize = 64 << 10;
/// For so long after it was asked for blocks or a state a stranger's frames may be as long as a validator's.
pub const STRANGER_ANSWER_WITHIN: Duration = Duration::from_secs(30);

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

/// Consensus frames read from one peer in a second. A busy replica says a few hundred: a vote of each kind for each
/// height, and its status. Each costs the check of a signature, so one that says as much as it can would cost a
/// processor. Above it that peer's stream is read no faster; nothing is lost, others are not affected.
pub const READ_CONSENSUS_FRAMES_PER_SECOND: u32 = 2_000;
/// Bundle frames read from one peer in a second: its bundles, cosignatures, and what it asks for. As above.
pub const READ_BUNDLE_FRAMES_PER_SECOND: u32 = 2_000;
/// Sync frames read from one peer in a second: requests and answers. As above.
pub const READ_SYNC_FRAMES_PER_SECOND: u32 = 200;
/// A frame of consensus or bundles counts once more for each so many bytes of it: decoding and hashing costs by length.
/// With the bounds above that is 16 MiB in a second.
pub const READ_BYTES_COUNTED: usize = 8 << 10;
/// The same of sync, of which frames are long, and asked for: 50 MiB in a second.
pub const READ_SYNC_BYTES_COUNTED: usize = 256 << 10;
/// What a peer is read or served in so many seconds it may have at once, after a silence.
pub const PACE_BURST_SECONDS: u32 = 2;
/// Bytes of blocks and of snapshots that one peer is served in a second, in KiB. Its next request waits until the last
/// one is paid for; then that peer's stream is not read. A node that catches up asks several.
pub const SERVED_SYNC_KIB_PER_SECOND: u32 = 16 << 10;
/// Requests for blocks, manifests and parts of one peer that are served or wait for it: a node that catches up has two parts
/// and a range of blocks on their way from one peer. Further ones are dropped; they are asked for again.
pub const SERVED_REQUESTS_PER_ASKER_MAX: usize = 3;
/// What a request costs at least, in KiB: reading costs something too, whatever is found.
pub const SERVED_SYNC_REQUEST_KIB: u32 = 128;

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
/// Streams of one connection that may be negotiating their protocol at a time. Further ones wait for their turn.
pub const STREAMS_NEGOTIATING_MAX: usize = 16;

/// Connections to one validator: the used one, a spare from a simultaneous dial, and room for a restart on each side.
/// Further ones are refused.
pub const CONNECTIONS_PER_VALIDATOR_MAX: usize = 4;
/// Connections of one peer that is no validator. Further ones are refused.
pub const CONNECTIONS_PER_STRANGER_MAX: usize = 2;
/// Connections of all peers that are no validators (observers, discovery): so many that they opened, and so many that this
/// node opened. Further ones are refused.
pub const STRANGER_CONNECTIONS_MAX: usize = 32;
/// Those of them that one IP address may have opened, so that one that takes all it gets leaves places for others. Further
/// ones are refused.
pub const STRANGER_CONNECTIONS_PER_ADDRESS_MAX: usize = 8;
/// How long a peer that is no validator may take none of what it is sent. Then its session ends.
pub const STRANGER_UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Inbound connections whose identity is not known yet: so many from addresses where a validator was last seen, and so
/// many from others. Further ones are closed unanswered.
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
/// Failures of peers' actors within [`SUPERVISOR_RESTART_WINDOW`](super::SUPERVISOR_RESTART_WINDOW) that are mended: there are many of them, and each
/// failure ends one session only. One more, and the whole subtree of links starts anew.
pub const PEER_RESTARTS_MAX: u32 = 10;
/// Commands and notices waiting inside the network layer, per queue. When full, the asker waits.
pub const NETWORK_QUEUE_MAX: usize = 256;
/// Network events waiting for a slow listener. At the bound, refusals are dropped (and counted), and a connection that
/// came and went unseen is left out.
pub const NETWORK_EVENTS_MAX: usize = 1_024;
/// How long a graceful shutdown waits for queued frames to be written and read. What remains is dropped.
pub const NETWORK_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
