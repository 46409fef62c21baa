//! What DTVN nodes say to each other and to third parties: types, signed layouts, codec, limits, certificates.
//!
//! No IO, no clock, no async. A verifier by somebody else can be built on this crate alone.

pub mod limits;
