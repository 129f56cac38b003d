//! What we build is what the checks expect and what the chain reads.

use alloy_sol_types::SolCall;
use proptest::prelude::*;

use super::build::Transfer;
use super::*;
use crate::escrow::{DescriptorRange, IStreamChannel, ITIP20, ITIP20ChannelReserve};

pub(super) fn calls(tx: UnsignedTx) -> Vec<(Address, Bytes)> {
    let calls = tx.into_inner().calls;
    calls
        .into_iter()
        .map(|call| (*call.to.to().unwrap(), call.input))
        .collect()
}

/// The only call, read as function `C` of the escrow.
pub(super) fn single<C: SolCall>(tx: UnsignedTx, escrow: Address) -> C {
    let calls = calls(tx);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].0, escrow);
    C::abi_decode_validate(&calls[0].1).unwrap()
}

// PROTOCOL 4: type 0x76, nonceKey 2^256-1, nonce 0, validBefore.
#[tokio::test]
async fn transactions_have_an_expiring_nonce_and_the_fees_of_the_context() {
    let tx = build::open(&self_paid(), &params(SessionProtocol::V2)).unwrap();
    assert_eq!(tx.valid_before(), Some(NOW as u64 + 25));
    assert_eq!(tx.max_total_fee(), U256::from(50_000_000_000_000_000_u64));
    let signed = tx.sign(&payer()).await.unwrap();
    assert_eq!(signed.encode()[0], 0x76);
    assert_eq!(signed.nonce_key(), U256::MAX);
    assert!(signed.has_expiring_nonce());
    assert_eq!(signed.valid_after(), Some(12_345));
    assert_eq!(signed.sponsorship(), Sponsorship::None);
    assert_eq!(signed.fee_token(), Some(PATH_USD));
    assert_eq!(signed.sender(), payer().address());
}

// PROTOCOL 5.3: open of both versions; the id is known before the transaction is sent.
#[tokio::test]
async fn a_built_open_passes_the_check_and_makes_the_predicted_channel() {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        for context in [self_paid(), sponsored()] {
            let params = params(protocol);
            let tx = build::open(&context, &params).unwrap();
            let predicted = tx.open_terms(&params, payer().address());
            let signed = tx.sign(&payer()).await.unwrap();
            let read = SignedTx::decode(&signed.encode()).unwrap();
            let open = check::open(&read, protocol, params.escrow, 42431).unwrap();
            assert_eq!(open.terms, predicted);
            assert_eq!(open.deposit, params.deposit);
            assert_eq!(open.terms.signer(), params.authorized_signer);
        }
    }
}

// PROTOCOL 5.3: the fee payer's signature and the fee token are not part of the hash.
#[tokio::test]
async fn sponsoring_does_not_change_the_channel() {
    let params = params(SessionProtocol::V2);
    let tx = build::open(&sponsored(), &params).unwrap();
    let predicted = tx.open_terms(&params, payer().address());
    let signed = tx.sign(&payer()).await.unwrap();
    let cosigned = cosign(signed, &sponsor(), Address::repeat_byte(0x20))
        .await
        .unwrap();
    let open = check::open(&cosigned, SessionProtocol::V2, params.escrow, 42431).unwrap();
    assert_eq!(open.terms, predicted);
}

#[test]
fn valid_after_makes_equal_calls_different_transactions() {
    let params = params(SessionProtocol::V2);
    let one = build::open(&self_paid(), &params).unwrap();
    let later = TxContext {
        valid_after: Some(12_346),
        ..self_paid()
    };
    let two = build::open(&later, &params).unwrap();
    let sender = payer().address();
    assert_ne!(
        one.expiring_nonce_hash(sender),
        two.expiring_nonce_hash(sender)
    );
}

#[tokio::test]
async fn a_built_top_up_passes_the_check() {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let terms = terms(protocol);
        let tx = build::top_up(&sponsored(), &terms, Amount::new(5000)).unwrap();
        let signed = tx.sign(&payer()).await.unwrap();
        let top_up = check::top_up(&signed, &terms).unwrap();
        assert_eq!(
            top_up,
            TopUpCall {
                channel_id: terms.id(),
                additional: Amount::new(5000)
            }
        );
    }
}

#[test]
fn request_close_and_withdraw_name_the_channel() {
    let v1 = terms(SessionProtocol::V1);
    let tx = build::request_close(&self_paid(), &v1).unwrap();
    assert_eq!(
        single::<IStreamChannel::requestCloseCall>(tx, v1.escrow).channelId,
        v1.id()
    );
    let tx = build::withdraw(&self_paid(), &v1).unwrap();
    assert_eq!(
        single::<IStreamChannel::withdrawCall>(tx, v1.escrow).channelId,
        v1.id()
    );

    let v2 = terms(SessionProtocol::V2);
    let descriptor = (&v2.descriptor).into();
    let tx = build::request_close(&self_paid(), &v2).unwrap();
    let call: ITIP20ChannelReserve::requestCloseCall = single(tx, v2.escrow);
    assert_eq!(call.descriptor, descriptor);
    let tx = build::withdraw(&self_paid(), &v2).unwrap();
    let call: ITIP20ChannelReserve::withdrawCall = single(tx, v2.escrow);
    assert_eq!(call.descriptor, descriptor);
}

// PROTOCOL 4: transfer and transferWithMemo.
#[test]
fn transfers_carry_their_memo() {
    let plain = Transfer {
        token: PATH_USD,
        to: Address::repeat_byte(1),
        amount: Amount::new(3),
        memo: None,
    };
    let noted = Transfer {
        memo: Some(B256::repeat_byte(9)),
        ..plain
    };
    let calls = calls(build::transfer(&self_paid(), &[plain, noted]).unwrap());
    let first = ITIP20::transferCall::abi_decode_validate(&calls[0].1).unwrap();
    assert_eq!((first.to, first.amount), (plain.to, U256::from(3)));
    let second = ITIP20::transferWithMemoCall::abi_decode_validate(&calls[1].1).unwrap();
    assert_eq!(second.memo, B256::repeat_byte(9));
    assert_eq!(build::transfer(&self_paid(), &[]), Err(BuildError::NoCalls));
}

// Case A32: uint96 overflow.
#[test]
fn v2_amounts_beyond_96_bits_are_refused() {
    let deposit = Amount::new(1 << 96);
    let refused = Err(BuildError::AmountTooLarge(DescriptorRange));
    let v2 = OpenParams {
        deposit,
        ..params(SessionProtocol::V2)
    };
    assert_eq!(build::open(&self_paid(), &v2), refused);
    assert_eq!(
        build::top_up(&self_paid(), &terms(SessionProtocol::V2), deposit),
        refused
    );
    let v1 = OpenParams {
        deposit,
        ..params(SessionProtocol::V1)
    };
    assert!(build::open(&self_paid(), &v1).is_ok());
}

#[test]
fn an_empty_or_inexpressible_validity_is_refused() {
    let base = self_paid();
    for context in [
        TxContext {
            valid_for: Duration::ZERO,
            ..base
        },
        TxContext {
            valid_for: Duration::from_secs(u64::MAX),
            ..base
        },
        TxContext {
            now: Timestamp::from_secs(-1),
            ..base
        },
        TxContext {
            valid_after: Some(NOW as u64 + 25),
            ..base
        },
    ] {
        let open = build::open(&context, &params(SessionProtocol::V2));
        assert_eq!(open, Err(BuildError::Validity));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // Build, sign, encode, decode, check: nothing is lost, for any parameters.
    #[test]
    fn opens_survive_the_wire(
        deposit in 0..1_u128 << 96,
        salt: [u8; 32],
        payee: [u8; 20],
        operator: [u8; 20],
        v2: bool,
        valid_after in 0..NOW as u64,
    ) {
        let protocol = if v2 { SessionProtocol::V2 } else { SessionProtocol::V1 };
        let params = OpenParams {
            deposit: Amount::new(deposit),
            salt: salt.into(),
            payee: payee.into(),
            operator: operator.into(),
            ..params(protocol)
        };
        let context = TxContext { valid_after: Some(valid_after), ..sponsored() };
        let tx = build::open(&context, &params).unwrap();
        let predicted = tx.open_terms(&params, payer().address());
        let signed = sign(tx.into_inner(), &payer());
        let read = SignedTx::decode(&signed.encode()).unwrap();
        let open = check::open(&read, protocol, params.escrow, 42431).unwrap();
        prop_assert_eq!(open.terms, predicted);
        prop_assert_eq!(open.deposit.base_units(), deposit);
    }
}
