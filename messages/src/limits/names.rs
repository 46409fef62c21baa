//! Names, texts and the parts of operations: what is longer is refused where it is read.

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
