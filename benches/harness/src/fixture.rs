//! The same vouchers for everybody.

use std::collections::HashMap;
use std::time::Duration;

use alloy_primitives::Address;
use mpp_core::{
    Amount, Challenge, ChallengeDraft, Credential, EncodedJson, IntentName, KeyRing, MethodName,
    Realm, Receipt, SecretKey, SessionReceipt, Timestamp, header,
};
use mpp_tempo::network::{CHANNEL_RESERVE, Network, PATH_USD};
use mpp_tempo::voucher::VoucherDomain;
use mpp_tempo::wire::{SessionDetails, SessionPayload, SessionRequest};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer,
    VerifiedVoucher, Voucher,
};

/// The server's secret. Text, because peers take it as such.
pub const SECRET: &str = "4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(";
/// The server's realm.
pub const REALM: &str = "api.example.com";
/// The payee.
pub const PAYEE: Address = Address::repeat_byte(0x22);
/// The time at which requests come in, in seconds.
const NOW: i64 = 1_795_172_444;
/// How long challenges are good, in seconds: till 2099, since peers read the system's clock.
const VALIDITY: i64 = 2_300_000_000;
/// The chain.
pub const CHAIN: Network = Network::MODERATO;

/// The time at which requests come in.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

/// The time at which challenges become void.
#[must_use]
pub fn expires() -> Timestamp {
    Timestamp::from_secs(NOW + VALIDITY)
}

/// A voucher, in every form that a candidate may want.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its channel.
    pub terms: ChannelTerms,
    /// What was signed.
    pub digest: [u8; 32],
    /// The voucher.
    pub signed: SignedVoucher,
    /// The signature, `r || s || v`.
    pub signature: [u8; 65],
    /// The signer's public key, SEC1 without compression.
    pub public_key: [u8; 65],
}

/// Vouchers of `channels` channels in turns.
#[must_use]
pub fn vouchers(protocol: SessionProtocol, channels: usize, count: usize) -> Vec<Case> {
    let payers: Vec<_> = (1..=channels as u64).map(Payer::new).collect();
    let turns = payers.iter().cycle().take(count);
    turns
        .zip(1..)
        .map(|(payer, amount)| payer.case(protocol, Amount::new(amount)))
        .collect()
}

/// A payer with one channel per protocol.
#[derive(Clone, Debug)]
pub struct Payer {
    signer: LocalSigner,
    public_key: [u8; 65],
}

impl Payer {
    /// The payer with this number, always the same.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let mut secret = [7; 32];
        secret[24..].copy_from_slice(&number.to_be_bytes());
        let key = k256::ecdsa::SigningKey::from_slice(&secret).expect("below the order");
        let point = key.verifying_key().to_sec1_point(false);
        Self {
            signer: LocalSigner::from_bytes(&secret).expect("below the order"),
            public_key: point.as_bytes().try_into().expect("65 bytes"),
        }
    }

    /// The terms of its channel.
    #[must_use]
    pub fn terms(&self, protocol: SessionProtocol) -> ChannelTerms {
        ChannelTerms {
            protocol,
            chain_id: CHAIN.chain_id,
            escrow: escrow(protocol),
            descriptor: ChannelDescriptor {
                payer: self.signer.address(),
                payee: PAYEE,
                token: PATH_USD,
                ..ChannelDescriptor::default()
            },
        }
    }

    /// A voucher of its channel.
    #[must_use]
    pub fn case(&self, protocol: SessionProtocol, cumulative: Amount) -> Case {
        let terms = self.terms(protocol);
        let digest = VoucherDomain::new(&terms).digest(cumulative);
        let signature = self.signer.sign_digest_sync(&digest);
        let voucher = Voucher {
            channel_id: terms.id(),
            cumulative,
        };
        Case {
            terms,
            digest: digest.0,
            signed: SignedVoucher {
                voucher,
                signature: signature.into(),
            },
            signature: signature.to_bytes(),
            public_key: self.public_key,
        }
    }
}

/// The escrow of a protocol version.
#[must_use]
pub fn escrow(protocol: SessionProtocol) -> Address {
    match protocol {
        SessionProtocol::V1 => CHAIN.stream_channel,
        SessionProtocol::V2 => CHANNEL_RESERVE,
    }
}

/// The server's keys.
#[must_use]
pub fn keys() -> KeyRing {
    KeyRing::new(SecretKey::from_bytes(SECRET.as_bytes()).expect("long enough"))
}

/// What the server sells.
#[must_use]
pub fn session_request(protocol: SessionProtocol) -> SessionRequest {
    SessionRequest {
        amount: Amount::new(1000),
        currency: PATH_USD,
        recipient: PAYEE,
        unit_type: Some("word".to_owned()),
        suggested_deposit: Some(Amount::new(10_000)),
        description: None,
        method_details: SessionDetails {
            escrow_contract: escrow(protocol),
            chain_id: CHAIN.chain_id,
            session_protocol: (protocol == SessionProtocol::V2).then_some(protocol),
            channel_id: None,
            min_voucher_delta: None,
            fee_payer: None,
            operator: None,
            session_snapshot: None,
        },
    }
}

/// The challenge for it, before it is bound.
#[must_use]
pub fn draft(protocol: SessionProtocol) -> ChallengeDraft {
    let request = EncodedJson::from_value(&session_request(protocol)).expect("plain JSON");
    ChallengeDraft::new(
        Realm::new(REALM).expect("a host name"),
        MethodName::tempo(),
        IntentName::session(),
        request,
    )
    .with_expires(expires())
}

/// The value of the `Authorization` field that pays with each voucher.
///
/// Each channel answers a challenge of its own, with every voucher the same one, as clients do.
#[must_use]
pub fn headers(cases: &[Case]) -> Vec<String> {
    let mut expiries = HashMap::new();
    let headers = cases.iter().map(|case| {
        let next = expiries.len() as u64;
        let delay = *expiries.entry(case.terms.id()).or_insert(next);
        let expires = expires().checked_add(Duration::from_millis(delay));
        let draft = draft(case.terms.protocol).with_expires(expires.expect("before 10000"));
        authorization(case, keys().bind(draft))
    });
    headers.collect()
}

/// The receipt for a voucher.
#[must_use]
pub fn receipt(verified: &VerifiedVoucher) -> Receipt {
    let challenge = keys().bind(draft(SessionProtocol::V2));
    let receipt = SessionReceipt::new(
        MethodName::tempo(),
        now(),
        challenge.id,
        verified.channel_id().to_string(),
        verified.cumulative(),
        verified.cumulative(),
    );
    receipt.into()
}

fn authorization(case: &Case, challenge: Challenge) -> String {
    let v2 = case.terms.protocol == SessionProtocol::V2;
    let payload = SessionPayload::Voucher {
        channel_id: case.terms.id(),
        descriptor: v2.then_some(case.terms.descriptor),
        cumulative_amount: case.signed.voucher.cumulative,
        signature: case.signed.signature.clone(),
    };
    let payer = case.terms.descriptor.payer;
    let credential = Credential::new(challenge, payload.to_value())
        .with_source(format!("did:pkh:eip155:{}:{payer}", case.terms.chain_id));
    header::credential::encode(&credential).expect("within the limits")
}
