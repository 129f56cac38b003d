//! Nonce points with x(R) >= n: plain ECDSA accepts them as r = x(R) - n, `ecrecover` with v 27
//! or 28 does not, because it lifts r itself.

use k256::elliptic_curve::sec1::FromSec1Point;
use k256::{AffinePoint as Reference, ProjectivePoint, Sec1Point};

use super::super::testing::{big, padded};
use super::super::{limbs, scalar};
use super::*;

/// The point with this x and an even or odd y, if there is one.
pub(super) fn lift(x: &[u8; 32], odd: bool) -> Option<ProjectivePoint> {
    let mut bytes = [2 + u8::from(odd); 33];
    bytes[1..].copy_from_slice(x);
    let encoded = Sec1Point::from_bytes(bytes).unwrap();
    Option::<Reference>::from(Reference::from_sec1_point(&encoded)).map(ProjectivePoint::from)
}

#[test]
fn points_beyond_the_order_are_refused() {
    let order = big(&limbs::to_be_bytes(&scalar::ORDER));
    let mut refused = 0;
    for offset in 1..40u64 {
        let x = padded(&(&order + offset));
        for odd in [false, true] {
            let Some(nonce_point) = lift(&x, odd) else {
                continue;
            };
            let r = k256::Scalar::from(offset);
            let s = k256::Scalar::from(offset * 77 + 5);
            let message = k256::Scalar::from(offset + 1000);
            // Q = (s R - message G) / r makes the plain equation hold.
            let inverse = r.invert().unwrap();
            let key = nonce_point * (s * inverse) - cases::point(&(message * inverse));
            let encoded = cases::uncompressed(&key);
            let (kx, ky) = (encoded[1..33].try_into(), encoded[33..].try_into());
            let key = AffinePoint::from_coordinates(&kx.unwrap(), &ky.unwrap()).unwrap();
            let table = SignerTable::boxed(&key);

            let digest: [u8; 32] = message.to_bytes().into();
            let verifier = k256::ecdsa::VerifyingKey::from_sec1_bytes(&encoded).unwrap();
            let plain = k256::ecdsa::Signature::from_scalars(r, s).unwrap();
            use k256::ecdsa::signature::hazmat::PrehashVerifier;
            verifier.verify_prehash(&digest, &plain).unwrap();

            for parity in 0..2 {
                let signature = cases::signature(&r, &s, parity).unwrap();
                let claims = vec![Claim::new(&digest, &signature, &table); 9];
                for kernel in kernels() {
                    assert_eq!(verdicts(kernel, &claims, 9), [Verdict::Invalid; 9]);
                }
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "{refused}");
}
