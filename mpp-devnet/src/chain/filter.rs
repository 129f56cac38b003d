//! Which events a query wants.

use alloy_primitives::{Address, B256, Log};

/// A log query with the meaning of `eth_getLogs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// First block; `None` is the first block of the chain.
    pub from_block: Option<u64>,
    /// Last block, inclusive; `None` is the head.
    pub to_block: Option<u64>,
    /// One block only, by hash; the range is then ignored.
    pub block_hash: Option<B256>,
    /// Emitters; empty means any.
    pub addresses: Vec<Address>,
    /// For each topic position the accepted values; an empty list accepts any value.
    pub topics: Vec<Vec<B256>>,
}

impl LogQuery {
    /// Whether emitter and topics match. A log with fewer topics than positions never does.
    #[must_use]
    pub fn matches(&self, log: &Log) -> bool {
        let emitter = self.addresses.is_empty() || self.addresses.contains(&log.address);
        let topics = log.topics();
        emitter
            && topics.len() >= self.topics.len()
            && self
                .topics
                .iter()
                .zip(topics)
                .all(|(accepted, topic)| accepted.is_empty() || accepted.contains(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::LogData;

    const A: B256 = B256::repeat_byte(0xaa);
    const B: B256 = B256::repeat_byte(0xbb);

    fn log() -> Log {
        Log {
            address: Address::repeat_byte(1),
            data: LogData::new_unchecked(vec![A, B], Default::default()),
        }
    }

    #[track_caller]
    fn check(topics: Vec<Vec<B256>>, expected: bool) {
        let query = LogQuery {
            topics,
            ..LogQuery::default()
        };
        assert_eq!(query.matches(&log()), expected);
    }

    #[test]
    fn topics_match_by_position_alternatives_and_wildcards() {
        check(vec![], true);
        check(vec![vec![A]], true);
        check(vec![vec![B]], false);
        check(vec![vec![B, A]], true);
        check(vec![vec![], vec![B]], true);
        check(vec![vec![], vec![A]], false);
        check(vec![vec![A], vec![B], vec![]], false);
    }

    #[test]
    fn emitters_are_alternatives() {
        let of = |byte| LogQuery {
            addresses: vec![Address::repeat_byte(byte)],
            ..LogQuery::default()
        };
        assert!(of(1).matches(&log()));
        assert!(!of(2).matches(&log()));
    }
}
