//! Numbers that tell one thing from another, such as ids.

use rand::distr::{Distribution, StandardUniform};

/// A number that nobody else draws.
pub(crate) fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    #[cfg(feature = "reproducible")]
    if let Some(number) = crate::reproducible::draw() {
        return number;
    }
    rand::random()
}
