//! A chunk of table memory: one huge page where the system offers them.

use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc};
use std::boxed::Box;

use super::{Slot, WRITER};
use crate::voucher::curve::{AffinePoint, SignerTable};
use core::sync::atomic::Ordering;

/// The size and alignment of a huge page.
const CHUNK_BYTES: usize = 2 << 20;
/// Slots of a full chunk.
pub(super) const CHUNK_SLOTS: usize = CHUNK_BYTES / size_of::<SignerTable>();

/// Tables and the state of their slots.
#[derive(Debug)]
pub(super) struct Chunk {
    memory: NonNull<SignerTable>,
    layout: Layout,
    slots: Box<[Slot]>,
}

// SAFETY: the memory belongs to the chunk alone. A table is written only by the thread that set
// the writer bit of its slot while no reader was counted, and read only by threads that counted
// themselves while no writer bit was set; acquire and release order the two.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

/// Slots that fit a limit of bytes: whole chunks, and one smaller chunk for what is left.
pub(super) const fn slots_in(bytes: usize) -> usize {
    let whole = (bytes / CHUNK_BYTES).saturating_mul(CHUNK_SLOTS);
    match (bytes % CHUNK_BYTES).checked_div(size_of::<SignerTable>()) {
        Some(rest) => whole.saturating_add(rest),
        None => whole,
    }
}

impl Chunk {
    /// Memory for a chunk of at most `slots` slots; `None` if the system has none.
    pub(super) fn allocate(slots: usize) -> Option<Self> {
        let slots = slots.min(CHUNK_SLOTS);
        let bytes = if slots == CHUNK_SLOTS {
            CHUNK_BYTES
        } else {
            slots.checked_mul(size_of::<SignerTable>())?
        };
        let layout = Layout::from_size_align(bytes, CHUNK_BYTES).ok()?;
        if layout.size() == 0 {
            return None;
        }
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc(layout) })?;
        advise_huge_page(memory, layout);
        // Zeros are tables without meaning, but they are initialized memory.
        // SAFETY: the whole allocation is written.
        unsafe { memory.write_bytes(0, layout.size()) };
        Some(Self {
            memory: memory.cast(),
            layout,
            slots: core::iter::repeat_with(Slot::default).take(slots).collect(),
        })
    }

    pub(super) const fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The table of a slot that the caller has pinned.
    pub(super) fn table(&self, slot: usize) -> &SignerTable {
        assert!(slot < self.slots.len(), "a slot of this chunk");
        // SAFETY: in bounds of the allocation, aligned to 64 as the chunk is and the size of a
        // table is a multiple of that, initialized, and pinned: nobody writes.
        unsafe { self.memory.add(slot).as_ref() }
    }

    /// Builds a table in a slot whose writer bit the caller has set.
    pub(super) fn build(&self, slot: usize, key: &AffinePoint) {
        let writing = self
            .slots
            .get(slot)
            .map(|slot| slot.state.load(Ordering::Relaxed));
        assert!(
            writing.is_some_and(|state| state & WRITER != 0),
            "a slot taken for writing"
        );
        // SAFETY: as for `table`, and the writer bit keeps every reader and other writer out.
        let table = unsafe { &mut *self.memory.add(slot).as_ptr() };
        table.build(key);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and no guard outlives the arena it borrows.
        unsafe { dealloc(self.memory.as_ptr().cast(), self.layout) }
    }
}

/// Asks for a huge page: tables are read at random, so they would miss the TLB in small pages.
#[cfg(target_os = "linux")]
fn advise_huge_page(memory: NonNull<u8>, layout: Layout) {
    if layout.size() == CHUNK_BYTES {
        // A refusal costs speed only.
        // SAFETY: the range is the allocation, aligned to pages, and the advice keeps contents.
        unsafe { libc::madvise(memory.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
const fn advise_huge_page(_memory: NonNull<u8>, _layout: Layout) {}
