//! Which nodes a command asks, and how long.

use std::time::Duration;

use clap::Args;
use dtvn_client::{Client, ClientConfig, ClientError};

/// Options of all commands that ask nodes.
#[derive(Debug, Clone, Args)]
pub(super) struct NodesArguments {
    /// URLs of nodes, commas between
    #[arg(
        long,
        env = "DTVN_NODES",
        value_name = "URL,...",
        value_delimiter = ',',
        default_values_t = default_nodes(),
        global = true
    )]
    pub(super) nodes: Vec<String>,
    /// The key that the nodes ask for
    #[arg(long, env = "DTVN_API_KEY", value_name = "KEY", hide_env_values = true, global = true)]
    pub(super) api_key: Option<String>,
    /// How long to go on trying, such as 5s or 500ms
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", global = true)]
    pub(super) deadline: Duration,
}

/// The nodes of `dtvn devnet`.
fn default_nodes() -> Vec<String> {
    (0..4).map(|number| format!("http://127.0.0.1:{}", 8_081 + number)).collect()
}

impl NodesArguments {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Client::new(&ClientConfig {
            api_key: self.api_key.clone().filter(|key| !key.is_empty()),
            deadline: self.deadline,
            ..ClientConfig::new(self.nodes.clone())
        })
    }
}

/// A time as `500ms`, `5s`, `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let time: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is no time such as 500ms, 5s or 1m30s"))?;
    Duration::try_from(time).map_err(|_| format!("{text:?} is before it begins"))
}

/// A number of things of which there must be one at least.
pub(super) fn one_or_more(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{text:?} is no whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, milliseconds) in
            [("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("60s", 60_000), ("2h", 7_200_000)]
        {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        for wrong in ["", "5", "soon", "-5s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
