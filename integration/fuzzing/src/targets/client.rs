//! What clients send: names, times, requests in JSON and bincode.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use dtvn_client::api::{
    BatchAnswer, Epochs, EvidencePage, IssueRequest, OperationRequest, Problem, ProposedChange, SeedRequest,
    TicketRequest, Time, decode_answers, decode_requests, encode_answers, encode_requests,
};
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layouts::Typed;
use super::{choice, trusted};
use crate::Judged;

/// What is read from a text is shown as a text that is read as the same.
fn shown<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Judged {
    let Ok(value) = text.parse::<T>() else { return Judged::Refused };
    let again = value.to_string();
    let Ok(read) = again.parse::<T>() else { panic!("{text:?} is shown as {again:?}, which is refused") };
    assert_eq!(read, value);
    Judged::Accepted
}

/// The same for what is only ever read in JSON.
fn quoted<T: DeserializeOwned + Display + PartialEq + Debug>(text: &str) -> Judged {
    let read = |text: &str| serde_json::from_value::<T>(serde_json::Value::String(text.to_owned()));
    let Ok(value) = read(text) else { return Judged::Refused };
    assert!(read(&value.to_string()).is_ok_and(|same| same == value), "{text:?} is shown as {value}");
    Judged::Accepted
}

/// A kind of name, and what reads it.
pub type Named = (&'static str, fn(&str) -> Judged);

/// The texts that the first byte chooses from.
pub const NAMES: &[Named] = &[
    ("chain", shown::<ChainId>),
    ("node", shown::<NodeName>),
    ("event", shown::<EventId>),
    ("ticket", shown::<TicketId>),
    ("key", shown::<IdempotencyKey>),
    ("digest", quoted::<Digest>),
    ("public-key", quoted::<PublicKey>),
    ("time", shown::<Time>),
];

/// A name, digest, key or time.
pub(super) fn names(input: &[u8]) -> Judged {
    let Some((of, bytes)) = choice(input, NAMES.len()) else { return Judged::Refused };
    let Ok(text) = std::str::from_utf8(bytes) else { return Judged::Refused };
    NAMES[of].1(text)
}

/// What is read from JSON is written as JSON that is read as the same.
fn there_and_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(json: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(json).ok()?;
    let Ok(again) = serde_json::to_vec(&value) else { panic!("{value:?} cannot be written") };
    let read = serde_json::from_slice::<T>(&again);
    match read {
        Ok(read) => assert_eq!(read, value),
        Err(error) => panic!("{} is refused: {error}", String::from_utf8_lossy(&again)),
    }
    Some(value)
}

/// A request as the operation that it asks for, in its layout and back.
fn as_operation(request: OperationRequest) -> Judged {
    let Ok(key) = IdempotencyKey::new("0123456789abcdef") else { return Judged::Refused };
    let Ok(operation) = request.into_operation(key, Timestamp(1)) else { return Judged::Accepted };
    assert_eq!(Operation::from_bytes(&operation.to_bytes()).as_ref(), Ok(&operation), "what is admitted travels");
    Judged::Accepted
}

/// How many kinds of bodies there are.
pub(super) const BODIES: usize = 5;

/// A body in JSON: of the routes of one operation, of a batch, of a seeding, of another validator set.
pub(super) fn json(input: &[u8]) -> Judged {
    let Some((of, body)) = choice(input, BODIES) else { return Judged::Refused };
    match of {
        0 => match there_and_back::<TicketRequest>(body) {
            Some(request) => as_operation(OperationRequest::of_ticket(dtvn_client::api::Kind::Consume, request)),
            None => Judged::Refused,
        },
        1 => there_and_back::<IssueRequest>(body).map_or(Judged::Refused, |_| Judged::Accepted),
        2 => there_and_back::<SeedRequest>(body).map_or(Judged::Refused, |_| Judged::Accepted),
        3 => match there_and_back::<Vec<OperationRequest>>(body) {
            Some(requests) => {
                requests.into_iter().for_each(|request| {
                    let _either = as_operation(request);
                });
                Judged::Accepted
            }
            None => Judged::Refused,
        },
        _ => there_and_back::<ProposedChange>(body).map_or(Judged::Refused, change),
    }
}

/// A change of the validators as the operation that it is, or why it is none; and whose signatures hold.
fn change(mut proposed: ProposedChange) -> Judged {
    let present = trusted::genesis().validators();
    let Ok(change) = proposed.to_change(present) else { return Judged::Accepted };
    let signers = change.signatures.0.len();
    let forged = proposed.drop_forged(present).map_or(0, |names| names.len());
    assert_eq!(proposed.signatures.len() + forged, signers, "a signature holds, or is forged");
    Judged::Accepted
}

/// The answers that the first byte chooses from.
pub const ANSWERS: &[Typed] = &[("problem", problem), ("epochs", epochs), ("evidence", evidence)];

/// What a node answers to a client, or a file that holds such an answer.
pub(super) fn answer(input: &[u8]) -> Judged {
    let Some((of, body)) = choice(input, ANSWERS.len()) else { return Judged::Refused };
    ANSWERS[of].1(body)
}

fn problem(body: &[u8]) -> Judged {
    there_and_back::<Problem>(body).map_or(Judged::Refused, |_| Judged::Accepted)
}

/// Epochs, which lead no further than their proofs.
fn epochs(body: &[u8]) -> Judged {
    let Some(epochs) = there_and_back::<Epochs>(body) else { return Judged::Refused };
    let mut chronicle = Chronicle::new(trusted::genesis());
    let before = chronicle.last();
    let led = epochs.lead(&mut chronicle, trusted::genesis(), &Ed25519);
    let proofs = epochs.epochs.iter().filter(|info| info.end.is_some()).count() as u64;
    assert!(chronicle.last().0 - before.0 <= proofs, "each step has a proof");
    assert!(led.is_ok() || chronicle.last().0 - before.0 < proofs.max(1), "the one that is refused is no step");
    Judged::Accepted
}

/// Evidence, as it is shown to who verifies it.
fn evidence(body: &[u8]) -> Judged {
    let Some(page) = there_and_back::<EvidencePage>(body) else { return Judged::Refused };
    for record in page.evidence {
        if let Some(bytes) = note::decode_base64(&record.bytes) {
            let _either = super::evidence::judged(&bytes);
        }
    }
    Judged::Accepted
}

/// Requests, or answers.
pub(super) const BATCHES: usize = 2;

/// A batch in bincode, of requests or of answers. Not canonical: read, written, read as the same.
pub(super) fn compact(input: &[u8]) -> Judged {
    let Some((of, bytes)) = choice(input, BATCHES) else { return Judged::Refused };
    if of == 0 {
        let Ok(requests) = decode_requests(bytes) else { return Judged::Refused };
        let Ok(again) = encode_requests(&requests) else { panic!("requests that were read cannot be written") };
        assert!(decode_requests(&again).is_ok_and(|read| read == requests));
        requests.into_iter().for_each(|request| {
            let _either = as_operation(request);
        });
    } else {
        let Ok(answers) = decode_answers(bytes) else { return Judged::Refused };
        let answers: Vec<BatchAnswer> = answers;
        let Ok(again) = encode_answers(&answers) else { panic!("answers that were read cannot be written") };
        assert!(decode_answers(&again).is_ok_and(|read| read == answers));
    }
    Judged::Accepted
}
