//! `dtvn verify`: is this receipt true, and does this evidence prove a lie? With the validators' keys alone: no node is asked.

mod asked;
mod trust;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use asked::Asked;
use clap::{Args, Subcommand};
use dtvn_client::ClientError;
use dtvn_client::api::{EvidencePage, EvidenceRecord, OutcomeRecord, Time};
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::evidence::EvidenceError;
use dtvn_messages::note::decode_base64;
use dtvn_messages::policy::Policy;
use dtvn_messages::receipt::{ReceiptError, Verified};
use dtvn_messages::{ChainId, Digest, Ed25519, Epoch, Evidence, Genesis, Height, Receipt, Timestamp, limits};
use serde::Serialize;
use trust::TrustArguments;

use super::exit::Exit;
use super::output::Output;

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[command(subcommand)]
    what: VerifyCommand,
}

#[derive(Debug, Subcommand)]
enum VerifyCommand {
    /// A receipt (C2SP tlog-proof): what became of an operation. Say of which, or any true receipt will do
    Receipt {
        /// The file; - is standard input
        file: PathBuf,
        #[command(flatten)]
        trust: TrustArguments,
        /// Policy file (C2SP tlog-policy) with the keys to trust, instead of a genesis
        #[arg(long, value_name = "FILE", conflicts_with_all = ["genesis", "development", "epochs"])]
        policy: Option<PathBuf>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Evidence that a validator lies: its bytes, or what /api/v1/evidence says
    Evidence {
        /// The file; - is standard input
        file: PathBuf,
        #[command(flatten)]
        trust: TrustArguments,
    },
}

const GIVE_EPOCHS: &str = "give --epochs FILE, made by `dtvn --json validators epochs > FILE`";

/// What came of it.
#[derive(Debug, Serialize)]
struct Judged {
    /// It is true, and what was asked for.
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// In what it is something else, although it is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_what_was_asked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<JudgedReceipt>,
}

/// What came of one piece of evidence.
#[derive(Debug, Serialize)]
struct JudgedEvidence {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<EvidenceRecord>,
}

#[derive(Debug, Serialize)]
struct JudgedReceipt {
    outcome: OutcomeRecord,
    chain_id: ChainId,
    epoch: Epoch,
    height: Height,
    block: Digest,
    log_size: u64,
    log_root: Digest,
    cosigned_at: Time,
    cosigners: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    power: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quorum: Option<u64>,
}

impl JudgedReceipt {
    fn new(chain_id: ChainId, verified: Verified) -> Self {
        let Verified { outcome, head, cosigners, power } = verified;
        Self {
            outcome: OutcomeRecord::from(&outcome),
            chain_id,
            epoch: head.epoch,
            height: head.height,
            block: head.block,
            log_size: head.log_size,
            log_root: head.log_root,
            cosigned_at: Time(Timestamp(head.time_seconds.saturating_mul(1_000_000))),
            cosigners,
            power: power.map(|(power, _)| power),
            quorum: power.map(|(_, quorum)| quorum),
        }
    }
}

pub(super) fn run(arguments: &VerifyArguments, output: Output) -> anyhow::Result<Exit> {
    let (file, trust, policy, asked) = match &arguments.what {
        VerifyCommand::Receipt { file, trust, policy, asked } => (file, trust, policy, asked),
        VerifyCommand::Evidence { file, trust } => return evidence(file, &trust.chronicle()?, output),
    };
    let text = read(file, limits::RECEIPT_BYTES_MAX)?;
    let judged = match policy {
        Some(policy) => by_policy(&text, &trust::policy(policy)?),
        None => by_genesis(&text, &trust.chronicle()?),
    };
    let judged = conclude(judged, asked);
    output.result(&judged, words);
    Ok(if judged.valid { Exit::Good } else { Exit::Refused })
}

fn by_genesis(text: &str, (genesis, chronicle): &(Genesis, Chronicle)) -> Result<JudgedReceipt, ReceiptError> {
    let chain = genesis.chain_id();
    let verified = Receipt::parse(text)?.verify(chain, |epoch| chronicle.set(epoch), &Ed25519)?;
    Ok(JudgedReceipt::new(chain.clone(), verified))
}

/// A policy names keys and no chain: what they cosigned says which one it is.
fn by_policy(text: &str, policy: &Policy) -> Result<JudgedReceipt, ReceiptError> {
    let receipt = Receipt::parse(text)?;
    let chain = receipt.chain().ok_or(dtvn_messages::note::NoteError::Form("its checkpoint is not of a DTVN chain"))?;
    let verified = receipt.verify_by_policy(policy, &chain, &Ed25519)?;
    Ok(JudgedReceipt::new(chain, verified))
}

fn conclude(judged: Result<JudgedReceipt, ReceiptError>, asked: &Asked) -> Judged {
    let not_valid = |why| Judged { valid: false, why: Some(why), not_what_was_asked: None, receipt: None };
    match judged {
        Ok(receipt) => {
            let not_what_was_asked = asked.mismatch(&receipt.outcome);
            Judged { valid: not_what_was_asked.is_none(), why: None, not_what_was_asked, receipt: Some(receipt) }
        }
        Err(error @ ReceiptError::Epoch(_)) => not_valid(format!("{error}: {GIVE_EPOCHS}")),
        Err(error) => not_valid(error.to_string()),
    }
}

fn words(judged: &Judged) -> String {
    match (&judged.not_what_was_asked, &judged.receipt) {
        (Some(fault), _) => format!("NOT WHAT WAS ASKED: {fault}"),
        (None, Some(receipt)) => receipt_words(receipt),
        (None, None) => format!("NOT VALID: {}", judged.why.as_deref().unwrap_or_default()),
    }
}

fn receipt_words(receipt: &JudgedReceipt) -> String {
    let JudgedReceipt { outcome, chain_id, height, cosigners, power, quorum, .. } = receipt;
    let ticket =
        outcome.ticket_id.as_ref().map_or_else(|| "no single ticket".to_owned(), |ticket| format!("ticket {ticket}"));
    let verdict = outcome.reason.map_or_else(|| "accepted".to_owned(), |reason| format!("refused ({reason})"));
    let enough = match (power, quorum) {
        (Some(power), Some(quorum)) => format!("power {power}, a quorum is {quorum}"),
        _ => "the quorum of the policy".to_owned(),
    };
    format!(
        "VALID: {} of {ticket} in the event {} was {verdict} at {}, as outcome {} of the chain {chain_id}.\nCosigned by {} \
         after block {height} ({enough}).",
        outcome.kind,
        outcome.event,
        outcome.agreed_time,
        outcome.index,
        cosigners.join(", "),
    )
}

/// Judges one piece of evidence, or all of a page of `/api/v1/evidence`.
fn evidence(file: &Path, trust: &(Genesis, Chronicle), output: Output) -> anyhow::Result<Exit> {
    let bytes = read_bytes(file, limits::CLIENT_ANSWER_BYTES_MAX)?;
    let pieces: Vec<Vec<u8>> = match serde_json::from_slice::<EvidencePage>(&bytes) {
        Ok(page) => page.evidence.iter().map(|it| decode_base64(&it.bytes).unwrap_or_default()).collect(),
        Err(_) => match serde_json::from_slice::<EvidenceRecord>(&bytes) {
            Ok(record) => vec![decode_base64(&record.bytes).unwrap_or_default()],
            Err(_) => {
                let text = std::str::from_utf8(&bytes).ok().and_then(|text| decode_base64(text.trim()));
                vec![text.unwrap_or(bytes)]
            }
        },
    };
    if pieces.is_empty() {
        output.note("there is no evidence in it");
        return Ok(Exit::Refused);
    }
    let mut exit = Exit::Good;
    for bytes in pieces {
        let judged = judge(&bytes, trust);
        if !judged.valid {
            exit = Exit::Refused;
        }
        output.item(&judged, evidence_words);
    }
    Ok(exit)
}

fn judge(bytes: &[u8], (genesis, chronicle): &(Genesis, Chronicle)) -> JudgedEvidence {
    let not_valid = |why: String| JudgedEvidence { valid: false, why: Some(why), evidence: None };
    let evidence = match Evidence::decode(bytes) {
        Ok(evidence) => evidence,
        Err(error) => return not_valid(format!("this is no evidence: {error}")),
    };
    if let Err(error) = evidence.verify(genesis.chain_id(), |epoch| chronicle.context(epoch), &Ed25519) {
        return not_valid(match error {
            EvidenceError::Epoch(_) => format!("{error}: {GIVE_EPOCHS}"),
            error => error.to_string(),
        });
    }
    if !evidence.kind().is_proof() {
        return not_valid("it is an accusation, which only a node that holds the state can check".to_owned());
    }
    let set = chronicle.set(evidence.slot().epoch);
    let name = set.and_then(|set| set.get(evidence.culprit())).map(|validator| validator.name.clone());
    match name {
        Some(name) => JudgedEvidence { valid: true, why: None, evidence: Some(EvidenceRecord::new(&evidence, name)) },
        None => not_valid("its culprit is no validator".to_owned()),
    }
}

fn evidence_words(judged: &JudgedEvidence) -> String {
    match &judged.evidence {
        None => format!("NOT VALID: {}", judged.why.as_deref().unwrap_or_default()),
        Some(EvidenceRecord { kind, culprit, epoch, view, height, .. }) => format!(
            "VALID: {culprit} does not follow the protocol: {} ({kind}, epoch {epoch}, view {view}, height {height}).",
            what_it_did(kind)
        ),
    }
}

fn what_it_did(kind: &str) -> &'static str {
    match kind {
        "two_votes" => "it voted for two blocks in one view and height",
        "two_heads" => "it cosigned two logs that contradict each other",
        "two_view_changes" => "it moved to one view with two stories",
        "two_new_views" => "it started one view twice",
        "hidden_certificate" => "it hid what it knew to be prepared",
        "bad_new_view" => "it started a view that it may not start so",
        "against_new_view" => "it voted against its own start of the view",
        "bad_proposal" => "it voted for a block that no honest leader makes",
        "forged_certificate" => "it signed a certificate that proves nothing",
        _ => "it signed what no honest validator signs",
    }
}

/// The text of a file, or of standard input; not more than is ever valid, and one byte.
fn read(file: &Path, limit: usize) -> anyhow::Result<String> {
    // What is no text is no receipt and no policy either.
    Ok(String::from_utf8_lossy(&read_bytes(file, limit)?).into_owned())
}

fn read_bytes(file: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let done = match file == Path::new("-") {
        true => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    // Not what is said of a receipt that does not hold.
    done.map_err(|error| ClientError::Usage(format!("cannot read {}: {error}", file.display())))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use dtvn_messages::certificate::Signatures;
    use dtvn_messages::genesis::{GenesisFile, GenesisValidator};
    use dtvn_messages::{
        EventId, Head, IdempotencyKey, KeyPair, Layout as _, NodeName, Outcome, ReceiptCertificate, Signed, Statement,
        TicketId, ValidatorIndex, Verdict, View, Vote, VoteKind, crypto,
    };

    use super::*;

    fn key(node: usize) -> KeyPair {
        KeyPair::development(crypto::DEVELOPMENT_SEED, &format!("node{node}"))
    }

    /// A network whose first validator has as much power as the three others together, and one more.
    fn unequal() -> Genesis {
        let genesis = Genesis::development(4, crypto::DEVELOPMENT_SEED, false).unwrap();
        let mut file: GenesisFile = genesis.file().clone();
        file.validators = (file.validators.into_iter().zip([4, 1, 1, 1]))
            .map(|(validator, power)| GenesisValidator { power, ..validator })
            .collect();
        Genesis::new(file).unwrap()
    }

    fn trust(genesis: &Genesis) -> (Genesis, Chronicle) {
        (genesis.clone(), Chronicle::new(genesis))
    }

    /// What became of an operation on the ticket `T-1` of an event.
    pub(super) fn outcome(event: EventId, action: u8, verdict: Verdict) -> Outcome {
        Outcome {
            index: 0,
            height: Height(1),
            agreed_time: Timestamp(1_767_225_600_000_000),
            origin: NodeName::new("node0").unwrap(),
            key: IdempotencyKey::new("0123456789abcdef").unwrap(),
            payload: Digest([1; 32]),
            event,
            action,
            ticket: Some(TicketId::new("T-1").unwrap()),
            verdict,
        }
    }

    fn receipt(genesis: &Genesis, signers: &[usize]) -> String {
        let verdict = Verdict::Accepted { version_before: 1, version_after: 2, state: None, tickets: 1 };
        let outcome = outcome(EventId::default_event(), 2, verdict);
        let head = Head {
            epoch: Epoch(0),
            height: Height(1),
            block: Digest([2; 32]),
            log_size: 1,
            log_root: outcome.leaf_hash(),
            time_seconds: 1_767_225_600,
        };
        let bytes = head.signed_bytes(genesis.chain_id());
        let signatures = signers.iter().map(|signer| (ValidatorIndex(*signer as u16), key(*signer).sign(&bytes)));
        let certificate = ReceiptCertificate { head, signatures: Signatures(signatures.collect()) };
        let checkpoint = certificate.to_note(genesis.chain_id(), genesis.validators());
        Receipt { leaf: outcome.to_bytes(), index: 0, path: Vec::new(), checkpoint }.to_text()
    }

    #[test]
    fn a_receipt_is_judged_by_the_powers_of_the_genesis() {
        let equal = Genesis::development(4, crypto::DEVELOPMENT_SEED, false).unwrap();
        assert!(by_genesis(&receipt(&equal, &[1, 2, 3]), &trust(&equal)).is_ok());
        assert!(by_genesis(&receipt(&equal, &[0, 1]), &trust(&equal)).is_err());
        let unequal = unequal();
        let three = by_genesis(&receipt(&unequal, &[1, 2, 3]), &trust(&unequal)).map(|_| ());
        assert_eq!(three, Err(ReceiptError::TooFew { power: 3, quorum: 5 }));
        let judged = by_genesis(&receipt(&unequal, &[0, 3]), &trust(&unequal)).unwrap();
        assert_eq!((judged.power, judged.quorum, judged.cosigners.len()), (Some(5), Some(5), 2));
        let said = receipt_words(&judged);
        assert!(said.starts_with("VALID: validate of ticket T-1"), "{said}");
        assert_eq!(
            by_genesis("nonsense", &trust(&equal)).map(|_| ()).unwrap_err().to_string().split(':').next(),
            Some("this is no receipt")
        );
    }

    #[test]
    fn a_true_receipt_of_something_else_than_was_asked_is_not_valid() {
        let genesis = Genesis::development(4, crypto::DEVELOPMENT_SEED, false).unwrap();
        let judge = |ticket: &str| {
            let asked = Asked { ticket: Some(TicketId::new(ticket).unwrap()), ..Asked::default() };
            conclude(by_genesis(&receipt(&genesis, &[0, 1, 2]), &trust(&genesis)), &asked)
        };
        assert!(judge("T-1").valid);
        let other = judge("T-2");
        assert!(!other.valid && other.receipt.is_some());
        assert_eq!(words(&other), "NOT WHAT WAS ASKED: it is of the ticket T-1, not T-2");
    }

    #[test]
    fn a_receipt_of_another_chain_is_called_so() {
        let four = Genesis::development(4, crypto::DEVELOPMENT_SEED, false).unwrap();
        let seven = Genesis::development(7, crypto::DEVELOPMENT_SEED, false).unwrap();
        let why = by_genesis(&receipt(&four, &[0, 1, 2]), &trust(&seven)).map(|_| ()).unwrap_err().to_string();
        assert_eq!(why, format!("it is of the chain {}, but the genesis is of {}", four.chain_id(), seven.chain_id()));
    }

    #[test]
    fn evidence_is_judged_and_an_accusation_is_none() {
        let genesis = Genesis::development(4, crypto::DEVELOPMENT_SEED, false).unwrap();
        let vote = |byte| {
            let digest = Digest([byte; 32]);
            let body = Vote { kind: VoteKind::Prepare, epoch: Epoch(0), view: View(1), height: Height(2), digest };
            Signed::new(body, genesis.chain_id(), ValidatorIndex(1), &key(1))
        };
        let good = judge(&Evidence::TwoVotes(vote(1), vote(2)).to_bytes(), &trust(&genesis));
        assert!(good.valid);
        assert_eq!(
            evidence_words(&good),
            "VALID: node1 does not follow the protocol: it voted for two blocks in one view and height (two_votes, epoch 0, view 1, height 2)."
        );
        assert!(!judge(&Evidence::TwoVotes(vote(1), vote(1)).to_bytes(), &trust(&genesis)).valid);
        assert!(!judge(b"nonsense", &trust(&genesis)).valid);
    }
}
