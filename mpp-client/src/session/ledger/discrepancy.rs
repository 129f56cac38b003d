//! Contradictions between the server's accounts and ours.

use mpp_core::Amount;

/// How the server's statement contradicts the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// It charged more than it was ever given.
    #[error("the receipt claims more spent than accepted")]
    SpentAboveAccepted,
    /// It claims a voucher that was never signed.
    #[error("the receipt claims a voucher that was never signed")]
    AcceptedAboveSigned,
    /// It confirms a request but not the voucher that came with it.
    #[error("the receipt does not confirm the voucher that was sent")]
    AcceptedBelowPresented,
    /// A later receipt shows less spent than an earlier one.
    #[error("the receipt takes earlier spending back")]
    SpentWentBack,
    /// It charged for something that was not ordered.
    #[error("the server claims {claimed} base units where at most {explained} were ordered")]
    Unexplained {
        /// What the server says was or will be spent.
        claimed: Amount,
        /// What the orders explain.
        explained: Amount,
    },
    /// The receipt is about another channel.
    #[error("the receipt names another channel")]
    OtherChannel,
    /// The receipt is of another method or intent than was paid by.
    #[error("the receipt is of another intent or method")]
    OtherIntent,
    /// The receipt is for another challenge.
    #[error("the receipt names another challenge")]
    OtherChallenge,
    /// The receipt names another transaction than was signed.
    #[error("the receipt names another transaction")]
    OtherTransaction,
    /// The receipt names another order of the merchant than the challenge did.
    #[error("the receipt names another order")]
    OtherOrder,
    /// Amounts do not fit; only a hostile statement can cause this.
    #[error("amounts are out of range")]
    Overflow,
}
