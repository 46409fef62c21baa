//! What a run met. A batch of runs in which a counter stays at zero is blind to it, and fails (faults.md).

use dtvn_messages::EvidenceKind;

/// Makes the counters: field, name, and whether every batch must meet it.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident: $name:literal, $needed:literal;)*) => {
        /// How often something happened.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Coverage {
            /// Adds another run's.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// The counters: name, count, and whether every batch must meet it.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64, bool)> {
                vec![$(($name, self.$field, $needed),)*]
            }
        }
    };
}

counters! {
    /// Blocks that an honest node committed.
    commits: "blocks committed", true;
    /// Moves of an honest node to another view.
    view_changes: "moves to another view", true;
    /// VIEW-CHANGEs of honest nodes that carried prepared certificates.
    carried: "view changes with certificates", true;
    /// NEW-VIEWs of honest nodes.
    new_views: "new views", true;
    /// Stable checkpoints at honest nodes.
    stable: "stable checkpoints", true;
    /// Receipt certificates at honest nodes.
    receipts: "receipt certificates", true;
    /// Pieces of evidence at honest nodes.
    evidence: "pieces of evidence", true;
    /// Of those, two votes in one slot.
    two_votes: "evidence of two votes", true;
    /// Two VIEW-CHANGEs for one view.
    two_view_changes: "evidence of two view changes", true;
    /// A VIEW-CHANGE that hides what its signer knew.
    hidden_certificates: "evidence of a hidden certificate", false;
    /// Other kinds of evidence.
    other_evidence: "evidence of other kinds", false;
    /// Accusations.
    accusations: "accusations of a wrong log root", true;
    /// Processes that ended and started again.
    restarts: "restarts", true;
    /// Losses of power among them.
    power_losses: "losses of power", true;
    /// Logs with a torn tail that was cut.
    torn: "torn logs repaired", true;
    /// Parts of a node that started again by themselves.
    part_restarts: "restarts of a part", true;
    /// Answers to sync that were taken.
    caught_up: "answers to sync taken", true;
    /// Speculative executions that were undone.
    rolled_back: "rollbacks", true;
    /// Segments of a log that were dropped.
    collected: "log segments dropped", true;
    /// Nodes that lost their memory, and follow.
    amnesiacs: "nodes with amnesia", true;
    /// Epochs that began at an honest node.
    epochs: "epochs begun", true;
    /// Nodes that lost their memory, and vote again.
    recoveries: "recoveries of nodes with amnesia", true;
    /// Partitions.
    partitions: "partitions", true;
    /// Nodes that were paused.
    pauses: "pauses", true;
    /// Clocks that jumped.
    clock_jumps: "clock jumps", true;
    /// Messages that were lost.
    lost: "messages lost", true;
    /// Messages that came twice.
    repeated: "messages repeated", true;
    /// Lies that were told.
    lies: "lies told", true;
    /// Times that an honest node blamed a liar.
    blamed: "blames of liars", true;
    /// Operations that clients had decided.
    decided: "operations decided", true;
    /// Of those, refused.
    refused: "operations refused", true;
    /// Answers that repeated an earlier outcome.
    repeats: "repeated outcomes", true;
    /// Answers that a key was used for another payload.
    keys_reused: "keys reused", true;
    /// Requests that were sent again, elsewhere.
    retries: "retries", true;
}

impl Coverage {
    /// Counts a piece of evidence by its kind.
    pub(crate) fn evidence_of(&mut self, kind: EvidenceKind) {
        let counter = match kind {
            EvidenceKind::TwoVotes => &mut self.two_votes,
            EvidenceKind::TwoViewChanges => &mut self.two_view_changes,
            EvidenceKind::HiddenCertificate => &mut self.hidden_certificates,
            EvidenceKind::WrongResult => &mut self.accusations,
            _ => &mut self.other_evidence,
        };
        *counter += 1;
    }

    /// What a batch never met and had to.
    #[must_use]
    pub fn blind_spots(&self) -> Vec<&'static str> {
        self.all().into_iter().filter(|(_, count, needed)| *needed && *count == 0).map(|(name, ..)| name).collect()
    }
}
