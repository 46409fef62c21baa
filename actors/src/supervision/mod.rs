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
//!
//! An actor and a tree:
//! ```
//! use dtvn_actors::directory::Role;
//! use dtvn_actors::mailbox::{FullPolicy, Mail, Reply};
//! use dtvn_actors::supervision::{ActorError, Behaviour, ChildSpec, Context, NodeTree, Strategy, SupervisorSpec};
//! use std::time::Duration;
//!
//! enum CounterMessage {
//!     Add(u64),
//!     Read(Reply<u64>),
//! }
//!
//! impl Mail for CounterMessage {
//!     fn kind(&self) -> &'static str {
//!         match self {
//!             Self::Add(_) => "add",
//!             Self::Read(_) => "read",
//!         }
//!     }
//!     fn policy(&self) -> FullPolicy {
//!         FullPolicy::Wait
//!     }
//! }
//!
//! const COUNTER: Role<CounterMessage> = Role::new("counter");
//!
//! struct Counter(u64);
//!
//! impl Counter {
//!     async fn start(_: Context<CounterMessage>, first: u64) -> Result<Self, ActorError> {
//!         Ok(Self(first))
//!     }
//! }
//!
//! impl Behaviour for Counter {
//!     type Message = CounterMessage;
//!
//!     async fn handle(&mut self, _: &Context<CounterMessage>, message: CounterMessage) -> Result<(), ActorError> {
//!         match message {
//!             CounterMessage::Add(more) => self.0 = self.0.checked_add(more).ok_or(ActorError::new("overflow"))?,
//!             CounterMessage::Read(reply) => _ = reply.send(self.0),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let counter = ChildSpec::worker(COUNTER, |context| Counter::start(context, 7)).mailbox(64);
//! let core = SupervisorSpec::new("core", Strategy::RestForOne).child(counter);
//! let root = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(core));
//! let tree = NodeTree::start(root).await?;
//!
//! let counter = tree.directory().address(&COUNTER);
//! counter.send(CounterMessage::Add(35)).await?;
//! assert_eq!(counter.call(Duration::from_secs(1), CounterMessage::Read).await, Ok(42));
//! tree.restart("core/counter").await?;
//! assert_eq!(counter.call(Duration::from_secs(1), CounterMessage::Read).await, Ok(7));
//! tree.shutdown(Duration::from_secs(10)).await?;
//! # Ok::<(), ActorError>(())
//! # }).unwrap();
//! ```

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
pub(crate) mod tests;
mod tree;

pub use behaviour::{ActorError, Behaviour, StopReason};
pub use cause::{EndCause, Escalation, GaveUpBecause};
pub use context::{Alarm, Context, TaskHandle};
pub use life::Lifeline;
pub use machine::CommandError;
pub use observer::{NoObserver, SupervisionObserver};
pub use snapshot::{KindWork, NodeKind, Status, TreeNode};
pub use spec::{ChildSpec, Intensity, Restart, Strategy, SupervisorSpec};
pub use tree::{NodeTree, RootEnd, ShutdownError, StartError, TreeOptions};
