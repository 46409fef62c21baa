//! Figures of the actors: from the tree's snapshot, and from what supervisors say they did.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dtvn_actors::health::Stall;
use dtvn_actors::instruments::table::{self, Metric};
use dtvn_actors::supervision::{NodeKind, Status, SupervisionObserver, TreeNode};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::observed::observe;
use super::sources::Reading;

/// Why actors are started again, as a label: what is said of a restart has words of all kinds.
const REASONS: [&str; 6] = ["failed", "start_failed", "killed", "unasked", "neighbour", "requested"];

/// The label of a reason in words.
fn reason_label(reason: &str) -> &'static str {
    let beginnings = [
        ("requested", "requested"),
        ("with `", "neighbour"),
        ("could not start", "start_failed"),
        ("was killed", "killed"),
        ("had its task cancelled", "killed"),
        ("stopped although", "unasked"),
    ];
    let found = beginnings.iter().find(|(beginning, _)| reason.starts_with(beginning));
    found.map_or("failed", |(_, label)| label)
}

/// The label of an actor: its path. Those that come and go with strangers and clients share one for each kind.
fn actor_label(path: &str) -> String {
    let (above, name) = path.rsplit_once('/').map_or(("", path), |(above, name)| (above, name));
    let group = match name.split_once('-') {
        Some(("session", _)) => "session-*",
        // A libp2p identity, not a validator's name.
        Some(("peer", identity)) if identity.starts_with("12D3KooW") => "peer-*",
        _ => return path.to_owned(),
    };
    format!("{above}/{group}")
}

/// What supervisors did since the process started.
#[derive(Debug, Default)]
pub struct RestartCounts {
    restarts: Mutex<BTreeMap<(String, &'static str), u64>>,
    incidents: Mutex<BTreeMap<&'static str, u64>>,
}

impl RestartCounts {
    fn note(&self, incident: &'static str) {
        *self.incidents.lock().unwrap_or_else(PoisonError::into_inner).entry(incident).or_insert(0) += 1;
    }

    fn restarts(&self, actor: &str, reason: &'static str) -> u64 {
        let restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        restarts.get(&(actor.to_owned(), reason)).copied().unwrap_or_default()
    }

    fn incidents(&self, incident: &'static str) -> u64 {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner).get(incident).copied().unwrap_or_default()
    }
}

impl SupervisionObserver for RestartCounts {
    fn restarted(&self, path: &str, reason: &str) {
        let key = (actor_label(path), reason_label(reason));
        *self.restarts.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(0) += 1;
    }

    fn escalated(&self, _supervisor: &str, _child: &str, _cause: &str) {
        self.note("escalated");
    }

    fn killed_after_timeout(&self, _path: &str) {
        self.note("killed");
    }

    fn abandoned(&self, _path: &str) {
        self.note("abandoned");
    }
}

/// The figures of all actors with one label.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Figures {
    running: u64,
    stuck: bool,
    depth: u64,
    bound: u64,
    counts: Counts,
}

/// What only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Counts {
    refused: u64,
    dropped: u64,
    handled: u64,
    handler_us: u64,
}

impl Counts {
    fn of(node: &TreeNode) -> Self {
        Self {
            refused: node.mailbox_refused,
            dropped: node.mailbox_dropped,
            handled: node.messages_handled,
            handler_us: node.handler_total_us,
        }
    }

    fn add(&mut self, other: Self) {
        self.refused += other.refused;
        self.dropped += other.dropped;
        self.handled += other.handled;
        self.handler_us += other.handler_us;
    }
}

/// What actors counted that are gone, as far as it was seen: a sum over those that are there would go back whenever one
/// of them goes, and whoever scrapes it would take that for a restart of the process.
#[derive(Debug, Default)]
pub(super) struct Gone {
    by_label: BTreeMap<String, Counts>,
    seen: BTreeMap<String, Counts>,
}

impl Gone {
    /// The figures of the tree's workers by label, with what those counted that are gone.
    pub(super) fn figures(&mut self, tree: &TreeNode, stuck: &[Stall]) -> BTreeMap<String, Figures> {
        let workers: Vec<_> = tree.walk().filter(|node| node.kind == NodeKind::Worker).collect();
        let now: BTreeMap<String, Counts> = workers.iter().map(|node| (node.name.clone(), Counts::of(node))).collect();
        for (path, before) in &self.seen {
            // Another one by the same name counts from 0.
            if now.get(path).is_none_or(|now| now.handled < before.handled) {
                self.by_label.entry(actor_label(path)).or_default().add(*before);
            }
        }
        self.seen = now;
        let gone = self
            .by_label
            .iter()
            .map(|(label, counts)| (label.clone(), Figures { counts: *counts, ..Figures::default() }));
        let mut all: BTreeMap<String, Figures> = gone.collect();
        for node in workers {
            let of_label = all.entry(actor_label(&node.name)).or_default();
            of_label.running += u64::from(node.status == Status::Running);
            of_label.stuck |= stuck.iter().any(|stall| stall.actor == node.name);
            of_label.depth += node.mailbox_depth as u64;
            of_label.bound += node.mailbox_bound as u64;
            of_label.counts.add(Counts::of(node));
        }
        all
    }
}

/// Registers all metrics of this file.
pub(super) fn register(meter: &Meter, reading: &Arc<RwLock<Reading>>, restarts: &Arc<RestartCounts>) {
    type Figure = fn(&Figures) -> f64;
    let of_actors: [(Metric, Figure); 8] = [
        (table::ACTOR_RUNNING, |actor| actor.running as f64),
        (table::ACTOR_STUCK, |actor| super::observed::flag(actor.stuck)),
        (table::MAILBOX_DEPTH, |actor| actor.depth as f64),
        (table::MAILBOX_BOUND, |actor| actor.bound as f64),
        (table::MAILBOX_REFUSED, |actor| actor.counts.refused as f64),
        (table::MAILBOX_DROPPED, |actor| actor.counts.dropped as f64),
        (table::MESSAGES, |actor| actor.counts.handled as f64),
        (table::HANDLER, |actor| actor.counts.handler_us as f64 / 1e6),
    ];
    for (metric, figure) in of_actors {
        observe(meter, &metric, reading, move |reading, sink| {
            for (label, actor) in &reading.actors {
                sink(figure(actor), &[KeyValue::new("actor", label.clone())]);
            }
        });
    }
    let counts = Arc::clone(restarts);
    observe(meter, &table::ACTOR_RESTARTS, reading, move |reading, sink| {
        let labels = reading.tree.iter().flat_map(TreeNode::walk).map(|node| actor_label(&node.name));
        for label in labels.collect::<std::collections::BTreeSet<_>>() {
            for reason in REASONS {
                let count = counts.restarts(&label, reason);
                // Every actor has a series from the start, so that its first restart is seen as a step.
                if count > 0 || reason == "failed" {
                    sink(count as f64, &[KeyValue::new("actor", label.clone()), KeyValue::new("reason", reason)]);
                }
            }
        }
    });
    let counts = Arc::clone(restarts);
    observe(meter, &table::ACTOR_INCIDENTS, reading, move |_, sink| {
        for incident in ["escalated", "killed", "abandoned"] {
            sink(counts.incidents(incident) as f64, &[KeyValue::new("incident", incident)]);
        }
    });
}

#[cfg(test)]
mod tests {
    use dtvn_actors::supervision::EndCause;

    use super::*;

    #[test]
    fn every_end_that_calls_for_a_restart_has_its_label() {
        let label = |cause: EndCause| reason_label(&cause.to_string());
        assert_eq!(label(EndCause::Failed("requested".to_owned())), "failed");
        assert_eq!(label(EndCause::StartFailed("no disk".to_owned())), "start_failed");
        assert_eq!(label(EndCause::Killed), "killed");
        assert_eq!(label(EndCause::Cancelled), "killed");
        assert_eq!(label(EndCause::Unasked(Some("done".to_owned()))), "unasked");
        assert_eq!(reason_label("requested"), "requested");
        assert_eq!(reason_label("with `storage`, which failed: disk"), "neighbour");
        assert!(REASONS.contains(&label(EndCause::Finished("done".to_owned()))));
    }

    fn worker(name: &str, handled: u64) -> TreeNode {
        TreeNode {
            name: name.to_owned(),
            kind: NodeKind::Worker,
            strategy: None,
            status: Status::Running,
            uptime_ms: 0,
            restarts: 0,
            last_restart_reason: None,
            last_restart_at: None,
            mailbox_depth: 0,
            mailbox_bound: 16,
            mailbox_high_water: 0,
            mailbox_refused: handled,
            mailbox_dropped: 0,
            messages_handled: handled,
            handler_total_us: 10 * handled,
            handler_max_us: 0,
            handling_us: None,
            kinds: Vec::new(),
            children: Vec::new(),
        }
    }

    #[test]
    fn no_counter_goes_back_when_an_actor_goes() {
        let mut gone = Gone::default();
        let mut look = |sessions: &[(u64, u64)]| {
            let sessions = sessions.iter().map(|(number, handled)| worker(&format!("edge/session-{number}"), *handled));
            let tree = TreeNode {
                kind: NodeKind::Supervisor,
                children: sessions.chain([worker("core/storage", 5)]).collect(),
                ..worker("root", 0)
            };
            let figures = gone.figures(&tree, &[]);
            assert_eq!(figures["core/storage"].counts.handled, 5);
            let all = figures.get("edge/session-*").cloned().unwrap_or_default();
            (all.running, all.counts.handled, all.counts.refused, all.counts.handler_us)
        };
        assert_eq!(look(&[]), (0, 0, 0, 0));
        assert_eq!(look(&[(1, 100), (2, 7)]), (2, 107, 107, 1_070));
        assert_eq!(look(&[(2, 8)]), (1, 108, 108, 1_080), "the first one is gone");
        assert_eq!(look(&[]), (0, 108, 108, 1_080));
        assert_eq!(look(&[(3, 1)]), (1, 109, 109, 1_090));
        assert_eq!(look(&[(3, 0)]), (1, 109, 109, 1_090), "another one by the same name");
    }

    #[test]
    fn what_comes_and_goes_with_clients_and_strangers_shares_a_label() {
        assert_eq!(actor_label("edge/session-17"), "edge/session-*");
        assert_eq!(actor_label("links/peers/peer-node3"), "links/peers/peer-node3");
        assert_eq!(actor_label("links/peers/peer-12D3KooWLtBkKrip2jyaRzhUphqYyVXG"), "links/peers/peer-*");
        assert_eq!(actor_label("verifier/verifier-1"), "verifier/verifier-1");
        assert_eq!(actor_label("root"), "root");
    }
}
