//! How many files this process may have open: connections of strangers must never take those that the core needs, or
//! whoever opens a thousand of them ends the node.

use dtvn_messages::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// With fewer connections to its API a node does not serve a venue.
const API_CONNECTIONS_MIN: u64 = 64;

/// Whether enough files may be open for a node to start: asked before it makes anything.
///
/// # Errors
/// If not even a few connections are left beside what the node itself opens.
pub(super) fn check() -> anyhow::Result<()> {
    connections_within(raise()).map(drop)
}

/// Connections that the API may take at a time.
///
/// # Errors
/// As [`check`].
pub(super) fn api_connections() -> anyhow::Result<usize> {
    let allowed = raise();
    let connections = connections_within(allowed)?;
    if connections < limits::API_CONNECTIONS_MAX {
        tracing::warn!(allowed, connections, "This process may open few files, so the API takes fewer connections.");
    }
    Ok(connections)
}

/// Raises the soft limit as far as is needed and allowed; what it is then.
fn raise() -> u64 {
    let wanted = (limits::NODE_FILES_MAX + limits::ADMIN_CONNECTIONS_MAX + limits::API_CONNECTIONS_MAX) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
            tracing::warn!(%error, "The limit of open files cannot be raised.");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connections to the API where so many files may be open.
fn connections_within(allowed: u64) -> anyhow::Result<usize> {
    let taken = (limits::NODE_FILES_MAX + limits::ADMIN_CONNECTIONS_MAX) as u64;
    let left = allowed.saturating_sub(taken).min(limits::API_CONNECTIONS_MAX as u64);
    anyhow::ensure!(
        left >= API_CONNECTIONS_MIN,
        "this process may open {allowed} files, and a node needs at least {}: raise the limit (`ulimit -n`, or LimitNOFILE)",
        taken + API_CONNECTIONS_MIN
    );
    Ok(usize::try_from(left)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_itself_comes_before_connections() {
        let taken = (limits::NODE_FILES_MAX + limits::ADMIN_CONNECTIONS_MAX) as u64;
        assert_eq!(connections_within(u64::MAX).unwrap(), limits::API_CONNECTIONS_MAX);
        assert_eq!(connections_within(taken + 100).unwrap(), 100);
        for few in [0, 256, taken + API_CONNECTIONS_MIN - 1] {
            let refused = connections_within(few).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("this process may open {few} files")), "{refused}");
        }
    }
}
