//! Where two answers differ.

use core::fmt;

use serde_json::Value;

/// Members whose values are of one chain and one moment.
const OF_THE_CHAIN: [&str; 13] = [
    "blockHash",
    "extraData",
    "hash",
    "logsBloom",
    "miner",
    "mixHash",
    "parentBeaconBlockRoot",
    "parentHash",
    "receiptsRoot",
    "requestsHash",
    "sha3Uncles",
    "stateRoot",
    "transactionsRoot",
];
/// Numbers that do not depend on prices and times.
const FIXED_NUMBERS: [&str; 7] = [
    "chainId",
    "code",
    "logIndex",
    "nonce",
    "status",
    "transactionIndex",
    "type",
];
/// The second topic of the event of a fee.
const FEE_MANAGER: &str = "0x000000000000000000000000feec000000000000000000000000000000000000";

/// A place where two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What was asked.
    pub(super) asked: String,
    /// Where in the answer, in the form of a JSON pointer.
    pub(super) path: String,
    /// What the embedded node says there.
    devnet: String,
    /// What anvil says there.
    anvil: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            path,
            devnet,
            anvil,
        } = self;
        write!(f, "{asked} {path}: {devnet} here, {anvil} there")
    }
}

/// All differences of two answers.
pub(super) fn differences(asked: &str, devnet: &Value, anvil: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(asked, "", devnet, anvil, &mut found);
    found
}

fn compare(asked: &str, path: &str, devnet: &Value, anvil: &Value, found: &mut Vec<Difference>) {
    match (devnet, anvil) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut members: Vec<_> = ours.keys().chain(theirs.keys()).collect();
            members.sort();
            members.dedup();
            let is_fee = is_fee(devnet) && is_fee(anvil);
            for member in members {
                if is_fee && member == "data" {
                    continue;
                }
                let path = format!("{path}/{member}");
                match (ours.get(member), theirs.get(member)) {
                    (Some(ours), Some(theirs)) => compare(asked, &path, ours, theirs, found),
                    (ours, theirs) => found.push(differs(asked, &path, ours, theirs)),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare(asked, &format!("{path}/{at}"), ours, theirs, found);
            }
        }
        _ if alike(path, devnet, anvil) => {}
        _ => found.push(differs(asked, path, Some(devnet), Some(anvil))),
    }
}

/// The event of a fee, whose amount follows from the price of gas.
fn is_fee(value: &Value) -> bool {
    value.pointer("/topics/2").and_then(Value::as_str) == Some(FEE_MANAGER)
}

fn alike(path: &str, devnet: &Value, anvil: &Value) -> bool {
    let member = path.rsplit('/').find(|part| part.parse::<u32>().is_err());
    let member = member.unwrap_or_default();
    match (devnet, anvil) {
        (Value::String(ours), Value::String(theirs)) => {
            let kind = Kind::of(ours);
            if kind != Kind::of(theirs) {
                return false;
            }
            let is_free = OF_THE_CHAIN.contains(&member)
                // Every node has its own words; the code is what programs read.
                || path == "/error/message"
                || (kind == Kind::Quantity && !FIXED_NUMBERS.contains(&member));
            is_free || ours == theirs
        }
        (Value::Number(_), Value::Number(_)) if !FIXED_NUMBERS.contains(&member) => true,
        _ => devnet == anvil,
    }
}

fn differs(asked: &str, path: &str, devnet: Option<&Value>, anvil: Option<&Value>) -> Difference {
    let text = |value: Option<&Value>| {
        let text = value.map_or_else(|| String::from("nothing"), ToString::to_string);
        match text.char_indices().nth(200) {
            Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()),
            None => text,
        }
    };
    Difference {
        asked: asked.to_owned(),
        path: path.to_owned(),
        devnet: text(devnet),
        anvil: text(anvil),
    }
}

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A number in hexadecimal without leading zeros.
    Quantity,
    /// Bytes in hexadecimal.
    Bytes,
    Words,
}

impl Kind {
    fn of(text: &str) -> Self {
        /// Digits of the longest number that is no word of 32 bytes.
        const LONGEST: usize = 39;
        let Some(digits) = text.strip_prefix("0x") else {
            return Self::Words;
        };
        let is_hex = digits.chars().all(|digit| digit.is_ascii_hexdigit());
        let is_number = digits == "0" || !(digits.is_empty() || digits.starts_with('0'));
        match (is_hex, is_number && digits.len() <= LONGEST) {
            (false, _) => Self::Words,
            (true, true) => Self::Quantity,
            (true, false) => Self::Bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(devnet: &Value, anvil: &Value, expected: &[&str]) {
        let found = differences("it", devnet, anvil);
        let paths: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn numbers_may_differ_but_not_their_form() {
        check(&json!({"gas": "0x1"}), &json!({"gas": "0xff"}), &[]);
        check(&json!({"gas": "0x1"}), &json!({"gas": 255}), &["/gas"]);
        check(&json!({"gas": "0x1"}), &json!({"gas": "0x0001"}), &["/gas"]);
    }

    #[test]
    fn outcomes_may_not_differ() {
        let status = |status: &str| json!({"result": {"status": status}});
        check(&status("0x1"), &status("0x0"), &["/result/status"]);
        let code = |code: i64| json!({"error": {"code": code, "message": code.to_string()}});
        check(&code(3), &code(-32000), &["/error/code"]);
        check(
            &json!({"result": null}),
            &json!({"error": {}}),
            &["/error", "/result"],
        );
    }

    #[test]
    fn hashes_may_differ_and_events_may_not() {
        let log = |data: &str, hash: &str| json!([{"data": data, "blockHash": hash}]);
        check(&log("0x01", "0x02"), &log("0x01", "0x03"), &[]);
        check(&log("0x01", "0x02"), &log("0x00", "0x02"), &["/0/data"]);
        check(&json!([1]), &json!([1, 1]), &[""]);
    }

    #[test]
    fn amounts_of_fees_may_differ() {
        let fee =
            |data: &str, to: &str| json!({"topics": ["0x00", "0x01", to, "0x02"], "data": data});
        check(&fee("0x01", FEE_MANAGER), &fee("0x02", FEE_MANAGER), &[]);
        check(&fee("0x01", "0x03"), &fee("0x02", "0x03"), &["/data"]);
    }
}
