//! `dtvn config check`: the settings in force, and where each came from.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::Exit;
use super::output::{Output, table};
use super::setting_flags::SettingFlags;
use crate::config::{EffectiveValue, Identity, ValidatorConfig};

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

/// A setting's value for people. That of the admin endpoint depends on the API's, if it is not set.
fn in_force(value: &EffectiveValue, config: &ValidatorConfig) -> String {
    if value.setting.key == "admin.addr" { config.admin_addr().to_string() } else { value.shown() }
}

pub(super) fn run(arguments: ConfigArguments, output: Output) -> anyhow::Result<Exit> {
    let ConfigCommand::Check(flags) = arguments.command;
    let effective = flags.load()?;
    let identity = Identity::load(&effective.config)?;
    let settings = effective.values.iter().map(|value| ShownSetting {
        key: value.setting.key,
        value: in_force(value, &effective.config),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Effective, Inputs};

    #[test]
    fn the_address_of_the_admin_endpoint_is_the_one_in_force() {
        let shown = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let effective = Effective::load(&Inputs { variables, ..Inputs::default() }).unwrap();
            let value = effective.values.iter().find(|value| value.setting.key == "admin.addr").unwrap();
            in_force(value, &effective.config)
        };
        assert_eq!(shown(&[]), "127.0.0.1:9080");
        assert_eq!(shown(&[("DTVN__API__PORT", "8083")]), "127.0.0.1:9083");
        assert_eq!(shown(&[("DTVN__ADMIN__ADDR", "127.0.0.1:7000")]), "127.0.0.1:7000");
    }
}
