//! The book in memory: for tests, and for programs that close their channels before they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use alloy_primitives::Address;
use mpp_tempo::ChannelId;

use super::{BookError, ChannelBook, ChannelKey, ChannelRecord, Gate, Phase};
use crate::sync::lock;

/// A [`ChannelBook`] that lasts as long as the process.
///
/// Share it with `Arc` between clients that pay from the same channels. What it knows is lost with
/// the process: close channels before, or the deposits can be recovered from the chain only.
#[derive(Debug, Default)]
pub struct MemoryBook(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    records: HashMap<ChannelId, ChannelRecord>,
    /// The latest channel of each key, which is looked at first.
    current: HashMap<ChannelKey, ChannelId>,
    payees: HashMap<String, Address>,
    gates: HashMap<ChannelKey, Gate>,
}

impl ChannelBook for MemoryBook {
    fn insert(&self, record: ChannelRecord) -> Result<(), BookError> {
        let mut shelf = lock(&self.0);
        if shelf.records.contains_key(&record.id) {
            return Err(BookError::Exists);
        }
        shelf.current.insert(record.key.clone(), record.id);
        shelf.records.insert(record.id, record);
        Ok(())
    }

    fn read(&self, id: &ChannelId) -> Result<ChannelRecord, BookError> {
        lock(&self.0)
            .records
            .get(id)
            .cloned()
            .ok_or(BookError::Unknown)
    }

    fn usable(&self, key: &ChannelKey) -> Result<Option<(ChannelId, Phase)>, BookError> {
        let shelf = lock(&self.0);
        let current = shelf.current.get(key).and_then(|id| shelf.records.get(id));
        // A channel whose close failed is usable again, although a newer one came and went.
        let older = shelf.records.values().filter(|record| record.key == *key);
        Ok(current
            .into_iter()
            .chain(older)
            .find(|record| record.phase.is_usable())
            .map(|record| (record.id, record.phase.clone())))
    }

    fn update(
        &self,
        id: &ChannelId,
        change: &mut dyn FnMut(&mut ChannelRecord),
    ) -> Result<(), BookError> {
        let mut shelf = lock(&self.0);
        change(shelf.records.get_mut(id).ok_or(BookError::Unknown)?);
        Ok(())
    }

    fn records(&self) -> Result<Vec<ChannelRecord>, BookError> {
        Ok(lock(&self.0).records.values().cloned().collect())
    }

    fn payee_of(&self, origin: &str) -> Result<Option<Address>, BookError> {
        Ok(lock(&self.0).payees.get(origin).copied())
    }

    fn pin_payee(&self, origin: &str, payee: Address) -> Result<Address, BookError> {
        Ok(*lock(&self.0)
            .payees
            .entry(origin.to_owned())
            .or_insert(payee))
    }

    fn gate(&self, key: &ChannelKey) -> Gate {
        Arc::clone(lock(&self.0).gates.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn a_record_is_inserted_once_and_changed_in_place() {
        let book = MemoryBook::default();
        let record = record(1);
        book.insert(record.clone()).unwrap();
        assert!(matches!(
            book.insert(record.clone()),
            Err(BookError::Exists)
        ));
        book.update(&record.id, &mut |record| record.phase = Phase::Open)
            .unwrap();
        assert_eq!(book.read(&record.id).unwrap().phase, Phase::Open);
        let unknown = book.update(&ChannelId::ZERO, &mut |_| ());
        assert!(matches!(unknown, Err(BookError::Unknown)));
    }

    // SECURITY-CASES: the record of a channel that still holds money deleted.
    #[test]
    fn a_replaced_channel_stays_in_the_book() {
        let book = MemoryBook::default();
        let (old, new) = (record(1), record(2));
        assert_eq!(old.key, new.key);
        book.insert(old.clone()).unwrap();
        book.insert(new.clone()).unwrap();
        let usable = book.usable(&new.key).unwrap();
        assert_eq!(usable, Some((new.id, Phase::Opening)));
        assert_eq!(book.records().unwrap().len(), 2);
        assert!(book.read(&old.id).unwrap().phase.may_hold_money());
    }

    #[test]
    fn an_older_channel_can_become_usable_again() {
        let book = MemoryBook::default();
        let (old, new) = (record(1), record(2));
        for (record, phase) in [(&old, Phase::Open), (&new, Phase::NeverOpened)] {
            book.insert(record.clone()).unwrap();
            book.update(&record.id, &mut |record| record.phase = phase.clone())
                .unwrap();
        }
        assert_eq!(book.usable(&old.key).unwrap(), Some((old.id, Phase::Open)));
    }

    #[test]
    fn a_channel_that_ended_is_not_usable() {
        let book = MemoryBook::default();
        let record = record(1);
        book.insert(record.clone()).unwrap();
        for phase in [
            Phase::Closing,
            Phase::CloseRequested { at: 1 },
            Phase::Closed { tx_hash: None },
            Phase::NeverOpened,
        ] {
            book.update(&record.id, &mut |record| record.phase = phase.clone())
                .unwrap();
            assert_eq!(book.usable(&record.key).unwrap(), None);
        }
    }

    // SECURITY-CASES A27: the payee is pinned per origin.
    #[test]
    fn the_first_payee_of_an_origin_stays() {
        let book = MemoryBook::default();
        let (first, second) = (Address::repeat_byte(1), Address::repeat_byte(2));
        assert_eq!(book.payee_of("https://a:443").unwrap(), None);
        assert_eq!(book.pin_payee("https://a:443", first).unwrap(), first);
        assert_eq!(book.pin_payee("https://a:443", second).unwrap(), first);
        assert_eq!(book.payee_of("https://b:443").unwrap(), None);
    }

    #[test]
    fn a_gate_belongs_to_its_key() {
        let book = MemoryBook::default();
        let key = record(1).key;
        let held = book.gate(&key).try_lock_owned();
        assert!(held.is_some());
        assert!(book.gate(&key).try_lock_owned().is_none());
        let mut other = key.clone();
        other.chain_id = 1;
        assert!(book.gate(&other).try_lock_owned().is_some());
    }
}
