//! A committed record as its payer is told of it.

use mpp_tempo::{
    SessionProtocol,
    wire::{HighestVoucher, SessionSnapshot},
};

use crate::session::record::{ChannelRecord, Phase};

/// The snapshot of a v2 channel in service.
///
/// Nothing is asked for with the request that it answers, so what that needs is
/// what was spent. Without a voucher the client could not tell the snapshot
/// from an invented one: then there is none.
pub(super) fn of(record: &ChannelRecord) -> Option<SessionSnapshot> {
    if record.terms.protocol != SessionProtocol::V2 || record.phase != Phase::Open {
        return None;
    }
    let best = record.best.as_ref()?;
    Some(SessionSnapshot {
        accepted_cumulative: best.voucher.cumulative,
        chain_id: record.terms.chain_id,
        channel_id: record.id,
        close_requested_at: None,
        deposit: record.deposit,
        descriptor: record.terms.descriptor,
        escrow: record.terms.escrow,
        highest_voucher: Some(HighestVoucher::from(best)),
        required_cumulative: record.spent,
        settled: record.settled,
        spent: record.spent,
        units: Some(record.units),
    })
}
