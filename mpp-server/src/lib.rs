//! The server side of the Machine Payments Protocol, without a transport.
//!
//! A [`PaymentServer`] makes offers and decides about requests: an
//! [`Attempt`](gate::Attempt) goes in, a [`Decision`](gate::Decision) comes
//! out. Transports such as `mpp-http` translate.
//!
//! ```text
//! Credential -> BoundCredential -> VerifiedVoucher -> Step -> Durable -> Grant
//!               (HMAC, route)      (curve)            (rules) (stored)  (served)
//! ```

#![forbid(unsafe_code)]

pub mod bootstrap;
pub mod charge;
pub mod clock;
pub mod error;
pub mod event;
pub mod gate;
pub mod health;
#[cfg(feature = "reproducible")]
pub mod reproducible;
pub mod session;
pub mod settle;
pub mod sponsor;
pub mod store;

mod broadcast;
mod keeper;
mod random;
mod server;
mod sweep;
mod tasks;
#[cfg(test)]
mod testing;
mod trial;

#[cfg(feature = "embedded")]
pub use self::store::embedded::{EmbeddedStore, SyncMode};
pub use self::{
    bootstrap::ChannelResolver,
    charge::{ChargeOffer, Refund, RefundError},
    error::{Failure, Fault, Misuse, Rejection},
    event::ServerEvent,
    gate::{Offer, Route},
    health::Health,
    server::{Builder, PaymentServer, Shutdown},
    session::{BadSignatureLimit, SessionOffer, StreamOptions},
    settle::{
        Adoption, Collected, Deadlines, FollowPolicy, Rescue, Rescued, SettlePolicy,
        reconcile::Reconciled,
    },
    sponsor::{SponsorBudget, SponsorHealth},
    store::{ChannelStore, Durability, MemoryStore},
    tasks::TaskLost,
};
