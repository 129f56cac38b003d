//! A transaction with the sender's signature, in any of its encodings.

use core::num::NonZeroU64;

use alloc::vec::Vec;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_primitives::{Address, B256, Bytes, U256};
use mpp_core::Amount;
use tempo_primitives::transaction::{PrimitiveSignature, TEMPO_EXPIRING_NONCE_KEY};
use tempo_primitives::{AASigned, TempoSignature, TempoTransaction};

use super::TxError;
use super::envelope::{
    FEE_PAYER_ENVELOPE, FeePayerMember, MARKER, Members, TRANSACTION, address_member,
};
use super::unsigned::max_total_fee;

/// A signed transaction whose sender is known from its signature.
#[derive(Clone, Debug)]
pub struct SignedTx {
    inner: AASigned,
    sender: Address,
    sponsorship: Sponsorship,
}

/// Who pays the fees of a signed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sponsorship {
    /// The sender.
    None,
    /// A fee payer that has not signed yet.
    Requested,
    /// This fee payer, whose signature verifies.
    Signed(Address),
}

/// One call of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxCall {
    /// The contract; `None` creates one.
    pub to: Option<Address>,
    /// Native value, which Tempo does not use.
    pub value: U256,
    /// Calldata.
    pub input: Bytes,
}

impl SignedTx {
    /// Reads a 0x76 transaction, with or without a fee payer's placeholder, or a 0x78 envelope.
    ///
    /// Different encodings of one transaction yield equal values (case A1).
    ///
    /// # Errors
    /// [`TxError`]; the sender's signature is always verified.
    pub fn decode(bytes: &[u8]) -> Result<Self, TxError> {
        let (envelope, rlp) = match bytes.split_first() {
            Some((&envelope @ (TRANSACTION | FEE_PAYER_ENVELOPE), rlp)) => (envelope, rlp),
            _ => return Err(TxError::Type),
        };
        let members = Members::split(rlp)?;
        let member = members.fee_payer(envelope)?;
        let inner = match member {
            FeePayerMember::Empty | FeePayerMember::Signature => decode_final(rlp)?,
            FeePayerMember::Placeholder | FeePayerMember::Sender(_) => {
                let marked = members.join(TRANSACTION, &MARKER);
                decode_final(marked.get(1..).unwrap_or_default())?
            }
        };
        let sender = inner.recover_signer().map_err(|_| TxError::Signature)?;
        let sponsorship = match member {
            FeePayerMember::Empty => Sponsorship::None,
            FeePayerMember::Placeholder => Sponsorship::Requested,
            FeePayerMember::Sender(claimed) if claimed == sender => Sponsorship::Requested,
            FeePayerMember::Sender(_) => return Err(TxError::SenderMismatch),
            FeePayerMember::Signature => Sponsorship::Signed(
                inner
                    .tx()
                    .recover_fee_payer(sender)
                    .map_err(|_| TxError::FeePayerSignature)?,
            ),
        };
        Ok(Self::from_parts(inner, sender, sponsorship))
    }

    pub(super) fn from_parts(inner: AASigned, sender: Address, sponsorship: Sponsorship) -> Self {
        Self {
            inner,
            sender,
            sponsorship,
        }
    }

    /// The bytes for the wire: 0x76, or the 0x78 envelope while a fee payer is wanted.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut encoded = Vec::new();
        self.inner.eip2718_encode(&mut encoded);
        if !self.needs_fee_payer() {
            return encoded.into();
        }
        // What tempo-primitives has encoded always splits.
        match Members::split(encoded.get(1..).unwrap_or_default()) {
            Ok(members) => members
                .join(FEE_PAYER_ENVELOPE, &address_member(self.sender))
                .into(),
            Err(_) => encoded.into(),
        }
    }

    /// The transaction hash; final only when no fee payer is wanted any more.
    #[must_use]
    pub fn hash(&self) -> B256 {
        *self.inner.hash()
    }

    /// What tells this transaction from all others that can be mined: one per sender and signed
    /// content, whatever the encoding, the fee payer and the signature bytes (case A1).
    #[must_use]
    pub fn replay_id(&self) -> B256 {
        self.expiring_nonce_hash()
    }

    /// `keccak(encodeForSigning || sender)`, part of a v2 channel id (PROTOCOL 5.3).
    #[must_use]
    pub fn expiring_nonce_hash(&self) -> B256 {
        self.inner.expiring_nonce_hash(self.sender)
    }

    /// The account whose transaction it is.
    ///
    /// For a keychain signature it is the account that the [access key](Self::access_key) claims
    /// to act for; only the chain knows whether it may.
    #[must_use]
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// The access key that signed; `None` when the sender has signed itself.
    ///
    /// Until the chain has taken the transaction, this key is all that is known of who made it:
    /// anybody can sign with a key of their own and name any sender.
    #[must_use]
    pub fn access_key(&self) -> Option<Address> {
        let keychain = self.inner.signature().as_keychain()?;
        // It was recovered when the transaction was read. A key that could not be would be nobody's.
        let key = keychain.key_id(&self.inner.signature_hash());
        Some(key.unwrap_or_default())
    }

    /// Who has signed: the [access key](Self::access_key), or else the [sender](Self::sender).
    ///
    /// Nobody can make this one up, so it is what limits and budgets count by.
    #[must_use]
    pub fn signer(&self) -> Address {
        self.access_key().unwrap_or(self.sender)
    }

    /// Who pays the fees.
    #[must_use]
    pub const fn sponsorship(&self) -> Sponsorship {
        self.sponsorship
    }

    /// Whether the sender left the fees to somebody else.
    #[must_use]
    pub fn is_sponsored(&self) -> bool {
        self.sponsorship != Sponsorship::None
    }

    /// Whether a fee payer must sign before the transaction can be sent.
    #[must_use]
    pub fn needs_fee_payer(&self) -> bool {
        self.sponsorship == Sponsorship::Requested
    }

    /// The calls, in order.
    pub fn calls(&self) -> impl ExactSizeIterator<Item = TxCall> + '_ {
        self.tx().calls.iter().map(|call| TxCall {
            to: call.to.to().copied(),
            value: call.value,
            input: call.input.clone(),
        })
    }

    /// EIP-155 chain id.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.tx().chain_id
    }

    /// Gas limit.
    #[must_use]
    pub const fn gas_limit(&self) -> u64 {
        self.tx().gas_limit
    }

    /// Upper limit for base fee plus tip, in attodollars per gas.
    #[must_use]
    pub const fn max_fee_per_gas(&self) -> u128 {
        self.tx().max_fee_per_gas
    }

    /// Tip, in attodollars per gas.
    #[must_use]
    pub const fn max_priority_fee_per_gas(&self) -> u128 {
        self.tx().max_priority_fee_per_gas
    }

    /// The most that the fees can be, in attodollars.
    #[must_use]
    pub fn max_total_fee(&self) -> U256 {
        max_total_fee(self.tx())
    }

    /// The most that the fees can be, in base units of the token that they are paid in, rounded
    /// up.
    #[must_use]
    pub fn max_fee_amount(&self) -> Amount {
        /// A base unit is a millionth of a dollar.
        const ATTO_PER_UNIT: u128 = 1_000_000_000_000;
        let units = self.max_total_fee().div_ceil(U256::from(ATTO_PER_UNIT));
        Amount::new(units.saturating_to())
    }

    /// What the sender's signature costs beyond a plain one, in gas.
    pub(super) fn signature_gas(&self) -> u64 {
        const P256: u64 = 5_000;
        const PER_BYTE: u64 = 16;
        let signature = match self.inner.signature() {
            TempoSignature::Primitive(signature) => signature,
            TempoSignature::Keychain(keychain) => &keychain.signature,
        };
        match signature {
            PrimitiveSignature::Secp256k1(_) => 0,
            PrimitiveSignature::P256(_) => P256,
            PrimitiveSignature::WebAuthn(signed) => {
                let data = signed.webauthn_data.len() as u64;
                data.saturating_mul(PER_BYTE).saturating_add(P256)
            }
        }
    }

    /// End of validity in Unix seconds.
    #[must_use]
    pub fn valid_before(&self) -> Option<u64> {
        self.tx().valid_before.map(NonZeroU64::get)
    }

    /// Start of validity in Unix seconds.
    #[must_use]
    pub fn valid_after(&self) -> Option<u64> {
        self.tx().valid_after.map(NonZeroU64::get)
    }

    /// Key of the nonce.
    #[must_use]
    pub const fn nonce_key(&self) -> U256 {
        self.tx().nonce_key
    }

    /// Whether replay is prevented by hash and validity: nonce key 2^256-1 and nonce 0.
    #[must_use]
    pub fn has_expiring_nonce(&self) -> bool {
        self.tx().nonce_key == TEMPO_EXPIRING_NONCE_KEY && self.tx().nonce == 0
    }

    /// Token that the fees are taken from, if the transaction says so.
    #[must_use]
    pub const fn fee_token(&self) -> Option<Address> {
        self.tx().fee_token
    }

    /// Whether it has an access list.
    #[must_use]
    pub fn has_access_list(&self) -> bool {
        !self.tx().access_list.is_empty()
    }

    /// Whether it delegates accounts or provisions access keys.
    #[must_use]
    pub fn has_authorizations(&self) -> bool {
        !self.tx().tempo_authorization_list.is_empty() || self.tx().key_authorization.is_some()
    }

    pub(crate) const fn tx(&self) -> &TempoTransaction {
        self.inner.tx()
    }

    pub(crate) fn into_inner(self) -> AASigned {
        self.inner
    }
}

impl PartialEq for SignedTx {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for SignedTx {}

fn decode_final(mut rlp: &[u8]) -> Result<AASigned, TxError> {
    let signed = AASigned::rlp_decode(&mut rlp).map_err(|_| TxError::Malformed)?;
    if rlp.is_empty() {
        Ok(signed)
    } else {
        Err(TxError::Malformed)
    }
}
