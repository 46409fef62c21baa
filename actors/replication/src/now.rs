//! The time at which an input arrives.

pub use dtvn_messages::Now;
