//! Trees of real actors.
