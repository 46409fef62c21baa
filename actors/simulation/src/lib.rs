//! Seeded simulator of whole networks of the very [`dtvn_replication::node::Node`] that ships (faults.md, "The
//! simulator").
//!
//! One seed draws a network, its faults and its clients ([`scenario`]), and reproduces the whole run, on every machine:
//! the world is a heap of events keyed (time, sequence), there is one pinned generator per concern, and nothing else is
//! random. A run has two phases: first faults and lies, with every invariant of consensus.md section 12 checked after
//! every event ([`oracle`]); then the network heals, and all that clients asked for must be decided within a bound.
//!
//! | module | what it is |
//! |---|---|
//! | [`scenario`] | what a seed draws: sizes, parameters, faults, liars |
//! | `world`, `effects`, `host`, `links`, `addresses` | the heap of events, nodes on it, the network between them |
//! | `faults` | crashes, partitions, pauses, clocks, disks |
//! | [`lies`] | filters around real nodes that hold their keys |
//! | `clients`, `operators` | the workload, and who changes the validators |
//! | [`oracle`] | the invariants |
//! | [`coverage`] | what a run met: a batch that misses something is blind |
//! | [`stage`] | directed scenarios, step by step |
//! | [`run`] | a run, a batch, and shrinking |
#![warn(missing_docs)]

mod addresses;
mod clients;
pub mod coverage;
mod effects;
mod faults;
mod host;
pub mod lies;
mod links;
mod operators;
pub mod oracle;
pub mod random;
pub mod run;
pub mod scenario;
pub mod signature;
pub mod stage;
mod world;

pub use coverage::{Counter, Coverage, Group};
pub use faults::LostVotes;
pub use lies::Behaviour;
pub use oracle::{Invariant, Violation};
pub use run::{End, Latency, Progress, Report, Simulation, simulate};
pub use scenario::{Changes, Fault, Level, Link, Plan, PlanError, Sabotage, Scenario, Workload};
pub use stage::{Broken, Harm, Member, Stage};
