//! Senders and voucher signers of every signature type.

use super::support::*;
use crate::{Devnet, Refusal};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolEvent;
use mpp_core::Amount;
use mpp_core::encoding::base64url;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use sha2::{Digest, Sha256};
use tempo_contracts::precompiles::ITIP20;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;
use tempo_primitives::transaction::tt_signature::{
    P256SignatureWithPreHash, WebAuthnSignature, normalize_p256_s,
};
use tempo_primitives::transaction::{PrimitiveSignature, TempoSignature};

struct P256Actor {
    key: SigningKey,
    x: B256,
    y: B256,
}

impl P256Actor {
    fn new(seed: u8) -> Self {
        let key = SigningKey::from_slice(&[seed; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        let (x, y) = (
            B256::from_slice(&bytes[1..33]),
            B256::from_slice(&bytes[33..65]),
        );
        Self { key, x, y }
    }

    fn address(&self) -> Address {
        Address::from_word(keccak256([self.x.0, self.y.0].concat()))
    }

    fn raw_sign(&self, digest: B256) -> (B256, B256) {
        let signature: p256::ecdsa::Signature = self.key.sign_prehash(digest.as_slice()).unwrap();
        let (r, s) = signature.split_bytes();
        (B256::from_slice(&r), normalize_p256_s(&s).unwrap())
    }

    fn sign(&self, digest: B256) -> PrimitiveSignature {
        let (r, s) = self.raw_sign(digest);
        PrimitiveSignature::P256(P256SignatureWithPreHash {
            r,
            s,
            pub_key_x: self.x,
            pub_key_y: self.y,
            pre_hash: false,
        })
    }

    fn sign_webauthn(&self, digest: B256) -> PrimitiveSignature {
        let mut authenticator = vec![0u8; 37];
        authenticator[32] = 0x01;
        let challenge = base64url::encode(digest.as_slice());
        let client = format!(
            r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"http://localhost"}}"#
        );
        let mut hasher = Sha256::new();
        hasher.update(&authenticator);
        hasher.update(Sha256::digest(client.as_bytes()));
        let (r, s) = self.raw_sign(B256::from_slice(&hasher.finalize()));
        let webauthn_data = Bytes::from([authenticator, client.into_bytes()].concat());
        PrimitiveSignature::WebAuthn(WebAuthnSignature {
            r,
            s,
            pub_key_x: self.x,
            pub_key_y: self.y,
            webauthn_data,
        })
    }
}

fn funded(node: &Devnet, seed: u8) -> P256Actor {
    let actor = P256Actor::new(seed);
    node.mint(TOKEN, actor.address(), Amount::new(10_000_000))
        .unwrap();
    actor
}

#[track_caller]
fn sends(node: &Devnet, from: Address, sign: impl FnOnce(B256) -> PrimitiveSignature) {
    let to = stranger(0x44).address;
    let before = balance(node, to);
    let tx = transaction(
        node,
        vec![call(
            TOKEN,
            &ITIP20::transferCall {
                to,
                amount: U256::from(3),
            },
        )],
    );
    let signature = sign(tx.signature_hash());
    let hash = node
        .submit(&encode(
            &tx.into_signed(TempoSignature::Primitive(signature)),
        ))
        .unwrap();
    assert_eq!(node.receipt(hash).unwrap().from, from);
    assert_eq!(balance(node, to), before + 3);
}

#[test]
fn p256_and_webauthn_accounts_send_transactions() {
    let node = node();
    let sender = funded(&node, 5);
    sends(&node, sender.address(), |digest| sender.sign(digest));
    sends(&node, sender.address(), |digest| {
        sender.sign_webauthn(digest)
    });
}

#[test]
fn a_signature_over_something_else_is_another_sender_or_none() {
    let node = node();
    let sender = funded(&node, 5);
    let transfer = ITIP20::transferCall {
        to: sender.address(),
        amount: U256::from(1),
    };
    let tx = transaction(&node, vec![call(TOKEN, &transfer)]);
    for signature in [sender.sign(B256::ZERO), sender.sign_webauthn(B256::ZERO)] {
        let bytes = encode(&tx.clone().into_signed(TempoSignature::Primitive(signature)));
        refused(&node, &bytes, |refusal| {
            *refusal == Refusal::InvalidSignature
        });
    }
    // secp256k1 recovers somebody: an account that can not pay.
    let signature = actor(&node, 2).sign(B256::ZERO);
    let bytes = encode(&tx.into_signed(signature.into()));
    refused(&node, &bytes, |refusal| {
        matches!(refusal, Refusal::InsufficientFunds { .. })
    });
}

#[test]
fn high_s_senders_are_refused() {
    let node = node();
    let sender = actor(&node, 2);
    let transfer = ITIP20::transferCall {
        to: sender.address,
        amount: U256::from(1),
    };
    let tx = transaction(&node, vec![call(TOKEN, &transfer)]);
    let low: Bytes = sender.sign(tx.signature_hash()).as_bytes().to_vec().into();
    let high = alloy_primitives::Signature::try_from(high_s(&low).as_ref()).unwrap();
    let bytes = encode(&tx.into_signed(high.into()));
    refused(&node, &bytes, |refusal| {
        *refusal == Refusal::InvalidSignature
    });
}

#[test]
fn keychain_senders_are_refused() {
    let node = node();
    let sender = actor(&node, 2);
    let transfer = ITIP20::transferCall {
        to: sender.address,
        amount: U256::from(1),
    };
    let tx = transaction(&node, vec![call(TOKEN, &transfer)]);
    let inner = sender.sign(tx.signature_hash()).as_bytes();
    let wrapped = [vec![4u8], sender.address.to_vec(), inner.to_vec()].concat();
    let signature = TempoSignature::from_bytes(&wrapped).unwrap();
    let bytes = encode(&tx.into_signed(signature));
    refused(&node, &bytes, |refusal| {
        matches!(refusal, Refusal::Unsupported(_))
    });
}

#[test]
fn p256_and_webauthn_sign_vouchers_of_v2() {
    // PROTOCOL.md 5.3: v2 also takes P-256 and WebAuthn primitives (TIP-1020).
    let node = node();
    let (payer, payee, signer) = (actor(&node, 2), actor(&node, 1), P256Actor::new(6));
    let open = abi::openCall {
        payee: payee.address,
        operator: Address::ZERO,
        token: TOKEN,
        deposit: alloy_primitives::aliases::U96::from(100),
        salt: B256::ZERO,
        authorizedSigner: signer.address(),
    };
    let receipt = ok(&node, &payer, RESERVE, &open);
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::ChannelOpened::decode_log(log).ok())
        .unwrap();
    let settle = |amount: u128, signature: PrimitiveSignature| abi::settleCall {
        descriptor: ChannelDescriptor {
            payer: payer.address,
            payee: payee.address,
            operator: Address::ZERO,
            token: TOKEN,
            salt: B256::ZERO,
            authorizedSigner: signer.address(),
            expiringNonceHash: event.expiringNonceHash,
        },
        cumulativeAmount: alloy_primitives::aliases::U96::from(amount),
        signature: signature.to_bytes(),
    };
    let digest = |amount| digest_v2(event.channelId, amount);
    ok(&node, &payee, RESERVE, &settle(10, signer.sign(digest(10))));
    ok(
        &node,
        &payee,
        RESERVE,
        &settle(20, signer.sign_webauthn(digest(20))),
    );
    let wrong = settle(30, signer.sign(digest(31)));
    reverts(&node, &payee, RESERVE, &wrong, abi::InvalidSignature {});
    let other = P256Actor::new(7);
    let foreign = settle(30, other.sign(digest(30)));
    reverts(&node, &payee, RESERVE, &foreign, abi::InvalidSignature {});
}
