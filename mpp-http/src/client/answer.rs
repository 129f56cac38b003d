//! Reading the payment part of an answer, within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use mpp_client::flow::{Answer, ReceiptField, Repetition};
use mpp_client::session::resume::SnapshotRefused;
use mpp_core::header::{challenge, decode_bytes, limits, names, receipt, session};
use mpp_core::{Challenge, Problem};
use reqwest::Response;
use serde_json::Value;

/// Bytes of `WWW-Authenticate` that are looked at, over all its lines.
const MAX_CHALLENGES: usize = limits::MAX_VALUE;
/// Bytes of a problem body that are read.
const MAX_PROBLEM: usize = 64 * 1024;
/// How long a server may take over a problem body.
const PROBLEM_TIMEOUT: Duration = Duration::from_secs(10);

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Content {
    /// Not read yet.
    Live(Response),
    /// Begun to be read, because it may be a problem: the answer, what was read, and what is behind.
    Begun(Response, Bytes, Rest),
}

/// What is behind the part of a body that was read.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing: that was all.
    Nothing,
    /// It was not read: a problem is not that long, or comes sooner.
    Unread,
    /// The connection broke.
    Broken(reqwest::Error),
}

/// Reads head and, for a refusal, body.
///
/// # Cancel safety
/// Dropped, the answer is lost.
pub(super) async fn read(mut response: Response) -> (Answer, Content) {
    let headers = response.headers();
    let mut answer = Answer {
        status: response.status().as_u16(),
        challenges: challenges(headers),
        problem: None,
        receipt: receipt_field(headers),
        is_stream: is_event_stream(headers),
        repetition: repetition(headers),
        retry_after: retry_after(headers),
    };
    if !matches!(answer.status, 402 | 409 | 410 | 503) {
        return (answer, Content::Live(response));
    }
    let (body, rest) = problem_body(&mut response).await;
    if body.len() <= MAX_PROBLEM {
        answer.problem = Problem::from_json(&body).ok();
    }
    (answer, Content::Begun(response, body, rest))
}

/// The challenges that can be read. A malformed one spoils no other.
fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut room = MAX_CHALLENGES;
    let values: Vec<_> = headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .map_while(|value| {
            room = room.checked_sub(value.len())?;
            Some(decode_bytes(value.as_bytes()))
        })
        .collect();
    challenge::parse_all(values.iter().map(AsRef::as_ref))
        .into_iter()
        .filter_map(Result::ok)
        .collect()
}

/// The receipt. Two of them are none: nobody could say which one counts.
fn receipt_field(headers: &HeaderMap) -> ReceiptField {
    let mut values = headers.get_all(names::PAYMENT_RECEIPT).iter();
    match (values.next(), values.next()) {
        (None, _) => ReceiptField::Absent,
        (Some(_), Some(_)) => ReceiptField::Unreadable,
        (Some(value), None) => {
            let text = decode_bytes(value.as_bytes());
            receipt::parse(&text).map_or(ReceiptField::Unreadable, ReceiptField::from)
        }
    }
}

/// The snapshot in the header (PROTOCOL 5.8). Two of them are none that can be trusted.
pub(super) fn snapshot(headers: &HeaderMap) -> Result<Option<Value>, SnapshotRefused> {
    let mut values = headers.get_all(names::PAYMENT_SESSION_SNAPSHOT).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(SnapshotRefused::Unreadable),
        (Some(value), None) => session::parse_snapshot(&decode_bytes(value.as_bytes()))
            .map(Some)
            .map_err(|_| SnapshotRefused::Unreadable),
    }
}

fn repetition(headers: &HeaderMap) -> Repetition {
    match headers.get(names::IDEMPOTENT_REPLAYED) {
        Some(value) if value == "true" => Repetition::Replayed,
        Some(value) if value == "false" => Repetition::New,
        _ => Repetition::Unknown,
    }
}

/// In seconds; a date is as good as no time, since clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = text.split(';').next().unwrap_or("").trim();
    kind.eq_ignore_ascii_case("text/event-stream")
}

/// As much of the body as a problem may have, as far as it comes in time. The answer may be one of
/// a route that is not about payment, so what is behind stays to be read.
async fn problem_body(response: &mut Response) -> (Bytes, Rest) {
    let mut body = BytesMut::new();
    let reading = async {
        while body.len() <= MAX_PROBLEM {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Rest::Nothing,
                Err(error) => return Rest::Broken(error),
            }
        }
        Rest::Unread
    };
    // A refusal without a readable reason is a refusal all the same.
    let read = tokio::time::timeout(PROBLEM_TIMEOUT, reading).await;
    (body.freeze(), read.unwrap_or(Rest::Unread))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn event_streams_are_recognized_by_their_type() {
        for (value, expected) in [
            ("text/event-stream; charset=utf-8", true),
            ("Text/Event-Stream", true),
            ("text/event-stream-ish", false),
            ("application/json", false),
        ] {
            let headers = headers(&[("content-type", value)]);
            assert_eq!(is_event_stream(&headers), expected, "{value}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }

    #[test]
    fn one_receipt_counts_and_two_do_not() {
        assert_eq!(receipt_field(&headers(&[])), ReceiptField::Absent);
        let broken = headers(&[("payment-receipt", "???")]);
        assert_eq!(receipt_field(&broken), ReceiptField::Unreadable);
        let charge = "eyJtZXRob2QiOiJ0ZW1wbyIsInN0YXR1cyI6InN1Y2Nlc3MiLCJ0aW1lc3RhbXAiOiIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsInJlZmVyZW5jZSI6IjB4MSJ9";
        let one = headers(&[("payment-receipt", charge)]);
        assert!(matches!(receipt_field(&one), ReceiptField::Charge(_)));
        let two = headers(&[("payment-receipt", charge), ("payment-receipt", charge)]);
        assert_eq!(receipt_field(&two), ReceiptField::Unreadable);
    }

    // SECURITY-CASES A7: caps before decoding.
    #[test]
    fn a_flood_of_challenges_is_cut_off() {
        let challenge =
            r#"Payment id="x", realm="r", method="tempo", intent="session", request="e30""#;
        let padding = format!("Bearer realm=\"{}\"", "x".repeat(MAX_CHALLENGES));
        let first = headers(&[
            ("www-authenticate", challenge),
            ("www-authenticate", &padding),
        ]);
        assert_eq!(challenges(&first).len(), 1);
        let last = headers(&[
            ("www-authenticate", &padding),
            ("www-authenticate", challenge),
        ]);
        assert_eq!(challenges(&last).len(), 0);
    }
}
