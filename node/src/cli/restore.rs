//! `dtvn restore --accept-amnesia`: the operator's word that a node may vote again although its log is lost (consensus.md
//! section 4). The others recover a validator that lost its log by themselves, as long as there are enough of them; this is
//! for the day when there are not: more lost logs than the network tolerates faults, or three validators and fewer.

use anyhow::Context as _;
use clap::Args;
use dtvn_actors::storage::lock::DirectoryLock;
use dtvn_actors::storage::store::StoreIdentity;
use dtvn_actors::storage::{amnesia, stopped};
use dtvn_client::{Client, ClientConfig, ClientError};
use dtvn_messages::{Genesis, Height, PublicKey, ValidatorSet};
use dtvn_replication::execution::Stored;
use serde::Serialize;

use super::exit::Exit;
use super::output::Output;
use super::setting_flags::SettingFlags;
use crate::config::Identity;

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// Vote again without the lost log. What this node signed and forgot is not undone: give this word only when no other
    /// node holds blocks that this one lacks, and no other process has its key
    #[arg(long, required = true)]
    accept_amnesia: bool,
    /// URLs of all other nodes that are left, commas between: each must answer, and none may be ahead
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    peers: Vec<String>,
    /// The key that they ask for
    #[arg(long, env = "DTVN_PEERS_API_KEY", value_name = "KEY", hide_env_values = true)]
    peers_api_key: Option<String>,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Debug, Serialize)]
struct Restored {
    /// What was lost.
    why: String,
    /// How far this node is.
    height: Height,
    /// How far the others are.
    peers: Vec<PeerHeight>,
}

#[derive(Debug, Serialize)]
struct PeerHeight {
    url: String,
    height: Height,
}

pub(super) async fn run(arguments: RestoreArguments, output: Output) -> anyhow::Result<Exit> {
    let config = arguments.settings.load()?.config;
    let identity = Identity::load(&config)?;
    let directory = config.node.data_dir;
    if !directory.is_dir() {
        return Err(ClientError::Usage(format!("{} is no data directory", directory.display())).into());
    }
    let _lock = DirectoryLock::acquire(&directory)?;
    let owner = StoreIdentity::new(&identity.genesis, identity.name.clone(), identity.key.public());
    let shown = directory.display();
    let Some(amnesia) = amnesia::marked(&directory).with_context(|| format!("cannot read {shown}"))? else {
        output.note(format!("{shown} is not marked: nothing is known to be lost, so there is nothing to accept"));
        return Ok(Exit::Refused);
    };
    let stored = stopped::stored(&directory, &identity.genesis, owner)?;
    if arguments.peers.is_empty() && has_others(&identity.genesis, &identity.key.public(), stored.as_ref()) {
        let why = "this is not the only validator: give --peers, with the URLs of all others that are left";
        return Err(ClientError::Usage(why.to_owned()).into());
    }
    let height = stored.map_or(Height(0), |stored| stored.image.height);
    let mut peers = Vec::new();
    for url in &arguments.peers {
        let key = arguments.peers_api_key.clone().filter(|key| !key.is_empty());
        let client = Client::new(&ClientConfig { api_key: key, ..ClientConfig::new(vec![url.clone()]) })?;
        let status = client.status().await?;
        if status.genesis_hash != identity.genesis.hash() {
            let why = format!("{url} is a node of another chain ({}): give the URLs of this one's", status.chain_id);
            return Err(ClientError::Usage(why).into());
        }
        peers.push(PeerHeight { url: url.clone(), height: client.sequence(None).await?.height });
    }
    if let Some(ahead) = peers.iter().find(|peer| peer.height > height) {
        output.note(format!(
            "refused: {} is at height {}, this node at {height}. Start this node and let it catch up; it needs no vote for that",
            ahead.url, ahead.height
        ));
        return Ok(Exit::Refused);
    }
    amnesia::lift(&directory, None).with_context(|| format!("cannot change {shown}"))?;
    output.result(&Restored { why: amnesia.why, height, peers }, |restored| {
        format!("the mark is lifted: at its next start {} votes, above height {}", identity.name, restored.height)
    });
    Ok(Exit::Good)
}

/// Whether there are validators beside the one with this key, or such that were agreed on for the next epoch: a chain that
/// began with one may have more of them since. Without a database the genesis is all that is known.
fn has_others(genesis: &Genesis, key: &PublicKey, stored: Option<&Stored>) -> bool {
    let present = stored.map_or_else(|| genesis.validators(), |stored| stored.validators(genesis));
    let agreed = stored.and_then(|stored| stored.agreed(genesis));
    let has_other = |set: &ValidatorSet| set.iter().any(|(_, validator)| validator.public_key != *key);
    has_other(present) || agreed.is_some_and(has_other)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use dtvn_messages::crypto::DEVELOPMENT_SEED;
    use dtvn_messages::membership::PendingEnd;
    use dtvn_messages::{KeyPair, Membership};

    use super::*;

    #[test]
    fn whoever_began_alone_has_others_once_the_validators_agreed_on_them() {
        let genesis = |count| Genesis::development(count, DEVELOPMENT_SEED, false).unwrap();
        let (alone, two) = (genesis(1), genesis(2));
        let key = KeyPair::development(DEVELOPMENT_SEED, "node0").public();
        assert!(!has_others(&alone, &key, None) && has_others(&two, &key, None));
        let mut stored = Stored::genesis(&alone);
        assert!(!has_others(&alone, &key, Some(&stored)));
        let set = Some(Arc::new(two.validators().clone()));
        let pending = Some(PendingEnd { ends: Height(4), set, recovering: BTreeMap::new() });
        stored.image.membership = Some(Arc::new(Membership { pending, ..Membership::first(&alone) }));
        assert!(has_others(&alone, &key, Some(&stored)));
    }
}
