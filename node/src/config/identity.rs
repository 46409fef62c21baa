//! Who a node is: its key, its chain and its place among the validators (architecture.md section 7).

use std::path::PathBuf;

use dtvn_messages::genesis::GenesisError;
use dtvn_messages::{Genesis, KeyPair, NodeName, ValidatorIndex};
use multiaddr::{Multiaddr, Protocol};
use thiserror::Error;

use super::keys::{KeyError, KeyFile, peer_id};
use super::validator::ValidatorConfig;

/// A node's identity on its chain.
#[derive(Debug)]
pub struct Identity {
    /// Its name.
    pub name: NodeName,
    /// Its key.
    pub key: KeyPair,
    /// Its chain.
    pub genesis: Genesis,
    /// Its place among the first validators; none for a bootstrap node, and one that joins later.
    pub index: Option<ValidatorIndex>,
    /// Whether it may vote where a validator set has its key: not as a bootstrap node.
    pub may_vote: bool,
    /// Where the key comes from.
    pub source: KeySource,
}

/// Where a key comes from.
#[derive(Debug)]
pub enum KeySource {
    /// A key file, which remembers whether it was used.
    File {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        file: Box<KeyFile>,
    },
    /// Derived from a seed text and the name. No file remembers its use.
    Development {
        /// Whether that seed text is the public one: then anyone can be anyone.
        seed_is_public: bool,
    },
}

/// Why a node cannot be who it is told to be.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The key file is refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The genesis file cannot be read.
    #[error("the genesis file {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// An address of a validator in the genesis file is none.
    #[error("the genesis file {}: {error}", path.display())]
    Addresses {
        /// The file.
        path: PathBuf,
        /// Whose, and why.
        error: String,
    },
    /// The genesis is refused.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The name is none of the validators.
    #[error("{name} is none of the validators {known}. {hint}")]
    Stranger {
        /// The node's name.
        name: NodeName,
        /// The validators.
        known: String,
        /// What to do.
        hint: &'static str,
    },
    /// The genesis gives this name another key.
    #[error("the genesis gives {name} the key {expected}, but the key at hand is {found}")]
    OtherKey {
        /// The node's name.
        name: NodeName,
        /// The key in the genesis.
        expected: String,
        /// The key at hand.
        found: String,
    },
    /// The key file names another node.
    #[error("the key file is for {found}, but this node is {name}")]
    OtherName {
        /// The node's name.
        name: NodeName,
        /// The name in the key file.
        found: NodeName,
    },
}

impl Identity {
    /// Reads key and genesis, or derives them, and finds the node among the validators.
    ///
    /// # Errors
    /// If a file is refused, or the node is not who it is told to be.
    pub fn load(config: &ValidatorConfig) -> Result<Self, IdentityError> {
        let name = config.node.id.clone();
        let genesis = load_genesis(config)?;
        let (key, source) = load_key(config)?;
        if let KeySource::File { path, file } = &source {
            file.is_used_on(path, &genesis)?;
        }
        let index = genesis.validators().index_of_name(name.as_str()).filter(|_| !config.node.bootstrap_node);
        let is_joining = config.node.join;
        match index.and_then(|index| genesis.validators().key(index)) {
            Some(expected) if expected != key.public() && !is_joining => {
                let (expected, found) = (expected.to_string(), key.public().to_string());
                return Err(IdentityError::OtherKey { name, expected, found });
            }
            None if !config.node.bootstrap_node && !is_joining => return Err(stranger(name, &genesis, config)),
            _ => {}
        }
        let may_vote = !config.node.bootstrap_node;
        let index = index.filter(|index| genesis.validators().key(*index) == Some(key.public()));
        Ok(Self { name, key, genesis, index, may_vote, source })
    }

    /// Its network identity.
    #[must_use]
    pub fn peer_id(&self) -> String {
        peer_id(&self.key.public())
    }

    /// Whether the key file says that the key was used on this chain before. Derived keys have no file and are never known
    /// to be.
    #[must_use]
    pub fn key_is_used(&self) -> bool {
        let KeySource::File { path, file } = &self.source else { return false };
        file.is_used_on(path, &self.genesis).unwrap_or(true)
    }

    /// Remembers durably that the key is used. To be called, and waited for, before the first signature.
    ///
    /// # Errors
    /// If the key file cannot be written; then nothing may be signed.
    pub fn mark_key_used(&mut self) -> Result<(), KeyError> {
        match &mut self.source {
            KeySource::File { path, file } => file.mark_used(path, &self.genesis),
            KeySource::Development { .. } => Ok(()),
        }
    }
}

/// Sees to it that the addresses of a genesis are ones that a node can dial. They are no part of its hash, and nobody's
/// business but a network's.
///
/// # Errors
/// Whose address is none, and why.
pub fn check_addresses(genesis: &Genesis) -> Result<(), String> {
    for validator in &genesis.file().validators {
        for address in &validator.addresses {
            check_address(address).map_err(|why| format!("an address of {}, {address:?}, {why}", validator.name))?;
        }
    }
    Ok(())
}

/// Sees to it that an address is one that a node can dial.
///
/// # Errors
/// Why it is none, to go after the address itself.
pub fn check_address(address: &str) -> Result<(), String> {
    let parsed: Multiaddr = address.parse().map_err(|error| format!("is no multiaddress: {error}"))?;
    for part in &parsed {
        if let Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) | Protocol::Dnsaddr(name) = part {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(format!("names a host {name:?}, which can be none: letters, digits, '-', '_' and '.'"));
            }
        }
    }
    Ok(())
}

fn load_genesis(config: &ValidatorConfig) -> Result<Genesis, IdentityError> {
    match &config.node.genesis {
        Some(path) => {
            let json =
                std::fs::read_to_string(path).map_err(|error| IdentityError::Read { path: path.clone(), error })?;
            let genesis = Genesis::from_json(&json)?;
            check_addresses(&genesis).map_err(|error| IdentityError::Addresses { path: path.clone(), error })?;
            Ok(genesis)
        }
        None => {
            let auto_issue = config.development.auto_issue;
            Ok(Genesis::development(config.node.total_nodes, config.key_seed(), auto_issue)?)
        }
    }
}

fn load_key(config: &ValidatorConfig) -> Result<(KeyPair, KeySource), IdentityError> {
    let Some(path) = &config.node.key else {
        let key = KeyPair::development(config.key_seed(), config.node.id.as_str());
        let seed_is_public = config.key_seed() == dtvn_messages::crypto::DEVELOPMENT_SEED;
        return Ok((key, KeySource::Development { seed_is_public }));
    };
    let file = KeyFile::load(path)?;
    match &file.name {
        Some(found) if *found != config.node.id => {
            Err(IdentityError::OtherName { name: config.node.id.clone(), found: found.clone() })
        }
        _ => Ok((file.pair.clone(), KeySource::File { path: path.clone(), file: Box::new(file) })),
    }
}

fn stranger(name: NodeName, genesis: &Genesis, config: &ValidatorConfig) -> IdentityError {
    let names: Vec<&str> = genesis.validators().iter().map(|(_, validator)| validator.name.as_str()).collect();
    let known = match names.as_slice() {
        [first, .., last] if names.len() > 8 => format!("{first} to {last}"),
        _ => names.join(", "),
    };
    let hint = if config.node.genesis.is_some() {
        "Give --id the name that the genesis lists, or --join if the validators are to vote this key in"
    } else {
        "Give -total-nodes a larger number, the same on all nodes, or a --genesis and a --key"
    };
    IdentityError::Stranger { name, known, hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn named(name: &str) -> ValidatorConfig {
        let mut config = ValidatorConfig::default();
        config.node.id = NodeName::new(name).unwrap();
        config
    }

    #[test]
    fn a_development_node_derives_everything_from_its_name() {
        let identity = Identity::load(&named("node0")).unwrap();
        assert_eq!(identity.peer_id(), "12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C");
        assert_eq!(identity.index, Some(ValidatorIndex(0)));
        assert!(matches!(identity.source, KeySource::Development { seed_is_public: true }));
        assert!(!identity.key_is_used());
        let other = Identity::load(&named("node3")).unwrap();
        assert_eq!(other.genesis.hash(), identity.genesis.hash());
        assert_eq!(other.index, Some(ValidatorIndex(3)));
    }

    #[test]
    fn another_seed_or_size_or_policy_is_another_chain() {
        let base = Identity::load(&named("node0")).unwrap().genesis.hash();
        let mut seeded = named("node0");
        seeded.development.key_seed = Some(Secret::new("pepper"));
        let mut larger = named("node0");
        larger.node.total_nodes = 7;
        let mut lenient = named("node0");
        lenient.development.auto_issue = true;
        for config in [seeded, larger, lenient] {
            assert_ne!(Identity::load(&config).unwrap().genesis.hash(), base);
        }
    }

    #[test]
    fn a_name_outside_the_network_is_refused_with_advice() {
        let error = Identity::load(&named("node4")).unwrap_err().to_string();
        assert!(error.contains("node4 is none of the validators node0, node1, node2, node3"), "{error}");
        assert!(error.contains("-total-nodes"), "{error}");
    }

    #[test]
    fn a_bootstrap_node_has_no_place_among_the_validators() {
        for name in ["bootstrap", "node0"] {
            let mut config = named(name);
            config.node.bootstrap_node = true;
            let identity = Identity::load(&config).unwrap();
            assert_eq!((identity.index, identity.may_vote), (None, false), "not even with a validator's key");
        }
    }

    #[test]
    fn a_node_that_joins_needs_no_place_and_may_have_another_key_than_the_genesis() {
        let mut config = named("node4");
        config.node.join = true;
        let newcomer = Identity::load(&config).unwrap();
        assert_eq!((newcomer.index, newcomer.may_vote), (None, true));
        let (_folder, mut config) = files();
        config.node.key = None;
        assert!(matches!(Identity::load(&config), Err(IdentityError::OtherKey { .. })));
        config.node.join = true;
        let with_new_key = Identity::load(&config).unwrap();
        assert_eq!((with_new_key.index, with_new_key.may_vote), (None, true));
    }

    /// A genesis of one validator `gate` with its key, in files.
    fn files() -> (tempfile::TempDir, ValidatorConfig) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = named("gate");
        let key = KeyFile::generate(Some(config.node.id.clone())).unwrap();
        let (key_path, genesis_path) = (folder.path().join("gate.key"), folder.path().join("genesis.json"));
        key.save_new(&key_path).unwrap();
        let genesis = serde_json::json!({
            "chain_id": "test", "time": 1_767_225_600_000_000_u64,
            "validators": [{"name": "gate", "public_key": key.pair.public().to_string()}],
        });
        std::fs::write(&genesis_path, genesis.to_string()).unwrap();
        config.node.key = Some(key_path);
        config.node.genesis = Some(genesis_path);
        (folder, config)
    }

    #[test]
    fn a_key_file_is_found_in_the_genesis_and_remembers_its_use() {
        let (_folder, config) = files();
        let mut identity = Identity::load(&config).unwrap();
        assert_eq!(identity.index, Some(ValidatorIndex(0)));
        assert!(!identity.key_is_used());
        identity.mark_key_used().unwrap();
        assert!(identity.key_is_used());
        assert!(Identity::load(&config).unwrap().key_is_used(), "the file remembers");
    }

    #[test]
    fn another_key_or_name_than_the_genesis_says_is_refused() {
        let (folder, mut config) = files();
        let path = folder.path().join("other.key");
        KeyFile::generate(None).unwrap().save_new(&path).unwrap();
        let good = config.node.key.replace(path);
        assert!(matches!(Identity::load(&config), Err(IdentityError::OtherKey { .. })));
        config.node.key = good;
        config.node.id = NodeName::new("other").unwrap();
        assert!(matches!(Identity::load(&config), Err(IdentityError::OtherName { .. })));
    }

    #[test]
    fn a_missing_genesis_is_named() {
        let mut config = named("node0");
        config.node.genesis = Some(PathBuf::from("/nowhere/genesis.json"));
        assert!(Identity::load(&config).unwrap_err().to_string().contains("/nowhere/genesis.json"));
    }
}
