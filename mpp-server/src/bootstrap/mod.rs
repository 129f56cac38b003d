//! Resuming a channel: who proves to be its payer is told its state.
//!
//! A client that has lost its records asks with `HEAD` and takes charges only
//! (`Accept-Payment: tempo/charge`). The route then asks for a charge of zero,
//! which is answered with a proof of identity, and that with the channel's
//! snapshot (PROTOCOL 5.8; draft-tempo-session-00, Bootstrap Preflight). The
//! snapshot holds the client's own highest voucher, so that the client can
//! tell it from an invented one. Only v2 channels have snapshots.

mod directory;
mod method;
mod snapshot;

use alloy_primitives::Address;
use mpp_core::receipt::Receipt;
use mpp_tempo::{SessionProtocol, channel::ChannelId, wire::SessionSnapshot};

pub(crate) use self::{
    directory::Directory,
    method::{ProofMethod, recognize},
};
use crate::{
    error::Fault,
    gate::BoxFuture,
    session::record::{ChannelRecord, Phase},
};

/// Finds the channel that a payer may go on with.
///
/// By default the server looks into its own store. What a resolver names is
/// checked: a channel of other parties, or one that is not in service, is
/// never told.
pub trait ChannelResolver: Send + Sync + std::fmt::Debug + 'static {
    /// A channel that `account` pays for, or signs the vouchers of, and that
    /// fits `wanted`; the newest of several.
    ///
    /// # Errors
    /// [`Fault`] when it can not be looked up; the client is told to try again.
    ///
    /// # Cancel safety
    /// Reads only.
    fn resolve<'a>(
        &'a self,
        account: Address,
        wanted: &'a Resumable,
    ) -> BoxFuture<'a, Result<Option<ChannelId>, Fault>>;

    /// Takes note of a channel that is open now.
    fn opened(&self, _record: &ChannelRecord) {}
}

/// What a channel must be like for an offer to take its vouchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumable {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Protocol version.
    pub protocol: SessionProtocol,
    /// Escrow that holds the channel.
    pub escrow: Address,
    /// Who is paid.
    pub payee: Address,
    /// Token of the channel.
    pub token: Address,
    /// Who may settle besides the payee; zero if nobody.
    pub operator: Address,
}

impl Resumable {
    /// Whether vouchers of this channel are taken.
    #[must_use]
    pub fn fits(&self, record: &ChannelRecord) -> bool {
        let (terms, parties) = (&record.terms, &record.terms.descriptor);
        let is_served = record.phase == Phase::Open && !record.deposit.is_zero();
        let actual = Self {
            chain_id: terms.chain_id,
            protocol: terms.protocol,
            escrow: terms.escrow,
            payee: parties.payee,
            token: parties.token,
            operator: parties.operator,
        };
        is_served && *self == actual
    }
}

/// A payer who has proven its identity.
#[derive(Clone, Debug)]
pub struct Recognized {
    /// The receipt of the proof.
    pub receipt: Receipt,
    /// The channel it can go on with, if there is one.
    pub snapshot: Option<Box<SessionSnapshot>>,
}

/// Whether the account may know the channel: it pays, or signs the vouchers.
fn concerns(record: &ChannelRecord, account: Address) -> bool {
    record.terms.descriptor.payer == account || record.terms.signer() == account
}

#[cfg(test)]
mod tests;
