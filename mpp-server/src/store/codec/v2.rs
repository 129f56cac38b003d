//! Version 2 of the stored form of a record: version 1, and what a settlement
//! needs behind it.

use mpp_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    CodecError,
    v1::{self, Voucher, timestamp},
};
use crate::session::record::{ChannelRecord, Unsettled};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    base: v1::Record,
    earned: Option<Voucher>,
    ahead: Option<Voucher>,
    since: Option<i64>,
    units: u64,
}

impl From<&ChannelRecord> for Record {
    fn from(record: &ChannelRecord) -> Self {
        let unsettled = &record.unsettled;
        Self {
            base: record.into(),
            earned: unsettled.earned.as_ref().map(Into::into),
            ahead: unsettled.ahead.as_ref().map(Into::into),
            since: unsettled.since.map(Timestamp::as_millis),
            units: unsettled.units,
        }
    }
}

impl TryFrom<Record> for ChannelRecord {
    type Error = CodecError;

    fn try_from(stored: Record) -> Result<Self, CodecError> {
        let mut record = Self::try_from(stored.base)?;
        let id = record.id;
        record.unsettled = Unsettled {
            earned: stored.earned.map(|voucher| voucher.of(id)).transpose()?,
            ahead: stored.ahead.map(|voucher| voucher.of(id)).transpose()?,
            since: stored.since.map(timestamp).transpose()?,
            units: stored.units,
        };
        Ok(record)
    }
}
