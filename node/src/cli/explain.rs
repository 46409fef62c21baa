//! `dtvn explain`: who took an operation in, who proposed, who voted, when, and what came of it.

use clap::Args;
use dtvn_client::api::{
    Block, ConsensusLogEntry, ConsensusLogs, OperationState, OutcomeRecord, Problem, SeenTimes, Time,
};
use dtvn_client::{Client, ClientError};
use dtvn_messages::{EventId, Height, IdempotencyKey, Reason, TicketId};
use serde::Serialize;

use super::exit::Exit;
use super::nodes::NodesArguments;
use super::output::Output;
use super::ticket::{fail, outcome_table, scan_words};

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    nodes: NodesArguments,
    /// A height, a ticket's id or an idempotency key
    what: String,
    /// The ticket's event [default: default]
    #[arg(long)]
    event: Option<EventId>,
}

/// What the nodes say about one height.
#[derive(Debug, Serialize)]
struct HeightStory {
    block: Block,
    /// What each node that was asked saw, with its URL.
    seen: Vec<(String, ConsensusLogEntry)>,
    /// The nodes that did not say what they saw, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_said: Vec<(String, String)>,
}

/// An operation's story.
#[derive(Debug, Serialize)]
struct Story {
    outcome: OutcomeRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<HeightStory>,
}

pub(super) async fn run(arguments: ExplainArguments, output: Output) -> anyhow::Result<Exit> {
    let client = arguments.nodes.client()?;
    if let Ok(height) = arguments.what.parse() {
        let story = height_story(&client, Height(height)).await?;
        output.result(&story, height_words);
        return Ok(Exit::Good);
    }
    let outcomes = match find(&client, &arguments.what, arguments.event.as_ref()).await {
        Ok(outcomes) => outcomes,
        Err(error) => return fail(error, output),
    };
    let mut stories = Vec::new();
    for outcome in outcomes {
        let height = match height_story(&client, outcome.height).await {
            Ok(story) => Some(story),
            // Old blocks are collected; the outcome remains.
            Err(ClientError::Refused(problem)) if matches!(problem.reason, Reason::NotFound | Reason::Gone) => None,
            Err(error) => return fail(error, output),
        };
        stories.push(Story { outcome, height });
    }
    output.result(&stories, |stories| stories.iter().map(story_words).collect::<Vec<_>>().join("\n\n"));
    Ok(Exit::Good)
}

/// The outcomes of a ticket by this name, else of an operation with this key.
async fn find(client: &Client, what: &str, event: Option<&EventId>) -> Result<Vec<OutcomeRecord>, ClientError> {
    let (id, key) = (TicketId::new(what).ok(), IdempotencyKey::new(what).ok());
    if id.is_none() && key.is_none() {
        return Err(ClientError::Usage(format!("{what:?} is neither a height, nor a ticket's id, nor a key")));
    }
    let mut refused = None;
    if let Some(id) = &id {
        match client.history(id, event, None).await {
            Ok(history) if !history.history.is_empty() => return Ok(history.history),
            Ok(_) => {}
            Err(ClientError::Refused(problem)) => refused = Some(problem),
            Err(error) => return Err(error),
        }
    }
    if let Some(key) = key {
        match client.operation(event, &key).await {
            Ok(status) => match status.outcome {
                Some(outcome) => return Ok(vec![outcome]),
                None => return Err(ClientError::OutcomeUnknown { key, last: "it is under way".to_owned() }),
            },
            Err(ClientError::Refused(problem)) if problem.reason == Reason::NotFound => {}
            Err(ClientError::Refused(problem)) => refused = refused.or(Some(problem)),
            Err(error) => return Err(error),
        }
    }
    // A node that began with a state of the network may know a ticket, and nothing of what was asked of it.
    if let Some(id) = &id {
        match client.ticket(id, event).await {
            Ok(_) => {
                let why = format!("what was asked of ticket {id} is with nodes that hold more of the history");
                return Err(ClientError::Refused(Box::new(Problem::new(Reason::NotFound, why))));
            }
            Err(ClientError::Refused(problem)) if problem.reason == Reason::UnknownTicket => {}
            Err(error) => return Err(error),
        }
    }
    Err(ClientError::Refused(refused.unwrap_or_else(|| Box::new(nothing(what, event)))))
}

/// There is nothing of this name.
fn nothing(what: &str, event: Option<&EventId>) -> Problem {
    let event = event.cloned().unwrap_or_else(EventId::default_event);
    let why = format!("there is no ticket {what} in the event {event}, and no operation with that key is decided");
    Problem::new(Reason::UnknownTicket, why)
}

async fn height_story(client: &Client, height: Height) -> Result<HeightStory, ClientError> {
    let block = client.block(height).await?;
    let nodes = (0..client.nodes().len()).map(|number| {
        let node = client.only(number).with_deadline(std::time::Duration::from_secs(2));
        async move { node.consensus_logs(Some(height.next()), Some(1)).await }
    });
    let logs = futures::future::join_all(nodes).await;
    let mut story = HeightStory { block, seen: Vec::new(), not_said: Vec::new() };
    for (url, logs) in client.nodes().zip(logs) {
        let at_height = |logs: ConsensusLogs| logs.logs.into_iter().find(|entry| entry.height == height);
        match logs.map(at_height) {
            Ok(Some(entry)) => story.seen.push((url.to_owned(), entry)),
            Ok(None) => story.not_said.push((url.to_owned(), "it does not have that block".to_owned())),
            Err(error) => story.not_said.push((url.to_owned(), error.to_string())),
        }
    }
    Ok(story)
}

fn story_words(story: &Story) -> String {
    let outcome = &story.outcome;
    let about = outcome.ticket_id.as_ref().map_or(String::new(), |ticket| format!(" {ticket}"));
    let mut lines = vec![
        format!("{}{about} (event {}), key {}", outcome.kind, outcome.event, outcome.idempotency_key),
        format!("  taken in by {}", outcome.validator_id),
    ];
    lines.push(match (outcome.status, outcome.reason) {
        (OperationState::Refused, Some(reason)) => format!("  refused: {reason}"),
        (OperationState::Refused, None) => "  refused".to_owned(),
        _ => format!("  accepted{}", outcome.state.map_or(String::new(), |state| format!(": the ticket is {state}"))),
    });
    lines.extend(outcome.first.as_ref().map(|scan| format!("  because of the scan at {}", scan_words(scan))));
    lines.push(format!("  at height {}, index {}, {}", outcome.height, outcome.index, outcome.agreed_time));
    match &story.height {
        None => lines.push("  the block is no longer kept".to_owned()),
        Some(height) => lines.extend(height_lines(height)),
    }
    lines.join("\n")
}

fn height_words(story: &HeightStory) -> String {
    let block = &story.block;
    let mut lines = vec![format!("block {} {}", block.height, block.digest)];
    lines.push(format!(
        "  bundles: {}; log of {} outcomes, root {}",
        block.bundles.len(),
        block.log_size,
        block.log_root
    ));
    lines.extend(height_lines(story));
    if !block.outcomes.is_empty() {
        lines.push(outcome_table(&block.outcomes));
    }
    lines.join("\n")
}

fn height_lines(story: &HeightStory) -> Vec<String> {
    let block = &story.block;
    let mut lines = vec![format!(
        "  proposed by {} in view {}, agreed time {}",
        block.proposer, block.proposed_in_view, block.agreed_time
    )];
    for bundle in &block.bundles {
        let origin = bundle.origin.as_ref().map_or("?", |origin| origin.as_str());
        let operations = match bundle.operations {
            None => "? operations".to_owned(),
            Some(1) => "1 operation".to_owned(),
            Some(count) => format!("{count} operations"),
        };
        lines.push(format!("  bundle {}.. of {origin}: {operations}", &bundle.digest.to_string()[..8]));
    }
    if let Some(certificate) = &block.certificate {
        let signers: Vec<&str> = certificate.signers.iter().map(|signer| signer.as_str()).collect();
        lines.push(format!("  committed in view {} by the votes of {}", certificate.view, signers.join(", ")));
    }
    lines.extend(story.seen.iter().map(|(url, entry)| format!("  {url} {}", seen_words(&entry.seen))));
    lines.extend(story.not_said.iter().map(|(url, why)| format!("  {url} does not say when it saw it: {why}")));
    lines
}

fn seen_words(seen: &SeenTimes) -> String {
    let times = [("proposed", seen.proposed), ("prepared", seen.prepared), ("committed", seen.committed)];
    let times = times.iter().filter_map(|(what, time)| time.map(|time| format!("{what} {}", clock(time))));
    match times.collect::<Vec<_>>().as_slice() {
        [] => "did not see it being agreed on".to_owned(),
        times => format!("saw it {}", times.join(", ")),
    }
}

/// The time of day, for steps that lie within milliseconds.
fn clock(time: Time) -> String {
    let text = time.to_string();
    text.split('T').nth(1).map_or(text.clone(), |clock| clock.trim_end_matches('Z').to_owned())
}

#[cfg(test)]
mod tests {
    use dtvn_messages::Timestamp;

    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_its_event() {
        let problem = nothing("NOPE", None);
        assert_eq!(problem.reason, Reason::UnknownTicket);
        let expected = "there is no ticket NOPE in the event default, and no operation with that key is decided";
        assert_eq!(problem.detail, expected);
        let gala = EventId::new("gala").unwrap();
        assert!(nothing("NOPE", Some(&gala)).detail.contains("in the event gala, "));
    }

    #[test]
    fn a_node_tells_what_it_saw_or_that_it_saw_nothing() {
        let at = |micros: u64| Some(Time(Timestamp(1_767_225_600_000_000 + micros)));
        let seen = SeenTimes { proposed: None, prepared: at(1), committed: at(2) };
        assert_eq!(seen_words(&seen), "saw it prepared 00:00:00.000001, committed 00:00:00.000002");
        let fetched = SeenTimes { proposed: None, prepared: None, committed: None };
        assert_eq!(seen_words(&fetched), "did not see it being agreed on");
    }

    #[test]
    fn steps_are_shown_by_the_time_of_day() {
        assert_eq!(clock(Time(Timestamp(1_767_225_600_120_000))), "00:00:00.120000");
    }
}
