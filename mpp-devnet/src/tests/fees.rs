//! Who pays the fee, in which token, and how much.

use super::support::*;
use crate::Refusal;
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolEvent;
use mpp_core::Amount;
use tempo_contracts::precompiles::{ITIP20, TIP_FEE_MANAGER_ADDRESS};
use tempo_primitives::TempoTransaction;
use tempo_primitives::transaction::{Call, FEE_PAYER_SIGNATURE_MARKER};

fn pay(token: Address) -> Call {
    call(
        token,
        &ITIP20::transferCall {
            to: stranger(0x33).address,
            amount: U256::from(1),
        },
    )
}

#[test]
fn the_fee_is_gas_times_price_in_microdollars_rounded_up() {
    let node = node();
    let sender = actor(&node, 2);
    let receipt = run(&node, &sender, vec![pay(token(1))]);
    // Base fee 1 gwei = 10^9 attodollars per gas; 10^12 attodollars are one base unit.
    let expected = receipt.gas_used.div_ceil(1_000);
    assert_eq!(receipt.fee, U256::from(expected));
    assert_eq!(
        node.balance(TOKEN, TIP_FEE_MANAGER_ADDRESS),
        Amount::new(expected.into())
    );
    let event = ITIP20::Transfer::decode_log(receipt.logs.last().unwrap()).unwrap();
    assert_eq!(
        (event.from, event.to),
        (sender.address, TIP_FEE_MANAGER_ADDRESS)
    );
    assert_eq!(event.amount, U256::from(expected));
}

#[test]
fn a_tip_raises_the_price_up_to_the_cap() {
    let node = node();
    let sender = actor(&node, 2);
    let price = |tip: u128, cap: u128| {
        let tx = TempoTransaction {
            max_priority_fee_per_gas: tip,
            max_fee_per_gas: cap,
            ..transaction(&node, vec![pay(token(1))])
        };
        let hash = node.submit(&raw(tx, &sender)).unwrap();
        node.receipt(hash).unwrap().gas_price
    };
    assert_eq!(price(500_000_000, 2_000_000_000), 1_500_000_000);
    assert_eq!(price(1_500_000_000, 2_000_000_000), 2_000_000_000);
}

#[test]
fn any_token_pays_the_fee_and_only_that_token() {
    let node = node();
    let sender = actor(&node, 2);
    for fee_token in [token(0), token(2), token(3)] {
        let before = node.balance(fee_token, sender.address);
        let tx = TempoTransaction {
            fee_token: Some(fee_token),
            ..transaction(&node, vec![pay(token(1))])
        };
        let hash = node.submit(&raw(tx, &sender)).unwrap();
        let receipt = node.receipt(hash).unwrap();
        assert_eq!(receipt.fee_token, fee_token);
        let paid = before
            .checked_sub(node.balance(fee_token, sender.address))
            .unwrap();
        assert_eq!(U256::from(paid.base_units()), receipt.fee);
    }
}

#[test]
fn without_a_fee_token_transfers_pay_in_what_they_move_and_the_rest_in_path_usd() {
    let node = node();
    let sender = actor(&node, 2);
    let fee_token = |calls| {
        let tx = TempoTransaction {
            fee_token: None,
            ..transaction(&node, calls)
        };
        let hash = node.submit(&raw(tx, &sender)).unwrap();
        node.receipt(hash).unwrap().fee_token
    };
    assert_eq!(fee_token(vec![pay(token(2)), pay(token(2))]), token(2));
    assert_eq!(fee_token(vec![pay(token(2)), pay(token(1))]), TOKEN);
    let approve = ITIP20::approveCall {
        spender: sender.address,
        amount: U256::ZERO,
    };
    assert_eq!(fee_token(vec![call(token(2), &approve)]), TOKEN);
}

#[test]
fn a_sponsor_pays_and_the_sender_does_not() {
    let node = node();
    let (sender, sponsor) = (actor(&node, 2), actor(&node, 9));
    let before = (
        balance(&node, sender.address),
        balance(&node, sponsor.address),
    );
    let bytes = sponsored(&node, &sender, &sponsor, vec![pay(token(1))]);
    let hash = node.submit(&bytes).unwrap();
    let receipt = node.receipt(hash).unwrap();
    assert!(receipt.success);
    assert_eq!(
        (receipt.from, receipt.fee_payer),
        (sender.address, sponsor.address)
    );
    assert_eq!(balance(&node, sender.address), before.0);
    assert_eq!(
        balance(&node, sponsor.address),
        before.1 - receipt.fee.to::<u128>()
    );
}

#[test]
fn sponsorship_without_a_real_sponsor_is_refused() {
    let node = node();
    let sender = actor(&node, 2);
    let placeholder = TempoTransaction {
        fee_payer_signature: Some(FEE_PAYER_SIGNATURE_MARKER),
        ..transaction(&node, vec![pay(token(1))])
    };
    refused(&node, &raw(placeholder, &sender), |refusal| {
        *refusal == Refusal::InvalidFeePayerSignature
    });
    let own = sponsored(&node, &sender, &sender, vec![pay(token(1))]);
    refused(&node, &own, |refusal| *refusal == Refusal::SelfSponsored);
    // The envelope for fee payers is not a transaction.
    let mut envelope = raw(transaction(&node, vec![pay(token(1))]), &sender);
    envelope[0] = 0x78;
    refused(&node, &envelope, |refusal| {
        matches!(refusal, Refusal::Undecodable(_))
    });
}

#[test]
fn who_can_not_pay_is_refused() {
    let node = node();
    let poor = stranger(0x61);
    let tx = || transaction(&node, vec![pay(token(1))]);
    refused(&node, &raw(tx(), &poor), |refusal| {
        matches!(refusal, Refusal::InsufficientFunds { .. })
    });
    let sender = actor(&node, 2);
    let unknown = TempoTransaction {
        fee_token: Some(token(77)),
        ..tx()
    };
    refused(&node, &raw(unknown, &sender), |refusal| {
        *refusal == Refusal::UnknownFeeToken(token(77))
    });
    node.freeze(sender.address);
    refused(&node, &raw(tx(), &sender), |refusal| {
        matches!(refusal, Refusal::FeePayerBlocked(_))
    });
    node.unfreeze(sender.address);
    node.pause(TOKEN);
    refused(&node, &raw(tx(), &sender), |refusal| {
        *refusal == Refusal::FeeTokenPaused(TOKEN)
    });
}
