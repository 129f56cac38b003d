//! Requests of the two intents, without what one payment method adds.

mod charge;
mod session;

pub use self::charge::ChargeIntent;
pub use self::session::SessionIntent;

#[cfg(test)]
mod tests;
