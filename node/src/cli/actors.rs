//! `dtvn actors`: a node's tree of actors, from its admin endpoint.

use std::time::Duration;

use clap::{Args, Subcommand};
use dtvn_client::api::{ActorCommandAnswer, ActorInfo, LogLevel, segment};
use dtvn_client::{Client, ClientConfig};

use super::exit::Exit;
use super::nodes::duration;
use super::output::{Output, table};

/// How long the end of a restart is waited for: a large state is read anew.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

const EXIT_CODES: &str = "Exit code 4: a command was sent, and how it ended is not known; it is not sent twice. Look \
                          at the tree before you send it again";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ActorsArguments {
    /// The admin endpoint
    #[arg(long, env = "DTVN_ADMIN", value_name = "URL", default_value = "http://127.0.0.1:9081", global = true)]
    admin: String,
    /// The key that it asks for
    #[arg(long, env = "DTVN_ADMIN_KEY", value_name = "KEY", hide_env_values = true, global = true)]
    admin_key: Option<String>,
    /// Show the tree again and again, this far apart
    #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, default_missing_value = "1s")]
    live: Option<Duration>,
    #[command(subcommand)]
    command: Option<ActorsCommand>,
}

#[derive(Debug, Subcommand)]
enum ActorsCommand {
    /// Restart an actor, and those that its supervisor restarts with it
    Restart {
        /// Its name, as the tree shows it
        actor: String,
    },
    /// Let an actor panic; the node must run with --fault-injection
    Crash {
        /// Its name, as the tree shows it
        actor: String,
    },
    /// Show the level of the node's logs, or change it until the node ends
    LogLevel {
        /// A level, or levels by target: info,dtvn_pbft=debug
        level: Option<String>,
    },
}

pub(super) async fn run(arguments: ActorsArguments, output: Output) -> anyhow::Result<Exit> {
    let client = admin_client(&arguments.admin, arguments.admin_key)?;
    match arguments.command {
        None => match arguments.live {
            Some(interval) if output.is_live() => live(&client, interval, output).await,
            _ => {
                output.result(&tree(&client).await?, tree_table);
                Ok(Exit::Good)
            }
        },
        Some(ActorsCommand::Restart { actor }) => command(&client, &actor, "restart", output).await,
        Some(ActorsCommand::Crash { actor }) => command(&client, &actor, "crash", output).await,
        Some(ActorsCommand::LogLevel { level }) => log_level(&client, level, output).await,
    }
}

/// A client of an admin endpoint.
pub(super) fn admin_client(url: &str, key: Option<String>) -> anyhow::Result<Client> {
    let api_key = key.filter(|key| !key.is_empty());
    let config = ClientConfig { api_key, ..ClientConfig::new(vec![url.to_owned()]) };
    Ok(Client::new(&config)?.with_deadline(Duration::from_secs(10)))
}

/// The whole tree.
pub(super) async fn tree(client: &Client) -> anyhow::Result<ActorInfo> {
    Ok(client.get("/admin/actors").await?)
}

/// The path of a command to an actor; its name may have slashes.
pub(super) fn command_path(actor: &str, verb: &str) -> String {
    format!("/admin/actors/{}/{verb}", segment(actor))
}

async fn command(client: &Client, actor: &str, verb: &str, output: Output) -> anyhow::Result<Exit> {
    let patient = client.with_deadline(COMMAND_DEADLINE);
    let answer: ActorCommandAnswer = patient.command(&command_path(actor, verb)).await?;
    output.result(&answer, |answer| format!("{}: {}", answer.name, answer.status));
    Ok(Exit::Good)
}

async fn log_level(client: &Client, level: Option<String>, output: Output) -> anyhow::Result<Exit> {
    let path = "/admin/log-level";
    let answer: LogLevel = match level {
        None => client.get(path).await?,
        Some(level) => client.put(path, &LogLevel { level }).await?,
    };
    output.result(&answer, |answer| answer.level.clone());
    Ok(Exit::Good)
}

async fn live(client: &Client, interval: Duration, output: Output) -> anyhow::Result<Exit> {
    output.clear();
    loop {
        let text = match tree(client).await {
            Ok(tree) => tree_table(&tree),
            Err(error) => format!("{error}\n"),
        };
        output.redraw(&format!("{text}\nCtrl-C ends\n"));
        tokio::time::sleep(interval).await;
    }
}

fn tree_table(root: &ActorInfo) -> String {
    let mut rows = Vec::new();
    add_rows(root, String::new(), String::new(), &mut rows);
    table(["actor", "status", "up", "restarts", "mailbox", "messages", "busy", "last restart"], rows)
}

/// One row for an actor and those below it; `branch` is drawn before its name, `stem` before those below.
fn add_rows(actor: &ActorInfo, branch: String, stem: String, rows: &mut Vec<[String; 8]>) {
    let short = actor.name.rsplit('/').next().unwrap_or(&actor.name);
    let strategy = actor.strategy.as_ref().map_or(String::new(), |strategy| format!(" ({strategy})"));
    let mailbox = match actor.mailbox_bound {
        0 => String::new(),
        bound => format!("{}/{bound}", actor.mailbox_depth),
    };
    rows.push([
        format!("{branch}{short}{strategy}"),
        actor.status.clone(),
        time(actor.uptime_ms),
        actor.restarts.to_string(),
        mailbox,
        actor.messages_handled.to_string(),
        time(actor.handler_total_us / 1_000),
        actor.last_restart_reason.clone().unwrap_or_default(),
    ]);
    for (position, child) in actor.children.iter().enumerate() {
        let is_last = position + 1 == actor.children.len();
        let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        add_rows(child, format!("{stem}{branch}"), format!("{stem}{below}"), rows);
    }
}

/// A time for people: `12 ms`, `3.4 s`, `2 m 05 s`, `3 h 12 m`.
pub(super) fn time(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        60_000..3_600_000 => format!("{} m {:02} s", milliseconds / 60_000, milliseconds / 1_000 % 60),
        _ => format!("{} h {:02} m", milliseconds / 3_600_000, milliseconds / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(name: &str, children: Vec<ActorInfo>) -> ActorInfo {
        ActorInfo {
            name: name.to_owned(),
            status: "running".to_owned(),
            uptime_ms: 61_000,
            restarts: 2,
            last_restart_reason: None,
            mailbox_depth: 3,
            mailbox_bound: 1_024,
            messages_handled: 7,
            handler_total_us: 1_500_000,
            handler_max_us: 40_000,
            strategy: None,
            children,
        }
    }

    #[test]
    fn the_tree_is_drawn_with_its_branches() {
        let core = actor("root/core", vec![actor("root/core/storage", vec![]), actor("root/core/replica", vec![])]);
        let mut rows = Vec::new();
        let root = actor("root", vec![core, actor("root/edge", vec![])]);
        add_rows(&root, String::new(), String::new(), &mut rows);
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(names, ["root", "├─ core", "│  ├─ storage", "│  └─ replica", "└─ edge"]);
        assert_eq!(rows[0][2..7], ["1 m 01 s", "2", "3/1024", "7", "1.5 s"].map(str::to_owned));
    }

    #[test]
    fn a_name_with_slashes_is_one_segment() {
        assert_eq!(command_path("root/core/replica", "crash"), "/admin/actors/root%2Fcore%2Freplica/crash");
    }
}
