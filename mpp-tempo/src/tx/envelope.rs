//! The outer RLP of 0x76 and 0x78: finding and replacing the fee-payer member.
//!
//! The three forms differ in one member of the list only: a final 0x76 holds the fee payer's
//! signature or nothing, a 0x76 that waits for one holds the byte 0x00, and the 0x78 envelope
//! holds the sender's address in its place.

use alloc::vec::Vec;
use alloy_primitives::{Address, Signature, U256};
use alloy_rlp::{Decodable, EMPTY_STRING_CODE, Encodable, Header, PayloadView};

use super::TxError;
use crate::signer::Signature65;

/// Type byte of a transaction.
pub(super) const TRANSACTION: u8 = 0x76;
/// Type byte of the fee-payer envelope.
pub(super) const FEE_PAYER_ENVELOPE: u8 = 0x78;

/// Position of the fee payer's signature among the members.
const FEE_PAYER_AT: usize = 11;
/// Members of a transaction without and with a key authorization.
const MEMBERS: [usize; 2] = [14, 15];
/// RLP of the placeholder that waits for a fee payer.
const PLACEHOLDER: [u8; 1] = [0];
/// RLP of the all-zero signature by which tempo-primitives marks a missing fee payer.
pub(super) const MARKER: [u8; 4] = [
    0xc3,
    EMPTY_STRING_CODE,
    EMPTY_STRING_CODE,
    EMPTY_STRING_CODE,
];

/// What stands where the fee payer's signature goes.
pub(super) enum FeePayerMember {
    /// Nothing: the sender pays.
    Empty,
    /// A placeholder: a fee payer is wanted.
    Placeholder,
    /// The sender's address, in a 0x78 envelope.
    Sender(Address),
    /// A signature.
    Signature,
}

/// The members of a transaction, each with its RLP header.
pub(super) struct Members<'a>(Vec<&'a [u8]>);

impl<'a> Members<'a> {
    /// Splits what follows the type byte.
    pub(super) fn split(mut rlp: &'a [u8]) -> Result<Self, TxError> {
        let Ok(PayloadView::List(members)) = Header::decode_raw(&mut rlp) else {
            return Err(TxError::Malformed);
        };
        if !rlp.is_empty() || !MEMBERS.contains(&members.len()) {
            return Err(TxError::Malformed);
        }
        Ok(Self(members))
    }

    /// Reads the fee-payer member.
    pub(super) fn fee_payer(&self, envelope: u8) -> Result<FeePayerMember, TxError> {
        let mut member = *self.0.get(FEE_PAYER_AT).ok_or(TxError::Malformed)?;
        if envelope == FEE_PAYER_ENVELOPE {
            let sender = Address::decode(&mut member).map_err(|_| TxError::Malformed)?;
            return Ok(FeePayerMember::Sender(sender));
        }
        Ok(if member == [EMPTY_STRING_CODE] {
            FeePayerMember::Empty
        } else if member == PLACEHOLDER || member == MARKER {
            FeePayerMember::Placeholder
        } else {
            FeePayerMember::Signature
        })
    }

    /// Joins the members again with another fee-payer member, behind the type byte.
    pub(super) fn join(&self, envelope: u8, fee_payer: &[u8]) -> Vec<u8> {
        let replaced = |(position, member): (usize, &'a [u8])| {
            if position == FEE_PAYER_AT {
                fee_payer.to_vec()
            } else {
                member.to_vec()
            }
        };
        let payload: Vec<u8> = self
            .0
            .iter()
            .copied()
            .enumerate()
            .flat_map(replaced)
            .collect();
        let mut out = Vec::with_capacity(payload.len().saturating_add(10));
        out.push(envelope);
        Header {
            list: true,
            payload_length: payload.len(),
        }
        .encode(&mut out);
        out.extend_from_slice(&payload);
        out
    }
}

/// The RLP of an address.
pub(super) fn address_member(address: Address) -> Vec<u8> {
    let mut out = Vec::with_capacity(21);
    address.encode(&mut out);
    out
}

/// Our signature as the one of the transaction types.
pub(super) fn to_alloy(signature: &Signature65) -> Signature {
    Signature::new(
        U256::from_be_bytes(*signature.r()),
        U256::from_be_bytes(*signature.s()),
        signature.y_is_odd(),
    )
}
