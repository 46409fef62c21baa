//! Why an actor ended, and the chain of causes when a supervisor gives up.

use crate::supervision::Restart;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// How an incarnation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// A handler returned an error or panicked, or a background task panicked.
    Failed(String),
    /// It could not start.
    StartFailed(String),
    /// It was a supervisor, and gave up.
    GaveUp(Box<Escalation>),
    /// It was killed.
    Killed,
    /// Its task was cancelled from outside.
    Cancelled,
    /// It stopped although nobody asked for it.
    Unasked(Option<String>),
    /// It stopped because its supervisor asked for it.
    Asked,
    /// It said by itself that its work is done.
    Finished(String),
    /// It neither ended nor could be killed: its handler blocks a thread.
    Stuck,
    /// It ended, but for so long its threads have not let go of what no successor may share with them.
    Outlived(Duration),
}

impl EndCause {
    /// Whether a child of this restart type must be started again after an end that nobody asked for.
    pub(crate) fn calls_for_restart(&self, restart: Restart) -> bool {
        match restart {
            Restart::Permanent => true,
            Restart::Transient => !matches!(self, Self::Finished(_) | Self::Asked),
            Restart::Temporary => false,
        }
    }

    /// Whether this is an end in good order.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Asked | Self::Finished(_))
    }
}

impl fmt::Display for EndCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(formatter, "failed: {why}"),
            Self::StartFailed(why) => write!(formatter, "could not start: {why}"),
            Self::GaveUp(escalation) => write!(formatter, "failed: {escalation}"),
            Self::Killed => formatter.write_str("was killed"),
            Self::Cancelled => formatter.write_str("had its task cancelled"),
            Self::Unasked(None) => formatter.write_str("stopped although nobody asked for it"),
            Self::Unasked(Some(why)) => write!(formatter, "stopped although nobody asked for it ({why})"),
            Self::Asked => formatter.write_str("was asked to stop"),
            Self::Finished(why) => write!(formatter, "finished ({why})"),
            Self::Stuck => formatter.write_str("neither stopped nor could be killed: a handler blocks its thread"),
            Self::Outlived(waited) => {
                write!(formatter, "ended, but {waited:?} later its threads still held what is its own")
            }
        }
    }
}

/// Why a supervisor gave up. `Display` tells the whole chain down to the actor that failed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Escalation {
    /// The supervisor, as a path.
    pub supervisor: String,
    /// Why it did not restart the child once more.
    pub because: GaveUpBecause,
    /// The child whose end it could not mend, as a path.
    pub child: String,
    /// How often that child was restarted in the supervisor's life.
    pub child_restarts: u64,
    /// How the child ended.
    pub cause: EndCause,
}

/// What made a supervisor give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GaveUpBecause {
    /// The child could not start while the supervisor itself was starting.
    StartFailed,
    /// More than `restarts_max` failures within `window`.
    Intensity {
        /// Failures that are still mended within the window.
        restarts_max: u32,
        /// The window.
        window: Duration,
    },
    /// The child could not be brought to an end, so no successor could be started.
    Stuck,
}

impl Escalation {
    /// The chain from the outermost supervisor to the actor at its root, one line each; in the path of an actor that could
    /// not start its supervisors are named already.
    pub fn chain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        // That a supervisor of a child that could not start could not start either goes without saying.
        if self.because != GaveUpBecause::StartFailed {
            lines.push(self.headline());
        }
        match &self.cause {
            EndCause::GaveUp(inner) => lines.extend(inner.chain()),
            cause => lines.push(format!("`{}` {cause}", self.child)),
        }
        lines
    }

    fn headline(&self) -> String {
        let Self { supervisor, child, child_restarts, .. } = self;
        match self.because {
            GaveUpBecause::StartFailed => format!("`{supervisor}` could not start because of `{child}`"),
            GaveUpBecause::Stuck => format!("`{supervisor}` gave up on `{child}`"),
            GaveUpBecause::Intensity { restarts_max, window } => format!(
                "`{supervisor}` gave up after more than {restarts_max} failures within {window:?}, \
                 the last of `{child}`, which it had restarted {child_restarts} times"
            ),
        }
    }
}

impl fmt::Display for Escalation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.chain().join(": "))
    }
}

impl Error for Escalation {}
