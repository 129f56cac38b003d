//! Keys of requests that must not be charged twice.

use std::fmt::Write as _;

use crate::random::random;

/// A random key, in quotes as the header `Idempotency-Key` has it.
#[must_use]
pub fn new_idempotency_key() -> String {
    let mut key = String::with_capacity(34);
    // Writing to a string does not fail.
    let _ = write!(key, "\"{:032x}\"", random::<u128>());
    key
}

#[cfg(test)]
mod tests {
    use mpp_core::header::idempotency_key::IdempotencyKey;

    use super::*;

    #[test]
    fn keys_are_valid_and_differ() {
        let (one, other) = (new_idempotency_key(), new_idempotency_key());
        assert_eq!(IdempotencyKey::parse(&one).unwrap().as_str().len(), 32);
        assert_ne!(one, other);
    }
}
