//! Finding the usage block of an answer.

use serde_json::Value;

/// Tokens that an answer has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that went in.
    pub input: u64,
    /// Tokens that came out.
    pub output: u64,
}

/// Where the members of an answer keep their usage block: at the top (OpenAI,
/// Anthropic), in the message that a stream begins with (Anthropic), in the
/// finished response (OpenAI Responses).
const PLACES: [&str; 3] = ["", "message", "response"];

impl Usage {
    /// The usage block of a whole answer.
    #[must_use]
    pub fn of_json(body: &[u8]) -> Option<Self> {
        find(&serde_json::from_slice(body).ok()?)
    }

    /// The larger of two reports, each way: reports of one answer only grow.
    const fn max(self, other: Self) -> Self {
        Self {
            input: larger(self.input, other.input),
            output: larger(self.output, other.output),
        }
    }
}

const fn larger(one: u64, other: u64) -> u64 {
    if one > other { one } else { other }
}

fn find(answer: &Value) -> Option<Usage> {
    let blocks = PLACES.iter().filter_map(|place| match *place {
        "" => answer.get("usage"),
        place => answer.get(place)?.get("usage"),
    });
    blocks.filter_map(read).next()
}

fn read(block: &Value) -> Option<Usage> {
    let number = |names: [&str; 2]| names.iter().find_map(|name| block.get(name)?.as_u64());
    let input = number(["prompt_tokens", "input_tokens"]);
    let output = number(["completion_tokens", "output_tokens"]);
    if input.is_none() && output.is_none() {
        return None;
    }
    // What goes into Anthropic's cache and comes out of it is input beside
    // `input_tokens`; OpenAI counts it within.
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
    let beside = cached.iter().filter_map(|name| block.get(name)?.as_u64());
    let input = beside.fold(input.unwrap_or_default(), u64::saturating_add);
    Some(Usage {
        input,
        output: output.unwrap_or_default(),
    })
}

/// Counts along while a stream is passed on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    reported: Usage,
    pieces: u64,
}

impl Tally {
    /// Takes in the data of one event that was delivered.
    pub(super) fn add(&mut self, data: &str) {
        // `[DONE]` and whatever else is no JSON counts for nothing.
        let Ok(event) = serde_json::from_str::<Value>(data) else {
            return;
        };
        if let Some(usage) = find(&event) {
            self.reported = self.reported.max(usage);
        }
        if has_text(&event) {
            self.pieces = self.pieces.saturating_add(1);
        }
    }

    /// What is charged for what was delivered so far.
    pub(super) fn usage(&self) -> Usage {
        self.reported.max(Usage {
            input: 0,
            output: self.pieces,
        })
    }
}

/// Whether an event carries a piece of the answer's text.
fn has_text(event: &Value) -> bool {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let chat = event.pointer("/choices/0/delta/content");
    let anthropic = event.pointer("/delta/text");
    let responses = event.get("delta");
    [chat, anthropic, responses]
        .into_iter()
        .flatten()
        .any(is_text)
}
