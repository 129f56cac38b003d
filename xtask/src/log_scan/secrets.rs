//! What to look for, in the forms in which it could be written.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use alloy_primitives::hex;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Characters of a text that are enough to know it by.
const ENOUGH: usize = 32;

/// Bytes of a value that are enough to know it by. Three bytes are four
/// characters of base64, whatever follows.
const ENOUGH_BYTES: usize = 21;

/// Digits of a value that are enough to know it by within base64.
const WITHIN: usize = 39;

/// The secrets of this process.
pub(super) static SECRETS: Secrets = Secrets {
    wanted: AtomicBool::new(false),
    known: Mutex::new(None),
};

/// Patterns, and what each is a part of.
pub(super) struct Secrets {
    wanted: AtomicBool,
    known: Mutex<Option<HashMap<String, &'static str>>>,
}

impl Secrets {
    pub(super) fn begin(&self) {
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// All patterns, and by the same index what they are parts of.
    pub(super) fn patterns(&self) -> (Vec<String>, Vec<&'static str>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .flatten()
            .map(|(text, kind)| (text.clone(), *kind))
            .unzip()
    }

    fn add(&self, kind: &'static str, patterns: impl IntoIterator<Item = String>) {
        if !self.wanted.load(Ordering::SeqCst) {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        known.extend(patterns.into_iter().map(|pattern| (pattern, kind)));
    }
}

/// Registers a secret value: a key, or a signature.
pub(crate) fn secret(kind: &'static str, value: &[u8]) {
    let part = value.get(..ENOUGH_BYTES).unwrap_or(value);
    let decimal: Vec<_> = part.iter().map(u8::to_string).collect();
    let digits = hex::encode(part);
    // In a credential the digits are within base64, anywhere.
    let within = (0_usize..3).filter_map(|shift| digits.get(shift..shift.saturating_add(WITHIN)));
    let patterns = [
        decimal.join(", "),
        STANDARD_NO_PAD.encode(part),
        URL_SAFE_NO_PAD.encode(part),
    ];
    let within = within.map(|digits| STANDARD_NO_PAD.encode(digits));
    SECRETS.add(kind, patterns.into_iter().chain(within));
    SECRETS.add(kind, [digits]);
}

/// Registers a secret text: a credential, or the MAC of a challenge.
pub(crate) fn secret_text(kind: &'static str, text: &str) {
    let length = text.len();
    let last = length.saturating_sub(ENOUGH);
    let places = [ENOUGH, length / 2, length.saturating_mul(3) / 4, last];
    let parts = places.iter().map(|at| {
        let at = (*at).min(last);
        text.get(at..(at.saturating_add(ENOUGH)).min(length))
    });
    let parts = parts.flatten().filter(|part| part.len() >= ENOUGH);
    SECRETS.add(kind, parts.map(str::to_owned));
}
