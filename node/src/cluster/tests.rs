//! Real child processes: a shell that says what a node says.

use std::path::Path;
use std::time::Instant;

use dtvn_messages::limits;

use super::*;

/// A process that runs `script`, with `$READY` a ready line.
fn script(folder: &Path, script: &str) -> NodeCommand {
    let ready = r#"{"ready":true,"node":"node0","api":"127.0.0.1:1","admin":"127.0.0.1:2","p2p":[],"pid":'$$'}"#;
    NodeCommand {
        name: "node0".to_owned(),
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".to_owned(), script.replace("$READY", &format!("echo '{ready}'"))],
        variables: vec![("COLOUR".to_owned(), "red".to_owned())],
        data_dir: folder.join("node0"),
        log: folder.join("node0.log"),
        detached: false,
    }
}

/// The letter of a process's state: R, S, T (stopped), Z; none if it is gone.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim().chars().next()
}

/// Waits until a process is gone: reading its end of a pipe would block, so looks again and again.
async fn gone(pid: u32) -> bool {
    for _ in 0..1_000 {
        if matches!(state(pid), None | Some('Z')) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_process_is_ready_when_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let command = script(folder.path(), "echo starting >&2; echo noise; $READY; echo \"$COLOUR\"; exec sleep 1000");
    let mut node = command.spawn().unwrap().ready().await.unwrap();
    assert_eq!(node.ready().api, "127.0.0.1:1");
    assert_eq!(Some(node.ready().pid), node.pid());
    assert!(node.usage().is_some());
    node.kill().await;
    assert_eq!(node.pid(), None);
    assert_eq!(node.ended().await.how, "signal 9");
}

#[tokio::test]
async fn what_follows_the_ready_line_goes_to_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let command = script(folder.path(), "echo starting >&2; $READY; yes $COLOUR | head -n 100000; exit 3");
    let mut node = command.spawn().unwrap().ready().await.unwrap();
    assert_eq!(node.ended().await.how, "exit code 3", "it never waits for a reader");
    let log = std::fs::read_to_string(folder.path().join("node0.log")).unwrap();
    assert!(log.contains("starting") && log.contains("red"), "{} bytes", log.len());
}

#[tokio::test]
async fn an_early_end_is_told_with_the_log_of_this_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("node0.log"), "an older start\n").unwrap();
    let command = script(folder.path(), "echo 'the disk is full' >&2; exit 7");
    let error = command.spawn().unwrap().ready().await.unwrap_err().to_string();
    assert!(error.contains("exit code 7") && error.contains("the disk is full"), "{error}");
    assert!(!error.contains("an older start"), "{error}");
}

#[tokio::test]
async fn of_a_long_log_the_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let command = script(folder.path(), "echo first >&2; yes 'more words' | head -n 1000 >&2; echo last >&2; exit 7");
    let log = match command.spawn().unwrap().ready().await.unwrap_err() {
        ClusterError::Ended { log, .. } => log,
        other => panic!("{other}"),
    };
    let (words, end) = log.rsplit_once('\n').unwrap();
    assert!(end.starts_with("(the end of"), "{end}");
    assert!(words.ends_with("more words\nlast") && !words.contains("first"), "{words}");
    // Its last newline is left out.
    assert_eq!(words.len() as u64 + 1, limits::NODE_LOG_TAIL_BYTES);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let command = NodeCommand { program: PathBuf::from("/nowhere/dtvn"), ..script(folder.path(), "") };
    assert!(command.spawn().unwrap_err().to_string().contains("/nowhere/dtvn"));
}

#[tokio::test]
async fn a_process_is_paused_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = script(folder.path(), "$READY; exec sleep 1000").spawn().unwrap().ready().await.unwrap();
    let pid = node.pid().unwrap();
    node.pause();
    while state(pid) != Some('T') {
        tokio::task::yield_now().await;
    }
    node.resume();
    while state(pid) == Some('T') {
        tokio::task::yield_now().await;
    }
    node.pause();
    assert!(!node.terminate().await, "sleep ends by the signal, not with status 0");
    assert_eq!(node.ended().await.how, "signal 15", "a paused process hears it too");
}

#[tokio::test]
async fn an_orderly_end_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let orderly = "trap 'exit 0' TERM; $READY; while :; do sleep 0.05; done";
    let mut node = script(folder.path(), orderly).spawn().unwrap().ready().await.unwrap();
    let begin = Instant::now();
    assert!(node.terminate().await);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_dropped_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let node = script(folder.path(), "$READY; exec sleep 1000").spawn().unwrap().ready().await.unwrap();
    let pid = node.pid().unwrap();
    drop(node);
    assert!(gone(pid).await);
}

#[tokio::test]
async fn a_process_sees_the_end_of_its_stdin_when_we_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = script(folder.path(), "$READY; cat >/dev/null; exit 5").spawn().unwrap().ready().await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(200), node.ended()).await;
    assert!(waited.is_err(), "to wait for it does not end it");
    node.let_go();
    assert_eq!(node.ended().await.how, "exit code 5");
}

/// A stand-in for the program: it answers as `dtvn validator` does, with its own arguments.
fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster/stand-in.sh")
}

#[tokio::test]
async fn nodes_of_a_cluster_know_each_other_and_come_back_at_their_ports() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ClusterConfig::new(stand_in(), 4, folder.path().join("data"));
    config.flags.push("--for-all".to_owned());
    config.node_flags.insert(2, vec!["--for-two".to_owned()]);
    let mut cluster = Cluster::start(&config).await.unwrap();
    let apis: std::collections::BTreeSet<_> = cluster.urls().into_iter().collect();
    assert_eq!(apis.len(), 4);
    let ready = cluster.nodes()[2].ready().clone();
    assert_eq!(ready.node.as_str(), "node2");
    let peers: Vec<&str> = ready.p2p[1].split(',').collect();
    assert_eq!(peers.len(), 3);
    let node0 = cluster.nodes()[0].ready().p2p[0].clone();
    let expected = format!("/ip4/127.0.0.1/tcp/{node0}/p2p/12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C");
    assert_eq!(peers[0], expected);

    cluster.kill(2).await;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(cluster.nodes()[3].pid().unwrap().try_into().unwrap()).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(
        cluster.next_end().await,
        Some((3, NodeEnd { in_order: true, how: "exit code 0".to_owned() })),
        "what we killed ourselves is no news"
    );
    cluster.restart(2).await.unwrap();
    let again = cluster.nodes()[2].ready().clone();
    assert_eq!((again.api, again.admin, again.p2p), (ready.api, ready.admin, ready.p2p));
    assert_ne!(again.pid, ready.pid);
    assert!(cluster.stop().await.is_empty());
    let log = std::fs::read_to_string(folder.path().join("data/node2.log")).unwrap();
    assert_eq!(log.matches("start ").count(), 2);
    assert_eq!(log.matches("--for-all --for-two").count(), 2);
    let other = std::fs::read_to_string(folder.path().join("data/node1.log")).unwrap();
    assert!(other.contains("--for-all") && !other.contains("--for-two"));
    assert!(log.trim_end().ends_with("ended"));
}

#[tokio::test]
async fn one_node_that_fails_ends_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let mut config = ClusterConfig::new(stand_in(), 4, folder.path().join("data"));
    config.variables =
        vec![("FAILING".to_owned(), "node3".to_owned()), ("PIDS".to_owned(), pids.to_string_lossy().into_owned())];
    let error = Cluster::start(&config).await.unwrap_err().to_string();
    assert!(error.contains("node3") && error.contains("exit code 9") && error.contains("broken"), "{error}");
    for pid in std::fs::read_to_string(pids).unwrap().lines() {
        assert!(gone(pid.parse().unwrap()).await);
    }
}

#[tokio::test]
async fn detached_nodes_live_on_and_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let config = ClusterConfig { detached: true, ..ClusterConfig::new(stand_in(), 2, data_dir.clone()) };
    let cluster = Cluster::start(&config).await.unwrap();
    cluster.roster().save(&data_dir).unwrap();
    cluster.detach();
    let roster = Roster::load(&data_dir).unwrap().unwrap();
    assert!(roster.nodes.iter().all(RosterNode::is_running));
    let reused = RosterNode { started_at: 1, ..roster.nodes[0].clone() };
    assert!(!reused.is_running(), "another process with the same id is not it");
    assert!(roster.stop(&data_dir).await.unwrap().is_empty());
    for node in &roster.nodes {
        assert!(gone(node.pid).await);
    }
    assert_eq!(Roster::load(&data_dir).unwrap(), None);
}

#[test]
fn fixed_ports_count_up_and_have_an_end() {
    let mut config = ClusterConfig::new(PathBuf::from("dtvn"), 2, PathBuf::from("data"));
    config.ports = Some(BasePorts::default());
    assert_eq!(config.node_ports().unwrap(), [[4001, 8081, 9081], [4002, 8082, 9082]]);
    config.ports = Some(BasePorts { p2p: 4001, api: 65_000 });
    assert!(matches!(config.node_ports(), Err(ClusterError::PortsTooHigh { .. })));
}

#[test]
fn a_damaged_roster_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let roster = Roster { nodes: Vec::new() };
    roster.save(folder.path()).unwrap();
    roster.save(folder.path()).unwrap();
    assert_eq!(Roster::load(folder.path()).unwrap(), Some(roster));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let path = Roster::file(folder.path());
    for damaged in ["", "{\"nodes\": [{\"name\": \"no"] {
        std::fs::write(&path, damaged).unwrap();
        let said = Roster::load(folder.path()).unwrap_err().to_string();
        let shown = path.display().to_string();
        assert!(said.starts_with(&shown) && said.contains("is damaged") && said.contains("remove the file"), "{said}");
    }
}

/// What writes the roster anew does not empty it first: whoever reads meanwhile sees the one or the other.
#[test]
fn a_roster_is_whole_at_every_moment() {
    let folder = tempfile::tempdir().unwrap();
    let node = |number: usize| RosterNode {
        name: node_name(number),
        pid: 1,
        started_at: 1,
        api: "127.0.0.1:1".to_owned(),
        admin: "127.0.0.1:2".to_owned(),
    };
    let roster = Roster { nodes: (0..100).map(node).collect() };
    roster.save(folder.path()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..50).for_each(|_| roster.save(folder.path()).unwrap()));
        while !writer.is_finished() {
            assert_eq!(Roster::load(folder.path()).unwrap().as_ref(), Some(&roster));
        }
    });
}
