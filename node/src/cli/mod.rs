//! The command line of `dtvn` (api.md section 7). Client commands use nothing but `dtvn-client`.
//!
//! Exit codes: 0 good, 1 refused, different or failed, 2 wrong command line or configuration, 3 no node could be
//! reached, 4 the outcome is not known; those of a simulation are in `simulator`. Results go to stdout, everything else to stderr.

mod actors;
mod argv;
mod bench;
mod checksum;
mod config;
mod demo;
mod devnet;
mod exit;
mod explain;
mod genesis;
mod keys;
mod load;
mod nodes;
mod output;
mod restore;
mod setting_flags;
mod simulator;
mod testnet;
#[cfg(test)]
mod tests;
mod ticket;
mod validator;
mod validators;
mod verify;
mod watch;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::exit::Exit;
use self::output::Output;

/// A distributed ticket validation network: nodes that agree on what happened to every ticket.
#[derive(Debug, Parser)]
#[command(name = "dtvn", version = VERSION.as_str(), max_term_width = 120, after_help = EXIT_CODES)]
struct Line {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// The version, and the commit where that is known.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    crate::commit().map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"))
});

const EXIT_CODES: &str = "Exit codes: 0 good; 1 refused, different or failed; 2 wrong command line or configuration; \
                          3 no node could be reached; 4 the outcome is not known: ask again with the same key";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    Validator(validator::ValidatorArguments),
    /// Run a whole network on this machine
    Devnet(devnet::DevnetArguments),
    /// Issue, validate, consume, dispute and look at tickets
    Ticket(ticket::TicketArguments),
    /// Show all nodes in one table, live
    Watch(watch::WatchArguments),
    /// Show who took an operation in, proposed it, voted, and what came of it
    Explain(explain::ExplainArguments),
    /// Compare the histories of all nodes
    Checksum(checksum::ChecksumArguments),
    /// Check a receipt, or evidence of a lie, with the validators' keys alone, without any network
    Verify(verify::VerifyArguments),
    /// Show a node's actors; restart or crash one
    Actors(actors::ActorsArguments),
    /// Make load for nodes that run
    Load(load::LoadArguments),
    /// Measure a network of its own
    Bench(bench::BenchArguments),
    /// Simulate a network with liars, losses and partitions in virtual time, from a seed
    Simulator(simulator::SimulatorArguments),
    /// Make and show validators' keys
    Keys(keys::KeysArguments),
    /// Make, check and show genesis files
    Genesis(genesis::GenesisArguments),
    /// Show the validators; propose, sign and submit another set
    Validators(validators::ValidatorsArguments),
    /// Let a node vote again whose log is lost, when the others are too few to recover it
    Restore(restore::RestoreArguments),
    /// Write the files of a network with keys of its own
    Testnet(testnet::TestnetArguments),
    /// Explain the settings of a validator
    Config(config::ConfigArguments),
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let command = argv::named(std::env::args_os().next().as_deref(), Line::command());
    let arguments = argv::normalise(std::env::args_os(), &command);
    let parsed = command.try_get_matches_from(arguments).and_then(|found| Line::from_arg_matches(&found));
    let line = match parsed {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    let output = Output::new(line.json);
    let done = match line.command {
        Command::Validator(arguments) => validator::run(arguments, output),
        Command::Simulator(arguments) => simulator::run(&arguments, output),
        command => run(command, output).map(ExitCode::from),
    };
    match (done, output::unwritten()) {
        (Ok(_), Some(why)) => {
            output.note(format!("error: the output cannot be written: {why}"));
            Exit::Refused.into()
        }
        (Ok(exit), None) => exit,
        (Err(error), _) => {
            output.note(format!("error: {error:#}"));
            Exit::of_error(&error).into()
        }
    }
}

fn run(command: Command, output: Output) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Validator(_) => unreachable!("a node runs on a runtime of its own"),
            Command::Simulator(_) => unreachable!("a simulation needs no runtime"),
            Command::Devnet(arguments) => devnet::run(arguments, output).await,
            Command::Ticket(arguments) => ticket::run(arguments, output).await,
            Command::Watch(arguments) => watch::run(arguments, output).await,
            Command::Explain(arguments) => explain::run(arguments, output).await,
            Command::Checksum(arguments) => checksum::run(arguments, output).await,
            Command::Actors(arguments) => actors::run(arguments, output).await,
            Command::Load(arguments) => load::run(arguments, output).await,
            Command::Bench(arguments) => Box::pin(bench::run(arguments, output)).await,
            Command::Validators(arguments) => validators::run(arguments, output).await,
            Command::Restore(arguments) => restore::run(arguments, output).await,
            Command::Keys(arguments) => keys::run(arguments, output),
            Command::Genesis(arguments) => genesis::run(arguments, output),
            Command::Testnet(arguments) => testnet::run(arguments, output),
            Command::Verify(arguments) => verify::run(&arguments, output),
            Command::Config(arguments) => config::run(arguments, output),
            Command::Completions { shell } => {
                output.completions(shell, &mut Line::command());
                Ok(Exit::Good)
            }
        }
    })
}
