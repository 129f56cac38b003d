//! Accounts for demonstrations and checks, funded on the node at hand.

use alloy_primitives::{Address, B256, Bytes, Signature, U256, address, keccak256};
use anyhow::Context as _;
use mpp_core::{Amount, Timestamp};
use mpp_server::clock::{Clock as _, SystemClock};
use mpp_tempo::{
    LocalSigner,
    chain::{ChainClient as _, FeeQuote},
    network::PATH_USD,
    tx::{FeeMode, TxContext, TxFees, UnsignedTx, build, gas},
};
use tempo_primitives::{AASigned, TempoTransaction};

use crate::{log_scan, node::Node};

/// Another dollar, of which development accounts have enough.
pub(crate) const ALPHA_USD: Address = address!("20c0000000000000000000000000000000000001");
/// Key of the first development account.
const BANK: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// A key of its own for every purpose, the same in every run.
pub(crate) fn key_for(purpose: &str) -> B256 {
    keccak256(purpose.as_bytes())
}

/// What signs with that key.
pub(crate) fn signer_for(purpose: &str) -> anyhow::Result<LocalSigner> {
    let key = key_for(purpose);
    log_scan::secret("private key", key.as_slice());
    LocalSigner::from_bytes(&key.0).context("key")
}

/// The first development account.
pub(crate) fn bank() -> anyhow::Result<LocalSigner> {
    let key: B256 = BANK.parse()?;
    log_scan::secret("private key", key.as_slice());
    Ok(LocalSigner::from_bytes(&key.0)?)
}

/// A development account, which every local node funds.
pub(crate) fn development(number: usize) -> anyhow::Result<LocalSigner> {
    let devnet = mpp_devnet::Devnet::new(mpp_devnet::DevnetConfig::default());
    let account = devnet.accounts().get(number).context("ten accounts")?;
    Ok(LocalSigner::from_hex(&account.private_key.to_string())?)
}

/// Sends pathUSD from the first development account.
pub(crate) async fn fund(node: &Node, to: Address, amount: Amount) -> anyhow::Result<()> {
    fund_token(node, PATH_USD, to, amount).await
}

/// Sends a token from the first development account.
pub(crate) async fn fund_token(
    node: &Node,
    token: Address,
    to: Address,
    amount: Amount,
) -> anyhow::Result<()> {
    let bank = bank()?;
    let transfer = build::Transfer {
        token,
        to,
        amount,
        memo: None,
    };
    let context = context(node, gas::TRANSFER).await?;
    send(node, build::transfer(&context, &[transfer])?, &bank).await
}

/// What a self-paid transaction of the present needs.
pub(crate) async fn context(node: &Node, gas_limit: u64) -> anyhow::Result<TxContext> {
    let FeeQuote {
        max_fee_per_gas,
        max_priority_fee_per_gas,
        ..
    } = node.chain.fees().await?;
    Ok(TxContext {
        chain_id: node.chain.chain_id(),
        now: node.now(),
        valid_for: std::time::Duration::from_secs(25),
        fees: TxFees {
            max_fee_per_gas,
            max_priority_fee_per_gas,
            gas_limit,
        },
        fee_mode: FeeMode::SelfPaid {
            fee_token: PATH_USD,
        },
        // A random moment in the past keeps two equal calls apart.
        valid_after: Some(u64::from(rand_u32()).max(1)),
    })
}

/// Signs, sends and expects success.
pub(crate) async fn send(
    node: &Node,
    transaction: UnsignedTx,
    signer: &LocalSigner,
) -> anyhow::Result<()> {
    let signed = transaction.sign(signer).await?;
    let receipt = node.chain.send_and_wait(signed.encode()).await?;
    anyhow::ensure!(receipt.success, "transaction {} was reverted", receipt.hash);
    Ok(())
}

/// Signs any transaction, right or wrong, as 0x76.
pub(crate) fn sign_raw(signer: &LocalSigner, transaction: TempoTransaction) -> Bytes {
    let signature = sign_digest(signer, transaction.signature_hash());
    let mut encoded = Vec::new();
    AASigned::new_unhashed(transaction, signature.into()).eip2718_encode(&mut encoded);
    encoded.into()
}

/// Signs any digest.
pub(crate) fn sign_digest(signer: &LocalSigner, digest: B256) -> Signature {
    let own = signer.sign_digest_sync(&digest);
    Signature::new(
        U256::from_be_bytes(*own.r()),
        U256::from_be_bytes(*own.s()),
        own.y_is_odd(),
    )
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

fn rand_u32() -> u32 {
    u32::from_be_bytes(alloy_primitives::FixedBytes::<4>::random().0) >> 2
}
