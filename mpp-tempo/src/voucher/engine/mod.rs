//! The machinery behind fast verification: the tier, the memory for tables, the learnt keys.

use core::fmt;
use std::sync::{Arc, OnceLock};

use super::curve::{Kernel, Tier};

mod arena;
mod reference;
mod signer;
#[cfg(test)]
pub(super) mod tests;

use arena::Arena;
pub(super) use arena::TableGuard;
pub(super) use signer::SignerState;

/// Memory for tables of the [global engine](VerifierEngine::global): about 2,000 signers.
const DEFAULT_TABLE_BYTES: usize = 64 << 20;

/// Tier and table memory that verifiers share.
///
/// A signer gets a table of 33 KB at its second accepted voucher; further vouchers are then
/// several times faster. When the memory is full, the tables of signers without traffic make
/// room. A signer without a table is verified by the library: the answers are the same.
pub struct VerifierEngine {
    /// `None`: everything goes to the library.
    kernel: Option<Kernel>,
    arena: Arena,
}

/// The CPU or the target has no such tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this CPU can not run the requested verification tier")]
pub struct UnsupportedTier;

impl VerifierEngine {
    /// The best tier of this CPU, with at most `table_bytes` for tables.
    ///
    /// Memory is taken in steps of 2 MiB as signers show up; less than one table is none.
    #[must_use]
    pub fn new(table_bytes: usize) -> Self {
        Self {
            kernel: Some(Kernel::detect()),
            arena: Arena::new(table_bytes),
        }
    }

    /// A certain tier, for tests and comparisons.
    ///
    /// # Errors
    /// [`UnsupportedTier`] if this CPU has not what the tier needs.
    pub fn with_tier(tier: Tier, table_bytes: usize) -> Result<Self, UnsupportedTier> {
        let kernel = match tier {
            Tier::Library => None,
            tier => Some(Kernel::of(tier).ok_or(UnsupportedTier)?),
        };
        Ok(Self {
            kernel,
            arena: Arena::new(table_bytes),
        })
    }

    /// The engine of all verifiers that are not given another.
    #[must_use]
    pub fn global() -> &'static Arc<Self> {
        static GLOBAL: OnceLock<Arc<VerifierEngine>> = OnceLock::new();
        GLOBAL.get_or_init(|| Arc::new(Self::new(DEFAULT_TABLE_BYTES)))
    }

    /// The tier of signers that have a table.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.kernel.map_or(Tier::Library, Kernel::tier)
    }

    /// Signers that have a table now.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.arena.used()
    }

    pub(super) const fn kernel(&self) -> Option<Kernel> {
        self.kernel
    }
}

impl fmt::Debug for VerifierEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierEngine")
            .field("tier", &self.tier())
            .field("tables", &self.tables())
            .finish_non_exhaustive()
    }
}
