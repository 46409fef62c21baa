//! `dtvn devnet --demo`: a ticket's way through a new network, with the commands that do the same.

use std::time::Duration;

use dtvn_client::api::{Kind, SeedRequest, TicketRequest};
use dtvn_client::{Client, ClientError, TicketFilter};
use dtvn_messages::{TicketId, TicketState};

use super::checksum::compare;
use super::output::Output;
use super::ticket::accepted_words;

/// How long the nodes may take to have the same history at the end.
const SETTLE: Duration = Duration::from_secs(30);

/// Seeds, validates at one node, tries again at another, consumes at a third, and compares the histories.
///
/// # Errors
/// If a step ends otherwise than it should.
pub(super) async fn run(client: &Client, output: Output) -> anyhow::Result<()> {
    let url = |number: usize| client.nodes().nth(number % client.nodes().len()).unwrap_or_default().to_owned();
    output.line("$ dtvn ticket seed");
    // Who has heard of an outcome from a node finds it there: another one may still be about to execute it.
    let first = client.only(0);
    let seeded = first.seed(SeedRequest::default()).await?;
    output.line(format!("{} tickets seeded at height {}", seeded.seeded, seeded.height));

    let filter = TicketFilter { state: Some(TicketState::Issued), limit: Some(1), ..TicketFilter::default() };
    let page = first.tickets(&filter).await?;
    let Some(ticket) = page.tickets.first().map(|ticket| ticket.id.clone()) else {
        output.line("all seed tickets are used: `dtvn devnet --fresh` begins anew");
        return Ok(());
    };
    for (number, kind) in [(0, Kind::Validate), (1, Kind::Validate), (2, Kind::Consume)] {
        output.line(format!("$ dtvn ticket {} {ticket} --gate north --nodes {}", kind.name(), url(number)));
        let answer = client.only(number).on_ticket(kind, request(&ticket)).await;
        match answer {
            Ok(accepted) => output.line(accepted_words(&accepted)),
            // The second validation is meant to be refused.
            Err(ClientError::Refused(problem)) if number == 1 => output.line(&problem.detail),
            Err(error) => return Err(error.into()),
        }
    }
    output.line("$ dtvn checksum");
    let comparison = compare(client, SETTLE).await?;
    anyhow::ensure!(comparison.equal, "the nodes do not have the same history up to height {}", comparison.height);
    output.line(format!("height {}: all {} nodes have the same history", comparison.height, comparison.nodes.len()));
    Ok(())
}

fn request(ticket: &TicketId) -> TicketRequest {
    TicketRequest { gate: Some("north".into()), ..TicketRequest::new(ticket.clone()) }
}
