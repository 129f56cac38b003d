//! Transfers and their traces, and transactions that are refused.

use std::num::NonZeroU64;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall as _;
use mpp_tempo::{LocalSigner, Signer as _, escrow::ITIP20, network::PATH_USD};
use serde_json::{Value, json};
use tempo_primitives::{TempoTransaction, transaction::Call};

use super::pair::{Pair, call};
use crate::account;

const FRIEND: Address = Address::repeat_byte(0xf1);

/// The key of two-dimensional nonces that is used once.
const LANE: U256 = U256::from_limbs([5, 0, 0, 0]);

pub(super) async fn ask(pair: &mut Pair) -> anyhow::Result<()> {
    traces(pair).await?;
    more(pair).await?;
    tried(pair).await?;
    refused(pair).await
}

fn transfer(to: Address, amount: u64) -> Call {
    let amount = U256::from(amount);
    call(PATH_USD, ITIP20::transferCall { to, amount }.abi_encode())
}

/// Everything that can be asked about a transaction that was mined.
async fn traces(pair: &mut Pair) -> anyhow::Result<()> {
    let bank = account::bank()?;
    let memo = ITIP20::transferWithMemoCall {
        to: FRIEND,
        amount: U256::from(7),
        memo: B256::repeat_byte(9),
    };
    let calls = vec![
        transfer(FRIEND, 5),
        call(PATH_USD, memo.abi_encode()),
        call(PATH_USD, approve(FRIEND, 11)),
    ];
    let raw = account::sign_raw(&bank, pair.draft(calls));
    let sent = pair.send("a batch of transfers", &raw).await?;
    let hash = json!([sent.hash("/result/transactionHash")?]);
    for (what, method) in [
        ("a receipt", "eth_getTransactionReceipt"),
        ("a transaction", "eth_getTransactionByHash"),
    ] {
        pair.ask(what, method, hash.clone()).await?;
    }
    let [ours, theirs] = sent.both("/result/blockHash");
    let filters = [ours.clone(), theirs.clone()].map(|hash| json!([{ "blockHash": hash }]));
    pair.ask_each("logs of a block", "eth_getLogs", &filters[0], &filters[1])
        .await?;
    let receipts = [ours, theirs].map(|hash| json!([hash]));
    pair.ask_each(
        "receipts of a block",
        "eth_getBlockReceipts",
        &receipts[0],
        &receipts[1],
    )
    .await?;
    for full in [false, true] {
        let what = if full {
            "a full block"
        } else {
            "a block with a transaction"
        };
        pair.ask(what, "eth_getBlockByNumber", json!(["latest", full]))
            .await?;
    }
    let recipient = FRIEND.into_word();
    let filter = json!([{
        "fromBlock": "0x0",
        "address": PATH_USD,
        "topics": [null, null, [recipient]],
    }]);
    pair.ask("logs by topics", "eth_getLogs", filter).await?;
    // The transaction is known by now, and can not be mined twice.
    for (what, method) in [
        ("a mined one again", "eth_sendRawTransactionSync"),
        ("a mined one again, only sent", "eth_sendRawTransaction"),
    ] {
        pair.ask(what, method, json!([raw])).await?;
    }
    Ok(())
}

fn approve(spender: Address, amount: u64) -> Vec<u8> {
    let amount = U256::from(amount);
    ITIP20::approveCall { spender, amount }.abi_encode()
}

/// One that fails, one with a nonce of its own, one of the plain nonce.
async fn more(pair: &mut Pair) -> anyhow::Result<()> {
    let bank = account::bank()?;
    let nothing = account::signer_for("has nothing")?;
    let failing = ITIP20::transferFromCall {
        from: nothing.address(),
        to: FRIEND,
        amount: U256::ONE,
    };
    let calls = vec![transfer(FRIEND, 1), call(PATH_USD, failing.abi_encode())];
    let failed = pair.run("a batch that fails", &bank, calls).await?;
    let hash = json!([failed.hash("/result/transactionHash")?]);
    pair.ask("its receipt", "eth_getTransactionReceipt", hash)
        .await?;
    let lane = TempoTransaction {
        nonce_key: LANE,
        valid_before: None,
        ..pair.draft(vec![transfer(FRIEND, 2)])
    };
    let raw = account::sign_raw(&bank, lane);
    pair.send("a nonce lane", &raw).await?.succeeded()
}

/// Estimates and simulations.
async fn tried(pair: &mut Pair) -> anyhow::Result<()> {
    let bank = account::bank()?.address();
    let poor = account::signer_for("has nothing")?.address();
    let single = |from: Address| {
        let input = ITIP20::transferCall {
            to: FRIEND,
            amount: U256::ONE,
        }
        .abi_encode();
        json!({"from": from, "to": PATH_USD, "input": alloy_primitives::Bytes::from(input)})
    };
    pair.ask("an estimate", "eth_estimateGas", json!([single(bank)]))
        .await?;
    pair.ask(
        "an estimate of a failure",
        "eth_estimateGas",
        json!([single(poor)]),
    )
    .await?;
    let batch = |from: Address| json!({"from": from, "type": "0x76", "calls": [single(bank)]});
    pair.ask(
        "an estimate of a batch",
        "eth_estimateGas",
        json!([batch(bank)]),
    )
    .await?;
    pair.ask(
        "an estimate of a failing batch",
        "eth_estimateGas",
        json!([batch(poor)]),
    )
    .await?;
    pair.ask(
        "a failing batch tried",
        "eth_call",
        json!([batch(poor), "latest"]),
    )
    .await?;
    let simulation = |calls: Vec<Value>| json!([{"blockStateCalls": [{"calls": calls}]}, "latest"]);
    let calls = vec![single(bank), single(bank)];
    pair.ask("a simulation", "eth_simulateV1", simulation(calls))
        .await?;
    pair.ask(
        "a simulation of a failure",
        "eth_simulateV1",
        simulation(vec![single(poor)]),
    )
    .await?;
    Ok(())
}

/// Transactions that a pool does not take.
async fn refused(pair: &mut Pair) -> anyhow::Result<()> {
    let bank = account::bank()?;
    let draft = || pair.draft(vec![transfer(FRIEND, 3)]);
    let past = NonZeroU64::new(pair.now.saturating_sub(60));
    let wrong: [(&str, LocalSigner, TempoTransaction); 6] = [
        (
            "of a poor sender",
            account::signer_for("has nothing")?,
            draft(),
        ),
        (
            "expired",
            bank.clone(),
            TempoTransaction {
                valid_before: past,
                ..draft()
            },
        ),
        (
            "of another chain",
            bank.clone(),
            TempoTransaction {
                chain_id: 1,
                ..draft()
            },
        ),
        (
            "with too little gas",
            bank.clone(),
            TempoTransaction {
                gas_limit: 21_000,
                ..draft()
            },
        ),
        (
            "below the base fee",
            bank.clone(),
            TempoTransaction {
                max_fee_per_gas: 1,
                max_priority_fee_per_gas: 0,
                ..draft()
            },
        ),
        (
            "of a used nonce lane",
            bank,
            TempoTransaction {
                nonce_key: LANE,
                valid_before: None,
                ..draft()
            },
        ),
    ];
    for (what, signer, transaction) in wrong {
        let raw = account::sign_raw(&signer, transaction);
        pair.ask(what, "eth_sendRawTransaction", json!([raw]))
            .await?;
    }
    Ok(())
}
