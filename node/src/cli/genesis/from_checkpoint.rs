//! `dtvn genesis --from-checkpoint`: a chain that goes on where another one ended, for the day when a quorum of disks is lost.
//! It runs where one of the nodes that are left ran, with that node's settings.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use dtvn_actors::storage::lock::DirectoryLock;
use dtvn_actors::storage::stopped::Found;
use dtvn_actors::storage::store::StoreIdentity;
use dtvn_actors::storage::{initial, stopped};
use dtvn_client::ClientError;
use dtvn_client::api::Time;
use dtvn_messages::genesis::{GenesisFile, GenesisValidator, RULES_VERSION};
use dtvn_messages::{ChainId, Digest, Genesis, Height, ValidatorSet, View};
use dtvn_replication::execution::Stored;
use dtvn_replication::initial::{InitialState, continue_chain};
use dtvn_replication::left::{Left, PreparedBlock};
use serde::Serialize;

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::setting_flags::SettingFlags;
use super::{show, validator, write_new};
use crate::config::Identity;
use crate::durable;

#[derive(Debug, Args)]
pub(super) struct FromCheckpointArguments {
    /// Begin a new chain with the state of a node that is left of another one, and is stopped: `--data-dir` and its other
    /// settings say which. Run this for each node that is left, and take what the one makes that got farthest
    #[arg(long, requires = "chain_id", default_value_t = false)]
    from_checkpoint: bool,
    /// The new chain's name: another one than before
    #[arg(long, requires = "from_checkpoint")]
    chain_id: Option<ChainId>,
    /// A validator of the new chain, as for `dtvn genesis new` [default: those of the former chain at its end]
    #[arg(long = "validator", requires = "from_checkpoint", value_name = "NAME=KEY[@ADDRESS,...]", value_parser = validator)]
    validators: Vec<GenesisValidator>,
    /// When the new chain begins [default: now]
    #[arg(long, requires = "from_checkpoint")]
    time: Option<Time>,
    /// The genesis file to write; it must not exist
    #[arg(long, requires = "from_checkpoint", value_name = "FILE", default_value = "genesis.json")]
    out: PathBuf,
    /// The file with the state to write; it must not exist
    #[arg(long, requires = "from_checkpoint", value_name = "FILE", default_value = "initial-state")]
    state_out: PathBuf,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Continued {
    /// The former chain.
    chain_id: ChainId,
    /// Its last height that is taken over.
    height: Height,
    /// The digest of the block there.
    block: Digest,
    /// The root of the state there, under the former genesis: that of every node at this height.
    state_root: Digest,
    /// The last height of these that this node knows to be committed.
    committed: Height,
    /// The blocks above it: prepared, and perhaps committed by nodes that are lost.
    prepared: Vec<Prepared>,
    /// What a quorum prepared above them and this node cannot take over, if it knows of any.
    lacking: Option<String>,
    /// Why the node has no consensus log to go by, if it has none.
    log_lost: Option<String>,
    /// How many tickets are taken over.
    tickets: usize,
    /// How many outcomes the transparency log holds.
    log_size: u64,
    /// The hash of the new genesis.
    genesis_hash: Digest,
    /// The genesis file.
    genesis: PathBuf,
    /// The file with the state.
    state: PathBuf,
}

/// A block that is taken over, and not known to be committed.
#[derive(Debug, Serialize)]
struct Prepared {
    height: Height,
    view: View,
    block: Digest,
}

impl From<PreparedBlock> for Prepared {
    fn from(PreparedBlock { height, view, block }: PreparedBlock) -> Self {
        Self { height, view, block }
    }
}

pub(super) fn run(arguments: FromCheckpointArguments, output: Output) -> anyhow::Result<Exit> {
    let Some(chain_id) = arguments.chain_id.filter(|_| arguments.from_checkpoint) else {
        let why = "say new, check or show; or --from-checkpoint and --chain-id";
        return Err(ClientError::Usage(why.to_owned()).into());
    };
    for file in [&arguments.out, &arguments.state_out] {
        anyhow::ensure!(!file.exists(), "{} exists: nothing is overwritten", file.display());
    }
    let config = arguments.settings.load()?.config;
    let Identity { name, key, genesis: former, .. } = Identity::load(&config)?;
    let directory = config.node.data_dir;
    if !directory.is_dir() {
        return Err(ClientError::Usage(format!("{} is no data directory", directory.display())).into());
    }
    let _lock = DirectoryLock::acquire(&directory)?;
    let found = stopped::state(&directory, &former, StoreIdentity::new(&former, name, key.public()))?;
    let Found { left: Left { stored, committed, prepared, lacking, .. }, log_lost } = found;
    let file = GenesisFile {
        chain_id,
        time: arguments.time.unwrap_or_else(Time::now).into(),
        rules_version: RULES_VERSION,
        validators: chosen(arguments.validators, &former, &stored, output)?,
        consensus: former.parameters().clone(),
        events: Vec::new(),
        allow_seed: former.file().allow_seed,
        continues: None,
    };
    let (genesis, state, state_root) = continue_chain(&former, stored, file)?;
    write_state(&arguments.state_out, &genesis, &state)?;
    write_new(&arguments.out, &genesis)?;
    // What the other nodes will read, to the last byte.
    initial::read(&arguments.state_out, &genesis)?;
    let continues = genesis.file().continues.as_ref().context("a chain that continues another one says so")?;
    let made = Continued {
        chain_id: continues.chain_id.clone(),
        height: continues.height,
        block: continues.block,
        state_root,
        committed,
        prepared: prepared.into_iter().map(Prepared::from).collect(),
        lacking: lacking.map(|lacking| lacking.to_string()),
        log_lost,
        tickets: state.image().tickets.len(),
        log_size: continues.log_size,
        genesis_hash: genesis.hash(),
        genesis: arguments.out,
        state: arguments.state_out,
    };
    if output.is_json() {
        output.result(&made, |_| String::new());
    } else {
        show_made(&genesis, &made, output);
    }
    Ok(Exit::Good)
}

fn show_made(genesis: &Genesis, made: &Continued, output: Output) {
    show(genesis, output);
    output.line(format!("state   {}, at height {} of {}", made.state_root, made.height, made.chain_id));
    for Prepared { height, view, block } in &made.prepared {
        output.line(format!("height  {height} is prepared in view {view}, and may not be committed: block {block}"));
    }
    if let Some(lacking) = &made.lacking {
        output.note(format!("WARNING: {lacking}. Take another node, if one is left that has it"));
    }
    if let Some(why) = &made.log_lost {
        output.note(format!(
            "WARNING: {why}. So this is only what the node's database holds, which may be far behind what the node knew: \
             take another node, if one is left"
        ));
    }
    output.note(format!(
        "written to {} and {}. Run this for every other node that is left, and compare. At one height all must show one \
         block and one state; of two prepared blocks the one of the higher view is right, else the node that got farthest. \
         What is above is lost. Then start each node with this genesis, a data directory of its own, and -initial-state {}",
        made.genesis.display(),
        made.state.display(),
        made.state.display()
    ));
}

/// The validators of the new chain: those that are given, else those of the former chain at its end; but not where these
/// had agreed on others.
fn chosen(
    given: Vec<GenesisValidator>,
    former: &Genesis,
    stored: &Stored,
    output: Output,
) -> anyhow::Result<Vec<GenesisValidator>> {
    let Some(agreed) = stored.agreed(former) else {
        return Ok(if given.is_empty() { same(former, stored.validators(former)) } else { given });
    };
    let named = agreed.iter().map(|(_, it)| match it.power {
        1 => format!("{}={}", it.name, it.public_key),
        power => format!("{}={} (power {power})", it.name, it.public_key),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    if given.is_empty() {
        let why = format!(
            "the validators of the former chain had agreed on others, and that had not taken effect: {named}. Say who the \
             validators are now: --validator NAME=KEY[@ADDRESS,...], once for each"
        );
        return Err(ClientError::Usage(why).into());
    }
    output.note(format!("the validators had agreed on others, and that had not taken effect: {named}"));
    Ok(given)
}

/// The validators of the former chain, at the addresses that its genesis gives for those that it knows.
fn same(former: &Genesis, set: &ValidatorSet) -> Vec<GenesisValidator> {
    let listed = &former.file().validators;
    let addresses = |key| listed.iter().find(|it| it.public_key == key).map(|it| it.addresses.clone());
    let validators = set.iter().map(|(_, validator)| GenesisValidator {
        name: validator.name.clone(),
        public_key: validator.public_key,
        power: validator.power,
        addresses: addresses(validator.public_key).unwrap_or_default(),
    });
    validators.collect()
}

fn write_state(path: &Path, genesis: &Genesis, state: &InitialState) -> anyhow::Result<()> {
    let write = |file: &mut File| {
        let mut sink = std::io::BufWriter::new(file);
        state.write(genesis, &mut sink)?;
        sink.flush()
    };
    durable::create(path, durable::PUBLIC, write).with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use dtvn_messages::Membership;
    use dtvn_messages::crypto::DEVELOPMENT_SEED;
    use dtvn_messages::membership::PendingEnd;

    use super::*;

    #[test]
    fn validators_who_were_agreed_on_and_had_not_begun_are_not_passed_over() {
        let former = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
        let choose = |stored: &Stored, given| chosen(given, &former, stored, Output::new(false));
        let mut stored = Stored::genesis(&former);
        assert_eq!(choose(&stored, Vec::new()).unwrap(), former.file().validators);
        let next = Genesis::development(5, DEVELOPMENT_SEED, false).unwrap().validators().clone();
        let pending = PendingEnd { ends: Height(4), set: Some(Arc::new(next)), recovering: BTreeMap::new() };
        let membership = Membership { pending: Some(pending), ..Membership::first(&former) };
        stored.image.membership = Some(Arc::new(membership));
        let refused = choose(&stored, Vec::new()).unwrap_err();
        assert_eq!(Exit::of_error(&refused), Exit::Usage);
        let said = refused.to_string();
        assert!(said.contains("node4=") && said.contains("--validator NAME=KEY"), "{said}");
        let given = former.file().validators[..3].to_vec();
        assert_eq!(choose(&stored, given.clone()).unwrap(), given);
    }
}
