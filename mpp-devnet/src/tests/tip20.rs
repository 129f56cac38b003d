//! TIP-20 rules: transfers, memos, allowances, roles, policy.

use super::support::*;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent};
use mpp_core::Amount;
use tempo_contracts::precompiles::{IFeeManager, ITIP20, ITIP403Registry};
use tempo_contracts::precompiles::{TIP_FEE_MANAGER_ADDRESS, TIP403_REGISTRY_ADDRESS};

/// A token nobody pays fees in, so that balances are exact.
fn quiet() -> Address {
    token(1)
}

fn transfer(to: Address, amount: u128) -> ITIP20::transferCall {
    ITIP20::transferCall {
        to,
        amount: U256::from(amount),
    }
}

#[test]
fn transfer_moves_exactly_the_amount_and_logs_it() {
    let node = node();
    let (from, to) = (actor(&node, 0), stranger(9).address);
    let before = node.balance(quiet(), from.address);
    let receipt = ok(&node, &from, quiet(), &transfer(to, 123));
    assert_eq!(node.balance(quiet(), to), Amount::new(123));
    assert_eq!(
        node.balance(quiet(), from.address),
        before.checked_sub(Amount::new(123)).unwrap()
    );
    let event = ITIP20::Transfer::decode_log(&receipt.logs[0]).unwrap();
    assert_eq!(
        (event.from, event.to, event.amount),
        (from.address, to, U256::from(123))
    );
}

#[test]
fn transfers_refuse_overdrafts_bad_recipients_frozen_accounts_and_pauses() {
    let node = node();
    let from = actor(&node, 0);
    let to = stranger(9).address;
    let everything = U256::from(node.balance(quiet(), from.address).base_units());
    let overdraft = ITIP20::transferCall {
        to,
        amount: everything + U256::from(1),
    };
    let missing = ITIP20::InsufficientBalance {
        available: everything,
        required: everything + U256::from(1),
        token: quiet(),
    };
    reverts(&node, &from, quiet(), &overdraft, missing);
    reverts(
        &node,
        &from,
        quiet(),
        &transfer(Address::ZERO, 1),
        ITIP20::InvalidRecipient {},
    );
    reverts(
        &node,
        &from,
        quiet(),
        &transfer(TOKEN, 1),
        ITIP20::InvalidRecipient {},
    );
    reverts(
        &node,
        &from,
        token(77),
        &transfer(to, 1),
        ITIP20::Uninitialized {},
    );
    node.freeze(to);
    reverts(
        &node,
        &from,
        quiet(),
        &transfer(to, 1),
        ITIP20::PolicyForbids {},
    );
    node.unfreeze(to);
    node.pause(quiet());
    reverts(
        &node,
        &from,
        quiet(),
        &transfer(to, 1),
        ITIP20::ContractPaused {},
    );
    node.unpause(quiet());
    ok(&node, &from, quiet(), &transfer(to, 1));
}

#[test]
fn a_memo_transfer_logs_the_transfer_first_and_then_the_memo() {
    let node = node();
    let from = actor(&node, 0);
    let memo = B256::repeat_byte(0x42);
    let to = stranger(9).address;
    let call = ITIP20::transferWithMemoCall {
        to,
        amount: U256::from(5),
        memo,
    };
    let receipt = ok(&node, &from, quiet(), &call);
    assert!(ITIP20::Transfer::decode_log(&receipt.logs[0]).is_ok());
    let event = ITIP20::TransferWithMemo::decode_log(&receipt.logs[1]).unwrap();
    assert_eq!(
        (event.to, event.amount, event.memo),
        (to, U256::from(5), memo)
    );
}

#[test]
fn allowances_are_consumed_unless_unlimited() {
    let node = node();
    let (owner, spender) = (actor(&node, 0), actor(&node, 1));
    let to = stranger(9).address;
    let pull = |amount: u64| ITIP20::transferFromCall {
        from: owner.address,
        to,
        amount: U256::from(amount),
    };
    let allow = |amount| ITIP20::approveCall {
        spender: spender.address,
        amount,
    };
    reverts(
        &node,
        &spender,
        quiet(),
        &pull(1),
        ITIP20::InsufficientAllowance {},
    );
    let receipt = ok(&node, &owner, quiet(), &allow(U256::from(10)));
    assert!(ITIP20::Approval::decode_log(&receipt.logs[0]).is_ok());
    ok(&node, &spender, quiet(), &pull(4));
    assert_eq!(
        node.allowance(quiet(), owner.address, spender.address),
        U256::from(6)
    );
    reverts(
        &node,
        &spender,
        quiet(),
        &pull(7),
        ITIP20::InsufficientAllowance {},
    );
    ok(&node, &owner, quiet(), &allow(U256::MAX));
    ok(&node, &spender, quiet(), &pull(7));
    assert_eq!(
        node.allowance(quiet(), owner.address, spender.address),
        U256::MAX
    );
    assert_eq!(node.balance(quiet(), to), Amount::new(11));
}

#[test]
fn roles_belong_to_the_first_development_account() {
    let node = node();
    let (admin, other) = (actor(&node, 0), actor(&node, 1));
    let to = stranger(9).address;
    let supply = node.total_supply(quiet());
    let mint = ITIP20::mintCall {
        to,
        amount: U256::from(50),
    };
    reverts(&node, &other, quiet(), &mint, ITIP20::Unauthorized {});
    reverts(
        &node,
        &other,
        quiet(),
        &ITIP20::pauseCall {},
        ITIP20::Unauthorized {},
    );
    ok(&node, &admin, quiet(), &mint);
    assert_eq!(
        node.total_supply(quiet()),
        supply.checked_add(Amount::new(50)).unwrap()
    );
    ok(
        &node,
        &admin,
        quiet(),
        &ITIP20::burnCall {
            amount: U256::from(70),
        },
    );
    assert_eq!(
        node.total_supply(quiet()),
        supply.checked_sub(Amount::new(20)).unwrap()
    );
    assert_eq!(node.sum_of_balances(quiet()), node.total_supply(quiet()));
    ok(&node, &admin, quiet(), &ITIP20::pauseCall {});
    reverts(
        &node,
        &other,
        quiet(),
        &transfer(to, 1),
        ITIP20::ContractPaused {},
    );
    ok(&node, &admin, quiet(), &ITIP20::unpauseCall {});
    ok(&node, &other, quiet(), &transfer(to, 1));
    let cap = ITIP20::mintCall {
        to,
        amount: U256::from(u128::MAX),
    };
    reverts(&node, &admin, quiet(), &cap, ITIP20::SupplyCapExceeded {});
}

#[test]
fn the_policy_registry_freezes_accounts_on_chain() {
    let node = node();
    let (admin, other) = (actor(&node, 0), actor(&node, 1));
    let restrict = |restricted| ITIP403Registry::modifyPolicyBlacklistCall {
        policyId: 2,
        account: other.address,
        restricted,
    };
    reverts(
        &node,
        &other,
        TIP403_REGISTRY_ADDRESS,
        &restrict(false),
        ITIP403Registry::Unauthorized {},
    );
    ok(&node, &admin, TIP403_REGISTRY_ADDRESS, &restrict(true));
    reverts(
        &node,
        &admin,
        quiet(),
        &transfer(other.address, 1),
        ITIP20::PolicyForbids {},
    );
    ok(&node, &admin, TIP403_REGISTRY_ADDRESS, &restrict(false));
    ok(&node, &admin, quiet(), &transfer(other.address, 1));
}

#[test]
fn a_standing_fee_token_is_used_when_the_transaction_names_none() {
    let node = node();
    let payer = actor(&node, 5);
    ok(
        &node,
        &payer,
        TIP_FEE_MANAGER_ADDRESS,
        &IFeeManager::setUserTokenCall { token: token(2) },
    );
    let unknown = IFeeManager::setUserTokenCall { token: token(77) };
    reverts(
        &node,
        &payer,
        TIP_FEE_MANAGER_ADDRESS,
        &unknown,
        IFeeManager::InvalidToken {},
    );
    let mut tx = transaction(
        &node,
        vec![call(quiet(), &transfer(stranger(9).address, 1))],
    );
    tx.fee_token = None;
    let hash = node.submit(&raw(tx, &payer)).unwrap();
    assert_eq!(node.receipt(hash).unwrap().fee_token, token(2));
}

#[test]
fn virtual_recipients_are_unknown_here() {
    let node = node();
    let from = actor(&node, 0);
    let mut bytes = keccak256("virtual").0;
    bytes[16..26].fill(0xfd);
    let virtual_address = Address::from_slice(&bytes[12..]);
    let error = tempo_contracts::precompiles::IAddressRegistry::VirtualAddressUnregistered {};
    reverts(&node, &from, quiet(), &transfer(virtual_address, 1), error);
}

#[test]
fn multicall_undoes_only_the_calls_that_fail() {
    use crate::precompile::multicall::{IMulticall3 as multi, MULTICALL3};
    let node = node();
    let sender = actor(&node, 0);
    let to = stranger(9).address;
    node.mint(quiet(), MULTICALL3, Amount::new(10)).unwrap();
    let inner = |amount: u128, may_fail: bool| multi::Call3 {
        target: quiet(),
        allowFailure: may_fail,
        callData: transfer(to, amount).abi_encode().into(),
    };
    let calls = vec![inner(4, false), inner(100, true), inner(5, false)];
    let receipt = ok(&node, &sender, MULTICALL3, &multi::aggregate3Call { calls });
    assert_eq!(node.balance(quiet(), to), Amount::new(9));
    assert_eq!(receipt.logs.len(), 3, "two transfers and the fee");
    let strict = multi::aggregate3Call {
        calls: vec![inner(1, false), inner(100, false)],
    };
    let error = alloy_sol_types::Revert::from("Multicall3: call failed");
    reverts(&node, &sender, MULTICALL3, &strict, error);
    assert_eq!(node.balance(quiet(), to), Amount::new(9));
}
