//! What the tests of this crate share: keys, channels and their vouchers.

mod doctored;
mod flawed;
mod unsteady;
mod world;

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::{Amount, ChallengeId, Timestamp};
use mpp_tempo::{
    ChannelDescriptor, ChannelId, ChannelTerms, ChannelView, Existence, LocalSigner,
    SessionProtocol, SignedVoucher, Signer, VerifiedVoucher, Voucher, VoucherVerifier,
    network::PATH_USD, tx::SignedTx,
};

pub(crate) use self::{doctored::*, flawed::*, unsteady::*, world::*};
use crate::{
    session::record::{ChannelRecord, LedgerEntry, PendingTx, Phase},
    store::{ChannelStore, LedgerPage},
};

/// Both protocol versions: what holds for one holds for the other.
pub(crate) const BOTH: [SessionProtocol; 2] = [SessionProtocol::V1, SessionProtocol::V2];

/// The present of most tests, in Unix seconds.
pub(crate) const NOW_SECS: i64 = 1_800_000_000;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_secs(NOW_SECS)
}

pub(crate) fn amount(units: u128) -> Amount {
    Amount::new(units)
}

pub(crate) fn challenge_id() -> ChallengeId {
    ChallengeId::new("challenge").unwrap()
}

/// The key that signs the vouchers of [`terms`].
pub(crate) fn payer() -> LocalSigner {
    LocalSigner::from_bytes(&[7; 32]).unwrap()
}

pub(crate) fn terms(protocol: SessionProtocol) -> ChannelTerms {
    salted_terms(protocol, 1)
}

pub(crate) fn salted_terms(protocol: SessionProtocol, salt: u8) -> ChannelTerms {
    ChannelTerms {
        protocol,
        chain_id: 42431,
        escrow: protocol.default_escrow(42431).unwrap(),
        descriptor: ChannelDescriptor {
            payer: payer().address(),
            payee: Address::repeat_byte(9),
            token: PATH_USD,
            salt: B256::repeat_byte(salt),
            ..ChannelDescriptor::default()
        },
    }
}

pub(crate) fn sign(signer: &LocalSigner, terms: &ChannelTerms, units: u128) -> SignedVoucher {
    let verifier = VoucherVerifier::new(terms);
    let signature = signer.sign_digest_sync(&verifier.digest(amount(units)));
    SignedVoucher {
        voucher: Voucher {
            channel_id: verifier.channel_id(),
            cumulative: amount(units),
        },
        signature: signature.into(),
    }
}

/// A verified voucher of the payer: the only way to one leads over the curve.
pub(crate) fn verified(terms: &ChannelTerms, units: u128) -> VerifiedVoucher {
    let signed = sign(&payer(), terms, units);
    VoucherVerifier::new(terms).verify(&signed).unwrap()
}

/// The same transaction with a signature that claims to be one of an access key of another account.
pub(crate) fn claim_sender(signed: &SignedTx, account: Address) -> Bytes {
    let own = signed.encode();
    // The type, the header of a list that has two bytes of length, and at its end the signature.
    let (members, signature) = own[4..].split_last_chunk::<67>().unwrap();
    assert_eq!((own[1], &signature[..2]), (0xf9, &[0xb8, 65][..]));
    let mut members = members.to_vec();
    if signed.needs_fee_payer() {
        // It names its sender, too.
        let member = |address: Address| [&[0x94], address.as_slice()].concat();
        let named = member(signed.sender());
        let at = members.windows(21).position(|bytes| bytes == named);
        members[at.unwrap()..][..21].copy_from_slice(&member(account));
    }
    let wrapped = [&[0x03], account.as_slice(), &signature[2..]].concat();
    let length = u8::try_from(wrapped.len()).unwrap();
    let members = [&members[..], &[0xb8, length], &wrapped].concat();
    let list = u16::try_from(members.len()).unwrap().to_be_bytes();
    [&[own[0], 0xf9], &list[..], &members].concat().into()
}

/// The pending open transaction of [`opening`].
pub(crate) fn open_tx() -> PendingTx {
    PendingTx {
        hash: B256::repeat_byte(0xaa),
        valid_before: 1_800_000_025,
    }
}

/// A record whose open transaction is under way, with a first voucher.
pub(crate) fn opening(protocol: SessionProtocol, first: u128) -> ChannelRecord {
    let terms = terms(protocol);
    ChannelRecord::opening(terms, open_tx(), sign(&payer(), &terms, first), now())
}

/// A channel in service.
pub(crate) fn open_record(
    protocol: SessionProtocol,
    deposit: u128,
    accepted: u128,
    spent: u128,
) -> ChannelRecord {
    let mut record = opening(protocol, accepted);
    record.deposit = amount(deposit);
    record.spent = amount(spent);
    record.phase = Phase::Open;
    record
}

pub(crate) fn view(deposit: u128) -> ChannelView {
    ChannelView {
        deposit: amount(deposit),
        settled: Amount::ZERO,
        close_requested_at: None,
        existence: Existence::Open,
    }
}

pub(crate) fn channel_id(protocol: SessionProtocol) -> ChannelId {
    terms(protocol).id()
}

/// The ledger entries of one channel, oldest first.
pub(crate) async fn ledger(store: &impl ChannelStore, id: ChannelId) -> Vec<LedgerEntry> {
    let page = LedgerPage {
        channel: Some(id),
        after: 0,
        limit: usize::MAX,
    };
    let numbered = store.ledger(page).await.unwrap();
    numbered.into_iter().map(|line| line.entry).collect()
}
