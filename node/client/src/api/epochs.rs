//! Who was a validator when: the answer to `GET /api/v1/epochs` (consensus.md section 10).

use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::note::{decode_base64, encode_base64};
use dtvn_messages::{
    CertificateError, ChainId, DecodeError, Digest, Epoch, EpochEnd, Height, Layout as _, Scheme, ValidatorSet,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Member;

/// An epoch, and the proof of what follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EpochInfo {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The height on which it begins: its first block is above it.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub base: Height,
    /// Its last height; `null` while it lasts.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub ended_at: Option<Height>,
    /// The sum of all powers.
    pub total_power: u64,
    /// The power of a quorum.
    pub quorum: u64,
    /// Its validators in their order.
    pub validators: Vec<Member>,
    /// How it ended, in base64: what proves the validators of the next epoch to whoever knows those of this one.
    pub end: Option<String>,
}

/// The answer to `GET /api/v1/epochs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Epochs {
    /// The chain.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub chain_id: ChainId,
    /// The hash of its genesis, in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub genesis_hash: Digest,
    /// The epochs, ascending.
    pub epochs: Vec<EpochInfo>,
    /// What to give as `after` to get more; `null` at the end.
    pub next: Option<u64>,
}

/// Why epochs do not lead to the present.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EpochsError {
    /// They are of another chain.
    #[error("the epochs are those of the chain {found} with the genesis {genesis}, not of the genesis that is trusted")]
    OtherChain {
        /// Their chain.
        found: ChainId,
        /// The hash of its genesis.
        genesis: Digest,
    },
    /// The end of one cannot be read.
    #[error("the end of epoch {0} is not base64")]
    Base64(u64),
    /// The end of one cannot be read.
    #[error("the end of epoch {0} cannot be read: {1}")]
    Decode(u64, DecodeError),
    /// The end of one proves nothing.
    #[error("the end of epoch {0} proves nothing: {1}")]
    Certificate(u64, CertificateError),
}

impl EpochInfo {
    /// What there is to say of an epoch that begins on `base`.
    #[must_use]
    pub fn new(epoch: Epoch, base: Height, set: &ValidatorSet, end: Option<&EpochEnd>) -> Self {
        Self {
            epoch: epoch.0,
            base,
            ended_at: end.map(EpochEnd::height),
            total_power: set.total_power(),
            quorum: set.quorum(),
            validators: set.iter().map(|(_, validator)| Member::from(validator)).collect(),
            end: end.map(|end| encode_base64(&end.to_bytes())),
        }
    }
}

impl Epochs {
    /// Follows the ends of these epochs. Those that `chronicle` knows already are passed over.
    ///
    /// # Errors
    /// If they are of another chain than `genesis`, or one of them cannot be read or proves nothing.
    pub fn lead(
        &self,
        chronicle: &mut Chronicle,
        genesis: &dtvn_messages::Genesis,
        scheme: &dyn Scheme,
    ) -> Result<(), EpochsError> {
        if (&self.chain_id, self.genesis_hash) != (genesis.chain_id(), genesis.hash()) {
            let (found, genesis) = (self.chain_id.clone(), self.genesis_hash);
            return Err(EpochsError::OtherChain { found, genesis });
        }
        let first = chronicle.last();
        for info in self.epochs.iter().filter(|info| Epoch(info.epoch) >= first) {
            let Some(end) = &info.end else { continue };
            let bytes = decode_base64(end).ok_or(EpochsError::Base64(info.epoch))?;
            let end = EpochEnd::from_bytes(&bytes).map_err(|error| EpochsError::Decode(info.epoch, error))?;
            chronicle.follow(&end, scheme).map_err(|error| EpochsError::Certificate(info.epoch, error))?;
        }
        Ok(())
    }
}
