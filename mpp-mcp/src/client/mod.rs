//! The client half: calls that pay when they must.
//!
//! A [`PayingClient`] sends calls over any [`Transport`] of JSON-RPC messages.
//! When a server answers that payment is required, it pays within its
//! [`Policy`](mpp_client::Policy): the first paid call opens a channel, later
//! ones only sign vouchers. For rmcp, there is [`crate::rmcp::PayingPeer`].

pub(crate) mod answer;
mod call;
mod paying;
mod wire;

pub use self::{
    call::CallOptions,
    paying::{PaidReply, PayingClient},
    wire::{Reply, Transport},
};

pub(crate) use self::{call::Credentials, wire::CallWire};

#[cfg(feature = "rmcp")]
pub(crate) use self::wire::Caller;

use mpp_client::Payer;

use crate::Capability;

/// What a payer can pay with, for the handshake.
#[must_use]
pub fn capability(payer: &Payer) -> Capability {
    Capability::of_accept_payment(payer.accept_payment())
}
