//! `dtvn genesis --from-checkpoint`: a chain that goes on where another one ended, for the day when a quorum of disks is lost.
//! It runs where one of the nodes that are left ran, with that node's settings.

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
use dtvn_replication::initial::{InitialState, continue_chain};
use dtvn_replication::left::{Left, PreparedBlock};
use serde::Serialize;

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::setting_flags::SettingFlags;
use super::{show, validator, write_new};
use crate::config::Identity;

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
    let Found { left: Left { stored, committed, prepared, .. }, log_lost } = found;
    let last = stored.ends.last().map_or_else(|| former.validators(), |end| &end.next);
    let file = GenesisFile {
        chain_id,
        time: arguments.time.unwrap_or_else(Time::now).into(),
        rules_version: RULES_VERSION,
        validators: if arguments.validators.is_empty() { same(&former, last) } else { arguments.validators },
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
        log_lost,
        tickets: state.image().tickets.len(),
        log_size: continues.log_size,
        genesis_hash: genesis.hash(),
        genesis: arguments.out,
        state: arguments.state_out,
    };
    if output.is_json() {
        output.result(&made, |_| String::new());
        return Ok(Exit::Good);
    }
    show(&genesis, output);
    output.line(format!("state   {}, at height {} of {}", made.state_root, made.height, made.chain_id));
    for Prepared { height, view, block } in &made.prepared {
        output.line(format!("height  {height} is prepared in view {view}, and may not be committed: block {block}"));
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
    Ok(Exit::Good)
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
    let file = std::fs::File::create_new(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut sink = std::io::BufWriter::new(file);
    state
        .write(genesis, &mut sink)
        .and_then(|()| sink.flush())
        .with_context(|| format!("cannot write {}", path.display()))?;
    sink.get_ref().sync_all().with_context(|| format!("cannot write {}", path.display()))
}
