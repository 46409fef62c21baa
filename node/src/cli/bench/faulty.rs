//! Scenarios with one faulty node of four, each against the same network without the fault, in the same run.

use std::time::Duration;

use anyhow::Context as _;
use dtvn_client::load::{Lane, Load, LoadPlan, LoadReport, Pace, Until, Workload};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::{Genesis, limits};
use tokio::time::Instant;

use super::super::devnet::healthy;
use super::super::load::watched;
use super::Bench;
use super::attacker::{Attack, Attacker};
use super::report::{Phase, ScenarioReport};
use crate::cluster::development_key;

/// A slow leader works for so long between its pauses: enough for a block or two.
const QUICK: Duration = Duration::from_millis(50);
/// How often somebody is asked who leads.
const LOOK: Duration = Duration::from_millis(500);

impl Bench<'_> {
    /// Latency with all nodes, without one backup, and with all again.
    pub(super) async fn dead_backup(mut self, name: String) -> anyhow::Result<ScenarioReport> {
        let rate = self.arguments.rate;
        let about =
            format!("{rate} visitors per second, at the other nodes, while one backup is dead and before and after");
        let begin = Instant::now();
        let leader = self.leader().await?;
        let nodes = self.cluster.nodes().len();
        // It would lead last.
        let victim = (leader + nodes - 1) % nodes;
        let client = self.others(victim)?;
        let pace = || Pace::Open { per_second: rate, in_flight_max: 1_024 };
        let before = self.phase(&client, "all nodes", pace()).await?;
        self.cluster.kill(victim).await;
        let without = self.phase(&client, "one backup dead", pace()).await?;
        self.cluster.restart(victim).await?;
        healthy(&self.cluster.urls(), limits::NODE_HEALTH_TIMEOUT).await.map_err(anyhow::Error::msg)?;
        let after = self.phase(&client, "all nodes again", pace()).await?;
        let p50 = |phase: &Phase| phase.load.latency_us.p50;
        let with_all = p50(&before).midpoint(p50(&after));
        let remark = format!("p50 with one backup dead: {} of that with all nodes", times(p50(&without), with_all));
        self.conclude_phases(name, about, begin, vec![before, without, after], remark).await
    }

    /// Throughput without an attacker, and with one: a flood, bad signatures.
    pub(super) async fn attacker(mut self, name: String) -> anyhow::Result<ScenarioReport> {
        let concurrency = self.arguments.concurrency;
        let about = format!(
            "{concurrency} requests at a time, at the other nodes, while one node attacks: it floods them, or sends \
             bad signatures"
        );
        let begin = Instant::now();
        let attacker = self.cluster.nodes().len() - 1;
        let client = self.others(attacker)?;
        let pace = || Pace::Closed { concurrency };
        let mut phases = vec![self.phase(&client, "no attacker", pace()).await?];
        let attacks = [
            (Attack::Votes, "flood of votes"),
            (Attack::Fetches, "flood of fetches"),
            (Attack::Blocks, "flood of block requests"),
            (Attack::BadSignatures, "bad signatures"),
        ];
        for (attack, phase) in attacks {
            self.cluster.terminate(attacker).await;
            let liar = self.attack(attacker, attack).await?;
            phases.push(self.phase(&client, phase, pace()).await?);
            liar.stop().await?;
            self.cluster.restart(attacker).await?;
        }
        let honest = rate(&phases[0]);
        let parts = phases[1..].iter().map(|phase| format!("{} {:.2}", phase.name, rate(phase) / honest));
        let remark = format!("of the throughput without an attacker remain: {}", parts.collect::<Vec<_>>().join(", "));
        // Its key is banned for a while.
        let patience = limits::BAN_DURATION + limits::NODE_HEALTH_TIMEOUT;
        healthy(&self.cluster.urls(), patience).await.map_err(anyhow::Error::msg)?;
        self.conclude_phases(name, about, begin, phases, remark).await
    }

    /// Throughput while the leader is slow, and during a whole turn in which each node leads in its time. Who pauses for less
    /// than a view's timeout is not suspected: what bounds the harm is that its time is over (planned rotation, consensus.md
    /// section 3).
    pub(super) async fn slow_leader(self, name: String) -> anyhow::Result<ScenarioReport> {
        let (concurrency, slow) = (self.arguments.concurrency, self.arguments.slow);
        let about = format!(
            "{concurrency} requests at a time, at the other nodes, while the leader does nothing for {slow:?} again and again"
        );
        let begin = Instant::now();
        let pace = || Pace::Closed { concurrency };
        let parameters = self.client.genesis().await?.consensus;
        let nodes = u32::try_from(self.cluster.nodes().len())?;
        let turn = Duration::from_millis(parameters.rotation_time_ms) * nodes;
        let before = self.phase(&self.client, "all nodes", pace()).await?;
        let leader = self.leader().await?;
        let others = self.others(leader)?;
        let (mut phases, mut parts) = (Vec::new(), Vec::new());
        for (name, time) in [("slow leader", self.arguments.time), ("a whole turn", turn)] {
            let (phase, led) = tokio::join!(self.phase_of(&others, name, pace(), time), self.dawdle(leader, time));
            let phase = phase?;
            parts.push(format!("{name} {:.2} (it led for {:.0} %)", rate(&phase) / rate(&before), led? * 100.0));
            phases.push(phase);
        }
        phases.insert(0, before);
        let remark = format!("of the throughput of all nodes remain: {}", parts.join(", "));
        self.conclude_phases(name, about, begin, phases, remark).await
    }

    /// Latency while one peer is gone, and while it sends junk as fast as it is taken.
    pub(super) async fn junk(mut self, name: String) -> anyhow::Result<ScenarioReport> {
        let rate = self.arguments.rate;
        let about = format!(
            "{rate} visitors per second, at the other nodes, while one node is gone, and while it sends junk as fast as it is taken"
        );
        let begin = Instant::now();
        let attacker = self.cluster.nodes().len() - 1;
        let client = self.others(attacker)?;
        let pace = || Pace::Open { per_second: rate, in_flight_max: 1_024 };
        self.cluster.terminate(attacker).await;
        let before = self.phase(&client, "one peer gone", pace()).await?;
        let liar = self.attack(attacker, Attack::Junk).await?;
        let under = self.phase(&client, "one peer sends junk", pace()).await?;
        liar.stop().await?;
        let after = self.phase(&client, "gone again", pace()).await?;
        self.cluster.restart(attacker).await?;
        // Its key is banned for a while.
        let patience = limits::BAN_DURATION + limits::NODE_HEALTH_TIMEOUT;
        healthy(&self.cluster.urls(), patience).await.map_err(anyhow::Error::msg)?;
        let ratio = |figure: fn(&Phase) -> u64| times(figure(&under), figure(&before).midpoint(figure(&after)));
        let remark = format!(
            "with junk from one peer, of the latency without: p50 {}, p99 {}",
            ratio(|phase| phase.load.latency_us.p50),
            ratio(|phase| phase.load.latency_us.p99)
        );
        self.conclude_phases(name, about, begin, vec![before, under, after], remark).await
    }

    /// A client of all nodes but one.
    fn others(&self, but: usize) -> anyhow::Result<Client> {
        let urls = self.cluster.urls().into_iter().enumerate().filter(|(number, _)| *number != but);
        Ok(Client::new(&ClientConfig::new(urls.map(|(_, url)| url).collect()))?)
    }

    pub(super) async fn phase(&self, client: &Client, name: &'static str, pace: Pace) -> anyhow::Result<Phase> {
        self.phase_of(client, name, pace, self.arguments.time).await
    }

    async fn phase_of(&self, client: &Client, name: &'static str, pace: Pace, time: Duration) -> anyhow::Result<Phase> {
        let plan = LoadPlan {
            workload: Workload::Lifecycle,
            pace,
            lane: Lane::Single,
            until: Until::Milliseconds(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            tickets: 0,
        };
        let load: LoadReport = watched(Load::new(client.clone(), plan.clone())?, &plan, name, self.output).await;
        Ok(Phase { name: name.to_owned(), load })
    }

    async fn attack(&self, number: usize, attack: Attack) -> anyhow::Result<Attacker> {
        let file = self.client.genesis().await?;
        let genesis = Genesis::new(file).context("what the nodes say is no genesis")?;
        let node = &self.cluster.nodes()[number];
        let index = genesis.validators().index_of_name(node.ready().node.as_str()).context("no validator")?;
        let key = development_key(node.ready().node.as_str());
        let others = self.cluster.nodes().iter().enumerate().filter(|(other, _)| *other != number);
        let bootstrap: Vec<_> = others.flat_map(|(_, node)| node.ready().p2p.clone()).collect();
        Attacker::start(&genesis, (index, key), &bootstrap, attack).await
    }

    /// For some time a node does as little as it may, whether it leads or not. Says what part of that time it led, by what
    /// another one says.
    async fn dawdle(&self, number: usize, time: Duration) -> anyhow::Result<f64> {
        let node = &self.cluster.nodes()[number];
        let end = Instant::now() + time;
        let slow = async {
            while Instant::now() < end {
                node.pause();
                tokio::time::sleep(self.arguments.slow).await;
                node.resume();
                tokio::time::sleep(QUICK).await;
            }
        };
        let look = async {
            let (mut looks, mut led) = (0.0, 0.0);
            let other = (number + 1) % self.cluster.nodes().len();
            while Instant::now() < end {
                let stats = self.client.only(other).stats().await?;
                looks += 1.0;
                led += f64::from(u8::from(stats.primary.as_str() == node.ready().node.as_str()));
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(led / looks)
        };
        tokio::join!(slow, look).1
    }

    pub(super) async fn conclude_phases(
        self,
        name: String,
        about: String,
        begin: Instant,
        phases: Vec<Phase>,
        remark: String,
    ) -> anyhow::Result<ScenarioReport> {
        let measured = begin.elapsed();
        let mut report = self.conclude(name, about, measured, std::collections::BTreeMap::new()).await?;
        report.phases = phases;
        report.remarks.push(remark);
        Ok(report)
    }
}

fn rate(phase: &Phase) -> f64 {
    phase.load.accepted_per_second
}

/// One figure by another.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
pub(super) fn times(figure: u64, by: u64) -> String {
    if by == 0 { "?".to_owned() } else { format!("{:.2} times", figure as f64 / by as f64) }
}
