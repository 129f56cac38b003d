//! Usage blocks as providers send them, and what they cost.

use super::{count::Tally, *};

#[track_caller]
fn check(body: &str, expected: Option<(u64, u64)>) {
    let expected = expected.map(|(input, output)| Usage { input, output });
    assert_eq!(Usage::of_json(body.as_bytes()), expected, "{body}");
}

#[test]
fn usage_blocks_of_both_styles_are_read() {
    check(
        r#"{"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}}"#,
        Some((12, 34)),
    );
    check(
        r#"{"usage":{"input_tokens":12,"output_tokens":34}}"#,
        Some((12, 34)),
    );
    check(
        r#"{"usage":{"input_tokens":2,"cache_creation_input_tokens":10,"cache_read_input_tokens":20,"output_tokens":3}}"#,
        Some((32, 3)),
    );
    check(
        r#"{"response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#,
        Some((1, 2)),
    );
    for none in [
        "{}",
        "[]",
        "no",
        r#"{"usage":null}"#,
        r#"{"usage":{"input_tokens":-1}}"#,
    ] {
        check(none, None);
    }
}

// Issue: the price is exact per token, or refused; nothing is rounded.
#[test]
fn prices_are_exact_or_refused() {
    let usage = Usage {
        input: 10,
        output: 100,
    };
    let prices = TokenPrices::per_million("3", "15", 6).unwrap();
    assert_eq!(prices, TokenPrices::new(3, 15));
    assert_eq!(prices.cost(usage), Amount::new(1_530));
    let fraction = TokenPrices::per_million("0.5", "15", 6);
    assert_eq!(fraction, Err(InexactPrice::Fraction));
    assert!(TokenPrices::per_million("0.5", "15", 7).is_ok());
    assert!(TokenPrices::per_million("0.05", "15", 7).is_err());
    assert!(matches!(
        TokenPrices::per_million("x", "1", 6),
        Err(InexactPrice::Amount(_))
    ));
}

fn tally(events: &[&str]) -> (u64, u64) {
    let mut tally = Tally::default();
    for event in events {
        tally.add(event);
    }
    let usage = tally.usage();
    (usage.input, usage.output)
}

// A piece of text is at least one token, so what is counted is never too much.
#[test]
fn pieces_count_until_usage_is_reported() {
    let chat = r#"{"choices":[{"delta":{"content":"Hi"}}]}"#;
    let role = r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
    let last = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
    assert_eq!(tally(&[role, chat, chat]), (0, 2));
    assert_eq!(tally(&[role, chat, chat, last, "[DONE]"]), (7, 5));

    let start =
        r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let delta = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}"#;
    let stop = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    assert_eq!(tally(&[start]), (9, 1));
    assert_eq!(tally(&[start, delta, delta, delta]), (9, 3));
    assert_eq!(tally(&[start, delta, stop]), (9, 15));
}
