//! COSIGN (consensus.md section 3, item 5): long lists, and what one bad cosignature in them costs, and whom.

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{ChainId, Ed25519, Head, KeyPair, ReceiptCertificate, Signed, ValidatorIndex};
use dtvn_replication::node::{Effect, Input};

use crate::harness::{Network, SEED, issue};

/// How many blocks there are, and so cosignatures in a list.
const BLOCKS: u64 = 100;

/// Who is blamed, and why.
pub fn blamed(effects: &[Effect]) -> Vec<(u16, &str)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Blame { peer, why } => Some((peer.0, why.as_str())),
            _ => None,
        })
        .collect()
}

fn certified(effects: &[Effect]) -> Vec<Arc<ReceiptCertificate>> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Certified(certificate) => Some(Arc::clone(certificate)),
            _ => None,
        })
        .collect()
}

fn heads_of(certificates: &[Arc<ReceiptCertificate>]) -> Vec<Head> {
    certificates.iter().map(|certificate| certificate.head).collect()
}

/// A network with some blocks in which no cosignature arrived, and the heads after them.
fn uncosigned() -> (Network, Vec<Head>) {
    let mut network = Network::new(4);
    network.tamper = Some(Box::new(|_, _, message| match message {
        PeerMessage::Cosign(_) | PeerMessage::Receipts(_) => None,
        message => Some(message),
    }));
    for number in 0..BLOCKS {
        network.submit(0, number, issue(&format!("T{number}"), number));
        network.run_for(60_000);
    }
    network.run();
    let heads = network.node(0).store().uncertified();
    assert_eq!(heads.len() as u64, BLOCKS);
    (network, heads)
}

fn cosigned(network: &Network, signer: u16, head: Head) -> Signed<Head> {
    let key = KeyPair::development(SEED, &format!("node{signer}"));
    Signed::new(head, network.genesis().chain_id(), ValidatorIndex(signer), &key)
}

fn list(network: &Network, signer: u16, heads: &[Head]) -> Vec<Signed<Head>> {
    heads.iter().map(|head| cosigned(network, signer, *head)).collect()
}

/// Node 0 hears a list of a peer.
fn hear(network: &mut Network, from: u16, list: Vec<Signed<Head>>) -> Vec<Effect> {
    network.input(0, Input::Message { from: ValidatorIndex(from), message: PeerMessage::Cosign(list) })
}

/// What node 2 may say in the place of its cosignature over a head, and what it is blamed for.
fn bad_ones(network: &Network, head: Head) -> [(Signed<Head>, &'static str); 5] {
    const SIGNATURE: &str = "a signature of a cosign message does not hold";
    const FOREIGN: &str = "a cosign message was sent by another than its signer";
    let good = cosigned(network, 2, head);
    let mut flipped = good.clone();
    flipped.signature.0[40] ^= 1;
    let other_head = Signed { body: Head { log_size: head.log_size + 1, ..head }, ..good.clone() };
    let (other_chain, key) = (ChainId::new("another-chain").unwrap(), KeyPair::development(SEED, "node2"));
    [
        (flipped, SIGNATURE),
        (other_head, SIGNATURE),
        (Signed::new(head, &other_chain, ValidatorIndex(2), &key), SIGNATURE),
        // In another's name, and what that one really signed.
        (Signed { signer: ValidatorIndex(3), ..good }, FOREIGN),
        (cosigned(network, 3, head), FOREIGN),
    ]
}

/// A list is its sender's own, and counts as a whole.
#[test]
fn one_bad_cosignature_in_a_long_list_costs_its_sender_the_list_and_nobody_else_anything() {
    let (mut network, heads) = uncosigned();
    let good = list(&network, 2, &heads);
    for place in [0, heads.len() / 2, heads.len() - 1] {
        for (bad, why) in bad_ones(&network, heads[place]) {
            let mut list = good.clone();
            list[place] = bad;
            let heard = hear(&mut network, 2, list);
            assert_eq!(blamed(&heard), [(2, why)], "entry {place}");
            assert!(certified(&heard).is_empty());
        }
    }
    // With its own cosignatures that makes two of four: none of node 2 has counted.
    let of_node_1 = list(&network, 1, &heads);
    let heard = hear(&mut network, 1, of_node_1);
    assert!(blamed(&heard).is_empty() && certified(&heard).is_empty(), "{heard:?}");
    let of_node_3 = list(&network, 3, &heads);
    let heard = hear(&mut network, 3, of_node_3);
    assert!(blamed(&heard).is_empty(), "{heard:?}");
    let certificates = certified(&heard);
    assert_eq!(heads_of(&certificates), heads);
    let genesis = network.genesis();
    for certificate in certificates {
        assert_eq!(certificate.verify(genesis.chain_id(), genesis.validators(), &Ed25519), Ok(()));
        assert!(certificate.signatures.signers().eq([0, 1, 3].map(ValidatorIndex)));
    }
}

#[test]
fn what_is_good_in_a_list_with_a_bad_cosignature_counts_when_it_comes_without_it() {
    let (mut network, heads) = uncosigned();
    let of_node_1 = list(&network, 1, &heads);
    hear(&mut network, 1, of_node_1);
    let mut of_node_2 = list(&network, 2, &heads);
    let place = heads.len() / 2;
    of_node_2[place].signature.0[40] ^= 1;
    let heard = hear(&mut network, 2, of_node_2.clone());
    assert_eq!((blamed(&heard).len(), certified(&heard).len()), (1, 0));
    of_node_2.remove(place);
    let heard = hear(&mut network, 2, of_node_2);
    assert!(blamed(&heard).is_empty(), "{heard:?}");
    let mut others = heads.clone();
    let left = others.remove(place);
    assert_eq!(heads_of(&certified(&heard)), others);
    let of_node_3 = list(&network, 3, &heads);
    let heard = hear(&mut network, 3, of_node_3);
    assert_eq!(heads_of(&certified(&heard)), [left]);
}
