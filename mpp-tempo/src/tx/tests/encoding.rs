//! The three encodings of a sponsored transaction, and bytes that are no transaction.

use proptest::prelude::*;

use super::*;

async fn request() -> SignedTx {
    let tx = build::open(&sponsored(), &params(SessionProtocol::V2)).unwrap();
    tx.sign(&payer()).await.unwrap()
}

/// The 0x76 form with a placeholder, as tempo-primitives writes it.
fn placeholder_form(tx: &SignedTx) -> Vec<u8> {
    let mut bytes = Vec::new();
    tx.clone()
        .into_inner()
        .encode_for_fee_payer_service(&mut bytes);
    bytes
}

// PROTOCOL 4: sponsored ones as 0x78 envelope or as 0x76 with placeholder; we send 0x78.
#[tokio::test]
async fn all_forms_of_a_sponsored_transaction_are_one() {
    let request = request().await;
    let envelope = request.encode();
    assert_eq!(envelope[0], 0x78);
    let placeholder = placeholder_form(&request);
    assert_eq!(placeholder[0], 0x76);
    let mut marked = Vec::new();
    request.clone().into_inner().eip2718_encode(&mut marked);
    for bytes in [envelope.to_vec(), placeholder, marked] {
        let read = SignedTx::decode(&bytes).unwrap();
        assert_eq!(read, request);
        assert!(read.needs_fee_payer());
        assert_eq!(read.sender(), payer().address());
        assert_eq!(read.replay_id(), request.replay_id());
        assert_eq!(read.encode(), envelope);
    }
}

// Case A1: the replay id does not depend on who pays or how the signature is spelled.
#[tokio::test]
async fn the_replay_id_is_one_per_transaction() {
    let request = request().await;
    let one = cosign(request.clone(), &sponsor(), PATH_USD).await.unwrap();
    let two = cosign(request.clone(), &payer(), Address::repeat_byte(1))
        .await
        .unwrap();
    assert_ne!(one.hash(), two.hash());
    assert_eq!(one.replay_id(), request.replay_id());
    assert_eq!(two.replay_id(), request.replay_id());
}

// Case A1: v as 0/1 instead of 27/28 is another spelling of the same transaction.
#[tokio::test]
async fn spellings_of_the_signature_collapse() {
    let tx = build::open(&self_paid(), &params(SessionProtocol::V2)).unwrap();
    let signed = tx.sign(&payer()).await.unwrap();
    let mut spelled = signed.encode().to_vec();
    let v = spelled.last_mut().unwrap();
    *v -= 27;
    let read = SignedTx::decode(&spelled).unwrap();
    assert_eq!(read.hash(), signed.hash());
    assert_eq!(read.encode(), signed.encode());
}

// Case A16: a keychain signature names a sender, which proves nothing about it.
#[tokio::test]
async fn who_signed_for_a_claimed_sender_is_told_apart_from_it() {
    use tempo_primitives::TempoSignature;
    use tempo_primitives::transaction::KeychainSignature;

    let claimed = Address::repeat_byte(7);
    let own = build::open(&self_paid(), &params(SessionProtocol::V2)).unwrap();
    let own = own.sign(&payer()).await.unwrap();
    assert_eq!((own.sender(), own.access_key()), (payer().address(), None));
    assert_eq!(own.signer(), payer().address());
    let tx = own.tx().clone();
    let digest = KeychainSignature::signing_hash(tx.signature_hash(), claimed);
    let inner = envelope::to_alloy(&payer().sign_digest_sync(&digest));
    let keychain = KeychainSignature::new(claimed, PrimitiveSignature::Secp256k1(inner));
    let forged = AASigned::new_unhashed(tx, TempoSignature::Keychain(keychain));
    let mut bytes = Vec::new();
    forged.eip2718_encode(&mut bytes);
    let read = SignedTx::decode(&bytes).unwrap();
    assert_eq!(read.sender(), claimed);
    assert_eq!(read.access_key(), Some(payer().address()));
    assert_eq!(read.signer(), payer().address());
}

#[tokio::test]
async fn an_envelope_of_another_sender_is_refused() {
    let envelope = request().await.encode().to_vec();
    let own = payer().address();
    // The sender stands right before the empty authorization list and the signature; the payer
    // is nowhere else in an open.
    let at = envelope
        .windows(20)
        .position(|bytes| bytes == own.as_slice())
        .unwrap();
    let mut foreign = envelope.clone();
    foreign[at] ^= 1;
    assert_eq!(SignedTx::decode(&foreign), Err(TxError::SenderMismatch));
}

#[tokio::test]
async fn a_cosigned_transaction_is_not_cosigned_again() {
    let once = cosign(request().await, &sponsor(), PATH_USD).await.unwrap();
    assert!(once.is_sponsored());
    assert!(!once.needs_fee_payer());
    let twice = cosign(once, &sponsor(), PATH_USD).await;
    assert_eq!(twice.unwrap_err(), CosignError::NotRequested);
    let own = build::open(&self_paid(), &params(SessionProtocol::V2)).unwrap();
    let own = own.sign(&payer()).await.unwrap();
    assert!(!own.is_sponsored());
    let refused = cosign(own, &sponsor(), PATH_USD).await;
    assert_eq!(refused.unwrap_err(), CosignError::NotRequested);
}

// PROTOCOL 4: the fee payer commits to the fee token and the sender.
#[tokio::test]
async fn a_changed_fee_token_changes_the_fee_payer() {
    let signed = cosign(request().await, &sponsor(), PATH_USD).await.unwrap();
    let (mut tx, signature, _) = signed.into_inner().into_parts();
    tx.fee_token = Some(Address::repeat_byte(0x20));
    let mut bytes = Vec::new();
    AASigned::new_unhashed(tx, signature).eip2718_encode(&mut bytes);
    match SignedTx::decode(&bytes) {
        Ok(read) => assert_ne!(read.sponsorship(), Sponsorship::Signed(sponsor().address())),
        Err(error) => assert_eq!(error, TxError::FeePayerSignature),
    }
}

#[tokio::test]
async fn bytes_around_or_within_a_transaction_are_refused() {
    let bytes = request().await.encode().to_vec();
    assert_eq!(SignedTx::decode(&[]), Err(TxError::Type));
    for kind in [0x00, 0x02, 0x75, 0x77, 0x79, 0xf8] {
        let mut other = bytes.clone();
        other[0] = kind;
        assert_eq!(SignedTx::decode(&other), Err(TxError::Type));
    }
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert_eq!(SignedTx::decode(&trailing), Err(TxError::Malformed));
    for length in 1..bytes.len() {
        assert_eq!(
            SignedTx::decode(&bytes[..length]),
            Err(TxError::Malformed),
            "{length}"
        );
    }
    // A 0x78 body is not a 0x76 transaction: its sender is no signature.
    let mut retyped = bytes;
    retyped[0] = 0x76;
    assert_eq!(SignedTx::decode(&retyped), Err(TxError::Malformed));
}

// Case A9: the chain refuses senders' signatures with high s, so we do too.
#[tokio::test]
async fn a_sender_signature_with_high_s_is_refused() {
    let tx = build::open(&self_paid(), &params(SessionProtocol::V2)).unwrap();
    let signed = tx.sign(&payer()).await.unwrap();
    let mut bytes = signed.encode().to_vec();
    let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        .parse()
        .unwrap();
    let at = bytes.len() - 33;
    let high = order - U256::from_be_slice(&bytes[at..at + 32]);
    bytes[at..at + 32].copy_from_slice(&high.to_be_bytes::<32>());
    bytes[at + 32] = 55 - bytes[at + 32];
    assert_eq!(SignedTx::decode(&bytes), Err(TxError::Signature));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // No bytes panic, and what decodes has one encoding.
    #[test]
    fn arbitrary_bytes_never_panic(kind in prop_oneof![Just(0x76_u8), Just(0x78)], rest: Vec<u8>) {
        let bytes = [&[kind][..], &rest].concat();
        if let Ok(tx) = SignedTx::decode(&bytes) {
            prop_assert_eq!(SignedTx::decode(&tx.encode()), Ok(tx));
        }
    }

    // Any flipped bit is noticed: malformed, another sender, or the same canonical transaction.
    #[test]
    fn flipped_bits_do_not_keep_the_sender(position in 1_usize..380, bit in 0_u8..8) {
        let tx = build::open(&self_paid(), &params(SessionProtocol::V2)).unwrap();
        let signed = sign(tx.into_inner(), &payer());
        let mut bytes = signed.encode().to_vec();
        prop_assume!(position < bytes.len());
        bytes[position] ^= 1 << bit;
        if let Ok(read) = SignedTx::decode(&bytes) {
            prop_assert!(read.sender() != signed.sender() || read == signed);
        }
    }
}
