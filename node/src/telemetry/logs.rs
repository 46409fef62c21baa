//! Logs: sentences with fields, as JSON or for people, to stderr; their level can be changed while the node runs.
//!
//! Logs belong to the process, not to a node: the last line before an end has no node any more.

use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::traces;
use crate::config::{LogFormat, ValidatorConfig};

/// What holds whatever the level: ractor opens a span that lives as long as its actor, and says nothing.
const ALWAYS: &str = "ractor=warn,actix_server=warn";

/// The logs of this process, once they have begun.
static LOGS: OnceLock<Logs> = OnceLock::new();

struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Mutex<String>,
}

/// Why logs cannot begin, or their level not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error(
        "{level:?} is no log level: give trace, debug, info, warn, error or off, or levels by target as in \
             info,dtvn_pbft=debug ({why})"
    )]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        why: String,
    },
    /// Spans cannot be exported.
    #[error("spans cannot be exported: {0}; traces.endpoint must look like http://127.0.0.1:4317")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Somebody else takes the logs of this process.
    #[error("the logs of this process are somebody else's")]
    NotOurs,
}

/// Begins to log to stderr, and to export spans if that is configured. For the latter it must be called in a tokio
/// runtime that lives as long as the node does.
///
/// # Errors
/// If the level is none, spans cannot be exported, or this process logs already.
pub fn start(config: &ValidatorConfig) -> Result<(), LogError> {
    start_with(config, std::io::stderr, std::io::stderr().is_terminal())
}

/// The same with logs to a writer, with colours or without.
///
/// # Errors
/// As above.
pub fn start_with(
    config: &ValidatorConfig,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    colours: bool,
) -> Result<(), LogError> {
    let settings = &config.log;
    let (filter, handle) = reload::Layer::new(filter_of(&settings.level)?);
    // The level is of the lines only: what is exported does not depend on it.
    let lines = lines(settings.format, writer, colours).with_filter(filter);
    let spans = traces::layer(&config.traces, config.node.id.as_str())?;
    tracing_subscriber::registry().with(lines).with(spans).try_init().map_err(|_| LogError::NotOurs)?;
    let logs = Logs { filter: handle, level: Mutex::new(settings.level.clone()) };
    LOGS.set(logs).map_err(|_| LogError::NotOurs)
}

fn lines<S>(
    format: LogFormat,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    colours: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Json => lines.json().with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Pretty => lines.with_ansi(colours).with_target(false).boxed(),
    }
}

/// The level in force, as it was given; none if this process does not log.
#[must_use]
pub fn level() -> Option<String> {
    LOGS.get().map(|logs| logs.level.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Puts another level in force, until the process ends.
///
/// # Errors
/// If it is none, or this process does not log.
pub fn set_level(level: &str) -> Result<(), LogError> {
    let filter = filter_of(level)?;
    let logs = LOGS.get().ok_or(LogError::NotOurs)?;
    let mut known = logs.level.lock().unwrap_or_else(PoisonError::into_inner);
    logs.filter.reload(filter).map_err(|_| LogError::NotOurs)?;
    let former = std::mem::replace(&mut *known, level.to_owned());
    tracing::warn!(from = former, to = level, "The log level was changed.");
    Ok(())
}

/// Checks a level without using it.
///
/// # Errors
/// If it is none.
pub fn check_level(level: &str) -> Result<(), LogError> {
    filter_of(level).map(drop)
}

fn filter_of(level: &str) -> Result<EnvFilter, LogError> {
    let fault = |why: String| LogError::Level { level: level.to_owned(), why };
    // A bare word that is no level would be taken for a target, and say everything of it; the value of a field for a
    // regular expression, of which a few dozen bytes cost gigabytes.
    let is_word = |level: &str| !level.is_empty() && level.parse::<LevelFilter>().is_ok();
    let is_target = |target: &str| {
        !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
    };
    let is_level = |part: &str| match part.split_once('=') {
        Some((target, level)) => is_target(target) && is_word(level),
        None => is_word(part),
    };
    let parts: Vec<&str> = level.split(',').map(str::trim).collect();
    if let Some(odd) = parts.iter().find(|part| !is_level(part)) {
        return Err(fault(format!("{odd:?} is neither a level nor target=level")));
    }
    EnvFilter::try_new(format!("{},{ALWAYS}", parts.join(","))).map_err(|error| fault(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_alone_and_by_target_are_taken_and_other_words_are_not() {
        for good in ["info", "WARN", "off", "info,dtvn_pbft=debug", "warn, dtvn=trace", "dtvn::http=info"] {
            check_level(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        let costly = format!("info,[a{{b={}}}]=debug", "(x{1000}){1000}".repeat(9));
        for bad in ["", "loud", "info,", "info,dtvn", "dtvn=loud", "dtvn=", "=info", "[a]=info", "a{b=c}=info", &costly]
        {
            let error = check_level(bad).unwrap_err().to_string();
            assert!(error.contains("is no log level") && error.contains("dtvn_pbft=debug"), "{bad}: {error}");
        }
    }
}
