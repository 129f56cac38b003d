//! Marks by which a commit is known again when its acknowledgement was lost.
//!
//! Every record keeps the stamps of its last commits, newest first. A commit
//! whose connection broke is tried again with the same stamp. When it then
//! conflicts, the stamps tell whether the other writer was the first attempt.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::Version;

/// How many stamps a record keeps.
pub(in crate::store) const KEPT_STAMPS: usize = 8;

/// The mark of one commit or claim, unique among all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Stamp(pub(in crate::store) [u8; Stamp::BYTES]);

impl Stamp {
    pub(in crate::store) const BYTES: usize = 16;
}

/// Makes the stamps of one store.
#[derive(Debug)]
pub(in crate::store) struct Stamps {
    node: u64,
    next: AtomicU64,
}

impl Stamps {
    pub(in crate::store) fn new() -> Self {
        Self {
            node: rand::random(),
            next: AtomicU64::new(0),
        }
    }

    pub(in crate::store) fn next(&self) -> Stamp {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stamp = u128::from(self.node).rotate_left(64) | u128::from(number);
        Stamp(stamp.to_be_bytes())
    }
}

/// Who made the version that a commit of ours wanted to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Author {
    /// We did: the commit is done.
    Us,
    /// Somebody else, or nobody yet: the commit conflicts.
    Others,
    /// So many commits came later that it can not be told.
    Unknown,
}

/// Finds out from the current version and its stamps whether the commit
/// `stamp`, made from version `expected`, happened.
pub(in crate::store) fn author(
    stamp: Stamp,
    expected: Option<Version>,
    current: Version,
    stamps: &[u8],
) -> Author {
    let expected = expected.map_or(0, |version| version.0);
    let Some(later) = current
        .0
        .checked_sub(expected)
        .and_then(|n| n.checked_sub(1))
    else {
        return Author::Others;
    };
    let at = usize::try_from(later).unwrap_or(usize::MAX);
    if at >= KEPT_STAMPS {
        return Author::Unknown;
    }
    match stamps.chunks_exact(Stamp::BYTES).nth(at) {
        Some(found) if found == stamp.0 => Author::Us,
        _ => Author::Others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mine: u8, expected: Option<u64>, current: u64, should: Author) {
        // The version n has the stamp n; the newest comes first.
        let stamps: Vec<u8> = (1..=u8::try_from(current).unwrap())
            .rev()
            .take(KEPT_STAMPS)
            .flat_map(|version| [version; Stamp::BYTES])
            .collect();
        let stamp = Stamp([mine; Stamp::BYTES]);
        let is = author(stamp, expected.map(Version), Version(current), &stamps);
        assert_eq!(is, should, "{mine}, {expected:?}, {current}");
    }

    #[test]
    fn a_commit_is_known_again_until_it_is_buried() {
        check(1, None, 1, Author::Us);
        check(9, None, 1, Author::Others);
        check(4, Some(3), 4, Author::Us);
        check(4, Some(3), 11, Author::Us);
        check(99, Some(3), 11, Author::Others);
        check(4, Some(3), 12, Author::Unknown);
        // Nobody has committed yet, or the store went back.
        check(4, Some(3), 3, Author::Others);
        check(4, Some(3), 2, Author::Others);
    }

    #[test]
    fn stamps_differ() {
        let (one, other) = (Stamps::new(), Stamps::new());
        let stamps = [one.next(), one.next(), other.next(), other.next()];
        for (at, stamp) in stamps.iter().enumerate() {
            assert!(!stamps[..at].contains(stamp));
        }
    }
}
