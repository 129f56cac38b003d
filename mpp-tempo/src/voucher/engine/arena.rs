//! Memory for the tables of signers: slots in chunks of 2 MiB, reused by the CLOCK rule.
//!
//! A verifier holds a [`Ticket`]: the number of its slot and the generation of the slot's content.
//! Reading pins the slot by an atomic count, without a lock; building takes a slot that nobody
//! pins, gives it the next generation, and so makes the old ticket stale.
//!
//! A table costs about as much as two vouchers without one. When more signers are active than
//! there are slots, a table may be gone before it has paid, so evictions are rationed: at most one
//! for every [`MISSES_PER_EVICTION`] vouchers that had no table.
//!
//! Its tests run in Miri, which finds data races and bad pointers:
//! `MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test -p mpp-tempo --features std --lib
//! arena::tests`. They take a few minutes.

use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::boxed::Box;
use std::sync::{Mutex, OnceLock, PoisonError};

use self::chunk::{CHUNK_SLOTS, Chunk};
use crate::voucher::curve::{AffinePoint, SignerTable};

#[expect(
    unsafe_code,
    reason = "tables are written in place under an atomic protocol"
)]
mod chunk;

/// Slots that one search looks at: bounds the work, and leaves tables alone that are all in use.
const SWEEP: usize = 32;

/// Vouchers verified without a table for each table that displaces another. Bounds what building
/// in vain adds to their time to less than a tenth.
pub(super) const MISSES_PER_EVICTION: u32 = 32;

/// State of a slot: the generation above, a bit for a writer, and the count of readers below.
const GENERATION_SHIFT: u32 = 32;
const WRITER: u64 = 1 << 31;

/// The table of a signer, if it has one. Zero is none, else slot + 1 above and generation below.
#[derive(Debug, Default)]
pub(super) struct Ticket(AtomicU64);

/// A slot's place in the protocol.
#[derive(Debug, Default)]
struct Slot {
    state: AtomicU64,
    /// Used since the clock hand came by.
    referenced: AtomicBool,
}

#[derive(Debug, Default)]
struct Clock {
    hand: usize,
    used: usize,
}

#[derive(Debug)]
pub(super) struct Arena {
    chunks: Box<[OnceLock<Option<Chunk>>]>,
    capacity: usize,
    clock: Mutex<Clock>,
    /// Vouchers verified without a table since the last eviction.
    misses: AtomicU32,
    /// Slots of signers that are gone, as far as they were not reused.
    abandoned: AtomicU32,
}

/// A pinned table.
#[derive(Debug)]
pub(in crate::voucher) struct TableGuard<'a> {
    slot: &'a Slot,
    table: &'a SignerTable,
}

impl Deref for TableGuard<'_> {
    type Target = SignerTable;

    fn deref(&self) -> &SignerTable {
        self.table
    }
}

impl Drop for TableGuard<'_> {
    fn drop(&mut self) {
        // Release: the reads of the table happen before a writer takes the slot.
        self.slot.state.fetch_sub(1, Ordering::Release);
    }
}

impl Arena {
    pub(super) fn new(bytes: usize) -> Self {
        let capacity = chunk::slots_in(bytes);
        let chunks = capacity.div_ceil(CHUNK_SLOTS);
        Self {
            chunks: core::iter::repeat_with(OnceLock::new)
                .take(chunks)
                .collect(),
            capacity,
            clock: Mutex::default(),
            misses: AtomicU32::new(0),
            abandoned: AtomicU32::new(0),
        }
    }

    /// Slots that hold or held a table.
    pub(super) fn used(&self) -> usize {
        self.clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .used
    }

    /// Pins the table of a ticket, if it is still there. Two atomic operations, no lock.
    pub(super) fn acquire(&self, ticket: &Ticket) -> Option<TableGuard<'_>> {
        let (index, generation) = ticket.read()?;
        let (chunk, slot) = self.slot(index)?;
        let pin = |state: u64| {
            let current = state >> GENERATION_SHIFT == generation && state & WRITER == 0;
            current.then(|| state.wrapping_add(1))
        };
        slot.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, pin)
            .ok()?;
        // A plain read first: the line stays shared among readers.
        if !slot.referenced.load(Ordering::Relaxed) {
            slot.referenced.store(true, Ordering::Relaxed);
        }
        Some(TableGuard {
            slot,
            table: chunk.table(index % CHUNK_SLOTS),
        })
    }

    /// Reads what [`acquire`](Self::acquire) will need, so that it is near.
    ///
    /// Plain reads of many slots overlap; the locked operations of `acquire` wait for each other.
    pub(super) fn touch(&self, ticket: &Ticket) -> u64 {
        let slot = ticket.read().and_then(|(index, _)| self.slot(index));
        slot.map_or(0, |(_, slot)| slot.state.load(Ordering::Relaxed))
    }

    /// Takes note of a voucher that was verified without a table.
    pub(super) fn note_miss(&self) {
        // Wrapping around costs one ration.
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Builds the table of a key and notes it in the ticket, if a slot can be had at once.
    ///
    /// Gives up when evictions are used up, another thread is looking for a slot or all slots near
    /// the hand are in use: a table saves time, so nobody waits for one.
    #[must_use]
    pub(super) fn build(&self, ticket: &Ticket, key: &AffinePoint) -> bool {
        let Some((index, generation)) = self.take_slot() else {
            return false;
        };
        let Some((chunk, slot)) = self.slot(index) else {
            return false;
        };
        chunk.build(index % CHUNK_SLOTS, key);
        slot.referenced.store(true, Ordering::Relaxed);
        // Release: the table is complete before anybody can pin it.
        let state = generation << GENERATION_SHIFT;
        slot.state.store(state, Ordering::Release);
        ticket.write(index, generation);
        true
    }

    /// Lets the slot of a ticket be reused next.
    pub(super) fn abandon(&self, ticket: &Ticket) {
        if let Some((index, generation)) = ticket.read()
            && let Some((_, slot)) = self.slot(index)
            && slot.state.load(Ordering::Relaxed) >> GENERATION_SHIFT == generation
        {
            slot.referenced.store(false, Ordering::Relaxed);
            self.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a table may displace another now.
    fn may_evict(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) > 0
            || self.misses.load(Ordering::Relaxed) >= MISSES_PER_EVICTION
    }

    /// Takes note of an eviction: the slots of gone signers are not rationed.
    fn note_eviction(&self) {
        let one_less = |count: u32| count.checked_sub(1);
        let reused = self
            .abandoned
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if reused.is_err() {
            self.misses.store(0, Ordering::Relaxed);
        }
    }

    /// A slot marked for this writer alone, and the generation of what it will hold.
    fn take_slot(&self) -> Option<(usize, u64)> {
        let mut clock = self.clock.try_lock().ok()?;
        if clock.used < self.capacity {
            let index = clock.used;
            self.chunks
                .get(index / CHUNK_SLOTS)?
                .get_or_init(|| Chunk::allocate(self.capacity.saturating_sub(index)));
            let generation = self.slot(index)?.1.start_writing()?;
            clock.used = index.saturating_add(1);
            return Some((index, generation));
        }
        if !self.may_evict() {
            return None;
        }
        for _ in 0..SWEEP.min(self.capacity) {
            let index = clock.hand;
            let next = index.saturating_add(1);
            clock.hand = if next < self.capacity { next } else { 0 };
            let (_, slot) = self.slot(index)?;
            if !slot.referenced.swap(false, Ordering::Relaxed)
                && let Some(generation) = slot.start_writing()
            {
                self.note_eviction();
                return Some((index, generation));
            }
        }
        None
    }

    fn slot(&self, index: usize) -> Option<(&Chunk, &Slot)> {
        let chunk = self.chunks.get(index / CHUNK_SLOTS)?.get()?.as_ref()?;
        let slot = chunk.slots().get(index % CHUNK_SLOTS)?;
        Some((chunk, slot))
    }
}

impl Slot {
    /// Marks the slot for one writer, with the next generation, unless somebody uses it.
    ///
    /// A generation comes back after 2^32 tables in one slot: a ticket that old is not read.
    fn start_writing(&self) -> Option<u64> {
        let state = self.state.load(Ordering::Relaxed);
        let idle = state & u64::from(u32::MAX) == 0;
        let generation = (state >> GENERATION_SHIFT).wrapping_add(1) & u64::from(u32::MAX);
        // Acquire: the last reader's reads happen before the writes that follow.
        let taken = idle
            && self
                .state
                .compare_exchange(
                    state,
                    (generation << GENERATION_SHIFT) | WRITER,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok();
        taken.then_some(generation)
    }
}

impl Ticket {
    fn read(&self) -> Option<(usize, u64)> {
        let value = self.0.load(Ordering::Relaxed);
        let index = (value >> GENERATION_SHIFT).checked_sub(1)?;
        Some((usize::try_from(index).ok()?, value & u64::from(u32::MAX)))
    }

    fn write(&self, index: usize, generation: u64) {
        let number = (index as u64).wrapping_add(1);
        self.0
            .store((number << GENERATION_SHIFT) | generation, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
