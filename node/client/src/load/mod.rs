//! Makes load and measures it.
//!
//! Closed loop: a fixed number of visitors, each doing one thing after the other; it finds the throughput. Open loop:
//! visitors arrive at fixed intended times whatever the network does, and latency counts from those times, so that a
//! stall shows in full (no coordinated omission); it finds the latency at a rate.

mod record;
#[cfg(test)]
mod tests;
mod visits;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dtvn_messages::limits;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::record::Recorder;
use self::visits::Visitor;
use crate::{BatchForm, Client, ClientError};

pub use record::{Counters, Latency, LoadReport};

/// What visitors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Each ticket's whole life: issue, validate, consume.
    Lifecycle,
    /// Issue only.
    Issue,
    /// Validate tickets that were issued before the measurement began.
    Validate,
}

/// How visitors come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// So many at a time, each request after the answer to the one before.
    Closed {
        /// How many.
        concurrency: usize,
    },
    /// At a fixed rate.
    Open {
        /// Visitors per second.
        per_second: f64,
        /// How many may wait for answers at a time; further ones are sent late, which counts as their latency.
        in_flight_max: usize,
    },
}

/// How operations travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// One HTTP request each.
    Single,
    /// Many in one request.
    Batch {
        /// How many.
        size: usize,
        /// Whether in bincode, else in JSON.
        bincode: bool,
    },
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// After so many requests.
    Requests(u64),
    /// After this time; what is under way is finished.
    Milliseconds(u64),
}

/// A load run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// What visitors do.
    pub workload: Workload,
    /// How they come.
    pub pace: Pace,
    /// How their operations travel.
    pub lane: Lane,
    /// When to stop.
    pub until: Until,
    /// Tickets to issue beforehand; only for [`Workload::Validate`]. When they are used up, the run ends.
    pub tickets: u64,
}

impl LoadPlan {
    /// `requests` operations, `concurrency` at a time, one HTTP request each.
    #[must_use]
    pub fn of_requests(requests: u64, concurrency: usize) -> Self {
        Self {
            workload: Workload::Lifecycle,
            pace: Pace::Closed { concurrency },
            lane: Lane::Single,
            until: Until::Requests(requests),
            tickets: 0,
        }
    }

    fn workers(&self) -> usize {
        match self.pace {
            Pace::Closed { concurrency } => concurrency.max(1),
            Pace::Open { in_flight_max, .. } => in_flight_max.max(1),
        }
    }

    fn check(&self, nodes: usize) -> Result<(), ClientError> {
        let usage = |text: String| Err(ClientError::Usage(text));
        let most = limits::LOAD_WORKERS_MAX.min(nodes.saturating_mul(limits::API_CONNECTIONS_PER_CLIENT_MAX));
        if self.workers() > most {
            let nodes = if nodes == 1 { "one node".to_owned() } else { format!("{nodes} nodes") };
            return usage(format!("at most {most} requests at a time are possible at {nodes}"));
        }
        if let Pace::Open { per_second, .. } = self.pace
            && !(per_second.is_finite() && per_second > 0.0)
        {
            return usage("the rate must be above 0".to_owned());
        }
        match self.lane {
            Lane::Batch { size, .. } if size == 0 || size > limits::API_BATCH_OPERATIONS_MAX => {
                usage(format!("a batch has 1 to {} operations", limits::API_BATCH_OPERATIONS_MAX))
            }
            _ => Ok(()),
        }
    }
}

/// A load run that is ready to begin.
#[derive(Debug)]
pub struct Load {
    client: Client,
    plan: LoadPlan,
    run: Arc<str>,
}

/// What all workers of a run share.
#[derive(Debug)]
struct Shared {
    plan: LoadPlan,
    run: Arc<str>,
    begin: Instant,
    end: Option<Instant>,
    counters: Arc<Counters>,
    visits: AtomicU64,
    requests: AtomicU64,
}

impl Load {
    /// A run of `plan` against `client`'s nodes. Its tickets have names of their own, so runs do not meet.
    ///
    /// # Errors
    /// If the plan is not possible.
    pub fn new(client: Client, plan: LoadPlan) -> Result<Self, ClientError> {
        plan.check(client.nodes().len())?;
        let run = Arc::from(format!("load-{:08x}", rand::random::<u32>()));
        Ok(Self { client, plan, run })
    }

    /// Issues the tickets that the plan needs beforehand, in batches.
    ///
    /// # Errors
    /// If one of them cannot be issued.
    pub async fn prepare(&self) -> Result<(), ClientError> {
        if self.plan.workload == Workload::Validate {
            visits::issue_beforehand(&self.client, &self.run, self.plan.tickets).await?;
        }
        Ok(())
    }

    /// Runs to the end. `watch` is called once with the running totals, before the first request.
    pub async fn run(self, watch: impl FnOnce(Arc<Counters>)) -> LoadReport {
        let begin = Instant::now();
        let end = match self.plan.until {
            Until::Requests(_) => None,
            Until::Milliseconds(time) => Some(begin + Duration::from_millis(time)),
        };
        let counters = Arc::new(Counters::new(begin));
        watch(Arc::clone(&counters));
        let shared = Arc::new(Shared {
            run: self.run,
            begin,
            end,
            counters: Arc::clone(&counters),
            visits: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            plan: self.plan,
        });
        let mut workers = JoinSet::new();
        for number in 0..shared.plan.workers() {
            let visitor = Visitor::new(self.client.preferring(number), Arc::clone(&shared));
            workers.spawn(visitor.work());
        }
        let mut total = Recorder::new();
        while let Some(worker) = workers.join_next().await {
            match worker {
                Ok(recorder) => total.merge(&recorder),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        total.report(&counters, Instant::now())
    }
}

impl Shared {
    /// The number of the next visit, and when it is meant to begin. None when the run is over.
    fn next_visit(&self) -> Option<(u64, Option<Instant>)> {
        let number = self.visits.fetch_add(1, Ordering::Relaxed);
        if self.plan.workload == Workload::Validate && number >= self.visits_possible() {
            return None;
        }
        let intended = match self.plan.pace {
            Pace::Closed { .. } => None,
            #[expect(clippy::cast_precision_loss, reason = "2^52 visits are more than any run has")]
            Pace::Open { per_second, .. } => Some(self.begin + Duration::from_secs_f64(number as f64 / per_second)),
        };
        let over = self.end.is_some_and(|end| intended.unwrap_or_else(Instant::now) >= end);
        (!over).then_some((number, intended))
    }

    /// Takes one of the requests that the plan allows.
    fn may_send(&self) -> bool {
        match self.plan.until {
            Until::Requests(count) => self.requests.fetch_add(1, Ordering::Relaxed) < count,
            Until::Milliseconds(_) => true,
        }
    }

    /// How many tickets a visit is about.
    fn tickets_per_visit(&self) -> u64 {
        match self.plan.lane {
            Lane::Single => 1,
            Lane::Batch { size, .. } => size as u64,
        }
    }

    fn visits_possible(&self) -> u64 {
        self.plan.tickets / self.tickets_per_visit()
    }

    fn form(&self) -> Option<BatchForm> {
        match self.plan.lane {
            Lane::Single => None,
            Lane::Batch { bincode: true, .. } => Some(BatchForm::Bincode),
            Lane::Batch { bincode: false, .. } => Some(BatchForm::Json),
        }
    }
}
