//! Attacks and accidents, as whoever runs a shop or a client would notice them.
//!
//! `docs/security-cases.md` says which test shows what; the cases that are
//! data are in `vectors/security`.

mod copies;
mod documented;
mod encryption;
mod flood;
mod outage;
mod surroundings;
