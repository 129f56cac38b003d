//! Faults and reorganizations.

use super::support::*;
use crate::{Devnet, Refusal, Reorged, Times};
use alloy_primitives::{B256, U256};
use alloy_sol_types::SolCall;
use core::time::Duration;
use mpp_core::Amount;
use tempo_contracts::precompiles::ITIP20;

fn payment(node: &Devnet, amount: u64) -> Vec<u8> {
    let transfer = ITIP20::transferCall {
        to: target(),
        amount: U256::from(amount),
    };
    raw(
        transaction(node, vec![call(token(1), &transfer)]),
        &actor(node, 2),
    )
}

fn target() -> alloy_primitives::Address {
    stranger(0x33).address
}

fn received(node: &Devnet) -> u128 {
    node.balance(token(1), target()).base_units()
}

#[test]
fn a_dropped_transaction_is_never_mined_but_may_be_sent_again() {
    let node = node();
    node.faults().drop_transactions(Times::Once);
    let bytes = payment(&node, 1);
    let hash = node.submit(&bytes).unwrap();
    node.mine();
    assert!(node.receipt(hash).is_none());
    node.submit(&bytes).unwrap();
    assert!(node.receipt(hash).is_some());
    assert_eq!(received(&node), 1);
}

#[test]
fn a_replaced_transaction_can_never_be_mined() {
    let node = node();
    node.faults().replace_transactions(Times::Once);
    let bytes = payment(&node, 1);
    let hash = node.submit(&bytes).unwrap();
    assert!(node.receipt(hash).is_none());
    refused(&node, &bytes, |refusal| {
        *refusal == Refusal::ExpiringNonceReplay
    });
    assert_eq!(received(&node), 0);
}

#[test]
fn a_delayed_transaction_is_mined_when_its_time_comes_or_expires() {
    let node = node();
    node.faults()
        .delay_transactions(Duration::from_millis(1_500), Times::Once);
    let hash = node.submit(&payment(&node, 1)).unwrap();
    node.advance_time(Duration::from_millis(1_499));
    assert!(node.receipt(hash).is_none());
    assert_eq!(node.pending_transactions(), vec![hash]);
    node.advance_time(Duration::from_millis(1));
    assert!(node.receipt(hash).is_some());
    node.faults()
        .delay_transactions(Duration::from_secs(60), Times::Once);
    let late = node.submit(&payment(&node, 1)).unwrap();
    node.advance_time(Duration::from_secs(60));
    assert!(node.receipt(late).is_none());
    assert_eq!(received(&node), 1);
}

#[test]
fn chosen_calls_revert_as_often_as_asked() {
    let node = node();
    node.faults()
        .revert_calls(ITIP20::transferCall::SELECTOR, Times::Exactly(2));
    let outcomes: Vec<bool> = (0..3)
        .map(|_| {
            let hash = node.submit(&payment(&node, 1)).unwrap();
            node.receipt(hash).unwrap().success
        })
        .collect();
    assert_eq!(outcomes, [false, false, true]);
    node.faults()
        .revert_calls(ITIP20::transferCall::SELECTOR, Times::Always);
    node.faults().clear();
    let hash = node.submit(&payment(&node, 1)).unwrap();
    assert!(node.receipt(hash).unwrap().success);
}

fn hash_of_head(node: &Devnet) -> B256 {
    node.read(|node| node.blocks.last().unwrap().hash)
}

#[test]
fn a_reorganization_undoes_money_nonces_and_receipts() {
    let node = node();
    let first = node.submit(&payment(&node, 1)).unwrap();
    let second = node.submit(&payment(&node, 2)).unwrap();
    let (height, head, fees) = (
        node.block_number(),
        hash_of_head(&node),
        balance(&node, actor(&node, 2).address),
    );
    node.faults().reorg(1, Reorged::Lost);
    assert_eq!(received(&node), 1);
    assert!(node.receipt(first).is_some() && node.receipt(second).is_none());
    assert_eq!(node.block_number(), height);
    assert_ne!(
        hash_of_head(&node),
        head,
        "the replaced block has another hash"
    );
    assert!(
        balance(&node, actor(&node, 2).address) > fees,
        "the fee is back too"
    );
    assert_eq!(node.sum_of_balances(TOKEN), node.total_supply(TOKEN));
}

#[test]
fn a_reorganization_can_mine_the_transactions_again() {
    let node = node();
    let hashes = [1, 2, 3].map(|amount| node.submit(&payment(&node, amount)).unwrap());
    node.faults().reorg(2, Reorged::Remined);
    assert_eq!(received(&node), 6);
    assert!(hashes.iter().all(|hash| node.receipt(*hash).is_some()));
    assert_eq!(node.receipt(hashes[1]).unwrap().block_number, 4);
    assert_eq!(node.sum_of_balances(TOKEN), node.total_supply(TOKEN));
}

#[test]
fn a_reorganization_deeper_than_the_chain_stops_at_genesis() {
    let node = node();
    node.submit(&payment(&node, 1)).unwrap();
    node.faults().reorg(100, Reorged::Lost);
    assert_eq!((node.block_number(), received(&node)), (1, 0));
    assert!(
        node.balance(TOKEN, actor(&node, 2).address) > Amount::ZERO,
        "genesis funds stay"
    );
}

#[test]
fn the_clock_moves_both_ways_and_blocks_follow() {
    let node = node();
    node.advance_time(Duration::from_secs(100));
    let hash = node.submit(&payment(&node, 1)).unwrap();
    assert_eq!(node.receipt(hash).unwrap().timestamp, START + 100);
    node.set_time(START + 5);
    let hash = node.submit(&payment(&node, 1)).unwrap();
    assert_eq!(node.receipt(hash).unwrap().timestamp, START + 5);
}
