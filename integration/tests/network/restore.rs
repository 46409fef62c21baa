//! `dtvn restore --accept-amnesia`: the operator's word, when nobody else can recover a validator.

use dtvn::cluster::{Cluster, ClusterConfig};
use dtvn_client::api::Kind;
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::KeyPair;
use dtvn_messages::crypto::DEVELOPMENT_SEED;

use crate::kit::{Network, accepted, dtvn, one, says, seed_ticket, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_only_validator_votes_again_by_its_operators_word() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig::new(env!("CARGO_BIN_EXE_dtvn-under-test").into(), 1, directory.path().to_path_buf());
    let mut cluster = Cluster::start(&config).await.unwrap();
    let client = Client::new(&ClientConfig::new(cluster.urls())).unwrap();
    until("it votes", async || client.status().await.is_ok_and(|status| status.voting)).await;
    client.seed(dtvn_client::api::SeedRequest::default()).await.unwrap();
    accepted(&client, Kind::Validate, &seed_ticket(1)).await;
    let data_dir = cluster.nodes()[0].command().data_dir.clone();
    let flags = ["--id=node0".to_owned(), "--total-nodes=1".to_owned(), format!("--data-dir={}", data_dir.display())];
    let restore: Vec<&str> =
        ["restore", "--accept-amnesia"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    assert!(says(&restore, 1).contains("is in use by process"));
    assert!(cluster.terminate(0).await);
    assert!(says(&restore, 1).contains("nothing is known to be lost"));
    std::fs::remove_dir_all(data_dir.join("log")).unwrap();
    cluster.restart(0).await.unwrap();
    until("it is at its height", async || client.sequence(None).await.is_ok()).await;
    assert!(!client.status().await.unwrap().voting, "there is nobody who could recover it");
    assert!(cluster.terminate(0).await);
    assert_eq!(dtvn(&["restore"]).status.code(), Some(2), "the word must be given");
    assert!(says(&restore, 0).contains("at its next start node0 votes"));
    cluster.restart(0).await.unwrap();
    until("it votes again", async || client.status().await.is_ok_and(|status| status.voting)).await;
    accepted(&client, Kind::Consume, &seed_ticket(1)).await;
    assert!(cluster.stop().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_began_alone_and_is_not_alone_any_more_must_name_the_others() {
    let _one = one().await;
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig::new(env!("CARGO_BIN_EXE_dtvn-under-test").into(), 1, directory.path().to_path_buf());
    let mut cluster = Cluster::start(&config).await.unwrap();
    let client = Client::new(&ClientConfig::new(cluster.urls())).unwrap();
    until("it votes", async || client.status().await.is_ok_and(|status| status.voting)).await;
    let nodes = format!("--nodes={}", cluster.urls()[0]);
    let file = directory.path().join("change.json").display().to_string();
    let key = KeyPair::development(DEVELOPMENT_SEED, "node1").public();
    says(&["validators", "propose", &format!("--add=node1={key}"), &format!("--out={file}"), &nodes], 0);
    says(&["validators", "sign", &file, "--development=node0", &nodes], 0);
    says(&["validators", "submit", &file, &nodes], 0);
    until("there are two", async || client.validators().await.is_ok_and(|set| set.epoch == 1)).await;
    assert!(cluster.terminate(0).await);
    let data_dir = cluster.nodes()[0].command().data_dir.clone();
    std::fs::remove_dir_all(data_dir.join("log")).unwrap();
    cluster.restart(0).await.unwrap();
    until("it knows what it lost", async || data_dir.join("AMNESIA").exists()).await;
    cluster.kill(0).await;
    let data_dir = format!("--data-dir={}", data_dir.display());
    let restore = ["restore", "--accept-amnesia", "--id=node0", "--total-nodes=1", &data_dir];
    let refused = says(&restore, 2);
    assert!(refused.contains("give --peers"), "its genesis has one validator, its chain has two: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_is_refused_while_a_peer_shows_more() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    let command = network.cluster.nodes()[3].command().clone();
    let peers = format!("--peers={}", network.cluster.urls()[..3].join(","));
    let mut restore = vec!["restore", "--accept-amnesia"];
    let kept = ["--id=", "--total-nodes=", "--data-dir="];
    restore
        .extend(command.arguments.iter().map(String::as_str).filter(|it| kept.iter().any(|flag| it.starts_with(flag))));
    network.cluster.kill(3).await;
    std::fs::remove_dir_all(command.data_dir.join("log")).unwrap();
    // It marks itself when it starts; then it is gone before the others have recovered it.
    network.cluster.kill(2).await;
    network.cluster.restart(3).await.unwrap();
    network.cluster.kill(3).await;
    network.cluster.restart(2).await.unwrap();
    accepted(&network.at(0), Kind::Validate, &seed_ticket(1)).await;
    assert!(says(&restore, 2).contains("give --peers"));
    restore.push(&peers);
    let refused = says(&restore, 1);
    assert!(refused.contains("let it catch up"), "{refused}");
    assert!(command.data_dir.join("AMNESIA").exists());
    // The others recover it without anybody's word.
    network.cluster.restart(3).await.unwrap();
    until("it votes again", async || network.at(3).status().await.is_ok_and(|status| status.voting)).await;
    assert!(!command.data_dir.join("AMNESIA").exists());
    network.stop().await;
}
