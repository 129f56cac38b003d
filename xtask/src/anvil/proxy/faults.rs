//! Which transaction meets which accident.

use std::sync::{Mutex, PoisonError};

use alloy_primitives::Address;

use crate::anvil::opening::Target;

/// What happens to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Drop,
    /// Where its call reverts.
    Revert(Address),
}

/// Accidents that wait for their transaction; each strikes once.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    drop: bool,
    revert: Option<[u8; 4]>,
}

impl Faults {
    pub(crate) fn drop_next(&self) {
        self.change(|waiting| waiting.drop = true);
    }

    pub(crate) fn revert_next(&self, selector: [u8; 4]) {
        self.change(|waiting| waiting.revert = Some(selector));
    }

    /// What becomes of a transaction with these calls.
    pub(super) fn next(&self, calls: &[Target]) -> Option<Fault> {
        self.change(|waiting| {
            if std::mem::take(&mut waiting.drop) {
                return Some(Fault::Drop);
            }
            let selector = waiting.revert?;
            let struck = calls
                .iter()
                .find(|call| call.input.starts_with(&selector))?;
            waiting.revert = None;
            Some(Fault::Revert(struck.to))
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strikes_once_and_waits_for_its_transaction() {
        let call = |input: &'static [u8]| {
            let to = Address::repeat_byte(7);
            let input = input.into();
            [Target { to, input }]
        };
        let faults = Faults::default();
        assert_eq!(faults.next(&call(&[1, 2, 3, 4])), None);
        faults.revert_next([1, 2, 3, 4]);
        assert_eq!(faults.next(&call(&[4, 3, 2, 1])), None);
        let struck = Some(Fault::Revert(Address::repeat_byte(7)));
        assert_eq!(faults.next(&call(&[1, 2, 3, 4, 5])), struck);
        assert_eq!(faults.next(&call(&[1, 2, 3, 4])), None);
        faults.drop_next();
        assert_eq!(faults.next(&[]), Some(Fault::Drop));
        assert_eq!(faults.next(&[]), None);
    }
}
