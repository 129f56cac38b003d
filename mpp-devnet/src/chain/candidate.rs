//! A decoded transaction whose signatures have been checked.

use crate::chain::refusal::Refusal;
use alloy_consensus::Transaction;
use alloy_consensus::transaction::{SignerRecoverable, TxHashRef};
use alloy_eips::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use core::num::NonZeroU64;
use tempo_primitives::transaction::{TEMPO_EXPIRING_NONCE_KEY, TempoSignature};
use tempo_primitives::{TempoTransaction, TempoTxEnvelope};

/// One call of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) to: Address,
    pub(crate) input: Bytes,
}

/// A transaction that is well formed and properly signed; whether it is valid now is another question.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) envelope: TempoTxEnvelope,
    pub(crate) hash: B256,
    pub(crate) sender: Address,
    pub(crate) fee_payer: Address,
    pub(crate) nonce_key: U256,
    pub(crate) calls: Vec<Target>,
    /// `keccak256(encode_for_signing || sender)`.
    pub(crate) identifier: B256,
}

impl Candidate {
    /// Decodes raw bytes and recovers who signed them.
    pub(crate) fn decode(raw: &[u8], chain_id: u64) -> Result<Self, Refusal> {
        let envelope = TempoTxEnvelope::decode_2718_exact(raw)
            .map_err(|error| Refusal::Undecodable(error.to_string()))?;
        if envelope.chain_id() != Some(chain_id) {
            return Err(Refusal::WrongChain { expected: chain_id });
        }
        ensure_supported(&envelope)?;
        let sender = envelope
            .recover_signer()
            .map_err(|_| Refusal::InvalidSignature)?;
        if sender.is_zero() {
            return Err(Refusal::InvalidSignature);
        }
        let fee_payer = envelope
            .fee_payer(sender)
            .map_err(|_| Refusal::InvalidFeePayerSignature)?;
        let candidate = Self {
            hash: *envelope.tx_hash(),
            sender,
            fee_payer,
            nonce_key: envelope.nonce_key().unwrap_or_default(),
            calls: targets(&envelope)?,
            identifier: envelope.unique_tx_identifier(sender),
            envelope,
        };
        if candidate.is_sponsored() && fee_payer == sender {
            return Err(Refusal::SelfSponsored);
        }
        Ok(candidate)
    }

    pub(crate) fn tempo(&self) -> Option<&TempoTransaction> {
        self.envelope.as_aa().map(|signed| signed.tx())
    }

    pub(crate) fn tempo_signature(&self) -> Option<&TempoSignature> {
        self.envelope.as_aa().map(|signed| signed.signature())
    }

    pub(crate) fn is_sponsored(&self) -> bool {
        self.tempo()
            .is_some_and(|tx| tx.fee_payer_signature.is_some())
    }

    pub(crate) fn is_expiring(&self) -> bool {
        self.tempo().is_some() && self.nonce_key == TEMPO_EXPIRING_NONCE_KEY
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.envelope.nonce()
    }

    pub(crate) fn gas_limit(&self) -> u64 {
        self.envelope.gas_limit()
    }

    pub(crate) fn valid_before(&self) -> Option<u64> {
        self.tempo()
            .and_then(|tx| tx.valid_before)
            .map(NonZeroU64::get)
    }

    pub(crate) fn valid_after(&self) -> Option<u64> {
        self.tempo()
            .and_then(|tx| tx.valid_after)
            .map(NonZeroU64::get)
    }

    /// What one unit of gas costs at this base fee (attodollars).
    pub(crate) fn gas_price(&self, base_fee: u64) -> u128 {
        self.envelope.effective_gas_price(Some(base_fee))
    }
}

/// Refuses what the node does not model, rather than running it differently from the real chain.
fn ensure_supported(envelope: &TempoTxEnvelope) -> Result<(), Refusal> {
    if envelope.authorization_list().is_some() {
        return Err(Refusal::Unsupported("an authorization list"));
    }
    let Some(signed) = envelope.as_aa() else {
        return Ok(());
    };
    let tx = signed.tx();
    tx.validate().map_err(Refusal::Malformed)?;
    if !tx.tempo_authorization_list.is_empty() {
        return Err(Refusal::Unsupported("an authorization list"));
    }
    if tx.key_authorization.is_some() || signed.signature().is_keychain() {
        return Err(Refusal::Unsupported("an access key"));
    }
    if tx.has_sub_block_nonce_key_prefix() && tx.nonce_key != TEMPO_EXPIRING_NONCE_KEY {
        return Err(Refusal::Unsupported("a subblock nonce key"));
    }
    Ok(())
}

fn targets(envelope: &TempoTxEnvelope) -> Result<Vec<Target>, Refusal> {
    let value = match envelope.as_aa() {
        Some(signed) => signed.tx().calls.iter().any(|call| !call.value.is_zero()),
        None => !envelope.value().is_zero(),
    };
    if value {
        return Err(Refusal::ValueTransfer);
    }
    envelope
        .calls()
        .map(|(kind, input)| match kind {
            TxKind::Call(to) => Ok(Target {
                to,
                input: input.clone(),
            }),
            TxKind::Create => Err(Refusal::Unsupported("contract creation")),
        })
        .collect()
}
