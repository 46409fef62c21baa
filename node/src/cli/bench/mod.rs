//! `dtvn bench`: figures of a network of its own, started for each scenario in a new directory.

mod archive;
mod attacker;
mod faulty;
mod report;
mod scenarios;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::limits;
use tokio::signal::unix::{SignalKind, signal};

use self::report::BenchReport;
use super::exit::Exit;
use super::nodes::{duration, one_or_more};
use super::output::Output;
use crate::cluster::{Cluster, ClusterConfig};

#[derive(Debug, Clone, Args)]
pub(super) struct BenchArguments {
    /// Which scenarios, commas between [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// How many nodes
    #[arg(short, long, value_name = "NUMBER", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=limits::VALIDATORS_MAX as i64))]
    nodes: u16,
    /// How long each scenario measures
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15s")]
    time: Duration,
    /// How long the idle network is measured
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    idle_time: Duration,
    /// Requests at a time in the closed loop
    #[arg(long, value_name = "NUMBER", default_value_t = 128, value_parser = one_or_more)]
    concurrency: usize,
    /// Operations in one request of the batch scenario
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = one_or_more)]
    batch: usize,
    /// Requests at a time in the batch scenario
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = one_or_more)]
    batch_concurrency: usize,
    /// Visitors per second in the open loop; each issues, validates and consumes a ticket
    #[arg(long, value_name = "NUMBER", default_value_t = 100.0)]
    rate: f64,
    /// Tickets that a node must fetch which has lost its disk, and that are part of a state that is archived
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000, alias = "rejoin-tickets")]
    tickets: u64,
    /// How long a slow leader does nothing before it works for 50 ms: above half of the view's timeout it is soon suspected
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "400ms")]
    slow: Duration,
    /// The actor that is crashed
    #[arg(long, value_name = "NAME", default_value = "replica")]
    actor: String,
    /// The program to measure [default: this one]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Where to put data and logs, which then stay [default: a temporary directory]
    #[arg(long, value_name = "PATH")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// As many operations as possible, one request each
    Closed,
    /// As many operations as possible, many in each request
    Batch,
    /// A fixed rate: latency
    Open,
    /// A fixed rate, while the leader's process is killed and comes back
    LeaderKill,
    /// A fixed rate, while an actor of the leader crashes
    ActorKill,
    /// Many tickets; then a node loses its disk, and is back at the tip, under load
    Rejoin,
    /// A fixed rate, with one backup dead, and without
    DeadBackup,
    /// As many operations as possible, while one node attacks: a flood, bad signatures
    Attacker,
    /// As many operations as possible, while a leader is slow, and for a whole turn in which each node leads
    SlowLeader,
    /// A fixed rate, while one node sends junk as fast as it is taken, and without
    Junk,
    /// A fixed rate among many tickets, while the state is written to disk again and again, and without
    Archive,
    /// Nothing to do
    Idle,
}

/// A network of a scenario.
struct Bench<'a> {
    arguments: &'a BenchArguments,
    /// How its nodes were started.
    config: ClusterConfig,
    cluster: Cluster,
    client: Client,
    output: Output,
}

pub(super) async fn run(arguments: BenchArguments, output: Output) -> anyhow::Result<Exit> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        exit = measure(arguments, output) => exit,
        // What is dropped ends its nodes and removes its directory.
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("told to end"),
    }
}

async fn measure(arguments: BenchArguments, output: Output) -> anyhow::Result<Exit> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("this program does not know where it is")?,
    };
    let temporary = Temporary::new()?;
    let data_dir = arguments.data_dir.clone().unwrap_or_else(|| temporary.path.clone());
    let wanted: &[Scenario] =
        if arguments.scenario.is_empty() { Scenario::value_variants() } else { &arguments.scenario };
    let mut scenarios = Vec::new();
    for scenario in wanted {
        let name = scenario.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let place = data_dir.join(&name);
        if place.exists() {
            anyhow::bail!("{} exists: each scenario begins with an empty network", place.display());
        }
        let progress = output.spinner(format!("{name}: starting {} nodes", arguments.nodes));
        let mut config = ClusterConfig::new(program.clone(), usize::from(arguments.nodes), place);
        config.flags.push("--fault-injection".to_owned());
        let cluster = Cluster::start(&config).await?;
        super::devnet::healthy(&cluster.urls(), limits::NODE_HEALTH_TIMEOUT).await.map_err(anyhow::Error::msg)?;
        progress.finish_and_clear();
        let client = Client::new(&ClientConfig::new(cluster.urls()))?;
        let bench = Bench { arguments: &arguments, config, cluster, client, output };
        scenarios.push(bench.run(*scenario, name).await?);
    }
    let report = BenchReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        is_release: !cfg!(debug_assertions),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        nodes: usize::from(arguments.nodes),
        scenarios,
    };
    output.result(&report, report::words);
    Ok(if report.scenarios.iter().all(report::ScenarioReport::is_good) { Exit::Good } else { Exit::Refused })
}

/// A directory that goes with this value.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("dtvn-bench-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
