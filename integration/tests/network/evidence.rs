//! Evidence against a validator that lies to real nodes: found by the one that it lied to, told to the others, kept on
//! their disks, served to anybody, and judged by `dtvn verify` with the keys of the validators alone.

use dtvn_client::api::{EvidencePage, Kind};
use dtvn_messages::note::{decode_base64, encode_base64};
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Digest, Epoch, Evidence, Height, Signed, ValidatorIndex, View, Vote, VoteKind};

use crate::kit::{Network, accepted, get, seed_ticket, until, verify};
use crate::liar::Liar;

/// The validator that lies.
const CULPRIT: usize = 3;
/// Where: above all that the network has decided, so that its honest life has said nothing there.
const SLOT: (View, Height) = (View(0), Height(50));

/// A vote of the liar in that slot: for whatever block.
fn vote(liar: &Liar, kind: VoteKind, digest: u8) -> Signed<Vote> {
    let (view, height) = SLOT;
    liar.sign(Vote { kind, epoch: Epoch(0), view, height, digest: Digest([digest; 32]) })
}

fn evidence(url: &str) -> EvidencePage {
    serde_json::from_str(&get(url, "/api/v1/evidence")).unwrap()
}

/// Tells a node that an honest one voted twice, with signatures that are the liar's own: it says that this is a lie.
async fn nobody_believes_what_it_makes_up(network: &Network, liar: &Liar, node: u16) {
    let honest = |vote: Signed<Vote>| Signed { signer: ValidatorIndex(0), ..vote };
    let [first, second] = [1, 2].map(|digest| honest(vote(liar, VoteKind::Commit, digest)));
    let made_up = PeerMessage::Evidence(Evidence::TwoVotes(first, second).into());
    until("the node says that this evidence proves nothing", async || {
        liar.say(node, &made_up).await;
        network.log(node.into()).contains("evidence that proves nothing")
    })
    .await;
}

/// What `dtvn verify evidence` says of what is served, and of the same with one byte changed, anywhere.
fn it_is_proof_and_one_changed_byte_makes_it_none(served: &str) {
    let (code, said) = verify("evidence", served);
    assert_eq!(code, Some(0), "{said}: {served}");
    assert!(said.starts_with("VALID: node3 does not follow the protocol: it voted for two blocks"), "{said}");
    let page: EvidencePage = serde_json::from_str(served).unwrap();
    let bytes = decode_base64(&page.evidence[0].bytes).unwrap();
    let (code, said) = verify("evidence", &bytes);
    assert_eq!(code, Some(0), "as bytes: {said}");
    for position in (0..bytes.len()).step_by(19).chain([bytes.len() - 1]) {
        let mut changed = bytes.clone();
        changed[position] ^= 1;
        let altered = served.replace(&page.evidence[0].bytes, &encode_base64(&changed));
        assert_ne!(altered, served);
        let (code, said) = verify("evidence", altered);
        assert_eq!(code, Some(1), "byte {position}: {said}");
        assert!(said.starts_with("NOT VALID: "), "byte {position}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_votes_twice_is_proved_to_lie_at_every_node_and_after_restarts_and_nobody_else_is() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    assert!(network.cluster.terminate(CULPRIT).await, "node3 ends in good order");
    let liar = Liar::in_place_of(&network, CULPRIT).await;
    assert!(network.client.sequence(None).await.unwrap().height < SLOT.1);
    nobody_believes_what_it_makes_up(&network, &liar, 1).await;
    // To one node only: the others have it from that one.
    let urls = network.cluster.urls();
    let votes = [vote(&liar, VoteKind::Prepare, 1), vote(&liar, VoteKind::Commit, 2)].map(PeerMessage::Vote);
    until("the node that hears both votes has evidence", async || {
        for vote in &votes {
            liar.say(0, vote).await;
        }
        !evidence(&urls[0]).evidence.is_empty()
    })
    .await;
    let honest = &urls[..CULPRIT];
    until("all honest nodes have it", async || honest.iter().all(|url| !evidence(url).evidence.is_empty())).await;
    accepted(&network.at(1), Kind::Validate, &seed_ticket(1)).await;
    let served = get(&urls[0], "/api/v1/evidence");
    for url in honest {
        let page = evidence(url);
        assert_eq!((page.evidence.len(), &page.next), (1, &None), "{page:?}");
        let piece = &page.evidence[0];
        assert_eq!((piece.culprit.as_str(), piece.kind.as_str(), piece.is_proof), ("node3", "two_votes", true));
        assert_eq!((piece.epoch, (piece.view, piece.height)), (Epoch(0), SLOT));
        assert_eq!(get(url, "/api/v1/evidence"), served);
    }
    it_is_proof_and_one_changed_byte_makes_it_none(&served);
    it_is_on_each_disk(&mut network, liar, &served).await;
    network.stop().await;
}

/// A node that was killed, and is started again while there is nobody who could tell it, has it.
async fn it_is_on_each_disk(network: &mut Network, liar: Liar, served: &str) {
    liar.leave().await;
    for node in 0..CULPRIT {
        network.cluster.kill(node).await;
    }
    for node in 0..CULPRIT {
        network.cluster.restart(node).await.unwrap();
        let url = network.cluster.urls().remove(node);
        assert_eq!(get(&url, "/api/v1/evidence"), served, "node{node}");
        network.cluster.kill(node).await;
    }
    for node in 0..CULPRIT {
        network.cluster.restart(node).await.unwrap();
    }
    for node in 0..CULPRIT {
        network.until_healthy(node).await;
    }
    accepted(&network.at(2), Kind::Validate, &seed_ticket(2)).await;
}
