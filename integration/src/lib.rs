//! Scenarios on real processes: whole networks of the program that ships, over real libp2p, RocksDB and HTTP.
//!
//! The scenarios are the tests of this package; its own program is `dtvn`, so that cargo builds what they run.
#![warn(missing_docs)]

pub mod history;
