//! The validator set: who is in it, and a change of it (api.md section 3, consensus.md section 10).

use actix_web::{HttpRequest, HttpResponse, web};
use dtvn_client::api::{AcceptedWord, Changed, ProposedChange, Time, ValidatorInfo, Validators};
use dtvn_ledger::KeyScope;
use dtvn_messages::certificate::CertificateError;
use dtvn_messages::membership::ValidatorsChange;
use dtvn_messages::{
    Action, Ed25519, Epoch, EventId, Height, IdempotencyKey, Membership, Operation, Outcome, Reason, ValidatorSet, View,
};

use super::Services;
use super::body::Json;
use super::operations::{OperationHeaders, key_of, run_plain};
use super::problem::Refusal;

/// How it ends when a change is told that what it wants is there.
const NOTHING_LEFT: &str = "nothing is left to do";
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
    let change = checked(&services, &proposed)?;
    if let (None, Some(detail)) = look(&services, &key, &change).await? {
        let problem = Refusal::new(Reason::StaleEpoch, detail).0;
        return Err(Refusal(Box::new(problem.with_key(&EventId::default_event(), key))));
    }
    let operation = Operation::new(key.clone(), Action::ChangeValidators(Box::new(change.clone())));
    let answer = run_plain(&services, &request, operation, show).await;
    explained(&services, &key, &proposed, &change, answer).await
}

/// What the network refused as stale, with what this node knows by now of the reason.
async fn explained(
    services: &Services,
    key: &IdempotencyKey,
    proposed: &ProposedChange,
    change: &ValidatorsChange,
    answer: Result<HttpResponse, Refusal>,
) -> Result<HttpResponse, Refusal> {
    let mut refusal = match answer {
        Err(refusal) if refusal.0.reason == Reason::StaleEpoch => refusal,
        answer => return answer,
    };
    let present = services.board.epoch();
    let detail = if change.epoch < present.config.epoch {
        Some(over(proposed, present.config.epoch, &present.config.set))
    } else {
        look(services, key, change).await.ok().and_then(|(_, detail)| detail)
    };
    if let Some(detail) = detail {
        refusal.0.detail = detail;
    }
    Err(refusal)
}

/// A retry comes late: its change took effect, and its epoch is over.
async fn decided_before(services: &Services, key: &IdempotencyKey) -> Result<Option<Outcome>, Refusal> {
    let (scope, key) = (KeyScope::Event(EventId::default_event()), key.clone());
    let (_, outcome) = services.read(move |view| view.outcome_of_key(&scope, &key)).await?;
    Ok(outcome.filter(|outcome| outcome.verdict.is_accepted() && outcome.action == CHANGE))
}

/// What is decided under a change's key, and what was agreed about the end of its epoch: one change takes effect in an
/// epoch, at most, and a later one is told so, but not one under the same key, which gets the first outcome.
async fn look(
    services: &Services,
    key: &IdempotencyKey,
    change: &ValidatorsChange,
) -> Result<(Option<Outcome>, Option<String>), Refusal> {
    let (scope, key) = (KeyScope::Event(EventId::default_event()), key.clone());
    let (_, (outcome, membership)) =
        services.read(move |view| Ok((view.outcome_of_key(&scope, &key)?, view.membership()?))).await?;
    Ok((outcome, membership.as_ref().and_then(|membership| taken_by(change, membership))))
}

/// What was agreed about the end of the epoch that a change would end, in words; none if nothing was, or only a recovery.
fn taken_by(change: &ValidatorsChange, membership: &Membership) -> Option<String> {
    let pending = membership.pending.as_ref().filter(|_| membership.epoch == change.epoch)?;
    let (next, ends) = (pending.set.as_ref()?, pending.ends);
    Some(if **next == change.set {
        format!(
            "it is agreed that the very set of this change decides on everything above height {ends}: {NOTHING_LEFT}"
        )
    } else {
        format!("another set is agreed on for everything above height {ends}: propose the change anew after that")
    })
}

/// That a change of an epoch that is over can do nothing, in words.
fn over(proposed: &ProposedChange, present: Epoch, set: &ValidatorSet) -> String {
    let detail = format!("the change ends epoch {}, which is over: epoch {} is in force", proposed.epoch.0, present.0);
    let is_done = proposed.epoch.next() == present && proposed.set().is_ok_and(|wanted| wanted == *set);
    if is_done { format!("{detail}, with the very set of this change: {NOTHING_LEFT}") } else { detail }
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
    Err(Refusal::new(Reason::StaleEpoch, over(proposed, present.config.epoch, set)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use dtvn_messages::crypto::DEVELOPMENT_SEED;
    use dtvn_messages::membership::PendingEnd;
    use dtvn_messages::{Genesis, KeyPair};

    use super::*;

    /// A genesis of four, and the change of its set to the first so many of them.
    fn change_to(validators: usize) -> (Genesis, ProposedChange, ValidatorsChange) {
        let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
        let present = genesis.validators();
        let mut proposed = ProposedChange {
            chain_id: genesis.chain_id().clone(),
            epoch: Epoch(0),
            replaces: present.hash(),
            validators: present.iter().take(validators).map(|(_, validator)| validator.into()).collect(),
            signatures: BTreeMap::new(),
            idempotency_key: None,
        };
        proposed.sign(&KeyPair::development(DEVELOPMENT_SEED, "node0"), present).unwrap();
        let change = proposed.to_change(present).unwrap();
        (genesis, proposed, change)
    }

    #[test]
    fn a_change_whose_set_is_agreed_on_is_told_that_nothing_is_left_to_do() {
        let (genesis, _, change) = change_to(3);
        let mut membership = Membership::first(&genesis);
        assert_eq!(taken_by(&change, &membership), None);
        let pending = |set| PendingEnd { ends: Height(8), set, recovering: BTreeMap::new() };
        membership.pending = Some(pending(None));
        assert_eq!(taken_by(&change, &membership), None, "a recovery alone leaves room for a change");
        membership.pending = Some(pending(Some(Arc::new(change.set.clone()))));
        let told = taken_by(&change, &membership).unwrap();
        assert!(told.contains("above height 8") && told.ends_with(NOTHING_LEFT), "{told}");
        let told = taken_by(&change_to(2).2, &membership).unwrap();
        assert!(told.starts_with("another set is agreed on") && !told.contains(NOTHING_LEFT), "{told}");
        membership.epoch = Epoch(1);
        assert_eq!(taken_by(&change, &membership), None, "that is the end of another epoch");
    }

    #[test]
    fn a_change_whose_set_is_in_force_is_told_that_nothing_is_left_to_do() {
        let (genesis, proposed, change) = change_to(3);
        let done = over(&proposed, Epoch(1), &change.set);
        assert!(done.contains("which is over") && done.ends_with(NOTHING_LEFT), "{done}");
        // A set of another epoch may be the same one by chance, and another set is another one.
        for told in [over(&proposed, Epoch(2), &change.set), over(&proposed, Epoch(1), genesis.validators())] {
            assert!(told.contains("which is over") && !told.contains(NOTHING_LEFT), "{told}");
        }
    }
}
