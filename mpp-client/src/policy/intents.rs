//! Sessions and charges: which of them, and which first.

use mpp_core::header::accept_payment::{self, AcceptPayment, Weight};
use mpp_core::{IntentName, MethodName};

/// Which intents of the method `tempo` are paid, and which is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntentPolicy {
    /// Both; a session where there is one.
    #[default]
    SessionFirst,
    /// Both; a charge where there is one.
    ChargeFirst,
    /// Sessions only.
    SessionOnly,
    /// Charges only, and proofs of identity.
    ChargeOnly,
}

/// Places in the order of preference; `None` is not paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranks {
    pub(crate) session: Option<u8>,
    pub(crate) charge: Option<u8>,
}

impl IntentPolicy {
    pub(crate) const fn ranks(self) -> Ranks {
        let (session, charge) = match self {
            Self::SessionFirst => (Some(1), Some(2)),
            Self::ChargeFirst => (Some(2), Some(1)),
            Self::SessionOnly => (Some(1), None),
            Self::ChargeOnly => (None, Some(1)),
        };
        Ranks { session, charge }
    }
}

impl Ranks {
    /// The value of `Accept-Payment`, `others` first.
    pub(crate) fn accept(self, others: Vec<(MethodName, IntentName)>) -> String {
        let weight = |thousandths| Weight::from_thousandths(thousandths).unwrap_or(Weight::ONE);
        // What is preferred to others counts whole, the rest half of what comes before it.
        let mut next = 1_000;
        let mut accept = AcceptPayment::new();
        for (method, intent) in others {
            accept = accept.accept(Some(method), Some(intent), weight(next));
            next = 500;
        }
        let intents = [
            (self.session, IntentName::session()),
            (self.charge, IntentName::charge()),
        ];
        for place in [1, 2] {
            for (rank, intent) in &intents {
                if *rank == Some(place) {
                    let method = Some(MethodName::tempo());
                    accept = accept.accept(method, Some(intent.clone()), weight(next));
                    next = next.checked_div(2).unwrap_or(next);
                }
            }
        }
        accept_payment::encode(&accept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(intents: IntentPolicy, expected: &str) {
        assert_eq!(intents.ranks().accept(Vec::new()), expected);
    }

    // PROTOCOL 1, Accept-Payment.
    #[test]
    fn the_preference_is_told_in_weights() {
        check(
            IntentPolicy::SessionFirst,
            "tempo/session, tempo/charge;q=0.5",
        );
        check(
            IntentPolicy::ChargeFirst,
            "tempo/charge, tempo/session;q=0.5",
        );
        check(IntentPolicy::SessionOnly, "tempo/session");
        check(IntentPolicy::ChargeOnly, "tempo/charge");
        let credit = (MethodName::new("credit").unwrap(), IntentName::charge());
        let ranks = IntentPolicy::SessionFirst.ranks();
        assert_eq!(
            ranks.accept(vec![credit.clone()]),
            "credit/charge, tempo/session;q=0.5, tempo/charge;q=0.25"
        );
        assert_eq!(Ranks::default().accept(vec![credit]), "credit/charge");
    }
}
