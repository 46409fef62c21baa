//! The network layer over real libp2p on the loopback interface, several nodes in one process (architecture.md
//! sections 4, 6 and 7; faults.md, "Network and membership").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod classes;
mod discovery;
mod harness;
mod hostile;
mod liar;
mod membership;
mod mesh;
mod raw;
mod restarts;
mod streams;
mod versions;
