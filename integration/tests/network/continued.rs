//! `dtvn genesis --from-checkpoint`: three of four disks are lost, and the tickets live on.

use std::path::Path;

use dtvn::cluster::NodeProcess;
use dtvn_client::api::{Kind, SeedRequest};
use dtvn_messages::{Genesis, Height, TicketState};

use crate::kit::{accepted, answer, id, reason, request, says, seed_ticket, until, with_key};
use crate::nodes::{Nodes, files};

const SCAN: &str = "the scan at gate 7, once";

/// The command that makes the next chain from what node 3 has.
fn from_checkpoint(folder: &Path, chain_id: &str) -> Vec<String> {
    let mut command = vec!["genesis".to_owned(), "--from-checkpoint".to_owned(), format!("--chain-id={chain_id}")];
    command.extend(Nodes::flags(folder, "arena", 3));
    command.push(format!("--out={}", Nodes::path(folder, "arena-2.json")));
    command.push(format!("--state-out={}", Nodes::path(folder, "state")));
    command
}

fn run(command: &[String], code: i32) -> String {
    says(&command.iter().map(String::as_str).collect::<Vec<_>>(), code)
}

/// The receipt that a node gives out for a ticket.
fn receipt(node: &NodeProcess, ticket: usize) -> Result<String, String> {
    let url = format!("http://{}", node.ready().api);
    let (head, body) = answer(&url, &format!("/api/v1/tickets/{}/proof", seed_ticket(ticket)));
    if head.starts_with("HTTP/1.1 200") { Ok(body) } else { Err(body) }
}

fn verify(folder: &Path, receipt: &str, genesis: &str, code: i32) -> String {
    let genesis = format!("--genesis={}", Nodes::path(folder, genesis));
    says(&["verify", "receipt", &Nodes::path(folder, receipt), &genesis], code)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The chain `arena` with some scans; then the disks of three nodes are lost. Gives the height that node 3 got to, and that
/// at which the scan with a key of its own was decided.
async fn lose_three_disks(folder: &Path) -> (Height, Height) {
    let mut nodes = Nodes::all(folder, "arena", &[]).await;
    let client = nodes.client(0);
    client.seed(SeedRequest::default()).await.unwrap();
    for number in 1..11 {
        accepted(&client, Kind::Validate, &seed_ticket(number)).await;
    }
    let last = nodes.client(3);
    let scanned = client.on_ticket(Kind::Consume, with_key(&seed_ticket(1), SCAN)).await.unwrap().height;
    until("node 3 has it", async || {
        last.ticket(&id(&seed_ticket(1)), None).await.unwrap().state == TicketState::Consumed
    })
    .await;
    let height = last.sequence(None).await.unwrap().height;
    std::fs::write(folder.join("receipt"), receipt(&nodes.running[0], 1).unwrap()).unwrap();
    let in_use = run(&from_checkpoint(folder, "arena-2"), 1);
    assert!(in_use.contains("is in use by process"), "{in_use}");
    assert!(nodes.running.pop().unwrap().terminate().await);
    for (number, mut node) in nodes.running.into_iter().enumerate() {
        node.kill().await;
        std::fs::remove_dir_all(Nodes::data_dir(folder, "arena", number)).unwrap();
    }
    (height, scanned)
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_outlive_the_loss_of_a_quorum_of_disks() {
    let _one = crate::kit::one().await;
    let folder = files();
    let folder = folder.path();
    let (height, scanned) = lose_three_disks(folder).await;

    assert!(run(&from_checkpoint(folder, "arena"), 1).contains("needs another chain_id"));
    let made = run(&from_checkpoint(folder, "arena-2"), 0);
    assert!(made.contains(&format!("after   arena, above height {height}")), "{made}");
    assert!(run(&from_checkpoint(folder, "arena-2"), 1).contains("nothing is overwritten"));
    let text = std::fs::read_to_string(folder.join("arena-2.json")).unwrap();
    let genesis = Genesis::from_json(&text).unwrap();
    assert_eq!((genesis.base(), genesis.validators().len()), (height, 4));

    // Without the state, or with another file, a node says what it lacks, and leaves nothing behind.
    let nodes = Nodes { folder: folder.to_owned(), chain: "arena-2", running: Vec::new() };
    let wrong = format!("--initial-state={}", Nodes::path(folder, "arena.json"));
    for (flags, expected) in [(vec![], "node.initial_state"), (vec![wrong], "does not begin with dtvn/initial-state/1")]
    {
        let refused = nodes.command(0, &flags).spawn().unwrap().ready().await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(!folder.join("arena-2-node0/node.json").exists());
    let state = vec![format!("--initial-state={}", Nodes::path(folder, "state"))];
    let mut nodes = Nodes::all(folder, "arena-2", &state).await;
    let client = nodes.client(1);
    assert_eq!(client.sequence(Some(height)).await.unwrap().digest, genesis.hash());

    // Nothing that happened is forgotten, and nothing happens twice.
    let again = client.on_ticket(Kind::Consume, with_key(&seed_ticket(1), SCAN)).await.unwrap();
    assert_eq!(again.height, scanned, "the outcome of the former chain");
    let second = client.on_ticket(Kind::Consume, request(&seed_ticket(1))).await;
    assert_eq!(reason(second), "already_consumed");
    let consumed = accepted(&client, Kind::Consume, &seed_ticket(2)).await;
    assert!(consumed.height > height);
    let history = client.history(&id(&seed_ticket(2)), None, None).await.unwrap();
    assert_eq!(
        history.complete_from,
        genesis.base_log().0,
        "what the former chain holds is not passed over in silence"
    );
    accepted(&client, Kind::Validate, &seed_ticket(20)).await;

    // What the former chain proved holds with its genesis, and what the new one proves with the new one's.
    assert!(verify(folder, "receipt", "arena.json", 0).starts_with("VALID: consume of ticket TICKET-001"));
    assert!(verify(folder, "receipt", "arena-2.json", 1).starts_with("NOT VALID"));
    std::fs::write(folder.join("receipt-2"), receipt(&nodes.running[1], 2).unwrap()).unwrap();
    assert!(verify(folder, "receipt-2", "arena-2.json", 0).starts_with("VALID: consume of ticket TICKET-002"));
    assert!(verify(folder, "receipt-2", "arena.json", 1).starts_with("NOT VALID"));
    let gone = receipt(&nodes.running[1], 5).unwrap_err();
    assert!(gone.contains("not_found") && gone.contains("ask a node of the chain arena"), "{gone}");

    // A node that starts again needs no file; one whose disk is lost as well begins with it and follows, as its key was used.
    nodes.running.pop().unwrap().kill().await;
    nodes.start(3, &[]).await;
    nodes.until_votes(3).await;
    nodes.running.pop().unwrap().kill().await;
    std::fs::remove_dir_all(folder.join("arena-2-node3")).unwrap();
    nodes.start(3, &state).await;
    assert!(!nodes.client(3).status().await.unwrap().voting, "it may have signed what it does not remember");
    accepted(&client, Kind::Consume, &seed_ticket(3)).await;
    until("it follows, and votes once its recovery has opened an epoch", async || {
        let last = nodes.client(3);
        let ticket = last.ticket(&id(&seed_ticket(3)), None).await;
        ticket.is_ok_and(|it| it.state == TicketState::Consumed) && last.status().await.is_ok_and(|it| it.voting)
    })
    .await;
    for mut node in nodes.running {
        assert!(node.terminate().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lags_behind_its_log_is_brought_up_to_it() {
    let _one = crate::kit::one().await;
    let folder = files();
    let folder = folder.path();
    let data_dir = Nodes::data_dir(folder, "arena", 3);
    let mut nodes = Nodes::all(folder, "arena", &[]).await;
    nodes.client(0).seed(SeedRequest::default()).await.unwrap();
    assert!(nodes.running.pop().unwrap().terminate().await);
    copy(&data_dir.join("db"), &folder.join("db"));
    nodes.start(3, &[]).await;
    nodes.until_votes(3).await;
    accepted(&nodes.client(0), Kind::Validate, &seed_ticket(1)).await;
    let last = nodes.client(3);
    until("node 3 has it", async || {
        last.ticket(&id(&seed_ticket(1)), None).await.unwrap().state == TicketState::Validated
    })
    .await;
    for mut node in nodes.running.drain(..) {
        node.kill().await;
    }
    // The last blocks are in the log, and not in the database.
    std::fs::remove_dir_all(data_dir.join("db")).unwrap();
    copy(&folder.join("db"), &data_dir.join("db"));
    let made = run(&from_checkpoint(folder, "arena-2"), 0);
    assert!(made.contains("with 2 outcomes in the log") && !made.contains("WARNING"), "{made}");
    // The log is damaged: what was in it alone is gone, and the command says so.
    for name in ["arena-2.json", "state"] {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    let segment = data_dir.join("log/0000000000000001.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let made = run(&from_checkpoint(folder, "arena-2"), 0);
    assert!(made.contains("WARNING: segment 1 is damaged") && made.contains("with 1 outcome"), "{made}");
}
