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
            Input::Ask { from, to, holders } => {
                if self.asked.is_none() {
                    self.ask(from, to, holders, effects);
                }
            }
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
        self.asked = Some(Asked { from, to, peer, holders });
    }

    fn ask_another(&mut self, effects: &mut Vec<Effect>) {
        self.turn += 1;
        if let Some(asked) = self.asked.take() {
            self.ask(asked.from, asked.to, asked.holders, effects);
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
