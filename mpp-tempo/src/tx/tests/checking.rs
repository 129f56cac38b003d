//! Case A15 and draft-tempo-session-00, Open and TopUp Verification: nothing but the expected
//! calls passes.

use alloy_sol_types::SolCall;

use super::*;
use crate::escrow::{IStreamChannel, ITIP20};

const V1: SessionProtocol = SessionProtocol::V1;
const V2: SessionProtocol = SessionProtocol::V2;

fn checked_open(
    protocol: SessionProtocol,
    change: impl FnOnce(&mut TempoTransaction),
) -> Result<OpenCall, TxCheckError> {
    let tx = altered_open(&self_paid(), protocol, change);
    check::open(&tx, protocol, params(protocol).escrow, 42431)
}

fn checked_top_up(
    protocol: SessionProtocol,
    change: impl FnOnce(&mut TempoTransaction),
) -> Result<TopUpCall, TxCheckError> {
    let terms = terms(protocol);
    let mut tx = build::top_up(&self_paid(), &terms, Amount::new(5000))
        .unwrap()
        .into_inner();
    change(&mut tx);
    check::top_up(&sign(tx, &payer()), &terms)
}

fn transfer() -> Call {
    let call = ITIP20::transferCall {
        to: Address::repeat_byte(6),
        amount: U256::ONE,
    };
    Call {
        to: TxKind::Call(PATH_USD),
        value: U256::ZERO,
        input: call.abi_encode().into(),
    }
}

fn rewrite(call: &mut Call, change: impl FnOnce(&mut Vec<u8>)) {
    let mut input = call.input.to_vec();
    change(&mut input);
    call.input = input.into();
}

#[test]
fn unaltered_transactions_pass() {
    for protocol in [V1, V2] {
        assert!(checked_open(protocol, |_| ()).is_ok());
        assert!(checked_top_up(protocol, |_| ()).is_ok());
    }
}

#[test]
fn smuggled_and_missing_calls_are_refused() {
    for (protocol, expected) in [(V1, 2), (V2, 1)] {
        let count = |actual| TxCheckError::CallCount { expected, actual };
        let more = expected + 1;
        let appended = |tx: &mut TempoTransaction| tx.calls.push(transfer());
        assert_eq!(checked_open(protocol, appended), Err(count(more)));
        assert_eq!(checked_top_up(protocol, appended), Err(count(more)));
        let prepended = |tx: &mut TempoTransaction| tx.calls.insert(0, transfer());
        assert_eq!(checked_open(protocol, prepended), Err(count(more)));
        let doubled = |tx: &mut TempoTransaction| {
            tx.calls = [tx.calls.clone(), tx.calls.clone()].concat();
        };
        assert_eq!(checked_open(protocol, doubled), Err(count(2 * expected)));
    }
    let missing = |tx: &mut TempoTransaction| drop(tx.calls.remove(0));
    let refused = Err(TxCheckError::CallCount {
        expected: 2,
        actual: 1,
    });
    assert_eq!(checked_open(V1, missing), refused);
}

#[test]
fn the_order_of_calls_is_fixed() {
    let swapped = |tx: &mut TempoTransaction| tx.calls.swap(0, 1);
    assert_eq!(checked_open(V1, swapped), Err(TxCheckError::Target));
    assert_eq!(
        checked_top_up(V1, swapped).unwrap_err(),
        TxCheckError::Target
    );
}

#[test]
fn value_is_refused_in_every_call() {
    for protocol in [V1, V2] {
        let last = |tx: &mut TempoTransaction| tx.calls.last_mut().unwrap().value = U256::ONE;
        assert_eq!(checked_open(protocol, last), Err(TxCheckError::Value));
        assert_eq!(checked_top_up(protocol, last), Err(TxCheckError::Value));
    }
    let first = |tx: &mut TempoTransaction| tx.calls[0].value = U256::ONE;
    assert_eq!(checked_open(V1, first), Err(TxCheckError::Value));
}

// Case A10: another contract or chain.
#[test]
fn other_contracts_and_chains_are_refused() {
    let other = TxKind::Call(Address::repeat_byte(7));
    for protocol in [V1, V2] {
        let moved = |tx: &mut TempoTransaction| tx.calls.last_mut().unwrap().to = other;
        assert_eq!(checked_open(protocol, moved), Err(TxCheckError::Target));
        assert_eq!(checked_top_up(protocol, moved), Err(TxCheckError::Target));
        let chain = |tx: &mut TempoTransaction| tx.chain_id = 4217;
        let refused = TxCheckError::ChainId {
            expected: 42431,
            actual: 4217,
        };
        assert_eq!(checked_open(protocol, chain), Err(refused));
        assert_eq!(checked_top_up(protocol, chain), Err(refused));
    }
    let create = |tx: &mut TempoTransaction| tx.calls[0].to = TxKind::Create;
    assert_eq!(checked_open(V2, create), Err(TxCheckError::Target));
}

// Case A10: the transaction of one version is not one of the other.
#[test]
fn versions_are_not_interchangeable() {
    let v1 = altered_open(&self_paid(), V1, |_| ());
    let refused = check::open(&v1, V2, params(V2).escrow, 42431);
    assert_eq!(
        refused,
        Err(TxCheckError::CallCount {
            expected: 1,
            actual: 2
        })
    );
    let v2 = altered_open(&self_paid(), V2, |_| ());
    let refused = check::open(&v2, V1, params(V1).escrow, 42431);
    assert_eq!(
        refused,
        Err(TxCheckError::CallCount {
            expected: 2,
            actual: 1
        })
    );
    let wrong_function = check::open(
        &altered_open(&self_paid(), V2, |tx| {
            rewrite(&mut tx.calls[0], |input| {
                input[..4].copy_from_slice(&IStreamChannel::openCall::SELECTOR);
            });
        }),
        V2,
        params(V2).escrow,
        42431,
    );
    assert_eq!(wrong_function, Err(TxCheckError::Calldata));
}

// Case A15: calldata is re-encoded canonically and compared.
#[test]
fn calldata_must_be_canonical() {
    let changes: [fn(&mut Vec<u8>); 5] = [
        // Surplus bytes that a decoder would ignore.
        |input| input.extend_from_slice(&[0; 32]),
        |input| input.push(1),
        // Dirty upper bytes of an address.
        |input| input[4] = 1,
        |input| input.truncate(input.len() - 1),
        |input| input.truncate(3),
    ];
    for protocol in [V1, V2] {
        for change in changes {
            let refused = checked_open(protocol, |tx| {
                rewrite(tx.calls.last_mut().unwrap(), change);
            });
            assert_eq!(refused, Err(TxCheckError::Calldata));
        }
    }
    for change in changes {
        let refused = checked_open(V1, |tx| rewrite(&mut tx.calls[0], change));
        assert_eq!(refused, Err(TxCheckError::Calldata));
        let refused = checked_top_up(V1, |tx| rewrite(&mut tx.calls[0], change));
        assert_eq!(refused, Err(TxCheckError::Calldata));
        let refused = checked_top_up(V2, |tx| rewrite(&mut tx.calls[0], change));
        assert_eq!(refused, Err(TxCheckError::Calldata));
    }
}

// Case A32: a deposit that does not fit uint96 is no canonical calldata.
#[test]
fn a_deposit_beyond_96_bits_is_refused() {
    // open(payee, operator, token, deposit, ...): the deposit is the fourth word.
    let refused = checked_open(V2, |tx| {
        rewrite(&mut tx.calls[0], |input| input[4 + 3 * 32 + 19] = 1);
    });
    assert_eq!(refused, Err(TxCheckError::Calldata));
    let refused = checked_top_up(V1, |tx| {
        rewrite(&mut tx.calls[1], |input| input[4 + 32] = 1);
    });
    assert_eq!(refused, Err(TxCheckError::Amount));
}

#[test]
fn the_approval_is_for_this_escrow_and_deposit() {
    let approve = |spender: Address, amount: u64| {
        move |tx: &mut TempoTransaction| {
            let call = ITIP20::approveCall {
                spender,
                amount: U256::from(amount),
            };
            tx.calls[0].input = call.abi_encode().into();
        }
    };
    let escrow = params(V1).escrow;
    for (spender, amount) in [
        (Address::repeat_byte(8), 10_000),
        (escrow, 9_999),
        (escrow, 10_001),
        (escrow, u64::MAX),
    ] {
        assert_eq!(
            checked_open(V1, approve(spender, amount)),
            Err(TxCheckError::Approval)
        );
    }
    assert_eq!(
        checked_top_up(V1, approve(escrow, 4_999)),
        Err(TxCheckError::Approval)
    );
    assert!(checked_top_up(V1, approve(escrow, 5_000)).is_ok());
    let other_token =
        |tx: &mut TempoTransaction| tx.calls[0].to = TxKind::Call(Address::repeat_byte(0x20));
    assert_eq!(checked_open(V1, other_token), Err(TxCheckError::Target));
    let transfer_from = |tx: &mut TempoTransaction| tx.calls[0] = transfer();
    assert_eq!(checked_open(V1, transfer_from), Err(TxCheckError::Calldata));
}

// PROTOCOL 5.3: a v2 id contains the expiring nonce hash.
#[test]
fn a_v2_open_needs_an_expiring_nonce() {
    let other_key = |tx: &mut TempoTransaction| tx.nonce_key = U256::ONE;
    assert_eq!(checked_open(V2, other_key), Err(TxCheckError::Nonce));
    let counted = |tx: &mut TempoTransaction| tx.nonce = 1;
    assert_eq!(checked_open(V2, counted), Err(TxCheckError::Nonce));
    assert!(checked_open(V1, other_key).is_ok());
}

// PROTOCOL 5.4: payer from the signature; another sender opens another channel.
#[test]
fn the_payer_is_who_signed() {
    let tx = build::open(&self_paid(), &params(V2)).unwrap().into_inner();
    let open = check::open(&sign(tx, &sponsor()), V2, params(V2).escrow, 42431).unwrap();
    assert_eq!(open.terms.descriptor.payer, sponsor().address());
    assert_ne!(
        open.terms.id(),
        checked_open(V2, |_| ()).unwrap().terms.id()
    );
}

// PROTOCOL 5.3: both widths of topUp are accepted, the wide one is sent.
#[test]
fn both_widths_of_top_up_pass() {
    let narrow = checked_top_up(V1, |tx| {
        let call = IStreamChannel::topUp_1Call {
            channelId: terms(V1).id(),
            additionalDeposit: 5000,
        };
        tx.calls[1].input = call.abi_encode().into();
    });
    assert_eq!(narrow, checked_top_up(V1, |_| ()));
}

#[test]
fn a_top_up_of_another_channel_or_sender_is_refused() {
    for protocol in [V1, V2] {
        let mut other = terms(protocol);
        other.descriptor.salt = B256::ZERO;
        let tx = build::top_up(&self_paid(), &other, Amount::new(1))
            .unwrap()
            .into_inner();
        let refused = check::top_up(&sign(tx.clone(), &payer()), &terms(protocol));
        assert_eq!(refused, Err(TxCheckError::WrongChannel));
        let refused = check::top_up(&sign(tx, &sponsor()), &other);
        assert_eq!(refused, Err(TxCheckError::WrongSender));
    }
}
