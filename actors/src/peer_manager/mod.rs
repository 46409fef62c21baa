//! The peers: who they are, where they are, whether they are alive, and what they are owed.
//!
//! architecture.md sections 2 and 6. Three actors beside the swarm's own:
//! - `peer_manager` knows who is who (validators of the epoch, bootstrap peers, strangers) and passes on what the swarm
//!   tells; strangers, whose number is bounded, live inside it;
//! - `peers/peer-<name>`, one for each validator and bootstrap peer: dials, greets, watches, scores and bans it, and
//!   owns the tasks that read and write its streams.
//!
//! Here is what they decide and how it is done: `peer/` is one peer as a pure value, `dialing.rs` and `bootstrap.rs`
//! say when and where to dial, `member.rs` gives the value a body, `roster.rs` says who is what. Frames pass none of
//! them by: see `network`.

mod actor;
mod bootstrap;
mod dialing;
mod member;
mod peer;
mod peer_actor;
mod roster;

use std::sync::Arc;

use dtvn_messages::limits;

use crate::directory::Role as ActorRole;
use crate::network::shared::Shared;
use crate::supervision::{ChildSpec, Strategy, SupervisorSpec};

pub use actor::PeerManagerMessage;
pub use member::PeerMessage;

/// The peer manager's role.
pub const PEER_MANAGER: ActorRole<PeerManagerMessage> = ActorRole::new("peer_manager");

/// The supervisor of the peers' actors, beside the peer manager.
const PEERS: &str = "peers";

/// The children of `links` that belong to this module, in start order: the peers' supervisor, which may be empty, then
/// the peer manager, which fills it. So the peers outlive a restart of the manager.
pub(crate) fn children(shared: &Arc<Shared>) -> [ChildSpec; 2] {
    let peers = SupervisorSpec::new(PEERS, Strategy::OneForOne)
        .intensity(limits::PEER_RESTARTS_MAX, limits::SUPERVISOR_RESTART_WINDOW)
        .dynamic(limits::PEER_ACTORS_MAX);
    let shared = Arc::clone(shared);
    let manager =
        ChildSpec::worker(PEER_MANAGER, move |context| actor::PeerManager::start(context, Arc::clone(&shared)));
    [ChildSpec::supervisor(peers), manager]
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::network::notices::SwarmCommand;
    use crate::network::shared::tests::shared_of_two;
    use crate::supervision::NodeTree;
    use crate::supervision::tests::soon;

    /// Waits until the swarm is told to dial, and does nothing of all that it is told.
    async fn dialed(commands: &mut mpsc::Receiver<SwarmCommand>) {
        soon("a dial", async { while !matches!(commands.recv().await.unwrap(), SwarmCommand::Dial { .. }) {} }).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_peer_of_whose_dial_no_end_was_told_is_dialed_again_when_the_manager_has_started_again() {
        let shared = shared_of_two("/ip4/127.0.0.1/tcp/1".parse().unwrap());
        let (swarm, mut commands) = mpsc::channel(64);
        shared.set_swarm(swarm);
        let links = SupervisorSpec::new("links", Strategy::RestForOne);
        let links = children(&shared).into_iter().fold(links, SupervisorSpec::child);
        let tree = soon("start", NodeTree::start(links)).await.unwrap();
        dialed(&mut commands).await;
        soon("restart", tree.restart("peer_manager")).await.unwrap();
        dialed(&mut commands).await;
    }
}
