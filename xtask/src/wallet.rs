//! A payer of charges that does exactly what it is told, right or wrong.

use std::num::NonZeroU64;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::SolCall as _;
use anyhow::Context as _;
use mpp_core::{Challenge, ChargeReceipt, Credential, Receipt, header, source::DidPkh};
use mpp_tempo::{
    LocalSigner, Signer as _,
    charge::{AttributionMemo, ChargeTransfer, Transfers},
    escrow::ITIP20,
    tx::{SignedTx, gas},
    wire::{ChargePayload, ChargeRequest},
};
use reqwest::{Method, Response};
use tempo_primitives::{
    TempoTransaction,
    transaction::{Call, FEE_PAYER_SIGNATURE_MARKER, TEMPO_EXPIRING_NONCE_KEY},
};

use crate::{account, node::Node, raw::Raw};

/// A payer without judgment.
pub(crate) struct Wallet<'a> {
    pub(crate) node: &'a Node,
    pub(crate) raw: Raw,
}

impl<'a> Wallet<'a> {
    pub(crate) fn new(node: &'a Node, signer: LocalSigner) -> Self {
        Self {
            node,
            raw: Raw::new(signer),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.raw.signer.address()
    }

    /// The transaction that an honest client makes for a challenge.
    pub(crate) async fn transaction(
        &self,
        challenge: &Challenge,
    ) -> anyhow::Result<TempoTransaction> {
        let request: ChargeRequest = challenge.request.decode()?;
        let transfers = Transfers::try_from(&request)?;
        let memo = AttributionMemo::new(challenge.realm.as_str(), None, challenge.id.as_str());
        let calls = transfers.with_attribution(memo);
        let context = account::context(self.node, gas::TRANSFER).await?;
        let now = u64::try_from(context.now.as_secs())?;
        let count = u64::try_from(calls.len())?;
        Ok(TempoTransaction {
            chain_id: context.chain_id,
            fee_token: None,
            max_priority_fee_per_gas: context.fees.max_priority_fee_per_gas,
            max_fee_per_gas: context.fees.max_fee_per_gas,
            gas_limit: gas::TRANSFER.saturating_mul(count).min(2_000_000),
            calls: calls
                .iter()
                .map(|one| call(request.currency, one))
                .collect(),
            nonce_key: TEMPO_EXPIRING_NONCE_KEY,
            nonce: 0,
            fee_payer_signature: (request.method_details.fee_payer == Some(true))
                .then_some(FEE_PAYER_SIGNATURE_MARKER),
            valid_before: NonZeroU64::new(now.saturating_add(25)),
            valid_after: context.valid_after.and_then(NonZeroU64::new),
            ..TempoTransaction::default()
        })
    }

    /// Signs any transaction, as 0x76 or as the 0x78 envelope.
    pub(crate) fn sign(&self, transaction: TempoTransaction) -> anyhow::Result<SignedTx> {
        Ok(SignedTx::decode(&self.sign_raw(transaction))?)
    }

    /// Signs any transaction, with a placeholder where a fee payer is wanted.
    pub(crate) fn sign_raw(&self, transaction: TempoTransaction) -> Bytes {
        account::sign_raw(&self.raw.signer, transaction)
    }

    /// A fresh challenge, answered as it asks.
    pub(crate) async fn pay(&self, url: &str) -> anyhow::Result<Credential> {
        let challenge = self.raw.challenge(url).await?;
        let signed = self.sign(self.transaction(&challenge).await?)?;
        self.pull(&challenge, &signed)
    }

    pub(crate) fn pull(
        &self,
        challenge: &Challenge,
        signed: &SignedTx,
    ) -> anyhow::Result<Credential> {
        let transaction = signed.encode();
        self.credential(challenge, &ChargePayload::Transaction { transaction })
    }

    pub(crate) fn push(&self, challenge: &Challenge, hash: B256) -> anyhow::Result<Credential> {
        self.credential(challenge, &ChargePayload::Hash { hash })
    }

    /// A payload with the challenge it answers, from this payer.
    pub(crate) fn credential(
        &self,
        challenge: &Challenge,
        payload: &ChargePayload,
    ) -> anyhow::Result<Credential> {
        let credential = Credential::new(challenge.clone(), serde_json::to_value(payload)?);
        Ok(credential.with_source(self.source()?))
    }

    pub(crate) fn source(&self) -> anyhow::Result<String> {
        let address = format!("{:#x}", self.address());
        let chain_id = self.node.network()?.chain_id;
        Ok(DidPkh::new(chain_id, &address)?.to_string())
    }

    pub(crate) async fn show(
        &self,
        url: &str,
        credential: &Credential,
    ) -> anyhow::Result<Response> {
        self.raw.present(Method::GET, url, credential).await
    }

    /// Shows a credential that must be served.
    pub(crate) async fn buy(
        &self,
        url: &str,
        credential: &Credential,
    ) -> anyhow::Result<(ChargeReceipt, String)> {
        let response = self.show(url, credential).await?;
        let status = response.status();
        if status != 200 {
            anyhow::bail!("{url}: {status} {}", response.text().await?);
        }
        let receipt = receipt(&response)?;
        Ok((receipt, response.text().await?))
    }
}

/// A transfer as the call of a transaction.
pub(crate) fn call(token: Address, transfer: &ChargeTransfer) -> Call {
    let (to, amount) = (transfer.to, U256::from(transfer.amount.base_units()));
    let input = match transfer.memo {
        None => ITIP20::transferCall { to, amount }.abi_encode(),
        Some(memo) => ITIP20::transferWithMemoCall { to, amount, memo }.abi_encode(),
    };
    Call {
        to: TxKind::Call(token),
        value: U256::ZERO,
        input: input.into(),
    }
}

/// The charge receipt of a response.
pub(crate) fn receipt(response: &Response) -> anyhow::Result<ChargeReceipt> {
    let value = response.headers().get("payment-receipt");
    let value = value.with_context(|| format!("no receipt on a {}", response.status()))?;
    match header::receipt::parse(value.to_str()?)? {
        Receipt::Charge(receipt) => Ok(receipt),
        Receipt::Session(_) => anyhow::bail!("a session receipt"),
    }
}
