//! `dtvn keys`: make and show validators' keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use dtvn_messages::{ChainId, Digest, KeyPair, NodeName, PublicKey};
use serde::Serialize;

use super::exit::Exit;
use super::output::Output;
use crate::config::keys::{KeyFile, peer_id};

#[derive(Debug, Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a random key and write it to a file (mode 0600) that must not exist
    Generate {
        /// The file
        #[arg(long, value_name = "FILE", default_value = "validator.key")]
        out: PathBuf,
        /// The validator that it is for
        #[arg(long, value_name = "ID")]
        name: Option<NodeName>,
    },
    /// Show the public part of a key
    Show {
        /// The file
        #[arg(required_unless_present = "development")]
        file: Option<PathBuf>,
        /// Of the development key of this node instead; DTVN_KEY_SEED counts
        #[arg(long, value_name = "ID", conflicts_with = "file")]
        development: Option<NodeName>,
    },
}

/// The public part of a key.
#[derive(Debug, Serialize)]
struct PublicPart {
    name: Option<NodeName>,
    public_key: PublicKey,
    peer_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_on: Option<BTreeMap<ChainId, Digest>>,
}

pub(super) fn run(arguments: KeysArguments, output: Output) -> anyhow::Result<Exit> {
    match arguments.command {
        KeysCommand::Generate { out, name } => {
            let key = KeyFile::generate(name)?;
            key.save_new(&out)?;
            show(public_part(&key), output);
            output.note(format!("the secret key is in {}: keep it safe, and run it in one place only", out.display()));
        }
        KeysCommand::Show { file: Some(file), .. } => show(public_part(&KeyFile::load(&file)?), output),
        KeysCommand::Show { development, .. } => {
            // clap asks for one of the two.
            let name = development.unwrap_or_else(|| crate::config::ValidatorConfig::default().node.id);
            let seed = std::env::var("DTVN_KEY_SEED").ok().filter(|seed| !seed.is_empty());
            let seed = seed.as_deref().unwrap_or(dtvn_messages::crypto::DEVELOPMENT_SEED);
            let public_key = KeyPair::development(seed, name.as_str()).public();
            show(PublicPart { name: Some(name), public_key, peer_id: peer_id(&public_key), used_on: None }, output);
        }
    }
    Ok(Exit::Good)
}

fn public_part(key: &KeyFile) -> PublicPart {
    let public_key = key.pair.public();
    PublicPart { name: key.name.clone(), public_key, peer_id: key.peer_id(), used_on: Some(key.used_on.clone()) }
}

fn show(part: PublicPart, output: Output) {
    output.result(&part, |part| {
        let mut lines = Vec::new();
        lines.extend(part.name.as_ref().map(|name| format!("name        {name}")));
        lines.push(format!("public key  {}", part.public_key));
        lines.push(format!("peer id     {}", part.peer_id));
        lines.extend(part.used_on.as_ref().map(|chains| {
            let names: Vec<&str> = chains.keys().map(ChainId::as_str).collect();
            format!("used on     {}", if names.is_empty() { "no chain".to_owned() } else { names.join(", ") })
        }));
        lines.join("\n")
    });
}
