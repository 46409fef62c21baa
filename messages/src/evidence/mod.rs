//! Evidence (consensus.md section 8): statements by which a validator has shown that it does not follow the protocol,
//! checked by anybody with public keys alone, without any state.
//!
//! Nobody honest is ever accused: each kind rests on something that an honest replica, over all its crashes, never signs.
//!
//! | kind | what an honest replica never does |
//! |---|---|
//! | `two_votes` | sign two digests for one (epoch, view, height): its vote is durable before it leaves |
//! | `two_heads` | cosign two heads that contradict each other: it cosigns only what is committed |
//! | `two_view_changes`, `two_new_views` | sign two for one view: their exact bytes are durable before they leave |
//! | `hidden_certificate` | show no certificate for a height for which it sent COMMIT: that was durable before |
//! | `bad_new_view` | start a view of another leader, without a quorum, or from other views' or invalid VIEW-CHANGEs |
//! | `against_new_view` | vote, as leader, against what its own NEW-VIEW selects |
//! | `bad_proposal` | vote for a fresh block that no honest leader makes: each voter checks the header first |
//! | `forged_certificate` | sign a VIEW-CHANGE with a certificate that proves nothing |
//! | `wrong_result` | (accusation) propose a log root that execution does not give: only a holder of the state can tell |
//!
//! Deviations (D) from section 8: a wrong list of bundles is no evidence, because a proposal's signature covers the header
//! and not the list; and a COMMIT proves a certificate at its own height only, because the commit of a lower height needs
//! not be durable when it leaves.
//!
//! Layout: the number of the kind (`u8`), then its parts as the variant lists them, each in its own layout, lists and
//! options as in [`crate::codec`].

mod judge;
mod layout;

use std::fmt;

use thiserror::Error;

use crate::block::Header;
use crate::codec::{DecodeError, Layout, Writer};
use crate::crypto::{Digest, Scheme, sha256};
use crate::head::Head;
use crate::ids::{ChainId, Epoch, Height, ValidatorIndex, View};
use crate::limits;
use crate::statement::Signed;
use crate::validators::ValidatorSet;
use crate::view_change::{NewView, ViewChange};
use crate::vote::Vote;
use judge::Judge;

/// What a verifier must know of an epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochContext<'a> {
    /// Its validators.
    pub set: &'a ValidatorSet,
    /// The height on which it begins, and the digest there; for the first epoch 0 and the hash of the genesis.
    pub base: (Height, Digest),
    /// `rotation_interval` of the genesis; 0 is off.
    pub rotation_interval: u64,
}

/// A kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// Two digests in one slot.
    TwoVotes,
    /// Two contradicting heads.
    TwoHeads,
    /// Two VIEW-CHANGEs for one view.
    TwoViewChanges,
    /// Two NEW-VIEWs for one view.
    TwoNewViews,
    /// A COMMIT, and a later VIEW-CHANGE that hides its certificate.
    HiddenCertificate,
    /// A NEW-VIEW that no honest leader makes.
    BadNewView,
    /// A leader's vote against its own NEW-VIEW.
    AgainstNewView,
    /// A vote for a block that no honest leader makes.
    BadProposal,
    /// A VIEW-CHANGE with a certificate that proves nothing.
    ForgedCertificate,
    /// An accusation: a proposal with another log root than the accuser's execution gives.
    WrongResult,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::TwoVotes,
        Self::TwoHeads,
        Self::TwoViewChanges,
        Self::TwoNewViews,
        Self::HiddenCertificate,
        Self::BadNewView,
        Self::AgainstNewView,
        Self::BadProposal,
        Self::ForgedCertificate,
        Self::WrongResult,
    ];

    /// The name in JSON, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoVotes => "two_votes",
            Self::TwoHeads => "two_heads",
            Self::TwoViewChanges => "two_view_changes",
            Self::TwoNewViews => "two_new_views",
            Self::HiddenCertificate => "hidden_certificate",
            Self::BadNewView => "bad_new_view",
            Self::AgainstNewView => "against_new_view",
            Self::BadProposal => "bad_proposal",
            Self::ForgedCertificate => "forged_certificate",
            Self::WrongResult => "wrong_result",
        }
    }

    /// Whether it proves by itself; an accusation does not, and is neither told to peers nor believed from them.
    #[must_use]
    pub const fn is_proof(self) -> bool {
        !matches!(self, Self::WrongResult)
    }

    fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|kind| *kind == self).unwrap_or(0);
        u8::try_from(place + 1).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Statements of one validator that contradict each other or the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Two votes of one validator in one slot for two digests. A proposal is its leader's PREPARE.
    TwoVotes(Signed<Vote>, Signed<Vote>),
    /// Two heads that contradict each other, cosigned by one validator.
    TwoHeads(Signed<Head>, Signed<Head>),
    /// Two VIEW-CHANGEs of one validator for one view.
    TwoViewChanges(Box<Signed<ViewChange>>, Box<Signed<ViewChange>>),
    /// Two NEW-VIEWs of one leader for one view.
    TwoNewViews(Signed<NewView>, Signed<NewView>),
    /// A COMMIT and a VIEW-CHANGE of a later view that shows neither a commit at or above its height nor a certificate of
    /// its view or a later one there.
    HiddenCertificate(Signed<Vote>, Box<Signed<ViewChange>>),
    /// A NEW-VIEW; and, unless it is wrong by itself, one VIEW-CHANGE that it names and must not.
    BadNewView(Signed<NewView>, Option<Box<ViewChange>>),
    /// A NEW-VIEW with all VIEW-CHANGEs that it names, in their order, and a vote of its leader in that view for another
    /// block than it selects, or above the last height of the view.
    AgainstNewView(Signed<NewView>, Vec<ViewChange>, Signed<Vote>),
    /// A vote for a fresh block, the block's header, and unless the header is wrong by itself that of the block below.
    BadProposal(Signed<Vote>, Box<Header>, Option<Box<Header>>),
    /// A VIEW-CHANGE of which a part does not hold.
    ForgedCertificate(Box<Signed<ViewChange>>),
    /// A leader's vote for its own fresh block, the header, and size and root of the log that the accuser's execution
    /// gives.
    WrongResult(Signed<Vote>, Box<Header>, u64, Digest),
}

/// Where it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The epoch.
    pub epoch: Epoch,
    /// The view; 0 where it does not matter.
    pub view: View,
    /// The height; 0 where it does not matter.
    pub height: Height,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// The validators of its epoch are not known.
    #[error("it is of epoch {0}, whose validators are not known here")]
    Epoch(Epoch),
    /// Its signer is no validator of the epoch.
    #[error("{0} is no validator of the epoch")]
    Stranger(ValidatorIndex),
    /// A signature in it does not hold.
    #[error("a signature of {0} does not hold")]
    BadSignature(ValidatorIndex),
    /// Its statements are by different validators.
    #[error("its statements are not by one validator")]
    TwoSigners,
    /// An honest validator could have said it.
    #[error("an honest validator may say this: {0}")]
    Harmless(&'static str),
}

impl Evidence {
    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::TwoVotes(..) => EvidenceKind::TwoVotes,
            Self::TwoHeads(..) => EvidenceKind::TwoHeads,
            Self::TwoViewChanges(..) => EvidenceKind::TwoViewChanges,
            Self::TwoNewViews(..) => EvidenceKind::TwoNewViews,
            Self::HiddenCertificate(..) => EvidenceKind::HiddenCertificate,
            Self::BadNewView(..) => EvidenceKind::BadNewView,
            Self::AgainstNewView(..) => EvidenceKind::AgainstNewView,
            Self::BadProposal(..) => EvidenceKind::BadProposal,
            Self::ForgedCertificate(..) => EvidenceKind::ForgedCertificate,
            Self::WrongResult(..) => EvidenceKind::WrongResult,
        }
    }

    /// Who is shown to lie.
    #[must_use]
    pub fn culprit(&self) -> ValidatorIndex {
        match self {
            Self::TwoVotes(vote, _)
            | Self::HiddenCertificate(vote, _)
            | Self::BadProposal(vote, ..)
            | Self::WrongResult(vote, ..) => vote.signer,
            Self::TwoHeads(head, _) => head.signer,
            Self::TwoViewChanges(view_change, _) | Self::ForgedCertificate(view_change) => view_change.signer,
            Self::TwoNewViews(new_view, _) | Self::BadNewView(new_view, _) | Self::AgainstNewView(new_view, ..) => {
                new_view.signer
            }
        }
    }

    /// Where it happened.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let of_vote = |vote: &Vote| Slot { epoch: vote.epoch, view: vote.view, height: vote.height };
        let of_view = |epoch, view| Slot { epoch, view, height: Height(0) };
        match self {
            Self::TwoVotes(vote, _)
            | Self::HiddenCertificate(vote, _)
            | Self::AgainstNewView(_, _, vote)
            | Self::BadProposal(vote, ..)
            | Self::WrongResult(vote, ..) => of_vote(&vote.body),
            Self::TwoHeads(first, second) => {
                let lower = if first.body.height <= second.body.height { first.body } else { second.body };
                Slot { epoch: lower.epoch, view: View(0), height: lower.height }
            }
            Self::TwoViewChanges(view_change, _) | Self::ForgedCertificate(view_change) => {
                of_view(view_change.body.epoch, view_change.body.view)
            }
            Self::TwoNewViews(new_view, _) | Self::BadNewView(new_view, _) => {
                of_view(new_view.body.epoch, new_view.body.view)
            }
        }
    }

    /// One for each culprit, kind and slot, in whichever order its parts stand: SHA-256 of the text `dtvn/evidence/1`, the
    /// number of the kind, culprit `u16`, epoch, view and height `u64`.
    #[must_use]
    pub fn name(&self) -> Digest {
        let Slot { epoch, view, height } = self.slot();
        let mut writer = Writer::with_capacity(32);
        writer.u8(self.kind().code());
        self.culprit().write(&mut writer);
        epoch.write(&mut writer);
        view.write(&mut writer);
        height.write(&mut writer);
        sha256(&[b"dtvn/evidence/1", &writer.into_bytes()])
    }

    /// Reads a piece of evidence as it travels and is stored.
    ///
    /// # Errors
    /// If the bytes are not its layout, or more than [`limits::EVIDENCE_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (what, found, limit) = ("the length of evidence", bytes.len(), limits::EVIDENCE_BYTES_MAX);
        if found > limit {
            return Err(DecodeError::TooLarge { what, found, limit });
        }
        Self::from_bytes(bytes)
    }

    /// Checks that it proves what it says, with the keys of the validators alone; an accusation only that it was said.
    ///
    /// # Errors
    /// With the first fault found: it then proves nothing.
    pub fn verify<'a>(
        &self,
        chain: &ChainId,
        context_of: impl Fn(Epoch) -> Option<EpochContext<'a>>,
        scheme: &dyn Scheme,
    ) -> Result<(), EvidenceError> {
        let epoch = self.slot().epoch;
        let context = context_of(epoch).ok_or(EvidenceError::Epoch(epoch))?;
        let judge = Judge { chain, context, scheme };
        match self {
            Self::TwoVotes(first, second) => judge.two_votes(first, second),
            Self::TwoHeads(first, second) => judge.two_heads(first, second),
            Self::TwoViewChanges(first, second) => judge.two_view_changes(first, second),
            Self::TwoNewViews(first, second) => judge.two_new_views(first, second),
            Self::HiddenCertificate(commit, view_change) => judge.hidden_certificate(commit, view_change),
            Self::BadNewView(new_view, view_change) => judge.bad_new_view(new_view, view_change.as_deref()),
            Self::AgainstNewView(new_view, view_changes, vote) => judge.against_new_view(new_view, view_changes, vote),
            Self::BadProposal(vote, header, below) => judge.bad_proposal(vote, header, below.as_deref()),
            Self::ForgedCertificate(view_change) => judge.forged_certificate(view_change),
            Self::WrongResult(vote, header, size, root) => judge.wrong_result(vote, header, (*size, *root)),
        }
    }
}
