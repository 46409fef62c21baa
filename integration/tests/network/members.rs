//! The validator set changes while the network runs, by the commands that an operator types.

use std::path::Path;
use std::process::{Command, Output};

use dtvn::cluster::{NodeCommand, NodeProcess};
use dtvn_client::api::Kind;
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::{KeyPair, TicketState};

use crate::kit::{Network, accepted, id, seed_ticket, until};

const SEED: &str = dtvn_messages::crypto::DEVELOPMENT_SEED;

fn dtvn(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtvn-under-test"));
    command.env_remove("DTVN_NODES").env_remove("DTVN_KEY_SEED").env_remove("DTVN_API_KEY");
    command.arg("validators").args(arguments).output().unwrap()
}

fn says(arguments: &[&str], code: i32) -> String {
    let output = dtvn(arguments);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    text.into_owned()
}

/// A fifth node, whose key no set has, beside the four.
async fn newcomer(network: &Network) -> (NodeProcess, Client) {
    let model = network.cluster.nodes()[0].command();
    let data_dir = model.data_dir.with_file_name("node4");
    let changed = ["--id=", "--data-dir=", "--port=", "--api-port=", "--admin-addr="];
    let kept = model.arguments.iter().filter(|it| !changed.iter().any(|flag| it.starts_with(flag))).cloned();
    let own = [
        "--id=node4".to_owned(),
        "--join".to_owned(),
        format!("--data-dir={}", data_dir.display()),
        "--port=0".to_owned(),
        "--api-port=0".to_owned(),
        "--admin-addr=127.0.0.1:0".to_owned(),
    ];
    let command = NodeCommand {
        name: "node4".to_owned(),
        log: data_dir.with_extension("log"),
        arguments: kept.chain(own).collect(),
        data_dir,
        ..model.clone()
    };
    let node = command.spawn().unwrap().ready().await.unwrap_or_else(|error| panic!("{error}"));
    let mut config = ClientConfig::new(vec![format!("http://{}", node.ready().api)]);
    config.deadline = crate::kit::PATIENCE;
    (node, Client::new(&config).unwrap())
}

/// Three of the four sign a proposed change, each on its own, and it is handed in.
fn sign_and_submit(file: &Path, nodes: &str, signers: [&str; 3]) {
    let path = file.to_str().unwrap();
    says(&["submit", path, nodes], 1);
    for signer in signers {
        assert!(says(&["sign", path, "--development", signer, nodes], 0).contains("signed by"));
    }
    assert!(says(&["submit", path, nodes], 0).contains("the new set decides on everything above"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_comes_and_another_goes_while_tickets_flow() {
    let network = Network::start(&[]).await;
    network.seed().await;
    accepted(&network.client, Kind::Validate, &seed_ticket(1)).await;
    let (mut node, client) = newcomer(&network).await;
    until("the newcomer follows", async || {
        client.ticket(&id(&seed_ticket(1)), None).await.is_ok_and(|it| it.state == TicketState::Validated)
    })
    .await;
    assert!(!client.status().await.unwrap().voting, "nobody has voted it in");

    let urls = format!("--nodes={}", network.cluster.urls().join(","));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("change.json");
    let out = format!("--out={}", file.display());
    let key = KeyPair::development(SEED, "node4").public();
    let add = format!("--add=node4={key}");
    assert!(says(&["propose", &urls, &out], 2).contains("nothing would change"));
    let proposed = says(&["propose", &add, "--remove=node3", &urls, &out], 0);
    assert!(proposed.contains("- node3, power 1, leaves") && proposed.contains("+ node4, power 1"), "{proposed}");
    sign_and_submit(&file, &urls, ["node0", "node1", "node2"]);

    until("the newcomer votes", async || client.status().await.is_ok_and(|status| status.voting)).await;
    until("the removed one does not", async || network.at(3).status().await.is_ok_and(|status| !status.voting)).await;
    let listed = says(&["list", &urls], 0);
    assert!(listed.contains("epoch 1,") && listed.contains("node4") && !listed.contains("node3"), "{listed}");
    // Any validator takes tickets in, the new one too.
    accepted(&client, Kind::Consume, &seed_ticket(1)).await;
    for number in 2..12 {
        accepted(&network.at(number % 3), Kind::Validate, &seed_ticket(number)).await;
    }
    until("who left still follows", async || network.state(3, &seed_ticket(11)).await == TicketState::Validated).await;
    // An old change is stale, however well it is signed.
    assert!(says(&["submit", file.to_str().unwrap(), &urls], 1).contains("which is over"));
    network.assert_equal_histories().await;
    let (theirs, its) = (network.at(0).sequence(None).await.unwrap(), client.sequence(None).await.unwrap());
    assert_eq!((its.height, its.digest), (theirs.height, theirs.digest));
    assert!(node.terminate().await);
    network.stop().await;
}
