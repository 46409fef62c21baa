//! The receipts of one node of four, with real signatures.

use dtvn_messages::{ChainId, Digest, Ed25519, KeyPair, NodeName, Timestamp, Validator, ValidatorSet, sha256};

use super::*;

fn chain() -> ChainId {
    ChainId::new("receipts").unwrap()
}

fn key(index: u16) -> KeyPair {
    KeyPair::from_seed(&[index as u8 + 1; 32])
}

fn set(powers: &[u32]) -> Arc<ValidatorSet> {
    let validator = |(index, power): (usize, &u32)| Validator {
        name: NodeName::new(&format!("v{index}")).unwrap(),
        public_key: key(index as u16).public(),
        power: *power,
    };
    Arc::new(ValidatorSet::new(powers.iter().enumerate().map(validator).collect()).unwrap())
}

fn committee(epoch: u64, powers: &[u32]) -> Committee {
    Committee { epoch: Epoch(epoch), set: set(powers), me: Some(ValidatorIndex(0)) }
}

fn head(height: u64) -> Head {
    Head {
        epoch: Epoch(0),
        height: Height(height),
        block: sha256(&[b"block", &height.to_be_bytes()]),
        log_size: height,
        log_root: sha256(&[b"root", &height.to_be_bytes()]),
        time_seconds: height,
    }
}

fn other(height: u64) -> Head {
    Head { block: Digest([9; 32]), ..head(height) }
}

fn cosigned(signer: u16, head: Head) -> Signed<Head> {
    Signed::new(head, &chain(), ValidatorIndex(signer), &key(signer))
}

/// Validator 0, at time `ms`, with what it was told.
struct Node {
    receipts: Receipts,
    ms: u64,
    said: Vec<Effect>,
}

impl Node {
    fn at(base: u64, powers: &[u32]) -> Self {
        let receipts = Receipts::new(committee(0, powers), None, Height(base));
        Self { receipts, ms: 1_000, said: Vec::new() }
    }

    fn new() -> Self {
        Self::at(0, &[1, 1, 1, 1])
    }

    /// Steps, signs what is asked for, and gives what came out beside that.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        let now = Now { monotonic_us: self.ms * 1_000, wall: Timestamp(0) };
        let (mut inputs, mut out) = (vec![input], Vec::new());
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.receipts.step(now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Sign { head, .. } => inputs.push(Input::Signed(cosigned(0, head))),
                    other => out.push(other),
                }
            }
        }
        self.said.extend(out.iter().cloned());
        out
    }

    fn commit(&mut self, height: u64) -> Vec<Effect> {
        self.step(Input::Committed(head(height)))
    }

    fn durable(&mut self, height: u64) -> Vec<Effect> {
        self.step(Input::Durable(Height(height)))
    }

    fn hear(&mut self, signer: u16, head: Head) -> Vec<Effect> {
        let said = Said::Cosignatures(vec![cosigned(signer, head)]);
        self.step(Input::Said { from: ValidatorIndex(signer), said })
    }

    /// The timer fires after so many milliseconds.
    fn fire(&mut self, after_ms: u64) -> Vec<Effect> {
        self.ms += after_ms;
        let generation = self.receipts.generation;
        self.step(Input::Timer { generation })
    }
}

fn broadcasts(effects: &[Effect]) -> Vec<Vec<u64>> {
    let heights = |list: &Vec<Signed<Head>>| list.iter().map(|signed| signed.body.height.0).collect();
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Broadcast(PeerMessage::Cosign(list)) => Some(heights(list)),
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

#[test]
fn what_is_committed_is_cosigned_once_it_is_durable_and_not_before() {
    let mut node = Node::new();
    assert_eq!(broadcasts(&node.commit(1)), Vec::<Vec<u64>>::new());
    assert_eq!(broadcasts(&node.commit(2)), Vec::<Vec<u64>>::new());
    assert_eq!(broadcasts(&node.durable(1)), [[1]]);
    // Durable before it is committed: it waits for that too.
    assert_eq!(broadcasts(&node.durable(3)), Vec::<Vec<u64>>::new(), "it waits for the interval");
    assert_eq!(broadcasts(&node.fire(COSIGN_INTERVAL_MS)), [[2]]);
    node.ms += 1_000;
    assert_eq!(broadcasts(&node.commit(3)), [[3]]);
    assert!(broadcasts(&node.durable(3)).is_empty(), "each height is cosigned once");
}

/// The first validator of the former epoch has left, and all others have moved up by one place since: whoever sends a
/// cosignature of then has another index now.
#[test]
fn cosignatures_of_the_former_epoch_count_whatever_their_senders_index_is_now() {
    let former = Committee { me: Some(ValidatorIndex(1)), ..committee(0, &[1, 1, 1, 1]) };
    let mut node = Node {
        receipts: Receipts::new(committee(1, &[1, 1, 1]), Some(former), Height(1)),
        ms: 1_000,
        said: Vec::new(),
    };
    let mut found = node.step(Input::Restored(head(1)));
    for (now, then) in [(1, 2), (2, 3)] {
        let said = Said::Cosignatures(vec![cosigned(then, head(1))]);
        found.extend(node.step(Input::Said { from: ValidatorIndex(now), said }));
    }
    found.extend(node.step(Input::Signed(cosigned(1, head(1)))));
    let certificates = certified(&found);
    assert_eq!(certificates.len(), 1, "{found:?}");
    assert_eq!(certificates[0].verify(&chain(), &set(&[1; 4]), &Ed25519), Ok(()));
}

/// Validator 1 of the former epoch is another one now, and signs heads of its own there: above the end of that epoch.
#[test]
fn what_is_signed_under_an_index_of_the_former_epoch_says_nothing_of_whose_it_is_now() {
    let former = Committee { me: Some(ValidatorIndex(0)), ..committee(0, &[1, 1, 1, 1]) };
    let now = Committee { me: Some(ValidatorIndex(0)), ..committee(1, &[1, 1, 1, 1]) };
    let mut node = Node { receipts: Receipts::new(now, Some(former), Height(1)), ms: 1_000, said: Vec::new() };
    let of_now = Head { epoch: Epoch(1), ..head(2) };
    let mut found = node.hear(1, other(2));
    found.extend(node.step(Input::Committed(of_now)));
    found.extend(node.hear(1, of_now));
    found.extend(node.hear(1, other(2)));
    let is_contradiction = |effect: &Effect| matches!(effect, Effect::Contradiction { .. });
    assert!(!found.iter().any(is_contradiction), "{found:?}");
    assert!(certified(&node.hear(2, of_now)).is_empty());
    assert_eq!(certified(&node.hear(3, of_now)).len(), 1, "what validator 1 said of this epoch counts");
}

#[test]
fn a_certificate_has_power_q_and_never_less() {
    let mut node = Node::new();
    node.commit(1);
    node.durable(1);
    assert!(certified(&node.hear(1, head(1))).is_empty());
    let found = certified(&node.hear(2, head(1)));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].verify(&chain(), &set(&[1; 4]), &Ed25519), Ok(()));
    assert!(certified(&node.hear(3, head(1))).is_empty(), "there is one for each height");
    // Powers count, not heads.
    let mut heavy = Node::at(0, &[1, 1, 1, 7]);
    heavy.commit(1);
    heavy.durable(1);
    assert!(certified(&heavy.hear(1, head(1))).is_empty());
    assert!(certified(&heavy.hear(2, head(1))).is_empty());
    assert_eq!(certified(&heavy.hear(3, head(1))).len(), 1);
}

#[test]
fn the_own_cosignature_counts_only_once_it_is_durable() {
    let mut node = Node::new();
    node.commit(1);
    assert!(certified(&node.hear(1, head(1))).is_empty());
    assert!(certified(&node.hear(2, head(1))).is_empty());
    assert_eq!(certified(&node.durable(1)).len(), 1);
    // Three others need no own one.
    let mut other = Node::new();
    other.commit(1);
    let found = [1, 2, 3].map(|signer| certified(&other.hear(signer, head(1))).len());
    assert_eq!(found, [0, 0, 1]);
}

#[test]
fn cosignatures_that_come_first_wait_for_the_block() {
    let mut node = Node::new();
    for signer in [1, 2, 3] {
        assert!(certified(&node.hear(signer, head(5))).is_empty());
    }
    for height in 1..5 {
        node.commit(height);
    }
    let found = certified(&node.commit(5));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].head, head(5));
}

#[test]
fn a_second_head_of_one_signer_is_a_contradiction_and_counts_for_nothing() {
    let mut node = Node::new();
    node.commit(1);
    node.durable(1);
    node.hear(1, other(1));
    let said = node.hear(1, head(1));
    let expected = Effect::Contradiction { first: cosigned(1, other(1)), second: cosigned(1, head(1)) };
    assert!(said.contains(&expected));
    assert!(certified(&node.hear(2, head(1))).is_empty(), "the first head of validator 1 was another one");
    assert_eq!(certified(&node.hear(3, head(1))).len(), 1);
    assert!(node.hear(2, head(1)).is_empty(), "a repetition is none");
}

#[test]
fn after_a_restart_what_lacks_a_certificate_is_cosigned_again_byte_for_byte() {
    let mut before = Node::new();
    let first = {
        before.commit(7);
        before.durable(7)
    };
    let mut after = Node::at(7, &[1, 1, 1, 1]);
    let again = after.step(Input::Restored(head(7)));
    assert_eq!(broadcasts(&again), [[7]]);
    let sent = |effect: &&Effect| matches!(effect, Effect::Broadcast(_));
    assert_eq!(first.iter().find(sent), again.iter().find(sent));
}

#[test]
fn under_load_many_go_together_and_an_idle_node_waits_for_nothing() {
    let mut node = Node::new();
    let blocks = 1_000;
    for height in 1..=blocks {
        node.ms += 1;
        node.commit(height);
        node.durable(height);
        if node.receipts.timer.is_some_and(|at_us| at_us <= node.ms * 1_000) {
            node.fire(0);
        }
    }
    node.fire(COSIGN_INTERVAL_MS);
    let sent = broadcasts(&node.said);
    let heights: Vec<u64> = sent.iter().flatten().copied().collect();
    assert_eq!(heights, (1..=blocks).collect::<Vec<_>>(), "each once, in order");
    assert!(sent.len() as u64 <= blocks / COSIGN_INTERVAL_MS + 2, "{} messages for {blocks} blocks", sent.len());
    // A pause later the first one leaves at once.
    node.ms += 1_000;
    node.commit(blocks + 1);
    assert_eq!(broadcasts(&node.durable(blocks + 1)), [[blocks + 1]]);
}

#[test]
fn a_sync_is_asked_for_only_if_nobody_elses_came() {
    let mut node = Node::new();
    node.commit(1);
    node.ms += COSIGN_FLUSH_AFTER_MS - 1;
    node.durable(1);
    assert!(!node.fire(100).contains(&Effect::Flush), "it was durable in time");
    node.commit(2);
    assert!(!node.fire(COSIGN_FLUSH_AFTER_MS - 1).contains(&Effect::Flush));
    assert!(node.fire(1).contains(&Effect::Flush));
    assert!(!node.fire(1).contains(&Effect::Flush), "once is enough");
}

#[test]
fn who_lacks_certificates_is_sent_them_and_own_cosignatures_where_there_is_none() {
    let mut node = Node::new();
    for height in 1..=3 {
        node.commit(height);
    }
    node.durable(3);
    node.hear(1, head(2));
    node.hear(2, head(2));
    let asked = |above| Input::Said { from: ValidatorIndex(3), said: Said::Wanted { above: Height(above) } };
    let mut heights = Vec::new();
    for effect in node.step(asked(1)) {
        let Effect::Send { to: ValidatorIndex(3), message } = effect else { continue };
        match message {
            PeerMessage::Receipts(list) => heights.extend(list.iter().map(|it| ("certificate", it.head.height.0))),
            PeerMessage::Cosign(list) => heights.extend(list.iter().map(|it| ("cosignature", it.body.height.0))),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(heights, [("certificate", 2), ("cosignature", 3)]);
    assert!(node.step(asked(0)).is_empty(), "one that asks again at once is a flood");
    node.ms += RECEIPTS_ANSWER_INTERVAL_MS;
    assert!(!node.step(asked(0)).is_empty());
}

#[test]
fn a_shown_certificate_is_taken_like_its_cosignatures() {
    let signatures = [1, 2, 3].map(|signer| (ValidatorIndex(signer), cosigned(signer, head(1)).signature));
    let certificate = ReceiptCertificate { head: head(1), signatures: Signatures(signatures.to_vec()) };
    let show = |head: Head| {
        let said = Said::Certificates(vec![ReceiptCertificate { head, ..certificate.clone() }]);
        Input::Said { from: ValidatorIndex(3), said }
    };
    let mut node = Node::new();
    node.commit(1);
    assert_eq!(certified(&node.step(show(head(1)))), [Arc::new(certificate.clone())]);
    // One of another block is no certificate for this one.
    let mut other_node = Node::new();
    other_node.commit(1);
    assert!(certified(&other_node.step(show(other(1)))).is_empty());
}

#[test]
fn others_are_asked_one_after_the_other_and_not_for_ever() {
    let mut node = Node::new();
    node.commit(4);
    node.durable(4);
    let mut asked = Vec::new();
    for _ in 0..600 {
        for effect in node.fire(RECEIPTS_FETCH_AFTER_MS) {
            if let Effect::Send { to, message: PeerMessage::FetchReceipts { above } } = effect {
                assert_eq!(above, Height(3));
                asked.push((to.0, node.ms - 1_000));
            }
        }
    }
    // Each time after twice as long as before.
    let times_ms = [1, 3, 7, 15, 31, 63, 127, 255].map(|times| times * RECEIPTS_FETCH_AFTER_MS);
    let peers = [1, 2, 3, 1, 2, 3, 1, 2];
    assert_eq!(asked, peers.into_iter().zip(times_ms).collect::<Vec<_>>());
}

#[test]
fn who_asks_again_at_once_is_not_answered_and_a_while_later_it_is() {
    let mut node = Node::new();
    node.commit(1);
    node.durable(1);
    let mut ask = |after_ms: u64, from: u16| {
        node.ms += after_ms;
        let asked = node.step(Input::Said { from: ValidatorIndex(from), said: Said::Wanted { above: Height(0) } });
        asked.iter().any(|effect| matches!(effect, Effect::Send { to, .. } if *to == ValidatorIndex(from)))
    };
    assert!(ask(0, 1));
    assert!(!ask(RECEIPTS_ANSWER_INTERVAL_MS - 1, 1));
    assert!(ask(0, 2), "each has its own time");
    assert!(ask(1, 1));
}

#[test]
fn memory_is_bounded_whatever_peers_say() {
    let mut node = Node::new();
    let far = RECEIPTS_AHEAD_HEIGHTS;
    for height in 1..=3 * far {
        node.hear(1, head(height));
    }
    assert_eq!(node.receipts.slots.len() as u64, far, "the far future is dropped");
    for height in 1..=3 * RECEIPTS_KEPT_HEIGHTS {
        node.commit(height);
    }
    assert!(node.receipts.slots.len() as u64 <= RECEIPTS_KEPT_HEIGHTS + far);
    node.hear(2, head(1));
    assert!(!node.receipts.slots.contains_key(&Height(1)), "what is long past is not kept");
}

#[test]
fn another_epochs_heads_and_strangers_are_left_alone() {
    let mut node = Node::new();
    node.hear(1, Head { epoch: Epoch(1), ..head(1) });
    node.hear(9, head(1));
    assert!(node.receipts.slots.is_empty());
}
