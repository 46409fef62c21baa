//! Reads: any node answers, from its committed state.

use bytes::Bytes;
use dtvn_messages::{EventId, Height, IdempotencyKey, TicketId, TicketState};
use hyper::Method;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::operations::read_json;
use super::transport::Ask;
use super::{Client, ClientError, Purpose};
use crate::api::{
    Block, Blocks, Configuration, ConsensusLogs, EPOCHS, Epochs, GenesisAnswer, Health, History, JSON, NodeCrypto,
    OperationStatus, Peers, Sequence, Stats, Status, StorageEntries, Ticket, TicketPage, Validators, operation_path,
    segment,
};

/// Which tickets.
#[derive(Debug, Clone, Default)]
pub struct TicketFilter {
    /// Of this event only; `default` if not given.
    pub event: Option<EventId>,
    /// In this state only.
    pub state: Option<TicketState>,
    /// After this cursor, from [`TicketPage::next`].
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Client {
    /// One ticket.
    ///
    /// # Errors
    /// Refused with `unknown_ticket` if there is none; unavailable, unreachable.
    pub async fn ticket(&self, id: &TicketId, event: Option<&EventId>) -> Result<Ticket, ClientError> {
        let query = Query::default().text("event", event.map(EventId::as_str));
        self.get(&query.after(&format!("/api/v1/tickets/{}", segment(id.as_str())))).await
    }

    /// Tickets, a page at a time.
    ///
    /// # Errors
    /// As every read.
    pub async fn tickets(&self, filter: &TicketFilter) -> Result<TicketPage, ClientError> {
        let query = Query::default()
            .text("event", filter.event.as_ref().map(EventId::as_str))
            .text("state", filter.state.map(TicketState::name))
            .text("after", filter.after.as_deref())
            .text("limit", filter.limit.map(|limit| limit.to_string()).as_deref());
        self.get(&query.after("/api/v1/tickets")).await
    }

    /// What became of a ticket, refusals too.
    ///
    /// # Errors
    /// As every read.
    pub async fn history(
        &self,
        id: &TicketId,
        event: Option<&EventId>,
        after: Option<&str>,
    ) -> Result<History, ClientError> {
        let query = Query::default().text("event", event.map(EventId::as_str)).text("after", after);
        self.get(&query.after(&format!("/api/v1/tickets/{}/history", segment(id.as_str())))).await
    }

    /// What became of an operation; without an event, of one of the default event.
    ///
    /// # Errors
    /// Refused with `not_found` if this network has not heard of the key; unavailable, unreachable.
    pub async fn operation(
        &self,
        event: Option<&EventId>,
        key: &IdempotencyKey,
    ) -> Result<OperationStatus, ClientError> {
        self.get(&operation_path(event.unwrap_or(&EventId::default_event()), key)).await
    }

    /// How a node is.
    ///
    /// # Errors
    /// As every read.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/api/v1/status").await
    }

    /// A node's figures.
    ///
    /// # Errors
    /// As every read.
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.get("/api/v1/stats").await
    }

    /// A node's peers.
    ///
    /// # Errors
    /// As every read.
    pub async fn peers(&self) -> Result<Peers, ClientError> {
        self.get("/api/v1/peers").await
    }

    /// A node's configuration.
    ///
    /// # Errors
    /// As every read.
    pub async fn configuration(&self) -> Result<Configuration, ClientError> {
        self.get("/api/v1/config").await
    }

    /// What consensus did, newest first: below `after`, the [`ConsensusLogs::next`] of the page before.
    ///
    /// # Errors
    /// As every read.
    pub async fn consensus_logs(
        &self,
        after: Option<Height>,
        limit: Option<usize>,
    ) -> Result<ConsensusLogs, ClientError> {
        self.get(&newest_first(after, limit).after("/api/v1/consensus/logs")).await
    }

    /// Blocks, newest first: below `after`, the [`Blocks::next`] of the page before.
    ///
    /// # Errors
    /// As every read.
    pub async fn blocks(&self, after: Option<Height>, limit: Option<usize>) -> Result<Blocks, ClientError> {
        self.get(&newest_first(after, limit).after("/api/v1/blocks")).await
    }

    /// One block.
    ///
    /// # Errors
    /// Refused with `not_found` if it does not exist yet, `gone` if it is no longer kept.
    pub async fn block(&self, height: Height) -> Result<Block, ClientError> {
        self.get(&format!("/api/v1/blocks/{height}")).await
    }

    /// The validator set.
    ///
    /// # Errors
    /// As every read.
    pub async fn validators(&self) -> Result<Validators, ClientError> {
        self.get("/api/v1/validators").await
    }

    /// Who was a validator when: all epochs, page after page.
    ///
    /// # Errors
    /// As every read.
    pub async fn epochs(&self) -> Result<Epochs, ClientError> {
        let mut all: Epochs = self.get(EPOCHS).await?;
        while let Some(after) = all.next {
            let query = Query::default().text("after", Some(&after.to_string()));
            let page: Epochs = self.get(&query.after(EPOCHS)).await?;
            all.epochs.extend(page.epochs);
            // A node that names the same page again would be asked for ever.
            all.next = page.next.filter(|next| *next > after);
        }
        Ok(all)
    }

    /// The genesis file.
    ///
    /// # Errors
    /// As every read.
    pub async fn genesis(&self) -> Result<GenesisAnswer, ClientError> {
        self.get("/api/v1/genesis").await
    }

    /// A node's cryptographic identity.
    ///
    /// # Errors
    /// As every read.
    pub async fn node_crypto(&self) -> Result<NodeCrypto, ClientError> {
        self.get("/api/v1/node/crypto").await
    }

    /// What a node stores.
    ///
    /// # Errors
    /// As every read.
    pub async fn storage_entries(&self) -> Result<StorageEntries, ClientError> {
        self.get("/api/v1/storage/entries").await
    }

    /// The digest of the whole history up to `height`, or up to the last committed one.
    ///
    /// # Errors
    /// Refused with `not_found` if the node is not there yet, `gone` if it no longer keeps it.
    pub async fn sequence(&self, height: Option<Height>) -> Result<Sequence, ClientError> {
        let query = Query::default().text("height", height.map(|height| height.to_string()).as_deref());
        self.get(&query.after("/api/v1/sequence")).await
    }

    /// Whether a node is ready, and why not.
    ///
    /// # Errors
    /// If it cannot be reached; "not ready" is an answer.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let node = &*self.nodes[0];
        let until = tokio::time::Instant::now() + self.deadline.min(self.attempt_timeout);
        match self.transport.ask(node, &read_of("/health")?, until).await {
            Ok(reply) => {
                read_json(&reply).map_err(|message| ClientError::NotUnderstood { node: node.url().to_owned(), message })
            }
            Err(super::NoReply::NotSent(why) | super::NoReply::Lost(why)) => {
                Err(ClientError::Unreachable(format!("{}: {why}", node.url())))
            }
        }
    }

    /// Any JSON resource.
    ///
    /// # Errors
    /// As every read: refused, unavailable, unreachable, not understood.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(&read_of(path)?, Purpose::Repeatable, read_json).await
    }

    /// A command of the admin endpoint, by `POST` without a body. It is sent again only where nothing came of it, and
    /// waits for its end until the deadline.
    ///
    /// # Errors
    /// As every read; unconfirmed if it may have arrived and nobody said how it ended.
    pub async fn command<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let ask = Ask { method: Method::POST, ..read_of(path)? };
        self.ask(&ask, Purpose::Command, read_json).await
    }

    /// Any JSON resource by `PUT`: settings of the admin endpoint.
    ///
    /// # Errors
    /// As every read.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Usage(error.to_string()))?;
        let ask = Ask { method: Method::PUT, body: body.into(), ..read_of(path)? };
        self.ask(&ask, Purpose::Repeatable, read_json).await
    }
}

fn read_of(path: &str) -> Result<Ask, ClientError> {
    let path = PathAndQuery::try_from(path).map_err(|error| ClientError::Usage(format!("{path:?}: {error}")))?;
    Ok(Ask { method: Method::GET, path, media: HeaderValue::from_static(JSON), body: Bytes::new() })
}

fn newest_first(after: Option<Height>, limit: Option<usize>) -> Query {
    Query::default()
        .text("after", after.map(|height| height.to_string()).as_deref())
        .text("limit", limit.map(|limit| limit.to_string()).as_deref())
}

/// The part of a URL after the question mark.
#[derive(Default)]
struct Query(Vec<String>);

impl Query {
    fn text(mut self, name: &str, value: Option<&str>) -> Self {
        self.0.extend(value.map(|value| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))));
        self
    }

    fn after(self, path: &str) -> String {
        if self.0.is_empty() { path.to_owned() } else { format!("{path}?{}", self.0.join("&")) }
    }
}
