//! A store's file, read without ever being written.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io,
    ops::Bound,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend, backends::FileBackend};

/// Bytes that are kept together.
const CHUNK: u64 = 4_096;

/// Reads a file and keeps what is written on top of it in memory.
///
/// Opening a file after a crash repairs it. Whoever only looks must not change
/// what he looks at, so the repair happens in memory.
#[derive(Debug)]
pub(super) struct Snapshot {
    file: FileBackend,
    file_length: u64,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// By number.
    chunks: BTreeMap<u64, Vec<u8>>,
}

impl Snapshot {
    pub(super) fn open(path: &Path) -> Result<Self, redb::DatabaseError> {
        let file = FileBackend::new(File::open(path)?)?;
        let length = file.len()?;
        Ok(Self {
            file,
            file_length: length,
            written: Mutex::new(Written {
                length,
                chunks: BTreeMap::new(),
            }),
        })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk of the file as it is on the disk; zeros behind its end.
    fn on_disk(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut chunk = vec![0; usize::try_from(CHUNK).unwrap_or_default()];
        let start = number.saturating_mul(CHUNK);
        let there = self.file_length.saturating_sub(start).min(CHUNK);
        let there = usize::try_from(there).unwrap_or_default();
        if let Some(part) = chunk.get_mut(..there).filter(|part| !part.is_empty()) {
            self.file.read(start, part)?;
        }
        Ok(chunk)
    }

    /// Calls `visit` with each part of `offset..offset + length`: the chunk's
    /// number, the place in the chunk, the place from `offset`, and the length.
    fn parts(
        offset: u64,
        length: usize,
        mut visit: impl FnMut(u64, usize, usize, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0_usize;
        while done < length {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let within = usize::try_from(at % CHUNK).unwrap_or_default();
            let room = usize::try_from(CHUNK)
                .unwrap_or_default()
                .saturating_sub(within);
            let part = room.min(length.saturating_sub(done));
            visit(at / CHUNK, within, done, part)?;
            done = done.saturating_add(part);
        }
        Ok(())
    }
}

/// Copies `length` bytes between two places; both were cut to fit.
fn copy(from: &[u8], at: usize, to: &mut [u8], to_at: usize, length: usize) -> io::Result<()> {
    let from = from.get(at..at.saturating_add(length));
    let to = to.get_mut(to_at..to_at.saturating_add(length));
    match from.zip(to) {
        Some((from, to)) => {
            to.copy_from_slice(from);
            Ok(())
        }
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl StorageBackend for Snapshot {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        let length = out.len();
        Self::parts(offset, length, |number, within, done, part| {
            match written.chunks.get(&number) {
                Some(chunk) => copy(chunk, within, out, done, part),
                None => copy(&self.on_disk(number)?, within, out, done, part),
            }
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.written().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        Self::parts(offset, data.len(), |number, within, done, part| {
            let chunk = match written.chunks.entry(number) {
                Entry::Occupied(chunk) => chunk.into_mut(),
                Entry::Vacant(place) => place.insert(self.on_disk(number)?),
            };
            copy(data, done, chunk, within, part)
        })
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    // A reader needs no more than that nobody writes meanwhile.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
