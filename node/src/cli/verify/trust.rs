//! Whom `dtvn verify` trusts. A fault in what says so is one of the command line, and tells nothing of what is judged.

use std::path::{Path, PathBuf};

use clap::Args;
use dtvn_client::ClientError;
use dtvn_client::api::Epochs;
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::policy::Policy;
use dtvn_messages::{Ed25519, Genesis, crypto, limits};

use super::super::genesis;
use super::{read, read_bytes};

/// Whom to trust.
#[derive(Debug, Args)]
pub(super) struct TrustArguments {
    /// The genesis file of the network
    #[arg(long, value_name = "FILE", conflicts_with = "development")]
    genesis: Option<PathBuf>,
    /// A development network of so many nodes instead; DTVN_KEY_SEED and DTVN_AUTO_ISSUE count
    #[arg(long, value_name = "NODES")]
    development: Option<usize>,
    /// What `dtvn --json validators epochs` printed: leads from the genesis to validators that came later
    #[arg(long, value_name = "FILE")]
    epochs: Option<PathBuf>,
}

impl TrustArguments {
    /// The chain, and who was a validator of it when, as far as it is proved.
    pub(super) fn chronicle(&self) -> anyhow::Result<(Genesis, Chronicle)> {
        let genesis = self.genesis()?;
        let mut chronicle = Chronicle::new(&genesis);
        if let Some(file) = &self.epochs {
            let shown = file.display();
            let bytes = read_bytes(file, limits::CLIENT_ANSWER_BYTES_MAX)?;
            let epochs: Epochs =
                serde_json::from_slice(&bytes).map_err(|fault| usage(format!("{shown} lists no epochs: {fault}")))?;
            let led = epochs.lead(&mut chronicle, &genesis, &Ed25519);
            led.map_err(|fault| usage(format!("{shown} proves nothing: {fault}")))?;
        }
        Ok((genesis, chronicle))
    }

    fn genesis(&self) -> anyhow::Result<Genesis> {
        match (&self.genesis, self.development) {
            (Some(file), _) => genesis::read(file).map_err(|fault| usage(format!("{fault:#}"))),
            (None, Some(nodes)) => {
                let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
                let seed = variable("DTVN_KEY_SEED");
                let seed = seed.as_deref().unwrap_or(crypto::DEVELOPMENT_SEED);
                let auto_issue = variable("DTVN_AUTO_ISSUE").is_some_and(|value| value == "true");
                Genesis::development(nodes, seed, auto_issue).map_err(|fault| usage(fault.to_string()))
            }
            (None, None) => {
                let why = "whom to trust? Give --genesis FILE, --development NODES or, for a receipt, --policy FILE";
                Err(usage(why.to_owned()))
            }
        }
    }
}

/// The policy in a file.
pub(super) fn policy(file: &Path) -> anyhow::Result<Policy> {
    let rules = read(file, limits::NOTE_BYTES_MAX)?;
    Policy::parse(&rules).map_err(|fault| usage(format!("{} is no policy: {fault}", file.display())))
}

fn usage(fault: String) -> anyhow::Error {
    ClientError::Usage(fault).into()
}

#[cfg(test)]
mod tests {
    use super::super::super::exit::Exit;
    use super::*;

    #[test]
    fn a_fault_in_what_says_whom_to_trust_is_one_of_the_command_line_and_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("receipt.txt");
        std::fs::write(&file, "c2sp.org/tlog-proof@v1\n").unwrap();
        let words = |error: anyhow::Error| {
            assert_eq!(Exit::of_error(&error), Exit::Usage, "{error:#}");
            format!("{error:#}")
        };
        let trust = |genesis: Option<&PathBuf>, development, epochs: Option<&PathBuf>| {
            let trust = TrustArguments { genesis: genesis.cloned(), development, epochs: epochs.cloned() };
            words(trust.chronicle().map(drop).unwrap_err())
        };
        for (said, expected) in [
            (trust(Some(&file), None, None), "receipt.txt"),
            (trust(Some(&folder.path().join("missing.json")), None, None), "missing.json"),
            (trust(None, Some(4), Some(&file)), "receipt.txt lists no epochs"),
            (trust(None, Some(0), None), "validator"),
            (trust(None, None, None), "--development NODES"),
            (words(policy(&file).map(drop).unwrap_err()), "receipt.txt is no policy"),
        ] {
            assert!(said.contains(expected), "{said}");
        }
    }
}
