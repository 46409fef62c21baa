//! Whom to send a bundle in a large network (architecture.md section 6): about the square root of the validators get it
//! from its origin, and each of these passes it on to as many.
//!
//! Who passes it to whom is a permutation drawn from the bundle's digest, which all nodes compute alike. So everybody
//! gets one copy in two hops, and a faulty validator sits at another place for each bundle. Whom a faulty one leaves out
//! was told the digest by the origin, and fetches.

use dtvn_messages::{Digest, ValidatorIndex};

use super::remembered::{mix, word};

/// What the origin does with its bundle.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OriginDuty {
    /// They get the bundle.
    pub(super) direct: Vec<ValidatorIndex>,
    /// They get its digest.
    pub(super) announced: Vec<ValidatorIndex>,
}

/// Whom the origin sends its bundle, and whom its digest.
pub(super) fn origin_duty(digest: &Digest, origin: ValidatorIndex, validators: usize) -> OriginDuty {
    let mut direct = permutation(digest, origin, validators);
    let announced = direct.split_off(relays(direct.len()));
    OriginDuty { direct, announced }
}

/// To whom `own` passes on a bundle that it got from its origin; nobody, if that is others' duty.
pub(super) fn relay_duty(
    digest: &Digest,
    origin: ValidatorIndex,
    own: ValidatorIndex,
    validators: usize,
) -> Vec<ValidatorIndex> {
    let order = permutation(digest, origin, validators);
    let relays = relays(order.len());
    match order[..relays].iter().position(|relay| *relay == own) {
        Some(place) => order[relays..].iter().skip(place).step_by(relays).copied().collect(),
        None => Vec::new(),
    }
}

/// The least number whose square is at least `others`.
fn relays(others: usize) -> usize {
    let root = others.isqrt();
    if root * root < others { root + 1 } else { root }
}

/// All validators but the origin, shuffled (Fisher and Yates) by the digest.
fn permutation(digest: &Digest, origin: ValidatorIndex, validators: usize) -> Vec<ValidatorIndex> {
    let all = (0..validators).map(|position| ValidatorIndex(u16::try_from(position).unwrap_or(u16::MAX)));
    let mut order: Vec<ValidatorIndex> = all.filter(|index| *index != origin).collect();
    for place in (1..order.len()).rev() {
        let random = mix(word(digest, 0).wrapping_add(place as u64));
        order.swap(place, (random % (place as u64 + 1)) as usize);
    }
    order
}
