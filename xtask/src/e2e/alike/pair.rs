//! Two fresh nodes that are asked the same.

use std::num::NonZeroU64;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use anyhow::Context as _;
use mpp_devnet::{Devnet, DevnetConfig, DevnetServer};
use mpp_tempo::{LocalSigner, network::PATH_USD};
use serde_json::{Value, json};
use tempo_primitives::{
    TempoTransaction,
    transaction::{Call, TEMPO_EXPIRING_NONCE_KEY},
};

use super::difference::{Difference, differences};
use crate::{
    account,
    anvil::{Anvil, Mining},
    rpc::Rpc,
};

/// Enough for any batch here; only used gas is paid for.
const GAS: u64 = 3_000_000;

/// Both nodes, and what was found so far.
pub(super) struct Pair {
    devnet: Rpc,
    anvil: Rpc,
    pub(super) asked: usize,
    pub(super) differences: Vec<Difference>,
    /// Chain time, in unix seconds; the blocks of both nodes have it.
    pub(super) now: u64,
    _server: DevnetServer,
    _anvil: Anvil,
}

/// What the two nodes have answered.
#[derive(Debug)]
pub(super) struct Answers {
    asked: String,
    pub(super) devnet: Value,
    pub(super) anvil: Value,
}

impl Pair {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let devnet = Devnet::new(DevnetConfig::default());
        let server = devnet.serve(([127, 0, 0, 1], 0).into()).await?;
        let anvil = Anvil::start(Mining::Automatic).await?;
        Ok(Self {
            devnet: Rpc::new(&server.url()),
            anvil: Rpc::new(anvil.url()),
            asked: 0,
            differences: Vec::new(),
            now: u64::try_from(account::now().as_secs())?,
            _server: server,
            _anvil: anvil,
        })
    }

    /// Asks both and compares.
    pub(super) async fn ask(
        &mut self,
        what: &str,
        method: &str,
        params: Value,
    ) -> anyhow::Result<Answers> {
        self.ask_each(what, method, &params, &params).await
    }

    /// The same with parameters of each node's own, such as hashes of its blocks.
    pub(super) async fn ask_each(
        &mut self,
        what: &str,
        method: &str,
        devnet: &Value,
        anvil: &Value,
    ) -> anyhow::Result<Answers> {
        let answers = Answers {
            asked: what.to_owned(),
            devnet: self.devnet.answer(method, devnet.clone()).await?,
            anvil: self.anvil.answer(method, anvil.clone()).await?,
        };
        self.asked = self.asked.saturating_add(1);
        let found = differences(what, &answers.devnet, &answers.anvil);
        self.differences.extend(found);
        Ok(answers)
    }

    /// Sends the same bytes to both, at the same time on both chains.
    pub(super) async fn send(&mut self, what: &str, raw: &Bytes) -> anyhow::Result<Answers> {
        self.now = self.moment().saturating_add(1);
        for node in [&self.devnet, &self.anvil] {
            let time = json!([self.now]);
            node.call("evm_setNextBlockTimestamp", time).await?;
        }
        self.ask(what, "eth_sendRawTransactionSync", json!([raw]))
            .await
    }

    /// Chain time, which never falls behind the clock on the wall.
    fn moment(&self) -> u64 {
        let wall = u64::try_from(account::now().as_secs());
        wall.map_or(self.now, |wall| wall.max(self.now))
    }

    /// Calls a contract without a transaction.
    pub(super) async fn call(
        &mut self,
        what: &str,
        from: Address,
        to: Address,
        input: Vec<u8>,
    ) -> anyhow::Result<Answers> {
        let request = json!({"from": from, "to": to, "input": Bytes::from(input)});
        self.ask(what, "eth_call", json!([request, "latest"])).await
    }

    /// A transaction that is valid now.
    pub(super) fn draft(&self, calls: Vec<Call>) -> TempoTransaction {
        TempoTransaction {
            chain_id: 42_431,
            fee_token: Some(PATH_USD),
            max_priority_fee_per_gas: 1_000_000_000,
            max_fee_per_gas: 10_000_000_000,
            gas_limit: GAS,
            calls,
            nonce_key: TEMPO_EXPIRING_NONCE_KEY,
            nonce: 0,
            valid_before: NonZeroU64::new(self.moment().saturating_add(25)),
            ..TempoTransaction::default()
        }
    }

    /// Sends calls of an account.
    pub(super) async fn run(
        &mut self,
        what: &str,
        signer: &LocalSigner,
        calls: Vec<Call>,
    ) -> anyhow::Result<Answers> {
        let raw = account::sign_raw(signer, self.draft(calls));
        self.send(what, &raw).await
    }
}

impl Answers {
    /// A hash that both give.
    pub(super) fn hash(&self, place: &str) -> anyhow::Result<B256> {
        let hash = self.anvil.pointer(place).and_then(Value::as_str);
        let hash = hash.with_context(|| format!("no {place} in {}", self.anvil))?;
        Ok(hash.parse()?)
    }

    /// Expects the receipt of a success from both.
    pub(super) fn succeeded(&self) -> anyhow::Result<()> {
        let ([ours, theirs], asked) = (self.both("/result/status"), &self.asked);
        let success = serde_json::json!("0x1");
        anyhow::ensure!(ours == success, "{asked} failed here: {}", self.devnet);
        anyhow::ensure!(theirs == success, "{asked} failed there: {}", self.anvil);
        Ok(())
    }

    /// What each says at a place.
    pub(super) fn both(&self, place: &str) -> [Value; 2] {
        [&self.devnet, &self.anvil].map(|answer| answer.pointer(place).cloned().unwrap_or_default())
    }
}

/// A call without value.
pub(super) fn call(to: Address, input: Vec<u8>) -> Call {
    Call {
        to: TxKind::Call(to),
        value: U256::ZERO,
        input: input.into(),
    }
}
