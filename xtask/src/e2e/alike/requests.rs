//! Reads that need no transaction.

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolCall as _;
use mpp_tempo::{
    escrow::ITIP20,
    network::{CHANNEL_RESERVE, Network, PATH_USD},
};
use serde_json::json;

use super::pair::Pair;

const NOBODY: Address = Address::repeat_byte(0x51);

pub(super) async fn ask(pair: &mut Pair) -> anyhow::Result<()> {
    // The newest block is empty on both.
    pair.ask("a block is mined", "evm_mine", json!([])).await?;
    for method in [
        "eth_chainId",
        "net_version",
        "net_listening",
        "eth_syncing",
        "eth_blockNumber",
        "eth_gasPrice",
        "eth_maxPriorityFeePerGas",
    ] {
        pair.ask(method, method, json!([])).await?;
    }
    pair.ask("web3_sha3", "web3_sha3", json!(["0x1234"]))
        .await?;
    let history = json!(["0x1", "latest", [50]]);
    pair.ask("eth_feeHistory", "eth_feeHistory", history)
        .await?;
    blocks(pair).await?;
    accounts(pair).await?;
    calls(pair).await?;
    errors(pair).await
}

async fn blocks(pair: &mut Pair) -> anyhow::Result<()> {
    let block = "eth_getBlockByNumber";
    pair.ask("the genesis block", block, json!(["0x0", false]))
        .await?;
    let latest = pair.ask("a block", block, json!(["latest", false])).await?;
    let [ours, theirs] = latest.both("/result/hash");
    let (ours, theirs) = (json!([ours, false]), json!([theirs, false]));
    pair.ask_each("a block by hash", "eth_getBlockByHash", &ours, &theirs)
        .await?;
    for tag in ["earliest", "safe", "finalized", "pending"] {
        let what = format!("the {tag} block");
        pair.ask(&what, block, json!([tag, false])).await?;
    }
    pair.ask("a block to come", block, json!(["0xffffff", false]))
        .await?;
    let unknown = json!([B256::repeat_byte(7), false]);
    pair.ask("an unknown block", "eth_getBlockByHash", unknown)
        .await?;
    Ok(())
}

async fn accounts(pair: &mut Pair) -> anyhow::Result<()> {
    for (what, method) in [
        ("a nonce", "eth_getTransactionCount"),
        ("a native balance", "eth_getBalance"),
    ] {
        pair.ask(what, method, json!([NOBODY, "latest"])).await?;
    }
    let escrow = Network::MODERATO.stream_channel;
    for (what, place) in [
        ("code of an account", NOBODY),
        ("code of a token", PATH_USD),
        ("code of the v1 escrow", escrow),
        ("code of the v2 reserve", CHANNEL_RESERVE),
    ] {
        pair.ask(what, "eth_getCode", json!([place, "latest"]))
            .await?;
    }
    Ok(())
}

async fn calls(pair: &mut Pair) -> anyhow::Result<()> {
    let account = NOBODY;
    let balance = ITIP20::balanceOfCall { account };
    pair.call("a balance", NOBODY, PATH_USD, balance.abi_encode())
        .await?;
    let decimals = ITIP20::decimalsCall {};
    pair.call("decimals", NOBODY, PATH_USD, decimals.abi_encode())
        .await?;
    let transfer = ITIP20::transferCall {
        to: Address::repeat_byte(3),
        amount: alloy_primitives::U256::ONE,
    };
    let transfer = transfer.abi_encode();
    pair.call("a transfer of nothing", NOBODY, PATH_USD, transfer.clone())
        .await?;
    pair.call("no such function", NOBODY, PATH_USD, vec![1, 2, 3, 4])
        .await?;
    let cut = transfer.get(..20).unwrap_or_default().to_vec();
    pair.call("cut arguments", NOBODY, PATH_USD, cut).await?;
    let missing = mpp_devnet::nth_token(77);
    pair.call("no such token", NOBODY, missing, transfer)
        .await?;
    pair.call("an account without code", NOBODY, NOBODY, Vec::new())
        .await?;
    Ok(())
}

async fn errors(pair: &mut Pair) -> anyhow::Result<()> {
    pair.ask("no such method", "eth_noSuchMethod", json!([]))
        .await?;
    pair.ask("no parameters", "eth_getTransactionReceipt", json!([]))
        .await?;
    pair.ask("a wrong parameter", "eth_getBlockByHash", json!([1, false]))
        .await?;
    let unknown = json!([B256::repeat_byte(7)]);
    for (what, method) in [
        ("an unknown receipt", "eth_getTransactionReceipt"),
        ("an unknown transaction", "eth_getTransactionByHash"),
    ] {
        pair.ask(what, method, unknown.clone()).await?;
    }
    let call = json!([{"to": PATH_USD, "input": "0x"}, "0xffffff"]);
    pair.ask("a call in a block to come", "eth_call", call)
        .await?;
    let of_block = json!([{"blockHash": B256::repeat_byte(7)}]);
    pair.ask("logs of an unknown block", "eth_getLogs", of_block)
        .await?;
    let to_come = json!([{"fromBlock": "0xffff00", "toBlock": "0xffffff"}]);
    pair.ask("logs of blocks to come", "eth_getLogs", to_come)
        .await?;
    pair.ask(
        "no transaction",
        "eth_sendRawTransaction",
        json!(["0x1234"]),
    )
    .await?;
    Ok(())
}
