//! Writing events.

use bytes::Bytes;
use mpp_core::receipt::SessionReceipt;
use mpp_tempo::wire::NeedVoucher;

use super::{MESSAGE, NEED_VOUCHER, RECEIPT};

/// A comment that keeps an idle connection alive.
#[must_use]
pub fn heartbeat() -> Bytes {
    Bytes::from_static(b": keep-alive\n\n")
}

/// Content. Every line break of the text (LF, CR or CRLF) begins a new
/// `data:` line; readers see LF.
///
/// # Examples
///
/// ```
/// let event = mpp_http::sse::encode::message("two\r\nlines");
/// assert_eq!(&event[..], b"event: message\ndata: two\ndata: lines\n\n");
/// ```
#[must_use]
pub fn message(text: &str) -> Bytes {
    event(MESSAGE, text)
}

/// Asks the client for a voucher.
#[must_use]
pub fn need_voucher(need: &NeedVoucher) -> Bytes {
    event(NEED_VOUCHER, &json(need))
}

/// Ends a stream with the committed state.
#[must_use]
pub fn receipt(receipt: &SessionReceipt) -> Bytes {
    event(RECEIPT, &json(receipt))
}

/// An event of another server, under its own name. Names of payment events
/// are not for others: such an event becomes [`message`].
#[must_use]
pub fn relayed(name: &str, text: &str) -> Bytes {
    let is_ours = name.starts_with("payment-") || name.contains(['\n', '\r']);
    event(if is_ours { MESSAGE } else { name }, text)
}

fn json(value: &impl serde::Serialize) -> String {
    // Structs of strings and numbers have no way to fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn event(name: &str, text: &str) -> Bytes {
    let mut event = String::with_capacity(text.len().saturating_add(name.len()).saturating_add(32));
    event.push_str("event: ");
    event.push_str(name);
    event.push('\n');
    for line in lines(text) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

/// Splits at LF, CR and CRLF, as readers of event streams do.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.split_once(['\n', '\r']) {
            None => {
                rest = None;
                Some(text)
            }
            Some((line, after)) => {
                let at_cr = text.as_bytes().get(line.len()) == Some(&b'\r');
                let crlf = after.strip_prefix('\n').filter(|_| at_cr);
                rest = Some(crlf.unwrap_or(after));
                Some(line)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(message(text), expected.as_bytes());
    }

    #[test]
    fn text_is_split_at_every_kind_of_line_break() {
        check("word", "event: message\ndata: word\n\n");
        check("", "event: message\ndata: \n\n");
        check("a\nb", "event: message\ndata: a\ndata: b\n\n");
        check("a\rb", "event: message\ndata: a\ndata: b\n\n");
        check("a\r\nb", "event: message\ndata: a\ndata: b\n\n");
        check("a\n\rb", "event: message\ndata: a\ndata: \ndata: b\n\n");
        check("a\n", "event: message\ndata: a\ndata: \n\n");
    }

    // SECURITY-CASES A23: the names of payment events are not for others, nor are line breaks.
    #[test]
    fn no_relayed_name_is_that_of_a_control_event() {
        let plain = relayed("delta", "x");
        assert_eq!(plain, &b"event: delta\ndata: x\n\n"[..]);
        for name in [
            RECEIPT,
            NEED_VOUCHER,
            "payment-anything",
            "delta\nevent: payment-receipt",
            "delta\revent: payment-receipt",
        ] {
            assert_eq!(relayed(name, "x"), message("x"), "{name}");
        }
    }

    proptest! {
        // SECURITY-CASES A23: no content yields a payment event.
        #[test]
        fn no_text_forges_a_control_event(
            text in "(payment-receipt|event: |data: |\\PC|[\r\n:]){0,40}"
        ) {
            let event = message(&text);
            let event = std::str::from_utf8(&event).unwrap();
            let lines: Vec<_> = event.split(['\n', '\r']).collect();
            prop_assert_eq!(lines[0], "event: message");
            prop_assert!(!event.contains('\r'));
            for line in &lines[1..] {
                prop_assert!(line.is_empty() || line.starts_with("data: "));
            }
            // One event: the only empty lines are its end.
            prop_assert_eq!(lines.iter().filter(|line| line.is_empty()).count(), 2);
        }
    }
}
