//! `dtvn config check`: the settings in force, and where each came from.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::Exit;
use super::output::{Output, table};
use super::setting_flags::SettingFlags;
use crate::config::Identity;

#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show the settings that `dtvn validator` would run with under the same flags, and where each comes from
    Check(SettingFlags),
}

#[derive(Debug, Serialize)]
struct Shown {
    settings: Vec<ShownSetting>,
    warnings: Vec<String>,
    identity: ShownIdentity,
}

#[derive(Debug, Serialize)]
struct ShownSetting {
    key: &'static str,
    value: String,
    from: String,
    help: &'static str,
}

#[derive(Debug, Serialize)]
struct ShownIdentity {
    peer_id: String,
    chain_id: String,
    genesis_hash: String,
    votes: bool,
}

pub(super) fn run(arguments: ConfigArguments, output: Output) -> anyhow::Result<Exit> {
    let ConfigCommand::Check(flags) = arguments.command;
    let effective = flags.load()?;
    let identity = Identity::load(&effective.config)?;
    let settings = effective.values.iter().map(|value| ShownSetting {
        key: value.setting.key,
        value: value.shown(),
        from: value.source.to_string(),
        help: value.setting.help,
    });
    let shown = Shown {
        settings: settings.collect(),
        warnings: effective.warnings.clone(),
        identity: ShownIdentity {
            peer_id: identity.peer_id(),
            chain_id: identity.genesis.chain_id().to_string(),
            genesis_hash: identity.genesis.hash().to_string(),
            votes: identity.index.is_some() && identity.may_vote,
        },
    };
    output.result(&shown, |shown| {
        let rows = shown.settings.iter().map(|setting| {
            [setting.key.to_owned(), setting.value.clone(), setting.from.clone(), setting.help.to_owned()]
        });
        let identity = &shown.identity;
        let mut lines = vec![table(["setting", "value", "from", "what for"], rows)];
        lines.push(format!("peer id {}", identity.peer_id));
        lines.push(format!("chain {}, genesis {}", identity.chain_id, identity.genesis_hash));
        lines.extend(shown.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    });
    Ok(Exit::Good)
}
