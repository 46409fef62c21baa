//! Receipts of a real network, judged by `dtvn verify` with the keys of the validators alone.

use dtvn_client::api::Kind;

use crate::kit::{Network, accepted, get, says, until, verify};

/// A genesis file that is none is a fault of the command line; a receipt of another chain or ticket is no forged one.
fn what_is_not_the_receipts_fault_is_not_called_so(receipt: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("receipt.txt").display().to_string();
    std::fs::write(&file, receipt).unwrap();
    for wrong in ["genesis", "policy", "epochs"] {
        let wrong = format!("--{wrong}={file}");
        let genesis: &[&str] = if wrong.starts_with("--epochs") { &["--development=4"] } else { &[] };
        let said = says(&[&["verify", "receipt", &file, &wrong][..], genesis].concat(), 2);
        assert!(said.contains("receipt.txt"), "{said}");
    }
    let asked = ["verify", "receipt", &file, "--development=4", "--kind=validate", "--accepted", "--ticket=TICKET-001"];
    assert!(says(&asked, 0).starts_with("VALID: validate of ticket TICKET-001"));
    let other = ["verify", "receipt", &file, "--development=4", "--ticket=TICKET-002"];
    assert!(says(&other, 1).starts_with("NOT WHAT WAS ASKED: it is of the ticket TICKET-001, not TICKET-002"));
    let json = says(&[&other[..], &["--json"]].concat(), 1);
    assert!(json.contains("\"valid\": false") && json.contains("\"not_what_was_asked\": "), "{json}");
    let said = says(&["verify", "receipt", &file, "--development=7"], 1);
    assert!(said.starts_with("NOT VALID: it is of the chain dtvn-dev-4-"), "{said}");
    assert!(said.contains("but the genesis is of dtvn-dev-7-"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_gives_out_receipts_that_hold_without_any_node() {
    let network = Network::start(&[]).await;
    network.seed().await;
    accepted(&network.client, Kind::Validate, "TICKET-001").await;
    network.assert_equal_histories().await;
    let urls = network.cluster.urls();
    for url in &urls {
        let receipt = get(url, "/api/v1/tickets/TICKET-001/proof");
        let (code, said) = verify("receipt", &receipt);
        assert_eq!(code, Some(0), "{said}: {receipt}");
        assert!(said.starts_with("VALID: validate of ticket TICKET-001"), "{said}");
        let (code, said) = verify("receipt", receipt.replace("\nindex 1\n", "\nindex 0\n"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("NOT VALID: "), "{said}");
    }
    what_is_not_the_receipts_fault_is_not_called_so(&get(&urls[0], "/api/v1/tickets/TICKET-001/proof"));
    until("each block is cosigned by a quorum at each node", async || {
        urls.iter().all(|url| {
            let block: serde_json::Value = serde_json::from_str(&get(url, "/api/v1/blocks/1")).unwrap();
            block["cosigners"].as_array().is_some_and(|cosigners| cosigners.len() >= 3)
        })
    })
    .await;
    for url in &urls {
        let page: serde_json::Value = serde_json::from_str(&get(url, "/api/v1/evidence")).unwrap();
        assert_eq!(page["evidence"], serde_json::json!([]), "nobody honest is accused");
    }
    network.stop().await;
}
