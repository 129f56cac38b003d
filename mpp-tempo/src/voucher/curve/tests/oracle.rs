//! Two independent libraries, which must agree with each other as well.

use std::vec::Vec;

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId as CRecoveryId};
use secp256k1::{Message, PublicKey, Secp256k1, VerifyOnly};

use super::cases::Case;

pub(super) struct Oracle {
    context: Secp256k1<VerifyOnly>,
    keys: Vec<PublicKey>,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            context: Secp256k1::verification_only(),
            keys: Vec::new(),
        }
    }
}

impl Oracle {
    pub(super) fn add_key(&mut self, uncompressed: &[u8; 65]) {
        self.keys.push(PublicKey::from_slice(uncompressed).unwrap());
    }

    /// Whether libsecp256k1 recovers the key of the case.
    pub(super) fn recovers(&self, case: &Case) -> bool {
        self.recover_by_c(case) == Some(self.keys[case.key].serialize_uncompressed())
    }

    /// The same, and k256 must agree.
    pub(super) fn both_recover(&self, case: &Case) -> bool {
        let by_c = self.recover_by_c(case);
        assert_eq!(by_c, recover_by_k256(case), "libraries disagree: {case:?}");
        self.recovers(case)
    }

    fn recover_by_c(&self, case: &Case) -> Option<[u8; 65]> {
        let bytes = case.signature.to_bytes();
        let id = CRecoveryId::try_from(i32::from(bytes[64]) - 27).unwrap();
        let signature = RecoverableSignature::from_compact(&bytes[..64], id).ok()?;
        let message = Message::from_digest(case.digest);
        let key = self.context.recover_ecdsa(message, &signature).ok()?;
        Some(key.serialize_uncompressed())
    }
}

fn recover_by_k256(case: &Case) -> Option<[u8; 65]> {
    let (r, s) = (*case.signature.r(), *case.signature.s());
    let signature = Signature::from_scalars(r, s).ok()?;
    let id = RecoveryId::new(case.signature.y_is_odd(), false);
    let key = VerifyingKey::recover_from_prehash(&case.digest, &signature, id).ok()?;
    key.to_sec1_point(false).as_bytes().try_into().ok()
}
