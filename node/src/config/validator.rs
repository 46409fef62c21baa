//! What a validator is told: the settings as types.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use dtvn_messages::NodeName;
use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};

use super::identity::check_address;
use crate::telemetry;

/// All that `dtvn validator` needs to know. Made by [`super::Effective::load`], which checks it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidatorConfig {
    /// Who the node is.
    pub node: NodeSettings,
    /// Peers.
    pub p2p: P2pSettings,
    /// The HTTP API.
    pub api: ApiSettings,
    /// The admin endpoint.
    pub admin: AdminSettings,
    /// Logs.
    pub log: LogSettings,
    /// Spans.
    pub traces: TraceSettings,
    /// What only a development network has.
    pub development: DevelopmentSettings,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSettings {
    /// Its name among the validators.
    pub id: NodeName,
    /// Where it keeps its log and database.
    pub data_dir: PathBuf,
    /// How many validators the development network has.
    pub total_nodes: usize,
    /// The genesis file; without it: the development network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genesis: Option<PathBuf>,
    /// The state that the chain begins with, if its genesis continues another chain: needed at the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_state: Option<PathBuf>,
    /// The key file; without it: a development key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// No vote: it follows the chain and serves reads.
    pub bootstrap_node: bool,
    /// Its key is not in the genesis: it follows until the validators vote it in.
    pub join: bool,
    /// MiB that must be free on the disk of the data directory; below it the node does not vote. 0: it is not looked at.
    pub min_free_disk_mib: u64,
}

impl Default for NodeSettings {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the constant is a valid node id; a test makes it")]
        let id = NodeName::new("node0").expect("node0 is a valid node id");
        Self {
            id,
            data_dir: PathBuf::from("./data"),
            total_nodes: 4,
            genesis: None,
            initial_state: None,
            key: None,
            bootstrap_node: false,
            join: false,
            min_free_disk_mib: dtvn_messages::limits::DISK_FREE_MIB_MIN,
        }
    }
}

/// `[p2p]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct P2pSettings {
    /// The address to listen on.
    pub addr: IpAddr,
    /// The port to listen on, TCP and QUIC; 0 is any.
    pub port: u16,
    /// Multiaddresses with `/p2p/`.
    pub bootstrap: Vec<String>,
    /// Multiaddresses to tell peers instead of those listened on: behind NAT, or a load balancer.
    pub announce: Vec<String>,
}

impl Default for P2pSettings {
    fn default() -> Self {
        Self { addr: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 4_001, bootstrap: Vec::new(), announce: Vec::new() }
    }
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSettings {
    /// The address to listen on.
    pub addr: IpAddr,
    /// The port to listen on; 0 is any.
    pub port: u16,
    /// The key that all `/api/` routes ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Further origins that may open `/ws` from a browser.
    pub ws_origins: Vec<String>,
    /// Serve on other than loopback addresses without a key.
    pub allow_open: bool,
    /// Requests per second from one address; 0 is no limit.
    pub rate_per_address: u32,
    /// Requests per second with one key; 0 is no limit.
    pub rate_per_key: u32,
}

impl Default for ApiSettings {
    fn default() -> Self {
        let addr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            addr,
            port: 8_080,
            key: None,
            ws_origins: Vec::new(),
            allow_open: false,
            // About what a node can answer on one core: it stops floods, not clients.
            rate_per_address: 20_000,
            rate_per_key: 0,
        }
    }
}

/// `[admin]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Where to listen; without it: [`ValidatorConfig::admin_addr`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<SocketAddr>,
    /// The key that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
}

/// How logs look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Pretty,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// How they look. They go to stderr.
    pub format: LogFormat,
    /// A level, or levels by target, as `tracing_subscriber::EnvFilter` reads them.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

/// `[traces]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceSettings {
    /// Where spans are exported to by OTLP; without it there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Of so many requests one is traced, unless the client has decided.
    pub one_in: u64,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { endpoint: None, one_in: 1 }
    }
}

/// `[development]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DevelopmentSettings {
    /// What development keys are derived from; without it: a public constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_seed: Option<Secret>,
    /// Validating an unknown ticket issues it first.
    pub auto_issue: bool,
    /// Listen on other than loopback addresses although the seed of the keys is public.
    pub insecure_dev_keys: bool,
    /// The admin endpoint may crash actors.
    pub fault_injection: bool,
}

/// A text that no log, error or `Debug` shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(set)")
    }
}

impl ValidatorConfig {
    /// Where the admin endpoint listens: as set, else on loopback at the API's port + 1000, or any port if the API's is
    /// any. [`Self::check`] refuses one that is too high for that.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr.unwrap_or_else(|| {
            let port = match self.api.port {
                0 => 0,
                port => port.checked_add(1_000).unwrap_or(0),
            };
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
        })
    }

    /// What development keys are derived from.
    #[must_use]
    pub fn key_seed(&self) -> &str {
        self.development.key_seed.as_ref().map_or(dtvn_messages::crypto::DEVELOPMENT_SEED, Secret::expose)
    }

    /// Whether it belongs to a development network, with derived keys or a derived genesis.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.node.genesis.is_none() || self.node.key.is_none()
    }

    /// Checks what concerns several settings at once.
    ///
    /// # Errors
    /// A sentence for each fault, all of them.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        require(
            self.node.key.is_none() || self.node.genesis.is_some(),
            "node.key is set but node.genesis is not: the development network derives its keys, so give both or neither",
        );
        require(self.node.total_nodes >= 1, "node.total_nodes must be at least 1");
        require(
            self.api.addr.is_loopback() || self.api.key.is_some() || self.api.allow_open,
            "api.addr is not a loopback address and there is no api.key: anyone who can reach it could use the API. \
             Set a key (DTVN_API_KEY), or say --allow-open-api",
        );
        require(
            self.admin_addr().ip().is_loopback() || self.admin.key.is_some(),
            "admin.addr is not a loopback address and there is no admin.key: set one (DTVN_ADMIN_KEY)",
        );
        let addresses = [self.p2p.addr, self.api.addr, self.admin_addr().ip()];
        let seed_is_public = self.node.key.is_none() && self.development.key_seed.is_none();
        require(
            !seed_is_public || self.development.insecure_dev_keys || addresses.iter().all(IpAddr::is_loopback),
            "the keys derive from the public development seed, so anyone can be anyone: this listens on loopback \
             addresses only. Set DTVN_KEY_SEED, use --key and --genesis, or say --insecure-dev-keys",
        );
        require(
            self.api.key.as_ref().is_none_or(|key| !key.expose().trim().is_empty()),
            "api.key is empty: leave it out if no key is wanted",
        );
        require(
            self.admin.addr.is_some() || self.api.port.checked_add(1_000).is_some(),
            "api.port is above 64535, and the admin endpoint's would be 1,000 above it: set admin.addr (--admin-addr)",
        );
        let (api, admin) = (SocketAddr::new(self.api.addr, self.api.port), self.admin_addr());
        require(api != admin || api.port() == 0, "api and admin.addr are one address: give each a port of its own");
        if let Err(fault) = telemetry::logs::check_level(&self.log.level) {
            faults.push(format!("log.level: {fault}"));
        }
        if let Some(endpoint) = &self.traces.endpoint {
            let is_url = endpoint.split_once("://").is_some_and(|(scheme, rest)| {
                matches!(scheme, "http" | "https") && !rest.is_empty() && !rest.starts_with(['/', ':'])
            });
            if !is_url {
                faults.push(format!("traces.endpoint: {endpoint:?} does not look like http://127.0.0.1:4317"));
            }
        }
        for address in &self.p2p.bootstrap {
            if let Err(fault) = check_bootstrap(address) {
                faults.push(format!("p2p.bootstrap: {address:?} {fault}"));
            }
        }
        for address in &self.p2p.announce {
            if let Err(error) = address.parse::<Multiaddr>() {
                faults.push(format!("p2p.announce: {address:?} is no multiaddress: {error}"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// Sees to it that a node can begin there. Who is at the address need not be named: whoever answers proves its key, and
/// is only then the peer of that key.
fn check_bootstrap(address: &str) -> Result<(), String> {
    check_address(address)?;
    let parsed: Multiaddr = address.parse().map_err(|error| format!("is no multiaddress: {error}"))?;
    let named = parsed.iter().position(|part| matches!(part, Protocol::P2p(_)));
    match named {
        Some(place) if place + 1 < parsed.iter().count() => Err("has a /p2p/ before its end".to_owned()),
        Some(_) => Ok(()),
        None if parsed.iter().any(|part| matches!(part, Protocol::Tcp(_) | Protocol::Udp(_))) => Ok(()),
        None => Err("has neither a port nor a /p2p/<peer id> at its end".to_owned()),
    }
}
