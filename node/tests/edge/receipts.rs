//! Receipts and the log as others read it (api.md section 5): what a node gives out verifies with the genesis alone.

use dtvn_messages::merkle::{Frontier, leaf_hash};
use dtvn_messages::note::SignedNote;
use dtvn_messages::policy::Policy;
use dtvn_messages::receipt::{Verified, certificate_of_note};
use dtvn_messages::{Digest, Ed25519, Genesis, Receipt, crypto};
use serde_json::json;

use crate::http::Ask;
use crate::kit::TestNode;

fn genesis() -> Genesis {
    Genesis::development(1, crypto::DEVELOPMENT_SEED, false).unwrap()
}

fn verify(text: &str) -> Verified {
    let genesis = genesis();
    let receipt = Receipt::parse(text).unwrap();
    receipt.verify(genesis.chain_id(), |_| Some(genesis.validators()), &Ed25519).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_with_its_receipt_if_that_is_asked_for() {
    let node = TestNode::start().await;
    let issued = node.post("/api/v1/tickets?receipt=true", json!({"ticket_id": "A"})).await.good();
    let verified = verify(issued["receipt"].as_str().unwrap());
    assert_eq!(json!(verified.outcome.index), issued["index"]);
    assert_eq!(verified.cosigners, ["node0"]);
    let ask =
        Ask::post("/api/v1/tickets/validate").header("Accept", "text/vnd.tlog-proof").json(&json!({"ticket_id": "A"}));
    let proof = node.ask(&ask).await;
    assert_eq!((proof.status, proof.header("content-type")), (200, Some("text/vnd.tlog-proof")));
    let verified = verify(std::str::from_utf8(&proof.body).unwrap());
    assert_eq!((verified.outcome.index, verified.outcome.action_name()), (1, "validate"));
    let plain = node.post("/api/v1/tickets", json!({"ticket_id": "B"})).await.good();
    assert!(plain.get("receipt").is_none());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_of_a_ticket_has_a_proof_also_after_a_restart() {
    let node = TestNode::start().await;
    node.seed().await;
    for operation in ["validate", "validate", "consume"] {
        node.post(&format!("/api/v1/tickets/{operation}"), json!({"ticket_id": "TICKET-007"})).await;
    }
    let mut texts = Vec::new();
    for (query, kind, accepted) in [
        ("?index=0", "seed", true),
        ("?index=1", "validate", true),
        ("?index=2", "validate", false),
        ("", "consume", true),
    ] {
        let answer = node.get(&format!("/api/v1/tickets/TICKET-007/proof{query}")).await;
        let text = String::from_utf8(answer.body).unwrap();
        let outcome = verify(&text).outcome;
        assert_eq!((outcome.action_name(), outcome.verdict.is_accepted()), (kind, accepted), "{query}");
        texts.push(text);
    }
    for path in ["TICKET-007/proof?index=4", "TICKET-008/proof?index=2", "NONE/proof"] {
        assert_eq!(node.get(&format!("/api/v1/tickets/{path}")).await.status, 404, "{path}");
    }
    let node = node.restarted().await;
    let again = node.get("/api/v1/tickets/TICKET-007/proof").await;
    assert_eq!(Some(&String::from_utf8(again.body).unwrap()), texts.last(), "byte for byte");
    let block = node.get("/api/v1/blocks/1").await.good();
    assert_eq!(block["cosigners"], json!(["node0"]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_read_as_c2sp_says() {
    let node = TestNode::start().await;
    assert_eq!(node.get("/api/v1/checkpoint").await.status, 404, "nothing is cosigned yet");
    for number in 0..300 {
        node.issue(&format!("T-{number}")).await;
    }
    verify(
        node.post("/api/v1/tickets?receipt=true", json!({"ticket_id": "LAST"})).await.good()["receipt"]
            .as_str()
            .unwrap(),
    );
    let text = async |path: &str| String::from_utf8(node.get(&format!("/api/v1/{path}")).await.body).unwrap();
    let genesis = genesis();
    let note = SignedNote::parse(&text("checkpoint").await).unwrap();
    let certificate = certificate_of_note(&note, genesis.chain_id(), genesis.validators(), &Ed25519).unwrap();
    assert_eq!(certificate.head.log_size, 301);
    let policy = Policy::parse(&text("validators.policy").await).unwrap();
    let receipt = Receipt::parse(&text("tickets/LAST/proof").await).unwrap();
    assert_eq!(receipt.verify_by_policy(&policy, genesis.chain_id(), &Ed25519).unwrap().outcome.index, 300);
    // The tiles, and the entries, have the root of the checkpoint.
    let bytes = async |path: &str| node.get(&format!("/api/v1/tile/{path}")).await.body;
    let (tile, rest) = (bytes("0/000").await, bytes("0/001.p/45").await);
    let mut frontier = Frontier::new();
    let (hashes, _) = tile.as_chunks::<32>();
    let (more, _) = rest.as_chunks::<32>();
    hashes.iter().chain(more).for_each(|hash| frontier.append(Digest(*hash)));
    assert_eq!((frontier.size(), frontier.root()), (301, certificate.head.log_root));
    let mut entries = bytes("entries/001.p/45").await;
    for hash in more {
        let length = usize::from(u16::from_be_bytes([entries[0], entries[1]]));
        let rest = entries.split_off(2 + length);
        assert_eq!(leaf_hash(&entries[2..]), Digest(*hash));
        entries = rest;
    }
    assert!(entries.is_empty());
    for path in ["0/002", "0/001", "0/001.p/46", "entries/001", "9/000", "nonsense"] {
        assert_eq!(node.get(&format!("/api/v1/tile/{path}")).await.status, 404, "{path}");
    }
    node.stop().await;
}
