//! A pool, mostly of validator 0, whose peers, verifier and clock are the test.

mod bounds;
mod fetch;
mod lifecycle;
mod network;
mod properties;
mod receive;
mod remembered;
mod spread;

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Action, Bundle, BundleBody, BundlePosition, ChainId, Digest, Epoch, Genesis, Height, IdempotencyKey, KeyPair, Now,
    Operation, Signature, TicketId, Timestamp, ValidatorIndex,
};

use super::{BlameReason, Effect, Input, Pool, PoolLimits, PoolSettings, Refusal};

const SEED: &str = "pool tests";

fn genesis(validators: usize) -> Genesis {
    Genesis::development(validators, SEED, false).unwrap()
}

/// A pool and its clock.
struct World {
    pool: Pool,
    chain: ChainId,
    now_us: u64,
    /// The generation of the timer that is set, and when it fires.
    timer: Option<(u64, u64)>,
}

impl World {
    fn new(validators: usize) -> Self {
        Self::with(validators, |_| {})
    }

    fn with(validators: usize, change: impl FnOnce(&mut PoolLimits)) -> Self {
        Self::at(0, validators, change)
    }

    /// The pool of another validator.
    fn at(own: u16, validators: usize, change: impl FnOnce(&mut PoolLimits)) -> Self {
        let genesis = genesis(validators);
        let mut limits = PoolLimits::default();
        change(&mut limits);
        let pool = Pool::new(PoolSettings {
            chain: genesis.chain_id().clone(),
            epoch: Epoch(0),
            validators: Arc::new(genesis.validators().clone()),
            own: Some(ValidatorIndex(own)),
            seed: 7,
            limits,
        });
        Self { pool, chain: genesis.chain_id().clone(), now_us: 1_000_000, timer: None }
    }

    /// The effects of an input, without the timers that it sets.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = Now { monotonic_us: self.now_us, wall: Timestamp(0) };
        self.pool.step(now, input, &mut effects);
        effects.retain(|effect| match effect {
            Effect::SetTimer { generation, after_ms } => {
                self.timer = Some((*generation, self.now_us + after_ms * 1_000));
                false
            }
            _ => true,
        });
        effects
    }

    /// Lets time pass, and the timer fire when it is due.
    fn pass_ms(&mut self, time_ms: u64) -> Vec<Effect> {
        let end_us = self.now_us + time_ms * 1_000;
        let mut effects = Vec::new();
        while let Some((generation, at_us)) = self.timer.filter(|(_, at_us)| *at_us <= end_us) {
            self.timer = None;
            self.now_us = self.now_us.max(at_us);
            effects.extend(self.step(Input::Timer { generation }));
        }
        self.now_us = end_us;
        effects
    }

    fn bundle(&self, origin: u16, number: u64) -> Arc<Bundle> {
        self.bundle_of(origin, 1, number, "ticket", 0)
    }

    /// A bundle of one operation with so many bytes of data.
    fn bundle_of(&self, origin: u16, start: u64, number: u64, ticket: &str, data_bytes: usize) -> Arc<Bundle> {
        let body = BundleBody {
            epoch: Epoch(0),
            origin: ValidatorIndex(origin),
            start,
            number,
            operations: vec![operation(ticket, data_bytes)],
        };
        Bundle::sign(body, &self.chain, &KeyPair::development(SEED, &format!("node{origin}")))
    }

    /// A peer sends a bundle and the verifier approves of it, if it is asked: all that follows.
    fn accept(&mut self, from: u16, bundle: &Arc<Bundle>) -> Vec<Effect> {
        let mut effects = self.step(received(from, bundle));
        if effects.contains(&verify(from, bundle)) {
            effects.extend(self.step(verified(from, bundle, true)));
        }
        effects
    }
}

fn operation(ticket: &str, data_bytes: usize) -> Operation {
    Operation {
        valid_until: Timestamp(1),
        ..Operation::new(
            IdempotencyKey::new(&format!("the key of ticket {ticket}")).unwrap(),
            Action::Consume { ticket: TicketId::new(ticket).unwrap(), data: Some("x".repeat(data_bytes).into()) },
        )
    }
}

fn peer(index: u16) -> ValidatorIndex {
    ValidatorIndex(index)
}

fn received(from: u16, bundle: &Bundle) -> Input {
    Input::Received { from: peer(from), bytes: Arc::new(bundle.bytes.clone()) }
}

fn verified(from: u16, bundle: &Arc<Bundle>, ok: bool) -> Input {
    Input::Verified { from: peer(from), bundle: Arc::clone(bundle), ok }
}

fn verify(from: u16, bundle: &Arc<Bundle>) -> Effect {
    Effect::Verify { from: peer(from), bundle: Arc::clone(bundle) }
}

fn log(bundle: &Arc<Bundle>) -> Effect {
    Effect::Log(Arc::clone(bundle))
}

fn available(bundle: &Bundle) -> Effect {
    Effect::available(bundle)
}

fn send(to: u16, message: PeerMessage) -> Effect {
    Effect::Send { to: peer(to), message }
}

fn send_bundle(to: u16, bundle: &Bundle) -> Effect {
    send(to, whole(bundle))
}

fn whole(bundle: &Bundle) -> PeerMessage {
    PeerMessage::Bundle(Arc::new(bundle.bytes.clone()))
}

fn ask(to: u16, digests: &[Digest]) -> Effect {
    send(to, PeerMessage::FetchBundles(digests.to_vec()))
}

fn announce(to: u16, digests: &[Digest]) -> Effect {
    send(to, PeerMessage::AnnounceBundles(digests.to_vec()))
}

fn refused(from: u16, refusal: Refusal) -> Effect {
    Effect::Refused { from: peer(from), refusal }
}

fn blame(index: u16, why: BlameReason) -> Effect {
    Effect::Blame { peer: peer(index), why }
}

fn superseded(bundle: &Arc<Bundle>, last: Option<BundlePosition>) -> Effect {
    Effect::Superseded { bundle: Arc::clone(bundle), last }
}

fn position(start: u64, number: u64) -> BundlePosition {
    BundlePosition { start, number }
}

/// In the first epoch.
fn positions(last: &[(ValidatorIndex, BundlePosition)]) -> Input {
    Input::Positions { epoch: Epoch(0), positions: last.to_vec() }
}

fn want(digests: &[Digest], holders: &[u16]) -> Input {
    want_for(holders.first().copied(), digests, holders)
}

fn want_for(proposer: Option<u16>, digests: &[Digest], holders: &[u16]) -> Input {
    let holders = holders.iter().copied().map(ValidatorIndex).collect();
    Input::Want { digests: digests.to_vec(), holders, proposer: proposer.map(ValidatorIndex) }
}

fn announced(from: u16, digests: &[Digest]) -> Input {
    Input::Announce { from: peer(from), digests: digests.to_vec() }
}

fn ordered(height: u64, digests: &[Digest]) -> Input {
    Input::Ordered { height: Height(height), digests: digests.to_vec() }
}

/// A digest of nothing.
fn digest(number: u64) -> Digest {
    dtvn_messages::sha256(&[&number.to_be_bytes()])
}

/// The same content under another signature: it has the same digest.
fn resigned(bundle: &Bundle, chain: &ChainId) -> Arc<Bundle> {
    Bundle::assemble(bundle.body.clone(), Signature([3; 64]), chain)
}
