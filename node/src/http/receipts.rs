//! Receipts and the transparency log as others read it: C2SP `tlog-proof`, `tlog-checkpoint`, `tlog-policy` and
//! `tlog-tiles` (api.md sections 3 and 5).

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use dtvn_actors::storage::store::{StoreError, TILE_WIDTH, View};
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::note::{SignedNote, decimal};
use dtvn_messages::receipt::TLOG_PROOF;
use dtvn_messages::{Digest, EventId, Height, Reason, Receipt, ReceiptCertificate, TicketId, limits, policy};

use super::Services;
use super::problem::Refusal;

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Tiles never change; a checkpoint does.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const NOT_FOR_LONG: &str = "no-cache";

/// What makes the receipt of the outcome at an index, decided at a height; none before a certificate covers it.
fn receipt_at(view: &View<'_>, height: Height, index: u64) -> Result<Option<Unsigned>, StoreError> {
    let (Some(certificate), Some(leaf)) = (view.receipt_of_leaf(height, index)?, view.leaf(index)?) else {
        return Ok(None);
    };
    let path = view.inclusion_path(index, certificate.head.log_size)?;
    Ok(path.map(|path| (certificate, leaf, path)))
}

/// A certificate, a leaf, and the path between them.
type Unsigned = (ReceiptCertificate, Vec<u8>, Vec<Digest>);

/// The checkpoint of a certificate, with the names of those who were validators then.
fn note_of(
    services: &Services,
    chronicle: &Chronicle,
    certificate: &ReceiptCertificate,
) -> Result<SignedNote, Refusal> {
    let epoch = certificate.head.epoch;
    let internal = || Refusal::new(Reason::Internal, format!("who were the validators of epoch {epoch}?"));
    let set = chronicle.set(epoch).ok_or_else(internal)?;
    Ok(certificate.to_note(services.board.identity.genesis.chain_id(), set))
}

/// The receipt of an outcome. Cosignatures come a moment after the outcome: it waits for them, but not long.
pub(super) async fn receipt_of(services: &Services, height: Height, index: u64) -> Result<Option<Receipt>, Refusal> {
    let store = services.store.get().ok_or_else(|| Refusal::new(Reason::Restarting, "the store is not open"))?;
    let mut news = store.receipts_watch();
    let deadline = tokio::time::Instant::now() + limits::RECEIPT_WAIT;
    loop {
        news.mark_unchanged();
        let (_, found, chronicle) = services.read_with_names(move |view| receipt_at(view, height, index)).await?;
        if let Some((certificate, leaf, path)) = found {
            let checkpoint = note_of(services, &chronicle, &certificate)?;
            return Ok(Some(Receipt { leaf, index, path, checkpoint }));
        }
        if !matches!(tokio::time::timeout_at(deadline, news.changed()).await, Ok(Ok(()))) {
            return Ok(None);
        }
    }
}

/// Whether a client asks for a receipt with its answer: in the JSON, or as the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No receipt.
    Nothing,
    /// `?receipt=true`: beside the rest.
    Beside,
    /// `Accept: text/vnd.tlog-proof`: instead of the rest.
    Instead,
}

impl Wanted {
    pub(super) fn of(request: &HttpRequest) -> Self {
        let accepts = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
        let is_proof = |range: &str| range.split(';').next().is_some_and(|range| range.trim() == TLOG_PROOF);
        if accepts.flat_map(|value| value.split(',')).any(is_proof) {
            return Self::Instead;
        }
        let asks = request.query_string().split('&').any(|pair| pair == "receipt=true");
        if asks { Self::Beside } else { Self::Nothing }
    }
}

/// A receipt as an answer.
pub(super) fn proof_answer(receipt: &Receipt) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, TLOG_PROOF)).body(receipt.to_text())
}

/// Which outcome of a ticket a proof is asked for.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ProofQuery {
    /// The event; `default` if not given.
    #[param(value_type = Option<String>)]
    event: Option<EventId>,
    /// The index of one of its outcomes in the transparency log; the latest if not given.
    index: Option<u64>,
}

#[utoipa::path(get, path = "/api/v1/tickets/{id}/proof", tag = "tickets",
    params(("id" = String, Path, description = "The ticket's name"), ProofQuery),
    responses((status = 200, description = "A receipt (C2SP tlog-proof) of what became of an operation on the ticket",
        body = String, content_type = "text/vnd.tlog-proof")))]
/// The receipt of a ticket's latest outcome, refusals too, or of another one of its outcomes.
pub(super) async fn proof(
    services: web::Data<Services>,
    path: web::Path<String>,
    query: web::Query<ProofQuery>,
) -> Result<HttpResponse, Refusal> {
    let id = TicketId::new(&path).map_err(|fault| Refusal::malformed(fault.to_string()))?;
    let ProofQuery { event, index } = query.into_inner();
    let event = event.unwrap_or_else(EventId::default_event);
    let (of_event, of_ticket) = (event.clone(), id.clone());
    let (_, (outcome, installed)) = services
        .read_state(move |view| Ok((view.outcome_of_ticket(&of_event, &of_ticket, index)?, view.installed()?)))
        .await?;
    let outcome = outcome.ok_or_else(|| {
        Refusal::new(Reason::NotFound, format!("no such outcome of a ticket {id} in the event {event} is known"))
    })?;
    match receipt_of(&services, outcome.height, outcome.index).await? {
        Some(receipt) => Ok(proof_answer(&receipt)),
        None if outcome.height <= installed.height => {
            let of_chain = services.board.identity.genesis.file().continues.as_ref();
            let former = of_chain.filter(|former| outcome.height <= former.height);
            let whom =
                former.map_or("another node".to_owned(), |former| format!("a node of the chain {}", former.chain_id));
            let (found, from) = (outcome.height, installed.height);
            let why =
                format!("it was decided at height {found}, and this node holds proofs above {from} only: ask {whom}");
            Err(Refusal::new(Reason::NotFound, why))
        }
        None => Err(Refusal::new(Reason::NoQuorum, "too few validators have cosigned it so far: ask again")),
    }
}

#[utoipa::path(get, path = "/api/v1/checkpoint", tag = "log",
    responses((status = 200, description = "The latest checkpoint with cosignatures of a quorum (C2SP tlog-checkpoint)",
        body = String, content_type = "text/plain")))]
/// The latest cosigned checkpoint of the transparency log.
pub(super) async fn checkpoint(services: web::Data<Services>) -> Result<HttpResponse, Refusal> {
    let (_, certificate, chronicle) = services.read_with_names(|view| view.latest_receipt()).await?;
    let certificate =
        certificate.ok_or_else(|| Refusal::new(Reason::NotFound, "nothing has been cosigned by a quorum so far"))?;
    Ok(text(note_of(&services, &chronicle, &certificate)?.to_text()))
}

fn text(body: String) -> HttpResponse {
    let headers = [(CONTENT_TYPE, PLAIN_TEXT), (CACHE_CONTROL, NOT_FOR_LONG)];
    let mut answer = HttpResponse::Ok();
    headers.into_iter().for_each(|header| _ = answer.insert_header(header));
    answer.body(body)
}

#[utoipa::path(get, path = "/api/v1/validators.policy", tag = "log",
    responses((status = 200, description = "Any quorum of the validators (C2SP tlog-policy)", body = String,
        content_type = "text/plain")))]
/// Whom to trust in the present epoch, as stock tools read it. Unequal powers cannot be said so; `dtvn verify --genesis` judges them.
pub(super) async fn trust_policy(services: web::Data<Services>) -> Result<HttpResponse, Refusal> {
    let present = services.board.epoch();
    let found = policy::of_set(services.board.identity.genesis.chain_id(), &present.config.set);
    found.map(text).ok_or_else(|| {
        Refusal::new(
            Reason::NotAcceptable,
            "the validators have unequal powers, which no policy can express: use dtvn verify",
        )
    })
}

/// A tile's address: level (none for entries), index and width.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    level: Option<u8>,
    index: u64,
    width: usize,
}

impl Address {
    /// Reads `<level>/<index>[.p/<width>]` or `entries/<index>[.p/<width>]`, the index in groups of three digits.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = match level {
            "entries" => None,
            level => Some(decimal(level).filter(|level| *level < 64).and_then(|level| u8::try_from(level).ok())?),
        };
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => {
                let width = decimal(width).and_then(|width| usize::try_from(width).ok());
                (index, width.filter(|width| (1..TILE_WIDTH).contains(width))?)
            }
        };
        Some(Self { level, index: Self::index(index)?, width })
    }

    fn index(text: &str) -> Option<u64> {
        let groups: Vec<&str> = text.split('/').collect();
        let (last, before) = groups.split_last()?;
        let mut index = 0u64;
        for group in before.iter().map(|group| group.strip_prefix('x')).chain([Some(*last)]) {
            let digits =
                group.filter(|digits| digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            index = index.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
        }
        // One index has one address.
        let is_short = before.first().is_none_or(|first| *first != "x000");
        is_short.then_some(index)
    }
}

#[utoipa::path(get, path = "/api/v1/tile/{path}", tag = "log",
    params(("path" = String, Path,
        description = "`<level>/<index>[.p/<width>]` or `entries/<index>[.p/<width>]`, as C2SP tlog-tiles says")),
    responses((status = 200, description = "Hashes of the transparency log, or its entries", body = Vec<u8>,
        content_type = "application/octet-stream")))]
/// A tile of the transparency log, or a bundle of its entries (C2SP tlog-tiles).
pub(super) async fn tile(services: web::Data<Services>, path: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let not_found = || Refusal::new(Reason::NotFound, "the log has no such tile");
    let Address { level, index, width } = Address::parse(&path).ok_or_else(not_found)?;
    let (_, body) = services
        .read(move |view| match level {
            Some(level) => {
                let tile = view.tile(level, index, width)?;
                Ok(tile.map(|hashes| hashes.iter().flat_map(|hash| hash.0).collect()))
            }
            None => entries(view, index, width),
        })
        .await?;
    let body: Vec<u8> = body.ok_or_else(not_found)?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, BYTES)).insert_header((CACHE_CONTROL, FOR_EVER));
    Ok(answer.body(body))
}

/// Entries, each after its length in two bytes.
fn entries(
    view: &View<'_>,
    index: u64,
    width: usize,
) -> Result<Option<Vec<u8>>, dtvn_actors::storage::store::StoreError> {
    let mut body = Vec::new();
    let first = index.saturating_mul(TILE_WIDTH as u64);
    for place in 0..width as u64 {
        let Some(leaf) = view.leaf(first.saturating_add(place))? else { return Ok(None) };
        // An outcome is far smaller: its texts have bounds.
        let length = u16::try_from(leaf.len()).unwrap_or(u16::MAX);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&leaf);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_tile_has_one_address() {
        let parse = Address::parse;
        assert_eq!(parse("0/000"), Some(Address { level: Some(0), index: 0, width: 256 }));
        assert_eq!(parse("2/x001/x234/067"), Some(Address { level: Some(2), index: 1_234_067, width: 256 }));
        assert_eq!(parse("entries/273.p/112"), Some(Address { level: None, index: 273, width: 112 }));
        for bad in [
            "",
            "0",
            "0/",
            "0/0",
            "0/00",
            "0/0000",
            "00/000",
            "64/000",
            "x/000",
            "0/x000/001",
            "0/001/067",
            "0/x01/067",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "0/-01",
            "-1/000",
            "entries",
            "0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_receipt_is_asked_for_by_query_or_by_media_type() {
        let of = |target: &str, accept: &str| {
            Wanted::of(&TestRequest::with_uri(target).insert_header((ACCEPT, accept)).to_http_request())
        };
        assert_eq!(of("/a", "*/*"), Wanted::Nothing);
        assert_eq!(of("/a?receipt=false", "application/json"), Wanted::Nothing);
        assert_eq!(of("/a?event=b&receipt=true", "application/json"), Wanted::Beside);
        assert_eq!(of("/a", "application/json;q=0.5, text/vnd.tlog-proof;q=1"), Wanted::Instead);
    }
}
