//! The network whose signatures hold, for the targets that check some: four validators with development keys.

use std::sync::LazyLock;

use dtvn_messages::{Genesis, KeyPair, ValidatorIndex};

/// What their keys are made from: those of the network that is recorded.
pub const KEY_SEED: &str = "whole nodes";

/// Its genesis.
#[must_use]
#[expect(clippy::expect_used, reason = "four validators are within the bounds")]
pub fn genesis() -> &'static Genesis {
    static GENESIS: LazyLock<Genesis> =
        LazyLock::new(|| Genesis::development(4, KEY_SEED, false).expect("a development network has four validators"));
    &GENESIS
}

/// The key of one of its validators; none if it has no such validator.
#[must_use]
pub fn key(signer: ValidatorIndex) -> Option<KeyPair> {
    let validator = genesis().validators().get(signer)?;
    Some(KeyPair::development(KEY_SEED, validator.name.as_str()))
}
