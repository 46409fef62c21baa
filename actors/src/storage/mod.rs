//! What a node keeps on disk (architecture.md section 5).

pub mod store;
