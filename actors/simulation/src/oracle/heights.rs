//! How far one honest host has committed: block by block, and never back, over all its lives as far as its disk goes.

use dtvn_messages::Height;

use super::{Invariant, Violation, ensure};

/// The committed height of one honest host, over all its lives.
pub(crate) struct Heights {
    /// Who, for people.
    who: String,
    committed: Height,
    /// Up to here no loss of power takes anything.
    durable: Height,
}

impl Heights {
    pub(crate) const fn new(who: String) -> Self {
        Self { who, committed: Height(0), durable: Height(0) }
    }

    /// It commits the block at a height: the next one.
    pub(crate) fn committed(&mut self, height: Height) -> Result<(), Violation> {
        ensure(height == self.committed.next(), Invariant::Chain, || {
            format!("{} commits block {height} right after block {}", self.who, self.committed)
        })?;
        self.committed = height;
        Ok(())
    }

    /// It takes a certified state in the place of its own: a later one.
    pub(crate) fn installed(&mut self, height: Height) -> Result<(), Violation> {
        self.reaches("takes the state of", height)
    }

    /// It stands at a height, of which so much is durable; after a start too.
    pub(crate) fn stands(&mut self, height: Height, durable: Height) -> Result<(), Violation> {
        self.reaches("stands at", height)?;
        self.durable = self.durable.max(durable);
        Ok(())
    }

    fn reaches(&mut self, how: &str, height: Height) -> Result<(), Violation> {
        ensure(height >= self.committed, Invariant::Chain, || {
            format!("{} {how} height {height}, and had committed {}", self.who, self.committed)
        })?;
        self.committed = height;
        Ok(())
    }

    /// Its machine loses its power: what is durable is there when it starts again.
    pub(crate) fn lost_power(&mut self) {
        self.committed = self.durable;
    }

    /// All that it had stored is gone.
    pub(crate) fn lost_all(&mut self) {
        (self.committed, self.durable) = (Height(0), Height(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that stands at height 5, of which 3 are durable.
    fn at_five() -> Heights {
        let mut heights = Heights::new("node0".to_owned());
        (1..=5).for_each(|height| heights.committed(Height(height)).unwrap());
        heights.stands(Height(5), Height(3)).unwrap();
        heights
    }

    fn goes_back(violation: Result<(), Violation>) -> bool {
        violation.is_err_and(|violation| violation.invariant == Invariant::Chain)
    }

    #[test]
    fn blocks_are_committed_one_after_the_other() {
        assert!(goes_back(at_five().committed(Height(5))));
        assert!(goes_back(at_five().committed(Height(7))));
        assert_eq!(at_five().committed(Height(6)), Ok(()));
    }

    #[test]
    fn nothing_goes_back_while_a_host_has_power() {
        assert!(goes_back(at_five().stands(Height(4), Height(3))));
        assert!(goes_back(at_five().installed(Height(4))));
        assert_eq!(at_five().stands(Height(5), Height(5)), Ok(()));
        let mut later = at_five();
        assert_eq!(later.installed(Height(9)), Ok(()));
        assert_eq!(later.committed(Height(10)), Ok(()));
    }

    #[test]
    fn a_loss_of_power_takes_nothing_that_was_durable() {
        let lost = || {
            let mut lost = at_five();
            lost.lost_power();
            lost
        };
        assert!(goes_back(lost().stands(Height(2), Height(2))));
        assert_eq!(lost().stands(Height(3), Height(3)), Ok(()));
        assert_eq!(lost().stands(Height(4), Height(4)), Ok(()));
        let mut emptied = at_five();
        emptied.lost_all();
        assert_eq!(emptied.stands(Height(0), Height(0)), Ok(()));
    }
}
