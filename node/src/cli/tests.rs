//! The command line as users write it.

use std::ffi::OsString;

use clap::Args as _;

use super::*;

fn parse(line: &str) -> Result<Line, clap::Error> {
    let words = line.split_whitespace().map(OsString::from);
    let words = argv::normalise(words, &Line::command());
    Line::command().try_get_matches_from(words).and_then(|found| Line::from_arg_matches(&found))
}

#[test]
fn the_definition_is_sound() {
    Line::command().debug_assert();
}

#[test]
fn the_commands_of_the_readme_are_understood() {
    for line in [
        "dtvn devnet",
        "dtvn devnet -n 7 --fresh --detach --data-dir ./x",
        "dtvn devnet -nodes 4 -base-port 0 -- --log-level debug",
        "dtvn devnet stop",
        "dtvn devnet status --data-dir ./x --json",
        "dtvn ticket seed",
        "dtvn ticket issue T-1 --meta seat=A1 --valid-until 2026-01-01T18:00:00Z",
        "dtvn ticket validate TICKET-001 --gate north --nodes http://a:1,http://b:2",
        "dtvn --json ticket get TICKET-001 --event gala",
        "dtvn ticket dispute TICKET-001 --reason photo",
        "dtvn ticket list --state validated --limit 0",
        "dtvn ticket history TICKET-001",
        "dtvn watch --once --json",
        "dtvn explain TICKET-001",
        "dtvn checksum --nodes http://127.0.0.1:8081 --wait 5s",
        "dtvn verify receipt scan.tlog-proof --genesis genesis.json",
        "dtvn verify receipt - --policy validators.policy --json",
        "dtvn verify receipt - --development 4",
        "dtvn verify receipt - --genesis genesis.json --epochs epochs.json",
        "dtvn verify receipt - --development 4 --ticket T-1 --event gala --key 0123456789abcdef --kind consume --accepted",
        "dtvn verify evidence evidence.json --genesis genesis.json --json",
        "dtvn validators sign change.json --key node0.key --yes",
        "dtvn actors",
        "dtvn actors --live",
        "dtvn actors restart root/core --admin http://127.0.0.1:9082",
        "dtvn actors crash replica",
        "dtvn load --preset heavy",
        "dtvn load --requests 50 --concurrency 5 --nodes localhost:8081",
        "dtvn bench --scenario closed,leader-kill --time 5s --json",
        "dtvn keys generate --out a.key --name node0",
        "dtvn keys show --development node0",
        "dtvn genesis check genesis.json",
        "dtvn genesis show --development 4",
        "dtvn testnet -n 4 --out ./net --hosts 10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4",
        "dtvn config check -id node1 -api-port 8082 -primary",
        "dtvn simulator -nodes 7 -byzantine 2 -tickets 100 -duration 60s -latency 50ms -packet-loss 0.01",
        "dtvn simulator --nodes 10 --byzantine=3 -partition --seed 7 --seeds 20 --wall-limit 1m --json",
        "dtvn completions bash",
    ] {
        let parsed = parse(line);
        let refused = parsed.err().map(|error| error.to_string());
        assert_eq!(refused, None, "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "dtvn",
        "dtvn devnet -n 0",
        "dtvn devnet -n 1000",
        "dtvn ticket validate",
        "dtvn ticket validate a/b",
        "dtvn ticket validate T --key short",
        "dtvn ticket list --state gone",
        "dtvn verify receipt - --development 4 --kind eat",
        "dtvn verify receipt - --policy validators.policy --epochs epochs.json",
        "dtvn verify receipt - --policy validators.policy --genesis genesis.json",
        "dtvn load --preset quick --requests 5",
        "dtvn load --batch-json",
        "dtvn keys show",
        "dtvn completions cobol",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn the_version_is_told() {
    for line in ["dtvn --version", "dtvn -V", "dtvn -version"] {
        let Err(told) = parse(line) else { panic!("{line} tells the version") };
        let expected = format!("dtvn {}", env!("CARGO_PKG_VERSION"));
        assert!(told.exit_code() == 0 && told.to_string().starts_with(&expected), "{line}: {told}");
    }
}

#[test]
fn a_mistyped_option_is_told_as_it_was_meant() {
    let Err(error) = parse("dtvn validator -boostrap x") else { panic!("there is no such option") };
    let told = error.to_string();
    assert!(told.contains("--boostrap") && told.contains("'--bootstrap'"), "{told}");
}

#[test]
fn exit_codes_of_usage_errors_are_two() {
    let Err(error) = parse("dtvn ticket validate") else { panic!("a ticket is needed") };
    assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()));
}

/// Every command line of the README, from its blocks and its tables.
fn readme_lines(text: &str) -> Vec<String> {
    let starts = ["dtvn ", "bin/validator ", "bin/simulator "];
    let is_command = |line: &&str| starts.iter().any(|start| line.starts_with(start));
    // Odd pieces stand between backquotes; a command may be broken over two lines of text.
    let quoted = text.split('`').skip(1).step_by(2).map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut lines: Vec<String> = quoted.filter(|line| is_command(&line.as_str())).collect();
    lines.extend(text.lines().map(str::trim).filter(is_command).map(str::to_owned));
    lines
}

#[test]
fn the_readme_shows_commands_that_exist() {
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
    let lines = readme_lines(readme);
    assert!(lines.len() > 30, "{lines:?}");
    for line in lines {
        // Where its output goes is the shell's business.
        let typed = line.split(" > ").next().unwrap_or_default();
        let words = typed.replace("...", "http://127.0.0.1:8081");
        let words = words.split_whitespace().map(OsString::from);
        let command =
            Line::command().subcommand(validator::ValidatorArguments::augment_args(clap::Command::new("validator")));
        let parsed = command.clone().try_get_matches_from(argv::normalise(words, &command));
        // A command that is only named lacks its arguments.
        let named_only = |error: &clap::Error| {
            let kinds = [
                clap::error::ErrorKind::MissingRequiredArgument,
                clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ];
            kinds.contains(&error.kind()) && line.split_whitespace().count() <= 3
        };
        if let Err(error) = parsed {
            assert!(named_only(&error), "{line}: {error}");
        }
    }
}

#[test]
fn the_readme_lists_all_settings() {
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
    for setting in crate::config::SETTINGS {
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let flag = setting.flag.map_or(String::new(), |flag| format!("`-{flag}`"));
        let variable = setting.variable.map_or(String::new(), code);
        let row = format!("| `{}` | {flag} | {variable} | {} | {} |", setting.key, code(setting.default), setting.help);
        assert!(readme.lines().any(|line| line == row), "the README lacks the row:\n{row}");
    }
}
