//! Locks for short synchronous sections; none is ever held across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose sections can not panic half way through a change.
///
/// Every section in this crate either replaces a value as a whole or computes first and assigns
/// last, so a poisoned lock still guards a consistent value.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
