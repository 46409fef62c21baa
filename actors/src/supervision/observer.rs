//! Who wants to count what supervisors do.

/// Told of what supervisors do, e.g. to count it. Called on the supervisor's task: be quick, never block.
pub trait SupervisionObserver: Send + Sync + 'static {
    /// An actor is being started again: after its own failure, with a neighbour, or because it was requested.
    fn restarted(&self, path: &str, reason: &str) {
        let _ = (path, reason);
    }

    /// A supervisor gave up because of `child` and fails.
    fn escalated(&self, supervisor: &str, child: &str, cause: &str) {
        let _ = (supervisor, child, cause);
    }

    /// An actor did not stop in time and was killed.
    fn killed_after_timeout(&self, path: &str) {
        let _ = path;
    }

    /// An actor could not even be killed, because a handler blocks its thread, and is no longer waited for.
    fn abandoned(&self, path: &str) {
        let _ = path;
    }
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl SupervisionObserver for NoObserver {}
