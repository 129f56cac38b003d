//! When tables come and go, and that the answers do not depend on it.

use std::sync::Arc;
use std::vec::Vec;

use alloy_primitives::{U256, hex};
use mpp_core::Amount;

use super::*;
use crate::channel::SessionProtocol;
use crate::signer::{LocalSigner, Signer as _};
use crate::testing::terms_signed_by;
use crate::voucher::{
    SignedVoucher, Voucher, VoucherDomain, VoucherError, VoucherSignature, VoucherVerifier,
};

/// Bytes of memory for this many tables.
pub(in crate::voucher) fn room(tables: usize) -> usize {
    size_of::<crate::voucher::curve::SignerTable>().saturating_mul(tables)
}

/// Every tier that this CPU runs.
pub(in crate::voucher) fn engines(tables: usize) -> Vec<Arc<VerifierEngine>> {
    [Tier::Library, Tier::Portable, Tier::Avx512]
        .into_iter()
        .filter_map(|tier| VerifierEngine::with_tier(tier, room(tables)).ok())
        .map(Arc::new)
        .collect()
}

/// A channel with its signer.
pub(in crate::voucher) struct Payer {
    signer: LocalSigner,
    domain: VoucherDomain,
    pub(in crate::voucher) verifier: VoucherVerifier,
}

impl Payer {
    pub(in crate::voucher) fn new(seed: u8, engine: &Arc<VerifierEngine>) -> Self {
        let signer = LocalSigner::from_bytes(&[seed; 32]).unwrap();
        let terms = terms_signed_by(SessionProtocol::V2, signer.address());
        Self {
            signer,
            domain: VoucherDomain::new(&terms),
            verifier: VoucherVerifier::with_engine(&terms, engine),
        }
    }

    pub(in crate::voucher) fn voucher(&self, cumulative: u128) -> SignedVoucher {
        let cumulative = Amount::new(cumulative);
        let digest = self.domain.digest(cumulative);
        SignedVoucher {
            voucher: Voucher {
                channel_id: self.domain.channel_id(),
                cumulative,
            },
            signature: self.signer.sign_digest_sync(&digest).into(),
        }
    }

    /// A voucher with the other v, which recovers to another key.
    pub(in crate::voucher) fn flipped(&self, cumulative: u128) -> SignedVoucher {
        let mut voucher = self.voucher(cumulative);
        let mut bytes = voucher.signature.to_bytes();
        bytes[64] ^= 27 ^ 28;
        voucher.signature = VoucherSignature::parse(&bytes).unwrap();
        voucher
    }

    /// Accepts vouchers until there is a table, or has been time for one.
    pub(in crate::voucher) fn warm(&self) {
        for cumulative in 1..=3 {
            self.verifier.verify(&self.voucher(cumulative)).unwrap();
        }
    }

    /// Accepts vouchers until the table of another signer may go.
    fn warm_by_eviction(&self) {
        for cumulative in 1..=2 * u128::from(arena::MISSES_PER_EVICTION) {
            self.verifier.verify(&self.voucher(cumulative)).unwrap();
        }
    }

    fn has_table(&self) -> bool {
        self.verifier.state().table().is_some()
    }
}

#[test]
fn a_table_is_built_at_the_second_accepted_voucher_and_not_for_bad_ones() {
    let engine = Arc::new(VerifierEngine::with_tier(Tier::Portable, room(4)).unwrap());
    let payer = Payer::new(1, &engine);
    for cumulative in 1..10 {
        payer
            .verifier
            .verify(&payer.flipped(cumulative))
            .unwrap_err();
    }
    payer.verifier.verify(&payer.voucher(1)).unwrap();
    assert!(!payer.has_table());
    payer.verifier.verify(&payer.flipped(2)).unwrap_err();
    assert!(!payer.has_table());
    payer.verifier.verify(&payer.voucher(2)).unwrap();
    assert!(payer.has_table());
    assert!(payer.verifier.clone().state().table().is_some());
    assert_eq!(engine.tables(), 1);
}

#[test]
fn the_library_tier_and_an_arena_without_room_build_no_table() {
    let library = VerifierEngine::with_tier(Tier::Library, room(4)).unwrap();
    let full = VerifierEngine::with_tier(Tier::Portable, room(1) - 1).unwrap();
    for engine in [library, full].map(Arc::new) {
        let payer = Payer::new(1, &engine);
        payer.warm();
        assert!(!payer.has_table());
        assert_eq!(engine.tables(), 0);
    }
}

#[test]
fn every_tier_gives_the_library_s_answers_and_errors() {
    let [library, others @ ..] = &engines(2)[..] else {
        panic!("the library tier exists");
    };
    assert_eq!(library.tier(), Tier::Library);
    let reference = Payer::new(1, library);
    for engine in others {
        let payer = Payer::new(1, engine);
        payer.warm();
        assert!(payer.has_table());
        let mut altered = payer.voucher(6);
        altered.voucher.cumulative = Amount::new(7);
        for voucher in [payer.voucher(5), payer.flipped(5), altered] {
            let answer = payer.verifier.verify(&voucher);
            assert_eq!(answer, reference.verifier.verify(&voucher));
        }
        assert!(matches!(
            payer.verifier.verify(&payer.flipped(8)),
            Err(VoucherError::SignerMismatch { .. } | VoucherError::InvalidSignature)
        ));
    }
}

#[test]
fn signers_that_share_too_little_memory_take_turns_and_all_verify() {
    for engine in engines(2) {
        let payers: Vec<Payer> = (1..=5).map(|seed| Payer::new(seed, &engine)).collect();
        for round in 1..=24 {
            for payer in &payers {
                payer.verifier.verify(&payer.voucher(round)).unwrap();
                payer.verifier.verify(&payer.flipped(round)).unwrap_err();
            }
        }
        let holders = payers.iter().filter(|payer| payer.has_table()).count();
        let expected = if engine.tier() == Tier::Library { 0 } else { 2 };
        assert_eq!((holders, engine.tables()), (expected, expected));
    }
}

#[test]
fn a_pinned_table_is_not_evicted() {
    let engine = Arc::new(VerifierEngine::with_tier(Tier::Portable, room(1)).unwrap());
    let (first, second) = (Payer::new(1, &engine), Payer::new(2, &engine));
    first.warm();
    let pinned = first.verifier.state().table().unwrap();
    for _ in 0..4 {
        second.warm();
        assert!(!second.has_table());
    }
    drop(pinned);
    second.warm_by_eviction();
    assert!(second.has_table() && !first.has_table());
}

#[test]
fn evictions_are_rationed_while_more_signers_are_active_than_fit() {
    let engine = Arc::new(VerifierEngine::with_tier(Tier::Portable, room(2)).unwrap());
    let payers: Vec<Payer> = (1..=20).map(|seed| Payer::new(seed, &engine)).collect();
    let mut holders: Vec<bool> = payers.iter().map(Payer::has_table).collect();
    let (mut misses, mut built) = (0, 0);
    for round in 1..=20 {
        for (payer, held) in payers.iter().zip(&mut holders) {
            misses += u32::from(!payer.has_table());
            payer.verifier.verify(&payer.voucher(round)).unwrap();
            let holds = payer.has_table();
            built += u32::from(holds && !*held);
            *held = holds;
        }
    }
    assert!(built > 4, "{built}");
    assert!(
        built <= 2 + misses / arena::MISSES_PER_EVICTION,
        "{built} of {misses}"
    );
}

#[test]
fn the_slot_of_a_dropped_verifier_is_the_next_to_go() {
    let engine = Arc::new(VerifierEngine::with_tier(Tier::Portable, room(2)).unwrap());
    let (kept, dropped) = (Payer::new(1, &engine), Payer::new(2, &engine));
    kept.warm();
    dropped.warm();
    drop(dropped);
    let next = Payer::new(3, &engine);
    next.warm();
    assert!(kept.has_table() && next.has_table());
}

#[test]
fn threads_that_verify_and_evict_at_once_stay_correct() {
    let engine = Arc::new(VerifierEngine::new(room(2)));
    let payers: Vec<Payer> = (1..=4).map(|seed| Payer::new(seed, &engine)).collect();
    std::thread::scope(|scope| {
        for offset in 0..4 {
            let payers = &payers;
            scope.spawn(move || {
                for step in 0..40 {
                    let payer = &payers[(step / 4 + offset) % 4];
                    payer.verifier.verify(&payer.voucher(step as u128)).unwrap();
                    payer
                        .verifier
                        .verify(&payer.flipped(step as u128))
                        .unwrap_err();
                }
            });
        }
    });
}

/// 32 bytes: a multiple of half the order, plus or minus a little, or p.
fn edges() -> Vec<[u8; 32]> {
    let half = hex!("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
    let order = hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let modulus = hex!("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f");
    let mut edges = Vec::new();
    for middle in [[0; 32], half, order, modulus, [0xff; 32]] {
        for offset in 0..5u8 {
            let value = U256::from_be_bytes(middle)
                .wrapping_add(U256::from(offset))
                .wrapping_sub(U256::from(2));
            edges.push(value.to_be_bytes());
        }
    }
    edges
}

// Case A9, and the edges of Wycheproof: whatever r, s and v are, every tier answers alike, and
// only s up to half the order, r and s within [1, n) and v 27 or 28 reach the curve at all.
#[test]
fn signatures_at_the_edges_are_refused_alike() {
    let engines = engines(2);
    let payers: Vec<Payer> = engines.iter().map(|engine| Payer::new(1, engine)).collect();
    payers.iter().for_each(Payer::warm);
    let good = payers[0].voucher(5);
    let honest: [u8; 65] = good.signature.to_bytes().try_into().unwrap();
    let (honest_r, honest_s) = (honest[..32].try_into().unwrap(), honest[32..64].try_into());
    let pairs = edges().into_iter().flat_map(|edge| {
        let s = honest_s.unwrap();
        [(edge, s), (honest_r, edge), (edge, edge)]
    });
    let (mut read, mut unread) = (0, 0);
    for (r, s) in pairs {
        for v in [0, 1, 26, 27, 28, 29, 255] {
            let bytes = [&r[..], &s[..], &[v]].concat();
            let Ok(signature) = VoucherSignature::parse(&bytes) else {
                unread += 1;
                continue;
            };
            read += 1;
            assert!(matches!(v, 27 | 28), "{v}");
            let voucher = SignedVoucher {
                voucher: good.voucher,
                signature,
            };
            let answers = payers.iter().map(|payer| payer.verifier.verify(&voucher));
            let answers: Vec<_> = answers.collect();
            assert!(answers[0].is_err());
            assert!(answers.iter().all(|answer| *answer == answers[0]));
        }
    }
    assert!(read > 20 && unread > 400, "{read} {unread}");
}
