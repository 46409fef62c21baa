//! `dtvn validator`: a node. Here only its command line; the node itself is [`crate::validator`].

use std::process::ExitCode;

use clap::Args;

use super::output::Output;
use super::setting_flags::SettingFlags;
use crate::config::ValidatorConfig;

/// Threads of a node beside those of its disk: it shares its machine with others as often as not.
const WORKER_THREADS: usize = 2;

#[derive(Debug, Args)]
pub(super) struct ValidatorArguments {
    #[command(flatten)]
    settings: SettingFlags,
    /// End when stdin does: when whoever started this ends
    #[arg(long)]
    die_with_parent: bool,
}

/// Runs a node until it is told to stop or fails.
pub(super) fn run(arguments: ValidatorArguments, output: Output) -> anyhow::Result<ExitCode> {
    let config = configure(arguments, output)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()?;
    let within = runtime.enter();
    crate::telemetry::logs::start(&config)?;
    drop(within);
    let ended = runtime.block_on(crate::validator::run(config));
    crate::telemetry::traces::flush();
    ended
}

/// Reads the settings, and says on stderr what is odd about them.
pub(super) fn configure(arguments: ValidatorArguments, output: Output) -> anyhow::Result<ValidatorConfig> {
    let effective = arguments.settings.load()?;
    for warning in &effective.warnings {
        output.note(format!("warning: {warning}"));
    }
    if arguments.die_with_parent {
        end_with_stdin();
    }
    Ok(effective.config)
}

/// Asks this process to end, as SIGTERM does, when its stdin ends; and ends it if that takes too long.
fn end_with_stdin() {
    std::thread::spawn(|| {
        // What is written to it means nothing; a failure to read is an end too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
        std::thread::park_timeout(dtvn_messages::limits::NODE_STOP_TIMEOUT);
        std::process::exit(1);
    });
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{Command, FromArgMatches as _};

    use super::*;
    use crate::config::{Effective, Inputs};

    fn command() -> Command {
        Command::new("dtvn").subcommand(ValidatorArguments::augment_args(Command::new("validator")))
    }

    fn parse(line: &str) -> ValidatorArguments {
        let words = line.split_whitespace().map(|word| OsString::from(word.trim_matches('"')));
        let words = crate::cli::argv::normalise(words, &command());
        let matches = command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        ValidatorArguments::from_arg_matches(matches.subcommand().unwrap().1).unwrap()
    }

    fn config(line: &str) -> ValidatorConfig {
        let flags = parse(line).settings.flags;
        Effective::load(&Inputs { flags, ..Inputs::default() }).unwrap().config
    }

    const NODE0: &str = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C";

    #[test]
    fn the_single_node_of_the_original_readme() {
        let line = "./bin/validator -id node0 -port 4001 -api-port 8081 -data-dir ./data/node0 -primary -total-nodes 1";
        let config = config(line);
        assert_eq!((config.node.id.as_str(), config.node.total_nodes), ("node0", 1));
        assert_eq!((config.p2p.port, config.api.port), (4001, 8081));
        assert_eq!(config.node.data_dir.to_str(), Some("./data/node0"));
        assert!(configure(parse(line), Output::new(false)).is_ok());
    }

    #[test]
    fn the_four_nodes_of_the_original_readme() {
        let first = config(
            "./bin/validator -id node0 -port 4001 -api-port 8081 -data-dir ./data/node0 -primary -total-nodes 4",
        );
        assert!(first.p2p.bootstrap.is_empty());
        for number in 1..4 {
            let (port, api) = (4_001 + number, 8_081 + number);
            let config = config(&format!(
                "./bin/validator -id node{number} -port {port} -api-port {api} -data-dir ./data/node{number} \
                 -total-nodes 4 -bootstrap \"{NODE0}\""
            ));
            assert_eq!(config.node.id.as_str(), format!("node{number}"));
            assert_eq!((config.p2p.port, config.api.port), (port, api));
            assert_eq!(config.p2p.bootstrap, [NODE0]);
        }
    }

    #[test]
    fn the_other_ways_of_go_are_understood() {
        let line = "dtvn validator -primary=false -bootstrap-node=true -api-key=secret --total-nodes=7 -id=bootstrap";
        let config = config(line);
        assert!(config.node.bootstrap_node);
        assert_eq!(config.api.key.as_ref().map(|key| key.expose()), Some("secret"));
        assert!(self::config("dtvn validator -bootstrap-node").node.bootstrap_node);
    }

    #[test]
    fn flags_and_environment_make_the_configuration() {
        let config = configure(parse("validator -id node3 -api-port 0 -primary"), Output::new(false)).unwrap();
        assert_eq!((config.node.id.as_str(), config.api.port), ("node3", 0));
        assert!(configure(parse("validator -api-port many"), Output::new(false)).is_err());
    }

    #[test]
    fn every_flag_of_the_table_is_a_flag() {
        for setting in crate::config::SETTINGS {
            let Some(flag) = setting.flag else { continue };
            let arguments = parse(&format!("dtvn validator --{flag}=true"));
            assert_eq!(arguments.settings.flags.len(), 1, "{flag}");
            assert_eq!(arguments.settings.flags[0].0.key, setting.key);
        }
    }
}
