//! Supervision: actors that fail are started again in order, and everything can be looked at while it runs.
//!
//! Architecture, section 2: "Start in order; stop in reverse order and *wait*; kill only after a timeout. Intensity
//! window per subtree, then escalate. [...] the supervisor is ours, small, and tested hard." Where to look:
//! - `behaviour.rs`, `context.rs`: what an actor is, and what it has at hand. Start here to write one.
//! - `spec.rs`, `tree.rs`: what a tree is made of, and what can be done with it.
//! - `machine/`: the supervisor's mind, a pure value: which child to stop or start next.
//! - `supervisor.rs`, `supervisor/`: its body, a ractor actor that never waits; here stands why it misses no event.
//! - `guardian.rs`, `life.rs`: when an incarnation is really over. `adaptor.rs`, `launch.rs`: how one begins and runs.
//! - `record.rs`, `snapshot.rs`, `observer.rs`: what can be seen from outside.

mod adaptor;
mod behaviour;
mod cause;
mod context;
mod guardian;
mod launch;
mod life;
mod machine;
mod observer;
mod record;
mod snapshot;
mod spec;
mod supervisor;
#[cfg(test)]
mod tests;
mod tree;

pub use behaviour::{ActorError, Behaviour, StopReason};
pub use cause::{EndCause, Escalation, GaveUpBecause};
pub use context::{Context, TaskHandle};
pub use life::Lifeline;
pub use machine::CommandError;
pub use observer::{NoObserver, SupervisionObserver};
pub use snapshot::{KindWork, NodeKind, Status, TreeNode};
pub use spec::{ChildSpec, Intensity, Restart, Strategy, SupervisorSpec};
pub use tree::{NodeTree, RootEnd, ShutdownError, StartError, TreeOptions};
