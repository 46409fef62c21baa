//! One node process: started, ready, paused, ended, and never left behind.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dtvn_client::api::Ready;
use dtvn_messages::limits;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{ClusterError, Usage};

/// How to start a node process, again and again.
#[derive(Debug, Clone)]
pub struct NodeCommand {
    /// Its name, for messages.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables to set, beside those that it inherits.
    pub variables: Vec<(String, String)>,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// Where its stderr, and what follows the ready line on stdout, is appended.
    pub log: PathBuf,
    /// Whether it lives on when we end. If not, it gets a pipe as stdin, and ends when that does.
    pub detached: bool,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEnd {
    /// Whether by itself with status 0.
    pub in_order: bool,
    /// Its exit code or signal, in words.
    pub how: String,
}

/// A node process that is ready, or was.
#[derive(Debug)]
pub struct NodeProcess {
    command: NodeCommand,
    child: Child,
    /// The other end of its stdin: it ends when this does.
    lifeline: Option<ChildStdin>,
    ready: Ready,
}

/// A node process that was started and has not said yet that it is ready. Dropped, it is killed.
#[derive(Debug)]
pub struct StartingNode {
    command: NodeCommand,
    child: Child,
    lifeline: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    log_begin: u64,
}

impl NodeCommand {
    /// Starts the process in a process group of its own, so that an interrupt at the terminal reaches us alone.
    ///
    /// # Errors
    /// If the log cannot be opened or the program cannot be run.
    pub fn spawn(&self) -> Result<StartingNode, ClusterError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| ClusterError::Io { path, error }
        };
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(io(&self.log))?;
        let log_begin = log.metadata().map_or(0, |metadata| metadata.len());
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env_remove("DTVN_CONFIG");
        command.stdin(if self.detached { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(log).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(io(&self.program))?;
        let Some(stdout) = child.stdout.take() else {
            return Err(io(&self.program)(std::io::Error::other("its stdout is no pipe")));
        };
        let lines = BufReader::new(stdout).lines();
        // Taken out, because to wait for a child closes its stdin.
        let lifeline = child.stdin.take();
        Ok(StartingNode { command: self.clone(), child, lifeline, lines, log_begin })
    }
}

impl StartingNode {
    /// Waits for the ready line, for a bounded time.
    ///
    /// # Errors
    /// If the process ends before, or the time passes: then it is killed. With the end of its log.
    pub async fn ready(mut self) -> Result<NodeProcess, ClusterError> {
        let wait = tokio::time::timeout(limits::NODE_READY_TIMEOUT, ready_line(&mut self.lines)).await;
        match wait {
            Ok(Some(ready)) => {
                if self.command.detached {
                    // Nothing more is read: a detached node outlives our end of the pipe.
                    drop(self.lines);
                } else {
                    tokio::spawn(drain(self.lines, self.command.log.clone()));
                }
                Ok(NodeProcess { command: self.command, child: self.child, lifeline: self.lifeline, ready })
            }
            Ok(None) => {
                let status = end(&mut self.child, Duration::ZERO).await;
                let log = log_tail(&self.command.log, self.log_begin);
                Err(ClusterError::Ended { name: self.command.name, status: describe(status).how, log })
            }
            Err(_) => {
                end(&mut self.child, Duration::ZERO).await;
                let log = log_tail(&self.command.log, self.log_begin);
                Err(ClusterError::NotReady { name: self.command.name, waited: limits::NODE_READY_TIMEOUT, log })
            }
        }
    }
}

impl NodeProcess {
    /// Where it listens.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// How it was started.
    #[must_use]
    pub fn command(&self) -> &NodeCommand {
        &self.command
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it has used so far; none once it has ended.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.pid()?)
    }

    /// Waits until it ends by itself, and says how. May be given up and called again.
    pub async fn ended(&mut self) -> NodeEnd {
        describe(self.child.wait().await.ok())
    }

    /// `kill -9`, and waits for the end.
    pub async fn kill(&mut self) {
        end(&mut self.child, Duration::ZERO).await;
    }

    /// Asks it to end (SIGTERM), waits for a bounded time, then kills it. True if it ended by itself with status 0.
    pub async fn terminate(&mut self) -> bool {
        // A process that is stopped would not hear it.
        self.resume();
        self.signal(Signal::TERM);
        end(&mut self.child, limits::NODE_STOP_TIMEOUT).await.is_some_and(|status| status.success())
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Lets it live on when this value is dropped.
    pub(super) fn release(self) {
        let Self { child, lifeline, .. } = self;
        drop(lifeline);
        // A child that is dropped is killed; the system reaps this one after our end.
        std::mem::forget(child);
    }

    /// Closes the other end of its stdin, as the system does when our process ends in whatever way.
    #[cfg(test)]
    pub(super) fn let_go(&mut self) {
        self.lifeline = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            // It can only fail if the process has just ended, which whoever waits for it sees.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The first line on stdout that is a ready line; none at its end.
async fn ready_line(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<Ready> {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(ready) = serde_json::from_str::<Ready>(&line) {
            return Some(ready);
        }
    }
    None
}

/// Appends what else comes on stdout to the log, so that the process never waits for a reader.
async fn drain(mut lines: Lines<BufReader<ChildStdout>>, log: PathBuf) {
    use std::io::Write as _;
    let mut log = OpenOptions::new().append(true).open(log).ok();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(log) = &mut log {
            // A log that cannot be written is no reason to stop reading.
            let _ = writeln!(log, "{line}");
        }
    }
}

/// Waits for the end for `patience`, then kills. None if the status is not to be had.
async fn end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    if !patience.is_zero()
        && let Ok(status) = tokio::time::timeout(patience, child.wait()).await
    {
        return status.ok();
    }
    // It fails if the process has ended already; then the wait gives its status.
    let _ = child.start_kill();
    child.wait().await.ok()
}

fn describe(status: Option<ExitStatus>) -> NodeEnd {
    let how = match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("exit code {code}"),
        Some((None, Some(signal))) => format!("signal {signal}"),
        Some((None, None)) | None => "an unknown status".to_owned(),
    };
    NodeEnd { in_order: status.is_some_and(|status| status.success()), how }
}

/// The end of what was logged since `begin`, for a message.
fn log_tail(path: &Path, begin: u64) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(limits::NODE_LOG_TAIL_BYTES))))?;
        file.read_to_end(&mut text)
    });
    if read.is_err() || text.is_empty() {
        return format!("(nothing in {})", path.display());
    }
    format!("{}\n(the end of {})", String::from_utf8_lossy(&text).trim_end(), path.display())
}
