//! The validator set changes while the network runs, by the commands that an operator types.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dtvn::cluster::{NodeCommand, NodeProcess};
use dtvn::config::keys::KeyFile;
use dtvn_client::api::{EpochInfo, Epochs, Kind};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::{KeyPair, TicketState};
use tokio::task::JoinHandle;

use crate::kit::{Network, accepted, dtvn, get, id, reason, request, says, seed_ticket, until};

const SEED: &str = dtvn_messages::crypto::DEVELOPMENT_SEED;

/// A node that no set has, beside the four.
struct Newcomer {
    node: NodeProcess,
    command: NodeCommand,
    client: Client,
}

impl Newcomer {
    async fn start(network: &Network, name: &str, flags: &[String]) -> Self {
        let model = network.cluster.nodes()[0].command();
        let data_dir = model.data_dir.with_file_name(format!("{name}-joins"));
        let changed = ["--id=", "--data-dir=", "--port=", "--api-port=", "--admin-addr="];
        let kept = model.arguments.iter().filter(|it| !changed.iter().any(|flag| it.starts_with(flag))).cloned();
        let own = [
            format!("--id={name}"),
            "--join".to_owned(),
            format!("--data-dir={}", data_dir.display()),
            "--port=0".to_owned(),
            "--api-port=0".to_owned(),
            "--admin-addr=127.0.0.1:0".to_owned(),
        ];
        let command = NodeCommand {
            name: name.to_owned(),
            log: data_dir.with_extension("log"),
            arguments: kept.chain(own).chain(flags.iter().cloned()).collect(),
            data_dir,
            ..model.clone()
        };
        Self::run(command).await
    }

    /// The same node once more, which knows the address of one other.
    async fn again(former: &NodeCommand, bootstrap: &str) -> Self {
        let mut command = former.clone();
        command.arguments.retain(|argument| !argument.starts_with("--bootstrap="));
        command.arguments.push(format!("--bootstrap={bootstrap}"));
        Self::run(command).await
    }

    async fn run(command: NodeCommand) -> Self {
        let node = command.spawn().unwrap().ready().await.unwrap_or_else(|error| panic!("{error}"));
        let mut config = ClientConfig::new(vec![format!("http://{}", node.ready().api)]);
        config.deadline = crate::kit::PATIENCE;
        Self { node, command, client: Client::new(&config).unwrap() }
    }

    /// It follows the others, and takes nothing in: nobody has voted it in.
    async fn observes(&self, ticket: &str, state: TicketState) {
        until("the newcomer follows", async || {
            self.client.ticket(&id(ticket), None).await.is_ok_and(|it| it.state == state)
        })
        .await;
        assert!(!self.client.status().await.unwrap().voting);
        let refused = self.client.on_ticket(Kind::Validate, request(&seed_ticket(499))).await;
        assert_eq!(reason(refused), "not_permitted");
    }
}

/// Somebody validates and consumes tickets without a pause; nothing of it may fail.
struct Load {
    stop: Arc<AtomicBool>,
    work: JoinHandle<usize>,
}

impl Load {
    fn start(client: &Client, from: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, until) = (client.clone(), Arc::clone(&stop));
        let work = tokio::spawn(async move {
            let mut number = from;
            while !until.load(Ordering::Relaxed) && number < 490 {
                accepted(&client, Kind::Validate, &seed_ticket(number)).await;
                accepted(&client, Kind::Consume, &seed_ticket(number)).await;
                number += 1;
            }
            number - from
        });
        Self { stop, work }
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.work.await.unwrap()
    }
}

/// Three of the four sign a proposed change, each on its own, the last on a machine that reaches no node; and it is handed
/// in. On its way somebody forges the signature of the last.
fn sign_and_submit(file: &Path, nodes: &str, signers: [&str; 3]) {
    let path = file.to_str().unwrap();
    says(&["validators", "submit", path, nodes], 1);
    let epochs = file.with_file_name("epochs.json");
    let told = dtvn(&["--json", "validators", "epochs", nodes]);
    std::fs::write(&epochs, told.stdout).unwrap();
    let epochs = epochs.to_str().unwrap();
    for (signer, power) in signers.into_iter().zip(1..) {
        let (with, forged) =
            if power < 3 { (nodes.to_owned(), None) } else { (format!("--epochs={epochs}"), Some(signers)) };
        if let Some([first, _, last]) = forged {
            let mut change: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            change["signatures"][last] = change["signatures"][first].clone();
            std::fs::write(file, change.to_string()).unwrap();
            let submitted = says(&["validators", "submit", path, nodes], 1);
            assert!(submitted.contains(&format!("WARNING: the signature of {last} in")), "{submitted}");
        }
        let signed = says(&["validators", "sign", path, "--development", signer, &with], 0);
        assert_eq!(signed.contains("WARNING"), forged.is_some(), "{signed}");
        assert!(signed.contains(&format!("signed by {signer}: power {power} of 3")), "{signed}");
    }
    assert!(says(&["validators", "submit", path, nodes], 0).contains("the new set decides on everything above"));
    // Whoever hands it in once more, under another key, is told that it is done: before the epoch ends, and after.
    let again = says(&["validators", "submit", path, nodes], 1);
    assert!(again.contains("nothing is left to do"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_comes_and_another_goes_while_tickets_flow() {
    let network = Network::start(&[]).await;
    network.seed().await;
    let first = accepted(&network.client, Kind::Validate, &seed_ticket(1)).await;
    let newcomer = Newcomer::start(&network, "node4", &[]).await;
    newcomer.observes(&seed_ticket(1), TicketState::Validated).await;
    let Newcomer { mut node, client, .. } = newcomer;
    let load = Load::start(&network.at(0), 100);

    let urls = format!("--nodes={}", network.cluster.urls().join(","));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("change.json");
    let out = format!("--out={}", file.display());
    let key = KeyPair::development(SEED, "node4").public();
    let add = format!("--add=node4={key}");
    assert!(says(&["validators", "propose", &urls, &out], 2).contains("nothing would change"));
    let proposed = says(&["validators", "propose", &add, "--remove=node3", &urls, &out], 0);
    assert!(proposed.contains("- node3, power 1, leaves") && proposed.contains("+ node4, power 1"), "{proposed}");
    let mut foreign: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    foreign["chain_id"] = "elsewhere".into();
    let elsewhere = folder.path().join("elsewhere.json");
    std::fs::write(&elsewhere, foreign.to_string()).unwrap();
    let signed = says(&["validators", "sign", elsewhere.to_str().unwrap(), "--development=node0", &urls], 2);
    assert!(signed.contains("the change is of elsewhere"), "{signed}");
    sign_and_submit(&file, &urls, ["node0", "node1", "node2"]);

    until("the newcomer votes", async || client.status().await.is_ok_and(|status| status.voting)).await;
    until("the removed one does not", async || network.at(3).status().await.is_ok_and(|status| !status.voting)).await;
    let listed = says(&["validators", "list", &urls], 0);
    assert!(listed.contains("epoch 1,") && listed.contains("node4") && !listed.contains("node3"), "{listed}");
    // Any validator takes tickets in, the new one too.
    accepted(&client, Kind::Consume, &seed_ticket(1)).await;
    for number in 2..12 {
        accepted(&network.at(number % 3), Kind::Validate, &seed_ticket(number)).await;
    }
    until("who left still follows", async || network.state(3, &seed_ticket(11)).await == TicketState::Validated).await;
    assert!(load.end().await > 0);
    judge_receipts(&client, &format!("http://{}", node.ready().api)).await;
    // A newcomer may have begun with a snapshot, without the blocks below it.
    let block = network.at(0).block(first.height).await.unwrap();
    let signers = block.certificate.map_or_else(Vec::new, |certificate| certificate.signers);
    assert!(signers.iter().all(|name| name.as_str() != "node4"), "not a validator of that time: {signers:?}");
    // An old change is stale, however well it is signed.
    let old = says(&["validators", "submit", file.to_str().unwrap(), &urls], 1);
    assert!(old.contains("which is over") && old.contains("nothing is left to do"), "{old}");
    network.assert_equal_histories().await;
    let (theirs, its) = (network.at(0).sequence(None).await.unwrap(), client.sequence(None).await.unwrap());
    assert_eq!((its.height, its.digest), (theirs.height, theirs.digest));
    assert!(node.terminate().await);
    network.stop().await;
}

/// A receipt of the second epoch is good for whoever follows the epochs from the genesis, and for nobody else.
async fn judge_receipts(newcomer: &Client, url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let keep = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let epochs = newcomer.epochs().await.unwrap();
    let names = |info: &EpochInfo| info.validators.iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
    let sets: Vec<_> = epochs.epochs.iter().map(names).collect();
    assert_eq!(sets, [["node0", "node1", "node2", "node3"], ["node0", "node1", "node2", "node4"]]);
    let beyond: Epochs = serde_json::from_str(&get(url, &format!("/api/v1/epochs?after={}", u64::MAX))).unwrap();
    assert_eq!((beyond.epochs, beyond.next), (Vec::new(), None), "after the last there is none");
    let mut without_proof = epochs.clone();
    without_proof.epochs[0].end = None;
    let without_proof = keep("without-proof", &serde_json::to_string(&without_proof).unwrap());
    let printed = dtvn(&["--json", "validators", "epochs", "--nodes", url]);
    let epochs = keep("epochs", std::str::from_utf8(&printed.stdout).unwrap());
    accepted(newcomer, Kind::Validate, &seed_ticket(40)).await;
    let receipt = keep("receipt", &get(url, &format!("/api/v1/tickets/{}/proof", seed_ticket(40))));
    let verify = ["verify", "receipt", &receipt, "--development=4"];
    assert!(says(&[&verify[..], &["--epochs", &epochs]].concat(), 0).contains("VALID: validate of ticket"));
    assert!(says(&verify, 1).contains("give --epochs FILE"));
    assert!(says(&[&verify[..], &["--epochs", &without_proof]].concat(), 1).contains("epoch 1, whose validators"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_goes_on_with_another_key_while_tickets_flow() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    let urls = format!("--nodes={}", network.cluster.urls().join(","));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    says(&["keys", "generate", "--out", &path("new.key")], 0);
    let key = KeyFile::load(&folder.path().join("new.key")).unwrap().pair.public();
    let load = Load::start(&network.at(1), 100);
    let genesis = network.client.genesis().await.unwrap();
    std::fs::write(path("genesis.json"), serde_json::to_string(&genesis).unwrap()).unwrap();
    let files = [format!("--key={}", path("new.key")), format!("--genesis={}", path("genesis.json"))];
    let newcomer = Newcomer::start(&network, "node3", &files).await;
    newcomer.observes(&seed_ticket(1), TicketState::Issued).await;
    let Newcomer { mut node, client, .. } = newcomer;
    let (rekey, out) = (format!("--rekey=node3={key}"), format!("--out={}", path("change.json")));
    assert!(says(&["validators", "propose", &rekey, &urls, &out], 0).contains("node3 goes on with the key"));
    sign_and_submit(&folder.path().join("change.json"), &urls, ["node0", "node1", "node2"]);
    until("the new key votes", async || client.status().await.is_ok_and(|status| status.voting)).await;
    until("the old key does not", async || network.at(3).status().await.is_ok_and(|status| !status.voting)).await;
    accepted(&client, Kind::Validate, &seed_ticket(1)).await;
    // With one of the others away the new key is needed.
    network.cluster.kill(0).await;
    accepted(&client, Kind::Consume, &seed_ticket(1)).await;
    assert!(load.end().await > 0);
    assert!(node.terminate().await);
    drop(network);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_through_a_change_follows_into_the_new_epoch_and_votes() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    network.cluster.kill(2).await;
    let urls = format!("--nodes={}", [0, 1, 3].map(|node| network.cluster.urls()[node].clone()).join(","));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("change.json");
    let out = format!("--out={}", file.display());
    assert!(says(&["validators", "propose", "--power=node0=2", &urls, &out], 0).contains("power"));
    sign_and_submit(&file, &urls, ["node0", "node1", "node3"]);
    until("the next epoch has begun", async || network.at(0).validators().await.is_ok_and(|set| set.epoch == 1)).await;
    accepted(&network.at(0), Kind::Validate, &seed_ticket(1)).await;
    network.cluster.restart(2).await.unwrap();
    until("it is in the epoch", async || network.at(2).validators().await.is_ok_and(|set| set.epoch == 1)).await;
    until("it votes", async || network.at(2).status().await.is_ok_and(|status| status.voting)).await;
    accepted(&network.at(2), Kind::Consume, &seed_ticket(1)).await;
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_until_all_validators_had_other_keys_finds_them() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    let sleeper = Newcomer::start(&network, "gate", &[]).await;
    sleeper.observes(&seed_ticket(1), TicketState::Issued).await;
    let (mut asleep, command) = (sleeper.node, sleeper.command);
    assert!(asleep.terminate().await);

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let genesis = network.client.genesis().await.unwrap();
    std::fs::write(path("genesis.json"), serde_json::to_string(&genesis).unwrap()).unwrap();
    let (urls, out) =
        (format!("--nodes={}", network.cluster.urls().join(",")), format!("--out={}", path("change.json")));
    let (mut newcomers, mut propose) =
        (Vec::new(), vec!["validators".to_owned(), "propose".to_owned(), urls.clone(), out]);
    for name in ["node0", "node1", "node2", "node3"] {
        let file = path(&format!("{name}.key"));
        says(&["keys", "generate", "--out", &file], 0);
        propose.push(format!("--rekey={name}={}", KeyFile::load(Path::new(&file)).unwrap().pair.public()));
        let files = [format!("--key={file}"), format!("--genesis={}", path("genesis.json"))];
        newcomers.push(Newcomer::start(&network, name, &files).await);
    }
    says(&propose.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    sign_and_submit(&folder.path().join("change.json"), &urls, ["node0", "node1", "node2"]);
    for newcomer in &newcomers {
        until("the new key votes", async || newcomer.client.status().await.is_ok_and(|status| status.voting)).await;
    }
    for node in 0..4 {
        network.cluster.kill(node).await;
    }
    accepted(&newcomers[1].client, Kind::Validate, &seed_ticket(1)).await;

    let awake = Newcomer::again(&command, &newcomers[0].node.ready().p2p[0]).await;
    awake.observes(&seed_ticket(1), TicketState::Validated).await;
    for newcomer in newcomers.iter_mut().chain([&mut { awake }]) {
        assert!(newcomer.node.terminate().await);
    }
}
