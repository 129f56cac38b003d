//! Recovery by a library: for signers without a table and for every answer but "valid".

use crate::signer::Signature65;

/// The coordinates of the key that `ecrecover` finds, x then y.
pub(super) type KeyBytes = [u8; 64];

/// Recovers the public key of a signature, or `None` if no key can have made it.
#[cfg(feature = "libsecp256k1")]
pub(super) fn recover(digest: &[u8; 32], signature: &Signature65) -> Option<KeyBytes> {
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    use secp256k1::{Message, Secp256k1, VerifyOnly};
    use std::sync::OnceLock;

    static CONTEXT: OnceLock<Secp256k1<VerifyOnly>> = OnceLock::new();
    // v 27 and 28 say that x(R) = r, so only these two ids exist here.
    let id = if signature.y_is_odd() {
        RecoveryId::One
    } else {
        RecoveryId::Zero
    };
    let mut compact = [0; 64];
    let (r, s) = compact.split_at_mut(32);
    r.copy_from_slice(signature.r());
    s.copy_from_slice(signature.s());
    let signature = RecoverableSignature::from_compact(&compact, id).ok()?;
    let key = CONTEXT
        .get_or_init(Secp256k1::verification_only)
        .recover_ecdsa(Message::from_digest(*digest), &signature)
        .ok()?;
    key.serialize_uncompressed().last_chunk().copied()
}

/// Recovers the public key of a signature, or `None` if no key can have made it.
#[cfg(not(feature = "libsecp256k1"))]
pub(super) fn recover(digest: &[u8; 32], signature: &Signature65) -> Option<KeyBytes> {
    let key = signature.recover_key(digest).ok()?;
    key.to_sec1_point(false).as_bytes().last_chunk().copied()
}
