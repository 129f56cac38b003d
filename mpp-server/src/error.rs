//! The three families of errors: the peer's, ours, and the caller's.

use mpp_core::{
    Amount,
    problem::{Problem, ProblemKind},
};
use mpp_tempo::{channel::ChannelId, voucher::VoucherError};

/// The peer's fault: refused, with what to do next.
///
/// [`Problem::from`] turns each into the problem body of PROTOCOL 1.3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No credential came with the request.
    #[error("payment is required for this resource")]
    PaymentRequired,
    /// More than one payment credential, or one that is too large.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The credential is not base64url JSON of the expected form.
    #[error("the credential can not be read: {0}")]
    MalformedCredential(String),
    /// The echoed challenge was not issued by this server for this route.
    #[error("{0}")]
    InvalidChallenge(&'static str),
    /// The echoed challenge has expired, or carries no usable expiry.
    #[error("the challenge has expired")]
    ChallengeExpired,
    /// The credential answers a method or intent that is not offered here.
    #[error("this method or intent is not offered")]
    MethodUnsupported,
    /// The payload does not follow the method's schema.
    #[error("{0}")]
    InvalidPayload(String),
    /// The payment proof does not hold.
    #[error("{0}")]
    VerificationFailed(String),
    /// A proof of identity comes a second time.
    #[error("the proof has been used")]
    ProofReplayed,
    /// Too many bad proofs of one account from this address, or payments, opens
    /// or top-ups that nothing came of.
    #[error("too many proofs or payments that were not valid; try again later")]
    TooManyProofs,
    /// A payment is being processed, or a request is being served for it.
    #[error("this payment is being processed; repeat the request later")]
    ChargeInProgress,
    /// The transaction of a payment is not mined, or not seen yet.
    #[error("the transaction is not mined yet; repeat the request later")]
    ChargeNotMined,
    /// The idempotency key belongs to a paid request that asks for something
    /// else.
    #[error("the idempotency key was used for another request")]
    ChargeKeyReused,
    /// The grant of a paid request is gone: it ran out while nobody renewed
    /// it. What was paid is still there.
    #[error("the request took too long; repeat it")]
    ChargeLapsed,
    /// The server pays no more fees for this payer, or for anybody, now.
    #[error("fees are not sponsored any more for now; pay them, or try again later")]
    SponsorBudget,
    /// A top-up answers a challenge that is unknown or has expired.
    #[error("the challenge of this top-up is unknown or has expired")]
    TopUpChallenge {
        /// The channel.
        channel_id: ChannelId,
    },
    /// No such channel, or its deposit is gone.
    #[error("no open channel has this id")]
    ChannelNotFound {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The channel is closed or closing.
    #[error("{why}")]
    ChannelFinalized {
        /// The channel.
        channel_id: ChannelId,
        /// Which of the two.
        why: &'static str,
    },
    /// The voucher's signature is malformed or not canonical.
    #[error("the voucher's signature is not valid")]
    InvalidSignature {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The voucher is signed by somebody else.
    #[error("the voucher is not signed by the channel's signer")]
    SignerMismatch {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The voucher authorizes more than the channel holds.
    #[error("the voucher exceeds the channel's deposit")]
    AmountExceedsDeposit {
        /// The channel.
        channel_id: ChannelId,
        /// The deposit, in base units.
        deposit: Amount,
    },
    /// The voucher lies below the accepted one, or rises by too little.
    #[error(
        "the voucher is below the accepted amount, or above it by less than {min_delta} base units"
    )]
    DeltaTooSmall {
        /// The channel.
        channel_id: ChannelId,
        /// The accepted amount, in base units.
        accepted: Amount,
        /// Smallest increase, in base units.
        min_delta: Amount,
    },
    /// The balance does not cover the price.
    #[error("the balance lacks {} base units", .0.required_top_up)]
    InsufficientBalance(Shortage),
    /// A close voucher that does not fit what is owed.
    #[error("the close voucher must be for {required} base units")]
    CloseAmount {
        /// The channel.
        channel_id: ChannelId,
        /// The cumulative amount a close needs, in base units.
        required: Amount,
    },
    /// A newer stream on the channel took over.
    #[error("a newer stream on this channel has taken over")]
    StreamSuperseded {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The same idempotent request is being served right now.
    #[error("this request is being served; repeat it later")]
    RequestInProgress {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The idempotency key belongs to a request that asks for something else.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused {
        /// The channel.
        channel_id: ChannelId,
    },
    /// What was held for the request is gone: its channel is being closed, or
    /// the hold ran out while nobody renewed it. The request was not charged.
    #[error("the request took too long or its channel was closed; it was not charged")]
    HoldGone {
        /// The channel.
        channel_id: ChannelId,
    },
    /// More requests of one channel at once than a server takes.
    #[error("too many requests of this channel are being served; try again later")]
    TooManyHolds {
        /// The channel.
        channel_id: ChannelId,
    },
    /// Nothing can be collected from the payer's account at the moment, and
    /// what is unsettled has reached what may be lost.
    #[error("nothing can be collected from this channel at the moment; try again later")]
    ExposureReached {
        /// The channel.
        channel_id: ChannelId,
    },
    /// More is to be given back than was charged and not collected yet.
    #[error("at most {most} base units can be given back, and not nothing")]
    CreditTooLarge {
        /// The channel.
        channel_id: ChannelId,
        /// The most, in base units.
        most: Amount,
    },
    /// The chain knows more of the channel than the server does.
    #[error("this channel is under review by the operator; try again later")]
    Quarantined {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The server has not seen the chain for a while, and this would add to
    /// what it can not settle.
    #[error("the chain was not seen for a while; try again later")]
    ChainNotSeen {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The open or a top-up of the channel can still be taken back, and this
    /// would rest on it.
    #[error("the channel's deposit is not final yet; try again later")]
    NotFinal {
        /// The channel.
        channel_id: ChannelId,
    },
    /// Too many bad signatures for this channel from this address.
    #[error("too many invalid vouchers; try again later")]
    RateLimited {
        /// The channel.
        channel_id: ChannelId,
    },
}

/// How much is missing, and what would cover it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The channel.
    pub channel_id: ChannelId,
    /// `cost - available`, in base units.
    pub required_top_up: Amount,
    /// The smallest cumulative amount that pays for this, in base units.
    pub required_cumulative: Amount,
    /// The accepted amount, in base units.
    pub accepted: Amount,
    /// The deposit, in base units.
    pub deposit: Amount,
}

impl Rejection {
    /// The problem type this becomes.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::PaymentRequired => ProblemKind::PaymentRequired,
            Self::BadRequest(_) | Self::CreditTooLarge { .. } => ProblemKind::BadRequest,
            Self::MalformedCredential(_) => ProblemKind::MalformedCredential,
            Self::InvalidChallenge(_) => ProblemKind::InvalidChallenge,
            Self::ChallengeExpired => ProblemKind::PaymentExpired,
            Self::MethodUnsupported => ProblemKind::MethodUnsupported,
            Self::InvalidPayload(_) => ProblemKind::InvalidPayload,
            Self::VerificationFailed(_) => ProblemKind::VerificationFailed,
            Self::ProofReplayed => ProblemKind::ProofReplayed,
            Self::ChargeInProgress | Self::ChargeNotMined => ProblemKind::RequestInProgress,
            Self::ChargeKeyReused => ProblemKind::IdempotencyKeyReused,
            Self::ChargeLapsed => ProblemKind::ServiceUnavailable,
            Self::SponsorBudget => ProblemKind::RateLimited,
            Self::TopUpChallenge { .. } => ProblemKind::ChallengeNotFound,
            Self::ChannelNotFound { .. } => ProblemKind::ChannelNotFound,
            Self::ChannelFinalized { .. } => ProblemKind::ChannelFinalized,
            Self::InvalidSignature { .. } => ProblemKind::InvalidSignature,
            Self::SignerMismatch { .. } => ProblemKind::SignerMismatch,
            Self::AmountExceedsDeposit { .. } => ProblemKind::AmountExceedsDeposit,
            Self::DeltaTooSmall { .. } => ProblemKind::DeltaTooSmall,
            Self::InsufficientBalance(_) | Self::CloseAmount { .. } => {
                ProblemKind::InsufficientBalance
            }
            Self::StreamSuperseded { .. } => ProblemKind::VerificationFailed,
            Self::RequestInProgress { .. } => ProblemKind::RequestInProgress,
            Self::IdempotencyKeyReused { .. } => ProblemKind::IdempotencyKeyReused,
            // The peer did nothing wrong and may send the same request again.
            Self::HoldGone { .. }
            | Self::Quarantined { .. }
            | Self::ExposureReached { .. }
            | Self::ChainNotSeen { .. }
            | Self::NotFinal { .. } => ProblemKind::ServiceUnavailable,
            Self::RateLimited { .. } | Self::TooManyHolds { .. } | Self::TooManyProofs => {
                ProblemKind::RateLimited
            }
        }
    }

    /// The channel this is about.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        match self {
            Self::TopUpChallenge { channel_id }
            | Self::ChannelNotFound { channel_id }
            | Self::ChannelFinalized { channel_id, .. }
            | Self::InvalidSignature { channel_id }
            | Self::SignerMismatch { channel_id }
            | Self::AmountExceedsDeposit { channel_id, .. }
            | Self::DeltaTooSmall { channel_id, .. }
            | Self::CloseAmount { channel_id, .. }
            | Self::StreamSuperseded { channel_id }
            | Self::CreditTooLarge { channel_id, .. }
            | Self::RequestInProgress { channel_id }
            | Self::IdempotencyKeyReused { channel_id }
            | Self::HoldGone { channel_id }
            | Self::TooManyHolds { channel_id }
            | Self::ExposureReached { channel_id }
            | Self::Quarantined { channel_id }
            | Self::ChainNotSeen { channel_id }
            | Self::NotFinal { channel_id }
            | Self::RateLimited { channel_id } => Some(*channel_id),
            Self::InsufficientBalance(shortage) => Some(shortage.channel_id),
            Self::PaymentRequired
            | Self::BadRequest(_)
            | Self::MalformedCredential(_)
            | Self::InvalidChallenge(_)
            | Self::ChallengeExpired
            | Self::MethodUnsupported
            | Self::InvalidPayload(_)
            | Self::VerificationFailed(_)
            | Self::ProofReplayed
            | Self::ChargeInProgress
            | Self::ChargeNotMined
            | Self::ChargeKeyReused
            | Self::ChargeLapsed
            | Self::SponsorBudget
            | Self::TooManyProofs => None,
        }
    }

    /// What the curve said, as the peer may know it: that, not why.
    pub(crate) fn from_voucher(error: &VoucherError, channel_id: ChannelId) -> Self {
        match error {
            VoucherError::SignerMismatch { .. } => Self::SignerMismatch { channel_id },
            _ => Self::InvalidSignature { channel_id },
        }
    }
}

impl From<&Rejection> for Problem {
    fn from(rejection: &Rejection) -> Self {
        let mut problem = Self::new(rejection.kind(), rejection.to_string());
        problem.channel_id = rejection.channel_id().map(|id| id.to_string());
        match rejection {
            Rejection::InsufficientBalance(shortage) => {
                problem.required_top_up = Some(shortage.required_top_up);
                problem.required_cumulative = Some(shortage.required_cumulative);
                problem.accepted_cumulative = Some(shortage.accepted);
                problem.deposit = Some(shortage.deposit);
            }
            Rejection::DeltaTooSmall { accepted, .. } => {
                problem.accepted_cumulative = Some(*accepted);
            }
            Rejection::AmountExceedsDeposit { deposit, .. } => problem.deposit = Some(*deposit),
            Rejection::CloseAmount { required, .. } => {
                problem.required_cumulative = Some(*required);
            }
            Rejection::PaymentRequired
            | Rejection::BadRequest(_)
            | Rejection::MalformedCredential(_)
            | Rejection::InvalidChallenge(_)
            | Rejection::ChallengeExpired
            | Rejection::MethodUnsupported
            | Rejection::InvalidPayload(_)
            | Rejection::VerificationFailed(_)
            | Rejection::ProofReplayed
            | Rejection::ChargeInProgress
            | Rejection::ChargeNotMined
            | Rejection::ChargeKeyReused
            | Rejection::ChargeLapsed
            | Rejection::SponsorBudget
            | Rejection::TooManyProofs
            | Rejection::TopUpChallenge { .. }
            | Rejection::ChannelNotFound { .. }
            | Rejection::ChannelFinalized { .. }
            | Rejection::InvalidSignature { .. }
            | Rejection::SignerMismatch { .. }
            | Rejection::StreamSuperseded { .. }
            | Rejection::CreditTooLarge { .. }
            | Rejection::RequestInProgress { .. }
            | Rejection::IdempotencyKeyReused { .. }
            | Rejection::HoldGone { .. }
            | Rejection::TooManyHolds { .. }
            | Rejection::ExposureReached { .. }
            | Rejection::Quarantined { .. }
            | Rejection::ChainNotSeen { .. }
            | Rejection::NotFinal { .. }
            | Rejection::RateLimited { .. } => {}
        }
        problem
    }
}

/// Our fault, or a backend's: the peer did nothing wrong and may retry.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The store failed; nothing was served. A commit whose acknowledgement
    /// was lost may still have happened.
    #[error("the channel store failed")]
    Store(#[from] crate::store::StoreFault),
    /// The chain could not be reached or did not answer in time.
    #[error("the chain did not answer")]
    Chain(#[from] mpp_tempo::chain::ChainError),
    /// The server's own signer failed.
    #[error("the server's signer failed")]
    Signer(#[from] mpp_tempo::signer::SignerError),
    /// The fee payer does not hold what a transaction could cost it.
    #[error("the fee payer does not hold the fee")]
    SponsorDry,
    /// A transaction was sent; whether it was mined is not known yet.
    #[error("the transaction's outcome is not known yet; repeat the request")]
    OutcomeUnknown,
    /// The server is being shut down and takes no new requests.
    #[error("the server is being shut down")]
    ShuttingDown,
    /// Another process has taken over collecting; nothing was written.
    #[error("another process collects now")]
    NotLeading,
    /// The process that collects was asked to settle, and has not answered in
    /// time. The demand is recorded, and met when it can be.
    #[error("the process that collects has not settled yet; it has been asked to")]
    DemandPending,
    /// A background task ended early.
    #[error(transparent)]
    Task(#[from] crate::tasks::TaskLost),
    /// The chain contradicts itself or us; a person must look.
    #[error("{0}")]
    Inconsistent(&'static str),
}

impl Fault {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(fault) => fault.is_transient(),
            Self::Chain(error) => error.is_transient(),
            Self::Signer(_)
            | Self::SponsorDry
            | Self::OutcomeUnknown
            | Self::ShuttingDown
            | Self::NotLeading
            | Self::DemandPending
            | Self::Task(_) => true,
            Self::Inconsistent(_) => false,
        }
    }
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Self {
        let kind = if fault.is_transient() {
            ProblemKind::ServiceUnavailable
        } else {
            ProblemKind::Internal
        };
        // The detail never names a backend: it is for the peer.
        let detail = match fault {
            Fault::OutcomeUnknown => fault.to_string(),
            _ => String::from("the payment could not be processed now"),
        };
        Self::new(kind, detail)
    }
}

/// Either family, as the driver and the methods return them.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The peer's fault.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<crate::store::StoreFault> for Failure {
    fn from(fault: crate::store::StoreFault) -> Self {
        Self::Fault(fault.into())
    }
}

/// The caller's configuration does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum Misuse {
    /// A required parameter is missing.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// A price or deposit is not an exact, positive amount.
    #[error("`{parameter}` is not a usable amount: {reason}")]
    Amount {
        /// Which parameter.
        parameter: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A parameter has a value that can not work.
    #[error("{0}")]
    Invalid(&'static str),
}

#[cfg(test)]
mod tests;
