//! `dtvn devnet`: a whole network on this machine, one process for each node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::limits;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::demo;
use super::exit::Exit;
use super::output::{Output, table};
use crate::cluster::{BasePorts, Cluster, ClusterConfig, Roster};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DevnetArguments {
    #[command(subcommand)]
    command: Option<DevnetCommand>,
    #[command(flatten)]
    start: StartArguments,
}

#[derive(Debug, Subcommand)]
enum DevnetCommand {
    /// Stop a network that runs detached, or elsewhere
    Stop {
        #[command(flatten)]
        place: Place,
    },
    /// Show which nodes run
    Status {
        #[command(flatten)]
        place: Place,
    },
}

/// Where the nodes keep their data and logs, unless told.
const DATA_DIR: &str = "./data/devnet";

#[derive(Debug, Args)]
struct Place {
    /// Where the nodes keep their data and logs
    #[arg(long, value_name = "PATH", default_value = DATA_DIR)]
    data_dir: PathBuf,
}

#[derive(Debug, Args)]
struct StartArguments {
    /// How many nodes
    #[arg(short, long, value_name = "NUMBER", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=limits::VALIDATORS_MAX as i64))]
    nodes: u16,
    #[command(flatten)]
    place: Place,
    /// Forget what an earlier run left
    #[arg(long)]
    fresh: bool,
    /// Return once it runs; `dtvn devnet stop` ends it
    #[arg(long)]
    detach: bool,
    /// The first node's API port; admin endpoints are 1,000 and peers 2,000 above; 0 is any that are free
    /// [default: 8081, 9081 and 4001]
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Show a ticket's way through the network once it runs
    #[arg(long)]
    demo: bool,
    /// Validating an unknown ticket issues it first
    #[arg(long)]
    auto_issue: bool,
    /// Further flags of `dtvn validator`, for each node
    #[arg(last = true)]
    flags: Vec<String>,
}

pub(super) async fn run(arguments: DevnetArguments, output: Output) -> anyhow::Result<Exit> {
    match arguments.command {
        None => start(arguments.start, output).await,
        Some(DevnetCommand::Stop { place }) => stop(&place.data_dir, output).await,
        Some(DevnetCommand::Status { place }) => status(&place.data_dir, output),
    }
}

async fn start(arguments: StartArguments, output: Output) -> anyhow::Result<Exit> {
    let data_dir = &arguments.place.data_dir;
    if let Some(roster) = Roster::load(data_dir)?
        && roster.nodes.iter().any(|node| node.is_running())
    {
        bail!("a network already runs in {}: `{}` ends it", data_dir.display(), stop_command(data_dir));
    }
    if arguments.fresh {
        forget(data_dir).with_context(|| format!("cannot empty {}", data_dir.display()))?;
    }
    let config = cluster_config(&arguments)?;
    let mut interrupts = Interrupts::listen()?;
    let progress = output.spinner(format!("starting {} nodes", config.nodes));
    let mut cluster = tokio::select! {
        cluster = Cluster::start(&config) => cluster?,
        () = interrupts.next() => {
            progress.finish_and_clear();
            output.note("interrupted before all nodes ran: none is left running");
            return Ok(Exit::Refused);
        }
    };
    progress.finish_and_clear();
    cluster.roster().save(data_dir)?;
    show(&cluster, data_dir, output);
    let is_interrupted = tokio::select! {
        introduced = introduce(&cluster, arguments.demo, output) => introduced.map(|()| false)?,
        () = interrupts.next() => true,
    };
    if arguments.detach && !is_interrupted {
        cluster.detach();
        output.note(format!("it goes on in the background: `{}` ends it", stop_command(data_dir)));
        return Ok(Exit::Good);
    }
    let went_well = if is_interrupted {
        output.note("interrupted before the network was ready");
        false
    } else {
        output.note("Ctrl-C stops it");
        watch_over(&mut cluster, &mut interrupts, data_dir, output).await
    };
    output.note("stopping");
    let unwilling = cluster.stop().await;
    // It may have been removed by `devnet stop`.
    let _ = std::fs::remove_file(Roster::file(data_dir));
    if !unwilling.is_empty() {
        output.note(format!("ended badly: {}", unwilling.join(", ")));
    }
    Ok(if went_well && unwilling.is_empty() { Exit::Good } else { Exit::Refused })
}

/// Ctrl-C and SIGTERM. Listened for before anything starts, so that none is lost.
struct Interrupts([Signal; 2]);

impl Interrupts {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    /// The next one. May be given up and called again.
    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Waits until the nodes have found each other, and shows a ticket's way if that is wanted.
async fn introduce(cluster: &Cluster, demo: bool, output: Output) -> anyhow::Result<()> {
    await_health(cluster, output).await;
    if demo {
        let client = Client::new(&ClientConfig { api_key: api_key(), ..ClientConfig::new(cluster.urls()) })?;
        demo::run(&client, output).await?;
    }
    Ok(())
}

/// Tells of nodes that end, until none is left or somebody wants them to stop. Whether all that ended did so in good
/// order.
async fn watch_over(cluster: &mut Cluster, interrupts: &mut Interrupts, data_dir: &Path, output: Output) -> bool {
    let mut went_well = true;
    loop {
        let end = tokio::select! {
            end = cluster.next_end() => end,
            () = interrupts.next() => return went_well,
        };
        let Some((number, end)) = end else {
            output.note("no node is left");
            return went_well;
        };
        went_well &= end.in_order;
        let name = cluster.nodes()[number].ready().node.clone();
        output.note(format!("{name} ended with {}; its log is {}", end.how, log_of(data_dir, name.as_str())));
    }
}

fn cluster_config(arguments: &StartArguments) -> anyhow::Result<ClusterConfig> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let data_dir = arguments.place.data_dir.clone();
    let mut config = ClusterConfig::new(program, usize::from(arguments.nodes), data_dir);
    config.ports = match arguments.base_port {
        None => Some(BasePorts::default()),
        Some(0) => None,
        Some(api) => {
            let p2p = api.checked_add(2_000).context("the ports end at 65535")?;
            Some(BasePorts { p2p, api })
        }
    };
    config.detached = arguments.detach;
    config.flags.clone_from(&arguments.flags);
    if arguments.auto_issue {
        config.variables.push(("DTVN_AUTO_ISSUE".to_owned(), "true".to_owned()));
    }
    Ok(config)
}

/// The key that the nodes inherit from our environment.
fn api_key() -> Option<String> {
    std::env::var("DTVN_API_KEY").ok().filter(|key| !key.is_empty())
}

/// Removes what nodes left: only what has their names, whatever else is in the directory.
fn forget(data_dir: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(data_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("node")) else { continue };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number(rest) && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else if rest.strip_suffix(".log").is_some_and(is_number) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn log_of(data_dir: &Path, name: &str) -> String {
    data_dir.join(format!("{name}.log")).display().to_string()
}

fn show(cluster: &Cluster, data_dir: &Path, output: Output) {
    let ready: Vec<_> = cluster.nodes().iter().map(|node| node.ready().clone()).collect();
    output.result(&ready, |ready| {
        let rows = ready.iter().map(|node| {
            let url = |address: &str| format!("http://{address}");
            let peers = node.p2p.first().cloned().unwrap_or_default();
            let peers = peers.split("/p2p/").next().unwrap_or_default().to_owned();
            [node.node.to_string(), url(&node.api), url(&node.admin), peers, node.pid.to_string()]
        });
        let table = table(["node", "API", "admin", "peers", "process"], rows);
        let urls = ready.iter().map(|node| format!("http://{}", node.api)).collect::<Vec<_>>().join(",");
        let admin = ready.first().map_or(String::new(), |node| format!("http://{}", node.admin));
        format!(
            "{table}\nlogs: {}\ntry:\n  {}dtvn ticket seed\n  dtvn ticket validate TICKET-001\n  dtvn watch",
            log_of(data_dir, "node*"),
            exports(&urls, &admin)
        )
    });
}

/// What a shell must be told so that the other commands find the network: nothing where they look anyway.
fn exports(urls: &str, admin: &str) -> String {
    let mut lines = String::new();
    if !urls.starts_with("http://127.0.0.1:8081") {
        lines.push_str(&format!("export DTVN_NODES={urls}\n  "));
    }
    if admin != "http://127.0.0.1:9081" {
        lines.push_str(&format!("export DTVN_ADMIN={admin}\n  "));
    }
    lines
}

/// The command that ends a network, as it must be typed.
fn stop_command(data_dir: &Path) -> String {
    if data_dir == Path::new(DATA_DIR) {
        "dtvn devnet stop".to_owned()
    } else {
        format!("dtvn devnet stop --data-dir {}", data_dir.display())
    }
}

/// Waits until all nodes say that they are ready to work; for a bounded time, and it is no error if they do not.
async fn await_health(cluster: &Cluster, output: Output) {
    let progress = output.spinner("waiting until the nodes have found each other");
    let healthy = healthy(&cluster.urls(), limits::NODE_HEALTH_TIMEOUT).await;
    progress.finish_and_clear();
    let count = cluster.nodes().len();
    match healthy {
        Ok(()) => output.note(format!("{count} of {count} nodes are healthy")),
        Err(why) => output.note(format!("not all nodes are healthy yet: {why}")),
    }
}

/// Waits until all nodes are healthy, looking often, for at most `time`.
///
/// # Errors
/// What the first node that is not says.
pub(super) async fn healthy(urls: &[String], time: Duration) -> Result<(), String> {
    let client = Client::new(&ClientConfig::new(urls.to_vec())).map_err(|error| error.to_string())?;
    let deadline = tokio::time::Instant::now() + time;
    for (number, url) in urls.iter().enumerate() {
        let node = client.only(number);
        loop {
            let why = match node.health().await {
                Ok(health) if health.is_healthy() => break,
                Ok(health) => health.reasons.join("; "),
                Err(error) => error.to_string(),
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("{url}: {why}"));
            }
            tokio::time::sleep(limits::HEALTH_LOOK_INTERVAL).await;
        }
    }
    Ok(())
}

async fn stop(data_dir: &Path, output: Output) -> anyhow::Result<Exit> {
    let Some(roster) = Roster::load(data_dir)? else {
        output.note(format!("no network runs in {}", data_dir.display()));
        return Ok(Exit::Refused);
    };
    let unwilling = roster.stop(data_dir).await?;
    output.result(&unwilling, |unwilling| match unwilling.as_slice() {
        [] => "stopped".to_owned(),
        names => format!("stopped; had to be killed: {}", names.join(", ")),
    });
    Ok(if unwilling.is_empty() { Exit::Good } else { Exit::Refused })
}

fn status(data_dir: &Path, output: Output) -> anyhow::Result<Exit> {
    let Some(roster) = Roster::load(data_dir)? else {
        output.note(format!("no network runs in {}", data_dir.display()));
        return Ok(Exit::Refused);
    };
    output.result(&roster, |roster| {
        let rows = roster.nodes.iter().map(|node| {
            let state = if node.is_running() { "running" } else { "ended" };
            let url = |address: &str| format!("http://{address}");
            [node.name.clone(), state.to_owned(), url(&node.api), url(&node.admin), node.pid.to_string()]
        });
        table(["node", "state", "API", "admin", "process"], rows)
    });
    let all = roster.nodes.iter().all(|node| node.is_running());
    Ok(if all { Exit::Good } else { Exit::Refused })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hints_name_what_is_not_as_usual() {
        assert_eq!(stop_command(Path::new(DATA_DIR)), "dtvn devnet stop");
        assert_eq!(stop_command(Path::new("/tmp/net")), "dtvn devnet stop --data-dir /tmp/net");
        assert_eq!(exports("http://127.0.0.1:8081,http://127.0.0.1:8082", "http://127.0.0.1:9081"), "");
        let told = exports("http://127.0.0.1:20001", "http://127.0.0.1:20002");
        assert_eq!(told, "export DTVN_NODES=http://127.0.0.1:20001\n  export DTVN_ADMIN=http://127.0.0.1:20002\n  ");
    }

    #[tokio::test]
    async fn a_network_that_does_not_run_cannot_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(stop(folder.path(), Output::new(false)).await.unwrap(), Exit::Refused);
    }

    #[test]
    fn fresh_removes_what_nodes_left_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for directory in ["node0/db", "node12", "nodes", "node1x", "photos"] {
            std::fs::create_dir_all(path(directory)).unwrap();
        }
        for file in ["node0.log", "node.log", "notes.txt", "node7"] {
            std::fs::write(path(file), "x").unwrap();
        }
        forget(folder.path()).unwrap();
        let mut left: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["node.log", "node1x", "node7", "nodes", "notes.txt", "photos"]);
        forget(&path("missing")).unwrap();
    }
}
