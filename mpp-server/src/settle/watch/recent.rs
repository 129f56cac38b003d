//! The events of the newest blocks: what a reorganization could take back.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::B256;
use mpp_core::Amount;
use mpp_tempo::channel::ChannelId;

use super::news::{News, Pair};
use crate::settle::sight::Young;

/// For so many blocks an event is looked for again. Tempo's blocks are final;
/// nodes that show another branch have been seen to do so for seconds.
pub(crate) const WINDOW: u64 = 64;

/// An event that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) block: u64,
    pub(crate) channel: ChannelId,
    pub(crate) pair: Pair,
    /// The deposit before it, when it made it grow.
    pub(crate) before: Option<Amount>,
}

/// The noted events of the newest blocks, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Recent(BTreeMap<B256, Noted>);

impl Recent {
    /// Whether the event was not noted before. If it was, it may have moved to
    /// another block.
    pub(crate) fn note(&mut self, news: &News) -> bool {
        let noted = Noted {
            block: news.block,
            channel: news.event.channel_id(),
            pair: news.pair,
            before: news.deposit_before(),
        };
        self.0.insert(news.key, noted).is_none()
    }

    /// Whether the event was noted before.
    pub(crate) fn knows(&self, news: &News) -> bool {
        self.0.contains_key(&news.key)
    }

    /// Takes over an event as it was stored.
    pub(crate) fn restore(&mut self, key: B256, noted: Noted) {
        self.0.entry(key).or_insert(noted);
    }

    /// Forgets those of blocks up to `head` that the chain does not show any
    /// more, and says whose they were and which block has held them.
    pub(crate) fn take_missing(
        &mut self,
        shown: &HashSet<B256>,
        head: u64,
    ) -> Vec<(ChannelId, u64)> {
        let is_missing =
            |key: &B256, noted: &mut Noted| noted.block <= head && !shown.contains(key);
        let missing = self.0.extract_if(.., is_missing);
        missing
            .map(|(_, noted)| (noted.channel, noted.block))
            .collect()
    }

    /// Forgets those that are older than any reorganization.
    pub(crate) fn forget_before(&mut self, block: u64) {
        self.0.retain(|_, noted| noted.block >= block);
    }

    /// The deposits that grew in the newest `depth` blocks.
    pub(crate) fn young(
        &self,
        head: u64,
        depth: u64,
    ) -> impl Iterator<Item = (ChannelId, Young)> + '_ {
        self.0.values().filter_map(move |noted| {
            let is_young = noted.block.saturating_add(depth) > head;
            let before = noted.before.filter(|_| is_young)?;
            let block = noted.block;
            Some((noted.channel, Young { block, before }))
        })
    }

    /// The newest of a pair, at most `limit`.
    pub(crate) fn of(&self, pair: Pair, limit: usize) -> Vec<(B256, Noted)> {
        let ours = self.0.iter().filter(|(_, noted)| noted.pair == pair);
        let mut ours: Vec<_> = ours.map(|(key, noted)| (*key, *noted)).collect();
        ours.sort_by_key(|(_, noted)| std::cmp::Reverse(noted.block));
        ours.truncate(limit);
        ours
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use mpp_tempo::escrow::EscrowEvent;

    use super::*;
    use crate::testing::amount;

    fn top_up(key: u8, block: u64) -> News {
        News {
            block,
            key: B256::repeat_byte(key),
            pair: Pair {
                payee: Address::ZERO,
                escrow: Address::ZERO,
            },
            transaction: None,
            event: EscrowEvent::TopUp {
                channel_id: B256::repeat_byte(key),
                additional: amount(5),
                new_deposit: amount(15),
            },
        }
    }

    #[test]
    fn what_the_chain_no_longer_shows_is_missing_once() {
        let mut recent = Recent::default();
        assert!(recent.note(&top_up(1, 10)) && recent.note(&top_up(2, 11)));
        // Known from a receipt; the node that is read has not come so far.
        assert!(recent.note(&top_up(3, 13)));
        // Mined again in a later block: known.
        assert!(!recent.note(&top_up(2, 12)));
        let shown = HashSet::from([B256::repeat_byte(2)]);
        let first = (B256::repeat_byte(1), 10);
        assert_eq!(recent.take_missing(&shown, 12), [first]);
        assert_eq!(recent.take_missing(&shown, 12), []);
    }

    #[test]
    fn old_events_are_forgotten_and_the_newest_are_kept_first() {
        let mut recent = Recent::default();
        for number in 1..=9 {
            recent.note(&top_up(number, number.into()));
        }
        recent.forget_before(3);
        let pair = top_up(1, 1).pair;
        let kept: Vec<_> = recent
            .of(pair, 2)
            .iter()
            .map(|(_, noted)| noted.block)
            .collect();
        assert_eq!(kept, [9, 8]);
        let young: Vec<_> = recent.young(9, 2).map(|(_, young)| young).collect();
        let before = amount(10);
        assert_eq!(young, [8, 9].map(|block| Young { block, before }));
        assert_eq!(recent.young(9, 0).count(), 0);
    }
}
