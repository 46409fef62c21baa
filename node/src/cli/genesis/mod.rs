//! `dtvn genesis`: make, check and show genesis files.

mod from_checkpoint;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use dtvn_client::api::Time;
use dtvn_messages::genesis::{Continuation, EventPolicy, GenesisFile, GenesisValidator, RULES_VERSION};
use dtvn_messages::{ChainId, EventId, Genesis, NodeName, PublicKey, Timestamp, limits};
use serde::Serialize;

use from_checkpoint::FromCheckpointArguments;

use super::exit::Exit;
use super::output::{Output, table};
use crate::config::identity::{check_address, check_addresses};
use crate::config::keys::peer_id;
use crate::durable;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct GenesisArguments {
    #[command(subcommand)]
    command: Option<GenesisCommand>,
    #[command(flatten)]
    from_checkpoint: FromCheckpointArguments,
}

#[derive(Debug, Subcommand)]
enum GenesisCommand {
    /// Write a genesis file for these validators
    New(NewArguments),
    /// Say what is wrong with a genesis file, if anything is
    Check {
        /// The file
        file: PathBuf,
    },
    /// Show a genesis file, or that of a development network
    Show {
        /// The file
        #[arg(required_unless_present = "development")]
        file: Option<PathBuf>,
        /// Of a development network of so many nodes instead; DTVN_KEY_SEED and DTVN_AUTO_ISSUE count
        #[arg(long, value_name = "NODES", conflicts_with = "file",
              value_parser = clap::value_parser!(u16).range(1..=limits::VALIDATORS_MAX as i64))]
        development: Option<u16>,
    },
}

#[derive(Debug, Args)]
struct NewArguments {
    /// The chain's name
    #[arg(long)]
    chain_id: ChainId,
    /// A validator: its name, public key in hexadecimal, and where to reach it. Once for each, in their order
    #[arg(long = "validator", value_name = "NAME=KEY[@ADDRESS,...]", required = true, value_parser = validator)]
    validators: Vec<GenesisValidator>,
    /// When the chain begins [default: now]
    #[arg(long)]
    time: Option<Time>,
    /// Validating an unknown ticket of event `default` issues it first
    #[arg(long)]
    auto_issue: bool,
    /// Anybody may seed the 500 test tickets: for trials
    #[arg(long)]
    allow_seed: bool,
    /// The file; it must not exist
    #[arg(long, value_name = "FILE", default_value = "genesis.json")]
    out: PathBuf,
}

fn validator(text: &str) -> Result<GenesisValidator, String> {
    let shape = || format!("{text:?} is not NAME=KEY or NAME=KEY@ADDRESS,...");
    let (name, rest) = text.split_once('=').ok_or_else(shape)?;
    let (key, addresses) = rest.split_once('@').unwrap_or((rest, ""));
    let addresses: Vec<String> = addresses.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    for address in &addresses {
        check_address(address).map_err(|why| format!("{address:?} {why}"))?;
    }
    Ok(GenesisValidator {
        name: NodeName::new(name).map_err(|error| error.to_string())?,
        public_key: PublicKey::from_hex(key).map_err(|error| format!("the key of {name}: {error}"))?,
        power: 1,
        addresses,
    })
}

pub(super) fn run(arguments: GenesisArguments, output: Output) -> anyhow::Result<Exit> {
    let Some(command) = arguments.command else {
        return from_checkpoint::run(arguments.from_checkpoint, output);
    };
    match command {
        GenesisCommand::New(new) => {
            let time = new.time.unwrap_or_else(Time::now);
            let genesis = make(new.chain_id, new.validators, time.into(), new.auto_issue, new.allow_seed)?;
            write_new(&new.out, &genesis)?;
            show(&genesis, output);
            output.note(format!("written to {}: give all validators the same file", new.out.display()));
        }
        GenesisCommand::Check { file } => {
            let genesis = read(&file)?;
            output.line(format!("{} is good: {} validators", file.display(), genesis.validators().len()));
            output.line(format!("hash {}", genesis.hash()));
        }
        GenesisCommand::Show { file: Some(file), .. } => show(&read(&file)?, output),
        GenesisCommand::Show { development, .. } => {
            let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
            let seed = variable("DTVN_KEY_SEED");
            let seed = seed.as_deref().unwrap_or(dtvn_messages::crypto::DEVELOPMENT_SEED);
            let auto_issue = variable("DTVN_AUTO_ISSUE").is_some_and(|value| value == "true");
            show(&Genesis::development(usize::from(development.unwrap_or(4)), seed, auto_issue)?, output);
        }
    }
    Ok(Exit::Good)
}

/// A checked genesis of these validators, with the usual parameters.
pub(super) fn make(
    chain_id: ChainId,
    validators: Vec<GenesisValidator>,
    time: Timestamp,
    auto_issue: bool,
    allow_seed: bool,
) -> anyhow::Result<Genesis> {
    let genesis = Genesis::new(GenesisFile {
        chain_id,
        time,
        rules_version: RULES_VERSION,
        validators,
        consensus: dtvn_messages::genesis::ConsensusParameters::default(),
        events: vec![EventPolicy { id: EventId::default_event(), auto_issue }],
        allow_seed,
        continues: None,
    })?;
    check_addresses(&genesis).map_err(anyhow::Error::msg)?;
    Ok(genesis)
}

/// Writes a genesis to a file that must not exist, whole or not at all.
pub(super) fn write_new(path: &Path, genesis: &Genesis) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(genesis.file())? + "\n";
    durable::create(path, durable::PUBLIC, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot make {}", path.display()))
}

pub(super) fn read(path: &Path) -> anyhow::Result<Genesis> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let of_file = || format!("the genesis file {}", path.display());
    let genesis = Genesis::from_json(&text).with_context(of_file)?;
    check_addresses(&genesis).map_err(anyhow::Error::msg).with_context(of_file)?;
    Ok(genesis)
}

/// A genesis with what follows from it.
#[derive(Serialize)]
struct Shown<'a> {
    hash: String,
    quorum: u64,
    genesis: &'a GenesisFile,
}

fn show(genesis: &Genesis, output: Output) {
    let shown =
        Shown { hash: genesis.hash().to_string(), quorum: genesis.validators().quorum(), genesis: genesis.file() };
    output.result(&shown, |shown| {
        let file = shown.genesis;
        let rows = file.validators.iter().map(|validator| {
            [
                validator.name.to_string(),
                validator.power.to_string(),
                peer_id(&validator.public_key),
                validator.addresses.join(" "),
            ]
        });
        let events = file.events.iter().map(|event| match event.auto_issue {
            true => format!("{} (issues unknown tickets)", event.id),
            false => event.id.to_string(),
        });
        format!(
            "chain   {}\n{}time    {}\nhash    {}\nquorum  {} of {}\nevents  {}\n{}",
            file.chain_id,
            file.continues.as_ref().map_or_else(String::new, continues_line),
            Time(file.time),
            shown.hash,
            shown.quorum,
            genesis.validators().total_power(),
            events.collect::<Vec<_>>().join(", "),
            table(["validator", "power", "peer id", "addresses"], rows)
        )
    });
}

fn continues_line(continues: &Continuation) -> String {
    let Continuation { chain_id, height, block, log_size, .. } = continues;
    format!("after   {chain_id}, above height {height} (block {block}), with {log_size} outcomes in the log\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validator_is_read_with_its_addresses() {
        let key = "aa".repeat(32);
        let read = validator(&format!("gate-1={key}@/ip4/10.0.0.1/tcp/4001,/dns4/gate/udp/4001/quic-v1")).unwrap();
        assert_eq!((read.name.as_str(), read.addresses.len()), ("gate-1", 2));
        for wrong in ["gate-1", "gate-1=zz", &format!("Gate={key}"), &format!("gate={key}@10.0.0.1:4001")] {
            assert!(validator(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_genesis_is_written_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genesis.json");
        let genesis = Genesis::development(4, "pepper", true).unwrap();
        write_new(&path, &genesis).unwrap();
        assert_eq!(read(&path).unwrap().hash(), genesis.hash());
        let other = Genesis::development(7, "pepper", true).unwrap();
        assert!(write_new(&path, &other).is_err());
        assert_eq!(read(&path).unwrap().hash(), genesis.hash(), "it is not overwritten");
    }
}
