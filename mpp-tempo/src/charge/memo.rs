//! The attribution memo that binds a transfer to one challenge (PROTOCOL 4).

use alloy_primitives::{B256, hex, keccak256};

/// First bytes of `keccak256("mpp")`.
const TAG: [u8; 4] = hex!("ef1ed712");
const VERSION: u8 = 1;

/// The 32 bytes in the memo of a transfer: who asked, who pays, and for which challenge.
///
/// Layout: tag (4), version (1), realm hash (10), client hash or zero (10), challenge hash (7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttributionMemo {
    realm: [u8; 10],
    client: [u8; 10],
    challenge: [u8; 7],
}

/// A memo that belongs to no or to another challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transfer memo does not belong to this challenge")]
pub struct MemoMismatch;

impl AttributionMemo {
    /// The memo of a payment of `challenge_id` of `realm`.
    #[must_use]
    pub fn new(realm: &str, client_id: Option<&str>, challenge_id: &str) -> Self {
        Self {
            realm: prefix(realm),
            client: client_id.map(prefix).unwrap_or_default(),
            challenge: prefix(challenge_id),
        }
    }

    /// Reads a memo; `None` if it is no attribution memo of this version.
    #[must_use]
    pub fn parse(memo: &B256) -> Option<Self> {
        let (head, rest) = memo.0.split_first_chunk::<5>()?;
        let (realm, rest) = rest.split_first_chunk()?;
        let (client, challenge) = rest.split_first_chunk()?;
        let own = head[..4] == TAG && head[4] == VERSION;
        own.then_some(Self {
            realm: *realm,
            client: *client,
            challenge: challenge.try_into().ok()?,
        })
    }

    /// The memo as it goes on chain.
    #[must_use]
    pub fn to_word(self) -> B256 {
        let mut word = [0; 32];
        word[..4].copy_from_slice(&TAG);
        word[4] = VERSION;
        word[5..15].copy_from_slice(&self.realm);
        word[15..25].copy_from_slice(&self.client);
        word[25..].copy_from_slice(&self.challenge);
        word.into()
    }

    /// Checks that the memo belongs to a challenge, whoever the client says it is.
    ///
    /// # Errors
    /// [`MemoMismatch`] if realm or challenge differ.
    pub fn check(&self, realm: &str, challenge_id: &str) -> Result<(), MemoMismatch> {
        let expected = Self::new(realm, None, challenge_id);
        if self.realm == expected.realm && self.challenge == expected.challenge {
            Ok(())
        } else {
            Err(MemoMismatch)
        }
    }
}

fn prefix<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(keccak256(text)) {
        *to = from;
    }
    out
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;
    use crate::testing::{field, golden};

    // PROTOCOL 4: attribution memo.
    #[test]
    fn memos_equal_the_golden_values() {
        let golden = golden();
        let cases = golden["attribution_memo"].as_array().unwrap();
        assert_eq!(cases.len(), 1);
        for case in cases {
            let (server, challenge) = (&case["serverId"], &case["challengeId"]);
            let memo = AttributionMemo::new(
                server.as_str().unwrap(),
                case["clientId"].as_str(),
                challenge.as_str().unwrap(),
            );
            assert_eq!(memo.to_word(), field::<B256>(case, "memo"));
            assert_eq!(AttributionMemo::parse(&memo.to_word()), Some(memo));
        }
        assert_eq!(TAG, prefix("mpp"));
    }

    #[test]
    fn a_memo_belongs_to_one_challenge() {
        let memo = AttributionMemo::new("a.example", Some("client"), "c1");
        assert_eq!(memo.check("a.example", "c1"), Ok(()));
        assert_eq!(memo.check("a.example", "c2"), Err(MemoMismatch));
        assert_eq!(memo.check("b.example", "c1"), Err(MemoMismatch));
    }

    #[test]
    fn other_words_are_no_memos() {
        assert_eq!(AttributionMemo::parse(&B256::ZERO), None);
        let mut later = AttributionMemo::new("a", None, "c").to_word().to_owned();
        later.0[4] = 2;
        assert_eq!(AttributionMemo::parse(&later), None);
    }
}
