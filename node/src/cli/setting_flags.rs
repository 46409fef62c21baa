//! The flags of `dtvn validator` and `dtvn config check`, made from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{ConfigError, Effective, Inputs, SETTINGS, Setting, SettingKind};

/// The flags that were given.
#[derive(Debug, Clone)]
pub(super) struct SettingFlags {
    /// `--config`
    config: Option<PathBuf>,
    /// Whether `-primary` was given: accepted for the original's scripts, and ignored.
    primary: bool,
    /// Settings that were given as flags, with their texts.
    pub(super) flags: Vec<(&'static Setting, String)>,
}

impl SettingFlags {
    /// The configuration that these flags, the environment and the file make.
    pub(super) fn load(self) -> Result<Effective, ConfigError> {
        let mut effective = Effective::load(&Inputs::of_process(self.config, self.flags))?;
        if self.primary {
            effective.warnings.push("-primary has no effect: the protocol elects the leader".to_owned());
        }
        Ok(effective)
    }
}

fn argument(setting: &'static Setting, flag: &'static str) -> Arg {
    let mut help = setting.help.to_owned();
    if !setting.default.is_empty() {
        help = format!("{help} [default: {}]", setting.default);
    }
    if let Some(variable) = setting.variable {
        help = format!("{help} [env: {variable}]");
    }
    let argument = Arg::new(setting.key).long(flag).action(ArgAction::Set).help(help);
    match setting.kind {
        SettingKind::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .hide_possible_values(true),
        SettingKind::Number => argument.value_name("NUMBER"),
        SettingKind::Path => argument.value_name("PATH"),
        SettingKind::List => argument.value_name("ITEM,..."),
        SettingKind::Text => argument.value_name("TEXT"),
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &&'static Setting| setting.flag.and_then(|_| matches.get_one::<String>(setting.key));
        let flags = SETTINGS.iter().filter_map(|setting| Some((setting, given(&setting)?.clone()))).collect();
        let primary = matches.contains_id("primary");
        Ok(Self { config: matches.get_one::<PathBuf>("config").cloned(), primary, flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A TOML file with settings; flags and environment win [env: DTVN_CONFIG]");
        let primary = Arg::new("primary")
            .long("primary")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .help("Accepted for the original's scripts and ignored: the protocol elects the leader");
        SETTINGS
            .iter()
            .filter_map(|setting| Some(argument(setting, setting.flag?)))
            .fold(command.arg(config).arg(primary), Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
