//! Bad input to a real process: each a clear last line and an exit code, no panic, and nothing on disk is harmed.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dtvn::cluster::{ClusterError, NodeCommand, NodeProcess};
use dtvn_client::api::{Kind, SeedRequest};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::TicketState;
use tempfile::TempDir;

use crate::kit::{PATIENCE, accepted, id, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dtvn-under-test");

/// A network of one node, in a directory.
fn single(directory: &Path, flags: &[&str]) -> NodeCommand {
    let mut arguments: Vec<String> = ["validator", "--id=node0", "--total-nodes=1", "--port=0", "--api-port=0"]
        .into_iter()
        .chain(["--admin-addr=127.0.0.1:0", "--die-with-parent"])
        .map(str::to_owned)
        .collect();
    let data_dir = directory.join("node0");
    arguments.push(format!("--data-dir={}", data_dir.display()));
    // A flag that is given again wins.
    for flag in flags {
        let name = flag.split('=').next().unwrap();
        arguments.retain(|known| known.split('=').next() != Some(name));
        arguments.push((*flag).to_owned());
    }
    NodeCommand {
        name: "node0".to_owned(),
        program: PROGRAM.into(),
        arguments,
        variables: Vec::new(),
        data_dir,
        log: directory.join("node0.log"),
        detached: false,
    }
}

async fn start(directory: &Path, flags: &[&str]) -> NodeProcess {
    single(directory, flags).spawn().unwrap().ready().await.unwrap_or_else(|error| panic!("{error}"))
}

/// Starts a node that must not start: the last line of its log, and its exit.
async fn refused(directory: &Path, flags: &[&str]) -> (String, String) {
    match single(directory, flags).spawn().unwrap().ready().await {
        Err(ClusterError::Ended { status, .. }) => {
            let log = fs::read_to_string(directory.join("node0.log")).unwrap();
            assert!(!log.contains("panicked"), "{flags:?}: {log}");
            (log.trim_end().lines().last().unwrap_or_default().to_owned(), status)
        }
        other => panic!("{flags:?}: {other:?}"),
    }
}

/// That a node does not start, and that its last line says all of this.
async fn assert_refused(directory: &Path, flags: &[&str], says: &[&str]) {
    let (line, status) = refused(directory, flags).await;
    for part in says {
        assert!(line.contains(part), "{flags:?} should say {part:?}: {line}");
    }
    assert!(status.contains('1') || status.contains('2'), "{flags:?}: {status}");
}

fn client(node: &NodeProcess) -> Client {
    let mut config = ClientConfig::new(vec![format!("http://{}", node.ready().api)]);
    config.deadline = PATIENCE;
    Client::new(&config).unwrap()
}

/// A directory in which a node has worked and has ended in good order.
async fn used() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut node = start(directory.path(), &[]).await;
    client(&node).seed(SeedRequest::default()).await.unwrap();
    accepted(&client(&node), Kind::Validate, "TICKET-001").await;
    assert!(node.terminate().await);
    directory
}

/// That the directory still holds what [`used`] put there.
async fn assert_unharmed(directory: &Path) {
    let mut node = start(directory, &[]).await;
    let ticket = client(&node).ticket(&id("TICKET-001"), None).await.unwrap();
    assert_eq!(ticket.state, TicketState::Validated);
    accepted(&client(&node), Kind::Consume, "TICKET-001").await;
    assert!(node.terminate().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let path = directory.path();
    assert_refused(path, &[&format!("--api-port={port}")], &["edge/http", "cannot listen", &address]).await;
    assert_refused(path, &[&format!("--admin-addr={address}")], &["edge/admin", "cannot listen", &address]).await;
    let hint = "is another node running?";
    let says = ["links/network", "cannot listen", &format!("/ip4/127.0.0.1/tcp/{port}"), hint];
    assert_refused(path, &[&format!("--port={port}")], &says).await;
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let says = ["links/network", "cannot listen", &format!("/ip4/127.0.0.1/udp/{port}"), hint];
    assert_refused(path, &[&format!("--port={port}")], &says).await;
    // The directory was claimed by the first try, and is good all the same.
    let mut node = start(path, &[]).await;
    assert!(node.terminate().await);
}

/// The first start of a node fails, for whatever reason: it has signed nothing, so at the next one it has forgotten nothing.
/// Were it otherwise, a fault in the genesis file would take the memory of all validators at once, and the chain with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_fails_is_no_loss_of_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let testnet = path.join("testnet");
    let made = Command::new(PROGRAM).args(["testnet", "-n", "1", "--out"]).arg(&testnet).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let file = testnet.join("genesis.json");
    let (genesis, key) = (format!("--genesis={}", file.display()), format!("--key={}", find_key(&testnet).display()));
    let flags = [genesis.as_str(), key.as_str()];
    let new_key = fs::read(find_key(&testnet)).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    assert!(good.contains("/ip4/127.0.0.1/"), "{good}");
    for bad in ["nonsense", "/dns/no host/"] {
        fs::write(&file, good.replace("/ip4/127.0.0.1/", bad)).unwrap();
        assert_refused(path, &flags, &["genesis.json", "an address of node0", bad]).await;
    }
    fs::write(&file, &good).unwrap();
    let votes = async |flags: &[&str]| {
        let mut node = start(path, flags).await;
        until("it votes", async || client(&node).status().await.is_ok_and(|status| status.voting)).await;
        assert!(node.terminate().await);
    };
    votes(&flags).await;
    // Cut off between the claim of its directory and its log: neither log nor database.
    let data_dir = path.join("node0");
    let claim = data_dir.join("node.json");
    let unused = fs::read_to_string(&claim).unwrap().replace("\"used\": true", "\"used\": false");
    for name in ["log", "db"] {
        fs::remove_dir_all(data_dir.join(name)).unwrap();
    }
    fs::write(&claim, unused).unwrap();
    fs::write(find_key(&testnet), &new_key).unwrap();
    votes(&flags).await;
    // From then on a log that is missing is a loss.
    fs::remove_dir_all(data_dir.join("log")).unwrap();
    let mut node = start(path, &flags).await;
    until("it answers", async || client(&node).status().await.is_ok()).await;
    assert!(!client(&node).status().await.unwrap().voting);
    assert!(node.terminate().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_make_no_sense_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (flag, says) in [
        ("--total-nodes=0", ["node.total_nodes", "at least 1"]),
        ("--total-nodes=many", ["--total-nodes", "many"]),
        ("--id=NODE", ["--id", "may not contain"]),
        ("--id=node7", ["node7", "none of the validators"]),
        ("--bootstrap=nonsense", ["p2p.bootstrap", "nonsense"]),
        ("--config=/nowhere.toml", ["/nowhere.toml", "cannot be read"]),
        ("--genesis=/nowhere.json", ["genesis file /nowhere.json", "No such file"]),
        ("--api-port=65536", ["--api-port", "65536"]),
        ("--admin-addr=here", ["admin", "here"]),
    ] {
        assert_refused(path, &[flag], &says).await;
    }
    assert!(!path.join("node0").exists(), "a node that does not start makes no data directory");
    let open = refused(path, &["--api-addr=0.0.0.0"]).await.0;
    assert!(open.contains("--insecure-dev-keys") || open.contains("--allow-open-api"), "{open}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_somebody_else_is_left_alone() {
    let directory = used().await;
    let path = directory.path();
    assert_refused(path, &["--total-nodes=4"], &["not this node's", "chain id"]).await;
    assert_refused(path, &["--total-nodes=4", "--id=node1"], &["not this node's", "node id"]).await;
    let mut command = single(path, &[]);
    command.variables.push(("DTVN_KEY_SEED".to_owned(), "another".to_owned()));
    match command.spawn().unwrap().ready().await {
        Err(ClusterError::Ended { log, .. }) => assert!(log.contains("public key"), "{log}"),
        other => panic!("{other:?}"),
    }
    assert_unharmed(path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_kept_off_a_directory_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = start(directory.path(), &[]).await;
    client(&first).seed(SeedRequest::default()).await.unwrap();
    assert_refused(directory.path(), &[], &["in use", &first.ready().pid.to_string()]).await;
    accepted(&client(&first), Kind::Validate, "TICKET-001").await;
    assert!(first.terminate().await);
    assert_unharmed(directory.path()).await;
}

/// The first file of the database whose name begins so.
fn database_file(directory: &Path, prefix: &str) -> std::path::PathBuf {
    let mut files = fs::read_dir(directory.join("node0/db/rocksdb")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_set_aside_and_rebuilt_from_the_log() {
    let directory = used().await;
    let path = directory.path();
    let halve = |path: &Path| {
        let whole = fs::read(path).unwrap();
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
    };
    for damage in 1..=4 {
        match damage {
            1 => halve(&database_file(path, "CURRENT")),
            2 => halve(&database_file(path, "MANIFEST")),
            3 => fs::remove_file(path.join("node0/db/seal")).unwrap(),
            _ => fs::remove_dir_all(path.join("node0/db")).unwrap(),
        }
        let mut node = start(path, &[]).await;
        let client = client(&node);
        until("the ticket is there again", async || {
            client.ticket(&id("TICKET-001"), None).await.is_ok_and(|ticket| ticket.state == TicketState::Validated)
        })
        .await;
        until("it is healthy", async || client.health().await.is_ok_and(|health| health.is_healthy())).await;
        assert!(node.terminate().await);
        let log = fs::read_to_string(path.join("node0.log")).unwrap();
        assert!(log.contains("is set aside, and rebuilt"), "damage {damage}: {log}");
        assert!(path.join(format!("node0/db.damaged-{damage}")).is_dir(), "damage {damage} is kept to be looked at");
    }
    assert_unharmed(path).await;
}

/// As [`single`], in a process that may open so many files.
fn with_files(directory: &Path, most: usize) -> NodeCommand {
    let mut command = single(directory, &[]);
    command.arguments.splice(0..0, [format!("--nofile={most}:{most}"), PROGRAM.to_owned()]);
    command.program = "prlimit".into();
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_may_open_too_few_files_makes_none_and_one_that_may_open_few_serves() {
    let directory = tempfile::tempdir().unwrap();
    let refused = with_files(directory.path(), 1_000).spawn().unwrap().ready().await;
    assert!(matches!(refused, Err(ClusterError::Ended { .. })), "{refused:?}");
    let log = fs::read_to_string(directory.path().join("node0.log")).unwrap();
    assert!(log.trim_end().ends_with("(`ulimit -n`, or LimitNOFILE)"), "{log}");
    assert!(!directory.path().join("node0").exists(), "nothing was made");
    let mut node = with_files(directory.path(), 2_000).spawn().unwrap().ready().await.unwrap();
    let log = fs::read_to_string(directory.path().join("node0.log")).unwrap();
    assert!(log.contains("the API takes fewer connections"), "{log}");
    client(&node).seed(SeedRequest::default()).await.unwrap();
    assert!(node.terminate().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_damaged_or_missing_is_refused() {
    let directory = used().await;
    let identity = directory.path().join("node0/node.json");
    let whole = fs::read(&identity).unwrap();
    fs::write(&identity, "{").unwrap();
    assert_refused(directory.path(), &[], &["node.json", "damaged"]).await;
    fs::remove_file(&identity).unwrap();
    assert_refused(directory.path(), &[], &["node.json", "missing"]).await;
    fs::write(&identity, whole).unwrap();
    assert_unharmed(directory.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_is_damaged_or_gone_does_not_vote() {
    let directory = used().await;
    let log = directory.path().join("node0/log");
    let segment = fs::read_dir(&log).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[900] ^= 4;
    fs::write(&segment, bytes).unwrap();
    // The second start shows that a restart does not lift it.
    for _ in 0..2 {
        let mut node = start(directory.path(), &[]).await;
        let client = client(&node);
        until("it says that it does not vote", async || {
            client.status().await.is_ok_and(|status| {
                !status.voting && status.not_voting_because.is_some_and(|why| why.contains("log was lost"))
            })
        })
        .await;
        assert!(!client.health().await.unwrap().is_healthy());
        let state = client.ticket(&id("TICKET-001"), None).await.unwrap().state;
        assert_eq!(state, TicketState::Validated, "it serves what it has");
        assert!(node.terminate().await);
    }
    let set_aside = directory.path().join("node0/log.damaged-1");
    assert!(set_aside.is_dir(), "the damaged log is kept for whoever wants to look into it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_used_elsewhere_is_not_new_in_an_empty_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let testnet = path.join("testnet");
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["testnet", "-n", "1", "--out", testnet.to_str().unwrap()]);
    let genesis = format!("--genesis={}", testnet.join("genesis.json").display());
    let key = format!("--key={}", find_key(&testnet).display());
    let flags = [genesis.as_str(), key.as_str()];
    let mut node = start(path, &flags).await;
    assert!(client(&node).status().await.unwrap().voting, "a new key in a new directory votes");
    assert!(node.terminate().await);
    fs::remove_dir_all(path.join("node0")).unwrap();
    let mut node = start(path, &flags).await;
    let status = client(&node).status().await.unwrap();
    assert!(!status.voting, "its key signed what is no longer known");
    assert!(node.terminate().await);
}

/// The one key file below a directory.
fn find_key(directory: &Path) -> std::path::PathBuf {
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            return find_key(&entry);
        }
        if entry.to_string_lossy().contains("key") {
            return entry;
        }
    }
    panic!("no key in {}", directory.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_with_its_parent() {
    let directory = tempfile::tempdir().unwrap();
    let command = single(directory.path(), &[]);
    let spawn = || -> Child {
        let mut program = Command::new(PROGRAM);
        program.args(&command.arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        program.spawn().unwrap()
    };
    let mut child = spawn();
    until("it has claimed its directory", async || directory.path().join("node0/node.json").exists()).await;
    drop(child.stdin.take());
    until("it ends", async || child.try_wait().unwrap().is_some()).await;
}
