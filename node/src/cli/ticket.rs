//! `dtvn ticket`: one operation or read.

use clap::{Args, Subcommand};
use dtvn_client::api::{
    Accepted, History, IssueRequest, Kind, OperationState, OutcomeRecord, Scan, SeedRequest, Ticket, TicketRequest,
    Time,
};
use dtvn_client::{Client, ClientError, TicketFilter};
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{EventId, IdempotencyKey, TicketId, TicketState};

use super::exit::Exit;
use super::nodes::NodesArguments;
use super::output::{Output, table};

#[derive(Debug, Args)]
pub(super) struct TicketArguments {
    #[command(flatten)]
    nodes: NodesArguments,
    #[command(subcommand)]
    command: TicketCommand,
}

#[derive(Debug, Subcommand)]
enum TicketCommand {
    /// Issue the 500 test tickets TICKET-001 to TICKET-500 (development networks)
    Seed {
        /// The event [default: default]
        #[arg(long)]
        event: Option<EventId>,
    },
    /// Issue a ticket
    Issue(IssueArguments),
    /// Validate a ticket: ISSUED -> VALIDATED
    Validate(OperationArguments),
    /// Consume a ticket: VALIDATED -> CONSUMED
    Consume(OperationArguments),
    /// Dispute a ticket: VALIDATED -> DISPUTED
    Dispute {
        #[command(flatten)]
        operation: OperationArguments,
        /// Why, in words
        #[arg(long)]
        reason: Option<Box<str>>,
    },
    /// Show a ticket
    Get {
        #[command(flatten)]
        ticket: TicketName,
    },
    /// List tickets
    List {
        /// Of this event [default: default]
        #[arg(long)]
        event: Option<EventId>,
        /// Only in this state: ISSUED, VALIDATED, CONSUMED, DISPUTED or REVOKED
        #[arg(long, value_parser = state)]
        state: Option<TicketState>,
        /// At most so many; 0 is all
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show what became of a ticket, refusals too
    History {
        #[command(flatten)]
        ticket: TicketName,
    },
}

#[derive(Debug, Args)]
struct TicketName {
    /// The ticket's id
    ticket: TicketId,
    /// Its event [default: default]
    #[arg(long)]
    event: Option<EventId>,
}

#[derive(Debug, Args)]
struct OperationArguments {
    #[command(flatten)]
    name: TicketName,
    /// The gate's name
    #[arg(long)]
    gate: Option<Box<str>>,
    /// The device's name
    #[arg(long)]
    device: Option<Box<str>>,
    /// Replaces the ticket's data (issue, validate, consume)
    #[arg(long)]
    data: Option<Box<str>>,
    /// What makes it happen once; made up if not given
    #[arg(long)]
    key: Option<IdempotencyKey>,
}

#[derive(Debug, Args)]
struct IssueArguments {
    #[command(flatten)]
    operation: OperationArguments,
    /// A fact, such as seat=A1; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = fact)]
    meta: Vec<(Box<str>, Box<str>)>,
    /// Not valid before, such as 2026-01-01T18:00:00Z
    #[arg(long)]
    valid_from: Option<Time>,
    /// Not valid from then on
    #[arg(long)]
    valid_until: Option<Time>,
}

fn state(text: &str) -> Result<TicketState, String> {
    let found = TicketState::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("{text:?} is none of {}", TicketState::ALL.map(TicketState::name).join(", ")))
}

fn fact(text: &str) -> Result<(Box<str>, Box<str>), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.into(), value.into()))
}

pub(super) async fn run(arguments: TicketArguments, output: Output) -> anyhow::Result<Exit> {
    let client = arguments.nodes.client()?;
    match arguments.command {
        TicketCommand::Seed { event } => {
            let seeded = client.seed(SeedRequest { event, idempotency_key: None }).await;
            conclude(seeded, output, |seeded| format!("{} tickets seeded at height {}", seeded.seeded, seeded.height))
        }
        TicketCommand::Issue(arguments) => {
            let IssueArguments { operation, meta, valid_from, valid_until } = arguments;
            let given = meta.len();
            let metadata = meta.into_iter().collect::<Metadata>();
            if metadata.len() < given {
                return Err(ClientError::Usage("--meta gives one name twice".to_owned()).into());
            }
            let request = IssueRequest {
                ticket_id: operation.name.ticket,
                event: operation.name.event,
                data: operation.data,
                metadata,
                valid_from,
                valid_until,
                gate: operation.gate,
                device: operation.device,
                idempotency_key: operation.key,
            };
            conclude(client.issue(request).await, output, accepted_words)
        }
        TicketCommand::Validate(operation) => on_ticket(&client, Kind::Validate, operation, None, output).await,
        TicketCommand::Consume(operation) => on_ticket(&client, Kind::Consume, operation, None, output).await,
        TicketCommand::Dispute { operation, reason } => {
            on_ticket(&client, Kind::Dispute, operation, reason, output).await
        }
        TicketCommand::Get { ticket } => {
            let found = client.ticket(&ticket.ticket, ticket.event.as_ref()).await;
            conclude(found, output, ticket_words)
        }
        TicketCommand::List { event, state, limit } => list(&client, event, state, limit, output).await,
        TicketCommand::History { ticket } => history(&client, &ticket, output).await,
    }
}

async fn on_ticket(
    client: &Client,
    kind: Kind,
    operation: OperationArguments,
    reason: Option<Box<str>>,
    output: Output,
) -> anyhow::Result<Exit> {
    let request = TicketRequest {
        event: operation.name.event,
        data: operation.data,
        gate: operation.gate,
        device: operation.device,
        reason,
        idempotency_key: operation.key,
        ..TicketRequest::new(operation.name.ticket)
    };
    conclude(client.on_ticket(kind, request).await, output, accepted_words)
}

/// Shows a result, or a refusal as programs want it; other errors go up.
fn conclude<T: serde::Serialize>(
    result: Result<T, ClientError>,
    output: Output,
    words: impl FnOnce(&T) -> String,
) -> anyhow::Result<Exit> {
    match result {
        Ok(value) => {
            output.result(&value, words);
            Ok(Exit::Good)
        }
        Err(error) => fail(error, output),
    }
}

/// Shows a refusal as programs want it; other errors go up.
pub(super) fn fail(error: ClientError, output: Output) -> anyhow::Result<Exit> {
    match error {
        ClientError::Refused(problem) if output.is_json() => {
            output.result(&problem, |_| String::new());
            Ok(Exit::Refused)
        }
        error => Err(error.into()),
    }
}

async fn list(
    client: &Client,
    event: Option<EventId>,
    state: Option<TicketState>,
    limit: usize,
    output: Output,
) -> anyhow::Result<Exit> {
    let mut left = if limit == 0 { usize::MAX } else { limit };
    let mut filter = TicketFilter { event, state, after: None, limit: None };
    let mut tickets = Vec::new();
    while left > 0 {
        filter.limit = Some(left.min(1_000));
        let page = client.tickets(&filter).await?;
        left = left.saturating_sub(page.tickets.len());
        tickets.extend(page.tickets);
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    let more = filter.after.is_some();
    output.result(&tickets, |tickets| {
        let rows = tickets.iter().map(|ticket| {
            let by = format!("{} at {}", ticket.validator_id, last_time(ticket));
            [ticket.id.to_string(), ticket.state.to_string(), ticket.version.to_string(), by]
        });
        table(["ticket", "state", "version", "last taken in by"], rows)
    });
    if more {
        output.note("there are more: --limit 0 shows all");
    }
    Ok(Exit::Good)
}

async fn history(client: &Client, ticket: &TicketName, output: Output) -> anyhow::Result<Exit> {
    let mut whole: Option<History> = None;
    let mut after = None;
    loop {
        let page = client.history(&ticket.ticket, ticket.event.as_ref(), after.as_deref()).await?;
        after.clone_from(&page.next);
        match &mut whole {
            None => whole = Some(page),
            Some(whole) => whole.history.extend(page.history),
        }
        if after.is_none() {
            break;
        }
    }
    if let Some(whole) = whole {
        // Nothing was ever asked of it here: perhaps there is no such ticket.
        if whole.history.is_empty()
            && let Err(error) = client.ticket(&ticket.ticket, ticket.event.as_ref()).await
        {
            return fail(error, output);
        }
        output.result(&whole, |whole| outcome_table(&whole.history));
        if whole.complete_from > 0 {
            let from = whole.complete_from;
            let text = "this node began with a state of the network: what was asked before index";
            output.note(format!("{text} {from} of the log is with nodes that hold more"));
        }
    }
    Ok(Exit::Good)
}

/// Outcomes as a table.
pub(super) fn outcome_table(outcomes: &[OutcomeRecord]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let result = match (outcome.status, outcome.reason) {
            (OperationState::Refused, Some(reason)) => format!("refused: {reason}"),
            (_, _) => outcome.state.map_or_else(|| format!("{} tickets", outcome.tickets), |state| state.to_string()),
        };
        [
            outcome.height.to_string(),
            outcome.index.to_string(),
            outcome.agreed_time.to_string(),
            outcome.kind.clone(),
            result,
            outcome.validator_id.to_string(),
            outcome.idempotency_key.to_string(),
        ]
    });
    table(["height", "index", "agreed time", "operation", "outcome", "taken in by", "key"], rows)
}

/// What took effect, in words.
pub(super) fn accepted_words(accepted: &Accepted) -> String {
    let Accepted { ticket, height, agreed_time, .. } = accepted;
    format!(
        "{} is {} (version {}): height {height}, {agreed_time}, taken in by {}",
        ticket.id, ticket.state, ticket.version, ticket.validator_id
    )
}

fn ticket_words(ticket: &Ticket) -> String {
    let mut lines =
        vec![format!("{} of event {}: {}, version {}", ticket.id, ticket.event, ticket.state, ticket.version)];
    lines.extend(ticket.metadata.iter().map(|(name, value)| format!("  {name}: {value}")));
    lines.extend(ticket.data.as_ref().map(|data| format!("  data: {data}")));
    lines.extend(ticket.valid_from.map(|time| format!("  valid from {time}")));
    lines.extend(ticket.valid_until.map(|time| format!("  valid until {time}")));
    lines.extend(ticket.validated.as_ref().map(|scan| format!("  validated {}", scan_words(scan))));
    lines.extend(ticket.consumed.as_ref().map(|scan| format!("  consumed {}", scan_words(scan))));
    lines.extend(ticket.disputed.as_ref().map(|dispute| {
        let reason = dispute.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        format!("  disputed {}{reason}", scan_words(&dispute.scan))
    }));
    lines.join("\n")
}

/// A scan in words.
pub(super) fn scan_words(scan: &Scan) -> String {
    let mut words = scan.at.to_string();
    for (what, name) in [("gate", &scan.gate), ("device", &scan.device)] {
        if let Some(name) = name {
            words = format!("{words}, {what} {name}");
        }
    }
    format!("{words}, height {}, taken in by {}", scan.height, scan.validator)
}

fn last_time(ticket: &Ticket) -> String {
    let scans = [ticket.validated.as_ref(), ticket.consumed.as_ref(), ticket.disputed.as_ref().map(|d| &d.scan)];
    let last = scans.into_iter().flatten().max_by_key(|scan| scan.at);
    let issued = || Time(dtvn_messages::Timestamp(ticket.timestamp.saturating_mul(1_000_000)));
    last.map_or_else(issued, |scan| scan.at).to_string()
}
