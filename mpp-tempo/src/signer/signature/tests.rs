//! Case A9: what is not the one canonical form never reaches the curve.

use alloy_primitives::{B256, U256};
use proptest::prelude::*;

use super::*;
use crate::signer::LocalSigner;

fn order() -> U256 {
    U256::from_be_bytes(ORDER)
}

fn form(r: U256, s: U256, v: u8) -> Result<Signature65, SignatureFormatError> {
    let mut bytes = [0; 65];
    bytes[..32].copy_from_slice(&r.to_be_bytes::<32>());
    bytes[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    bytes[64] = v;
    Signature65::from_bytes(&bytes)
}

#[test]
fn half_order_is_half_of_the_order() {
    assert_eq!(U256::from_be_bytes(HALF_ORDER), order() >> 1);
}

#[test]
fn v_is_27_or_28_and_nothing_else() {
    for v in 0..=u8::MAX {
        let read = form(U256::ONE, U256::ONE, v);
        if v == 27 || v == 28 {
            assert_eq!(read.unwrap().to_bytes()[64], v);
        } else {
            assert_eq!(read, Err(SignatureFormatError::RecoveryId), "v {v}");
        }
    }
}

#[test]
fn scalars_are_positive_and_below_the_order() {
    let one = U256::ONE;
    for bad in [U256::ZERO, order(), order() + one, U256::MAX] {
        assert_eq!(form(bad, one, 27), Err(SignatureFormatError::OutOfRange));
        assert_eq!(form(one, bad, 27), Err(SignatureFormatError::OutOfRange));
    }
    assert!(form(order() - one, one, 27).is_ok());
}

// PROTOCOL 5.3: low-s only.
#[test]
fn s_is_at_most_half_of_the_order() {
    let half = U256::from_be_bytes(HALF_ORDER);
    assert!(form(U256::ONE, half, 28).is_ok());
    assert_eq!(
        form(U256::ONE, half + U256::ONE, 28),
        Err(SignatureFormatError::HighS)
    );
    assert_eq!(
        form(U256::ONE, order() - U256::ONE, 28),
        Err(SignatureFormatError::HighS)
    );
}

#[test]
fn the_high_s_twin_of_a_real_signature_is_refused() {
    let signature = LocalSigner::from_bytes(&[1; 32])
        .unwrap()
        .sign_digest_sync(&B256::ZERO);
    let twin = order() - U256::from_be_bytes(*signature.s());
    let v = if signature.y_is_odd() { 27 } else { 28 };
    let r = U256::from_be_bytes(*signature.r());
    assert_eq!(form(r, twin, v), Err(SignatureFormatError::HighS));
}

#[test]
fn an_r_that_is_no_x_coordinate_recovers_no_one() {
    // x = 5 is not on the curve: 5^3 + 7 = 132 has no square root modulo p.
    let signature = form(U256::from(5), U256::ONE, 27).unwrap();
    assert_eq!(
        signature.recover(&B256::repeat_byte(1)),
        Err(InvalidSignature)
    );
}

// Case A20: signatures are not logged.
#[test]
fn debug_shows_no_scalar() {
    let signature = LocalSigner::from_bytes(&[1; 32])
        .unwrap()
        .sign_digest_sync(&B256::ZERO);
    assert_eq!(alloc::format!("{signature:?}"), "Signature65 { .. }");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // PROTOCOL 5.3: 65 bytes or 64 bytes EIP-2098 are the same signature.
    #[test]
    fn both_forms_read_the_same(key in any::<[u8; 32]>(), digest in any::<[u8; 32]>()) {
        let Ok(signer) = LocalSigner::from_bytes(&key) else { return Ok(()) };
        let signature = signer.sign_digest_sync(&digest.into());
        let long = signature.to_bytes();
        prop_assert_eq!(Signature65::from_bytes(&long), Ok(signature));
        let mut compact = [0; 64];
        compact.copy_from_slice(&long[..64]);
        if signature.y_is_odd() {
            compact[32] |= 0x80;
        }
        prop_assert_eq!(Signature65::from_compact(&compact), Ok(signature));
    }
}
