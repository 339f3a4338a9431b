//! Memory for bodies that are still arriving: charged while they grow, given back when they are stored or done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes of arriving bodies may be held at once.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Budget { limit, used: AtomicU64::new(0) })
    }

    /// A charge of nothing yet.
    pub fn open(self: &Arc<Self>) -> Charge {
        Charge { budget: self.clone(), bytes: 0, ahead: 0 }
    }

    /// Bytes charged now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// One arriving body's part of the budget; dropped, it is given back.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
    /// Of these, charged before they came.
    ahead: u64,
}

/// The budget has no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget;

impl Charge {
    /// Takes `expected` bytes ahead, for a body whose length is known; it then grows without asking again.
    pub fn reserve(&mut self, expected: u64) -> Result<(), OverBudget> {
        self.take(expected)?;
        self.ahead += expected;
        Ok(())
    }

    /// Takes `more` bytes, or nothing if the budget has no room for them.
    pub fn grow(&mut self, more: u64) -> Result<(), OverBudget> {
        let ahead = self.ahead.min(more);
        if more > ahead {
            self.take(more - ahead)?;
        }
        self.ahead -= ahead;
        Ok(())
    }

    fn take(&mut self, more: u64) -> Result<(), OverBudget> {
        let used = self.budget.used.fetch_add(more, Ordering::Relaxed);
        if used.saturating_add(more) > self.budget.limit {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            return Err(OverBudget);
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_given_back_whole_and_never_exceeds_the_budget() {
        let budget = Budget::new(100);
        let mut first = budget.open();
        let mut second = budget.open();
        assert_eq!(first.grow(60), Ok(()));
        assert_eq!(second.grow(41), Err(OverBudget));
        assert_eq!(second.grow(40), Ok(()));
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 40);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_was_reserved_is_charged_once() {
        let budget = Budget::new(100);
        let mut charge = budget.open();
        assert_eq!(charge.reserve(90), Ok(()));
        assert_eq!(charge.grow(60), Ok(()));
        assert_eq!(charge.grow(30), Ok(()));
        assert_eq!(budget.used(), 90);
        assert_eq!(charge.grow(11), Err(OverBudget));
        assert_eq!(charge.grow(10), Ok(()));
        assert_eq!(budget.used(), 100);
        assert_eq!(budget.open().reserve(1), Err(OverBudget));
        drop(charge);
        assert_eq!(budget.used(), 0);
    }
}
