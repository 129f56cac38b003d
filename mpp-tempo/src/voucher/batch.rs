//! Many vouchers at once: the same answers as one at a time, for a fraction of the time.

use super::curve::{Claim, Kernel, Verdict};
use super::digest;
use super::engine::TableGuard;
use super::{SignedVoucher, VerifiedVoucher, VoucherError, VoucherSignature, VoucherVerifier};

/// Vouchers that go through the curve together; more are no faster.
const CHUNK: usize = 64;

/// A voucher and the verifier of its channel.
type Entry<'a> = (&'a VoucherVerifier, &'a SignedVoucher);
type Answer = Result<VerifiedVoucher, VoucherError>;

/// A batch was given another number of answers than of vouchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{vouchers} vouchers, but room for {answers} answers")]
pub struct BatchLengthMismatch {
    /// Vouchers to verify.
    pub vouchers: usize,
    /// Room for answers.
    pub answers: usize,
}

/// Verifies vouchers of any channels, each on its own: `answers[i]` belongs to `vouchers[i]`.
///
/// Every answer is the one that [`VoucherVerifier::verify`] gives; a bad voucher changes nothing
/// for its neighbors. Vouchers of signers that have a table share inversions and vector lanes, so
/// eight or more are several times faster than one by one. Does not allocate for secp256k1
/// vouchers of signers that are known.
///
/// # Errors
/// [`BatchLengthMismatch`], and then nothing is verified.
pub fn verify_batch(
    vouchers: &[(&VoucherVerifier, &SignedVoucher)],
    answers: &mut [Result<VerifiedVoucher, VoucherError>],
) -> Result<(), BatchLengthMismatch> {
    if vouchers.len() != answers.len() {
        return Err(BatchLengthMismatch {
            vouchers: vouchers.len(),
            answers: answers.len(),
        });
    }
    for (vouchers, answers) in vouchers.chunks(CHUNK).zip(answers.chunks_mut(CHUNK)) {
        verify_chunk(vouchers, answers);
    }
    Ok(())
}

/// What is known of a voucher after the curve has seen the chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// No table, another kind of signature, or bad content.
    No,
    /// In the batch, with this verdict.
    Yes(Verdict),
}

fn verify_chunk(vouchers: &[Entry<'_>], answers: &mut [Answer]) {
    let mut digests = [[0; 32]; CHUNK];
    digest::of_all(vouchers, &mut digests);
    let seen = judge(vouchers, &digests);
    for (((entry, digest), seen), answer) in vouchers.iter().zip(&digests).zip(seen).zip(answers) {
        *answer = conclude(*entry, digest, seen);
    }
}

/// Gives all vouchers of signers with tables to the curve.
fn judge(vouchers: &[Entry<'_>], digests: &[[u8; 32]; CHUNK]) -> [Seen; CHUNK] {
    let mut seen = [Seen::No; CHUNK];
    let kernel = vouchers
        .first()
        .and_then(|(verifier, _)| verifier.state().engine().kernel());
    let Some(kernel) = kernel else {
        return seen;
    };
    for (verifier, _) in vouchers {
        verifier.state().touch();
    }
    let tables: [Option<TableGuard<'_>>; CHUNK] =
        core::array::from_fn(|index| table(kernel, vouchers.get(index)?));
    let claims = || {
        let entries = vouchers.iter().zip(digests).zip(&tables).enumerate();
        entries.filter_map(|(index, (((_, signed), digest), table))| {
            let VoucherSignature::Secp256k1(signature) = &signed.signature else {
                return None;
            };
            Some((index, Claim::new(digest, signature, table.as_ref()?)))
        })
    };
    let Some((_, filler)) = claims().next() else {
        return seen;
    };
    let mut batch = [filler; CHUNK];
    let mut verdicts = [Verdict::Undecided; CHUNK];
    let mut count = 0usize;
    for ((_, claim), place) in claims().zip(&mut batch) {
        *place = claim;
        count = count.saturating_add(1);
    }
    if let (Some(batch), Some(verdicts)) = (batch.get(..count), verdicts.get_mut(..count)) {
        kernel.verify(batch, verdicts);
    }
    for ((index, _), verdict) in claims().zip(verdicts) {
        if let Some(seen) = seen.get_mut(index) {
            *seen = Seen::Yes(verdict);
        }
    }
    seen
}

/// The pinned table for a voucher that the kernel can judge.
fn table<'a>(kernel: Kernel, (verifier, signed): &Entry<'a>) -> Option<TableGuard<'a>> {
    let same_kernel = verifier.state().engine().kernel() == Some(kernel);
    let secp256k1 = matches!(signed.signature, VoucherSignature::Secp256k1(_));
    if same_kernel && secp256k1 && verifier.check_content(signed).is_ok() {
        verifier.state().table()
    } else {
        None
    }
}

/// The answer for one voucher; everything but a valid one is left to the single path.
fn conclude((verifier, signed): Entry<'_>, digest: &[u8; 32], seen: Seen) -> Answer {
    match (seen, &signed.signature) {
        (Seen::Yes(Verdict::Valid), _) => {}
        (Seen::Yes(_), VoucherSignature::Secp256k1(signature)) => {
            verifier.state().check_by_library(digest, signature)?;
        }
        (_, signature) => {
            verifier.check_content(signed)?;
            verifier.check_signature(&(*digest).into(), signature)?;
        }
    }
    Ok(VerifiedVoucher(signed.clone()))
}

#[cfg(test)]
mod tests;
