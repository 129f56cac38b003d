//! What is known to differ, and why.

use super::difference::Difference;

/// A known difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// What was asked; nothing stands for everything.
    asked: &'static [&'static str],
    /// Ends of the places in the answers.
    paths: &'static [&'static str],
    /// Why the difference stays.
    pub(super) why: &'static str,
}

impl Known {
    /// Whether it is this one.
    pub(super) fn covers(&self, found: &Difference) -> bool {
        let asked = self.asked.is_empty() || self.asked.contains(&found.asked.as_str());
        asked && self.paths.iter().any(|path| found.path.ends_with(path))
    }

    /// What of it no answer shows any more.
    pub(super) fn stale(&self, found: &[Difference]) -> Vec<String> {
        let covered = || found.iter().filter(|found| self.covers(found));
        let unseen = |asked: &&&str| !covered().any(|found| found.asked == **asked);
        let mut stale: Vec<_> = self
            .asked
            .iter()
            .filter(unseen)
            .map(ToString::to_string)
            .collect();
        let unseen = |path: &&&str| !covered().any(|found| found.path.ends_with(**path));
        stale.extend(self.paths.iter().filter(unseen).map(ToString::to_string));
        stale
    }

    /// Where it is seen.
    pub(super) fn place(&self) -> String {
        match self.asked {
            [] => format!("every {}", self.paths.join(", ")),
            asked => asked.join(", "),
        }
    }
}

const SIMULATIONS: &[&str] = &[
    "a simulation",
    "a simulation of a failure",
    "v2 open simulated",
];
const EITHER: &[&str] = &["/error", "/result"];

/// The table. What is not the same for a good reason is here; the rest is a bug in one of the two.
pub(super) const KNOWN: &[Known] = &[
    Known {
        asked: &[],
        paths: &["/blobGasPrice"],
        why: "anvil's receipts name a price of blobs, which Tempo does not have",
    },
    Known {
        asked: &[],
        paths: &["/blockTimestamp"],
        why: "anvil's receipts have one, as a number; its transactions, too",
    },
    Known {
        asked: &[],
        paths: &["/feeToken"],
        why: "anvil's receipts do not name it",
    },
    Known {
        asked: &[],
        paths: &["/gasPrice"],
        why: "anvil's 0x76 transactions do not name it",
    },
    Known {
        asked: &["a native balance"],
        paths: &["/result"],
        why: "Tempo's nodes say a number that stands for none, anvil zero",
    },
    Known {
        asked: &["code of the v1 escrow", "code of the v2 reserve"],
        paths: &["/result"],
        why: "Solidity on anvil, native in the embedded node",
    },
    Known {
        asked: &["a call in a block to come", "logs of an unknown block"],
        paths: &["/error/code"],
        why: "each node has its own code for a block that is not there",
    },
    Known {
        asked: &["logs of blocks to come"],
        paths: EITHER,
        why: "anvil refuses what the embedded node finds nothing in",
    },
    Known {
        asked: &[
            "a mined one again",
            "a mined one again, only sent",
            "of a used nonce lane",
        ],
        paths: EITHER,
        why: "anvil takes what can not be mined any more",
    },
    Known {
        asked: &["an estimate of a failing batch", "a failing batch tried"],
        paths: EITHER,
        why: "anvil does not run the calls of a 0x76 request",
    },
    Known {
        asked: SIMULATIONS,
        paths: &["/transactions", "/transactionHash"],
        why: "anvil makes up hashes for calls that are no transactions",
    },
    Known {
        asked: SIMULATIONS,
        paths: &[
            "/blobGasUsed",
            "/excessBlobGas",
            "/mainBlockGeneralGasLimit",
            "/parentBeaconBlockRoot",
            "/requestsHash",
            "/sharedGasLimit",
            "/size",
            "/timestampMillis",
            "/timestampMillisPart",
            "/totalDifficulty",
            "/withdrawals",
            "/withdrawalsRoot",
        ],
        why: "anvil's simulated blocks lack what its own blocks have",
    },
    Known {
        asked: &["a simulation of a failure"],
        paths: &["/error/code", "/error/message", "/error/data"],
        why: "anvil has a code and words of its own; returnData is the same",
    },
    Known {
        asked: &["no such fee token"],
        paths: &["/error/data"],
        why: "Tempo's nodes name the token for programs to read, anvil does not",
    },
    Known {
        asked: &["a sponsored transfer"],
        paths: &["/feePayer"],
        why: "anvil's receipts always name the sender",
    },
    Known {
        asked: &[
            "of a poor sender",
            "expired",
            "of another chain",
            "below the base fee",
        ],
        paths: &["/error/code"],
        why: "anvil refuses with -32003, the embedded node with -32000; clients take both",
    },
    Known {
        asked: &["an ordinary transaction of a fresh account"],
        paths: EITHER,
        why: "anvil asks for a native balance, which Tempo does not have",
    },
    Known {
        asked: &["with too little gas"],
        paths: EITHER,
        why: "anvil takes it and never mines it",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::e2e::alike::difference::differences;

    const ENTRY: Known = Known {
        asked: &["one", "two"],
        paths: &["/code"],
        why: "it is a test",
    };

    #[test]
    fn an_entry_covers_what_it_names_and_nothing_else() {
        let found = |asked: &str, member: &str| {
            let differs = differences(asked, &json!({ member: true }), &json!({ member: false }));
            ENTRY.covers(differs.first().unwrap())
        };
        assert!(found("one", "code"));
        assert!(!found("one", "data"));
        assert!(!found("three", "code"));
    }

    #[test]
    fn an_entry_is_stale_where_nothing_differs_any_more() {
        let mut found = differences("one", &json!({"code": true}), &json!({"code": false}));
        assert_eq!(ENTRY.stale(&found), ["two"]);
        assert_eq!(ENTRY.stale(&[]), ["one", "two", "/code"]);
        found.extend(differences("two", &json!({"code": true}), &json!({})));
        assert!(ENTRY.stale(&found).is_empty());
    }
}
