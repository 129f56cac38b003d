//! A disk in memory that fails, fills up, waits and loses power.

use std::{
    io,
    ops::Bound,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use redb::{BackendError, StorageBackend};

/// Bytes that a real disk writes whole.
const SECTOR: usize = 512;

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<(Mutex<Platter>, Condvar)>);

#[derive(Debug, Default)]
struct Platter {
    /// What a read sees.
    content: Vec<u8>,
    /// What the last sync has made safe.
    safe: Vec<u8>,
    /// What happened since, in order.
    since: Vec<Effect>,
    syncs: u64,
    fault: Option<Trouble>,
    /// Syncs wait until this is over.
    held: bool,
}

#[derive(Clone, Debug)]
enum Effect {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// What a disk does wrong from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No sync succeeds.
    Sync,
    /// There is room for so many bytes in all.
    Full(usize),
    /// Of every write only the first half arrives.
    ShortWrites,
}

impl Disk {
    /// A disk that holds `content`, safely.
    fn holding(content: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.platter().content.clone_from(&content);
        disk.platter().safe = content;
        disk
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.0.lock().unwrap()
    }

    pub(super) fn fail(&self, trouble: Trouble) {
        self.platter().fault = Some(trouble);
    }

    pub(super) fn size(&self) -> usize {
        self.platter().content.len()
    }

    pub(super) fn syncs(&self) -> u64 {
        self.platter().syncs
    }

    /// Lets every sync wait, until what this returns is dropped.
    pub(super) fn hold(&self) -> Held {
        self.platter().held = true;
        Held(self.clone())
    }

    /// What is left when the power fails now: all that is safe, and of
    /// everything since each sector or not.
    pub(super) fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let platter = self.platter();
        let mut content = platter.safe.clone();
        for effect in &platter.since {
            match effect {
                Effect::Length(length) => {
                    if dice.roll(2) == 0 {
                        content.resize(*length, 0);
                    }
                }
                Effect::Write(offset, data) => {
                    let kind = dice.roll(4);
                    for (number, sector) in data.chunks(SECTOR).enumerate() {
                        // Whole, lost, or torn between sectors.
                        if kind == 0 || (kind > 1 && dice.roll(2) == 0) {
                            write(&mut content, offset + number * SECTOR, sector);
                        }
                    }
                }
            }
        }
        Self::holding(content)
    }
}

/// A disk whose syncs wait.
#[derive(Debug)]
#[must_use = "dropped, the syncs go on"]
pub(super) struct Held(Disk);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.platter().held = false;
        self.0.0.1.notify_all();
    }
}

fn write(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter().content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        let offset = usize::try_from(offset).unwrap();
        let found = platter.content.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut platter = self.platter();
        let length = usize::try_from(length).unwrap();
        if let Some(Trouble::Full(room)) = platter.fault
            && length > room
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platter.content.resize(length, 0);
        platter.since.push(Effect::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        while platter.held {
            platter = self.0.1.wait(platter).unwrap();
        }
        if platter.fault == Some(Trouble::Sync) {
            // As Linux does: the pages count as written although they are not.
            return Err(io::Error::other("the disk does not answer"));
        }
        platter.safe = platter.content.clone();
        platter.since.clear();
        platter.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        let offset = usize::try_from(offset).unwrap();
        let arrives = match platter.fault {
            Some(Trouble::ShortWrites) => &data[..data.len() / 2],
            Some(Trouble::Full(room)) if offset + data.len() > room => {
                return Err(io::ErrorKind::StorageFull.into());
            }
            _ => data,
        };
        write(&mut platter.content, offset, arrives);
        platter.since.push(Effect::Write(offset, arrives.to_vec()));
        if arrives.len() < data.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % sides
    }
}
