//! What a node says of itself, of the chain and of its peers (api.md section 3).

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use dtvn_actors::network::PeerState;
use dtvn_actors::storage::store::StoredBlock;
use dtvn_client::api::{
    Block, Blocks, BundleInfo, CertificateInfo, Configuration, ConsensusLogEntry, ConsensusLogs, EvidencePage,
    EvidenceRecord, Health, NodeCrypto, Peer, Peers, SeenTimes, Sequence, Stats, Status, StorageEntries, Time,
};
use dtvn_messages::{Bundle, Digest, Height, NodeName, Reason, ReceiptCertificate, ValidatorIndex, View};

use super::Services;
use super::problem::Refusal;
use super::tickets::limit_of;
use crate::telemetry::why_not_voting;

impl Services {
    fn name_of(&self, index: ValidatorIndex) -> NodeName {
        let epoch = self.board.epoch();
        epoch.config.set.get(index).map_or_else(|| self.board.identity.name.clone(), |validator| validator.name.clone())
    }

    fn uptime_seconds(&self) -> u64 {
        let now = dtvn_actors::shared::wall();
        now.0.saturating_sub(self.board.identity.started_at.0) / 1_000_000
    }

    /// Why the node is not ready, in words; nothing if it is.
    pub(super) fn not_ready(&self) -> Vec<String> {
        self.telemetry.sources().not_ready()
    }
}

#[utoipa::path(get, path = "/health", tag = "node",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
/// Whether this node is ready to take operations, and if not why.
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
        commit: option_env!("DTVN_COMMIT").map(str::to_owned),
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
        consensus_log_count: if height == Height(0) { 0 } else { height.above(lowest) + 1 },
        latest_checkpoint: stable.map_or(Height(0), |stable| stable.height()),
        db_stats,
    }))
}

/// `?height=`.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct HeightQuery {
    /// The height; the last one if not given.
    height: Option<u64>,
}

#[utoipa::path(get, path = "/api/v1/sequence", tag = "chain", params(HeightQuery),
    responses((status = 200, body = Sequence)))]
/// The digest of the history at a height.
pub(super) async fn sequence(
    services: web::Data<Services>,
    query: web::Query<HeightQuery>,
) -> Result<HttpResponse, Refusal> {
    let wanted = query.height.map(Height);
    let genesis = services.board.identity.genesis.hash();
    let (_, found) = services
        .read(move |view| {
            let applied = view.applied();
            let height = wanted.unwrap_or(applied.height);
            if height == Height(0) {
                return Ok(Some((height, genesis, 0)));
            }
            if height == applied.height {
                return Ok(Some((height, applied.block, applied.log.size())));
            }
            Ok(view.block(height)?.map(|block| (height, block.digest, block.block.header.log_size)))
        })
        .await?;
    let Some((height, digest, log_size)) = found else {
        return Err(Refusal::new(Reason::NotFound, "this node has no block at that height"));
    };
    let node_id = services.board.identity.name.clone();
    Ok(HttpResponse::Ok().json(Sequence { node_id, height, digest, log_size }))
}

/// A page of blocks, newest first.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct BlocksQuery {
    /// The `next` of the page before.
    after: Option<u64>,
    /// How many at most: 1 to 1,000.
    limit: Option<usize>,
}

async fn newest_first(
    services: &Services,
    query: BlocksQuery,
) -> Result<(Height, Vec<StoredBlock>, Option<Height>), Refusal> {
    let limit = limit_of(query.limit)?;
    let after = query.after;
    let (height, blocks) = services
        .read(move |view| {
            let mut blocks = Vec::new();
            let mut height = after.map_or(view.applied().height, |after| Height(after).previous());
            let lowest = view.lowest_block()?.max(Height(1));
            while height >= lowest && blocks.len() < limit {
                let Some(block) = view.block(height)? else { break };
                blocks.push(block);
                height = height.previous();
            }
            Ok((blocks, lowest))
        })
        .await?;
    let (blocks, lowest) = blocks;
    let next = blocks.last().map(StoredBlock::height).filter(|last| *last > lowest);
    Ok((height, blocks, next))
}

/// A page of evidence.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceQuery {
    /// The `next` of the page before.
    after: Option<String>,
    /// How many at most: 1 to 1,000.
    limit: Option<usize>,
}

#[utoipa::path(get, path = "/api/v1/evidence", tag = "chain", params(EvidenceQuery),
    responses((status = 200, body = EvidencePage)))]
/// Proof that validators lie, and this node's accusations; `dtvn verify evidence` checks it with keys alone.
pub(super) async fn evidence(
    services: web::Data<Services>,
    query: web::Query<EvidenceQuery>,
) -> Result<HttpResponse, Refusal> {
    let EvidenceQuery { after, limit } = query.into_inner();
    let limit = limit_of(limit)?;
    let (height, page) = services.read(move |view| view.evidence(after.as_deref(), limit)).await?;
    let record = |piece| EvidenceRecord::new(piece, services.name_of(piece.culprit()));
    let evidence = page.items.iter().map(record).collect();
    let answer = EvidencePage { evidence, next: page.next };
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(answer))
}

fn block_json(services: &Services, stored: &StoredBlock) -> Block {
    let header = &stored.block.header;
    let mut block = Block::of_header(header, stored.digest, services.name_of(header.proposer));
    let bundle = |digest: &Digest| BundleInfo { digest: *digest, origin: None, operations: None };
    block.bundles = stored.block.bundles.iter().map(bundle).collect();
    block.certificate = stored.certificate.as_ref().map(|certificate| CertificateInfo {
        view: certificate.vote.view,
        signers: certificate.signatures.signers().map(|signer| services.name_of(signer)).collect(),
    });
    block
}

#[utoipa::path(get, path = "/api/v1/blocks", tag = "chain", params(BlocksQuery),
    responses((status = 200, body = Blocks)))]
/// Blocks, newest first.
pub(super) async fn blocks(
    services: web::Data<Services>,
    query: web::Query<BlocksQuery>,
) -> Result<HttpResponse, Refusal> {
    let (height, blocks, next) = newest_first(&services, query.into_inner()).await?;
    let blocks = blocks.iter().map(|block| block_json(&services, block)).collect();
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(Blocks { blocks, next }))
}

#[utoipa::path(get, path = "/api/v1/blocks/{height}", tag = "chain", params(("height" = u64, Path, description = "The height")),
    responses((status = 200, body = Block)))]
/// A block with its outcomes.
pub(super) async fn block(services: web::Data<Services>, path: web::Path<u64>) -> Result<HttpResponse, Refusal> {
    let wanted = Height(path.into_inner());
    let (height, found) = services
        .read(move |view| {
            let Some(block) = view.block(wanted)? else { return Ok(None) };
            let outcomes = view.outcomes_of(&block)?;
            let bundles = view.committed_block(wanted)?.map_or(Vec::new(), |committed| committed.bundles);
            Ok(Some((block, outcomes, bundles, view.receipt(wanted)?)))
        })
        .await?;
    let not_found = || Refusal::new(Reason::NotFound, "this node has no block at that height");
    let (stored, outcomes, bundles, receipt) = found.ok_or_else(not_found)?;
    let mut block = block_json(&services, &stored);
    let cosigners = |receipt: ReceiptCertificate| receipt.signatures.signers().map(|it| services.name_of(it)).collect();
    block.cosigners = receipt.map(cosigners);
    block.outcomes = outcomes.iter().map(Into::into).collect();
    let chain = services.board.identity.genesis.chain_id();
    for (shown, bytes) in block.bundles.iter_mut().zip(bundles) {
        let bundle = Bundle::from_bytes(&bytes, chain);
        let bundle = bundle.map_err(|fault| Refusal::new(Reason::Internal, format!("a stored bundle: {fault}")))?;
        shown.origin = Some(services.name_of(bundle.body.origin));
        shown.operations = Some(bundle.body.operations.len() as u64);
    }
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(block))
}

#[utoipa::path(get, path = "/api/v1/consensus/logs", tag = "chain", params(BlocksQuery),
    responses((status = 200, body = ConsensusLogs)))]
/// How blocks were agreed on, newest first.
pub(super) async fn logs(
    services: web::Data<Services>,
    query: web::Query<BlocksQuery>,
) -> Result<HttpResponse, Refusal> {
    let (height, blocks, next) = newest_first(&services, query.into_inner()).await?;
    let entry = |stored: &StoredBlock| {
        let header = &stored.block.header;
        let signers = stored
            .certificate
            .as_ref()
            .map(|certificate| certificate.signatures.signers().map(|signer| services.name_of(signer)).collect());
        ConsensusLogEntry {
            height: header.height,
            epoch: header.epoch,
            view: stored.local.view,
            digest: stored.digest,
            proposer: services.name_of(header.proposer),
            bundles: stored.block.bundles.len() as u64,
            operations: u64::from(stored.accepted) + u64::from(stored.refused) + u64::from(stored.repeated),
            agreed_time: Time(header.timestamp),
            seen: SeenTimes {
                proposed: stored.local.proposed_at.map(Time),
                prepared: stored.local.prepared_at.map(Time),
                committed: stored.local.committed_at.map(Time),
            },
            signers: signers.unwrap_or_default(),
        }
    };
    let logs = blocks.iter().map(entry).collect();
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(ConsensusLogs { logs, next }))
}
