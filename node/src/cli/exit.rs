//! Exit codes of the commands, as the README lists them.

use std::process::ExitCode;

use dtvn_client::ClientError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Accepted; equal; done.
    Good,
    /// Refused; different; failed.
    Refused,
    /// The command line or a configuration is wrong.
    Usage,
    /// No node could be reached, or none could take it in.
    Unreachable,
    /// It may have happened.
    Unknown,
}

impl Exit {
    /// The number that the shell sees.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Unknown => 4,
        }
    }

    /// What an error of any kind means.
    pub(super) fn of_error(error: &anyhow::Error) -> Self {
        let is_configuration = error.downcast_ref::<crate::config::ConfigError>().is_some()
            || error.downcast_ref::<crate::config::IdentityError>().is_some();
        if is_configuration {
            return Self::Usage;
        }
        error.downcast_ref::<ClientError>().map_or(Self::Refused, Self::of_client_error)
    }

    /// What a client's error means.
    pub(super) const fn of_client_error(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(_) => Self::Refused,
            ClientError::OutcomeUnknown { .. } | ClientError::Unconfirmed(_) => Self::Unknown,
            ClientError::Unavailable(_) | ClientError::Unreachable(_) | ClientError::NotUnderstood { .. } => {
                Self::Unreachable
            }
            ClientError::Usage(_) => Self::Usage,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use dtvn_client::api::Problem;
    use dtvn_messages::Reason;

    use super::*;

    #[test]
    fn the_codes_are_those_of_the_readme() {
        let problem = || Box::new(Problem::new(Reason::NoQuorum, ""));
        let code = |error: ClientError| Exit::of_error(&anyhow::Error::from(error).context("while trying")).code();
        assert_eq!(Exit::Good.code(), 0);
        assert_eq!(code(ClientError::Refused(problem())), 1);
        assert_eq!(code(ClientError::Usage(String::new())), 2);
        assert_eq!(code(ClientError::Unreachable(String::new())), 3);
        assert_eq!(code(ClientError::Unavailable(problem())), 3);
        let key = dtvn_client::new_key();
        assert_eq!(code(ClientError::OutcomeUnknown { key, last: String::new() }), 4);
        assert_eq!(code(ClientError::Unconfirmed(String::new())), 4);
        assert_eq!(Exit::of_error(&anyhow::anyhow!("anything else")).code(), 1);
    }
}
