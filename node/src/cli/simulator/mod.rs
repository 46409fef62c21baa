//! `dtvn simulator`: a whole network with liars, losses and partitions in virtual time, from one seed. What is simulated
//! is the very code that ships; the invariants of consensus.md section 12 are checked after every event.

mod batch;
mod report;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use dtvn_simulation::{End, Plan, Report, Simulation};
use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};

use self::batch::Batch;
use self::report::Summary;
use super::exit::Exit;
use super::nodes::duration;
use super::output::Output;

const EXIT_CODES: &str = "Exit codes: 0 good; 2 wrong command line; 10 code or a node crashed; 11 not everything was \
                          decided after the faults had healed; 12 an invariant of safety was violated; 14 stopped \
                          by --wall-limit or a signal, with a report of what was seen until then";

/// Events between two looks at the clock: a few milliseconds.
const EVENTS_AT_A_TIME: u64 = 2_000;

#[derive(Debug, Clone, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct SimulatorArguments {
    /// Validators
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    nodes: usize,
    /// Validators that lie, at most (n-1)/3; the seed draws how
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    byzantine: usize,
    /// Tickets: each is issued, validated and consumed
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    tickets: usize,
    /// Virtual time of faults; after it all heals, and everything must be decided
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    duration: Duration,
    /// How long a message takes: half of this to half as much again
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "50ms")]
    latency: Duration,
    /// Part of the messages that are lost, 0.0 to 1.0
    #[arg(long, value_name = "RATE", value_parser = rate, default_value = "0.01")]
    packet_loss: Rate,
    /// Part the network, and heal it, again and again
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    partition: bool,
    /// What all chance is drawn from; the same seed gives the same run on every machine [default: any]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// So many networks, from this seed on
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Stop after this much real time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wall_limit: Option<Duration>,
}

/// A part of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    ppm: u64,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.ppm as f64 / 1e6)
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is no number such as 0.01"))?;
    if !(0.0..=1.0).contains(&rate) {
        return Err(format!("a rate is from 0.0 to 1.0, and {text} is not"));
    }
    Ok(Rate { ppm: (rate * 1e6).round() as u64 })
}

impl SimulatorArguments {
    fn plan(&self, seed: u64) -> Plan {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Plan {
            seed,
            nodes: self.nodes,
            byzantine: self.byzantine,
            tickets: self.tickets,
            duration_us: micros(self.duration),
            latency_us: micros(self.latency),
            lost_ppm: self.packet_loss.ppm,
            partition: self.partition,
        }
    }

    /// The command that repeats a seed of this.
    fn command(&self, seed: u64) -> String {
        let Self { nodes, byzantine, tickets, packet_loss, .. } = self;
        let (duration, latency) = (go_time(self.duration), go_time(self.latency));
        let partition = if self.partition { " -partition" } else { "" };
        format!(
            "dtvn simulator -nodes {nodes} -byzantine {byzantine} -tickets {tickets} -duration {duration} \
             -latency {latency} -packet-loss {packet_loss}{partition} -seed {seed}"
        )
    }
}

/// A time as it may be given: `60s`, `50ms`.
fn go_time(time: Duration) -> String {
    let micros = time.as_micros();
    if micros.is_multiple_of(1_000_000) {
        format!("{}s", micros / 1_000_000)
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

pub(super) fn run(arguments: &SimulatorArguments, output: Output) -> anyhow::Result<std::process::ExitCode> {
    let first = match arguments.seed {
        Some(seed) => seed,
        None => getrandom::u32()?.into(),
    };
    if let Err(error) = arguments.plan(first).check() {
        output.note(format!("error: {error}"));
        return Ok(Exit::Usage.into());
    }
    if first.checked_add(arguments.seeds - 1).is_none() {
        output.note(format!("error: {} seeds from {first} on are more than there are", arguments.seeds));
        return Ok(Exit::Usage.into());
    }
    let code = if arguments.seeds == 1 { one(arguments, first, output)? } else { many(arguments, first, output)? };
    Ok(code.into())
}

/// Real time that is left.
struct Wall {
    began: Instant,
    limit: Option<Duration>,
    /// Somebody wants it to end.
    is_told: Arc<AtomicBool>,
}

impl Wall {
    fn new(limit: Option<Duration>) -> Self {
        Self { began: Instant::now(), limit, is_told: Arc::default() }
    }

    /// The same, over as well with the first Ctrl-C or SIGTERM; the second ends the process.
    fn with_signals(limit: Option<Duration>) -> anyhow::Result<Self> {
        let wall = Self::new(limit);
        let is_told = Arc::clone(&wall.is_told);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                let kinds = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
                let (Ok(mut interrupt), Ok(mut terminate)) = kinds else { return };
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if is_told.swap(true, Ordering::Relaxed) {
                        std::process::exit(i32::from(Exit::Refused.code()));
                    }
                }
            });
        })?;
        Ok(wall)
    }

    fn is_over(&self) -> bool {
        self.is_told.load(Ordering::Relaxed) || self.limit.is_some_and(|limit| self.began.elapsed() >= limit)
    }
}

/// Runs a seed; `look` sees how far it is.
fn simulate(plan: &Plan, wall: &Wall, look: impl Fn(&Simulation)) -> anyhow::Result<Report> {
    let mut simulation = Simulation::new(plan.scenario()?);
    while !wall.is_over() && !simulation.advance(EVENTS_AT_A_TIME) {
        look(&simulation);
    }
    Ok(simulation.report())
}

fn one(arguments: &SimulatorArguments, seed: u64, output: Output) -> anyhow::Result<u8> {
    let plan = arguments.plan(seed);
    let wall = Wall::with_signals(arguments.wall_limit)?;
    let bar = output.progress(plan.duration_us, "{msg:>20} {bar:32} {percent:>3}% {elapsed} gone, {eta} to go");
    let report = simulate(&plan, &wall, |simulation| show(&bar, simulation))?;
    bar.finish_and_clear();
    let summary = Summary::new(&report, arguments.command(seed), wall.began.elapsed());
    output.result(&summary, |summary| report::words(summary, &plan));
    Ok(report.end.exit_code())
}

fn show(bar: &ProgressBar, simulation: &Simulation) {
    let progress = simulation.progress();
    bar.set_position(progress.virtual_us);
    bar.set_message(if progress.is_healed {
        "healed, finishing".to_owned()
    } else {
        format!("{} of {} asked", progress.asked, progress.planned)
    });
}

/// Networks of several seeds: all of them, or until the time is over.
fn many(arguments: &SimulatorArguments, first: u64, output: Output) -> anyhow::Result<u8> {
    let wall = Wall::with_signals(arguments.wall_limit)?;
    let bar = output.progress(arguments.seeds, super::output::BAR);
    bar.set_message("networks");
    let mut batch = Batch::new(first, arguments.seeds);
    for seed in (first..=u64::MAX).take(usize::try_from(arguments.seeds).unwrap_or(usize::MAX)) {
        let report = simulate(&arguments.plan(seed), &wall, |_| {})?;
        if report.end == End::Unfinished {
            batch.is_unfinished = true;
            break;
        }
        if let Some(violation) = report.end.violation() {
            bar.suspend(|| output.note(format!("seed {seed}: {}, {violation}", report.end.name())));
        }
        batch.add(&report, arguments.command(seed));
        bar.inc(1);
    }
    bar.finish_and_clear();
    batch.wall_ms = millis(wall.began.elapsed());
    output.result(&batch, batch::words);
    Ok(batch.exit_code())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
