//! The book on disk: one directory, shared by any number of processes.
//!
//! ```text
//! FORMAT            the format's number
//! book.lock         held for a moment by whoever adds a channel, a charge, a payee or an owner
//! channels/<id>.log how the channel came to be, then one line for each state (see `folio`)
//! payees.log        the payees that each server is pinned to
//! charges.log       one line for each state of a charge
//! owners/<id>       one file for each open handle, locked for as long as it lives
//! locks/<name>      locks of channels, of keys while they are opened, refilled or closed, and of
//!                   channels while they are left
//! ```
//!
//! A change is made under the channel's lock, on the state that is read under it, and appended
//! before the lock is given back. What the payer promises with it - a higher voucher, a request that
//! pays out of what is signed already, another phase, a top-up - is flushed to the disk first; the
//! rest survives the process but may be lost with the machine, after which the requests that were
//! running count as lost.

mod charges;
mod fault;
mod folio;
mod line;
pub(super) mod lock;
mod owner;
mod payees;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, hex, keccak256};
use mpp_tempo::ChannelId;

use self::charges::Charges;
use self::fault::{At as _, Failed};
use self::folio::{Birth, Folio, State};
use self::lock::FileLock;
use self::owner::Owner;
use self::payees::Payees;
use super::{Admission, BookError, ChannelBook, ChannelKey, ChannelRecord, Gate, Phase};
use crate::charge::{ChargeId, ChargeRecord};
use crate::sync::lock;

/// The format that this version writes.
const FORMAT: &str = "mpp channel book 2\n";
/// The one before, without a phase for closes that the chain has not shown. All of it can be read.
const FIRST_FORMAT: &str = "mpp channel book 1\n";

/// A [`ChannelBook`] in a directory.
///
/// Any number of handles, in one process or in several, may use the directory at the same time:
/// they sign on a channel as one. It belongs on a local disk, because network file systems do not
/// lock reliably. Files are readable by their owner only; they hold no key, but signed vouchers and
/// transactions.
///
/// # Examples
///
/// ```
/// use mpp_client::session::book::{ChannelBook, DurableBook};
///
/// let path = std::env::temp_dir().join(format!("channel-book-example-{}", std::process::id()));
/// let book = DurableBook::open(&path)?;
/// assert!(book.records()?.is_empty());
/// # std::fs::remove_dir_all(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DurableBook {
    root: PathBuf,
    owner: Owner,
    folios: Mutex<HashMap<ChannelId, Arc<Mutex<Folio>>>>,
    births: Mutex<HashMap<ChannelId, Arc<Birth>>>,
    gates: Mutex<HashMap<ChannelKey, Gate>>,
    exit_gates: Mutex<HashMap<ChannelId, Gate>>,
    payees: Payees,
    charges: Charges,
    /// A flush failed: nobody knows what is on the disk.
    failed: AtomicBool,
}

impl DurableBook {
    /// Opens the book in a directory, and makes it if it is not there.
    ///
    /// # Errors
    /// [`BookError::Format`] for a directory that holds something else or a book of a later
    /// version, [`BookError::Storage`] when it can not be read or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BookError> {
        let root = path.as_ref().to_owned();
        for folder in ["channels", "owners", "locks"] {
            lock::private_folder(&root.join(folder))?;
        }
        let entry = FileLock::acquire(&root.join("book.lock"))?;
        check_format(&root)?;
        let owner = Owner::register(root.join("owners"))?;
        drop(entry);
        Ok(Self {
            payees: Payees::new(root.join("payees.log")),
            charges: Charges::new(root.join("charges.log")),
            root,
            owner,
            folios: Mutex::default(),
            births: Mutex::default(),
            gates: Mutex::default(),
            exit_gates: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    fn enter(&self) -> Result<FileLock, BookError> {
        self.check()?;
        FileLock::acquire(&self.root.join("book.lock"))
    }

    /// A book whose disk failed accepts nothing until it is opened again.
    fn check(&self) -> Result<(), BookError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(BookError::Storage(Box::new(Failed)));
        }
        Ok(())
    }

    fn note<T>(&self, written: Result<T, BookError>) -> Result<T, BookError> {
        if written.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        written
    }

    fn log(&self, id: &ChannelId) -> PathBuf {
        let name = format!("{}.log", hex::encode_prefixed(id));
        self.root.join("channels").join(name)
    }

    fn lock_of(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }

    fn folio(&self, id: &ChannelId) -> Result<Arc<Mutex<Folio>>, BookError> {
        let birth = self.birth(id)?;
        let mut folios = lock(&self.folios);
        if let Some(folio) = folios.get(id) {
            return Ok(Arc::clone(folio));
        }
        let guard = self.lock_of(&hex::encode_prefixed(id));
        let folio = Arc::new(Mutex::new(Folio::new(self.log(id), guard, birth)));
        folios.insert(*id, Arc::clone(&folio));
        Ok(folio)
    }

    /// How a channel came to be; that never changes.
    fn birth(&self, id: &ChannelId) -> Result<Arc<Birth>, BookError> {
        if let Some(birth) = lock(&self.births).get(id) {
            return Ok(Arc::clone(birth));
        }
        let birth = folio::birth(&self.log(id))?;
        if birth.terms.id() != *id {
            return Err(BookError::damaged(&self.log(id)));
        }
        let birth = Arc::new(birth);
        lock(&self.births).insert(*id, Arc::clone(&birth));
        Ok(birth)
    }

    fn last(&self, id: &ChannelId) -> Result<(Arc<Birth>, State), BookError> {
        let birth = self.birth(id)?;
        let state = folio::state(&self.log(id))?;
        Ok((birth, state))
    }

    /// Writes the log of a new channel, under the book's lock.
    fn create(&self, record: ChannelRecord, _entry: &FileLock) -> Result<(), BookError> {
        let path = self.log(&record.id);
        if path.try_exists().at(&path)? {
            return Err(BookError::Exists);
        }
        let number = u64::try_from(self.ids()?.len()).unwrap_or(u64::MAX);
        let (birth, state) = folio::split(record, number);
        self.note(folio::create(&path, &birth, &state))
    }

    /// All channels, in no particular order.
    fn ids(&self) -> Result<Vec<ChannelId>, BookError> {
        let folder = self.root.join("channels");
        let mut ids = Vec::new();
        for entry in fs::read_dir(&folder).at(&folder)? {
            let name = entry.at(&folder)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".log"));
            ids.extend(id.and_then(|id| id.parse::<ChannelId>().ok()));
        }
        Ok(ids)
    }
}

impl ChannelBook for DurableBook {
    fn add_channel(
        &self,
        record: ChannelRecord,
        admit: &mut dyn FnMut(&[ChannelRecord]) -> bool,
    ) -> Result<Admission, BookError> {
        let entry = self.enter()?;
        let path = self.log(&record.id);
        if path.try_exists().at(&path)? {
            return Err(BookError::Exists);
        }
        if !admit(&self.records()?) {
            return Ok(Admission::Refused);
        }
        self.create(record, &entry)?;
        Ok(Admission::Added)
    }

    fn insert(&self, record: ChannelRecord) -> Result<(), BookError> {
        // Without a look at the others, so that one that is damaged keeps none out.
        let entry = self.enter()?;
        self.create(record, &entry)
    }

    fn read(&self, id: &ChannelId) -> Result<ChannelRecord, BookError> {
        let (birth, state) = self.last(id)?;
        Ok(folio::join(&birth, state.kept))
    }

    fn usable(&self, key: &ChannelKey) -> Result<Option<(ChannelId, Phase)>, BookError> {
        let mut found: Option<(u64, ChannelId, Phase)> = None;
        for id in self.ids()? {
            let birth = self.birth(&id)?;
            let is_newest = found.as_ref().is_none_or(|(n, ..)| *n < birth.number);
            if birth.key == *key && is_newest {
                let phase = folio::state(&self.log(&id))?.kept.phase;
                if phase.is_usable() {
                    found = Some((birth.number, id, phase));
                }
            }
        }
        Ok(found.map(|(_, id, phase)| (id, phase)))
    }

    fn update(
        &self,
        id: &ChannelId,
        change: &mut dyn FnMut(&mut ChannelRecord),
    ) -> Result<(), BookError> {
        self.check()?;
        let folio = self.folio(id)?;
        let mut folio = lock(&folio);
        let mut page = folio.begin()?;
        let before = page.state.clone();
        settle_dead(&mut page.state, &self.owner)?;
        let running = page.state.kept.ledger.running();
        let mut record = folio::join(page.birth, page.state.kept.clone());
        change(&mut record);
        page.state.kept = folio::Kept::from(record);
        let moved = page
            .state
            .running_of(self.owner.id())
            .moved(running, page.state.kept.ledger.running());
        page.state.set_running(self.owner.id(), moved);
        if page.state == before {
            return Ok(());
        }
        let is_promise = page.state.promises_more_than(&before);
        self.note(page.write(is_promise))
    }

    fn records(&self) -> Result<Vec<ChannelRecord>, BookError> {
        self.ids()?.iter().map(|id| self.read(id)).collect()
    }

    fn payees_of(&self, origin: &str) -> Result<Vec<Address>, BookError> {
        Ok(self.payees.find(origin)?.unwrap_or_default())
    }

    fn pin_payees(&self, origin: &str, payees: &[Address]) -> Result<Vec<Address>, BookError> {
        if let Some(pinned) = self.payees.find(origin)? {
            return Ok(pinned);
        }
        let entry = self.enter()?;
        // Whoever had the lock before may have pinned it.
        if let Some(pinned) = self.payees.find(origin)? {
            return Ok(pinned);
        }
        self.note(self.payees.add(origin, payees))?;
        drop(entry);
        Ok(payees.to_vec())
    }

    fn add_charge(
        &self,
        record: ChargeRecord,
        admit: &mut dyn FnMut(&[ChargeRecord]) -> bool,
    ) -> Result<Admission, BookError> {
        let entry = self.enter()?;
        let read = self.charges.read()?;
        if read.records.contains_key(&record.id) {
            return Err(BookError::Exists);
        }
        let others: Vec<_> = read.records.values().cloned().collect();
        if !admit(&others) {
            return Ok(Admission::Refused);
        }
        self.note(self.charges.write(read, &record, record.at))?;
        drop(entry);
        Ok(Admission::Added)
    }

    fn update_charge(
        &self,
        id: &ChargeId,
        change: &mut dyn FnMut(&mut ChargeRecord),
    ) -> Result<(), BookError> {
        let entry = self.enter()?;
        let mut read = self.charges.read()?;
        let mut record = read.records.remove(id).ok_or(BookError::Unknown)?;
        let before = record.clone();
        change(&mut record);
        if record != before {
            // Only a new charge tells the time, so nothing is forgotten here.
            self.note(self.charges.write(read, &record, mpp_core::Timestamp::MIN))?;
        }
        drop(entry);
        Ok(())
    }

    fn charges(&self) -> Result<Vec<ChargeRecord>, BookError> {
        Ok(self.charges.read()?.records.into_values().collect())
    }

    fn gate(&self, key: &ChannelKey) -> Gate {
        let mut gates = lock(&self.gates);
        let make = || {
            // Equal keys have equal JSON, in every process. Without it all keys would share a lock.
            let name = serde_json::to_vec(key).unwrap_or_default();
            let name = hex::encode(keccak256(name));
            Gate::over_file(self.lock_of(&name))
        };
        gates.entry(key.clone()).or_insert_with(make).clone()
    }

    fn exit_gate(&self, id: &ChannelId) -> Gate {
        let mut gates = lock(&self.exit_gates);
        let make = || {
            let name = format!("{}.exit", hex::encode_prefixed(id));
            Gate::over_file(self.lock_of(&name))
        };
        gates.entry(*id).or_insert_with(make).clone()
    }
}

/// Requests of handles that are gone will never be booked: they count as lost.
fn settle_dead(state: &mut State, own: &Owner) -> Result<(), BookError> {
    let mut alive = BTreeMap::new();
    for (owner, running) in std::mem::take(&mut state.running) {
        if owner == own.id() || own.is_alive(&owner)? {
            alive.insert(owner, running);
        } else {
            state.kept.ledger.abandon(&running);
        }
    }
    state.running = alive;
    Ok(())
}

/// Whether the directory is a book of this version; a new one and an older one become it.
fn check_format(root: &Path) -> Result<(), BookError> {
    let path = root.join("FORMAT");
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) if found == FIRST_FORMAT => line::replace(&path, FORMAT.as_bytes()),
        Ok(found) => Err(BookError::Format {
            found: crate::text::Printable(found.trim()).to_string(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = root.join("channels");
            if fs::read_dir(&folder).at(&folder)?.next().is_some() {
                return Err(BookError::Format {
                    found: String::from("channels without a FORMAT file"),
                });
            }
            line::replace(&path, FORMAT.as_bytes())
        }
        Err(error) => Err(error).at(&path),
    }
}

#[cfg(test)]
mod tests;
