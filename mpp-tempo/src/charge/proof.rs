//! Proof of identity for a charge of zero (PROTOCOL 4).

use alloy_primitives::{Address, B256, U256, b256, keccak256};

use crate::signer::{Signer, SignerError};
use crate::voucher::VoucherSignature;

/// `keccak256("EIP712Domain(string name,string version,uint256 chainId)")`.
const DOMAIN_TYPE: B256 = b256!("c2f8787176b8ac6bf7215b4adcc1e069bf4ab82d9ab1df05a57a91d425935b6e");
/// `keccak256("Proof(address account,string challengeId,string realm)")`.
const PROOF_TYPE: B256 = b256!("2b28baf137d62921565067a537df5458031448411120925bd6f753e0dcd50683");
/// `keccak256("Proof(string challengeId)")`, the form of the draft.
const DRAFT_PROOF_TYPE: B256 =
    b256!("9703df6c74d7551aec1f6e4eaddc66fb0e9ff2c7bd636ec1d206c3197a7871bd");
const DOMAIN_NAME: &str = "MPP";

/// What an account signs to prove that it answers a challenge.
///
/// A proof is good once: the server claims the challenge id before it grants anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofTerms<'a> {
    /// The account, from the credential's `source`.
    pub account: Address,
    /// EIP-155 chain id of the challenge.
    pub chain_id: u64,
    /// Id of the challenge.
    pub challenge_id: &'a str,
    /// Realm of the challenge.
    pub realm: &'a str,
}

/// Why a proof does not prove the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("proof is not signed by the claimed account")]
pub struct ProofError;

impl ProofTerms<'_> {
    /// Digest that deployed peers sign and that we emit (domain version 3).
    #[must_use]
    pub fn digest(&self) -> B256 {
        let mut message = [0; 128];
        message[..32].copy_from_slice(PROOF_TYPE.as_slice());
        message[32..64].copy_from_slice(self.account.into_word().as_slice());
        message[64..96].copy_from_slice(keccak256(self.challenge_id).as_slice());
        message[96..].copy_from_slice(keccak256(self.realm).as_slice());
        self.typed_data("3", keccak256(message))
    }

    /// Digest in the form of the draft (domain version 1).
    #[must_use]
    pub fn draft_digest(&self) -> B256 {
        let mut message = [0; 64];
        message[..32].copy_from_slice(DRAFT_PROOF_TYPE.as_slice());
        message[32..].copy_from_slice(keccak256(self.challenge_id).as_slice());
        self.typed_data("1", keccak256(message))
    }

    /// Verifies a proof in either form.
    ///
    /// # Errors
    /// [`ProofError`] if the account signed neither digest.
    pub fn verify(&self, signature: &VoucherSignature) -> Result<(), ProofError> {
        for digest in [self.digest(), self.draft_digest()] {
            if signature.recover(&digest) == Ok(self.account) {
                return Ok(());
            }
        }
        Err(ProofError)
    }

    /// Signs the proof in the form of the deployed peers.
    ///
    /// # Errors
    /// [`SignerError`] of the signer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn sign(&self, signer: &impl Signer) -> Result<VoucherSignature, SignerError> {
        signer
            .sign_digest(&self.digest())
            .await
            .map(VoucherSignature::from)
    }

    fn typed_data(&self, version: &str, message: B256) -> B256 {
        let mut domain = [0; 128];
        domain[..32].copy_from_slice(DOMAIN_TYPE.as_slice());
        domain[32..64].copy_from_slice(keccak256(DOMAIN_NAME).as_slice());
        domain[64..96].copy_from_slice(keccak256(version).as_slice());
        domain[96..].copy_from_slice(&U256::from(self.chain_id).to_be_bytes::<32>());
        let mut signed = [0; 66];
        signed[0] = 0x19;
        signed[1] = 0x01;
        signed[2..34].copy_from_slice(keccak256(domain).as_slice());
        signed[34..].copy_from_slice(message.as_slice());
        keccak256(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::LocalSigner;
    use crate::testing::{field, golden};

    #[test]
    fn type_hashes_are_the_hashes_of_the_types() {
        let check = |text: &str, hash: B256| assert_eq!(keccak256(text), hash, "{text}");
        check(
            "EIP712Domain(string name,string version,uint256 chainId)",
            DOMAIN_TYPE,
        );
        check(
            "Proof(address account,string challengeId,string realm)",
            PROOF_TYPE,
        );
        check("Proof(string challengeId)", DRAFT_PROOF_TYPE);
    }

    // PROTOCOL 4: proof EIP-712, the form of the deployed peers.
    #[tokio::test]
    async fn proofs_equal_the_golden_values() {
        let golden = golden();
        let cases = golden["proof"].as_array().unwrap();
        assert_eq!(cases.len(), 1);
        for case in cases {
            let terms = ProofTerms {
                account: field(case, "account"),
                chain_id: case["chainId"].as_u64().unwrap(),
                challenge_id: case["challengeId"].as_str().unwrap(),
                realm: case["realm"].as_str().unwrap(),
            };
            assert_eq!(terms.digest(), field::<B256>(case, "digest"));
            let signer = LocalSigner::from_hex(case["privateKey"].as_str().unwrap()).unwrap();
            let signature = terms.sign(&signer).await.unwrap();
            assert_eq!(signature.to_hex(), case["signature"].as_str().unwrap());
            terms.verify(&signature).unwrap();
        }
    }

    // PROTOCOL 4: emit the first form, verify both.
    #[test]
    fn both_forms_verify_and_foreign_proofs_do_not() {
        let signer = LocalSigner::from_bytes(&[3; 32]).unwrap();
        let terms = ProofTerms {
            account: signer.address(),
            chain_id: 42431,
            challenge_id: "c1",
            realm: "a.example",
        };
        for digest in [terms.digest(), terms.draft_digest()] {
            let signature = VoucherSignature::from(signer.sign_digest_sync(&digest));
            terms.verify(&signature).unwrap();
            for foreign in [
                ProofTerms {
                    account: Address::repeat_byte(1),
                    ..terms
                },
                ProofTerms {
                    chain_id: 4217,
                    ..terms
                },
                ProofTerms {
                    challenge_id: "c2",
                    ..terms
                },
            ] {
                assert_eq!(foreign.verify(&signature), Err(ProofError));
            }
        }
        let signature = VoucherSignature::from(signer.sign_digest_sync(&terms.digest()));
        let elsewhere = ProofTerms {
            realm: "b.example",
            ..terms
        };
        assert_eq!(elsewhere.verify(&signature), Err(ProofError));
    }
}
