//! The challenges that were answered lately, found by the text of a credential.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use mpp_core::KnownChallenge;
use mpp_tempo::wire::VoucherForm;

/// How many challenges are remembered. Each takes about 2 KiB when used.
const PLACES: usize = 16_384;
/// Characters that choose the place: in the common form the id is among them.
const INDEX_CHARACTERS: usize = 136;
/// Longer beginnings are not remembered; ours have about 1 KiB.
const MAX_OPENING: usize = 4_096;

/// A challenge that was verified in a credential.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) known: KnownChallenge,
    /// How its vouchers are written.
    pub(super) form: Option<VoucherForm>,
}

/// A table in which a newcomer takes the place of whoever is there.
///
/// It belongs to one key ring, under which every entry was verified, and holds
/// nothing but that: realm, route, terms and expiry are compared each time.
/// Losing an entry costs one more verification. Only challenges that were paid
/// come in, so that nobody empties it for free. Which place a text goes to is
/// no secret, and neither is a challenge.
pub(super) struct KnownChallenges {
    places: Box<[Place]>,
}

type Place = Mutex<Option<Arc<Remembered>>>;

impl Default for KnownChallenges {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| Mutex::new(None)).collect(),
        }
    }
}

impl KnownChallenges {
    /// The challenge with which this credential begins.
    pub(super) fn find(&self, token68: &str) -> Option<Arc<Remembered>> {
        let place = self.place(token68)?;
        let found = place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()?;
        token68.starts_with(found.known.opening()).then_some(found)
    }

    /// Remembers a challenge that was paid.
    pub(super) fn remember(&self, remembered: Arc<Remembered>) {
        if remembered.known.opening().len() > MAX_OPENING {
            return;
        }
        if let Some(place) = self.place(remembered.known.opening()) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(remembered);
        }
    }

    fn place(&self, text: &str) -> Option<&Place> {
        let characters = text.as_bytes().first_chunk::<INDEX_CHARACTERS>()?;
        let index = usize::try_from(mix(characters)).ok()?;
        self.places.get(index.checked_rem(PLACES)?)
    }
}

/// Spreads texts over places; collisions cost time only.
fn mix(characters: &[u8; INDEX_CHARACTERS]) -> u64 {
    // An odd number without pattern: the fraction of the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, _) = characters.as_chunks::<8>();
    let mixed = words.iter().fold(0_u64, |mixed, word| {
        (mixed.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD)
    });
    mixed >> 32
}

impl fmt::Debug for KnownChallenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownChallenges").finish_non_exhaustive()
    }
}
