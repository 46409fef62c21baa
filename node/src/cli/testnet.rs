//! `dtvn testnet`: the files of a network with keys of its own, one folder for each node.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use dtvn_client::api::Time;
use dtvn_messages::genesis::GenesisValidator;
use dtvn_messages::{ChainId, Genesis, NodeName, limits};
use serde::Serialize;

use super::exit::Exit;
use super::output::{Output, table};
use super::{genesis, output};
use crate::cluster::node_name;
use crate::config::keys::KeyFile;

#[derive(Debug, Args)]
pub(super) struct TestnetArguments {
    /// How many nodes
    #[arg(short, long, value_name = "NUMBER", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=limits::VALIDATORS_MAX as i64))]
    nodes: u16,
    /// The folder to make
    #[arg(long, value_name = "PATH", default_value = "./testnet")]
    out: PathBuf,
    /// The chain's name [default: made up]
    #[arg(long)]
    chain_id: Option<ChainId>,
    /// Where each node can be reached: IP addresses or host names, one for each node or one for all
    #[arg(long, value_name = "HOST,...", value_delimiter = ',', default_value = "127.0.0.1")]
    hosts: Vec<String>,
    /// Validating an unknown ticket issues it first
    #[arg(long)]
    auto_issue: bool,
    /// Anybody may seed the 500 test tickets
    #[arg(long)]
    allow_seed: bool,
}

/// What was made for a node.
#[derive(Debug, Serialize)]
struct NodeFiles {
    name: String,
    peer_id: String,
    config: PathBuf,
    start: String,
}

/// Where a node is: on a machine of its own all nodes have the same ports, on one machine each its own.
struct Place<'a> {
    host: &'a str,
    p2p: u16,
    api: u16,
}

impl Place<'_> {
    fn multiaddress(&self, peer_id: &str) -> String {
        let kind = match self.host.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => "ip4",
            Ok(std::net::IpAddr::V6(_)) => "ip6",
            Err(_) => "dns",
        };
        format!("/{kind}/{}/tcp/{}/p2p/{peer_id}", self.host, self.p2p)
    }

    fn is_local(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

pub(super) fn run(arguments: TestnetArguments, output: Output) -> anyhow::Result<Exit> {
    let count = usize::from(arguments.nodes);
    if arguments.hosts.len() != 1 && arguments.hosts.len() != count {
        bail!("--hosts has {} hosts for {count} nodes: give one for each, or one for all", arguments.hosts.len());
    }
    if arguments.out.exists() {
        bail!("{} exists: nothing is overwritten; give --out another folder", arguments.out.display());
    }
    let places: Vec<Place<'_>> = (0..arguments.nodes)
        .map(|number| {
            let offset = if arguments.hosts.len() == 1 { number } else { 0 };
            let host = arguments.hosts.get(usize::from(number)).unwrap_or(&arguments.hosts[0]);
            Place { host, p2p: 4_001 + offset, api: 8_081 + offset }
        })
        .collect();
    let bar = output.progress(count as u64, output::BAR).with_message("making keys");
    let (mut validators, mut keys) = (Vec::new(), Vec::new());
    for (number, place) in places.iter().enumerate() {
        let name = NodeName::new(&node_name(number))?;
        let key = KeyFile::generate(Some(name.clone()))?;
        let addresses = vec![place.multiaddress(&key.peer_id())];
        validators.push(GenesisValidator { name, public_key: key.pair.public(), power: 1, addresses });
        keys.push(key);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let chain_id = match arguments.chain_id {
        Some(chain_id) => chain_id,
        None => ChainId::new(&format!("dtvn-test-{:08x}", rand::random::<u32>()))?,
    };
    let (auto_issue, allow_seed) = (arguments.auto_issue, arguments.allow_seed);
    let genesis = genesis::make(chain_id, validators, Time::now().into(), auto_issue, allow_seed)?;
    std::fs::create_dir(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    for (validator, key) in genesis.file().validators.iter().zip(keys) {
        let folder = arguments.out.join(validator.name.as_str());
        std::fs::create_dir(&folder)?;
        key.save_new(&folder.join("validator.key"))?;
    }
    genesis::write_new(&arguments.out.join("genesis.json"), &genesis)?;
    let files: anyhow::Result<Vec<NodeFiles>> =
        (0..count).map(|number| write_config(&arguments.out, &places[number], number, &genesis)).collect();
    output.result(&files?, |files| {
        let rows = files.iter().map(|node| [node.name.clone(), node.peer_id.clone(), node.start.clone()]);
        table(["node", "peer id", "start it with"], rows)
    });
    Ok(Exit::Good)
}

fn write_config(out: &Path, place: &Place<'_>, number: usize, genesis: &Genesis) -> anyhow::Result<NodeFiles> {
    let validators = &genesis.file().validators;
    let validator = &validators[number];
    let others = validators.iter().filter(|other| other.name != validator.name);
    let bootstrap: Vec<&String> = others.flat_map(|other| &other.addresses).collect();
    let (p2p_addr, remark) = if place.is_local() {
        ("127.0.0.1", "")
    } else {
        ("0.0.0.0", "# The API listens on loopback only. To open it set api.addr, and a key in DTVN_API_KEY.\n")
    };
    let text = format!(
        "# {name} of the chain {chain}. `dtvn config check --config` explains it.\n\
         [node]\nid = \"{name}\"\ndata_dir = \"data\"\ngenesis = \"../genesis.json\"\nkey = \"validator.key\"\n\n\
         [p2p]\naddr = \"{p2p_addr}\"\nport = {p2p}\nbootstrap = {bootstrap}\n\n{remark}[api]\nport = {api}\n",
        name = validator.name,
        chain = genesis.chain_id(),
        p2p = place.p2p,
        bootstrap = serde_json::to_string(&bootstrap)?,
        api = place.api,
    );
    let config = out.join(validator.name.as_str()).join("dtvn.toml");
    std::fs::write(&config, text)?;
    Ok(NodeFiles {
        name: validator.name.to_string(),
        peer_id: crate::config::keys::peer_id(&validator.public_key),
        start: format!("dtvn validator --config {}", config.display()),
        config,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Effective, Identity, Inputs};

    fn arguments(out: PathBuf, hosts: &[&str]) -> TestnetArguments {
        TestnetArguments {
            nodes: 4,
            out,
            chain_id: None,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            auto_issue: false,
            allow_seed: true,
        }
    }

    fn load(out: &Path, number: usize) -> (Effective, Identity) {
        let file = Some(out.join(format!("node{number}")).join("dtvn.toml"));
        let effective = Effective::load(&Inputs { file, ..Inputs::default() }).unwrap();
        let identity = Identity::load(&effective.config).unwrap();
        (effective, identity)
    }

    #[test]
    fn each_node_finds_itself_in_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("net");
        run(arguments(out.clone(), &["127.0.0.1"]), Output::new(true)).unwrap();
        let mut ports = BTreeSet::new();
        let mut hashes = BTreeSet::new();
        for number in 0..4 {
            let (effective, identity) = load(&out, number);
            assert_eq!(identity.index.map(|index| usize::from(index.0)), Some(number));
            assert_eq!(effective.config.node.data_dir, out.join(format!("node{number}")).join("data"));
            assert_eq!(effective.config.p2p.bootstrap.len(), 3);
            ports.insert(effective.config.p2p.port);
            hashes.insert(identity.genesis.hash());
        }
        assert_eq!((ports.len(), hashes.len()), (4, 1));
        let refused = run(arguments(out.clone(), &["127.0.0.1"]), Output::new(true)).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{} exists: ", out.display())), "{refused}");
    }

    #[test]
    fn nodes_on_machines_of_their_own_have_the_same_ports() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("net");
        run(arguments(out.clone(), &["10.0.0.1", "10.0.0.2", "gate.example", "::2"]), Output::new(true)).unwrap();
        let (effective, identity) = load(&out, 0);
        assert_eq!(effective.config.p2p.port, 4001);
        assert!(!effective.config.p2p.addr.is_loopback() && effective.config.api.addr.is_loopback());
        let addresses: Vec<String> =
            identity.genesis.file().validators.iter().flat_map(|v| v.addresses.clone()).collect();
        assert!(addresses[0].starts_with("/ip4/10.0.0.1/tcp/4001/p2p/"), "{addresses:?}");
        assert!(addresses[2].starts_with("/dns/gate.example/tcp/4001/p2p/"), "{addresses:?}");
        assert!(addresses[3].starts_with("/ip6/::2/tcp/4001/p2p/"), "{addresses:?}");
    }
}
