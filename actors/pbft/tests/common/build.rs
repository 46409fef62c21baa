//! Messages of other validators.
