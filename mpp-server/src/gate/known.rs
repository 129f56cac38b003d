//! What was read and verified lately, found by the text of a credential.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use mpp_core::KnownChallenge;
use mpp_tempo::wire::VoucherForm;

/// How many texts are remembered. Each takes about 2 KiB when used.
const PLACES: usize = 16_384;
/// The longest opening of a challenge that is remembered; ours have about 1 KiB.
const MAX_OPENING: usize = 4_096;
/// Bytes that choose the place of a challenge: in the common form the id is
/// among them.
const CHALLENGE_BYTES: usize = 136;
/// Bytes that choose the place of a voucher: in the common form the channel id
/// is among them.
const VOUCHER_BYTES: usize = 112;

/// What one key ring has verified, and how clients write their vouchers.
///
/// Challenges hold nothing but that their MAC was verified: realm, route, terms
/// and expiry are compared each time. Losing an entry costs one more reading.
/// Only what has paid comes in, so that nobody empties it for free. Which place
/// a text goes to is no secret, and neither is a challenge.
#[derive(Debug, Default)]
pub(super) struct Known {
    challenges: Recent<KnownChallenge, CHALLENGE_BYTES>,
    vouchers: Recent<VoucherForm, VOUCHER_BYTES>,
}

impl Known {
    /// The challenge with which this credential begins.
    pub(super) fn challenge(&self, token68: &str) -> Option<Arc<KnownChallenge>> {
        let found = self.challenges.find(token68.as_bytes())?;
        token68.starts_with(found.opening()).then_some(found)
    }

    /// Remembers a challenge that was paid.
    pub(super) fn keep_challenge(&self, known: Arc<KnownChallenge>) {
        if known.opening().len() <= MAX_OPENING {
            self.challenges
                .put(known.opening().as_bytes(), Arc::clone(&known));
        }
    }

    /// How the voucher behind a challenge may be written.
    pub(super) fn voucher(&self, rest: &[u8]) -> Option<Arc<VoucherForm>> {
        self.vouchers.find(rest)
    }

    /// Remembers the form of a voucher that has paid.
    pub(super) fn keep_voucher(&self, form: Arc<VoucherForm>) {
        self.vouchers.put(form.opening(), Arc::clone(&form));
    }
}

/// A table in which a newcomer takes the place of whoever is there. `BYTES` at
/// the beginning of a text choose its place.
struct Recent<T, const BYTES: usize> {
    places: Box<[Mutex<Option<Arc<T>>>]>,
}

impl<T, const BYTES: usize> Default for Recent<T, BYTES> {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| Mutex::new(None)).collect(),
        }
    }
}

impl<T, const BYTES: usize> Recent<T, BYTES> {
    fn find(&self, text: &[u8]) -> Option<Arc<T>> {
        let place = self.place(text)?;
        place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, text: &[u8], value: Arc<T>) {
        if let Some(place) = self.place(text) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }
    }

    fn place(&self, text: &[u8]) -> Option<&Mutex<Option<Arc<T>>>> {
        let index = usize::try_from(mix(text.first_chunk::<BYTES>()?)).ok()?;
        self.places.get(index.checked_rem(PLACES)?)
    }
}

/// Spreads texts over places; collisions cost time only.
fn mix<const BYTES: usize>(text: &[u8; BYTES]) -> u64 {
    // An odd number without pattern: the fraction of the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, _) = text.as_chunks::<8>();
    let mixed = words.iter().fold(0_u64, |mixed, word| {
        (mixed.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD)
    });
    mixed >> 32
}

impl<T, const BYTES: usize> fmt::Debug for Recent<T, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}
