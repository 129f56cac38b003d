//! What is on the chain before anybody uses it.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::SolCall as _;
use anyhow::{Context as _, ensure};
use mpp_tempo::network::{CHANNEL_RESERVE, Network};
use serde_json::{Value, json};
use tempo_contracts::precompiles::{
    ITIP403Registry::{PolicyType, createPolicyCall, modifyPolicyBlacklistCall},
    TIP403_REGISTRY_ADDRESS,
};
use tokio::time::{sleep, timeout};

use crate::{contracts, rpc::Rpc};

/// Pause between two looks for a receipt.
const LOOK: Duration = Duration::from_millis(10);
/// How long a transaction may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first development account, whose key the node holds.
const OWNER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
/// The first policy that is made gets this number.
const BLACKLIST: u64 = 2;
/// Tokens that are there from the beginning.
const TOKENS: u64 = 4;
/// Where a token keeps its policy, above the address of another token.
const POLICY_SLOT: U256 = U256::from_limbs([7, 0, 0, 0]);
/// Bits of that address.
const POLICY_SHIFT: usize = 160;

/// Puts both escrows where clients look for them, and a blacklist under all tokens.
pub(super) async fn prepare(rpc: &Rpc) -> anyhow::Result<()> {
    let escrows = [
        (Network::MODERATO.stream_channel, "StreamChannel"),
        (CHANNEL_RESERVE, "ChannelReserve"),
    ];
    for (place, name) in escrows {
        let code = contracts::runtime(name)?;
        rpc.call("anvil_setCode", json!([place, code])).await?;
    }
    let policy = createPolicyCall {
        admin: OWNER,
        policyType: PolicyType::BLACKLIST,
    };
    send(rpc, TIP403_REGISTRY_ADDRESS, policy.abi_encode().into()).await?;
    for number in 0..TOKENS {
        let token = mpp_devnet::nth_token(number);
        // Nobody is the administrator of these tokens.
        let policy = B256::from(U256::from(BLACKLIST).wrapping_shl(POLICY_SHIFT));
        let slot = B256::from(POLICY_SLOT);
        rpc.call("anvil_setStorageAt", json!([token, slot, policy]))
            .await?;
    }
    Ok(())
}

/// Puts an account on the blacklist, or takes it off.
pub(super) async fn set_frozen(rpc: &Rpc, account: Address, frozen: bool) -> anyhow::Result<()> {
    let modify = modifyPolicyBlacklistCall {
        policyId: BLACKLIST,
        account,
        restricted: frozen,
    };
    send(rpc, TIP403_REGISTRY_ADDRESS, modify.abi_encode().into()).await
}

async fn send(rpc: &Rpc, to: Address, input: Bytes) -> anyhow::Result<()> {
    let request = json!([{"from": OWNER, "to": to, "data": input, "gas": "0x1e8480"}]);
    let hash = rpc.call("eth_sendTransaction", request).await?;
    let receipt = timeout(PATIENCE, mined(rpc, &hash)).await;
    let receipt = receipt.with_context(|| format!("{hash} is not mined"))??;
    let status = receipt.get("status").and_then(Value::as_str);
    ensure!(status == Some("0x1"), "{to} has refused: {receipt}");
    Ok(())
}

/// The receipt, which is there a moment after the hash.
async fn mined(rpc: &Rpc, hash: &Value) -> anyhow::Result<Value> {
    loop {
        let receipt = rpc.call("eth_getTransactionReceipt", json!([hash])).await?;
        if !receipt.is_null() {
            return Ok(receipt);
        }
        sleep(LOOK).await;
    }
}
