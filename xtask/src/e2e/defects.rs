//! What anvil does wrong, and what it lacks. Each entry is checked, so that the table tells of
//! the node that was started and not of an older one.

use std::{future::Future, num::NonZeroU64, pin::Pin, time::Duration};

use alloy_primitives::{Address, Bytes, U256, keccak256};
use alloy_sol_types::SolCall as _;
use anyhow::{Context as _, ensure};
use mpp_tempo::{
    LocalSigner, Signer as _,
    chain::{
        ChainClient as _, ChainError,
        rpc::{RpcChain, RpcTimeouts},
    },
    escrow::ITIP20,
    network::PATH_USD,
};
use serde_json::{Value, json};
use tempo_primitives::{
    TempoTransaction,
    transaction::{Call, TEMPO_EXPIRING_NONCE_KEY},
};
use tokio::time::timeout;

use super::table::Table;
use crate::{account, anvil, node::Node, rpc::Rpc};

/// One defect, seen again.
type Check = for<'a> fn(&'a Anvil<'a>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// A known defect.
struct Defect {
    name: &'static str,
    /// How this workspace copes.
    answer: &'static str,
    check: Check,
}

/// Turns an async function into a [`Defect`].
macro_rules! defect {
    ($name:literal, $answer:literal, $check:path) => {
        Defect {
            name: $name,
            answer: $answer,
            check: |anvil| Box::pin($check(anvil)),
        }
    };
}

const DEFECTS: &[Defect] = &[
    defect!(
        "forks after T4 are unknown: no channel reserve",
        "a contract and a proxy stand for it; its gas differs, storage credits are missing",
        no_reserve
    ),
    defect!(
        "estimates of batches are one constant",
        "gas limits are our own (mpp-tempo, tx/gas.rs)",
        constant_estimate
    ),
    defect!(
        "no answer for an end of validity too far away",
        "sending has a time limit of its own",
        silent_far_end
    ),
    defect!(
        "no answer for a used two-dimensional nonce",
        "sending has a time limit of its own",
        silent_used_lane
    ),
    defect!(
        "an end of validity within 3 s is refused",
        "transactions are valid for longer",
        near_end
    ),
    defect!(
        "the base fee follows the load",
        "fee limits leave room (mpp-tempo, chain/rpc/read.rs)",
        moving_base_fee
    ),
];

/// Long enough for any answer of a node on this machine.
const ANSWER: Duration = Duration::from_secs(30);
/// Longer than an answer takes, when none is expected.
const SILENCE: Duration = Duration::from_secs(2);

/// The node, with an account that has money.
struct Anvil<'a> {
    node: &'a Node,
    rpc: Rpc,
    bank: LocalSigner,
}

/// Sees all of them again.
pub(super) async fn run(node: &Node, only: Option<&str>, table: &mut Table) -> anyhow::Result<()> {
    const NAME: &str = "known defects of anvil";
    if only.is_some_and(|text| !NAME.contains(text)) {
        return Ok(());
    }
    let anvil = Anvil {
        node,
        rpc: Rpc::new(&node.url),
        bank: account::bank()?,
    };
    println!();
    println!("{NAME}, seen again in this run");
    for defect in DEFECTS {
        let seen = (defect.check)(&anvil).await;
        table.add_once(defect.name, seen.context("anvil behaves otherwise now"));
        println!("      {}", defect.answer);
    }
    Ok(())
}

impl Anvil<'_> {
    /// A transfer that is valid for so many seconds.
    fn draft(&self, seconds: u64) -> anyhow::Result<TempoTransaction> {
        let now = u64::try_from(self.node.now().as_secs())?;
        Ok(TempoTransaction {
            chain_id: self.node.network()?.chain_id,
            fee_token: Some(PATH_USD),
            max_priority_fee_per_gas: 1_000_000_000,
            max_fee_per_gas: 10_000_000_000,
            gas_limit: 1_000_000,
            calls: vec![transfer()],
            nonce_key: TEMPO_EXPIRING_NONCE_KEY,
            valid_before: NonZeroU64::new(now.saturating_add(seconds)),
            ..TempoTransaction::default()
        })
    }

    fn sign(&self, transaction: TempoTransaction) -> Bytes {
        account::sign_raw(&self.bank, transaction)
    }

    /// Sends and waits so long for the receipt; `None` stands for no answer at
    /// all.
    async fn send(
        &self,
        transaction: TempoTransaction,
        limit: Duration,
    ) -> anyhow::Result<Option<Value>> {
        let raw = json!([self.sign(transaction)]);
        let sent = self.rpc.answer("eth_sendRawTransactionSync", raw);
        timeout(limit, sent).await.ok().transpose()
    }

    /// No answer comes, and a client with a limit says that it does not know.
    async fn stays_silent(&self, transaction: TempoTransaction) -> anyhow::Result<()> {
        let limits = RpcTimeouts {
            send: SILENCE,
            resolve: SILENCE,
            ..RpcTimeouts::default()
        };
        let client = RpcChain::connect_with(&self.node.url, limits).await?;
        let another = TempoTransaction {
            gas_limit: transaction.gas_limit.saturating_add(1),
            ..transaction.clone()
        };
        let raw = self.sign(another);
        let hash = keccak256(&raw);
        let silent = self.send(transaction, SILENCE);
        let (answer, sent) = tokio::join!(silent, client.send_and_wait(raw));
        let answer = answer?;
        ensure!(answer.is_none(), "{answer:?}");
        ensure!(sent == Err(ChainError::Unknown { hash }), "{sent:?}");
        Ok(())
    }
}

fn transfer() -> Call {
    let amount = U256::from(1);
    let to = Address::repeat_byte(0xde);
    Call {
        to: alloy_primitives::TxKind::Call(PATH_USD),
        value: U256::ZERO,
        input: ITIP20::transferCall { to, amount }.abi_encode().into(),
    }
}

async fn no_reserve(_: &Anvil<'_>) -> anyhow::Result<()> {
    ensure!(!anvil::knows_fork("T5").await?, "it knows T5");
    Ok(())
}

async fn constant_estimate(anvil: &Anvil<'_>) -> anyhow::Result<()> {
    let from = anvil.bank.address();
    let mut estimates = Vec::new();
    for count in [1, 9] {
        let Call { to, input, .. } = transfer();
        let calls = vec![json!({"to": to.to(), "input": input}); count];
        let request = json!([{"from": from, "type": "0x76", "calls": calls}]);
        estimates.push(anvil.rpc.call("eth_estimateGas", request).await?);
    }
    ensure!(estimates.first() == estimates.last(), "{estimates:?}");
    Ok(())
}

async fn silent_far_end(anvil: &Anvil<'_>) -> anyhow::Result<()> {
    anvil.stays_silent(anvil.draft(300)?).await
}

async fn silent_used_lane(anvil: &Anvil<'_>) -> anyhow::Result<()> {
    let lane = || -> anyhow::Result<_> {
        Ok(TempoTransaction {
            nonce_key: U256::from(77),
            valid_before: None,
            ..anvil.draft(25)?
        })
    };
    let first = anvil.send(lane()?, ANSWER).await?;
    let status = first
        .as_ref()
        .and_then(|answer| answer.pointer("/result/status"));
    ensure!(status == Some(&json!("0x1")), "{first:?}");
    let another = TempoTransaction {
        gas_limit: 900_000,
        ..lane()?
    };
    anvil.stays_silent(another).await
}

async fn near_end(anvil: &Anvil<'_>) -> anyhow::Result<()> {
    let answer = anvil.send(anvil.draft(3)?, ANSWER).await?;
    let refused = answer
        .as_ref()
        .is_some_and(|answer| answer.get("error").is_some());
    ensure!(refused, "{answer:?}");
    Ok(())
}

async fn moving_base_fee(anvil: &Anvil<'_>) -> anyhow::Result<()> {
    let block = anvil
        .rpc
        .call("eth_getBlockByNumber", json!(["latest", false]));
    let block = block.await?;
    let fee = block.get("baseFeePerGas").and_then(Value::as_str);
    // What it was started with.
    ensure!(fee.is_some_and(|fee| fee != "0x77359400"), "{fee:?}");
    Ok(())
}
