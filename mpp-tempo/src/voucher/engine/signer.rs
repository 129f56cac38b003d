//! What a verifier learns about its signer: the public key, the traffic, the table.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use alloy_primitives::{Address, keccak256};

use super::VerifierEngine;
use super::arena::{TableGuard, Ticket};
use super::reference::{self, KeyBytes};
use crate::signer::Signature65;
use crate::voucher::VoucherError;
use crate::voucher::curve::{AffinePoint, Claim, Verdict};

/// Accepted vouchers after which a signer gets a table: one shows no traffic yet, and building
/// costs about as much as verifying three vouchers with a library.
const VOUCHERS_BEFORE_TABLE: u32 = 2;

/// State of one signer, shared by the clones of its verifier. Lock-free after the first voucher.
#[derive(Debug)]
pub(in crate::voucher) struct SignerState {
    engine: Arc<VerifierEngine>,
    account: Address,
    /// Set once by the first accepted voucher; it never changes, as the account binds it.
    key: OnceLock<LearntKey>,
    /// Vouchers that the library accepted since there was a table.
    accepted: AtomicU32,
    ticket: Ticket,
}

#[derive(Clone, Copy, Debug)]
struct LearntKey {
    bytes: KeyBytes,
    point: AffinePoint,
}

impl SignerState {
    pub(in crate::voucher) fn new(engine: Arc<VerifierEngine>, account: Address) -> Self {
        Self {
            engine,
            account,
            key: OnceLock::new(),
            accepted: AtomicU32::new(0),
            ticket: Ticket::default(),
        }
    }

    pub(in crate::voucher) fn engine(&self) -> &VerifierEngine {
        &self.engine
    }

    /// The signer's table, pinned while the guard lives.
    pub(in crate::voucher) fn table(&self) -> Option<TableGuard<'_>> {
        self.engine.arena.acquire(&self.ticket)
    }

    /// Brings what [`table`](Self::table) needs near.
    pub(in crate::voucher) fn touch(&self) {
        core::hint::black_box(self.engine.arena.touch(&self.ticket));
    }

    /// Checks that the account signed the digest, by the fastest means there is now.
    pub(in crate::voucher) fn check(
        &self,
        digest: &[u8; 32],
        signature: &Signature65,
    ) -> Result<(), VoucherError> {
        if let (Some(kernel), Some(table)) = (self.engine.kernel, self.table()) {
            let mut verdict = [Verdict::Undecided];
            kernel.verify(&[Claim::new(digest, signature, &table)], &mut verdict);
            if verdict == [Verdict::Valid] {
                return Ok(());
            }
        }
        self.check_by_library(digest, signature)
    }

    /// Checks with the library, which also tells who signed instead.
    ///
    /// Every refusal comes from here, so no mistake in the fast code can refuse a good voucher.
    pub(in crate::voucher) fn check_by_library(
        &self,
        digest: &[u8; 32],
        signature: &Signature65,
    ) -> Result<(), VoucherError> {
        let bytes = reference::recover(digest, signature).ok_or(VoucherError::InvalidSignature)?;
        if self.key.get().is_none_or(|known| known.bytes != bytes) {
            let recovered = Address::from_word(keccak256(bytes));
            if recovered != self.account {
                return Err(VoucherError::SignerMismatch {
                    expected: self.account,
                    recovered,
                });
            }
        }
        if self.engine.kernel.is_some() {
            self.learn(bytes);
        }
        Ok(())
    }

    /// Takes note of an accepted voucher and builds the table when it is time.
    fn learn(&self, bytes: KeyBytes) {
        let Some(key) = self.learnt_key(bytes) else {
            return;
        };
        if self.table().is_some() {
            // The table exists and an exceptional addition came here.
            return;
        }
        self.engine.arena.note_miss();
        let accepted = self.accepted.fetch_add(1, Ordering::Relaxed);
        let due = accepted.saturating_add(1) >= VOUCHERS_BEFORE_TABLE;
        if due && self.engine.arena.build(&self.ticket, &key.point) {
            // Whoever loses the table starts again.
            self.accepted.store(0, Ordering::Relaxed);
        }
    }

    fn learnt_key(&self, bytes: KeyBytes) -> Option<&LearntKey> {
        if self.key.get().is_none() {
            let (x, y) = (bytes.first_chunk()?, bytes.last_chunk()?);
            let point = AffinePoint::from_coordinates(x, y)?;
            // Another thread may have been first; it found the same key.
            let _ = self.key.set(LearntKey { bytes, point });
        }
        self.key.get()
    }
}

impl Drop for SignerState {
    fn drop(&mut self) {
        self.engine.arena.abandon(&self.ticket);
    }
}
