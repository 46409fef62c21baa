//! The validator set: who is in it, and a change of it (api.md section 3, consensus.md section 10).

use actix_web::{HttpRequest, HttpResponse, web};
use dtvn_client::api::{AcceptedWord, Changed, ProposedChange, Time, ValidatorInfo, Validators};
use dtvn_ledger::KeyScope;
use dtvn_messages::certificate::CertificateError;
use dtvn_messages::membership::ValidatorsChange;
use dtvn_messages::{Action, Ed25519, Epoch, EventId, Height, IdempotencyKey, Operation, Outcome, Reason, View};

use super::Services;
use super::body::Json;
use super::operations::{OperationHeaders, key_of, run_plain};
use super::problem::Refusal;

/// The kind of a change, in outcomes ([`Action::code`]).
const CHANGE: u8 = 6;

#[utoipa::path(get, path = "/api/v1/validators", tag = "chain",
    responses((status = 200, body = Validators)))]
/// The members of the network.
pub(super) async fn get(services: web::Data<Services>) -> HttpResponse {
    let epoch = services.board.epoch();
    let set = &epoch.config.set;
    let shown = services.board.consensus().borrow().replica;
    let leader = shown.map(|replica| replica.leader);
    let validators = set.iter().map(|(index, validator)| ValidatorInfo {
        index: index.0,
        node_id: validator.name.clone(),
        public_key: validator.public_key,
        peer_id: crate::config::keys::peer_id(&validator.public_key),
        power: validator.power,
        is_primary: leader == Some(index),
    });
    HttpResponse::Ok().json(Validators {
        epoch: epoch.config.epoch.0,
        view: shown.map_or(View(0), |replica| replica.view),
        total_power: set.total_power(),
        quorum: set.quorum(),
        validators: validators.collect(),
    })
}

#[utoipa::path(post, path = "/api/v1/validators", tag = "chain", params(OperationHeaders), request_body = ProposedChange,
    responses((status = 200, body = Changed), (status = 202, body = dtvn_client::api::Pending)))]
/// Another validator set for the next epoch, signed by a quorum of the present one.
pub(super) async fn change(
    services: web::Data<Services>,
    request: HttpRequest,
    body: Json<ProposedChange>,
) -> Result<HttpResponse, Refusal> {
    let Json(proposed) = body;
    let key = key_of(&request, proposed.idempotency_key.clone())?;
    let interval = services.board.identity.genesis.parameters().checkpoint_interval;
    let show = move |outcome: &Outcome| {
        Ok(HttpResponse::Ok().json(Changed {
            status: AcceptedWord::Accepted,
            height: outcome.height,
            epoch_ends: Height(outcome.height.0.div_ceil(interval).saturating_mul(interval)),
            index: outcome.index,
            agreed_time: Time(outcome.agreed_time),
            idempotency_key: outcome.key.clone(),
        }))
    };
    if proposed.epoch < services.board.epoch().config.epoch
        && let Some(outcome) = decided_before(&services, &key).await?
    {
        return show(&outcome);
    }
    let operation = Operation::new(key, Action::ChangeValidators(Box::new(checked(&services, &proposed)?)));
    run_plain(&services, &request, operation, show).await
}

/// A retry comes late: its change took effect, and its epoch is over.
async fn decided_before(services: &Services, key: &IdempotencyKey) -> Result<Option<Outcome>, Refusal> {
    let (scope, key) = (KeyScope::Event(EventId::default_event()), key.clone());
    let (_, outcome) = services.read(move |view| view.outcome_of_key(&scope, &key)).await?;
    Ok(outcome.filter(|outcome| outcome.verdict.is_accepted() && outcome.action == CHANGE))
}

/// What execution would refuse in the epoch that this node is in is refused here, with more words and without a block.
fn checked(services: &Services, proposed: &ProposedChange) -> Result<ValidatorsChange, Refusal> {
    let genesis = &services.board.identity.genesis;
    let chain = genesis.chain_id();
    if proposed.chain_id != *chain {
        let detail = format!("the change is of the chain {}, this node is of {chain}", proposed.chain_id);
        return Err(Refusal::malformed(detail));
    }
    let present = services.board.epoch();
    let Epoch(epoch) = present.config.epoch;
    let set = &present.config.set;
    if proposed.epoch > present.config.epoch {
        let detail = format!("the change ends epoch {}, this node is in epoch {epoch}", proposed.epoch.0);
        return Err(Refusal::new(Reason::StaleEpoch, detail));
    }
    let not_signed = |fault: String| Refusal::new(Reason::NotSignedByValidators, fault);
    if proposed.epoch == present.config.epoch {
        let change = proposed.to_change(set).map_err(|fault| Refusal::malformed(fault.to_string()))?;
        genesis.parameters().check_set(&change.set).map_err(|fault| Refusal::malformed(fault.to_string()))?;
        if change.replaces != set.hash() {
            let detail = format!("the change replaces another set than that of epoch {epoch}: propose it anew");
            return Err(Refusal::new(Reason::StaleEpoch, detail));
        }
        return match change.verify(chain, set, &Ed25519) {
            Ok(()) => Ok(change),
            Err(CertificateError::BadSignature(index)) => {
                let name = set.get(index).map_or_else(|| index.to_string(), |signer| signer.name.to_string());
                Err(not_signed(format!("the signature of {name} is not of this change")))
            }
            Err(fault) => Err(not_signed(fault.to_string())),
        };
    }
    let detail = format!("the change ends epoch {}, which is over: epoch {epoch} is in force", proposed.epoch.0);
    Err(Refusal::new(Reason::StaleEpoch, detail))
}
