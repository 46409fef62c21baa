//! The transparency log's Merkle tree as tiles (C2SP tlog-tiles): tile `n` of level `l` holds the roots of the perfect
//! subtrees of 256^l leaves, 256 of them when it is full.
//!
//! Stored are all full tiles, and of the levels above 0 also the last, growing one. The last one of level 0 is not: its
//! hashes are those of the newest outcomes, which are stored as leaves. So a block of one operation rewrites no tile,
//! and no more than 255 leaves are hashed anew for a proof.

use dtvn_messages::Digest;
use dtvn_messages::merkle::{Frontier, LogEdge, leaf_hash, node_hash};

use super::database::{GO_ON, Order, Range, View};
use super::error::StoreError;
use super::schema::{self, Column};

/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 256;

/// A tile to be stored, full or growing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) level: u8,
    pub(super) index: u64,
    pub(super) hashes: Vec<Digest>,
}

impl Tile {
    pub(super) fn key(&self) -> [u8; 9] {
        schema::tile(self.level, self.index)
    }

    pub(super) fn value(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }
}

/// How many hashes level `level` has in a log of `size` leaves: one for each perfect subtree of 256^level of them.
fn level_size(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// The growing end of the tree: the hashes that are in no full tile yet, for each level.
#[derive(Debug, Clone, Default)]
pub(super) struct TileBuilder {
    size: u64,
    growing: Vec<Vec<Digest>>,
}

impl TileBuilder {
    /// The growing end of what is stored, checked against the frontier.
    pub(super) fn load(view: &View<'_>) -> Result<Self, StoreError> {
        let log = &view.applied().log;
        let size = log.size();
        let mut growing = Vec::new();
        let tiles = Tiles::new(view);
        for level in (0u8..).take_while(|level| level_size(size, *level) > 0) {
            let hashes = level_size(size, level);
            growing.push(tiles.read(level, hashes / TILE_WIDTH as u64)?);
        }
        let builder = Self { size, growing };
        if builder.peaks() != log.peaks() {
            return Err(StoreError::damaged("the stored hashes of the transparency log do not have its frontier"));
        }
        Ok(builder)
    }

    /// The right edge of the log, as a state that is served carries it.
    pub(super) fn edge(&self) -> Option<LogEdge> {
        let levels = self.growing.iter().take_while(|_| self.size > 0).cloned().collect();
        LogEdge::from_parts(self.size, levels)
    }

    /// Appends a leaf. Tiles that it completes are added to `completed`.
    pub(super) fn append(&mut self, leaf: Digest, completed: &mut Vec<Tile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0u8.. {
            let position = usize::from(level);
            if self.growing.len() == position {
                self.growing.push(Vec::new());
            }
            self.growing[position].push(hash);
            if self.growing[position].len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(&mut self.growing[position]);
            hash = fold(&hashes);
            let index = level_size(self.size, level) / TILE_WIDTH as u64 - 1;
            completed.push(Tile { level, index, hashes });
        }
    }

    /// The growing tiles above level 0, which are stored too. They change only when a tile below is completed.
    pub(super) fn growing_tiles(&self) -> impl Iterator<Item = Tile> {
        let above = self.growing.iter().enumerate().skip(1).filter(|(_, hashes)| !hashes.is_empty());
        above.map(|(position, hashes)| {
            let level = u8::try_from(position).unwrap_or(u8::MAX);
            Tile { level, index: level_size(self.size, level) / TILE_WIDTH as u64, hashes: hashes.clone() }
        })
    }

    /// The roots of the perfect subtrees that make up the log, largest first.
    fn peaks(&self) -> Vec<Digest> {
        let mut peaks = Vec::new();
        for hashes in self.growing.iter().rev() {
            let mut rest = hashes.as_slice();
            for bit in (0..8).rev() {
                if rest.len() >= 1 << bit {
                    let (subtree, after) = rest.split_at(1 << bit);
                    peaks.push(fold(subtree));
                    rest = after;
                }
            }
        }
        peaks
    }
}

/// The tiles of an edge: the growing ones of all levels, that of the leaves too.
pub(super) fn edge_tiles(edge: &LogEdge) -> impl Iterator<Item = Tile> {
    let levels = edge.levels().iter().enumerate().filter(|(_, hashes)| !hashes.is_empty());
    levels.map(|(level, hashes)| {
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        Tile { level, index: level_size(edge.size(), level) / TILE_WIDTH as u64, hashes: hashes.clone() }
    })
}

/// The root over hashes, of which there are a power of two.
fn fold(hashes: &[Digest]) -> Digest {
    let mut row: Vec<Digest> = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}

/// The largest power of two below `size`, which is above 1: where RFC 6962 splits a tree.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// Reads tiles, each once, and computes what follows from them.
struct Tiles<'a, 'b> {
    view: &'a View<'b>,
    size: u64,
    known: Vec<Tile>,
}

impl<'a, 'b> Tiles<'a, 'b> {
    fn new(view: &'a View<'b>) -> Self {
        Self { view, size: view.applied().log.size(), known: Vec::new() }
    }

    /// The hashes of a tile as far as they exist: none behind the end.
    fn read(&self, level: u8, index: u64) -> Result<Vec<Digest>, StoreError> {
        let first = index.saturating_mul(TILE_WIDTH as u64);
        let width = level_size(self.size, level).saturating_sub(first).min(TILE_WIDTH as u64) as usize;
        if width == 0 {
            return Ok(Vec::new());
        }
        if level == 0 && width < TILE_WIDTH {
            return self.newest_leaves(first, width);
        }
        let value = self.view.get(Column::Tiles, schema::tile(level, index))?;
        let value = value.ok_or_else(|| StoreError::damaged(format!("tile {index} of level {level} is gone")))?;
        let (hashes, rest) = value.as_chunks::<32>();
        if hashes.len() != width || !rest.is_empty() {
            return Err(StoreError::damaged(format!("tile {index} of level {level} has a wrong length")));
        }
        Ok(hashes.iter().map(|hash| Digest(*hash)).collect())
    }

    fn newest_leaves(&self, first: u64, width: usize) -> Result<Vec<Digest>, StoreError> {
        let mut hashes = Vec::with_capacity(width);
        let installed = self.view.installed()?.log_size;
        if installed > first {
            // The edge of a log that came with a state: its leaves are not here.
            let known = (installed - first).min(width as u64) as usize;
            let index = first / TILE_WIDTH as u64;
            let value = self.view.get(Column::Tiles, schema::tile(0, index))?;
            let (stored, _) = value.as_deref().unwrap_or_default().as_chunks::<32>();
            hashes.extend(stored.iter().take(known).map(|hash| Digest(*hash)));
        }
        let range = Range::numbers(first.max(installed), first + width as u64);
        self.view.scan(Column::Outcomes, range, Order::Ascending, |_, leaf| {
            hashes.push(leaf_hash(leaf));
            GO_ON
        })?;
        if hashes.len() != width {
            return Err(StoreError::damaged("outcomes at the end of the log are gone"));
        }
        Ok(hashes)
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[Digest], StoreError> {
        let known = self.known.iter().position(|tile| tile.level == level && tile.index == index);
        let position = match known {
            Some(position) => position,
            None => {
                let hashes = self.read(level, index)?;
                self.known.push(Tile { level, index, hashes });
                self.known.len() - 1
            }
        };
        Ok(&self.known[position].hashes)
    }

    /// The root of the perfect subtree of 2^height leaves at `index` among those.
    fn subtree(&mut self, height: u32, index: u64) -> Result<Digest, StoreError> {
        let (level, within) = (height / 8, height % 8);
        let first = index << within;
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        let hashes = self.tile(level, first / TILE_WIDTH as u64)?;
        let from = (first % TILE_WIDTH as u64) as usize;
        let wanted = hashes.get(from..from + (1 << within));
        wanted.map(fold).ok_or_else(|| StoreError::damaged(format!("a tile of level {level} is too short")))
    }

    /// The RFC 6962 root of the leaves from `start` to before `end`; `start` is where such trees are split.
    fn root(&mut self, start: u64, end: u64) -> Result<Digest, StoreError> {
        let size = end - start;
        if size.is_power_of_two() {
            let height = size.trailing_zeros();
            return self.subtree(height, start >> height);
        }
        let middle = start + split(size);
        let (left, right) = (self.root(start, middle)?, self.root(middle, end)?);
        Ok(node_hash(&left, &right))
    }

    /// PATH(m, D[n]) of RFC 6962 section 2.1.1.
    fn path(&mut self, index: u64, start: u64, end: u64, path: &mut Vec<Digest>) -> Result<(), StoreError> {
        if end - start == 1 {
            return Ok(());
        }
        let middle = start + split(end - start);
        let sibling = if index < middle {
            self.path(index, start, middle, path)?;
            self.root(middle, end)?
        } else {
            self.path(index, middle, end, path)?;
            self.root(start, middle)?
        };
        path.push(sibling);
        Ok(())
    }

    /// SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2, with the first tree ending at `first`.
    fn subproof(
        &mut self,
        first: u64,
        start: u64,
        end: u64,
        whole: bool,
        path: &mut Vec<Digest>,
    ) -> Result<(), StoreError> {
        if first == end {
            if !whole {
                path.push(self.root(start, end)?);
            }
            return Ok(());
        }
        let middle = start + split(end - start);
        let other = if first <= middle {
            self.subproof(first, start, middle, whole, path)?;
            self.root(middle, end)?
        } else {
            self.subproof(first, middle, end, false, path)?;
            self.root(start, middle)?
        };
        path.push(other);
        Ok(())
    }
}

impl View<'_> {
    /// The root of the transparency log when it had `size` outcomes; none if it is not that long, or this store does not
    /// reach back so far.
    ///
    /// # Errors
    /// If the stored hashes are damaged.
    pub fn log_root(&self, size: u64) -> Result<Option<Digest>, StoreError> {
        match size {
            0 => Ok(Some(Frontier::new().root())),
            _ if size > self.applied().log.size() || size < self.installed()?.log_size => Ok(None),
            _ => Tiles::new(self).root(0, size).map(Some),
        }
    }

    /// The path that proves the outcome at `index` in the log of `size` outcomes (RFC 6962 section 2.1.1); none if there
    /// is no such leaf, the log is not that long, or this store does not reach back so far.
    ///
    /// # Errors
    /// If the stored hashes are damaged.
    pub fn inclusion_path(&self, index: u64, size: u64) -> Result<Option<Vec<Digest>>, StoreError> {
        if index >= size || size > self.applied().log.size() || index < self.installed()?.log_size {
            return Ok(None);
        }
        let mut path = Vec::new();
        Tiles::new(self).path(index, 0, size, &mut path)?;
        Ok(Some(path))
    }

    /// The path that proves that the log of `first` outcomes is the beginning of that of `second` (RFC 6962 section
    /// 2.1.2); empty if `first` is 0 or `second`, none if the log is not that long, or this store does not reach back so
    /// far.
    ///
    /// # Errors
    /// If the stored hashes are damaged.
    pub fn consistency_path(&self, first: u64, second: u64) -> Result<Option<Vec<Digest>>, StoreError> {
        let start = self.installed()?.log_size;
        if first > second || second > self.applied().log.size() || (first > 0 && first < start) {
            return Ok(None);
        }
        let mut path = Vec::new();
        if first > 0 {
            Tiles::new(self).subproof(first, 0, second, true, &mut path)?;
        }
        Ok(Some(path))
    }

    /// The first `width` hashes of a tile; none if the log has not so many there, `width` is not 1 to 256, or this store
    /// does not reach back so far.
    ///
    /// # Errors
    /// If the stored hashes are damaged.
    pub fn tile(&self, level: u8, index: u64, width: usize) -> Result<Option<Vec<Digest>>, StoreError> {
        let first_leaf = index.saturating_mul(TILE_WIDTH as u64).checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX);
        let is_below = first_leaf < self.installed()?.log_size;
        if is_below && self.get(Column::Tiles, schema::tile(level, index))?.is_none() {
            return Ok(None);
        }
        let mut hashes = Tiles::new(self).read(level, index)?;
        if width == 0 || width > hashes.len() {
            return Ok(None);
        }
        hashes.truncate(width);
        Ok(Some(hashes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough for a full tile of level 1, and a growing one of level 2.
    const LEAVES: u64 = 66_000;

    #[test]
    fn tiles_hold_the_roots_of_the_perfect_subtrees() {
        let leaves: Vec<Digest> = (0..LEAVES).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        let root = |leaves: &[Digest]| {
            let mut frontier = Frontier::new();
            leaves.iter().for_each(|leaf| frontier.append(*leaf));
            frontier.root()
        };
        let (mut builder, mut frontier, mut completed) = (TileBuilder::default(), Frontier::new(), Vec::new());
        for (size, leaf) in (1u64..).zip(&leaves) {
            builder.append(*leaf, &mut completed);
            frontier.append(*leaf);
            if size % 97 == 0 || size % 256 < 2 {
                assert_eq!(builder.peaks(), frontier.peaks(), "of {size} leaves");
            }
        }
        let full: Vec<(u8, u64)> = completed.iter().map(|tile| (tile.level, tile.index)).collect();
        assert_eq!(full.iter().filter(|(level, _)| *level == 0).count(), 257);
        assert!(completed.iter().all(|tile| tile.hashes.len() == TILE_WIDTH));
        assert!(full.contains(&(1, 0)) && full.len() == 258);
        for tile in completed.iter().chain(&builder.growing_tiles().collect::<Vec<_>>()) {
            let width = 256usize.pow(u32::from(tile.level));
            let first = usize::try_from(tile.index).unwrap() * TILE_WIDTH;
            for (position, hash) in tile.hashes.iter().enumerate().step_by(51) {
                let from = (first + position) * width;
                assert_eq!(*hash, root(&leaves[from..from + width]), "{position} in {}/{}", tile.level, tile.index);
            }
        }
        let growing: Vec<(u8, u64, usize)> =
            builder.growing_tiles().map(|tile| (tile.level, tile.index, tile.hashes.len())).collect();
        assert_eq!(growing, [(1, 1, 1), (2, 0, 1)]);
    }

    #[test]
    fn trees_are_split_at_the_largest_power_of_two_below() {
        let splits = [(2, 1), (3, 2), (4, 2), (5, 4), (255, 128), (256, 128), (257, 256), (u64::MAX, 1 << 63)];
        assert!(splits.into_iter().all(|(size, at)| split(size) == at));
    }
}
