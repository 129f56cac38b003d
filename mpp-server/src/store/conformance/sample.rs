//! Records, entries and outcomes to store.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, ChallengeId, MethodName, SessionReceipt, Timestamp};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherVerifier, network::PATH_USD,
};

use crate::{
    session::record::{
        ChannelRecord, HoldId, LedgerEntry, LedgerKind, Phase, StreamEpoch, Unsettled,
    },
    store::{LedgerPage, OutcomeKey, StoredOutcome, StoredResponse, Version, Write},
};

/// The present, in Unix seconds.
const NOW_SECS: i64 = 1_800_000_000;
/// The key that signs the vouchers.
const KEY: [u8; 32] = [7; 32];

/// The present and `secs` more.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(NOW_SECS.saturating_add(secs))
}

/// Terms of a channel; every salt is another channel.
#[expect(clippy::unwrap_used, reason = "the key is a constant")]
pub(crate) fn terms(salt: u64) -> ChannelTerms {
    ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: mpp_tempo::network::CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer: LocalSigner::from_bytes(&KEY).unwrap().address(),
            payee: Address::repeat_byte(9),
            token: PATH_USD,
            salt: B256::left_padding_from(&salt.to_be_bytes()),
            ..ChannelDescriptor::default()
        },
    }
}

/// A voucher with a signature that the verifier accepts.
#[expect(clippy::unwrap_used, reason = "the key is a constant")]
pub(crate) fn voucher(terms: &ChannelTerms, cumulative: Amount) -> SignedVoucher {
    let signer = LocalSigner::from_bytes(&KEY).unwrap();
    let verifier = VoucherVerifier::new(terms);
    SignedVoucher {
        voucher: Voucher {
            channel_id: verifier.channel_id(),
            cumulative,
        },
        signature: signer.sign_digest_sync(&verifier.digest(cumulative)).into(),
    }
}

/// A channel in service that has accepted 1,000 of 2,000 and spent nothing.
pub(crate) fn record(salt: u64) -> Arc<ChannelRecord> {
    let terms = terms(salt);
    Arc::new(ChannelRecord {
        id: terms.id(),
        best: Some(voucher(&terms, Amount::new(1_000))),
        terms,
        deposit: Amount::new(2_000),
        spent: Amount::ZERO,
        settled: Amount::ZERO,
        units: 0,
        unsettled: Unsettled::default(),
        phase: Phase::Open,
        stream: StreamEpoch(0),
        holds: Vec::new(),
        newest_hold: HoldId(0),
        newest_outcome: 0,
        opened_at: at(0),
        changed_at: at(0),
    })
}

/// A charge of one unit that leads to `spent`.
pub(crate) fn entry(record: &ChannelRecord) -> LedgerEntry {
    LedgerEntry {
        channel_id: record.id,
        at: record.changed_at,
        kind: LedgerKind::Charged,
        challenge_id: Some(challenge_id()),
        idempotency: None,
        cost: Amount::new(1),
        units: 1,
        accepted: record.accepted(),
        spent: record.spent,
        deposit: record.deposit,
    }
}

/// The `number`th outcome of a channel.
pub(crate) fn outcome(record: &ChannelRecord, number: u64, expires: Timestamp) -> StoredOutcome {
    StoredOutcome {
        key: outcome_key(record, number),
        channel_id: record.id,
        number,
        request: B256::repeat_byte(3),
        receipt: SessionReceipt::new(
            MethodName::tempo(),
            at(0),
            challenge_id(),
            record.id.to_string(),
            record.accepted(),
            record.spent,
        ),
        response: Some(StoredResponse {
            status: 200,
            headers: vec![("content-type".into(), "text/plain".into())],
            body: format!("answer {number}").into(),
        }),
        expires,
    }
}

/// Where [`outcome`] is found.
pub(crate) fn outcome_key(record: &ChannelRecord, number: u64) -> OutcomeKey {
    let number = B256::left_padding_from(&number.to_be_bytes());
    OutcomeKey(alloy_primitives::keccak256([record.id, number].concat()))
}

/// The first commit of a record.
pub(crate) fn first(next: Arc<ChannelRecord>) -> Write {
    Write {
        expected: None,
        next,
        entry: None,
        outcome: None,
    }
}

/// A commit that charges one base unit on top of a record.
pub(crate) fn charge(expected: Version, record: &ChannelRecord) -> Write {
    let mut next = record.clone();
    let one = Amount::new(1);
    next.spent = next.spent.checked_add(one).unwrap_or(next.spent);
    next.units = next.units.saturating_add(1);
    Write {
        expected: Some(expected),
        entry: Some(entry(&next)),
        next: Arc::new(next),
        outcome: None,
    }
}

/// The whole ledger, or that of one channel.
pub(crate) fn whole_ledger(channel: Option<mpp_tempo::ChannelId>) -> LedgerPage {
    LedgerPage {
        channel,
        after: 0,
        limit: 100_000,
    }
}

#[expect(clippy::unwrap_used, reason = "the text is a constant")]
pub(crate) fn challenge_id() -> ChallengeId {
    ChallengeId::new("x4yV8QkAqJv1sF0QmQm8nL2bCwq7d0e5RzT3uPjK9aE").unwrap()
}
