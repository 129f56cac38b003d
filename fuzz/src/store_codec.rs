//! The stored forms of records, ledger entries, outcomes and claims.

use std::sync::LazyLock;

use alloy_primitives::{B256, hex};
use mpp_server::store::codec::{self, CodecError};
use mpp_server::store::{DocumentKind, OutcomeKey};
use mpp_tempo::{ChannelDescriptor, ChannelId, ChannelTerms, SessionProtocol};

/// Checks bytes as a stored value. Checksums are filled in, or hardly any
/// input would get past them.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    match choice % 6 {
        0 => raw(rest),
        1 => record(1, rest),
        2 => record(2, rest),
        3 => entry(rest),
        4 => outcome(rest),
        _ => claim(rest),
    }
}

/// Without the checksum nothing is read.
fn raw(bytes: &[u8]) {
    let _ = codec::decode_record(ChannelId::ZERO, bytes);
    let _ = codec::decode_entry(bytes);
    let _ = codec::decode_outcome(OutcomeKey(B256::ZERO), bytes);
    for kind in DocumentKind::ALL {
        let valid = codec::check_document(kind, bytes).is_ok();
        let read = codec::decode_document::<serde_json::Value>(kind, bytes);
        assert!(valid || read.is_err());
    }
}

fn sealed(kind: u8, version: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![version];
    bytes.extend_from_slice(payload);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&bytes);
    bytes.extend(hasher.finalize().to_le_bytes());
    bytes
}

/// The terms of a record as they are stored, and the id that follows.
static TERMS: LazyLock<(Vec<u8>, ChannelId)> = LazyLock::new(|| {
    let terms = ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42_431,
        escrow: mpp_tempo::network::CHANNEL_RESERVE,
        descriptor: ChannelDescriptor::default(),
    };
    // Protocol and chain id as varints, the escrow, and a descriptor of zeros.
    let mut stored = vec![1, 0xbf, 0xcb, 0x02];
    stored.extend_from_slice(terms.escrow.as_slice());
    stored.extend_from_slice(&[0; 20 * 5 + 32 * 2]);
    (stored, terms.id())
});

fn record(version: u8, rest: &[u8]) {
    let (terms, id) = &*TERMS;
    let bytes = sealed(1, version, &[terms, rest].concat());
    let record = match codec::decode_record(*id, &bytes) {
        Ok(record) => record,
        // The terms are right, so the id is.
        Err(CodecError::Key | CodecError::Checksum | CodecError::Version(_)) => {
            panic!("{}", hex::encode(&bytes))
        }
        Err(_) => return,
    };
    let written = codec::encode_record(&record).unwrap();
    assert_eq!(codec::decode_record(*id, &written).as_ref(), Ok(&record));
    assert_eq!(
        codec::decode_record(ChannelId::ZERO, &written),
        Err(CodecError::Key)
    );
    let again = codec::encode_record(&record).unwrap();
    assert_eq!(again, written);
    // A record is never read as anything else, and never when it is damaged.
    assert_eq!(codec::decode_entry(&written), Err(CodecError::Checksum));
    let mut damaged = written.to_vec();
    damaged[rest.len() % written.len()] ^= 1;
    assert!(codec::decode_record(*id, &damaged).is_err());
}

fn entry(payload: &[u8]) {
    if let Ok(entry) = codec::decode_entry(&sealed(2, 1, payload)) {
        let written = codec::encode_entry(&entry).unwrap();
        assert_eq!(codec::decode_entry(&written).as_ref(), Ok(&entry));
    }
}

fn outcome(payload: &[u8]) {
    let key = OutcomeKey(B256::repeat_byte(5));
    let payload = [key.0.as_slice(), payload].concat();
    if let Ok(outcome) = codec::decode_outcome(key, &sealed(3, 1, &payload)) {
        let written = codec::encode_outcome(&outcome).unwrap();
        assert_eq!(codec::decode_outcome(key, &written).as_ref(), Ok(&outcome));
        let other = OutcomeKey(B256::ZERO);
        assert_eq!(codec::decode_outcome(other, &written), Err(CodecError::Key));
    }
}

fn claim(bytes: &[u8]) {
    if let Ok(key) = codec::decode_claim_key(bytes) {
        assert_eq!(codec::encode_claim_key(&key), bytes);
    }
}
