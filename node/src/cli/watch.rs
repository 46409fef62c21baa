//! `dtvn watch`: all nodes in one table, again and again.

use std::time::Duration;

use clap::Args;
use dtvn_client::api::{Health, Stats, Status};
use dtvn_client::{Client, ClientError};
use dtvn_messages::{Reason, limits};
use serde::Serialize;
use tokio::time::Instant;

use super::actors::time;
use super::exit::Exit;
use super::nodes::{NodesArguments, duration};
use super::output::{Output, table};

#[derive(Debug, Args)]
pub(super) struct WatchArguments {
    #[command(flatten)]
    nodes: NodesArguments,
    /// How far apart to look
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    interval: Duration,
    /// Look once and end: 0 if all nodes are healthy, 1 if one is not or wants a key, 3 if one cannot be reached
    #[arg(long)]
    once: bool,
}

/// A node at one look.
#[derive(Debug, Clone, Serialize)]
struct Look {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Whether it wants an API key, or another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    locked: bool,
    /// Operations per second since the look before.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<f64>,
}

pub(super) async fn run(arguments: WatchArguments, output: Output) -> anyhow::Result<Exit> {
    // A node that does not answer within a look is shown as such, not waited for.
    let patience = arguments.interval.max(Duration::from_millis(500)).min(limits::CLIENT_ATTEMPT_TIMEOUT);
    let client = arguments.nodes.client()?.with_deadline(patience);
    if !arguments.once && output.is_live() {
        output.clear();
    }
    let mut before: Vec<(Instant, Option<u64>)> = vec![(Instant::now(), None); client.nodes().len()];
    let mut ticks = tokio::time::interval(arguments.interval.max(limits::HEALTH_LOOK_INTERVAL));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let nodes = (0..client.nodes().len()).map(|number| look(client.only(number)));
        let mut looks = futures::future::join_all(nodes).await;
        for (look, before) in looks.iter_mut().zip(&mut before) {
            let now = (Instant::now(), look.stats.as_ref().map(|stats| stats.operations));
            look.per_second = rate(*before, now);
            *before = now;
        }
        if arguments.once {
            output.result(&looks, |looks| look_table(looks));
            return Ok(verdict(&looks));
        }
        if output.is_live() {
            output.redraw(&format!("{}\nCtrl-C ends\n", look_table(&looks)));
        } else {
            output.item(&looks, |looks| looks.iter().map(look_line).collect::<Vec<_>>().join("\n"));
        }
    }
}

async fn look(node: Client) -> Look {
    let url = node.nodes().next().unwrap_or_default().to_owned();
    let (stats, status, health) = tokio::join!(node.stats(), node.status(), node.health());
    let failure = stats.as_ref().err().map(ToString::to_string);
    let locked = stats.as_ref().err().and_then(ClientError::reason) == Some(Reason::Unauthenticated);
    Look { url, stats: stats.ok(), status: status.ok(), health: health.ok(), failure, locked, per_second: None }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(before: (Instant, Option<u64>), now: (Instant, Option<u64>)) -> Option<f64> {
    let seconds = now.0.saturating_duration_since(before.0).as_secs_f64();
    let count = now.1?.saturating_sub(before.1?);
    (seconds > 0.0).then(|| count as f64 / seconds)
}

fn verdict(looks: &[Look]) -> Exit {
    if looks.iter().any(|look| look.stats.is_none() && !look.locked) {
        return Exit::Unreachable;
    }
    let is_healthy = |look: &Look| !look.locked && look.health.as_ref().is_some_and(Health::is_healthy);
    let healthy = looks.iter().all(is_healthy);
    if healthy { Exit::Good } else { Exit::Refused }
}

fn role(stats: &Stats, status: Option<&Status>) -> &'static str {
    match (stats.is_primary, status.is_none_or(|status| status.voting)) {
        (_, false) => "follows",
        (true, true) => "leads",
        (false, true) => "votes",
    }
}

fn health_words(health: Option<&Health>) -> String {
    match health {
        None => "unknown".to_owned(),
        Some(health) if health.is_healthy() => "healthy".to_owned(),
        Some(health) if health.reasons.is_empty() => health.status.clone(),
        Some(health) => health.reasons.join("; "),
    }
}

/// What a node is that shows nothing of itself, and why.
fn hidden(look: &Look) -> (&'static str, &str) {
    if look.locked {
        ("locked", "it wants its API key: give --api-key or DTVN_API_KEY")
    } else {
        ("gone", look.failure.as_deref().unwrap_or_default())
    }
}

fn look_table(looks: &[Look]) -> String {
    let rows = looks.iter().map(|look| {
        let Some(stats) = &look.stats else {
            let (what, why) = hidden(look);
            let empty = String::new;
            return [
                look.url.clone(),
                what.to_owned(),
                empty(),
                empty(),
                empty(),
                empty(),
                empty(),
                empty(),
                why.to_owned(),
            ];
        };
        [
            stats.node_id.to_string(),
            role(stats, look.status.as_ref()).to_owned(),
            stats.current_view.to_string(),
            stats.sequence.to_string(),
            stats.peer_count.to_string(),
            stats.tickets.to_string(),
            look.per_second.map_or(String::new(), |rate| format!("{rate:.0}")),
            look.status.as_ref().map_or(String::new(), |status| time(status.uptime_seconds.saturating_mul(1_000))),
            health_words(look.health.as_ref()),
        ]
    });
    table(["node", "role", "view", "height", "peers", "tickets", "operations/s", "up", "health"], rows)
}

fn look_line(look: &Look) -> String {
    match &look.stats {
        None => {
            let (what, why) = hidden(look);
            format!("{}: {what}: {why}", look.url)
        }
        Some(stats) => format!(
            "{}: {}, view {}, height {}, {} peers, {} tickets, {:.0} operations/s, {}",
            stats.node_id,
            role(stats, look.status.as_ref()),
            stats.current_view,
            stats.sequence,
            stats.peer_count,
            stats.tickets,
            look.per_second.unwrap_or_default(),
            health_words(look.health.as_ref()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_looks() {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(2);
        assert_eq!(rate((begin, None), (later, Some(10))), None);
        assert_eq!(rate((begin, Some(4)), (later, Some(10))), Some(3.0));
        assert_eq!(rate((begin, Some(10)), (later, Some(4))), Some(0.0), "a node that was restarted empty");
        assert_eq!(rate((begin, Some(4)), (later, None)), None);
    }

    /// A node that showed nothing of itself.
    fn unseen() -> Look {
        Look {
            url: "http://x".to_owned(),
            stats: None,
            status: None,
            health: None,
            failure: None,
            locked: false,
            per_second: None,
        }
    }

    #[test]
    fn a_node_that_is_gone_is_told_apart_from_a_sick_one() {
        assert_eq!(verdict(&[unseen()]), Exit::Unreachable);
        let failure = Some("connection refused".to_owned());
        assert_eq!(look_line(&Look { failure, ..unseen() }), "http://x: gone: connection refused");
    }

    #[test]
    fn a_node_that_wants_a_key_is_not_gone() {
        let health = Some(Health { status: "healthy".to_owned(), reasons: Vec::new() });
        let locked = Look { health, locked: true, ..unseen() };
        assert_eq!(verdict(std::slice::from_ref(&locked)), Exit::Refused);
        let line = look_line(&locked);
        assert!(line.starts_with("http://x: locked: ") && line.contains("give --api-key or DTVN_API_KEY"), "{line}");
        assert!(look_table(std::slice::from_ref(&locked)).contains("locked"));
        assert_eq!(verdict(&[locked, unseen()]), Exit::Unreachable);
    }
}
