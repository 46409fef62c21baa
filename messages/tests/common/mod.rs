//! What the tests of the messages share: random values of every type, and a fixed network with known keys.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::{LastRecovery, PendingEnd, Recovery, SignedRecovery, ValidatorsChange};
use dtvn_messages::snapshot::Manifest;
use dtvn_messages::state::{Cut, Part, RawEntry};
use dtvn_messages::ticket::{Metadata, Scan};
use dtvn_messages::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

pub fn chain_ids() -> impl Strategy<Value = ChainId> {
    "[a-z0-9][a-z0-9-]{0,30}".prop_map(|text| ChainId::new(&text).unwrap())
}

pub fn node_names() -> impl Strategy<Value = NodeName> {
    "[a-z0-9][a-z0-9-]{0,20}".prop_map(|text| NodeName::new(&text).unwrap())
}

pub fn event_ids() -> impl Strategy<Value = EventId> {
    "[a-zA-Z0-9 _.é票-]{1,20}".prop_map(|text| EventId::new(&text).unwrap())
}

pub fn ticket_ids() -> impl Strategy<Value = TicketId> {
    "[a-zA-Z0-9 _.é票-]{1,20}".prop_map(|text| TicketId::new(&text).unwrap())
}

pub fn keys() -> impl Strategy<Value = IdempotencyKey> {
    "[ -~]{16,40}".prop_map(|text| IdempotencyKey::new(&text).unwrap())
}

pub fn timestamps() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

pub fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

pub fn signatures() -> impl Strategy<Value = Signature> {
    vec(any::<u8>(), 64).prop_map(|bytes| Signature(bytes.try_into().unwrap()))
}

pub fn texts() -> impl Strategy<Value = Option<Box<str>>> {
    option::of(".{0,12}".prop_map(|text| Box::from(text.as_str())))
}

pub fn clocks() -> impl Strategy<Value = VectorClock> {
    // Few names, so that two clocks share some.
    let names = "[a-e]".prop_map(|text| NodeName::new(&text).unwrap());
    btree_map(names, 1..u64::MAX, 0..5).prop_map(|entries| entries.into_iter().collect())
}

pub fn metadata() -> impl Strategy<Value = Metadata> {
    btree_map(".{0,8}", ".{0,8}", 0..5)
        .prop_map(|entries| entries.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

pub fn actions() -> impl Strategy<Value = Action> {
    let window = || option::of(timestamps());
    prop_oneof![
        (ticket_ids(), texts(), metadata(), window(), window()).prop_map(
            |(ticket, data, metadata, valid_from, valid_until)| Action::Issue {
                ticket,
                data,
                metadata,
                valid_from,
                valid_until
            }
        ),
        (ticket_ids(), texts()).prop_map(|(ticket, data)| Action::Validate { ticket, data }),
        (ticket_ids(), texts()).prop_map(|(ticket, data)| Action::Consume { ticket, data }),
        (ticket_ids(), texts()).prop_map(|(ticket, reason)| Action::Dispute { ticket, reason }),
        Just(Action::Seed),
        validators_changes().prop_map(|change| Action::ChangeValidators(Box::new(change))),
        recoveries().prop_map(|recovery| Action::Recover(Box::new(recovery))),
    ]
}

pub fn validators_changes() -> impl Strategy<Value = ValidatorsChange> {
    (any::<u64>(), digests(), validator_sets(), signature_lists()).prop_map(|(epoch, replaces, set, signatures)| {
        ValidatorsChange { epoch: Epoch(epoch), replaces, set, signatures }
    })
}

pub fn recoveries() -> impl Strategy<Value = SignedRecovery> {
    (any::<u64>(), node_names(), any::<[u8; 16]>(), signatures()).prop_map(|(epoch, validator, nonce, signature)| {
        SignedRecovery { body: Recovery { epoch: Epoch(epoch), validator, nonce: Nonce(nonce) }, signature }
    })
}

pub fn memberships() -> impl Strategy<Value = Membership> {
    let nonces = || btree_map(node_names(), any::<[u8; 16]>().prop_map(Nonce), 0..4);
    let pending = (any::<u64>(), option::of(validator_sets()), nonces())
        .prop_map(|(ends, set, recovering)| PendingEnd { ends: Height(ends), set: set.map(Arc::new), recovering });
    let last = (timestamps(), any::<u64>()).prop_map(|(at, wait_us)| LastRecovery { at, wait_us });
    let times = btree_map(node_names(), last, 0..4);
    (any::<u64>(), any::<u64>(), validator_sets(), nonces(), option::of(pending), times).prop_map(
        |(epoch, base, set, opened_by, pending, recoveries)| Membership {
            epoch: Epoch(epoch),
            base: Height(base),
            set: Arc::new(set),
            opened_by,
            pending,
            recoveries,
        },
    )
}

pub fn operations() -> impl Strategy<Value = Operation> {
    let who = (texts(), texts(), option::of(timestamps()), option::of(clocks()));
    (keys(), timestamps(), event_ids(), who, actions()).prop_map(
        |(key, valid_until, event, (gate, device, scanned_at, seen), action)| Operation {
            key,
            valid_until,
            event,
            gate,
            device,
            scanned_at,
            seen,
            action,
        },
    )
}

pub fn scans() -> impl Strategy<Value = Arc<Scan>> {
    (node_names(), texts(), texts(), timestamps(), any::<u64>()).prop_map(|(validator, gate, device, at, height)| {
        Arc::new(Scan { validator, gate, device, at, height: Height(height) })
    })
}

pub fn states() -> impl Strategy<Value = TicketState> {
    proptest::sample::select(&TicketState::ALL[..])
}

pub fn tickets() -> impl Strategy<Value = Ticket> {
    let about = (event_ids(), ticket_ids(), states(), texts(), metadata());
    let when = (option::of(timestamps()), option::of(timestamps()), any::<u64>(), clocks(), node_names(), timestamps());
    let scans = (option::of(scans()), option::of(scans()), option::of(scans()), texts());
    (about, when, scans).prop_map(|(about, when, scans)| Ticket {
        event: about.0,
        id: about.1,
        state: about.2,
        data: about.3,
        metadata: Arc::new(about.4),
        valid_from: when.0,
        valid_until: when.1,
        version: when.2,
        vector_clock: when.3,
        validator: when.4,
        updated_at: when.5,
        validated: scans.0,
        consumed: scans.1,
        disputed: scans.2,
        dispute_reason: scans.3,
    })
}

pub fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        (any::<u64>(), any::<u64>(), option::of(states()), any::<u64>()).prop_map(
            |(version_before, version_after, state, tickets)| Verdict::Accepted {
                version_before,
                version_after,
                state,
                tickets
            }
        ),
        (proptest::sample::select(Reason::ALL), any::<u64>(), option::of(states()), option::of(scans()))
            .prop_map(|(reason, version, state, first)| Verdict::Refused { reason, version, state, first }),
    ]
}

pub fn outcomes() -> impl Strategy<Value = Outcome> {
    let place = (any::<u64>(), any::<u64>(), timestamps(), node_names());
    let asked = (keys(), digests(), event_ids(), any::<u8>(), option::of(ticket_ids()));
    (place, asked, verdicts()).prop_map(|(place, asked, verdict)| Outcome {
        index: place.0,
        height: Height(place.1),
        agreed_time: place.2,
        origin: place.3,
        key: asked.0,
        payload: asked.1,
        event: asked.2,
        action: asked.3,
        ticket: asked.4,
        verdict,
    })
}

pub fn bundle_bodies() -> impl Strategy<Value = BundleBody> {
    (any::<u64>(), any::<u16>(), any::<u64>(), any::<u64>(), vec(operations(), 1..4)).prop_map(
        |(epoch, origin, start, number, operations)| BundleBody {
            epoch: Epoch(epoch),
            origin: ValidatorIndex(origin),
            start,
            number,
            operations,
        },
    )
}

pub fn headers() -> impl Strategy<Value = Header> {
    let numbers = (any::<u64>(), any::<u32>(), any::<u64>(), any::<u16>(), any::<u64>(), any::<u64>(), any::<u64>());
    (numbers, digests(), digests(), digests()).prop_map(|(numbers, parent, bundles_root, log_root)| Header {
        epoch: Epoch(numbers.0),
        rules_version: RulesVersion(numbers.1),
        height: Height(numbers.2),
        parent,
        proposer: ValidatorIndex(numbers.3),
        proposed_in_view: View(numbers.4),
        timestamp: Timestamp(numbers.5),
        bundles_root,
        log_size: numbers.6,
        log_root,
    })
}

pub fn blocks() -> impl Strategy<Value = Block> {
    (headers(), vec(digests(), 0..4)).prop_map(|(header, bundles)| Block { header, bundles })
}

pub fn votes() -> impl Strategy<Value = Vote> {
    (any::<bool>(), any::<u64>(), any::<u64>(), any::<u64>(), digests()).prop_map(
        |(commit, epoch, view, height, digest)| Vote {
            kind: if commit { VoteKind::Commit } else { VoteKind::Prepare },
            epoch: Epoch(epoch),
            view: View(view),
            height: Height(height),
            digest,
        },
    )
}

pub fn checkpoints() -> impl Strategy<Value = Checkpoint> {
    (any::<u64>(), any::<u64>(), digests(), digests(), any::<u64>(), digests()).prop_map(
        |(epoch, height, block, state_root, next_epoch, next_set)| Checkpoint {
            epoch: Epoch(epoch),
            height: Height(height),
            block,
            state_root,
            next_epoch: Epoch(next_epoch),
            next_set,
        },
    )
}

pub fn signature_lists() -> impl Strategy<Value = Signatures> {
    vec((any::<u16>().prop_map(ValidatorIndex), signatures()), 0..4).prop_map(Signatures)
}

pub fn certificates() -> impl Strategy<Value = Certificate> {
    (votes(), signature_lists()).prop_map(|(vote, signatures)| Certificate { vote, signatures })
}

pub fn prepared() -> impl Strategy<Value = PreparedCertificate> {
    (headers(), certificates()).prop_map(|(header, certificate)| PreparedCertificate { header, certificate })
}

pub fn committed() -> impl Strategy<Value = CommittedProof> {
    (headers(), certificates()).prop_map(|(header, certificate)| CommittedProof { header, certificate })
}

pub fn stable_checkpoints() -> impl Strategy<Value = StableCheckpoint> {
    (headers(), checkpoints(), signature_lists()).prop_map(|(header, checkpoint, signatures)| StableCheckpoint {
        header,
        checkpoint,
        signatures,
    })
}

pub fn heads() -> impl Strategy<Value = Head> {
    (any::<[u64; 3]>(), digests(), digests(), 0..=i64::MAX as u64).prop_map(
        |(numbers, block, log_root, time_seconds)| {
            let [epoch, height, log_size] = numbers;
            Head { epoch: Epoch(epoch), height: Height(height), block, log_size, log_root, time_seconds }
        },
    )
}

pub fn receipt_certificates() -> impl Strategy<Value = ReceiptCertificate> {
    (heads(), signature_lists()).prop_map(|(head, signatures)| ReceiptCertificate { head, signatures })
}

pub fn view_changes() -> impl Strategy<Value = ViewChange> {
    (any::<u64>(), any::<u64>(), option::of(stable_checkpoints()), option::of(committed()), vec(prepared(), 0..3))
        .prop_map(|(epoch, view, stable, committed, prepared)| ViewChange {
            epoch: Epoch(epoch),
            view: View(view),
            stable,
            committed,
            prepared,
        })
}

pub fn new_views() -> impl Strategy<Value = NewView> {
    (any::<u64>(), any::<u64>(), vec((any::<u16>().prop_map(ValidatorIndex), digests()), 0..5))
        .prop_map(|(epoch, view, view_changes)| NewView { epoch: Epoch(epoch), view: View(view), view_changes })
}

pub fn epoch_ends() -> impl Strategy<Value = EpochEnd> {
    (committed(), stable_checkpoints(), validator_sets()).prop_map(|(committed, stable, next)| EpochEnd {
        committed,
        stable,
        next,
    })
}

pub fn evidence() -> impl Strategy<Value = Evidence> {
    let (vote, header) = (|| signed(votes()), || headers().prop_map(Box::new));
    let view_change = || signed(view_changes()).prop_map(Box::new);
    prop_oneof![
        (vote(), vote()).prop_map(|(first, second)| Evidence::TwoVotes(first, second)),
        (signed(heads()), signed(heads())).prop_map(|(first, second)| Evidence::TwoHeads(first, second)),
        (view_change(), view_change()).prop_map(|(first, second)| Evidence::TwoViewChanges(first, second)),
        (signed(new_views()), signed(new_views())).prop_map(|(first, second)| Evidence::TwoNewViews(first, second)),
        (vote(), view_change()).prop_map(|(commit, later)| Evidence::HiddenCertificate(commit, later)),
        (signed(new_views()), option::of(view_changes().prop_map(Box::new)))
            .prop_map(|(new_view, named)| Evidence::BadNewView(new_view, named)),
        (signed(new_views()), vec(view_changes(), 0..3), vote())
            .prop_map(|(new_view, named, vote)| Evidence::AgainstNewView(new_view, named, vote)),
        (vote(), header(), option::of(header()))
            .prop_map(|(vote, header, below)| Evidence::BadProposal(vote, header, below)),
        view_change().prop_map(Evidence::ForgedCertificate),
        (vote(), header(), any::<u64>(), digests())
            .prop_map(|(vote, header, size, root)| Evidence::WrongResult(vote, header, size, root)),
    ]
}

pub fn parts() -> impl Strategy<Value = Part> {
    (digests(), any::<u8>()).prop_map(|(prefix, depth)| Part { prefix, depth })
}

pub fn raw_entries() -> impl Strategy<Value = RawEntry> {
    (any::<u8>(), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..60)).prop_map(|(kind, name, value)| RawEntry {
        kind,
        name,
        value,
    })
}

pub fn manifests() -> impl Strategy<Value = Manifest> {
    let (cut, edge) = (vec((any::<u8>(), digests()), 0..4).prop_map(Cut), vec(vec(digests(), 0..3), 0..3));
    let ends = vec(epoch_ends().prop_map(Arc::new), 0..2);
    (stable_checkpoints(), blocks(), option::of(certificates()), cut, edge, ends).prop_map(
        |(stable, block, certificate, cut, edge, ends)| Manifest {
            stable: Arc::new(stable),
            block: Arc::new(block),
            certificate,
            cut,
            edge,
            ends,
        },
    )
}

pub fn signed<T: std::fmt::Debug>(bodies: impl Strategy<Value = T>) -> impl Strategy<Value = Signed<T>> {
    (bodies, any::<u16>(), signatures()).prop_map(|(body, signer, signature)| Signed {
        body,
        signer: ValidatorIndex(signer),
        signature,
    })
}

pub fn validator_sets() -> impl Strategy<Value = ValidatorSet> {
    let validators = (btree_set("[a-z0-9]{1,10}", 1..6), any::<[u8; 31]>(), vec(1..1_000u32, 6));
    validators.prop_map(|(names, key, powers)| {
        let validator = |(position, name): (usize, &String)| {
            let mut public_key = [u8::try_from(position).unwrap(); 32];
            public_key[1..].copy_from_slice(&key);
            Validator { name: NodeName::new(name).unwrap(), public_key: PublicKey(public_key), power: powers[position] }
        };
        ValidatorSet::new(names.iter().enumerate().map(validator).collect()).unwrap()
    })
}

/// The chain of the fixed network.
pub fn chain() -> ChainId {
    ChainId::new("dtvn-vectors").unwrap()
}

/// The key of validator `position` of the fixed network: its seed is 32 times the number `position + 1`.
pub fn key_pair(position: u16) -> KeyPair {
    KeyPair::from_seed(&[u8::try_from(position + 1).unwrap(); 32])
}

/// A set of validators `v0`, `v1`, ... with these powers, keys as [`key_pair`].
pub fn set_of(powers: &[u32]) -> ValidatorSet {
    let validator = |(position, power): (usize, &u32)| Validator {
        name: NodeName::new(&format!("v{position}")).unwrap(),
        public_key: key_pair(u16::try_from(position).unwrap()).public(),
        power: *power,
    };
    ValidatorSet::new(powers.iter().enumerate().map(validator).collect()).unwrap()
}

/// A header of the fixed network: epoch 2, height as given.
pub fn header_at(height: u64) -> Header {
    Header {
        epoch: Epoch(2),
        rules_version: RulesVersion(1),
        height: Height(height),
        parent: Digest([0xaa; 32]),
        proposer: ValidatorIndex(3),
        proposed_in_view: View(5),
        timestamp: Timestamp(1_767_225_600_000_001),
        bundles_root: Digest([0xbb; 32]),
        log_size: 77,
        log_root: Digest([0xcc; 32]),
    }
}

pub fn vote_for(header: &Header, kind: VoteKind, view: u64) -> Vote {
    let digest = header.digest(&chain());
    Vote { kind, epoch: header.epoch, view: View(view), height: header.height, digest }
}

/// Real signatures of these validators over a statement.
pub fn signed_by<T: Statement>(statement: &T, signers: &[u16]) -> Signatures {
    let bytes = statement.signed_bytes(&chain());
    Signatures(signers.iter().map(|signer| (ValidatorIndex(*signer), key_pair(*signer).sign(&bytes))).collect())
}
