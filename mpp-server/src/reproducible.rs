//! Runs that can be repeated to the last stored byte, for fuzzers and tests.
//!
//! Only with the feature `reproducible`. What is drawn here names things (an
//! effect, a process, a transaction among equal ones); no secret comes of it.

use std::cell::RefCell;

use rand::{
    RngExt as _, SeedableRng as _,
    distr::{Distribution, StandardUniform},
    rngs::StdRng,
};

thread_local! {
    static DRAWN: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From here on, servers of this thread draw the same ids for the same seed.
pub fn seed(seed: u64) {
    DRAWN.with_borrow_mut(|drawn| *drawn = Some(StdRng::seed_from_u64(seed)));
}

/// The next number; `None` without a seed.
pub(crate) fn draw<T>() -> Option<T>
where
    StandardUniform: Distribution<T>,
{
    DRAWN.with_borrow_mut(|drawn| drawn.as_mut().map(|drawn| drawn.random()))
}
