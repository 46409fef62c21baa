//! `dtvn checksum`: do all nodes have the same history?

use std::time::Duration;

use clap::Args;
use dtvn_client::api::Sequence;
use dtvn_client::{Client, ClientError};
use dtvn_messages::{Height, Reason, limits};
use serde::Serialize;
use tokio::time::Instant;

use super::exit::Exit;
use super::nodes::{NodesArguments, duration};
use super::output::{Output, table};

#[derive(Debug, Args)]
pub(super) struct ChecksumArguments {
    #[command(flatten)]
    nodes: NodesArguments,
    /// How long to wait for nodes that are behind
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    wait: Duration,
}

/// What a node says of its history up to the height that all are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NodeSequence {
    pub(super) url: String,
    /// None if it did not get there, or cannot be reached.
    pub(super) sequence: Option<Sequence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

/// The histories of all nodes up to one height.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Comparison {
    /// The highest that a node had committed when the comparison began.
    pub(super) height: Height,
    /// Whether all nodes have the same history up to there.
    pub(super) equal: bool,
    /// Whether all nodes could be reached.
    pub(super) reachable: bool,
    pub(super) nodes: Vec<NodeSequence>,
}

pub(super) async fn run(arguments: ChecksumArguments, output: Output) -> anyhow::Result<Exit> {
    let client = arguments.nodes.client()?;
    let comparison = compare(&client, arguments.wait).await?;
    output.result(&comparison, words);
    Ok(match &comparison {
        Comparison { reachable: false, .. } => Exit::Unreachable,
        Comparison { equal: true, .. } => Exit::Good,
        Comparison { .. } => Exit::Refused,
    })
}

/// Asks all nodes for their history up to the height of the most advanced, and waits at most `wait` for those behind.
///
/// # Errors
/// If no node can be reached.
pub(super) async fn compare(client: &Client, wait: Duration) -> Result<Comparison, ClientError> {
    let deadline = Instant::now() + wait;
    let count = client.nodes().len();
    let short = client.with_deadline(wait.max(Duration::from_secs(2)).min(limits::CLIENT_ATTEMPT_TIMEOUT));
    let heads = futures::future::join_all((0..count).map(|number| {
        let node = short.only(number);
        async move { node.sequence(None).await }
    }))
    .await;
    let height = heads.iter().flatten().map(|sequence| sequence.height).max();
    let Some(height) = height else {
        return Err(heads.into_iter().find_map(Result::err).unwrap_or_else(|| ClientError::Unreachable(String::new())));
    };
    let nodes = futures::future::join_all(client.nodes().enumerate().map(|(number, url)| {
        let (node, url) = (short.only(number), url.to_owned());
        async move {
            match at_height(&node, height, deadline).await {
                Ok(sequence) => NodeSequence { url, sequence: Some(sequence), failure: None },
                Err(error) => NodeSequence { url, sequence: None, failure: Some(error.to_string()) },
            }
        }
    }))
    .await;
    Ok(judge(height, &heads, nodes))
}

async fn at_height(node: &Client, height: Height, deadline: Instant) -> Result<Sequence, ClientError> {
    loop {
        match node.sequence(Some(height)).await {
            // It is not there yet.
            Err(ClientError::Refused(problem)) if problem.reason == Reason::NotFound && Instant::now() < deadline => {
                tokio::time::sleep(limits::HEALTH_LOOK_INTERVAL).await;
            }
            other => return other,
        }
    }
}

fn judge(height: Height, heads: &[Result<Sequence, ClientError>], nodes: Vec<NodeSequence>) -> Comparison {
    let unreachable = |error: &ClientError| !matches!(error, ClientError::Refused(_));
    let reachable = !heads.iter().any(|head| head.as_ref().is_err_and(unreachable));
    let mut digests: Vec<_> = nodes.iter().map(|node| node.sequence.as_ref().map(|sequence| sequence.digest)).collect();
    digests.dedup();
    let equal = matches!(digests.as_slice(), [Some(_)]);
    Comparison { height, equal, reachable, nodes }
}

fn words(comparison: &Comparison) -> String {
    let rows = comparison.nodes.iter().map(|node| match &node.sequence {
        Some(sequence) => {
            let digest = sequence.digest.to_string();
            [node.url.clone(), sequence.node_id.to_string(), digest, sequence.log_size.to_string()]
        }
        None => {
            let failure = node.failure.clone().unwrap_or_default();
            [node.url.clone(), String::new(), failure, String::new()]
        }
    });
    let table = table(["node", "name", "history up to that height", "operations"], rows);
    let verdict = match (comparison.equal, comparison.reachable) {
        (true, _) => "equal: all nodes have the same history",
        (false, false) => "incomplete: not all nodes could be reached",
        (false, true) => "DIFFERENT: not all nodes have the same history",
    };
    format!("height {}\n{table}\n{verdict}", comparison.height)
}

#[cfg(test)]
mod tests {
    use dtvn_messages::{Digest, NodeName};

    use super::*;

    fn node(byte: Option<u8>) -> NodeSequence {
        let sequence = byte.map(|byte| Sequence {
            node_id: NodeName::new("node0").unwrap(),
            height: Height(5),
            digest: Digest([byte; 32]),
            log_size: 9,
        });
        NodeSequence { url: "http://x".to_owned(), sequence, failure: None }
    }

    fn judged(nodes: &[Option<u8>], unreachable: bool) -> Comparison {
        let heads: Vec<_> =
            if unreachable { vec![Err(ClientError::Unreachable("gone".to_owned()))] } else { Vec::new() };
        judge(Height(5), &heads, nodes.iter().map(|byte| node(*byte)).collect())
    }

    #[test]
    fn histories_are_equal_only_if_all_nodes_show_the_same() {
        assert!(judged(&[Some(1), Some(1), Some(1)], false).equal);
        assert!(!judged(&[Some(1), Some(2), Some(1)], false).equal);
        assert!(!judged(&[Some(1), None, Some(1)], false).equal, "one is behind");
        assert!(!judged(&[None, None], false).equal);
    }

    #[test]
    fn a_node_that_is_gone_is_not_a_difference() {
        let comparison = judged(&[Some(1), None], true);
        assert!(!comparison.reachable && !comparison.equal);
        assert!(words(&comparison).ends_with("not all nodes could be reached"));
    }
}
