//! Vouchers from a credential's text, without building JSON values.

use alloy_primitives::{FixedBytes, hex};
use mpp_core::Amount;
use mpp_core::encoding::flat::{FlatObject, FlatText};

use super::SessionPayload;
use crate::channel::ChannelDescriptor;
use crate::voucher::VoucherSignature;

/// Reads a voucher; `None` wherever the general reader has to decide.
pub(super) fn voucher(payload: FlatObject<'_>) -> Option<SessionPayload> {
    let (mut action, mut channel_id, mut cumulative_amount) = (None, None, None);
    let (mut signature, mut descriptor) = (None, None);
    for (name, value) in payload.members() {
        match name {
            b"action" => action = value.text(),
            b"channelId" => channel_id = value.text().and_then(bytes),
            b"cumulativeAmount" => {
                let amount = value.text()?.as_str().parse::<Amount>();
                cumulative_amount = Some(amount.ok()?);
            }
            b"signature" => {
                let parsed = VoucherSignature::from_hex(value.text()?.as_str());
                signature = Some(parsed.ok()?);
            }
            b"descriptor" => descriptor = Some(read_descriptor(value.object()?)?),
            // Unknown members are ignored.
            _ => {}
        }
    }
    if action?.as_bytes() != b"voucher" {
        return None;
    }
    Some(SessionPayload::Voucher {
        channel_id: channel_id?,
        descriptor,
        cumulative_amount: cumulative_amount?,
        signature: signature?,
    })
}

fn read_descriptor(object: FlatObject<'_>) -> Option<ChannelDescriptor> {
    let (mut payer, mut payee, mut operator, mut token) = (None, None, None, None);
    let (mut salt, mut authorized_signer, mut expiring_nonce_hash) = (None, None, None);
    for (name, value) in object.members() {
        match name {
            b"payer" => payer = address(value.text()?),
            b"payee" => payee = address(value.text()?),
            b"operator" => operator = address(value.text()?),
            b"token" => token = address(value.text()?),
            b"salt" => salt = bytes(value.text()?),
            b"authorizedSigner" => authorized_signer = address(value.text()?),
            b"expiringNonceHash" => expiring_nonce_hash = bytes(value.text()?),
            _ => {}
        }
    }
    Some(ChannelDescriptor {
        payer: payer?,
        payee: payee?,
        operator: operator?,
        token: token?,
        salt: salt?,
        authorized_signer: authorized_signer?,
        expiring_nonce_hash: expiring_nonce_hash?,
    })
}

fn address(text: FlatText<'_>) -> Option<alloy_primitives::Address> {
    bytes(text).map(Into::into)
}

/// `0x` and exactly the digits of the type, in any case.
fn bytes<const BYTES: usize>(text: FlatText<'_>) -> Option<FixedBytes<BYTES>> {
    let digits = text.as_bytes().strip_prefix(b"0x")?;
    // The decoder would take a second `0x`, which the length leaves no room for.
    if digits.len() != BYTES.checked_mul(2)? {
        return None;
    }
    let mut bytes = [0; BYTES];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests;
