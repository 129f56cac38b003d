//! What payer and payee send without each other: the crate writes the payer's calls for v2, and
//! none for v1.

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::{Provider as _, RootProvider},
    sol,
    sol_types::SolCall as _,
};
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, ensure};
use mpp::{
    client::{
        TempoNetwork, TempoSessionProvider,
        channel_ops::{encode_precompile_request_close_call, encode_precompile_withdraw_call},
        tempo::{
            charge::tx_builder::{TempoTxOptions, build_tempo_tx},
            signing::{TempoSigningMode, sign_and_encode},
        },
    },
    protocol::methods::tempo::{PATH_USD, session::ChannelDescriptor},
    tempo::ChannelState,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempo_primitives::transaction::Call;

use crate::variable;

/// Enough for any of the calls.
const GAS: u64 = 1_000_000;

sol! {
    interface IEscrow {
        function requestClose(bytes32 channelId) external;
        function withdraw(bytes32 channelId) external;
        function settle(bytes32 channelId, uint128 cumulativeAmount, bytes signature) external;
    }
}

/// What the payer asks the chain for.
#[derive(Clone, Copy)]
pub(crate) enum Wish {
    Close,
    Withdrawal,
}

/// A channel as this peer tells it from others.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Channel {
    channel_id: B256,
    escrow: Address,
    chain_id: u64,
    descriptor: Option<ChannelDescriptor>,
}

/// The only channel of a payer.
pub(crate) fn channel(payer: &TempoSessionProvider) -> anyhow::Result<Value> {
    let channels = payer.channels();
    let entry = channels.into_values().next().context("no channel")?;
    Ok(serde_json::to_value(Channel {
        channel_id: entry.channel_id,
        escrow: entry.escrow_contract,
        chain_id: entry.chain_id,
        descriptor: entry.descriptor,
    })?)
}

/// Sends a transaction about the channel that the suite has put into the environment.
pub(crate) async fn send(
    signer: &PrivateKeySigner,
    rpc: &str,
    wish: Wish,
) -> anyhow::Result<Value> {
    let channel: Channel = serde_json::from_str(&variable("CHANNEL")?)?;
    let call = Call {
        to: TxKind::Call(channel.escrow),
        value: U256::ZERO,
        input: input(&channel, wish)?,
    };
    transact(signer, rpc, channel.chain_id, call).await
}

/// Collects the best voucher of a channel of v1.
pub(crate) async fn settle(
    signer: &PrivateKeySigner,
    rpc: &str,
    channel: &ChannelState,
) -> anyhow::Result<Value> {
    let signature = channel.highest_voucher_signature.clone();
    let settle = IEscrow::settleCall {
        channelId: channel.channel_id.parse()?,
        cumulativeAmount: channel.highest_voucher_amount,
        signature: signature.context("no voucher")?.into(),
    };
    let call = Call {
        to: TxKind::Call(channel.escrow_contract),
        value: U256::ZERO,
        input: settle.abi_encode().into(),
    };
    transact(signer, rpc, channel.chain_id, call).await
}

async fn transact(
    signer: &PrivateKeySigner,
    rpc: &str,
    chain_id: u64,
    call: Call,
) -> anyhow::Result<Value> {
    let provider: RootProvider<TempoNetwork> = RootProvider::new_http(rpc.parse()?);
    let price = provider.get_gas_price().await?;
    let transaction = build_tempo_tx(TempoTxOptions {
        calls: vec![call],
        chain_id,
        fee_token: PATH_USD.parse()?,
        nonce: provider.get_transaction_count(signer.address()).await?,
        nonce_key: U256::ZERO,
        gas_limit: GAS,
        max_fee_per_gas: price.saturating_mul(2),
        max_priority_fee_per_gas: 0,
        fee_payer: false,
        valid_before: None,
        key_authorization: None,
    });
    let signed = sign_and_encode(transaction, signer, &TempoSigningMode::Direct)?;
    let method = "eth_sendRawTransactionSync";
    let receipt: Value = provider
        .raw_request(method.into(), (Bytes::from(signed),))
        .await?;
    let status = receipt.get("status").and_then(Value::as_str);
    ensure!(status == Some("0x1"), "Error: it was reverted: {receipt}");
    Ok(receipt)
}

fn input(channel: &Channel, wish: Wish) -> anyhow::Result<Bytes> {
    let channel_id = channel.channel_id;
    Ok(match (&channel.descriptor, wish) {
        (Some(descriptor), Wish::Close) => encode_precompile_request_close_call(descriptor)?,
        (Some(descriptor), Wish::Withdrawal) => encode_precompile_withdraw_call(descriptor)?,
        (None, Wish::Close) => IEscrow::requestCloseCall::new((channel_id,))
            .abi_encode()
            .into(),
        (None, Wish::Withdrawal) => IEscrow::withdrawCall::new((channel_id,))
            .abi_encode()
            .into(),
    })
}
