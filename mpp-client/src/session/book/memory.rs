//! The book in memory: for tests, and for programs that close their channels before they end.

use std::collections::HashMap;
use std::sync::Mutex;

use alloy_primitives::Address;
use mpp_tempo::ChannelId;

use super::{
    Admission, BookError, ChannelBook, ChannelKey, ChannelRecord, Gate, Phase, is_remembered,
};
use crate::charge::{ChargeId, ChargeRecord};
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
    payees: HashMap<String, Vec<Address>>,
    gates: HashMap<ChannelKey, Gate>,
    exit_gates: HashMap<ChannelId, Gate>,
    charges: Vec<ChargeRecord>,
}

impl ChannelBook for MemoryBook {
    fn add_channel(
        &self,
        record: ChannelRecord,
        admit: &mut dyn FnMut(&[ChannelRecord]) -> bool,
    ) -> Result<Admission, BookError> {
        let mut shelf = lock(&self.0);
        if shelf.records.contains_key(&record.id) {
            return Err(BookError::Exists);
        }
        let others: Vec<_> = shelf.records.values().cloned().collect();
        if !admit(&others) {
            return Ok(Admission::Refused);
        }
        shelf.current.insert(record.key.clone(), record.id);
        shelf.records.insert(record.id, record);
        Ok(Admission::Added)
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

    fn payees_of(&self, origin: &str) -> Result<Vec<Address>, BookError> {
        let pinned = lock(&self.0).payees.get(origin).cloned();
        Ok(pinned.unwrap_or_default())
    }

    fn pin_payees(&self, origin: &str, payees: &[Address]) -> Result<Vec<Address>, BookError> {
        let mut shelf = lock(&self.0);
        let pinned = shelf.payees.entry(origin.to_owned());
        Ok(pinned.or_insert_with(|| payees.to_vec()).clone())
    }

    fn add_charge(
        &self,
        record: ChargeRecord,
        admit: &mut dyn FnMut(&[ChargeRecord]) -> bool,
    ) -> Result<Admission, BookError> {
        let mut shelf = lock(&self.0);
        if shelf.charges.iter().any(|charge| charge.id == record.id) {
            return Err(BookError::Exists);
        }
        if !admit(&shelf.charges) {
            return Ok(Admission::Refused);
        }
        shelf
            .charges
            .retain(|charge| is_remembered(charge, record.at));
        shelf.charges.push(record);
        Ok(Admission::Added)
    }

    fn update_charge(
        &self,
        id: &ChargeId,
        change: &mut dyn FnMut(&mut ChargeRecord),
    ) -> Result<(), BookError> {
        let mut shelf = lock(&self.0);
        let mut charges = shelf.charges.iter_mut();
        change(
            charges
                .find(|charge| charge.id == *id)
                .ok_or(BookError::Unknown)?,
        );
        Ok(())
    }

    fn charges(&self) -> Result<Vec<ChargeRecord>, BookError> {
        Ok(lock(&self.0).charges.clone())
    }

    fn gate(&self, key: &ChannelKey) -> Gate {
        lock(&self.0).gates.entry(key.clone()).or_default().clone()
    }

    fn exit_gate(&self, id: &ChannelId) -> Gate {
        lock(&self.0).exit_gates.entry(*id).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::session::book::conformance;

    #[test]
    fn the_book_in_memory_keeps_the_rules_of_books() {
        conformance::run(|| {
            let book = Arc::new(MemoryBook::default());
            move || Arc::clone(&book) as Arc<dyn ChannelBook>
        });
    }
}
