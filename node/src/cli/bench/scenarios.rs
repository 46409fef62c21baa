//! What each scenario does to its network.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dtvn_client::api::{ActorCommandAnswer, ActorInfo};
use dtvn_client::load::{Lane, Load, LoadPlan, Pace, Until, Workload};
use dtvn_messages::limits;
use tokio::time::Instant;

use super::super::actors::{admin_client, command_path, tree};
use super::super::checksum::compare;
use super::super::load::watched;
use super::report::{ScenarioReport, per_thousand};
use super::{Bench, Scenario};
use crate::cluster::{Cluster, Usage};

/// How long a node may take that has lost its disk.
const REJOIN_PATIENCE: Duration = Duration::from_secs(300);
/// How long nodes may take to have the same history after the load.
const SETTLE: Duration = Duration::from_secs(60);

/// What a scenario does beside its load.
enum Disturbance {
    Nothing,
    KillLeader,
    CrashActor,
}

impl Bench<'_> {
    pub(super) async fn run(self, scenario: Scenario, name: String) -> anyhow::Result<ScenarioReport> {
        let arguments = self.arguments;
        match scenario {
            Scenario::Closed => {
                let about = format!("issue, validate, consume; {} at a time, one request each", arguments.concurrency);
                let pace = Pace::Closed { concurrency: arguments.concurrency };
                self.load(name, about, pace, Lane::Single, Disturbance::Nothing).await
            }
            Scenario::Batch => {
                let (size, concurrency) = (arguments.batch, arguments.batch_concurrency);
                let about =
                    format!("issue, validate, consume; {size} in one request (bincode), {concurrency} at a time");
                let lane = Lane::Batch { size, bincode: true };
                self.load(name, about, Pace::Closed { concurrency }, lane, Disturbance::Nothing).await
            }
            Scenario::Open => {
                let about = format!("{} visitors per second, each issues, validates and consumes", arguments.rate);
                self.open(name, about, Disturbance::Nothing).await
            }
            Scenario::LeaderKill => {
                let about = format!("{} visitors per second; the leader is killed, and comes back", arguments.rate);
                self.open(name, about, Disturbance::KillLeader).await
            }
            Scenario::ActorKill => {
                let about = format!("{} visitors per second; the leader's {} crashes", arguments.rate, arguments.actor);
                self.open(name, about, Disturbance::CrashActor).await
            }
            Scenario::Rejoin => self.rejoin(name).await,
            Scenario::DeadBackup => self.dead_backup(name).await,
            Scenario::Attacker => self.attacker(name).await,
            Scenario::SlowLeader => self.slow_leader(name).await,
            Scenario::Junk => self.junk(name).await,
            Scenario::Archive => self.archive(name).await,
            Scenario::Idle => self.idle(name).await,
        }
    }

    async fn open(self, name: String, about: String, disturbance: Disturbance) -> anyhow::Result<ScenarioReport> {
        let pace = Pace::Open { per_second: self.arguments.rate, in_flight_max: 1_024 };
        self.load(name, about, pace, Lane::Single, disturbance).await
    }

    async fn load(
        mut self,
        name: String,
        about: String,
        pace: Pace,
        lane: Lane,
        disturbance: Disturbance,
    ) -> anyhow::Result<ScenarioReport> {
        let time = self.arguments.time;
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let plan = LoadPlan {
            workload: Workload::Lifecycle,
            pace,
            lane,
            until: Until::Milliseconds(milliseconds),
            tickets: 0,
        };
        let load = Load::new(self.client.clone(), plan.clone())?;
        let before = usage(&self.cluster);
        let begin = Instant::now();
        let output = self.output;
        let watched = watched(load, &plan, "measuring", output);
        let disturb = self.disturb(disturbance, time);
        let (load, remarks) = tokio::join!(watched, disturb);
        let remarks = remarks?;
        let measured = begin.elapsed();
        let usage = used_since(&self.cluster, &before);
        let cpu_ms_per_thousand = per_thousand(&usage, load.accepted);
        let written: u64 = usage.values().flatten().map(|usage| usage.written_bytes).sum();
        let mut report = self.conclude(name, about, measured, usage).await?;
        report.remarks.extend(remarks);
        if let Some(bytes) = written.checked_div(load.accepted) {
            report.remarks.push(format!("{bytes} bytes dirtied for an operation, on all nodes together (the kernel counts whole folios; the disk gets less)"));
        }
        report.cpu_ms_per_thousand = cpu_ms_per_thousand;
        report.plan = Some(plan);
        report.load = Some(load);
        Ok(report)
    }

    /// A node loses log and database among many tickets: how long until it is at the tip, while visitors come.
    async fn rejoin(mut self, name: String) -> anyhow::Result<ScenarioReport> {
        let tickets = self.arguments.tickets;
        let about = format!(
            "{tickets} tickets; then a node loses its log and its database, and comes back while {} visitors per second \
             come",
            self.arguments.rate
        );
        let begin = Instant::now();
        let issued = self.issue(tickets).await?;
        let number = self.cluster.nodes().len() - 1;
        self.cluster.kill(number).await;
        let directory = self.cluster.nodes()[number].command().data_dir.clone();
        for part in ["log", "db", "snapshots", "archive"] {
            match std::fs::remove_dir_all(directory.join(part)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.with_context(|| format!("{part} could not be removed"))?,
            }
        }
        let plan = LoadPlan {
            workload: Workload::Lifecycle,
            pace: Pace::Open { per_second: self.arguments.rate, in_flight_max: 1_024 },
            lane: Lane::Single,
            until: Until::Milliseconds(u64::try_from(self.arguments.time.as_millis()).unwrap_or(u64::MAX)),
            tickets: 0,
        };
        let load = Load::new(self.client.clone(), plan.clone())?;
        let client = self.client.clone();
        let output = self.output;
        let back = async {
            let wiped = Instant::now();
            self.cluster.restart(number).await?;
            let (first, own) = (client.only(0), client.only(number));
            loop {
                let tip = first.sequence(None).await.map(|sequence| sequence.height);
                let there = own.sequence(None).await.map(|sequence| sequence.height);
                if let (Ok(tip), Ok(there)) = (tip, there)
                    && there >= tip
                {
                    return anyhow::Ok((wiped.elapsed(), tip));
                }
                if wiped.elapsed() > REJOIN_PATIENCE {
                    bail!("the node was not back after {} s", REJOIN_PATIENCE.as_secs());
                }
                tokio::time::sleep(limits::HEALTH_LOOK_INTERVAL).await;
            }
        };
        let (load, back) = tokio::join!(watched(load, &plan, "measuring", output), back);
        let (took, tip) = back?;
        let measured = begin.elapsed();
        let mut report = self.conclude(name, about, measured, BTreeMap::new()).await?;
        report.remarks.push(format!(
            "node{number} was back at the tip, block {tip}, {} ms after its process was started, with {} tickets to fetch",
            took.as_millis(),
            issued
        ));
        report.plan = Some(plan);
        report.load = Some(load);
        Ok(report)
    }

    async fn idle(self, name: String) -> anyhow::Result<ScenarioReport> {
        let time = self.arguments.idle_time;
        let about = format!("500 tickets, and nothing to do for {} s", time.as_secs());
        let request = dtvn_client::api::SeedRequest::default();
        self.client.seed(request).await.context("the tickets could not be seeded")?;
        let progress = self.output.spinner(format!("idle: measuring for {} s", time.as_secs()));
        let before = usage(&self.cluster);
        let begin = Instant::now();
        tokio::time::sleep(time).await;
        let measured = begin.elapsed();
        let usage = used_since(&self.cluster, &before);
        progress.finish_and_clear();
        let mut report = self.conclude(name, about, measured, usage).await?;
        let lines = report.usage.iter().filter_map(|(name, usage)| {
            let usage = usage.as_ref()?;
            let (cpu, written, resident) = (usage.cpu_ms, usage.written_bytes, usage.resident_bytes / 1_048_576);
            Some(format!("{name}: {cpu} ms of processor time, {written} bytes written, {resident} MiB of memory"))
        });
        report.remarks = lines.collect();
        Ok(report)
    }

    /// Compares the histories and ends the network.
    pub(super) async fn conclude(
        self,
        name: String,
        about: String,
        measured: Duration,
        usage: BTreeMap<String, Option<Usage>>,
    ) -> anyhow::Result<ScenarioReport> {
        let comparison = compare(&self.client, SETTLE).await?;
        let unwilling = self.cluster.stop().await;
        let remarks = unwilling.iter().map(|name| format!("{name} did not end in order")).collect();
        Ok(ScenarioReport {
            name,
            about,
            plan: None,
            load: None,
            phases: Vec::new(),
            usage,
            cpu_ms_per_thousand: BTreeMap::new(),
            measured_ms: u64::try_from(measured.as_millis()).unwrap_or(u64::MAX),
            equal_histories: comparison.equal,
            height: comparison.height,
            remarks,
        })
    }

    /// Disturbs the network after a third of `time`, and mends it after two.
    async fn disturb(&mut self, disturbance: Disturbance, time: Duration) -> anyhow::Result<Vec<String>> {
        if matches!(disturbance, Disturbance::Nothing) {
            return Ok(Vec::new());
        }
        tokio::time::sleep(time / 3).await;
        let leader = self.leader().await?;
        let name = self.cluster.nodes()[leader].ready().node.to_string();
        match disturbance {
            Disturbance::Nothing => Ok(Vec::new()),
            Disturbance::KillLeader => {
                self.cluster.kill(leader).await;
                tokio::time::sleep(time / 3).await;
                let begin = Instant::now();
                self.cluster.restart(leader).await?;
                let took = begin.elapsed().as_millis();
                Ok(vec![format!("{name} was killed; started again, it was ready after {took} ms")])
            }
            Disturbance::CrashActor => {
                let client = admin_client(&self.cluster.admin_urls()[leader], None)?;
                let actor = find_actor(&tree(&client).await?, &self.arguments.actor)
                    .with_context(|| format!("{name} has no actor {}", self.arguments.actor))?;
                let _: ActorCommandAnswer = client.command(&command_path(&actor, "crash")).await?;
                Ok(vec![format!("{actor} of {name} was crashed")])
            }
        }
    }

    /// The number of the node that leads, by what most nodes say.
    pub(super) async fn leader(&self) -> anyhow::Result<usize> {
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for number in 0..self.cluster.nodes().len() {
            if let Ok(stats) = self.client.only(number).stats().await {
                *votes.entry(stats.primary.to_string()).or_insert(0) += 1;
            }
        }
        let Some((name, _)) = votes.into_iter().max_by_key(|(_, count)| *count) else {
            bail!("no node says who leads");
        };
        let found = self.cluster.nodes().iter().position(|node| node.ready().node.as_str() == name);
        found.with_context(|| format!("{name} leads, but is none of the nodes"))
    }
}

/// The full name of the first actor whose last part is `short`, or whose name is.
fn find_actor(root: &ActorInfo, short: &str) -> Option<String> {
    let is_it = root.name == short || root.name.rsplit('/').next() == Some(short);
    if is_it { Some(root.name.clone()) } else { root.children.iter().find_map(|child| find_actor(child, short)) }
}

/// What each node has used so far, with its process: a node that was restarted begins anew.
fn usage(cluster: &Cluster) -> BTreeMap<String, Option<(u32, Usage)>> {
    let of = |node: &crate::cluster::NodeProcess| Some((node.pid()?, node.usage()?));
    cluster.nodes().iter().map(|node| (node.ready().node.to_string(), of(node))).collect()
}

fn used_since(cluster: &Cluster, before: &BTreeMap<String, Option<(u32, Usage)>>) -> BTreeMap<String, Option<Usage>> {
    let since = |name: &String, now: Option<(u32, Usage)>| {
        let ((pid, now), (same, before)) = (now?, before.get(name).copied().flatten()?);
        (pid == same).then(|| now.since(before))
    };
    usage(cluster).into_iter().map(|(name, now)| (name.clone(), since(&name, now))).collect()
}
