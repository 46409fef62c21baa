//! A validator: from its settings to a running actor tree, and to its end.

mod files;
mod tree;

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dtvn_actors::storage;
use dtvn_actors::storage::identity::{self, NodeIdentity, SCHEMA_VERSION};
use dtvn_actors::storage::initial;
use dtvn_actors::storage::lock::DirectoryLock;
use dtvn_client::api::Ready;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Identity, KeySource, ValidatorConfig};

pub use tree::Node;

/// How long an orderly shutdown may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs a validator until it is told to stop or its tree fails.
///
/// # Errors
/// If it cannot start: the message says why.
pub async fn run(config: ValidatorConfig) -> anyhow::Result<ExitCode> {
    // From here on: who is told that the node is ready may ask it to stop.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    files::check()?;
    let mut identity = Identity::load(&config)?;
    warn_of_development_keys(&identity);
    let directory = config.node.data_dir.clone();
    // What tickets say of people is nobody else's business. One that exists is as open as its owner made it.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.with_context(|| format!("cannot make {}", directory.display()))?;
    let lock = DirectoryLock::acquire(&directory)?;
    let initial_state = initial::check(&directory, &identity.genesis, config.node.initial_state.as_deref())?;
    let claim = identity::claim(&directory, &node_identity(&identity))?;
    if let Some(contents) = initial_state {
        initial::keep(&directory, &contents)?;
    }
    // The log comes first, then what says that it must be there: a start that failed before it is no loss of memory.
    let used_before = claim.identity.used || identity.key_is_used();
    if !used_before {
        let made = storage::make_log(&directory, &identity.genesis, &identity.name);
        made.with_context(|| format!("cannot make the consensus log in {}", directory.display()))?;
        warn_of_forgotten_use(&identity);
    }
    identity::mark_used(&directory, &claim)?;
    identity.mark_key_used()?;
    let node = Node::start(Arc::new(config), &identity, used_before).await?;
    if let Err(error) = say_ready(&node) {
        // It serves all the same, and whoever started it may have gone.
        tracing::warn!(%error, "Nobody could be told on standard output that the node is ready.");
    }
    let code = tokio::select! {
        end = node.ended() => {
            tracing::error!("{end}");
            ExitCode::FAILURE
        }
        _ = terminate.recv() => stop(&node).await,
        _ = interrupt.recv() => stop(&node).await,
    };
    drop(lock);
    Ok(code)
}

async fn stop(node: &Node) -> ExitCode {
    tracing::info!("The node is shutting down.");
    match node.shutdown(SHUTDOWN_TIMEOUT).await {
        Ok(()) => {
            tracing::info!("The node has stopped in good order.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("The node did not stop in good order: {error}");
            ExitCode::FAILURE
        }
    }
}

fn node_identity(identity: &Identity) -> NodeIdentity {
    NodeIdentity {
        schema_version: SCHEMA_VERSION,
        chain_id: identity.genesis.chain_id().clone(),
        genesis_hash: identity.genesis.hash(),
        node_id: identity.name.clone(),
        public_key: identity.key.public(),
        created_unix: dtvn_actors::shared::wall().seconds(),
        used: false,
    }
}

fn warn_of_development_keys(identity: &Identity) {
    if let KeySource::Development { seed_is_public: true } = identity.source {
        tracing::warn!(
            "This node uses the public development seed: anyone can be anyone. Set DTVN_KEY_SEED, or give --key and \
             --genesis, for anything but a test."
        );
    }
}

/// An emptied data directory looks like a first start where no key file remembers better.
fn warn_of_forgotten_use(identity: &Identity) {
    let is_derived = matches!(identity.source, KeySource::Development { .. });
    if is_derived && identity.may_vote && identity.genesis.validators().len() > 1 {
        tracing::warn!(
            "This node begins with an empty data directory and a derived key, whose use no file remembers. If it ran in \
             this network before, it will sign against itself and be accused: then stop it, and empty the data \
             directories of all nodes."
        );
    }
}

/// The one line on standard output: where the node really listens.
fn say_ready(node: &Node) -> anyhow::Result<()> {
    let ready: Ready = node.ready();
    let line = serde_json::to_string(&ready)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
