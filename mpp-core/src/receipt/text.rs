//! Writing session receipts without allocating.

use alloc::vec::Vec;

use super::SessionReceipt;
use crate::amount::Amount;
use crate::encoding::json;
use crate::time::{Timestamp, TimestampText};

/// A [`SessionReceipt`] whose texts are borrowed, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct SessionReceiptText<'a> {
    /// The payment method.
    pub method: &'a str,
    /// The payment intent.
    pub intent: &'a str,
    /// When the state below was committed.
    pub timestamp: Timestamp,
    /// The reference, which is the channel id.
    pub reference: &'a str,
    /// The challenge the request was paid under.
    pub challenge_id: &'a str,
    /// The channel id.
    pub channel_id: &'a str,
    /// The highest voucher the server holds, in base units.
    pub accepted_cumulative: Amount,
    /// What has been charged on the channel, in base units.
    pub spent: Amount,
    /// Units this request has consumed.
    pub units: Option<u64>,
    /// The transaction of an open, top-up or close.
    pub tx_hash: Option<&'a str>,
}

impl<'a> From<&'a SessionReceipt> for SessionReceiptText<'a> {
    fn from(receipt: &'a SessionReceipt) -> Self {
        Self {
            method: receipt.method.as_str(),
            intent: receipt.intent.as_str(),
            timestamp: receipt.timestamp,
            reference: &receipt.reference,
            challenge_id: receipt.challenge_id.as_str(),
            channel_id: &receipt.channel_id,
            accepted_cumulative: receipt.accepted_cumulative,
            spent: receipt.spent,
            units: receipt.units,
            tx_hash: receipt.tx_hash.as_deref(),
        }
    }
}

impl SessionReceiptText<'_> {
    /// Appends the JSON form, as serde writes the owned receipt.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        let mut member = |name: &str, text: &str| {
            out.extend_from_slice(name.as_bytes());
            write_text(text, out);
        };
        member(r#"{"method":"#, self.method);
        member(r#","intent":"#, self.intent);
        member(
            r#","status":"success","timestamp":"#,
            TimestampText::new(self.timestamp).as_str(),
        );
        member(r#","reference":"#, self.reference);
        member(r#","challengeId":"#, self.challenge_id);
        member(r#","channelId":"#, self.channel_id);
        let accepted = self.accepted_cumulative.base_units();
        member(r#","acceptedCumulative":"#, digits.format(accepted));
        member(r#","spent":"#, digits.format(self.spent.base_units()));
        if let Some(units) = self.units {
            out.extend_from_slice(br#","units":"#);
            out.extend_from_slice(digits.format(units).as_bytes());
        }
        if let Some(tx_hash) = self.tx_hash {
            out.extend_from_slice(br#","txHash":"#);
            write_text(tx_hash, out);
        }
        out.push(b'}');
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // A fold, not a search: the compiler makes vector code of it.
    let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |any, byte| any | special(byte)) {
        out.extend_from_slice(json::to_text(text).as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}
