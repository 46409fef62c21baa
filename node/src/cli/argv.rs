//! Command lines as the original's scripts write them: `-api-port 8081`, `-primary=false`, and a program that is
//! started under the name of a subcommand (architecture.md section 1).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Command;

/// Names under which the program behaves as one of its subcommands.
const PROGRAM_NAMES: &[&str] = &["validator", "simulator"];

/// The same command line in the form that `command` reads: single-dash long options with two dashes, and the
/// subcommand that the program's own name means.
pub(super) fn normalise(arguments: impl IntoIterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let (long, short) = (long_options(command), short_options(command));
    let mut arguments = arguments.into_iter();
    let mut normal = Vec::new();
    if let Some(program) = arguments.next() {
        let meant = meant_by(&program);
        normal.push(program);
        normal.extend(meant.map(OsString::from));
    }
    let mut options_end = false;
    for argument in arguments {
        options_end |= argument == "--";
        normal.push(if options_end { argument } else { with_two_dashes(argument, &long, &short) });
    }
    normal
}

/// The subcommand that a program's name means.
fn meant_by(program: &OsStr) -> Option<&'static str> {
    let name = Path::new(program).file_name().and_then(OsStr::to_str)?;
    PROGRAM_NAMES.iter().find(|known| **known == name).copied()
}

/// The same command, which calls itself by the name under which it was started.
pub(super) fn named(program: Option<&OsStr>, command: Command) -> Command {
    match program.and_then(meant_by) {
        Some(name) if command.find_subcommand(name).is_some() => {
            command.mut_subcommand(name, |below| below.override_usage(format!("{name} [OPTIONS]")))
        }
        _ => command,
    }
}

fn with_two_dashes(argument: OsString, long: &BTreeSet<String>, short: &BTreeSet<char>) -> OsString {
    let Some(name) = argument.to_str().and_then(|text| text.strip_prefix('-')) else { return argument };
    let word = name.split('=').next().unwrap_or(name);
    // A word that is no option gets them too: so whoever mistyped it is told the one that is nearest.
    let is_meant = long.contains(word) || !is_short(word, short);
    if word.len() > 1 && is_meant { OsString::from(format!("--{name}")) } else { argument }
}

/// Whether a word stands behind one dash as it is: short options, the last one perhaps with a number, or no option.
fn is_short(word: &str, short: &BTreeSet<char>) -> bool {
    let is_word = word.starts_with(|first: char| first.is_ascii_alphabetic());
    let letters = word.trim_end_matches(|last: char| last.is_ascii_digit());
    !is_word || letters.chars().all(|letter| short.contains(&letter))
}

/// The short options of a command and of all below it.
fn short_options(command: &Command) -> BTreeSet<char> {
    let own = command.get_arguments().filter_map(clap::Arg::get_short);
    let below = command.get_subcommands().flat_map(short_options);
    ['h', 'V'].into_iter().chain(own).chain(below).collect()
}

/// The long options of a command and of all below it.
fn long_options(command: &Command) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["help".to_owned(), "version".to_owned()]);
    for argument in command.get_arguments() {
        names.extend(argument.get_long().map(str::to_owned));
        names.extend(argument.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned));
    }
    for below in command.get_subcommands() {
        names.extend(long_options(below));
    }
    names
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        let options = ["id", "port", "api-port", "data-dir", "bootstrap", "total-nodes", "primary", "partition"];
        let validator = options
            .iter()
            .fold(Command::new("validator"), |command, option| command.arg(Arg::new(*option).long(*option)));
        let devnet = Command::new("devnet").arg(Arg::new("n").short('n').long("nodes"));
        Command::new("dtvn").subcommand(validator).subcommand(devnet)
    }

    fn normal(line: &str) -> String {
        let words = line.split_whitespace().map(OsString::from);
        let words: Vec<_> = normalise(words, &command()).into_iter().map(|word| word.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn long_options_get_their_second_dash() {
        assert_eq!(
            normal("dtvn validator -id node0 -port 4001 -primary=false -total-nodes=4"),
            "dtvn validator --id node0 --port 4001 --primary=false --total-nodes=4"
        );
    }

    #[test]
    fn short_options_values_and_strangers_stay() {
        assert_eq!(normal("dtvn devnet -n 4 -h -5 -x=1 - --nodes 3"), "dtvn devnet -n 4 -h -5 -x=1 - --nodes 3");
        assert_eq!(normal("dtvn validator -- -id"), "dtvn validator -- -id");
        assert_eq!(normal("dtvn -help"), "dtvn --help");
        assert_eq!(normal("dtvn devnet -n4 -hV -nh -5s -/x"), "dtvn devnet -n4 -hV -nh -5s -/x");
    }

    #[test]
    fn a_mistyped_option_gets_its_second_dash_too() {
        assert_eq!(normal("dtvn validator -boostrap x -ip=y"), "dtvn validator --boostrap x --ip=y");
        assert_eq!(normal("dtvn devnet -nodse 4"), "dtvn devnet --nodse 4");
    }

    #[test]
    fn the_name_of_the_program_is_the_subcommand() {
        assert_eq!(normal("./bin/validator -id node0"), "./bin/validator validator --id node0");
        assert_eq!(normal("/usr/bin/simulator -partition"), "/usr/bin/simulator simulator --partition");
        assert_eq!(normal("./bin/dtvn validator"), "./bin/dtvn validator");
        assert_eq!(normal(""), "");
    }
}
