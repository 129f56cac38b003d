//! Vouchers of one channel, recognized by how its client writes them.

use core::fmt;

use mpp_core::encoding::flat::FlatText;
use mpp_core::encoding::form::Form;
use mpp_core::source::DidPkh;
use mpp_core::{Amount, Proof};

use super::SessionPayload;
use crate::channel::{ChannelDescriptor, ChannelId};
use crate::voucher::VoucherSignature;

/// How one client writes the vouchers of one channel, and who it says it is.
///
/// From voucher to voucher only amount and signature change. Where all the
/// rest is written as it was, those two are all that is left to read.
pub struct VoucherForm {
    channel_id: ChannelId,
    descriptor: Option<ChannelDescriptor>,
    source: Option<DidPkh>,
    /// Amount and signature.
    form: Form<2>,
}

impl VoucherForm {
    /// Learns the form of what stood behind the challenge of a credential.
    ///
    /// `None` if it is no voucher in the common form, or its members stand in
    /// an unusual order: such vouchers are read as any other.
    #[must_use]
    pub fn learn(rest: &[u8], proof: &Proof<'_>) -> Option<Self> {
        let SessionPayload::Voucher {
            channel_id,
            descriptor,
            ..
        } = SessionPayload::from_flat(proof.payload)?
        else {
            return None;
        };
        let value = |wanted: &[u8]| {
            let mut members = proof.payload.members();
            members.find(|(name, _)| *name == wanted)?.1.text()
        };
        let values = [value(b"cumulativeAmount")?, value(b"signature")?];
        let source = proof.source.map(FlatText::as_str).map(str::parse);
        Some(Self {
            channel_id,
            descriptor,
            source: source.transpose().ok()?,
            form: Form::learn(rest, values)?,
        })
    }

    /// What stands before the amount, the same in all vouchers of this form.
    #[must_use]
    pub fn opening(&self) -> &[u8] {
        self.form.opening()
    }

    /// Reads a voucher and its source; `None` wherever the general reader has
    /// to decide.
    #[must_use]
    pub fn read(&self, rest: &[u8]) -> Option<(SessionPayload, Option<DidPkh>)> {
        let [amount, signature] = self.form.read(rest)?;
        let voucher = SessionPayload::Voucher {
            channel_id: self.channel_id,
            descriptor: self.descriptor,
            cumulative_amount: amount.as_str().parse::<Amount>().ok()?,
            signature: VoucherSignature::from_hex(signature.as_str()).ok()?,
        };
        Some((voucher, self.source))
    }
}

/// Never shows the text: it is from a credential.
impl fmt::Debug for VoucherForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoucherForm")
            .field("channel_id", &self.channel_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use alloy_primitives::{B256, hex};
    use mpp_core::{Challenge, Credential, CredentialReader, KeyRing, header};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::payer;

    const KEY: &[u8] = b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(";

    fn keys() -> KeyRing {
        KeyRing::new(mpp_core::SecretKey::from_bytes(KEY).unwrap())
    }

    fn challenge() -> Challenge {
        keys().bind(mpp_core::ChallengeDraft::new(
            mpp_core::Realm::new("shop.example").unwrap(),
            mpp_core::MethodName::tempo(),
            mpp_core::IntentName::session(),
            mpp_core::EncodedJson::from_value(&json!({"amount": "1"})).unwrap(),
        ))
    }

    fn token(amount: &str, digest: u8, source: Option<&str>) -> String {
        let signature = payer().sign_digest_sync(&B256::repeat_byte(digest));
        let payload = json!({
            "action": "voucher",
            "channelId": B256::repeat_byte(0xAB),
            "cumulativeAmount": amount,
            "signature": VoucherSignature::from(signature).to_hex(),
        });
        let mut credential = Credential::new(challenge(), payload);
        credential.source = source.map(String::from);
        let value = header::credential::encode(&credential).unwrap();
        String::from(value.strip_prefix("Payment ").unwrap())
    }

    const SOURCE: &str = "did:pkh:eip155:42431:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";

    proptest! {
        // The form never reads anything that the reader does not read alike.
        #[test]
        fn a_form_reads_what_the_reader_reads(
            amount in prop::sample::select(&["2", "2000", "02", "-1", "", "340282366920938463463374607431768211456"][..]),
            digest in 0..4_u8,
            sourced in any::<bool>(),
            damage in prop::option::of((any::<prop::sample::Index>(), b' '..=b'~')),
        ) {
            let mut reader = CredentialReader::default();
            let first = token("1", 9, Some(SOURCE));
            let text = reader.read(&first).unwrap();
            let known = keys().recognize(&text).unwrap();
            let form = VoucherForm::learn(text.rest().unwrap(), &text.proof).unwrap();
            let mut next = token(amount, digest, sourced.then_some(SOURCE));
            if let Some((place, byte)) = damage {
                let mut bytes = next.into_bytes();
                let place = place.index(bytes.len());
                bytes[place] = byte;
                next = String::from_utf8(bytes).unwrap();
            }
            let Some(opened) = reader.open_known(&known, &next) else {
                return Ok(());
            };
            let fast = form.read(opened.rest());
            let slow = opened.proof().and_then(|proof| {
                let source = proof.source.map(|source| source.as_str().parse());
                Some((SessionPayload::from_flat(proof.payload)?, source.transpose().ok()?))
            });
            if let Some(fast) = fast {
                prop_assert_eq!(Some(fast), slow);
            } else if damage.is_none() && sourced {
                prop_assert!(slow.is_none());
            }
        }
    }

    #[test]
    fn other_actions_are_not_learned() {
        let learned = |payload: String| {
            let rest = format!(",\"payload\":{payload}}}");
            let whole = format!("{{\"challenge\":{{}}{rest}");
            let mut flat = mpp_core::encoding::flat::FlatReader::default();
            let payload = flat
                .read(whole.as_bytes())
                .unwrap()
                .members()
                .nth(1)
                .unwrap()
                .1;
            let proof = Proof {
                payload: payload.object().unwrap(),
                source: None,
            };
            VoucherForm::learn(&whole.as_bytes()[14..], &proof).is_some()
        };
        let signature = VoucherSignature::from(payer().sign_digest_sync(&B256::ZERO)).to_hex();
        let id = hex::encode_prefixed([7; 32]);
        let payload = |action: &str| {
            format!(
                r#"{{"action":"{action}","channelId":"{id}","cumulativeAmount":"1","signature":"{signature}"}}"#
            )
        };
        assert!(learned(payload("voucher")));
        assert!(!learned(payload("close")));
        let reversed = format!(
            r#"{{"signature":"{signature}","action":"voucher","channelId":"{id}","cumulativeAmount":"1"}}"#
        );
        assert!(!learned(reversed));
    }
}
