//! What the book knows of one channel.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::{Amount, Challenge};
use mpp_tempo::{ChannelId, ChannelTerms, SessionProtocol, SignedVoucher};
use serde::{Deserialize, Serialize};

use crate::session::ledger::Ledger;
use crate::session::recover::is_over;

/// What makes one channel fit a request: who pays whom, in what, through what, at which server.
///
/// The origin is part of it because a channel lives in the books of one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelKey {
    /// `scheme://host:port` of the server.
    pub origin: String,
    /// The chain.
    pub chain_id: u64,
    /// The protocol version.
    pub protocol: SessionProtocol,
    /// The escrow.
    pub escrow: Address,
    /// Who pays, and signs the vouchers.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// Who may settle beside the payee; zero if nobody.
    pub operator: Address,
    /// The token.
    pub token: Address,
}

/// The record of one channel.
///
/// Id, key, terms and open never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRecord {
    /// The channel id, derived from the terms.
    pub id: ChannelId,
    /// Which requests the channel serves.
    pub key: ChannelKey,
    /// The terms; they never change.
    pub terms: ChannelTerms,
    /// Where the channel is in its life.
    pub phase: Phase,
    /// The accounts.
    pub ledger: Ledger,
    /// How the channel was, or is to be, opened; `None` for one that was recovered from the
    /// server's snapshot.
    pub open: Option<OpenAttempt>,
    /// The highest voucher that was signed.
    #[serde(with = "signed")]
    pub best: SignedVoucher,
    /// A top-up whose fate is not known yet.
    pub top_up: Option<PendingTopUp>,
    /// Unix second from which no top-up that was ever signed can be mined anymore.
    /// Not in records of older versions.
    #[serde(default)]
    pub grows_until: u64,
}

impl ChannelRecord {
    /// Unix second from which the open transaction can not be mined anymore; zero when the channel
    /// is known to have been opened.
    pub(crate) fn open_valid_before(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.valid_before)
    }

    /// Takes over the deposit that the chain showed at its time `chain_now`, and says whether the
    /// record agrees with it now.
    ///
    /// Less than is known is believed only once every top-up has been mined or never will be. Until
    /// then it may be what a node shows that lags behind, and the next top-up would lead beyond what
    /// the policy allows.
    pub(crate) fn see_deposit(&mut self, deposit: Amount, chain_now: u64) -> bool {
        let is_believed = deposit >= self.ledger.deposit() || is_over(chain_now, self.grows_until);
        if is_believed {
            self.ledger.set_deposit(deposit);
        }
        is_believed
    }

    /// What the channel was opened with, in base units, as far as is known.
    pub(crate) fn opened_with(&self) -> Amount {
        let deposit = self.ledger.deposit();
        self.open.as_ref().map_or(deposit, |open| open.deposit)
    }
}

/// Where a channel is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Phase {
    /// The open transaction is signed; nobody has confirmed it.
    Opening,
    /// A server has confirmed it.
    Open,
    /// The server was asked to close and has not confirmed.
    Closing,
    /// The server says that it has closed the channel; the chain has not shown that yet. Until it
    /// does the deposit may be there.
    CloseConfirmed {
        /// The settlement that the server names.
        tx_hash: Option<B256>,
    },
    /// The payer wants the deposit back without the server; whether the chain was asked to close is
    /// not known yet.
    Leaving,
    /// The chain was asked to close, at this Unix second of its clock.
    CloseRequested {
        /// When the request was mined.
        at: u64,
    },
    /// The server does not serve the channel anymore; it may hold money.
    Stale {
        /// What the server said.
        reason: StaleReason,
    },
    /// Closed; the rest of the deposit went back.
    Closed {
        /// The settlement or withdrawal, if known.
        tx_hash: Option<B256>,
    },
    /// The open transaction was never mined and never will be.
    NeverOpened,
}

impl Phase {
    /// Whether requests may use the channel.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        matches!(self, Self::Opening | Self::Open)
    }

    /// Whether the payer is on its way out of the channel without the server.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        matches!(self, Self::Leaving | Self::CloseRequested { .. })
    }

    /// Whether the channel may hold money on chain.
    #[must_use]
    pub const fn may_hold_money(&self) -> bool {
        !matches!(self, Self::Closed { .. } | Self::NeverOpened)
    }
}

/// Why a server stopped serving a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StaleReason {
    /// It does not know the channel (anymore).
    NotFound,
    /// It says that the channel is closed or closing.
    Finalized,
    /// It refused to open the channel.
    OpenRefused,
    /// The book had lost it; it was found on chain.
    Found,
}

/// The open as it was signed, so that it can be repeated with the same bytes. `Debug` leaves the
/// transaction out: whoever has it can send it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAttempt {
    /// The signed transaction as it goes into the credential.
    pub transaction: Bytes,
    /// Hash of those bytes; a sponsored transaction has another hash on chain.
    pub tx_hash: B256,
    /// Unix second from which the transaction can not be mined anymore.
    pub valid_before: u64,
    /// What is deposited, in base units.
    pub deposit: Amount,
    /// The voucher that goes with it.
    #[serde(with = "signed")]
    pub first_voucher: SignedVoucher,
    /// The challenge that the open answered first.
    pub challenge: Challenge,
}

/// A top-up as it was signed. `Debug` leaves the transaction out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingTopUp {
    /// The signed transaction as it goes into the credential.
    pub transaction: Bytes,
    /// Hash of those bytes.
    pub tx_hash: B256,
    /// Unix second from which the transaction can not be mined anymore.
    pub valid_before: u64,
    /// What is added, in base units.
    pub additional: Amount,
    /// The deposit before, in base units.
    pub deposit_before: Amount,
}

impl PendingTopUp {
    /// The deposit once it is mined, in base units.
    pub(crate) fn deposit_after(&self) -> Amount {
        self.deposit_before
            .checked_add(self.additional)
            .unwrap_or(Amount::MAX)
    }
}

impl fmt::Debug for OpenAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAttempt")
            .field("tx_hash", &self.tx_hash)
            .field("valid_before", &self.valid_before)
            .field("deposit", &self.deposit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingTopUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingTopUp")
            .field("tx_hash", &self.tx_hash)
            .field("valid_before", &self.valid_before)
            .field("additional", &self.additional)
            .finish_non_exhaustive()
    }
}

/// A channel in short, for people and monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSummary {
    /// The channel.
    pub channel_id: ChannelId,
    /// The server it belongs to.
    pub origin: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// What it holds on chain, settled parts included, in base units.
    pub deposit: Amount,
    /// The highest cumulative amount that was signed, in base units.
    pub signed: Amount,
    /// What receipts confirm as spent, in base units.
    pub spent: Amount,
}

impl From<&ChannelRecord> for ChannelSummary {
    fn from(record: &ChannelRecord) -> Self {
        Self {
            channel_id: record.id,
            origin: record.key.origin.clone(),
            phase: record.phase.clone(),
            deposit: record.ledger.deposit(),
            signed: record.ledger.signed(),
            spent: record.ledger.spent(),
        }
    }
}

/// Signed vouchers in the form that snapshots have on the wire.
pub(super) mod signed {
    use mpp_tempo::SignedVoucher;
    use mpp_tempo::wire::HighestVoucher;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        signed: &SignedVoucher,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        HighestVoucher::from(signed).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SignedVoucher, D::Error> {
        HighestVoucher::deserialize(deserializer).map(|voucher| voucher.to_signed())
    }
}
