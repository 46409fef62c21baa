//! Liars: real nodes behind a filter that holds their key (faults.md: "the honest code is never forked"). What such a
//! node says may be withheld, late, differ from peer to peer, or be made up; what it hears may be ignored.
//!
//! Each behaviour has the id of its item in faults.md; `actors/simulation/FAULTS.md` lists them with their tests.

mod bundles;
mod frames;
mod heard;
mod leaders;
mod proofs;
mod sync;
mod view_changes;
mod voters;

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::wire::{Class, PeerMessage, PrePrepare};
use dtvn_messages::{
    Block, Bundle, ChainId, Digest, Epoch, Genesis, Height, Signature, Signed, Signer, Statement, ValidatorIndex,
    ValidatorSet, View, Vote, sha256,
};
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::Node;

use crate::random::Random;
use heard::Heard;

/// Makes the behaviours: variant and id.
macro_rules! behaviours {
    ($($(#[$doc:meta])* $variant:ident: $id:literal;)*) => {
        /// How a node lies.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Behaviour {
            $($(#[$doc])* $variant,)*
        }

        impl Behaviour {
            /// All behaviours.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The id of its item in faults.md.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }
        }
    };
}

behaviours! {
    /// Says nothing at all, from the start.
    Silent: "silent-from-start";
    /// Says nothing any more, from some time on.
    SilentMidway: "silent-midway";
    /// Proposes nothing, and starts no view.
    SilentLeader: "leader-silent";
    /// Proposes two blocks at one height, one for each half, and votes for both.
    TwoBlocks: "leader-two-blocks";
    /// Proposes to all but one, and shows that one no votes.
    OneOut: "leader-leaves-one-out";
    /// Proposes above the window, and nothing below.
    WindowJumped: "leader-jumps-window";
    /// Fills the whole window with empty blocks, and stops.
    WindowExhausted: "leader-exhausts-window";
    /// Takes in no bundle of one origin.
    OriginCensored: "leader-censors-origin";
    /// Takes in nothing of half of the clients.
    ClientCensored: "leader-censors-client";
    /// Proposes a bundle that it forged in another's name.
    ForgedOperation: "leader-forged-operation";
    /// Proposes a bundle that is none.
    MalformedOperation: "leader-malformed-operation";
    /// Proposes late, just within the timeout.
    Slow: "leader-slow";
    /// Proposes blocks of long ago.
    TimePast: "leader-time-past";
    /// Proposes blocks of the far future.
    TimeFuture: "leader-time-future";
    /// Proposes blocks whose time stands still.
    TimeStill: "leader-time-still";
    /// Proposes blocks with too many bundles.
    OversizedBlock: "leader-oversized-block";
    /// Proposes empty blocks, one after the other.
    EmptyBlocks: "leader-empty-blocks";
    /// Proposes bundles that nobody has.
    DigestWithoutData: "leader-digest-without-data";
    /// Proposes a bundle that was ordered before.
    OldBundle: "leader-old-bundle";
    /// Proposes blocks with a wrong log root.
    WrongRoot: "leader-wrong-log-root";
    /// Votes for two blocks in one slot.
    TwoVotes: "voter-two-votes";
    /// Votes for blocks that do not exist.
    RandomDigest: "voter-random-digest";
    /// Votes with a signature that is none.
    BadSignature: "voter-bad-signature";
    /// Votes in another's name.
    ForeignIndex: "voter-foreign-index";
    /// Votes with a signature for another chain.
    ForeignChain: "voter-foreign-chain";
    /// Votes in another epoch.
    ForeignEpoch: "voter-foreign-epoch";
    /// Votes with a signature for the other kind of vote.
    ForeignKind: "voter-foreign-kind";
    /// Repeats votes of long ago.
    OldView: "voter-replays-old-view";
    /// Sends COMMIT at once, and no PREPARE.
    CommitAtOnce: "voter-commit-without-prepare";
    /// Votes for views and heights of the far future.
    FarFuture: "voter-far-future";
    /// Cosigns heads of a log that nobody has, and sticks to it.
    WrongHead: "cosign-wrong-head";
    /// Cosigns two heads for each block.
    TwoHeads: "cosign-two-heads";
    /// Shows receipts that it made up.
    ForgedReceipt: "receipt-forged";
    /// Shows evidence against one that did nothing wrong.
    FalseEvidence: "evidence-false";
    /// Says everything many times.
    Thousandfold: "thousandfold";
    /// Hides in its VIEW-CHANGE what it knows to be prepared and committed.
    HiddenCertificate: "view-change-hides";
    /// Shows a prepared certificate that it made up.
    ForgedCertificate: "view-change-forged-certificate";
    /// Shows the signatures for one block as a certificate for another.
    MixedCertificate: "view-change-mixed-certificate";
    /// Shows a prepared certificate that one validator signed again and again.
    RepeatedSigner: "view-change-repeated-signer";
    /// Shows a prepared certificate that strangers signed.
    ForeignSigner: "view-change-foreign-signer";
    /// Shows a prepared certificate of too few.
    TooFewSigners: "view-change-too-few";
    /// Starts views that others lead.
    WrongLeader: "new-view-wrong-leader";
    /// Starts its views with too few VIEW-CHANGEs.
    TooFewChanges: "new-view-too-few";
    /// Starts its views with VIEW-CHANGEs that do not exist.
    UnknownChanges: "new-view-unknown-changes";
    /// Starts its views in two ways that are both in order, one for each half, and one validator is shown both.
    TwoNewViews: "new-view-two-versions";
    /// Proposes another block in the place of one that its own NEW-VIEW selects.
    AlteredBlock: "new-view-alters-block";
    /// Sends VIEW-CHANGEs for one view after the other.
    Storm: "view-change-storm";
    /// Wishes for the last view that there is.
    LastView: "view-near-maximum";
    /// Votes for checkpoints with another state.
    WrongCheckpoint: "checkpoint-wrong-root";
    /// Serves blocks that were never committed.
    SyncWrong: "sync-wrong-blocks";
    /// Serves blocks with certificates that it made up.
    SyncForged: "sync-forged-certificate";
    /// Serves more blocks than anybody asked for.
    SyncEndless: "sync-endless";
    /// Serves the first blocks, whatever is asked for.
    SyncStale: "sync-stale";
    /// Serves no blocks.
    SyncRefused: "sync-refused";
    /// Serves blocks late.
    SyncSlow: "sync-slow";
    /// Serves parts of a state that nobody signed.
    SnapshotParts: "snapshot-wrong-parts";
    /// Serves parts of a state that are longer than any may be.
    SnapshotLong: "snapshot-long-parts";
    /// Shows manifests of states that nobody signed.
    SnapshotForged: "snapshot-forged-manifest";
    /// Shows the manifest of the oldest state that it has, whatever is asked for.
    SnapshotStale: "snapshot-stale";
    /// Serves no state.
    SnapshotRefused: "snapshot-refused";
    /// Serves states late.
    SnapshotSlow: "snapshot-slow";
    /// Shows manifests, and then no part or some.
    SnapshotVanishes: "snapshot-vanishes";
    /// Says that it is far ahead.
    StatusBoast: "status-boasts";
    /// Shows its bundles to one peer only, and serves none.
    WithheldBundle: "bundle-withheld";
    /// Signs its bundles wrongly.
    BundleSignature: "bundle-bad-signature";
    /// Shows bundles that it made in another's name.
    BundleForged: "bundle-forged-origin";
    /// Makes operations up that no client asked for.
    BundleInvented: "bundle-invented-operation";
    /// Gives one number to two bundles.
    BundleTwice: "bundle-two-versions";
    /// Shows each validator another bundle under one number, and serves no other.
    BundleForEach: "bundle-for-each";
    /// Leaves numbers of bundles out.
    BundleGap: "bundle-gap";
    /// Sends frames that mean nothing.
    FrameJunk: "frame-malformed";
    /// Sends frames that end too early.
    FrameTruncated: "frame-truncated";
    /// Sends frames with something behind the end.
    FrameTrailing: "frame-trailing-byte";
    /// Runs twice under one key.
    Twin: "twin";
    /// Any of the others' lies, at any time.
    Mixed: "mixed";
}

/// When a liar has occasion for a lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Always.
    Always,
    /// While it leads.
    Leading,
    /// When views change, or somebody fetches what it missed.
    Trouble,
}

impl Behaviour {
    /// When a liar has occasion for it.
    pub(crate) fn occasion(self) -> Occasion {
        let begins = |starts: &[&str]| starts.iter().any(|start| self.name().starts_with(start));
        if begins(&["leader-"]) {
            Occasion::Leading
        } else if begins(&["view-change-", "new-view-", "sync-", "snapshot-"]) && self != Self::Storm {
            Occasion::Trouble
        } else {
            Occasion::Always
        }
    }

    /// Whether it is about states that are fetched.
    #[must_use]
    pub fn is_of_snapshots(self) -> bool {
        sync::OF_SNAPSHOTS.contains(&self)
    }

    /// The lies that a liar can tell at any moment.
    fn of_a_moment(random: &mut Random) -> Self {
        // All but the silent ones and those at the end, which are ways to be.
        random.pick(&Self::ALL[2..Self::ALL.len() - 2])
    }
}

/// What liars tell each other.
#[derive(Default)]
pub(crate) struct Conspiracy {
    /// For each slot in which one of them proposed two blocks, that for odd and that for even validators.
    pub(crate) blocks: BTreeMap<(View, Height), Option<[Arc<PrePrepare>; 2]>>,
    /// Bundles that one of them made in the place of another, by the digest of the other.
    pub(crate) bundles: BTreeMap<Digest, Arc<Bundle>>,
    /// For each NEW-VIEW that one of them started a view with, what it tells others in its place.
    pub(crate) starts: BTreeMap<Digest, Option<Vec<PeerMessage>>>,
}

/// What travels: a message, or bytes that are none.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// A message.
    Message(PeerMessage),
    /// A frame's bytes.
    Bytes(Class, Arc<Vec<u8>>),
}

impl Payload {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Message(message) => message.name(),
            Self::Bytes(..) => "bytes",
        }
    }

    pub(crate) const fn class(&self) -> Class {
        match self {
            Self::Message(message) => message.class(),
            Self::Bytes(class, _) => *class,
        }
    }
}

/// Something that a liar says, after so many microseconds.
pub(crate) struct Said {
    pub(crate) after_us: u64,
    pub(crate) payload: Payload,
}

impl From<PeerMessage> for Said {
    fn from(message: PeerMessage) -> Self {
        Self { after_us: 0, payload: Payload::Message(message) }
    }
}

/// What a liar sees when it is about to say something.
pub(crate) struct Moment<'a> {
    pub(crate) node: &'a Node<MemoryDisk>,
    /// To whom.
    pub(crate) to: ValidatorIndex,
    pub(crate) random: &'a mut Random,
    pub(crate) conspiracy: &'a mut Conspiracy,
    pub(crate) now_us: u64,
}

impl Moment<'_> {
    fn is_even(&self) -> bool {
        self.to.0.is_multiple_of(2)
    }
}

/// What is said instead of the truth; none is the truth.
type Lie = Option<Vec<Said>>;

/// The filter of one liar.
pub(crate) struct Filter {
    behaviour: Behaviour,
    /// Its index, the last that it had.
    me: ValidatorIndex,
    epoch: Epoch,
    set: Arc<ValidatorSet>,
    genesis: Arc<Genesis>,
    signer: Arc<dyn Signer>,
    /// Votes that it said, for when they are old.
    votes: Vec<PeerMessage>,
    heard: Heard,
    /// How often it says everything, if it says everything many times.
    repeats: usize,
}

/// Votes that a liar remembers.
const OLD_VOTES: usize = 64;
/// From when on a node is silent that is so midway.
const MIDWAY_US: u64 = 3_000_000;
impl Filter {
    pub(crate) fn new(behaviour: Behaviour, place: usize, genesis: Arc<Genesis>, signer: Arc<dyn Signer>) -> Self {
        let (me, set) = (ValidatorIndex(place as u16), Arc::new(genesis.validators().clone()));
        let (votes, heard) = (Vec::new(), Heard::default());
        Self { behaviour, me, epoch: Epoch(0), set, genesis, signer, votes, heard, repeats: 1 }
    }

    /// If it says everything many times, it does so this often.
    pub(crate) fn repeating(self, repeats: usize) -> Self {
        Self { repeats, ..self }
    }

    /// Its node is in another epoch.
    pub(crate) fn enter(&mut self, epoch: Epoch, set: &Arc<ValidatorSet>) {
        (self.epoch, self.set) = (epoch, Arc::clone(set));
        self.me = set.index_of_key(&self.signer.public()).unwrap_or(self.me);
        self.heard = Heard::default();
    }

    /// Its node is told something, or says it.
    pub(crate) fn hear(&mut self, message: &PeerMessage) {
        self.heard.hear(message, self.epoch, self.victim());
    }

    /// What the liar sends to one peer instead of `message`, and which lie that is.
    pub(crate) fn distort(&mut self, message: PeerMessage, mut moment: Moment<'_>) -> (Vec<Said>, Option<Behaviour>) {
        self.hear(&message);
        let behaviour = match self.behaviour {
            Behaviour::Mixed if sync::is_of_snapshot(&message) => moment.random.pick(&sync::OF_SNAPSHOTS),
            Behaviour::Mixed if moment.random.permille(300) => Behaviour::of_a_moment(moment.random),
            other => other,
        };
        let said = self.say(behaviour, &message, &mut moment);
        if self.votes.len() < OLD_VOTES && matches!(message, PeerMessage::Vote(_)) {
            self.votes.push(message.clone());
        }
        match said {
            Some(said) => (said, Some(behaviour)),
            None => (vec![message.into()], None),
        }
    }

    /// Whether the liar closes its ears to a peer's message.
    pub(crate) fn ignores(&self, message: &PeerMessage) -> bool {
        match (self.behaviour, message) {
            (Behaviour::OriginCensored, PeerMessage::Bundle(bytes)) => {
                let bundle = Bundle::from_bytes(bytes, self.chain());
                bundle.is_ok_and(|bundle| bundle.body.origin == self.victim())
            }
            _ => false,
        }
    }

    /// Whether the liar closes its ears to a client.
    pub(crate) fn ignores_client(&self, client: usize) -> bool {
        self.behaviour == Behaviour::ClientCensored && client.is_multiple_of(2)
    }

    fn say(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        match behaviour {
            Behaviour::Silent => Some(Vec::new()),
            Behaviour::SilentMidway => (moment.now_us > MIDWAY_US).then(Vec::new),
            Behaviour::Thousandfold => Some((0..self.repeats).map(|_| self.later(message, moment)).collect()),
            _ => self
                .say_as_leader(behaviour, message, moment)
                .or_else(|| self.say_as_voter(behaviour, message, moment))
                .or_else(|| self.say_of_views(behaviour, message, moment))
                .or_else(|| self.say_of_proofs(behaviour, message, moment))
                .or_else(|| self.say_of_sync(behaviour, message, moment))
                .or_else(|| self.say_of_bundles(behaviour, message, moment))
                .or_else(|| frames::say(behaviour, message, moment)),
        }
    }

    fn later(&self, message: &PeerMessage, moment: &mut Moment<'_>) -> Said {
        Said { after_us: moment.random.below(50_000), payload: Payload::Message(message.clone()) }
    }

    /// The validator that a liar works against.
    fn victim(&self) -> ValidatorIndex {
        ValidatorIndex((self.me.0 + 1) % self.set.len() as u16)
    }

    fn chain(&self) -> &ChainId {
        self.genesis.chain_id()
    }

    fn sign<T: Statement>(&self, body: T) -> Signed<T> {
        let signature = self.signer.sign(&body.signed_bytes(self.chain()));
        Signed { body, signer: self.me, signature }
    }

    fn propose(&self, view: View, block: Block) -> Arc<PrePrepare> {
        let digest = block.header.digest(self.chain());
        let mut proposal = PrePrepare { view, block: Arc::new(block), signature: Signature([0; 64]) };
        proposal.signature = self.sign(proposal.vote(digest)).signature;
        Arc::new(proposal)
    }

    fn vote(&self, vote: Vote) -> PeerMessage {
        PeerMessage::Vote(self.sign(vote))
    }
}

/// A digest of nothing.
fn any_digest(random: &mut Random) -> Digest {
    sha256(&[b"nothing has this digest", &random.any().to_be_bytes()])
}

fn one(message: impl Into<Said>) -> Lie {
    Some(vec![message.into()])
}

/// The truth, and something more.
fn also(truth: &PeerMessage, more: impl IntoIterator<Item = PeerMessage>) -> Lie {
    let truth = std::iter::once(truth.clone());
    Some(truth.chain(more).map(Said::from).collect())
}
