//! `cargo sim`: runs seeds of the simulator, and says how to run a failing one again.
//!
//! ```text
//! cargo sim --seed 17                          one seed, with what it met
//! cargo sim --seeds 500 [--from 1000]          many seeds; stops at the first that fails, and shrinks it
//! cargo sim --seed 17 --without loss,crashes   a seed with some faults switched off
//! cargo sim --seed 17 --nodes 4 --clients 1 --faults-ms 2000   fewer nodes and clients, a shorter time of faults
//! cargo sim --seed 17 --trace 2                a seed, with all that host 2 is told and says, on standard error
//! ```
//!
//! Exit codes: 0 good, 2 wrong arguments, 10 a crash, 11 a stall, 12 a violation of safety, 13 a batch that did not meet
//! all that it should.

use std::io::{self, Write};
use std::process::ExitCode;

use dtvn_simulation::run::{shrink, simulate_traced};
use dtvn_simulation::{Changes, Coverage, End, Fault, simulate};

/// A batch that met not everything that it must.
const EXIT_BLIND: u8 = 13;
/// The arguments make no sense.
const EXIT_USAGE: u8 = 2;
/// From so many seeds on a batch must have met everything.
const SEEDS_THAT_MEET_ALL: u64 = 100;

struct Arguments {
    from: u64,
    count: u64,
    changes: Changes,
    keep_going: bool,
    trace: Option<usize>,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments { from: 0, count: 1, changes: Changes::default(), keep_going: false, trace: None };
    let mut arguments = arguments.peekable();
    while let Some(name) = arguments.next() {
        if name == "--keep-going" {
            parsed.keep_going = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{value} is no number"));
        match name.as_str() {
            "--seed" | "--from" => parsed.from = number()?,
            "--seeds" => parsed.count = number()?,
            "--trace" => parsed.trace = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
            "--nodes" => parsed.changes.validators = Some(usize::try_from(number()?).unwrap_or(0).clamp(1, 64)),
            "--clients" => parsed.changes.clients = Some(usize::try_from(number()?).unwrap_or(0).clamp(1, 1_000)),
            "--faults-ms" => parsed.changes.faults_ms = Some(number()?),
            "--without" => {
                for name in value.split(',') {
                    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
                    parsed.changes.without.insert(fault.ok_or_else(|| format!("{name} is no fault"))?);
                }
            }
            other => return Err(format!("{other} is unknown; see the head of sim.rs")),
        }
    }
    Ok(parsed)
}

fn main() -> io::Result<ExitCode> {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            writeln!(io::stderr(), "{error}")?;
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let mut out = io::stdout();
    let mut coverage = Coverage::default();
    let (mut events, mut slowest_us, mut worst) = (0, 0, 0);
    for seed in arguments.from..arguments.from + arguments.count {
        let report = match arguments.trace {
            None => simulate(seed, &arguments.changes),
            Some(host) => simulate_traced(seed, &arguments.changes, host, Box::new(|line| eprintln!("{line}"))),
        };
        coverage.add(&report.coverage);
        events += report.events;
        slowest_us = slowest_us.max(report.recovery_us);
        let is_good = report.end == End::Good;
        if arguments.count == 1 || !is_good {
            writeln!(out, "{report}\n  {}", report.scenario)?;
        }
        if !is_good {
            worst = worst.max(report.end.exit_code());
            writeln!(out, "  again: {}", report.command())?;
            if !arguments.keep_going {
                writeln!(out, "  simplest: {}", shrink(&report).command())?;
                return Ok(ExitCode::from(worst));
            }
        }
    }
    writeln!(out, "{} seeds, {events} events, slowest recovery {} ms", arguments.count, slowest_us / 1_000)?;
    for counter in coverage.all() {
        writeln!(out, "  {:>10} {}", counter.count, counter.name)?;
    }
    let blind = coverage.blind_spots();
    if arguments.count >= SEEDS_THAT_MEET_ALL && arguments.changes == Changes::default() && !blind.is_empty() {
        writeln!(out, "the batch is blind to: {}", blind.join(", "))?;
        worst = worst.max(EXIT_BLIND);
    }
    Ok(ExitCode::from(worst))
}
