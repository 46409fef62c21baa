//! Catching up: whom to ask for committed blocks, and what to do with answers (consensus.md section 7).
//!
//! Sync fetches what exists and is proven; it signs nothing and orders nothing.

use dtvn_messages::wire::{CommittedBlock, PeerMessage};
use dtvn_messages::{Height, Now, ValidatorIndex, limits};

use crate::verify::CheckedBlocks;

/// An answer that does not come within this time is asked of the next peer.
const ANSWER_TIMEOUT_US: u64 = 1_000_000;

/// What goes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// The replica lacks committed blocks.
    Ask {
        /// The first height.
        from: Height,
        /// The last height that is proved.
        to: Height,
        /// Who has shown to have it.
        holders: Vec<ValidatorIndex>,
    },
    /// A peer's blocks, checked.
    Blocks {
        /// Who sent them.
        from: ValidatorIndex,
        /// The blocks.
        checked: CheckedBlocks,
    },
    /// A peer's answer was faulty.
    Faulty(ValidatorIndex),
    /// The timer fired.
    Timer {
        /// Its generation.
        generation: u64,
    },
}

/// What comes out.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send to one validator.
    Send {
        /// To whom.
        to: ValidatorIndex,
        /// What.
        message: PeerMessage,
    },
    /// Blocks for the replica.
    Deliver(CheckedBlocks),
    /// Come back with [`Input::Timer`].
    SetTimer {
        /// Its generation.
        generation: u64,
        /// After how long.
        after_us: u64,
    },
}

#[derive(Debug)]
struct Asked {
    from: Height,
    to: Height,
    peer: ValidatorIndex,
    holders: Vec<ValidatorIndex>,
    /// What the replica asked for since: the next try is for that.
    newer: Option<(Height, Height, Vec<ValidatorIndex>)>,
}

/// The catch-up planner: one request at a time.
#[derive(Debug, Default)]
pub struct Sync {
    asked: Option<Asked>,
    generation: u64,
    turn: usize,
}

impl Sync {
    /// A planner with nothing to do.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        self.asked.is_some()
    }

    /// Takes one input and appends what follows from it.
    pub fn step(&mut self, _now: Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Ask { from, to, holders } => match &mut self.asked {
                None => self.ask(from, to, holders, effects),
                Some(asked) => asked.newer = Some((from, to, holders)),
            },
            Input::Blocks { from, checked } => self.on_blocks(from, checked, effects),
            Input::Faulty(peer) => {
                if self.asked.as_ref().is_some_and(|asked| asked.peer == peer) {
                    self.ask_another(effects);
                }
            }
            Input::Timer { generation } if generation == self.generation => self.ask_another(effects),
            Input::Timer { .. } => {}
        }
    }

    fn ask(&mut self, from: Height, to: Height, holders: Vec<ValidatorIndex>, effects: &mut Vec<Effect>) {
        let Some(peer) = holders.get(self.turn % holders.len().max(1)).copied() else { return };
        let to = to.min(from.plus(limits::SYNC_BLOCKS_MAX as u64 - 1));
        effects.push(Effect::Send { to: peer, message: PeerMessage::SyncRequest { from, to } });
        self.generation += 1;
        effects.push(Effect::SetTimer { generation: self.generation, after_us: ANSWER_TIMEOUT_US });
        self.asked = Some(Asked { from, to, peer, holders, newer: None });
    }

    fn ask_another(&mut self, effects: &mut Vec<Effect>) {
        self.turn += 1;
        if let Some(asked) = self.asked.take() {
            // Those who were known to hold it at first may all be gone.
            let (from, to, holders) = asked.newer.unwrap_or((asked.from, asked.to, asked.holders));
            self.ask(from, to, holders, effects);
        }
    }

    fn on_blocks(&mut self, from: ValidatorIndex, checked: CheckedBlocks, effects: &mut Vec<Effect>) {
        let Some(asked) = self.asked.as_ref().filter(|asked| asked.peer == from) else { return };
        let starts_right = checked.blocks.first().is_some_and(|first| first.block.header.height == asked.from);
        if !starts_right {
            return self.ask_another(effects);
        }
        // The replica asks again if it lacks more: it knows what it holds by then.
        self.asked = None;
        self.generation += 1;
        effects.push(Effect::Deliver(checked));
    }
}

/// What a peer is sent that asks for the committed blocks from `from` to `to`: as far as the limits of one answer go,
/// and the last has a certificate. `block` reads one from the store; none is beyond its end.
///
/// # Errors
/// Those of `block`.
pub fn serve<E>(
    from: Height,
    to: Height,
    mut block: impl FnMut(Height) -> Result<Option<CommittedBlock>, E>,
) -> Result<Vec<CommittedBlock>, E> {
    let bytes_max = limits::SYNC_FRAME_BYTES_MAX / 2;
    let mut blocks = Vec::new();
    let (mut bytes, mut certified) = (0, 0);
    let mut height = from;
    while height <= to && blocks.len() < limits::SYNC_BLOCKS_MAX {
        let Some(block) = block(height)? else { break };
        bytes += block.bundles.iter().map(|bundle| bundle.len()).sum::<usize>() + 1_024;
        if bytes > bytes_max && certified > 0 {
            break;
        }
        blocks.push(block);
        if blocks.last().is_some_and(|block| block.certificate.is_some()) {
            certified = blocks.len();
        }
        height = height.next();
    }
    blocks.truncate(certified);
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(sync: &mut Sync, from: u64, to: u64, holders: &[u16]) -> Vec<Effect> {
        let holders = holders.iter().map(|holder| ValidatorIndex(*holder)).collect();
        step(sync, Input::Ask { from: Height(from), to: Height(to), holders })
    }

    fn step(sync: &mut Sync, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        sync.step(Now::default(), input, &mut effects);
        effects
    }

    /// Whom a step asks, and for what.
    fn asked(effects: &[Effect]) -> Option<(u16, u64, u64)> {
        effects.iter().find_map(|effect| match effect {
            Effect::Send { to, message: PeerMessage::SyncRequest { from, to: last } } => Some((to.0, from.0, last.0)),
            _ => None,
        })
    }

    fn generation(effects: &[Effect]) -> u64 {
        let timers = effects.iter().rev().find_map(|effect| match effect {
            Effect::SetTimer { generation, .. } => Some(*generation),
            _ => None,
        });
        timers.unwrap()
    }

    #[test]
    fn who_does_not_answer_is_followed_by_the_next_holder() {
        let mut sync = Sync::new();
        let first = ask(&mut sync, 1, 9, &[2, 3]);
        assert_eq!(asked(&first), Some((2, 1, 9)));
        let second = step(&mut sync, Input::Timer { generation: generation(&first) });
        assert_eq!(asked(&second), Some((3, 1, 9)));
        assert_eq!(asked(&step(&mut sync, Input::Timer { generation: generation(&first) })), None, "an old timer");
        assert_eq!(asked(&step(&mut sync, Input::Faulty(ValidatorIndex(3)))), Some((2, 1, 9)));
    }

    #[test]
    fn holders_that_are_known_later_are_asked_when_the_first_ones_are_gone() {
        let mut sync = Sync::new();
        let first = ask(&mut sync, 2, 7, &[6]);
        assert_eq!(asked(&ask(&mut sync, 2, 15, &[0, 6])), None, "one request at a time");
        assert_eq!(asked(&ask(&mut sync, 3, 16, &[0, 1])), None);
        let second = step(&mut sync, Input::Timer { generation: generation(&first) });
        assert_eq!(asked(&second), Some((1, 3, 16)));
    }

    #[test]
    fn an_answer_ends_with_the_last_block_that_has_a_certificate() {
        let none = |_| Ok::<_, std::convert::Infallible>(None);
        assert_eq!(serve(Height(1), Height(5), none), Ok(Vec::new()));
    }
}
