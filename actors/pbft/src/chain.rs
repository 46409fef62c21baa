//! The end of the chain as this replica holds it: the committed tip, and above it what was executed speculatively.

use std::collections::VecDeque;
use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{Block, Digest, Height, Succession, Timestamp};

use crate::bundles::Positions;

/// The committed block that everything builds on.
#[derive(Debug, Clone)]
pub struct Tip {
    /// Its height.
    pub height: Height,
    /// Its digest.
    pub digest: Digest,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// The last ordered bundle of each origin, after it.
    pub positions: Positions,
    /// The size and root of the transparency log after it.
    pub log: (u64, Digest),
    /// How many empty blocks end here.
    pub empty_run: u64,
    /// Whether the epoch is about to end, and what holds above.
    pub succession: Succession,
}

/// A block that was handed to execution, or is being built.
#[derive(Debug, Clone)]
pub struct Link {
    /// Its height.
    pub height: Height,
    /// The number of its execution.
    pub id: u64,
    /// The block and its digest; none while this replica, as leader, still waits for the log root.
    pub block: Option<(Arc<Block>, Digest)>,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// Its bundles.
    pub bundles: Vec<Digest>,
    /// The last ordered bundle of each origin, after it.
    pub positions: Positions,
    /// How many empty blocks end here.
    pub empty_run: u64,
    /// The size and root of the transparency log after it, once executed.
    pub log: Option<(u64, Digest)>,
    /// What follows it, once executed.
    pub succession: Option<Succession>,
}

/// The committed tip and the links above it, without holes.
#[derive(Debug)]
pub struct Chain {
    tip: Tip,
    links: VecDeque<Link>,
    executions: u64,
}

/// What a block builds on.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The parent's digest.
    pub digest: Digest,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// The last ordered bundle of each origin, after it.
    pub positions: Positions,
    /// How many empty blocks end there.
    pub empty_run: u64,
    /// What follows it, once executed.
    pub succession: Option<Succession>,
}

impl Chain {
    /// A chain of which only the tip is known.
    pub fn new(tip: Tip) -> Self {
        Self { tip, links: VecDeque::new(), executions: 0 }
    }

    /// The committed tip.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The committed height.
    pub fn committed(&self) -> Height {
        self.tip.height
    }

    /// The height of the last link, or of the tip.
    pub fn top(&self) -> Height {
        self.tip.height.plus(self.links.len() as u64)
    }

    /// What was executed above the tip, from below.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter()
    }

    /// The link at a height above the tip.
    pub fn link(&self, height: Height) -> Option<&Link> {
        let above = height.0.checked_sub(self.tip.height.0)?.checked_sub(1)?;
        self.links.get(usize::try_from(above).ok()?)
    }

    fn link_mut(&mut self, height: Height) -> Option<&mut Link> {
        let above = height.0.checked_sub(self.tip.height.0)?.checked_sub(1)?;
        self.links.get_mut(usize::try_from(above).ok()?)
    }

    /// The digest at a height from the tip upwards, if its block is known.
    pub fn digest_at(&self, height: Height) -> Option<Digest> {
        if height == self.tip.height {
            return Some(self.tip.digest);
        }
        self.link(height)?.block.as_ref().map(|(_, digest)| *digest)
    }

    /// What follows the block at a height from the tip upwards, once it is executed.
    pub fn succession_at(&self, height: Height) -> Option<Succession> {
        if height == self.tip.height {
            return Some(self.tip.succession);
        }
        self.link(height)?.succession
    }

    /// Whether this very block was executed at its height, with the log root that its header names.
    pub fn is_executed(&self, height: Height, digest: &Digest) -> bool {
        self.link(height).is_some_and(|link| {
            link.block.as_ref().is_some_and(|(block, known)| {
                let is_result = link.log == Some((block.header.log_size, block.header.log_root));
                let is_ignored = planted(Canary::LogRootIgnored) && link.log.is_some();
                known == digest && (is_result || is_ignored)
            })
        })
    }

    /// What a block at this height would build on, if it is the next after the tip or after a link whose block is
    /// known.
    pub fn parent_for(&self, height: Height) -> Option<Parent> {
        if height == self.tip.height.next() {
            let tip = &self.tip;
            let (digest, timestamp, empty_run) = (tip.digest, tip.timestamp, tip.empty_run);
            let succession = Some(tip.succession);
            return Some(Parent { digest, timestamp, positions: tip.positions.clone(), empty_run, succession });
        }
        let link = self.link(height.previous())?;
        let (_, digest) = link.block.as_ref()?;
        let (timestamp, empty_run, succession) = (link.timestamp, link.empty_run, link.succession);
        Some(Parent { digest: *digest, timestamp, positions: link.positions.clone(), empty_run, succession })
    }

    /// A number for the next execution.
    pub fn next_execution(&mut self) -> u64 {
        self.executions += 1;
        self.executions
    }

    /// Adds a link on top.
    pub fn push(&mut self, link: Link) {
        assert_eq!(link.height, self.top().next(), "links have no holes");
        self.links.push_back(link);
    }

    /// Removes all links above a height; says whether there were any.
    pub fn truncate_above(&mut self, height: Height) -> bool {
        assert!(height >= self.tip.height, "what is committed is never rolled back");
        let keep = usize::try_from(height.above(self.tip.height)).unwrap_or(usize::MAX);
        let any = self.links.len() > keep;
        self.links.truncate(keep);
        any
    }

    /// The link that waits for this execution.
    pub fn executing(&mut self, id: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id && link.log.is_none())
    }

    /// Names the block of the link at a height.
    pub fn set_block(&mut self, height: Height, block: Arc<Block>, digest: Digest) {
        if let Some(link) = self.link_mut(height) {
            link.block = Some((block, digest));
        }
    }

    /// Makes the lowest link the tip, and returns its block.
    pub fn commit_lowest(&mut self) -> Option<(Arc<Block>, Digest)> {
        let link = self.links.pop_front()?;
        let (block, digest) = link.block?;
        self.tip = Tip {
            height: link.height,
            digest,
            timestamp: link.timestamp,
            positions: link.positions,
            log: link.log.unwrap_or(self.tip.log),
            empty_run: link.empty_run,
            succession: link.succession.unwrap_or(self.tip.succession),
        };
        Some((block, digest))
    }
}
