//! The consensus core of DTVN: chained, batched, pipelined PBFT as one value.
//!
//! [`Replica`] has no clock, socket, disk, randomness or async: [`Replica::step`] takes an [`Input`] and appends
//! [`Effect`]s (consensus.md section 11). Signatures are checked before an input reaches it and made after an effect
//! leaves it. The base is Castro and Liskov, "Practical Byzantine Fault Tolerance" (OSDI '99, TOCS 2002); deviations
//! stand at the head of the module that makes them:
//!
//! | module | what it does | section |
//! |---|---|---|
//! | `early` | messages that have to wait | 3 |
//! | `accept` | fresh proposals: checks, holding | 2, 3 |
//! | `execute` | speculation, refusal, divergence | 2, 5 |
//! | `vote` | PREPARE, prepared, COMMIT | 3, 4 |
//! | `commit` | committing | 3 |
//! | `propose` | the leader's blocks | 3 |
//! | `checkpoint` | checkpoints and what they collect | 5 |
//! | `wish`, `pace` | timers, wishes, moving to a view | 6 |
//! | `view_change`, `selection`, `install` | VIEW-CHANGE, NEW-VIEW, and taking over what they prove | 6 |
//! | `epoch` | the end of an epoch | 10 |
//! | `status` | the only retransmission | 7 |
//! | `certified` | adopting what others proved | 3, 7 |
//! | `recover` | start and restart: the same replay | 4, 11 |
#![warn(missing_docs)]

mod accept;
mod bundles;
mod certified;
mod chain;
mod checkpoint;
mod commit;
mod config;
mod early;
mod effect;
mod epoch;
mod execute;
mod input;
mod install;
mod pace;
mod propose;
mod recover;
mod replica;
mod slot;
mod status;
mod timers;
mod view_change;
mod vote;
mod wish;

pub use bundles::BundleMeta;
pub use config::{Committee, Config};
pub use dtvn_messages::selection::{Selected, Selection, select};
pub use effect::{Cause, Effect, Record, Say, Ticket, Unsigned};
pub use input::{CertifiedBlock, Durable, Input, Message, Own, Timer};
pub use recover::Base;
pub use replica::{Replica, View as ReplicaView};
