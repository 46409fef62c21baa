//! The decoders that read bytes from a peer, a disk or a client, each as a *target*: a function over any bytes that fails
//! if the decoder panics, allocates more than a fixed multiple of its input, or breaks its round trip. `../fuzz/README.md`
//! names the few that are none, and why.
//!
//! The same targets run in two ways. `tests/replay.rs` replays the corpus and some thousands of seeded mutations of it in
//! every `cargo test`, and needs nothing special. The workspace `../fuzz` gives each target to libFuzzer, for nights; its
//! README.md has the commands.
#![warn(missing_docs)]

pub mod corpus;
pub mod mutate;
pub mod target;
pub mod targets;

pub use target::{Judged, Target};
pub use targets::{TARGETS, find};
