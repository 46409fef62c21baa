//! What it costs to write states to disk, beside the votes.

use std::collections::BTreeSet;
use std::time::SystemTime;

use anyhow::Context as _;
use dtvn_client::load::{Lane, Load, LoadPlan, Pace, Until, Workload};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::limits;
use tokio::time::Instant;

use super::super::devnet::healthy;
use super::super::load::watched;
use super::Bench;
use super::faulty::times;
use super::report::{Phase, ScenarioReport};
use crate::cluster::Cluster;

/// What the two measurements are called.
const PHASES: [&str; 2] = ["rarely", "again and again"];

impl Bench<'_> {
    /// Latency among many tickets: on a network that archives its state rarely, and on one that keeps as few blocks as it may
    /// and therefore archives it again and again.
    pub(super) async fn archive(mut self, name: String) -> anyhow::Result<ScenarioReport> {
        let (tickets, rate) = (self.arguments.tickets, self.arguments.rate);
        let about = format!(
            "{rate} visitors per second among {tickets} tickets, where the state is archived rarely, and where it is archived \
             again and again"
        );
        let begin = Instant::now();
        self.issue(tickets).await?;
        let (rarely, _) = self.archiving(PHASES[0]).await?;
        self.keep_few_blocks().await?;
        self.issue(tickets).await?;
        let (often, written) = self.archiving(PHASES[1]).await?;
        let ratio = |figure: fn(&Phase) -> u64| times(figure(&often), figure(&rarely));
        let remark = format!(
            "archived {} times by node0 meanwhile, {} bytes each; of the latency where it is done rarely: p50 {}, p99 {}",
            written.times,
            written.bytes,
            ratio(|phase| phase.load.latency_us.p50),
            ratio(|phase| phase.load.latency_us.p99)
        );
        self.conclude_phases(name, about, begin, vec![rarely, often], remark).await
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
    async fn keep_few_blocks(&mut self) -> anyhow::Result<()> {
        let mut file = self.client.genesis().await?;
        file.consensus.retain_blocks = file.consensus.log_window;
        self.config.data_dir = self.config.data_dir.join("few-blocks");
        let genesis = self.config.data_dir.join("genesis.json");
        std::fs::create_dir(&self.config.data_dir)?;
        std::fs::write(&genesis, serde_json::to_vec(&file)?)?;
        self.config.flags.push(format!("--genesis={}", genesis.display()));
        for number in 0..self.cluster.nodes().len() {
            self.cluster.terminate(number).await;
        }
        self.cluster = Cluster::start(&self.config).await?;
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

fn bytes_in(folder: &std::path::Path) -> std::io::Result<u64> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
