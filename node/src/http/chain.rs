//! The chain: blocks, how they were agreed on, by whom, and proof of who lied (api.md section 3).

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use dtvn_actors::storage::store::{StoredBlock, View};
use dtvn_client::api::{
    Block, Blocks, BundleInfo, CertificateInfo, ConsensusLogEntry, ConsensusLogs, EpochInfo, Epochs, EvidencePage,
    EvidenceRecord, SeenTimes, Sequence, Time,
};
use dtvn_messages::certificate::Signatures;
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::{Bundle, Digest, Epoch, Evidence, Height, NodeName, Reason, ValidatorIndex};

use super::Services;
use super::problem::Refusal;
use super::tickets::limit_of;

/// The name of a validator of an epoch.
fn name(chronicle: &Chronicle, epoch: Epoch, index: ValidatorIndex) -> Result<NodeName, Refusal> {
    let found = chronicle.set(epoch).and_then(|set| set.get(index));
    let internal = || Refusal::new(Reason::Internal, format!("who was validator {index} in epoch {epoch}?"));
    found.map(|validator| validator.name.clone()).ok_or_else(internal)
}

fn names(chronicle: &Chronicle, epoch: Epoch, signatures: &Signatures) -> Result<Vec<NodeName>, Refusal> {
    signatures.signers().map(|signer| name(chronicle, epoch, signer)).collect()
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
    let genesis = Arc::clone(&services.board.identity.genesis);
    let (_, found) = services
        .read(move |view| {
            let applied = view.applied();
            let height = wanted.unwrap_or(applied.height);
            if height == genesis.base() {
                return Ok(Some((height, genesis.hash(), genesis.base_log().0)));
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

/// A page of blocks, newest first, or of epochs.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// The `next` of the page before.
    after: Option<u64>,
    /// How many at most: 1 to 1,000.
    limit: Option<usize>,
}

/// Blocks, newest first, at a height of this node, and where to go on.
struct BlockPage {
    height: Height,
    blocks: Vec<StoredBlock>,
    next: Option<Height>,
    chronicle: Arc<Chronicle>,
}

async fn newest_first(services: &Services, query: PageQuery) -> Result<BlockPage, Refusal> {
    let limit = limit_of(query.limit)?;
    let after = query.after;
    let (height, (blocks, lowest), chronicle) = services
        .read_with_names(move |view| {
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
    let next = blocks.last().map(StoredBlock::height).filter(|last| *last > lowest);
    Ok(BlockPage { height, blocks, next, chronicle })
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
    let read = move |view: &View<'_>| view.evidence(after.as_deref(), limit);
    let (height, page, chronicle) = services.read_with_names(read).await?;
    let record =
        |piece: &Evidence| Ok(EvidenceRecord::new(piece, name(&chronicle, piece.slot().epoch, piece.culprit())?));
    let evidence = page.items.iter().map(record).collect::<Result<_, Refusal>>()?;
    let answer = EvidencePage { evidence, next: page.next };
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(answer))
}

fn block_json(chronicle: &Chronicle, stored: &StoredBlock) -> Result<Block, Refusal> {
    let header = &stored.block.header;
    let mut block = Block::of_header(header, stored.digest, name(chronicle, header.epoch, header.proposer)?);
    let bundle = |digest: &Digest| BundleInfo { digest: *digest, origin: None, operations: None };
    block.bundles = stored.block.bundles.iter().map(bundle).collect();
    if let Some(certificate) = &stored.certificate {
        let signers = names(chronicle, header.epoch, &certificate.signatures)?;
        block.certificate = Some(CertificateInfo { view: certificate.vote.view, signers });
    }
    Ok(block)
}

#[utoipa::path(get, path = "/api/v1/blocks", tag = "chain", params(PageQuery),
    responses((status = 200, body = Blocks)))]
/// Blocks, newest first.
pub(super) async fn blocks(
    services: web::Data<Services>,
    query: web::Query<PageQuery>,
) -> Result<HttpResponse, Refusal> {
    let BlockPage { height, blocks, next, chronicle } = newest_first(&services, query.into_inner()).await?;
    let blocks = blocks.iter().map(|block| block_json(&chronicle, block)).collect::<Result<_, Refusal>>()?;
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(Blocks { blocks, next }))
}

#[utoipa::path(get, path = "/api/v1/blocks/{height}", tag = "chain", params(("height" = u64, Path, description = "The height")),
    responses((status = 200, body = Block)))]
/// A block with its outcomes.
pub(super) async fn block(services: web::Data<Services>, path: web::Path<u64>) -> Result<HttpResponse, Refusal> {
    let wanted = Height(path.into_inner());
    let (height, found, chronicle) = services
        .read_with_names(move |view| {
            let Some(block) = view.block(wanted)? else { return Ok(None) };
            let outcomes = view.outcomes_of(&block)?;
            let bundles = view.committed_block(wanted)?.map_or(Vec::new(), |committed| committed.bundles);
            Ok(Some((block, outcomes, bundles, view.receipt(wanted)?)))
        })
        .await?;
    let not_found = || Refusal::new(Reason::NotFound, "this node has no block at that height");
    let (stored, outcomes, bundles, receipt) = found.ok_or_else(not_found)?;
    let epoch = stored.block.header.epoch;
    let mut block = block_json(&chronicle, &stored)?;
    block.cosigners = receipt.map(|receipt| names(&chronicle, epoch, &receipt.signatures)).transpose()?;
    block.outcomes = outcomes.iter().map(Into::into).collect();
    let chain = services.board.identity.genesis.chain_id();
    for (shown, bytes) in block.bundles.iter_mut().zip(bundles) {
        let bundle = Bundle::from_bytes(&bytes, chain);
        let bundle = bundle.map_err(|fault| Refusal::new(Reason::Internal, format!("a stored bundle: {fault}")))?;
        shown.origin = Some(name(&chronicle, bundle.body.epoch, bundle.body.origin)?);
        shown.operations = Some(bundle.body.operations.len() as u64);
    }
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(block))
}

#[utoipa::path(get, path = "/api/v1/consensus/logs", tag = "chain", params(PageQuery),
    responses((status = 200, body = ConsensusLogs)))]
/// How blocks were agreed on, newest first.
pub(super) async fn logs(services: web::Data<Services>, query: web::Query<PageQuery>) -> Result<HttpResponse, Refusal> {
    let BlockPage { height, blocks, next, chronicle } = newest_first(&services, query.into_inner()).await?;
    let logs = blocks.iter().map(|stored| log_entry(&chronicle, stored)).collect::<Result<_, Refusal>>()?;
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(ConsensusLogs { logs, next }))
}

fn log_entry(chronicle: &Chronicle, stored: &StoredBlock) -> Result<ConsensusLogEntry, Refusal> {
    let header = &stored.block.header;
    let signers = stored.certificate.as_ref().map(|it| names(chronicle, header.epoch, &it.signatures)).transpose()?;
    Ok(ConsensusLogEntry {
        height: header.height,
        epoch: header.epoch,
        view: stored.local.view,
        digest: stored.digest,
        proposer: name(chronicle, header.epoch, header.proposer)?,
        bundles: stored.block.bundles.len() as u64,
        operations: u64::from(stored.accepted) + u64::from(stored.refused) + u64::from(stored.repeated),
        agreed_time: Time(header.timestamp),
        seen: SeenTimes {
            proposed: stored.local.proposed_at.map(Time),
            prepared: stored.local.prepared_at.map(Time),
            committed: stored.local.committed_at.map(Time),
        },
        signers: signers.unwrap_or_default(),
    })
}

#[utoipa::path(get, path = "/api/v1/epochs", tag = "chain", params(PageQuery),
    responses((status = 200, body = Epochs)))]
/// Who was a validator when, from the genesis on, each change with its proof; `dtvn verify --epochs` follows it.
pub(super) async fn epochs(
    services: web::Data<Services>,
    query: web::Query<PageQuery>,
) -> Result<HttpResponse, Refusal> {
    let limit = limit_of(query.limit)?;
    let from = query.after.map_or(Epoch(0), |after| Epoch(after).next());
    let read = move |view: &View<'_>| view.epoch_ends(from, limit);
    let (height, ends, chronicle) = services.read_with_names(read).await?;
    let mut epochs = Vec::new();
    for number in (from.0..=chronicle.last().0).take(limit) {
        let epoch = Epoch(number);
        let (Some((base, _)), Some(set)) = (chronicle.base(epoch), chronicle.set(epoch)) else { break };
        let end = ends.get(epochs.len()).filter(|end| end.epoch() == epoch);
        epochs.push(EpochInfo::new(epoch, base, set, end));
    }
    let next = epochs.last().map(|last| Epoch(last.epoch)).filter(|last| *last < chronicle.last());
    let (chain_id, genesis_hash) =
        (services.board.identity.genesis.chain_id().clone(), services.board.identity.genesis.hash());
    let answer = Epochs { chain_id, genesis_hash, epochs, next: next.map(|next| next.0) };
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(answer))
}
