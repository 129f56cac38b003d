//! A checksum over all that this thread has tried and made durable.
//!
//! Two runs of one tree have the same one, or something in them depends on
//! more than their inputs.

use std::cell::RefCell;

thread_local! {
    static TRACE: RefCell<crc32fast::Hasher> = RefCell::default();
}

/// Adds to the checksum.
pub(crate) fn note(bytes: &[u8]) {
    TRACE.with_borrow_mut(|trace| {
        trace.update(&(bytes.len() as u64).to_le_bytes());
        trace.update(bytes);
    });
}

/// The checksum so far.
pub fn checksum() -> u32 {
    TRACE.with_borrow(|trace| trace.clone().finalize())
}
