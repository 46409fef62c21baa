//! What a node tells about itself (api.md section 3, "Node").

use std::collections::BTreeMap;

use dtvn_messages::{ChainId, Digest, Height, NodeName, PublicKey, RulesVersion, View};
use serde::{Deserialize, Serialize};

use super::Time;

/// The answer to `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// `running`, or what it is doing instead (`starting`, `syncing`, `stopping`).
    pub status: String,
    /// The node's name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeName,
    /// Whole seconds since the process started.
    pub uptime_seconds: u64,
    /// How many clients listen for events.
    pub ws_clients: u64,
    /// The program's version.
    pub version: String,
    /// The commit that the program was built from, if it is known.
    pub commit: Option<String>,
    /// The version of the ledger's rules.
    #[cfg_attr(feature = "openapi", schema(value_type = u32))]
    pub rules_version: RulesVersion,
    /// The chain.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub chain_id: ChainId,
    /// The hash of the genesis.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub genesis_hash: Digest,
    /// Whether this node votes.
    pub voting: bool,
    /// Why it does not vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_voting_because: Option<String>,
}

/// The answer to `GET /api/v1/stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stats {
    /// The node's name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeName,
    /// How many validators it is connected to.
    pub peer_count: u64,
    /// Whether it leads the current view.
    pub is_primary: bool,
    /// The leader of the current view.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub primary: NodeName,
    /// The current view.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub current_view: View,
    /// The last committed height.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub sequence: Height,
    /// The last stable checkpoint.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub stable_checkpoint: Height,
    /// How many outcomes the log holds.
    pub operations: u64,
    /// How many tickets the ledger holds.
    pub tickets: u64,
    /// How many operations are taken in and not decided.
    pub pending_operations: u64,
    /// How many digests the gossip cache holds.
    pub cache_size: u64,
    /// View changes since the process started.
    pub view_changes: u64,
}

/// A peer that a node is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Peer {
    /// Its network identity (libp2p peer id).
    pub id: String,
    /// Its name, if it is a validator.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub node_id: Option<NodeName>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Round-trip time in microseconds, if measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
    /// The last committed height that it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub height: Option<Height>,
}

/// The answer to `GET /api/v1/peers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Peers {
    /// The peers, validators first.
    pub peers: Vec<Peer>,
    /// How many of them are connected.
    pub count: u64,
}

/// The answer to `GET /api/v1/config`: nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Configuration {
    /// The node's name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeName,
    /// How many validators there are.
    pub total_nodes: u64,
    /// How many of them may be faulty.
    pub fault_tolerance: u64,
    /// The power of a quorum.
    pub quorum: u64,
    /// Whether it leads the current view.
    pub is_primary: bool,
    /// Whether it is a bootstrap node without a vote.
    pub bootstrap_node: bool,
    /// The settings in force, by key; secrets are left out.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Object>))]
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// The answer to `GET /api/v1/node/crypto`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeCrypto {
    /// The node's name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeName,
    /// Its network identity (libp2p peer id).
    pub peer_id: String,
    /// Its public key, in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub public_key: PublicKey,
    /// `Ed25519`.
    pub key_algorithm: String,
    /// What protects its connections to peers.
    pub transport_security: Vec<String>,
    /// Where it listens for peers.
    pub listen_addresses: Vec<String>,
}

/// The answer to `GET /api/v1/storage/entries`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StorageEntries {
    /// How many tickets there are.
    pub total_tickets: u64,
    /// How many in each state.
    pub ticket_states: BTreeMap<String, u64>,
    /// How many records the consensus log holds.
    pub consensus_log_count: u64,
    /// The height of the last stable checkpoint; 0 before the first.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub latest_checkpoint: Height,
    /// Figures of the database, by name.
    pub db_stats: BTreeMap<String, u64>,
}

/// The answer to `GET /api/v1/sequence?height=`: equal digests at one height are equal histories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sequence {
    /// The node's name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeName,
    /// The height asked for; the last committed one if none was.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The digest of the block there, which chains all before it; the hash of the genesis at height 0.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// How many outcomes the log holds there.
    pub log_size: u64,
}

/// The answer to `GET /health` and `/admin/health/...`.
///
/// A quorum is there for it while validators of that power are connected and exchange votes with this node, which those do
/// that are in the same chain and epoch. Whether each of them votes at present is not known to others: one whose state is
/// wrong, whose log was lost or whose disk is full is connected all the same, and says so in its own answer and in
/// `voting` of its `/api/v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `healthy`, or `unhealthy` with status 503.
    pub status: String,
    /// Why it is not healthy, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Health {
    /// Whether the node is ready.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status == "healthy"
    }
}

/// A member of the validator set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ValidatorInfo {
    /// Its place in the set.
    pub index: u16,
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node_id: NodeName,
    /// Its public key, in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub public_key: PublicKey,
    /// Its network identity (libp2p peer id).
    pub peer_id: String,
    /// Its voting power.
    pub power: u32,
    /// Whether it leads the current view.
    pub is_primary: bool,
}

/// The answer to `GET /api/v1/validators`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Validators {
    /// The epoch of the set.
    pub epoch: u64,
    /// The current view.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub view: View,
    /// The sum of all powers.
    pub total_power: u64,
    /// The power of a quorum.
    pub quorum: u64,
    /// The validators in their order.
    pub validators: Vec<ValidatorInfo>,
}

/// The one line of JSON that a node prints on stdout once its API answers; nothing else goes there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// `true`.
    pub ready: bool,
    /// The node's name.
    pub node: NodeName,
    /// Where its API listens: address and port.
    pub api: String,
    /// Where its admin endpoint listens.
    pub admin: String,
    /// Where it listens for peers: multiaddresses with its peer id.
    pub p2p: Vec<String>,
    /// Its process.
    pub pid: u32,
}

/// When something was seen by the node that tells it, by its own clock. Not agreed, lost with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeenTimes {
    /// The proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Time>,
    /// A quorum of PREPAREs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<Time>,
    /// A quorum of COMMITs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Time>,
}
