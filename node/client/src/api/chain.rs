//! Blocks and what consensus did about them (api.md section 3).

use dtvn_messages::{Digest, Epoch, Header, Height, NodeName, RulesVersion, View};
use serde::{Deserialize, Serialize};

use super::{OutcomeRecord, SeenTimes, Time};

/// A committed block, its certificate and what it decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Block {
    /// Its position in the chain.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The hash of its header.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// The digest of the block below.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub parent: Digest,
    /// The epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// The version of the ledger's rules.
    #[cfg_attr(feature = "openapi", schema(value_type = u32))]
    pub rules_version: RulesVersion,
    /// Who proposed it first.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub proposer: NodeName,
    /// The view of that first proposal.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub proposed_in_view: View,
    /// Agreed time.
    pub agreed_time: Time,
    /// The hash of the list of bundles.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub bundles_root: Digest,
    /// How many outcomes the log holds after it.
    pub log_size: u64,
    /// The root of the log after it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub log_root: Digest,
    /// The bundles that it orders.
    pub bundles: Vec<BundleInfo>,
    /// Who signed its commit certificate.
    pub certificate: Option<CertificateInfo>,
    /// Who cosigned the head of the log after it: a quorum, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub cosigners: Option<Vec<NodeName>>,
    /// What it decided, in order. Only with `GET /api/v1/blocks/{height}`, and only as far as the node keeps it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<OutcomeRecord>,
}

impl Block {
    /// A block from its header; bundles, certificate and outcomes are still to be filled in.
    #[must_use]
    pub fn of_header(header: &Header, digest: Digest, proposer: NodeName) -> Self {
        Self {
            height: header.height,
            digest,
            parent: header.parent,
            epoch: header.epoch,
            rules_version: header.rules_version,
            proposer,
            proposed_in_view: header.proposed_in_view,
            agreed_time: Time(header.timestamp),
            bundles_root: header.bundles_root,
            log_size: header.log_size,
            log_root: header.log_root,
            bundles: Vec::new(),
            certificate: None,
            cosigners: None,
            outcomes: Vec::new(),
        }
    }
}

/// A bundle of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleInfo {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// The validator that took its operations in, if the node still holds the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub origin: Option<NodeName>,
    /// How many operations it has, if the node still holds the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
}

/// A commit certificate, without its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateInfo {
    /// The view of the votes.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub view: View,
    /// Who voted.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub signers: Vec<NodeName>,
}

/// The answer to `GET /api/v1/blocks`: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Blocks {
    /// The blocks.
    pub blocks: Vec<Block>,
    /// What to give as `after` to get older ones; `null` at the end.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub next: Option<Height>,
}

/// What consensus did at one height, as the node that tells it saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsensusLogEntry {
    /// The height.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// The view in which it was committed.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub view: View,
    /// The block.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// Who proposed it first.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub proposer: NodeName,
    /// How many bundles.
    pub bundles: u64,
    /// How many outcomes.
    pub operations: u64,
    /// Agreed time of the block.
    pub agreed_time: Time,
    /// When this node saw it proposed, prepared and committed.
    pub seen: SeenTimes,
    /// Who signed its commit certificate.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub signers: Vec<NodeName>,
}

/// The answer to `GET /api/v1/consensus/logs`: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsensusLogs {
    /// The entries.
    pub logs: Vec<ConsensusLogEntry>,
    /// What to give as `after` to get older ones; `null` at the end.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub next: Option<Height>,
}
