//! A map that remembers how to undo its writes.

use std::collections::HashMap;
use std::hash::Hash;

/// Rows with an undo log.
///
/// Every write pushes the value it replaced. A transaction takes a [`mark`](Self::mark) and rolls back to it when
/// one of its calls reverts; a reorganization rolls back to the mark taken before a block.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, V> {
    rows: HashMap<K, V>,
    undo: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            undo: Vec::new(),
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Table<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub(crate) fn set(&mut self, key: K, value: V) {
        let before = self.rows.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(before) = self.rows.remove(key) {
            self.undo.push((key.clone(), Some(before)));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// Position in the undo log; give it to [`rollback`](Self::rollback).
    pub(crate) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Restores the rows as they were at `mark`.
    pub(crate) fn rollback(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some((key, Some(value))) => {
                    self.rows.insert(key, value);
                }
                Some((key, None)) => {
                    self.rows.remove(&key);
                }
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rollback_restores_replaced_removed_and_new_rows() {
        let mut table = Table::default();
        table.set("kept", 1);
        table.set("removed", 2);
        let mark = table.mark();
        table.set("kept", 10);
        table.set("kept", 11);
        table.remove(&"removed");
        table.set("new", 3);
        table.rollback(mark);
        assert_eq!(table.get(&"kept"), Some(&1));
        assert_eq!(table.get(&"removed"), Some(&2));
        assert_eq!(table.get(&"new"), None);
    }

    proptest! {
        #[test]
        fn rollback_equals_a_copy(before in prop::collection::vec((0u8..8, any::<Option<u8>>()), 0..20),
                                  after in prop::collection::vec((0u8..8, any::<Option<u8>>()), 0..20)) {
            let mut table = Table::<u8, u8>::default();
            let apply = |table: &mut Table<u8, u8>, writes: &[(u8, Option<u8>)]| {
                for (key, value) in writes {
                    match value {
                        Some(value) => table.set(*key, *value),
                        None => table.remove(key),
                    }
                }
            };
            apply(&mut table, &before);
            let copy = table.rows.clone();
            let mark = table.mark();
            apply(&mut table, &after);
            table.rollback(mark);
            prop_assert_eq!(table.rows, copy);
        }
    }
}
