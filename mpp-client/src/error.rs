//! Everything that can end a paid request.

use std::error::Error;
use std::fmt;

use alloy_primitives::B256;
use mpp_core::{Amount, Problem, Receipt};
use mpp_tempo::chain::ChainError;
use mpp_tempo::voucher::SignVoucherError;
use mpp_tempo::{ChannelId, SignerError};

use crate::charge::{ChargeSummary, WalletError};
use crate::offer::Unpayable;
use crate::policy::PolicyViolation;
use crate::session::book::BookError;
use crate::session::ledger::Discrepancy;
use crate::session::resume::SnapshotRefused;
use crate::text::Printable;

/// Why a paid request did not succeed.
///
/// Only [`ClientError::Indeterminate`] and [`ClientError::ChargeIndeterminate`] mean that money may
/// have moved without a good answer; after
/// every other error the request was not charged, as far as an honest server goes. Text of a
/// server is escaped in `Display`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The policy does not allow it; nothing was signed.
    #[error(transparent)]
    Policy(#[from] PolicyViolation),
    /// The server refused the payment and said why.
    #[error("the server refused the payment: {}: {}", Printable(.0.title()), Printable(&.0.detail))]
    Problem(Box<Problem>),
    /// The server kept refusing; the last reason.
    #[error("the payment was refused {attempts} times, at last: {}", Printable(.problem.title()))]
    Exhausted {
        /// How often the request was sent.
        attempts: u32,
        /// The last reason.
        problem: Box<Problem>,
    },
    /// The answer was lost: the payment may or may not have happened.
    ///
    /// The channel's accounts keep covering it until a later receipt shows the truth.
    #[error("the answer was lost; a payment of {cost} on channel {channel_id} may have happened")]
    Indeterminate {
        /// The channel.
        channel_id: ChannelId,
        /// The transaction whose fate is not known, if one was sent.
        tx_hash: Option<B256>,
        /// The cumulative amount of the voucher that was sent, in base units.
        cumulative: Amount,
        /// What the request may have cost, in base units.
        cost: Amount,
        /// What happened to the connection.
        source: TransportError,
    },
    /// A charge was paid, or may have been or may still be, and no receipt confirms it.
    ///
    /// [`Payer::resolve_charge`](crate::Payer::resolve_charge) finds out from the chain. Sending the
    /// request again under the same idempotency key presents the same payment; without that, it
    /// would be paid once more.
    #[error("a charge of {} may have been paid and was not confirmed", .charge.amount)]
    ChargeIndeterminate {
        /// What is known of the charge.
        charge: Box<ChargeSummary>,
        /// Why there is no receipt.
        source: Box<ClientError>,
    },
    /// The request was served and charged before, and its answer is not there any more: it was a
    /// stream, or too large for the server to keep.
    #[error("the server has delivered this answer already")]
    AlreadyDelivered {
        /// The receipt that it was given with.
        receipt: Box<Receipt>,
    },
    /// The server could not be reached, or broke off before anything was paid.
    #[error("the server could not be reached")]
    Transport(#[source] TransportError),
    /// The chain could not be asked, or refused a transaction.
    #[error("the chain did not do as asked")]
    Chain(#[from] ChainError),
    /// The wallet did not pay.
    #[error("the wallet did not pay")]
    Wallet(#[source] Box<WalletError>),
    /// A method of one's own did not pay, or does not believe the receipt.
    #[error("the payment method failed")]
    Method(#[source] Box<dyn Error + Send + Sync>),
    /// The key did not sign.
    #[error("the signer failed")]
    Signer(#[source] SignerError),
    /// A transaction or voucher could not be made.
    #[error("the payment can not be made: {0}")]
    Payment(&'static str),
    /// The server breaks the protocol, by mistake or by intent.
    #[error("the server breaks the protocol: {0}")]
    Protocol(&'static str),
    /// The server's challenge can not be answered.
    #[error(transparent)]
    Unpayable(#[from] Unpayable),
    /// The server's statement contradicts the client's own accounts.
    #[error(transparent)]
    Discrepancy(#[from] Discrepancy),
    /// The server told us of a channel that is not ours; nothing was opened beside it.
    #[error(transparent)]
    Snapshot(#[from] SnapshotRefused),
    /// The channel holds too little and the policy does not refill it.
    #[error("channel {channel_id} holds {deposit} and {required} is needed")]
    InsufficientDeposit {
        /// The channel.
        channel_id: ChannelId,
        /// What it would have to hold, in base units.
        required: Amount,
        /// What it holds, in base units.
        deposit: Amount,
    },
    /// Nothing tells whether an earlier open of this channel happened; ask again later.
    #[error("whether channel {channel_id} was opened is not known yet")]
    OpenUndecided {
        /// The channel.
        channel_id: ChannelId,
        /// The open transaction as it was signed.
        tx_hash: B256,
    },
    /// The answer is not what was asked for.
    #[error("the server answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The channel book failed.
    #[error("the channel book failed")]
    Book(#[from] BookError),
    /// The call can not work with this configuration or in this state.
    #[error("{0}")]
    Misuse(&'static str),
}

impl ClientError {
    pub(crate) fn problem(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<SignVoucherError> for ClientError {
    fn from(error: SignVoucherError) -> Self {
        match error {
            SignVoucherError::Signer(error) => Self::Signer(error),
            SignVoucherError::AmountTooLarge => {
                Self::Payment("the amount exceeds the protocol's range")
            }
            _ => Self::Payment("the channel belongs to another signer"),
        }
    }
}

/// What happened to a connection. Never holds a URL, a header or a body.
///
/// Boxed inside, so that [`ClientError`] stays small.
#[derive(Debug)]
pub struct TransportError(Box<Broken>);

#[derive(Debug)]
struct Broken {
    what: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TransportError {
    /// A failure that needs no further explanation.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self(Box::new(Broken { what, source: None }))
    }

    /// A failure with its cause.
    #[must_use]
    pub fn caused(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Some(source.into());
        Self(Box::new(Broken { what, source }))
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.what)
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use mpp_core::ProblemKind;

    use super::*;

    // SECURITY-CASES A27: terminal escapes in a server's text.
    #[test]
    fn the_servers_text_is_escaped() {
        let problem = Problem::new(ProblemKind::InvalidChallenge, "\u{1b}[2Jpaid");
        let shown = ClientError::problem(problem).to_string();
        assert!(shown.ends_with("\\u{1b}[2Jpaid"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn errors_are_small_enough_to_return() {
        assert!(
            size_of::<ClientError>() <= 128,
            "{}",
            size_of::<ClientError>()
        );
    }

    #[test]
    fn an_error_does_not_repeat_its_source() {
        let source = TransportError::caused("the connection broke", "reset by peer");
        let error = ClientError::Transport(source);
        assert_eq!(error.to_string(), "the server could not be reached");
        assert_eq!(error.source().unwrap().to_string(), "the connection broke");
    }
}
