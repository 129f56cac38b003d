//! One-time payments: charges of the method `tempo` (PROTOCOL 4).
//!
//! A charge is written into the book before it is signed, within the policy's budgets, and stays
//! there until its fate is known: a server's receipt, or the chain, says that it was paid; or it
//! can not be mined anymore. A challenge is paid once, whatever happens in between.

mod offer;
mod pay;
mod proof;
mod record;
mod resolve;
#[cfg(feature = "rpc-wallet")]
mod rpc_wallet;
mod wallet;

pub use self::offer::ChargeOffer;
pub use self::record::{ChargeId, ChargeRecord, ChargeState, ChargeSummary};
pub use self::resolve::judge;
pub use self::wallet::{Wallet, WalletError};

pub(crate) use self::pay::{CredentialIs, Ticket};
pub(crate) use self::record::purchase;

#[cfg(test)]
mod tests;
