//! WebAuthn signatures of v2 vouchers, type 0x02 of TIP-1020.
//!
//! A passkey does not sign the digest itself: it signs
//! `sha256(authenticatorData || sha256(clientDataJSON))`, where the client data names the digest
//! as its challenge.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256};
use mpp_core::encoding::base64url;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::p256::SignedByKey;
use crate::signer::{InvalidSignature, SignatureFormatError};

/// Longest form without the type byte.
pub(super) const MAX_BYTES: usize = 2048;
/// r, s, x and y at the end.
const KEY_BYTES: usize = 128;
/// Hash of the relying party, flags and a counter; extensions are not accepted.
const AUTHENTICATOR_BYTES: usize = 37;
/// Where the flags are.
const FLAGS_AT: usize = 32;
/// The shortest client data that the chain reads.
const MIN_CLIENT_BYTES: usize = 32;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const ATTESTED_DATA: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

/// A WebAuthn assertion with the P-256 key that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebAuthnSignature {
    /// `authenticatorData || clientDataJSON`.
    data: Vec<u8>,
    key: SignedByKey,
}

/// The members of clientDataJSON that bind the assertion. Borrowed: escapes are not accepted,
/// as on chain.
#[derive(Deserialize)]
struct ClientData<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    challenge: &'a str,
}

impl WebAuthnSignature {
    /// Reads `authenticatorData || clientDataJSON || r || s || x || y`, without the type byte.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SignatureFormatError> {
        if bytes.len() > MAX_BYTES {
            return Err(SignatureFormatError::Length(bytes.len()));
        }
        let (data, key) = bytes
            .split_last_chunk::<KEY_BYTES>()
            .ok_or(SignatureFormatError::Length(bytes.len()))?;
        Ok(Self {
            data: data.to_vec(),
            key: SignedByKey::parse(key)?,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.data.as_slice(), &self.key.to_bytes()].concat()
    }

    pub(super) fn recover(&self, digest: &B256) -> Result<Address, InvalidSignature> {
        let (authenticator, client) = self
            .data
            .split_first_chunk::<AUTHENTICATOR_BYTES>()
            .filter(|(_, client)| client.len() >= MIN_CLIENT_BYTES)
            .ok_or(InvalidSignature)?;
        check_flags(authenticator[FLAGS_AT])?;
        check_client_data(client, digest)?;
        let message = Sha256::new()
            .chain_update(authenticator)
            .chain_update(Sha256::digest(client))
            .finalize();
        self.key.recover(&message.into())
    }
}

/// An assertion shows a present or verified user and carries neither attested data nor
/// extensions.
fn check_flags(flags: u8) -> Result<(), InvalidSignature> {
    let user = flags & (USER_PRESENT | USER_VERIFIED) != 0;
    let surplus = flags & (ATTESTED_DATA | EXTENSIONS) != 0;
    if user && !surplus {
        Ok(())
    } else {
        Err(InvalidSignature)
    }
}

fn check_client_data(client: &[u8], digest: &B256) -> Result<(), InvalidSignature> {
    let data: ClientData<'_> = serde_json::from_slice(client).map_err(|_| InvalidSignature)?;
    let expected = base64url::encode(digest.as_slice());
    if data.kind == "webauthn.get" && data.challenge == expected {
        Ok(())
    } else {
        Err(InvalidSignature)
    }
}
