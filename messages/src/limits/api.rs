//! The public edge: operations, sessions and live events (api.md sections 2 to 4).

use core::time::Duration;

use super::{BLOCK_OPERATIONS_MAX, STORE_PAGE_ITEMS_MAX};

// ---- operations -----------------------------------------------------------------------------------------------------

/// Operations in one `POST /api/v1/operations`. More are `too_large`.
pub const API_BATCH_OPERATIONS_MAX: usize = 1_000;
/// Bytes of one batch, one way, in JSON or bincode. More are `too_large`; a client refuses a longer answer.
pub const API_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

// ---- sessions and live events ---------------------------------------------------------------------------------------

/// Connections to the API at a time; each may have a session. Beyond it further ones wait in the listener's backlog.
pub const API_CONNECTIONS_MAX: usize = 4_096;
/// Connections to the API of one client, by its address (of IPv6 its network of 64 bits), loopback too: half of all, for a
/// proxy with every listener for events behind it. With fewer places it is half of those. A further one is closed at once.
pub const API_CONNECTIONS_PER_CLIENT_MAX: usize = 2_048;
/// Connections to the admin listener at a time.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Files that a node opens itself, at most, beside connections to its API: the database's (`STORE_OPEN_FILES_MAX`), links to
/// validators and to peers that are not known yet, the log, snapshots that are read, the runtime.
pub const NODE_FILES_MAX: usize = 1_536;
/// Every so many requests, the rate limits forget callers that have not asked for a second: about so many more are
/// remembered at most.
pub const RATE_SWEEP_REQUESTS: u64 = 4_096;
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
/// Those of them that have not shown the key yet, so that whoever has none takes no place for long. One more likewise.
pub const EVENT_STRANGERS_MAX: usize = 128;
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
