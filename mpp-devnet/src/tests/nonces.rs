//! Nonces, validity windows, atomic batches, what the node refuses.

use super::support::*;
use crate::{Devnet, DevnetConfig, Mining, Refusal, TimeSource};
use alloy_primitives::{Address, U256};
use core::num::NonZeroU64;
use core::time::Duration;
use mpp_core::Amount;
use tempo_contracts::precompiles::ITIP20;
use tempo_primitives::TempoTransaction;
use tempo_primitives::transaction::Call;

fn pay(amount: u64) -> Call {
    call(
        token(1),
        &ITIP20::transferCall {
            to: target(),
            amount: U256::from(amount),
        },
    )
}

fn target() -> Address {
    stranger(0x33).address
}

fn received(node: &Devnet) -> u128 {
    node.balance(token(1), target()).base_units()
}

/// A transaction with an ordered nonce.
fn ordered(node: &Devnet, key: u64, nonce: u64, amount: u64) -> TempoTransaction {
    TempoTransaction {
        nonce_key: U256::from(key),
        nonce,
        valid_before: None,
        valid_after: None,
        ..transaction(node, vec![pay(amount)])
    }
}

#[test]
fn plain_and_two_dimensional_nonces_count_separately_and_wait_for_gaps() {
    for key in [0, 7] {
        let node = node();
        let sender = actor(&node, 2);
        let late = node
            .submit(&raw(ordered(&node, key, 1, 10), &sender))
            .unwrap();
        assert!(node.receipt(late).is_none(), "a gap is waited for");
        let first = node
            .submit(&raw(ordered(&node, key, 0, 1), &sender))
            .unwrap();
        assert!(node.receipt(first).is_some() && node.receipt(late).is_some());
        assert_eq!(node.nonce(sender.address, U256::from(key)), 2);
        assert_eq!(node.nonce(sender.address, U256::from(8)), 0);
        assert_eq!(received(&node), 11);
        refused(&node, &raw(ordered(&node, key, 1, 5), &sender), |refusal| {
            *refusal
                == Refusal::NonceTooLow {
                    expected: 2,
                    found: 1,
                }
        });
    }
}

#[test]
fn a_transaction_of_an_expiring_nonce_runs_once() {
    let node = node();
    let sender = actor(&node, 2);
    let bytes = raw(transaction(&node, vec![pay(5)]), &sender);
    node.submit(&bytes).unwrap();
    refused(&node, &bytes, |refusal| {
        *refusal == Refusal::ExpiringNonceReplay
    });
    assert_eq!(received(&node), 5);
}

#[test]
fn a_second_sponsor_does_not_make_an_expiring_nonce_new() {
    // The replay hash leaves the fee payer's signature and token out.
    let node = node();
    let (sender, sponsor) = (actor(&node, 2), actor(&node, 9));
    let mut tx = transaction(&node, vec![pay(5)]);
    tx.fee_token = None;
    tx.fee_payer_signature = Some(tempo_primitives::transaction::FEE_PAYER_SIGNATURE_MARKER);
    let signature = sender.sign(tx.signature_hash());
    for (index, fee_token) in [(9, token(0)), (8, token(2))] {
        tx.fee_token = Some(fee_token);
        let sponsor = if index == 9 {
            sponsor.clone()
        } else {
            actor(&node, index)
        };
        tx.fee_payer_signature = Some(sponsor.sign(tx.fee_payer_signature_hash(sender.address)));
        let bytes = encode(&tx.clone().into_signed(signature.into()));
        match index {
            9 => drop(node.submit(&bytes).unwrap()),
            _ => refused(&node, &bytes, |refusal| {
                *refusal == Refusal::ExpiringNonceReplay
            }),
        }
    }
    assert_eq!(received(&node), 5);
}

#[test]
fn expiring_nonces_need_a_bound_within_the_window() {
    let node = node();
    let sender = actor(&node, 2);
    let with = |before: Option<u64>, nonce: u64| {
        let tx = transaction(&node, vec![pay(1)]);
        let valid_before = before.and_then(NonZeroU64::new);
        raw(
            TempoTransaction {
                valid_before,
                nonce,
                valid_after: None,
                ..tx
            },
            &sender,
        )
    };
    refused(&node, &with(None, 0), |refusal| {
        *refusal == Refusal::ExpiringNonceWithoutEnd
    });
    refused(&node, &with(Some(START + 10), 1), |refusal| {
        *refusal == Refusal::ExpiringNonceNotZero
    });
    refused(&node, &with(Some(START + 31), 0), |refusal| {
        matches!(refusal, Refusal::ExpiryTooFar { .. })
    });
    refused(&node, &with(Some(START), 0), |refusal| {
        matches!(refusal, Refusal::Expired { .. })
    });
    refused(&node, &with(Some(START + 3), 0), |refusal| {
        matches!(refusal, Refusal::Expired { .. })
    });
    node.submit(&with(Some(START + 4), 0)).unwrap();
    node.submit(&with(Some(START + 30), 0)).unwrap();
    assert_eq!(received(&node), 2);
}

#[test]
fn valid_after_is_waited_for_and_valid_before_ends_the_wait() {
    let node = node();
    let sender = actor(&node, 2);
    let window = |after, before| TempoTransaction {
        valid_after: NonZeroU64::new(after),
        valid_before: NonZeroU64::new(before),
        ..transaction(&node, vec![pay(1)])
    };
    let hash = node
        .submit(&raw(window(START + 10, START + 20), &sender))
        .unwrap();
    node.advance_time(Duration::from_secs(9));
    assert!(node.receipt(hash).is_none());
    node.advance_time(Duration::from_secs(1));
    assert_eq!(node.receipt(hash).unwrap().timestamp, START + 10);
    let missed = node
        .submit(&raw(window(START + 15, START + 18), &sender))
        .unwrap();
    node.advance_time(Duration::from_secs(60));
    assert!(node.receipt(missed).is_none());
    assert!(
        node.pending_transactions().is_empty(),
        "an expired transaction leaves the pool"
    );
    let far = raw(window(START + 1_000, START + 1_010), &sender);
    refused(&node, &far, |refusal| {
        matches!(refusal, Refusal::NotYetValid { .. })
    });
}

#[test]
fn a_batch_is_atomic_and_the_fee_is_paid_all_the_same() {
    let node = node();
    let sender = actor(&node, 2);
    let too_much = call(
        token(1),
        &ITIP20::transferCall {
            to: target(),
            amount: U256::MAX,
        },
    );
    let before = balance(&node, sender.address);
    let receipt = run(&node, &sender, vec![pay(5), too_much, pay(6)]);
    assert!(!receipt.success);
    assert_eq!(received(&node), 0);
    assert!(!receipt.fee.is_zero());
    assert_eq!(
        balance(&node, sender.address),
        before - receipt.fee.to::<u128>()
    );
    assert!(run(&node, &sender, vec![pay(5), pay(6)]).success);
    assert_eq!(received(&node), 11);
}

#[test]
fn what_is_not_modeled_or_not_valid_is_refused() {
    let node = node();
    let sender = actor(&node, 2);
    let tx = transaction(&node, vec![pay(1)]);
    let with = |change: &dyn Fn(&mut TempoTransaction)| {
        let mut tx = tx.clone();
        change(&mut tx);
        raw(tx, &sender)
    };
    refused(&node, &with(&|tx| tx.chain_id = 1), |refusal| {
        matches!(refusal, Refusal::WrongChain { .. })
    });
    refused(
        &node,
        &with(&|tx| tx.calls[0].value = U256::from(1)),
        |refusal| *refusal == Refusal::ValueTransfer,
    );
    refused(
        &node,
        &with(&|tx| tx.calls[0].to = alloy_primitives::TxKind::Create),
        |refusal| matches!(refusal, Refusal::Unsupported(_)),
    );
    refused(&node, &with(&|tx| tx.gas_limit = 21_000), |refusal| {
        matches!(refusal, Refusal::IntrinsicGas { .. })
    });
    refused(&node, &with(&|tx| tx.gas_limit = u64::MAX), |refusal| {
        *refusal == Refusal::BlockGasLimit
    });
    refused(&node, &with(&|tx| tx.max_fee_per_gas = 1), |refusal| {
        matches!(refusal, Refusal::FeeCapTooLow { .. })
    });
    refused(
        &node,
        &with(&|tx| tx.max_priority_fee_per_gas = u128::MAX),
        |refusal| *refusal == Refusal::TipAboveFeeCap,
    );
    refused(&node, &with(&|tx| tx.calls = vec![pay(1); 33]), |refusal| {
        matches!(refusal, Refusal::Malformed(_))
    });
    refused(&node, b"\x76\xc0", |refusal| {
        matches!(refusal, Refusal::Undecodable(_))
    });
    refused(&node, &[], |refusal| {
        matches!(refusal, Refusal::Undecodable(_))
    });
    assert_eq!(received(&node), 0);
    assert_eq!(
        node.block_number(),
        0,
        "a refused transaction leaves no trace"
    );
}

#[test]
fn gas_that_runs_out_reverts_and_costs_the_limit() {
    let node = node();
    let sender = actor(&node, 2);
    let tx = TempoTransaction {
        gas_limit: 60_000,
        ..transaction(&node, vec![pay(1)])
    };
    let hash = node.submit(&raw(tx, &sender)).unwrap();
    let receipt = node.receipt(hash).unwrap();
    assert!(!receipt.success);
    assert_eq!(receipt.gas_used, 60_000);
    assert_eq!(received(&node), 0);
}

#[test]
fn manual_mining_puts_everything_ready_into_one_block() {
    let node = Devnet::new(DevnetConfig {
        mining: Mining::Manual,
        time: TimeSource::Fixed(START),
        ..DevnetConfig::default()
    });
    let sender = actor(&node, 2);
    let mut bytes = Vec::new();
    for nonce in [1, 0] {
        bytes = raw(ordered(&node, 0, nonce, 1), &sender);
        node.submit(&bytes).unwrap();
    }
    refused(&node, &bytes, |refusal| *refusal == Refusal::AlreadyKnown);
    assert_eq!((node.block_number(), received(&node)), (0, 0));
    node.mine();
    assert_eq!((node.block_number(), received(&node)), (1, 2));
    assert_eq!(node.transactions_mined(), 2);
    let logs = node.logs(&crate::LogQuery::default());
    let indices: Vec<u64> = logs.iter().map(|log| log.log_index).collect();
    assert_eq!(
        indices,
        (0..4).collect::<Vec<_>>(),
        "log indices run through the block"
    );
}

#[test]
fn minting_outside_transactions_obeys_the_token() {
    let node = node();
    node.mint(token(1), target(), Amount::new(9)).unwrap();
    assert_eq!(received(&node), 9);
    assert!(node.mint(token(77), target(), Amount::new(9)).is_err());
    assert!(node.mint(token(1), target(), Amount::MAX).is_err());
    assert_eq!(node.sum_of_balances(token(1)), node.total_supply(token(1)));
}
