//! What it costs to write states to disk, beside the votes.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use dtvn_client::load::{Lane, Load, LoadPlan, Pace, Until, Workload};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::limits;
use tokio::time::Instant;

use super::super::devnet::healthy;
use super::super::load::watched;
use super::Bench;
use super::faulty::times;
use super::report::{Phase, ScenarioReport};
use crate::cluster::Cluster;

type RetainBlocks = fn(&ConsensusParameters) -> u64;

/// How many blocks the nodes of each network keep: so many that no state is archived, as by default, and as few as they may,
/// so that there is always one being written.
const NETWORKS: [(&str, RetainBlocks); 3] = [
    ("none archived", |_| 1 << 40),
    ("as by default", |parameters| parameters.retain_blocks),
    ("all the time", |parameters| parameters.log_window),
];

impl Bench<'_> {
    /// Latency among many tickets while no state is archived, while one is sometimes, and while one always is.
    pub(super) async fn archive(mut self, name: String) -> anyhow::Result<ScenarioReport> {
        let (tickets, rate) = (self.arguments.tickets, self.arguments.rate);
        let about = format!(
            "{rate} visitors per second among {tickets} tickets, where the state is not archived, where it is as by default, \
             and where it always is"
        );
        let begin = Instant::now();
        let (mut phases, mut remarks) = (Vec::<Phase>::new(), Vec::new());
        for (phase, retain_blocks) in NETWORKS {
            self.replace(phase, retain_blocks).await?;
            self.issue(tickets).await?;
            let (phase, written) = self.archiving(phase).await?;
            if let Some(without) = phases.first() {
                let ratio = |figure: fn(&Phase) -> u64| times(figure(&phase), figure(without));
                remarks.push(format!(
                    "{}: node0 archived {} states of {} bytes meanwhile; of the latency without: p50 {}, p99 {}",
                    phase.name,
                    written.times,
                    written.bytes,
                    ratio(|phase| phase.load.latency_us.p50),
                    ratio(|phase| phase.load.latency_us.p99)
                ));
            }
            phases.push(phase);
        }
        self.conclude_phases(name, about, begin, phases, remarks.join("\n  ")).await
    }

    /// Issues so many tickets, as fast as it can.
    pub(super) async fn issue(&self, tickets: u64) -> anyhow::Result<u64> {
        let size = self.arguments.batch;
        let plan = LoadPlan {
            workload: Workload::Issue,
            pace: Pace::Closed { concurrency: self.arguments.batch_concurrency },
            lane: Lane::Batch { size, bincode: true },
            until: Until::Requests(tickets.div_ceil(size as u64)),
            tickets: 0,
        };
        Ok(watched(Load::new(self.client.clone(), plan.clone())?, &plan, "issuing", self.output).await.accepted)
    }

    /// Another network takes the place of this one: the same, but for how many blocks its nodes keep.
    async fn replace(&mut self, name: &str, retain_blocks: RetainBlocks) -> anyhow::Result<()> {
        let mut file = self.client.genesis().await?;
        file.consensus.retain_blocks = retain_blocks(&ConsensusParameters::default());
        for number in 0..self.cluster.nodes().len() {
            self.cluster.terminate(number).await;
        }
        let mut config = self.config.clone();
        config.data_dir = config.data_dir.join(name.replace(' ', "-"));
        let genesis = config.data_dir.join("genesis.json");
        std::fs::create_dir(&config.data_dir)?;
        std::fs::write(&genesis, serde_json::to_vec(&file)?)?;
        config.flags.push(format!("--genesis={}", genesis.display()));
        self.cluster = Cluster::start(&config).await?;
        healthy(&self.cluster.urls(), limits::NODE_HEALTH_TIMEOUT).await.map_err(anyhow::Error::msg)?;
        self.client = Client::new(&ClientConfig::new(self.cluster.urls()))?;
        Ok(())
    }

    /// A measurement, and what the first node wrote of states meanwhile.
    async fn archiving(&self, name: &'static str) -> anyhow::Result<(Phase, Archived)> {
        let folder = self.cluster.nodes()[0].command().data_dir.join("archive");
        let written = || std::fs::metadata(folder.join("manifest")).and_then(|manifest| manifest.modified()).ok();
        let mut seen: BTreeSet<SystemTime> = written().into_iter().collect();
        let before = seen.len();
        let watch = async {
            loop {
                tokio::time::sleep(limits::HEALTH_LOOK_INTERVAL).await;
                seen.extend(written());
            }
        };
        let pace = Pace::Open { per_second: self.arguments.rate, in_flight_max: 1_024 };
        let phase = tokio::select! {
            phase = self.phase(&self.client, name, pace) => phase?,
            never = watch => never,
        };
        let times = seen.len() - before;
        let bytes = match times {
            0 => 0,
            _ => bytes_in(&folder).with_context(|| format!("{} cannot be read", folder.display()))?,
        };
        Ok((phase, Archived { times, bytes }))
    }
}

/// States that were archived.
struct Archived {
    times: usize,
    /// What the last one takes.
    bytes: u64,
}

/// What is in a folder. Files may be renamed and removed meanwhile.
fn bytes_in(folder: &Path) -> std::io::Result<u64> {
    let length = |entry: std::io::Result<DirEntry>| match entry.and_then(|entry| entry.metadata()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        metadata => metadata.map(|metadata| metadata.len()),
    };
    std::fs::read_dir(folder)?.map(length).sum()
}
