//! What a run met. A batch of runs in which a counter stays at zero is blind to it, and fails (faults.md). A fault is
//! counted when it strikes, not when it is planned: a disk when it refuses something, a pause when something waits for it.

use dtvn_messages::EvidenceKind;
use dtvn_pbft::Cause;

use crate::lies::Behaviour;
use crate::links::Shape;

/// What a counter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What nodes did.
    Nodes,
    /// What was broken.
    Faults,
    /// What clients saw.
    Clients,
    /// Why views ended.
    Views,
    /// What liars did, by behaviour.
    Lies,
}

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// What it counts.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// How often that happened.
    pub count: u64,
}

/// How often each of several kinds happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally<const KINDS: usize>(pub [u64; KINDS]);

impl<const KINDS: usize> Default for Tally<KINDS> {
    fn default() -> Self {
        Self([0; KINDS])
    }
}

impl<const KINDS: usize> Tally<KINDS> {
    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// Of all kinds together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Makes the counters: field, group and name.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident: $group:ident, $name:literal;)*) => {
        /// How often something happened.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[$doc])* pub $field: u64,)*
            /// Moves to another view, by cause.
            pub views: Tally<{ Cause::ALL.len() }>,
            /// Partitions, by shape.
            pub(crate) shapes: Tally<{ Shape::ALL.len() }>,
            /// Lies that were told, by behaviour.
            pub told: Tally<{ Behaviour::ALL.len() }>,
        }

        impl Coverage {
            fn add_named(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            fn named(&self) -> Vec<Counter> {
                vec![$(Counter { name: $name, group: Group::$group, count: self.$field },)*]
            }
        }
    };
}

counters! {
    /// Blocks that an honest node committed.
    commits: Nodes, "blocks committed";
    /// VIEW-CHANGEs of honest nodes that carried prepared certificates.
    carried: Nodes, "view changes with certificates";
    /// NEW-VIEWs of honest nodes.
    new_views: Nodes, "new views";
    /// Stable checkpoints at honest nodes.
    stable: Nodes, "stable checkpoints";
    /// Receipt certificates at honest nodes.
    receipts: Nodes, "receipt certificates";
    /// Pieces of evidence at honest nodes.
    evidence: Nodes, "pieces of evidence";
    /// Of those, two votes in one slot.
    two_votes: Nodes, "evidence of two votes";
    /// Two heads that contradict each other.
    two_heads: Nodes, "evidence of two heads";
    /// Two VIEW-CHANGEs for one view.
    two_view_changes: Nodes, "evidence of two view changes";
    /// Two NEW-VIEWs for one view.
    two_new_views: Nodes, "evidence of two new views";
    /// A COMMIT, and a VIEW-CHANGE that hides its certificate.
    hidden_certificates: Nodes, "evidence of a hidden certificate";
    /// A NEW-VIEW that no honest leader makes.
    bad_new_views: Nodes, "evidence of a bad new view";
    /// A leader's vote against its own NEW-VIEW.
    against_new_views: Nodes, "evidence of a vote against its own new view";
    /// A vote for a block that no honest leader makes.
    bad_proposals: Nodes, "evidence of a bad proposal";
    /// A VIEW-CHANGE with a certificate that proves nothing.
    forged_certificates: Nodes, "evidence of a forged certificate";
    /// Accusations.
    accusations: Nodes, "accusations of a wrong log root";
    /// Logs with a torn tail that was cut.
    torn: Nodes, "disk-torn-tail";
    /// Answers to sync that were taken.
    caught_up: Nodes, "answers to sync taken";
    /// Speculative executions that were undone.
    rolled_back: Nodes, "rollbacks";
    /// Segments of a log that were dropped.
    collected: Nodes, "log segments dropped";
    /// Nodes that lost their memory, and follow.
    amnesiacs: Nodes, "nodes with amnesia";
    /// Epochs that began at an honest node.
    epochs: Nodes, "epochs begun";
    /// Nodes that lost their memory, and vote again.
    recoveries: Nodes, "recoveries of nodes with amnesia";
    /// Certified states that an honest node took in the place of its own.
    installed: Nodes, "snapshots installed";
    /// Times that an honest node blamed a liar.
    blamed: Nodes, "blames of liars";
    /// Messages that were sent, each copy.
    sent: Nodes, "messages sent";
    /// Messages that arrived.
    delivered: Nodes, "messages delivered";
    /// Nodes that ended because their disk failed.
    disk_failures: Nodes, "failures of a disk noticed";
    /// Losses of power that took blocks from a derived state.
    blocks_lost: Nodes, "blocks lost with the power";
    /// Processes that ended and started again.
    restarts: Faults, "crash-full-log";
    /// Losses of power that took something from a log.
    tails_lost: Faults, "crash-lost-tail";
    /// Times that all nodes ended at once.
    all_killed: Faults, "all-killed";
    /// Leaders that were killed.
    leaders_killed: Faults, "leader-killed";
    /// Times that several leaders in a row were killed.
    leaders_in_a_row: Faults, "leaders-dead-in-a-row";
    /// Parts of a node that started again by themselves.
    part_restarts: Faults, "actor-killed";
    /// Blocks, states and segments of a log for which there was no space.
    full_disks: Faults, "disk-full";
    /// Changes of a disk that could only be read.
    read_only_disks: Faults, "disk-read-only";
    /// Syncs that failed.
    failed_syncs: Faults, "disk-fsync-error";
    /// Syncs of a disk that is slow.
    slow_disks: Faults, "disk-slow";
    /// Logs in which a bit was flipped.
    bits_flipped: Faults, "disk-bit-flip";
    /// Logs that were truncated.
    logs_truncated: Faults, "disk-truncated";
    /// Logs that lost a segment.
    segments_lost: Faults, "disk-lost-file";
    /// Disks that were replaced by empty ones.
    disks_emptied: Faults, "disk-empty";
    /// Derived states that were lost beside a whole log.
    stores_lost: Faults, "disk-store-lost";
    /// Partitions.
    partitions: Faults, "partitions";
    /// Partitions that came and went.
    flapping: Faults, "net-flapping";
    /// Votes, and certificates in their place, that were lost.
    votes_lost: Faults, "net-votes-lost";
    /// Pauses of a node during which something came for it.
    pauses: Faults, "pauses";
    /// Long ones among them.
    long_pauses: Faults, "pause-30s";
    /// Steps of a node whose wall clock was wrong.
    skewed_clocks: Faults, "clock-skewed";
    /// Clocks that jumped.
    clock_jumps: Faults, "clock-jumps";
    /// Clocks that stood still.
    clocks_frozen: Faults, "clock-frozen";
    /// Messages that were lost.
    lost: Faults, "net-loss";
    /// Messages that came twice.
    repeated: Faults, "net-duplication";
    /// Messages that took longer than any does while nothing is wrong, each copy.
    delayed: Faults, "net-delay";
    /// Validators that were added to a set.
    members_added: Faults, "member-added";
    /// Validators that were removed from a set.
    members_removed: Faults, "member-removed";
    /// Validators that got another key.
    members_rekeyed: Faults, "member-rekeyed";
    /// Validators that got another power.
    members_weighed: Faults, "member-powers";
    /// Changes that lost against another one of their epoch, which was not agreed when they were asked for.
    lost_changes: Faults, "member-competing";
    /// Changes that were refused because too few of the validators signed them.
    unsigned_changes: Faults, "member-unsigned";
    /// Messages of an epoch that was over which were said again.
    old_messages: Faults, "epoch-old-messages";
    /// Operations that were decided.
    decided: Clients, "operations decided";
    /// Of those, refused.
    refused: Clients, "operations refused";
    /// Answers that repeated an earlier outcome.
    repeats: Clients, "repeated outcomes";
    /// Answers that a key was used for another payload.
    keys_reused: Clients, "client-same-key-other-payload";
    /// Requests that were sent again, elsewhere.
    retries: Clients, "client-retry-elsewhere";
}

impl Coverage {
    fn of_evidence(&mut self, kind: EvidenceKind) -> &mut u64 {
        match kind {
            EvidenceKind::TwoVotes => &mut self.two_votes,
            EvidenceKind::TwoHeads => &mut self.two_heads,
            EvidenceKind::TwoViewChanges => &mut self.two_view_changes,
            EvidenceKind::TwoNewViews => &mut self.two_new_views,
            EvidenceKind::HiddenCertificate => &mut self.hidden_certificates,
            EvidenceKind::BadNewView => &mut self.bad_new_views,
            EvidenceKind::AgainstNewView => &mut self.against_new_views,
            EvidenceKind::BadProposal => &mut self.bad_proposals,
            EvidenceKind::ForgedCertificate => &mut self.forged_certificates,
            EvidenceKind::WrongResult => &mut self.accusations,
        }
    }

    /// Counts a piece of evidence by its kind.
    pub(crate) fn add_evidence(&mut self, kind: EvidenceKind) {
        self.evidence += u64::from(kind.is_proof());
        *self.of_evidence(kind) += 1;
    }

    /// How many pieces of evidence of a kind honest nodes have.
    #[must_use]
    pub fn pieces(mut self, kind: EvidenceKind) -> u64 {
        *self.of_evidence(kind)
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.add_named(other);
        self.views.add(&other.views);
        self.shapes.add(&other.shapes);
        self.told.add(&other.told);
    }

    /// All counters.
    #[must_use]
    pub fn all(&self) -> Vec<Counter> {
        let mut all = self.named();
        let views = Cause::ALL.iter().zip(self.views.0);
        all.extend(views.map(|(cause, count)| Counter { name: cause.name(), group: Group::Views, count }));
        let shapes = Shape::ALL.iter().zip(self.shapes.0);
        all.extend(shapes.map(|(shape, count)| Counter { name: shape.name(), group: Group::Faults, count }));
        let told = Behaviour::ALL.iter().zip(self.told.0);
        all.extend(told.map(|(behaviour, count)| Counter { name: behaviour.name(), group: Group::Lies, count }));
        all
    }

    /// What a batch never met and had to.
    #[must_use]
    pub fn blind_spots(&self) -> Vec<&'static str> {
        self.all().into_iter().filter(|counter| counter.count == 0).map(|counter| counter.name).collect()
    }
}
