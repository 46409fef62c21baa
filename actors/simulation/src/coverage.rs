//! What a run met. A batch of runs in which a counter stays at zero is blind to it, and fails (faults.md).

use dtvn_pbft::Cause;

use crate::lies::Behaviour;

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
    /// Logs with a torn tail that was cut.
    torn: Nodes, "torn logs repaired";
    /// Answers to sync that were taken.
    caught_up: Nodes, "answers to sync taken";
    /// Speculative executions that were undone.
    rolled_back: Nodes, "rollbacks";
    /// Segments of a log that were dropped.
    collected: Nodes, "log segments dropped";
    /// Nodes that lost their memory, and follow.
    amnesiacs: Nodes, "nodes with amnesia";
    /// Times that an honest node blamed a liar.
    blamed: Nodes, "blames of liars";
    /// Messages that were sent, each copy.
    sent: Nodes, "messages sent";
    /// Messages that arrived.
    delivered: Nodes, "messages delivered";
    /// Processes that ended and started again.
    restarts: Faults, "restarts";
    /// Losses of power among them.
    power_losses: Faults, "losses of power";
    /// Parts of a node that started again by themselves.
    part_restarts: Faults, "restarts of a part";
    /// Partitions.
    partitions: Faults, "partitions";
    /// Nodes that were paused.
    pauses: Faults, "pauses";
    /// Clocks that jumped.
    clock_jumps: Faults, "clock jumps";
    /// Messages that were lost.
    lost: Faults, "messages lost";
    /// Messages that came twice.
    repeated: Faults, "messages repeated";
    /// Operations that were decided.
    decided: Clients, "operations decided";
    /// Of those, refused.
    refused: Clients, "operations refused";
    /// Answers that repeated an earlier outcome.
    repeats: Clients, "repeated outcomes";
    /// Answers that a key was used for another payload.
    keys_reused: Clients, "keys reused";
    /// Requests that were sent again, elsewhere.
    retries: Clients, "retries";
}

impl Coverage {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.add_named(other);
        self.views.add(&other.views);
        self.told.add(&other.told);
    }

    /// All counters.
    #[must_use]
    pub fn all(&self) -> Vec<Counter> {
        let mut all = self.named();
        let views = Cause::ALL.iter().zip(self.views.0);
        all.extend(views.map(|(cause, count)| Counter { name: cause.name(), group: Group::Views, count }));
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
