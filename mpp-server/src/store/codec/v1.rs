//! Version 1 of the stored forms.
//!
//! The order of members and variants is the format: it never changes. Values
//! that came from a peer are checked again when they are read.

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use mpp_core::{
    Amount, ChallengeId, IntentName, MethodName, Timestamp,
    receipt::{ReceiptStatus, SessionReceipt},
};
use mpp_tempo::{
    ChannelDescriptor, SessionProtocol, Voucher as VoucherContent,
    channel::{ChannelId, ChannelTerms},
    voucher::{SignedVoucher, VoucherSignature},
};
use serde::{Deserialize, Serialize};

use super::{CodecError, signature::Signature};
use crate::{
    session::record::{
        self, ChannelRecord, HoldId, LedgerEntry, LedgerKind, PendingTx, StreamEpoch, Unsettled,
    },
    store::{OutcomeKey, StoredOutcome, StoredResponse},
};

type Hash = [u8; 32];

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    terms: Terms,
    deposit: u128,
    best: Option<Voucher>,
    spent: u128,
    settled: u128,
    units: u64,
    phase: Phase,
    stream: u64,
    holds: Vec<Hold>,
    newest_hold: u64,
    newest_outcome: u64,
    opened_at: i64,
    changed_at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Terms {
    protocol: Protocol,
    chain_id: u64,
    escrow: [u8; 20],
    payer: [u8; 20],
    payee: [u8; 20],
    operator: [u8; 20],
    token: [u8; 20],
    salt: Hash,
    authorized_signer: [u8; 20],
    expiring_nonce_hash: Hash,
}

#[derive(Debug, Serialize, Deserialize)]
enum Protocol {
    V1,
    V2,
}

/// A voucher of the record's own channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Voucher {
    cumulative: u128,
    signature: Signature,
}

#[derive(Debug, Serialize, Deserialize)]
enum Phase {
    Opening(Pending),
    Failed,
    Open,
    CloseRequested {
        at: u64,
    },
    Closing {
        voucher: Voucher,
        capture: u128,
        sent: Option<Pending>,
        requested_at: Option<u64>,
    },
    Closed {
        transaction: Option<Hash>,
    },
    Quarantined {
        reason: Quarantine,
        requested_at: Option<u64>,
        evidence: Option<Voucher>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum Quarantine {
    SettledAboveAccepted,
    VoucherDisputed,
    DepositReverted,
    OpenReverted,
    Adopted,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    hash: Hash,
    valid_before: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Hold {
    id: u64,
    amount: u128,
    challenge_id: String,
    idempotency: Option<Idempotency>,
    until: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Idempotency {
    key: Hash,
    request: Hash,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    channel_id: Hash,
    at: i64,
    kind: Kind,
    challenge_id: Option<String>,
    idempotency: Option<Hash>,
    cost: u128,
    units: u64,
    accepted: u128,
    spent: u128,
    deposit: u128,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Opened,
    Accepted,
    Charged,
    Observed,
    Closed,
    Credited,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    key: Hash,
    channel_id: Hash,
    number: u64,
    request: Hash,
    receipt: Receipt,
    response: Option<Response>,
    expires: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    method: String,
    intent: String,
    timestamp: i64,
    reference: String,
    challenge_id: String,
    channel_id: String,
    accepted_cumulative: u128,
    spent: u128,
    units: Option<u64>,
    tx_hash: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Response {
    status: u16,
    headers: Vec<(String, Bytes)>,
    body: Bytes,
}

impl From<&ChannelRecord> for Record {
    fn from(record: &ChannelRecord) -> Self {
        Self {
            terms: (&record.terms).into(),
            deposit: record.deposit.base_units(),
            best: record.best.as_ref().map(Into::into),
            spent: record.spent.base_units(),
            settled: record.settled.base_units(),
            units: record.units,
            phase: (&record.phase).into(),
            stream: record.stream.0,
            holds: record.holds.iter().map(Into::into).collect(),
            newest_hold: record.newest_hold.0,
            newest_outcome: record.newest_outcome,
            opened_at: record.opened_at.as_millis(),
            changed_at: record.changed_at.as_millis(),
        }
    }
}

impl TryFrom<Record> for ChannelRecord {
    type Error = CodecError;

    fn try_from(stored: Record) -> Result<Self, CodecError> {
        let terms = ChannelTerms::from(stored.terms);
        let id = terms.id();
        let holds = stored.holds.into_iter().map(TryInto::try_into);
        let changed_at = timestamp(stored.changed_at)?;
        // Version 1 does not know since when there is something to settle:
        // since the last change at the latest.
        let unsettled = Unsettled {
            since: (stored.spent > stored.settled).then_some(changed_at),
            ..Unsettled::default()
        };
        Ok(Self {
            id,
            terms,
            deposit: Amount::new(stored.deposit),
            best: stored.best.map(|best| best.of(id)).transpose()?,
            spent: Amount::new(stored.spent),
            settled: Amount::new(stored.settled),
            units: stored.units,
            unsettled,
            phase: stored.phase.of(id)?,
            stream: StreamEpoch(stored.stream),
            holds: holds.collect::<Result<_, _>>()?,
            newest_hold: HoldId(stored.newest_hold),
            newest_outcome: stored.newest_outcome,
            opened_at: timestamp(stored.opened_at)?,
            changed_at,
        })
    }
}

impl From<&ChannelTerms> for Terms {
    fn from(terms: &ChannelTerms) -> Self {
        let parties = &terms.descriptor;
        Self {
            protocol: match terms.protocol {
                SessionProtocol::V1 => Protocol::V1,
                SessionProtocol::V2 => Protocol::V2,
            },
            chain_id: terms.chain_id,
            escrow: terms.escrow.into(),
            payer: parties.payer.into(),
            payee: parties.payee.into(),
            operator: parties.operator.into(),
            token: parties.token.into(),
            salt: parties.salt.into(),
            authorized_signer: parties.authorized_signer.into(),
            expiring_nonce_hash: parties.expiring_nonce_hash.into(),
        }
    }
}

impl From<Terms> for ChannelTerms {
    fn from(stored: Terms) -> Self {
        Self {
            protocol: match stored.protocol {
                Protocol::V1 => SessionProtocol::V1,
                Protocol::V2 => SessionProtocol::V2,
            },
            chain_id: stored.chain_id,
            escrow: Address::from(stored.escrow),
            descriptor: ChannelDescriptor {
                payer: stored.payer.into(),
                payee: stored.payee.into(),
                operator: stored.operator.into(),
                token: stored.token.into(),
                salt: stored.salt.into(),
                authorized_signer: stored.authorized_signer.into(),
                expiring_nonce_hash: stored.expiring_nonce_hash.into(),
            },
        }
    }
}

impl From<&SignedVoucher> for Voucher {
    fn from(signed: &SignedVoucher) -> Self {
        Self {
            cumulative: signed.voucher.cumulative.base_units(),
            signature: (&signed.signature).into(),
        }
    }
}

impl Voucher {
    pub(crate) fn of(self, channel_id: ChannelId) -> Result<SignedVoucher, CodecError> {
        let signature = VoucherSignature::parse(self.signature.bytes());
        Ok(SignedVoucher {
            voucher: VoucherContent {
                channel_id,
                cumulative: Amount::new(self.cumulative),
            },
            signature: signature.map_err(|_| CodecError::Value("voucher signature"))?,
        })
    }
}

impl From<&record::Phase> for Phase {
    fn from(phase: &record::Phase) -> Self {
        match phase {
            record::Phase::Opening(open) => Self::Opening((*open).into()),
            record::Phase::Failed => Self::Failed,
            record::Phase::Open => Self::Open,
            record::Phase::CloseRequested { at } => Self::CloseRequested { at: *at },
            record::Phase::Closing {
                voucher,
                capture,
                sent,
                requested_at,
            } => Self::Closing {
                voucher: voucher.into(),
                capture: capture.base_units(),
                sent: sent.map(Into::into),
                requested_at: *requested_at,
            },
            record::Phase::Quarantined {
                reason,
                requested_at,
                evidence,
            } => Self::Quarantined {
                reason: match reason {
                    record::Quarantine::SettledAboveAccepted => Quarantine::SettledAboveAccepted,
                    record::Quarantine::VoucherDisputed => Quarantine::VoucherDisputed,
                    record::Quarantine::DepositReverted => Quarantine::DepositReverted,
                    record::Quarantine::OpenReverted => Quarantine::OpenReverted,
                    record::Quarantine::Adopted => Quarantine::Adopted,
                },
                requested_at: *requested_at,
                evidence: evidence.as_ref().map(Into::into),
            },
            record::Phase::Closed { transaction } => Self::Closed {
                transaction: transaction.map(Into::into),
            },
        }
    }
}

impl Phase {
    fn of(self, channel_id: ChannelId) -> Result<record::Phase, CodecError> {
        Ok(match self {
            Self::Opening(open) => record::Phase::Opening(open.into()),
            Self::Failed => record::Phase::Failed,
            Self::Open => record::Phase::Open,
            Self::CloseRequested { at } => record::Phase::CloseRequested { at },
            Self::Closing {
                voucher,
                capture,
                sent,
                requested_at,
            } => record::Phase::Closing {
                voucher: voucher.of(channel_id)?,
                capture: Amount::new(capture),
                sent: sent.map(Into::into),
                requested_at,
            },
            Self::Closed { transaction } => record::Phase::Closed {
                transaction: transaction.map(B256::new),
            },
            Self::Quarantined {
                reason,
                requested_at,
                evidence,
            } => record::Phase::Quarantined {
                reason: match reason {
                    Quarantine::SettledAboveAccepted => record::Quarantine::SettledAboveAccepted,
                    Quarantine::VoucherDisputed => record::Quarantine::VoucherDisputed,
                    Quarantine::DepositReverted => record::Quarantine::DepositReverted,
                    Quarantine::OpenReverted => record::Quarantine::OpenReverted,
                    Quarantine::Adopted => record::Quarantine::Adopted,
                },
                requested_at,
                evidence: evidence.map(|voucher| voucher.of(channel_id)).transpose()?,
            },
        })
    }
}

impl From<PendingTx> for Pending {
    fn from(pending: PendingTx) -> Self {
        Self {
            hash: pending.hash.into(),
            valid_before: pending.valid_before,
        }
    }
}

impl From<Pending> for PendingTx {
    fn from(stored: Pending) -> Self {
        Self {
            hash: stored.hash.into(),
            valid_before: stored.valid_before,
        }
    }
}

impl From<&record::Hold> for Hold {
    fn from(hold: &record::Hold) -> Self {
        Self {
            id: hold.id.0,
            amount: hold.amount.base_units(),
            challenge_id: hold.challenge_id.as_str().to_owned(),
            idempotency: hold.idempotency.map(|request| Idempotency {
                key: request.key.0.into(),
                request: request.request.into(),
            }),
            until: hold.until.as_millis(),
        }
    }
}

impl TryFrom<Hold> for record::Hold {
    type Error = CodecError;

    fn try_from(stored: Hold) -> Result<Self, CodecError> {
        Ok(Self {
            id: HoldId(stored.id),
            amount: Amount::new(stored.amount),
            challenge_id: challenge_id(stored.challenge_id)?,
            idempotency: stored.idempotency.map(|request| record::Idempotency {
                key: OutcomeKey(request.key.into()),
                request: request.request.into(),
            }),
            until: timestamp(stored.until)?,
        })
    }
}

impl From<&LedgerEntry> for Entry {
    fn from(entry: &LedgerEntry) -> Self {
        let challenge_id = entry.challenge_id.as_ref();
        Self {
            channel_id: entry.channel_id.into(),
            at: entry.at.as_millis(),
            kind: match entry.kind {
                LedgerKind::Opened => Kind::Opened,
                LedgerKind::Accepted => Kind::Accepted,
                LedgerKind::Charged => Kind::Charged,
                LedgerKind::Observed => Kind::Observed,
                LedgerKind::Closed => Kind::Closed,
                LedgerKind::Credited => Kind::Credited,
            },
            challenge_id: challenge_id.map(|id| id.as_str().to_owned()),
            idempotency: entry.idempotency.map(|key| key.0.into()),
            cost: entry.cost.base_units(),
            units: entry.units,
            accepted: entry.accepted.base_units(),
            spent: entry.spent.base_units(),
            deposit: entry.deposit.base_units(),
        }
    }
}

impl TryFrom<Entry> for LedgerEntry {
    type Error = CodecError;

    fn try_from(stored: Entry) -> Result<Self, CodecError> {
        Ok(Self {
            channel_id: stored.channel_id.into(),
            at: timestamp(stored.at)?,
            kind: match stored.kind {
                Kind::Opened => LedgerKind::Opened,
                Kind::Accepted => LedgerKind::Accepted,
                Kind::Charged => LedgerKind::Charged,
                Kind::Observed => LedgerKind::Observed,
                Kind::Closed => LedgerKind::Closed,
                Kind::Credited => LedgerKind::Credited,
            },
            challenge_id: stored.challenge_id.map(challenge_id).transpose()?,
            idempotency: stored.idempotency.map(|key| OutcomeKey(key.into())),
            cost: Amount::new(stored.cost),
            units: stored.units,
            accepted: Amount::new(stored.accepted),
            spent: Amount::new(stored.spent),
            deposit: Amount::new(stored.deposit),
        })
    }
}

impl From<&StoredOutcome> for Outcome {
    fn from(outcome: &StoredOutcome) -> Self {
        Self {
            key: outcome.key.0.into(),
            channel_id: outcome.channel_id.into(),
            number: outcome.number,
            request: outcome.request.into(),
            receipt: (&outcome.receipt).into(),
            response: outcome.response.as_ref().map(|response| Response {
                status: response.status,
                headers: response.headers.clone(),
                body: response.body.clone(),
            }),
            expires: outcome.expires.as_millis(),
        }
    }
}

impl TryFrom<Outcome> for StoredOutcome {
    type Error = CodecError;

    fn try_from(stored: Outcome) -> Result<Self, CodecError> {
        Ok(Self {
            key: OutcomeKey(stored.key.into()),
            channel_id: stored.channel_id.into(),
            number: stored.number,
            request: stored.request.into(),
            receipt: stored.receipt.try_into()?,
            response: stored.response.map(|response| StoredResponse {
                status: response.status,
                headers: response.headers,
                body: response.body,
            }),
            expires: timestamp(stored.expires)?,
        })
    }
}

impl From<&SessionReceipt> for Receipt {
    fn from(receipt: &SessionReceipt) -> Self {
        Self {
            method: receipt.method.as_str().to_owned(),
            intent: receipt.intent.as_str().to_owned(),
            timestamp: receipt.timestamp.as_millis(),
            reference: receipt.reference.clone(),
            challenge_id: receipt.challenge_id.as_str().to_owned(),
            channel_id: receipt.channel_id.clone(),
            accepted_cumulative: receipt.accepted_cumulative.base_units(),
            spent: receipt.spent.base_units(),
            units: receipt.units,
            tx_hash: receipt.tx_hash.clone(),
        }
    }
}

impl TryFrom<Receipt> for SessionReceipt {
    type Error = CodecError;

    fn try_from(stored: Receipt) -> Result<Self, CodecError> {
        Ok(Self {
            method: MethodName::new(stored.method).map_err(|_| CodecError::Value("method"))?,
            intent: IntentName::new(stored.intent).map_err(|_| CodecError::Value("intent"))?,
            status: ReceiptStatus::Success,
            timestamp: timestamp(stored.timestamp)?,
            reference: stored.reference,
            challenge_id: challenge_id(stored.challenge_id)?,
            channel_id: stored.channel_id,
            accepted_cumulative: Amount::new(stored.accepted_cumulative),
            spent: Amount::new(stored.spent),
            units: stored.units,
            tx_hash: stored.tx_hash,
        })
    }
}

fn challenge_id(text: String) -> Result<ChallengeId, CodecError> {
    ChallengeId::new(text).map_err(|_| CodecError::Value("challenge id"))
}

pub(super) fn timestamp(millis: i64) -> Result<Timestamp, CodecError> {
    let timestamp = Timestamp::from_millis(millis);
    if timestamp.as_millis() == millis {
        Ok(timestamp)
    } else {
        Err(CodecError::Value("time"))
    }
}
