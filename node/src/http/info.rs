//! What a node says of itself and of its peers (api.md section 3).

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use dtvn_actors::network::PeerState;
use dtvn_client::api::{Configuration, Health, NodeCrypto, Peer, Peers, Stats, Status, StorageEntries};
use dtvn_messages::{Height, NodeName, Reason, ValidatorIndex, View};

use super::Services;
use super::problem::Refusal;
use crate::telemetry::why_not_voting;

impl Services {
    /// The name of a validator of the present epoch; our own if it has just changed.
    fn name_of(&self, index: ValidatorIndex) -> NodeName {
        let epoch = self.board.epoch();
        epoch.config.set.get(index).map_or_else(|| self.board.identity.name.clone(), |validator| validator.name.clone())
    }

    fn uptime_seconds(&self) -> u64 {
        self.telemetry.uptime().as_secs()
    }

    /// Why the node is not ready, in words; nothing if it is.
    pub(super) fn not_ready(&self) -> Vec<String> {
        self.telemetry.sources().not_ready()
    }
}

#[utoipa::path(get, path = "/health", tag = "node",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
/// Whether this node is ready to take operations, and if not why.
///
/// It counts the validators that are connected: whether each of them votes at present it cannot know, and their own answers
/// say.
pub(super) async fn health(services: web::Data<Services>) -> HttpResponse {
    health_answer(services.not_ready())
}

/// 200 without reasons, else 503 with them.
pub(super) fn health_answer(reasons: Vec<String>) -> HttpResponse {
    if reasons.is_empty() {
        HttpResponse::Ok().json(Health { status: "healthy".to_owned(), reasons })
    } else {
        HttpResponse::ServiceUnavailable().json(Health { status: "unhealthy".to_owned(), reasons })
    }
}

#[utoipa::path(get, path = "/api/v1/status", tag = "node",
    responses((status = 200, body = Status)))]
/// How this node is.
pub(super) async fn status(services: web::Data<Services>) -> HttpResponse {
    let identity = &services.board.identity;
    let shown = services.board.consensus().borrow().clone();
    let voting = shown.replica.is_some_and(|replica| replica.voting);
    let not_voting_because = (!voting).then(|| why_not_voting(shown.not_voting.as_ref()));
    let is_ready = services.not_ready().is_empty();
    HttpResponse::Ok().json(Status {
        status: if is_ready { "running" } else { "starting" }.to_owned(),
        node_id: identity.name.clone(),
        uptime_seconds: services.uptime_seconds(),
        ws_clients: services.listeners.load(std::sync::atomic::Ordering::Relaxed),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: crate::commit().map(str::to_owned),
        rules_version: identity.genesis.file().rules_version,
        chain_id: identity.genesis.chain_id().clone(),
        genesis_hash: identity.genesis.hash(),
        voting,
        not_voting_because,
    })
}

#[utoipa::path(get, path = "/api/v1/stats", tag = "node",
    responses((status = 200, body = Stats)))]
/// Figures of this node.
pub(super) async fn stats(services: web::Data<Services>) -> Result<HttpResponse, Refusal> {
    let (_, counts) = services.read(|view| Ok(view.applied().counts)).await?;
    let identity = &services.board.identity;
    let shown = services.board.consensus().borrow().replica;
    let leader = shown.map_or(ValidatorIndex(0), |replica| replica.leader);
    let peer_count = connected(&services).iter().filter(|peer| peer.connected).count() as u64;
    Ok(HttpResponse::Ok().json(Stats {
        node_id: identity.name.clone(),
        peer_count,
        is_primary: Some(leader) == services.board.epoch().config.me,
        primary: services.name_of(leader),
        current_view: shown.map_or(View(0), |replica| replica.view),
        sequence: shown.map_or(Height(0), |replica| replica.committed),
        stable_checkpoint: shown.map_or(Height(0), |replica| replica.stable),
        operations: counts.outcomes(),
        tickets: counts.tickets(),
        pending_operations: services.intake.depth() as u64,
        cache_size: counts.tickets(),
        view_changes: services.board.view_changes().map(|(_, count)| count).sum(),
    }))
}

fn connected(services: &Services) -> Vec<Peer> {
    let Some(handle) = services.network.get() else { return Vec::new() };
    handle
        .peers()
        .into_iter()
        .map(|peer| Peer {
            id: peer.peer.to_string(),
            node_id: peer.name,
            addresses: peer.addresses.iter().map(ToString::to_string).collect(),
            connected: matches!(peer.state, PeerState::Connected | PeerState::Suspect),
            round_trip_us: peer.round_trip.and_then(|time| u64::try_from(time.as_micros()).ok()),
            height: None,
        })
        .collect()
}

#[utoipa::path(get, path = "/api/v1/peers", tag = "node",
    responses((status = 200, body = Peers)))]
/// The peers of this node.
pub(super) async fn peers(services: web::Data<Services>) -> HttpResponse {
    let peers = connected(&services);
    let count = peers.iter().filter(|peer| peer.connected).count() as u64;
    HttpResponse::Ok().json(Peers { peers, count })
}

#[utoipa::path(get, path = "/api/v1/config", tag = "node",
    responses((status = 200, body = Configuration)))]
/// The settings of this node, without secrets.
pub(super) async fn config(services: web::Data<Services>) -> HttpResponse {
    let identity = &services.board.identity;
    let epoch = services.board.epoch();
    let set = &epoch.config.set;
    let shown = services.board.consensus().borrow().replica;
    let settings = serde_json::to_value(identity.genesis.parameters()).ok();
    let settings: BTreeMap<String, serde_json::Value> =
        settings.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
    HttpResponse::Ok().json(Configuration {
        node_id: identity.name.clone(),
        total_nodes: set.len() as u64,
        fault_tolerance: set.weak_quorum() - 1,
        quorum: set.quorum(),
        is_primary: shown.is_some_and(|replica| Some(replica.leader) == epoch.config.me),
        bootstrap_node: services.config.node.bootstrap_node,
        settings,
    })
}

#[utoipa::path(get, path = "/api/v1/genesis", tag = "chain",
    responses((status = 200, description = "The genesis file", body = Object)))]
/// The genesis of the chain.
pub(super) async fn genesis(services: web::Data<Services>) -> HttpResponse {
    HttpResponse::Ok().json(services.board.identity.genesis.file())
}

#[utoipa::path(get, path = "/api/v1/node/crypto", tag = "node",
    responses((status = 200, body = NodeCrypto)))]
/// The identity of this node.
pub(super) async fn crypto(services: web::Data<Services>) -> HttpResponse {
    let identity = &services.board.identity;
    let listen_addresses = services.listening.borrow().iter().map(ToString::to_string).collect();
    HttpResponse::Ok().json(NodeCrypto {
        node_id: identity.name.clone(),
        peer_id: services.peer_id.clone(),
        public_key: identity.public_key,
        key_algorithm: "Ed25519".to_owned(),
        transport_security: vec!["Noise".to_owned(), "TLS 1.3".to_owned()],
        listen_addresses,
    })
}

#[utoipa::path(get, path = "/api/v1/storage/entries", tag = "node",
    responses((status = 200, body = StorageEntries)))]
/// What this node stores.
pub(super) async fn storage(services: web::Data<Services>) -> Result<HttpResponse, Refusal> {
    let (height, (counts, lowest, stable)) = services
        .read(|view| Ok((view.applied().counts, view.lowest_block()?, view.latest_stable_checkpoint()?)))
        .await?;
    let store = services.store.get().ok_or_else(|| Refusal::new(Reason::Restarting, "the store is not open"))?;
    let stats = store.stats().map_err(|error| super::problem::of_store(&error))?;
    let ticket_states = counts.by_state().into_iter().map(|(state, count)| (state.to_owned(), count)).collect();
    let db_stats = BTreeMap::from([
        ("disk_bytes".to_owned(), stats.disk_bytes()),
        ("memory_bytes".to_owned(), stats.memory_bytes()),
        ("files".to_owned(), stats.files() as u64),
    ]);
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(StorageEntries {
        total_tickets: counts.tickets(),
        ticket_states,
        consensus_log_count: height.next().above(lowest),
        latest_checkpoint: stable.map_or(Height(0), |stable| stable.height()),
        db_stats,
    }))
}
