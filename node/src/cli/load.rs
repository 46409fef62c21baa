//! `dtvn load`: load for nodes that run.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dtvn_client::load::{Counters, Lane, Load, LoadPlan, LoadReport, Pace, Until, Workload};
use indicatif::ProgressBar;

use super::exit::Exit;
use super::nodes::{NodesArguments, duration, one_or_more};
use super::output::{BAR, Output};

#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    #[command(flatten)]
    nodes: NodesArguments,
    /// quick: 10 requests, 3 at a time; medium: 100 at 9; heavy: 1,000 at 30
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// How many requests
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["preset", "time"], value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How many at a time; with --rate: how many may wait for answers
    #[arg(long, value_name = "NUMBER", conflicts_with = "preset", value_parser = one_or_more)]
    concurrency: Option<usize>,
    /// For how long, instead of a number of requests
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "preset")]
    time: Option<Duration>,
    /// Visitors per second, whatever the answers (open loop)
    #[arg(long, value_name = "NUMBER", conflicts_with = "preset")]
    rate: Option<f64>,
    /// What visitors do
    #[arg(long, value_enum, default_value = "lifecycle")]
    mix: Mix,
    /// So many operations in one request, through /api/v1/operations
    #[arg(long, value_name = "NUMBER", value_parser = one_or_more)]
    batch: Option<usize>,
    /// Batches in JSON rather than bincode
    #[arg(long, requires = "batch")]
    batch_json: bool,
    /// Tickets to issue beforehand, for --mix validate [default: as many as --requests needs, or 10,000]
    #[arg(long, value_name = "NUMBER")]
    tickets: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    Quick,
    Medium,
    Heavy,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mix {
    /// Issue, validate and consume each ticket
    Lifecycle,
    /// Issue tickets
    Issue,
    /// Validate tickets that were issued beforehand
    Validate,
}

impl Preset {
    const fn numbers(self) -> (u64, usize) {
        match self {
            Self::Quick => (10, 3),
            Self::Medium => (100, 9),
            Self::Heavy => (1_000, 30),
        }
    }
}

fn plan(arguments: &LoadArguments) -> LoadPlan {
    let (requests, concurrency) = arguments.preset.unwrap_or(Preset::Quick).numbers();
    let requests = arguments.requests.unwrap_or(requests);
    let concurrency = arguments.concurrency.unwrap_or(concurrency);
    let until = match arguments.time {
        Some(time) => Until::Milliseconds(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        None => Until::Requests(requests),
    };
    let lane = match arguments.batch {
        Some(size) => Lane::Batch { size, bincode: !arguments.batch_json },
        None => Lane::Single,
    };
    let per_request = arguments.batch.unwrap_or(1) as u64;
    let needed = if arguments.time.is_some() { 10_000 } else { requests.saturating_mul(per_request) };
    LoadPlan {
        workload: match arguments.mix {
            Mix::Lifecycle => Workload::Lifecycle,
            Mix::Issue => Workload::Issue,
            Mix::Validate => Workload::Validate,
        },
        pace: match arguments.rate {
            Some(per_second) => Pace::Open { per_second, in_flight_max: arguments.concurrency.unwrap_or(256) },
            None => Pace::Closed { concurrency },
        },
        lane,
        until,
        tickets: arguments.tickets.unwrap_or(needed),
    }
}

pub(super) async fn run(arguments: LoadArguments, output: Output) -> anyhow::Result<Exit> {
    let plan = plan(&arguments);
    let load = Load::new(arguments.nodes.client()?, plan.clone())?;
    if plan.workload == Workload::Validate {
        let progress = output.spinner(format!("issuing {} tickets beforehand", plan.tickets));
        load.prepare().await?;
        progress.finish_and_clear();
    }
    let report = watched(load, &plan, "load", output).await;
    output.result(&report, report_words);
    Ok(verdict(&report))
}

/// Runs a load with a progress bar.
pub(super) async fn watched(load: Load, plan: &LoadPlan, what: &'static str, output: Output) -> LoadReport {
    let per_request = match plan.lane {
        Lane::Single => 1,
        Lane::Batch { size, .. } => size as u64,
    };
    let (bar, timed) = match plan.until {
        Until::Requests(requests) => (output.progress(requests * per_request, BAR), false),
        Until::Milliseconds(time) => (output.progress(time / 1_000, "{msg:>20} {bar:32} {pos} of {len} s"), true),
    };
    bar.set_message(what);
    let watcher = std::sync::Mutex::new(None);
    let report = load
        .run(|counters| {
            let task = tokio::spawn(show_progress(bar.clone(), counters, timed));
            *watcher.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(task);
        })
        .await;
    if let Some(task) = watcher.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        task.abort();
    }
    bar.finish_and_clear();
    report
}

async fn show_progress(bar: ProgressBar, counters: Arc<Counters>, timed: bool) {
    let begin = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        bar.set_position(match timed {
            true => begin.elapsed().as_secs(),
            false => counters.accepted() + counters.failed(),
        });
    }
}

/// 0 if all went well; 3 if nothing could be reached, 4 if an outcome is not known, 1 if something was refused.
fn verdict(report: &LoadReport) -> Exit {
    let counted = |name: &str| report.errors.contains_key(name);
    match () {
        () if report.failed == 0 => Exit::Good,
        () if counted("outcome_unknown") => Exit::Unknown,
        () if report.accepted == 0 && counted("unreachable") => Exit::Unreachable,
        () => Exit::Refused,
    }
}

/// A report for people.
pub(super) fn report_words(report: &LoadReport) -> String {
    let latency = &report.latency_us;
    let mut lines = vec![
        format!(
            "{} operations accepted in {:.2} s: {:.0} per second ({} requests)",
            report.accepted,
            Duration::from_millis(report.elapsed_ms).as_secs_f64(),
            report.accepted_per_second,
            report.requests
        ),
        format!(
            "latency p50 {}, p90 {}, p99 {}, max {}; longest gap {}",
            micros(latency.p50),
            micros(latency.p90),
            micros(latency.p99),
            micros(latency.max),
            micros(report.longest_gap_us)
        ),
    ];
    if report.failed > 0 {
        let errors: Vec<String> = report.errors.iter().map(|(name, count)| format!("{name} {count}")).collect();
        lines.push(format!("{} operations failed: {}", report.failed, errors.join(", ")));
    }
    lines.join("\n")
}

/// Microseconds for people: milliseconds with three figures or more.
pub(super) fn micros(microseconds: u64) -> String {
    match microseconds {
        0..10_000 => format!("{}.{:02} ms", microseconds / 1_000, microseconds % 1_000 / 10),
        10_000..1_000_000 => format!("{} ms", microseconds / 1_000),
        _ => format!("{}.{:02} s", microseconds / 1_000_000, microseconds % 1_000_000 / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArguments,
    }

    fn planned(line: &str) -> LoadPlan {
        let words = std::iter::once("load").chain(line.split_whitespace());
        plan(&Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).load)
    }

    #[test]
    fn presets_are_those_of_the_makefile() {
        for (preset, requests, concurrency) in [("quick", 10, 3), ("medium", 100, 9), ("heavy", 1_000, 30)] {
            let plan = planned(&format!("--preset {preset}"));
            assert_eq!((plan.until, plan.pace), (Until::Requests(requests), Pace::Closed { concurrency }));
        }
    }

    #[test]
    fn everything_can_be_said_on_the_line() {
        let plan = planned("--time 5s --rate 100 --concurrency 7 --mix validate --batch 50 --batch-json");
        assert_eq!(plan.until, Until::Milliseconds(5_000));
        assert_eq!(plan.pace, Pace::Open { per_second: 100.0, in_flight_max: 7 });
        assert_eq!(plan.lane, Lane::Batch { size: 50, bincode: false });
        assert_eq!((plan.workload, plan.tickets), (Workload::Validate, 10_000));
        assert_eq!(planned("--requests 20 --batch 50 --mix validate").tickets, 1_000);
    }

    #[test]
    fn times_are_short_for_people() {
        assert_eq!(micros(1_234), "1.23 ms");
        assert_eq!(micros(123_456), "123 ms");
        assert_eq!(micros(2_340_000), "2.34 s");
    }
}
