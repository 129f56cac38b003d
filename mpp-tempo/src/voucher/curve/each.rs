//! Claims one after the other, with the two inversions of each shared among all.

use super::claim::{Claim, Verdict};
use super::digits::Digits;
use super::field::FieldElement;
use super::point::{self, XyzzPoint};
use super::scalar::{self, Scalar};
use super::tables::SignerTable;

/// Claims that share their inversions; what this leaves unshared is a hundredth.
const SHARED: usize = 16;

/// Judges claims, given a way to add up what their digits name.
#[inline(always)]
pub(super) fn verify(
    claims: &[Claim<'_>],
    verdicts: &mut [Verdict],
    combine: impl Fn(&Digits, &SignerTable) -> XyzzPoint,
) {
    if claims.len() == 1 {
        return verify_sharing::<1>(claims, verdicts, &combine);
    }
    for (claims, verdicts) in claims.chunks(SHARED).zip(verdicts.chunks_mut(SHARED)) {
        verify_sharing::<SHARED>(claims, verdicts, &combine);
    }
}

/// Judges up to `N` claims.
#[inline(always)]
fn verify_sharing<const N: usize>(
    claims: &[Claim<'_>],
    verdicts: &mut [Verdict],
    combine: &impl Fn(&Digits, &SignerTable) -> XyzzPoint,
) {
    let count = claims.len();
    let mut inverses = [Scalar::ONE; N];
    for (inverse, claim) in inverses.iter_mut().zip(claims) {
        *inverse = claim.s;
    }
    scalar::invert_all(&mut inverses[..count], &mut [Scalar::ONE; N][..count]);

    let mut sums = [XyzzPoint::from_affine(&point::GENERATOR); N];
    let mut depths = [FieldElement::ONE; N];
    for (index, claim) in claims.iter().enumerate() {
        let u1 = claim.message.mul(&inverses[index]);
        let u2 = claim.r.mul(&inverses[index]);
        sums[index] = combine(&Digits::new(&u1, &u2), claim.table);
        if !sums[index].is_exceptional() {
            depths[index] = sums[index].zzz;
        }
    }
    point::invert_all(&mut depths[..count], &mut [FieldElement::ONE; N][..count]);

    for (index, (claim, verdict)) in claims.iter().zip(verdicts).enumerate() {
        *verdict = judge(claim, &sums[index], &depths[index]);
    }
}

/// Compares R = u1 G + u2 Q with the signature, given the inverse of its ZZZ.
///
/// `ecrecover` starts from the point whose x is r itself, so x(R) >= n never matches, and whose
/// y has the parity that v says.
fn judge(claim: &Claim<'_>, sum: &XyzzPoint, inverse_zzz: &FieldElement) -> Verdict {
    if sum.is_exceptional() {
        return Verdict::Undecided;
    }
    let r = FieldElement(claim.r.0);
    let y = sum.y.mul(inverse_zzz);
    if r.mul(&sum.zz) == sum.x && y.is_odd() == claim.y_is_odd {
        Verdict::Valid
    } else {
        Verdict::Invalid
    }
}
