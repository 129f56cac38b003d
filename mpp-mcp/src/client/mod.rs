//! The client half: calls that pay when they must.
//!
//! A [`PayingClient`] sends calls over any [`Transport`] of JSON-RPC messages.
//! When a server answers that payment is required, it pays within its
//! [`Policy`](mpp_client::Policy): the first paid call opens a channel, later
//! ones only sign vouchers. For rmcp, there is [`crate::rmcp::PayingPeer`].

pub(crate) mod answer;
mod call;
mod paying;
mod track;
mod wire;

pub use self::{
    call::CallOptions,
    paying::{PaidReply, PayingClient},
    wire::{Reply, Transport},
};

#[cfg(feature = "rmcp")]
pub(crate) use self::wire::unwritten;
pub(crate) use self::{call::Credentials, track::Track};

use mpp_core::{IntentName, MethodName};

use crate::Capability;

/// What this client can pay with, for the handshake and for each call.
#[must_use]
pub fn capability() -> Capability {
    let mut capability = Capability::default();
    capability.add(&MethodName::tempo(), &IntentName::session());
    capability
}
