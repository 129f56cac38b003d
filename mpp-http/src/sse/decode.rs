//! Reading events, as the WHATWG event stream format defines it.

use std::collections::VecDeque;

use super::MESSAGE;

/// Bytes that one event may have before the stream is given up.
pub const MAX_EVENT: usize = 1024 * 1024;

/// An event with its data lines joined by LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's name; `message` when the stream names none.
    pub name: String,
    /// The data.
    pub data: String,
}

/// An event exceeds [`MAX_EVENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event exceeds {MAX_EVENT} bytes")]
pub struct EventTooLarge;

/// Turns the bytes of an event stream into events, whatever pieces the bytes come in.
///
/// Line ends may be LF, CR or CRLF; comments, ids and retry times are skipped; an event that the
/// end of the stream cuts off is none.
///
/// # Examples
///
/// ```
/// use mpp_http::sse::decode::Decoder;
///
/// let mut decoder = Decoder::default();
/// decoder.push(b"event: message\ndata: two\nda")?;
/// assert_eq!(decoder.next_event(), None);
/// decoder.push(b"ta: lines\n\n")?;
/// assert_eq!(decoder.next_event().unwrap().data, "two\nlines");
/// # Ok::<(), mpp_http::sse::decode::EventTooLarge>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    ready: VecDeque<Event>,
    /// The last byte was a CR: an LF right after it ends the same line.
    after_cr: bool,
    /// The first line was read, which may begin with a byte order mark.
    begun: bool,
}

impl Decoder {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`EventTooLarge`]; the stream can not be read further then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        for &byte in bytes {
            let ends_crlf = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                _ if ends_crlf => {}
                b'\n' => self.end_line(),
                b'\r' => {
                    self.after_cr = true;
                    self.end_line();
                }
                other => self.line.push(other),
            }
            let held = self.data.as_ref().map_or(0, String::len);
            if held.saturating_add(self.line.len()) > MAX_EVENT {
                return Err(EventTooLarge);
            }
        }
        Ok(())
    }

    /// The next complete event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line = &*text;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            let name = if name.is_empty() {
                MESSAGE.to_owned()
            } else {
                name
            };
            self.ready.push_back(Event { name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        for piece in pieces {
            decoder.push(piece).unwrap();
        }
        std::iter::from_fn(|| decoder.next_event())
            .map(|event| (event.name, event.data))
            .collect()
    }

    #[track_caller]
    fn check(stream: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, data)| ((*name).to_owned(), (*data).to_owned()))
            .collect();
        assert_eq!(decode(&[stream.as_bytes()]), expected);
    }

    #[test]
    fn events_are_read_as_the_format_says() {
        check("data: a\n\n", &[("message", "a")]);
        check("event: x\ndata: a\n\n", &[("x", "a")]);
        check("data:a\ndata: b\n\n", &[("message", "a\nb")]);
        check("data:  two blanks\n\n", &[("message", " two blanks")]);
        check("data\n\n", &[("message", "")]);
        check(
            ": comment\nid: 1\nretry: 5\n\ndata: a\n\n",
            &[("message", "a")],
        );
        check("event: lost\n\ndata: a\n\n", &[("message", "a")]);
        check("\u{feff}data: a\n\n", &[("message", "a")]);
        check("data: cut off", &[]);
        check("data: cut off\n", &[]);
    }

    #[test]
    fn every_line_end_counts() {
        check(
            "data: a\r\rdata: b\r\r",
            &[("message", "a"), ("message", "b")],
        );
        check(
            "data: a\r\n\r\ndata: b\r\n\r\n",
            &[("message", "a"), ("message", "b")],
        );
        check("data: a\rdata: b\n\r\n", &[("message", "a\nb")]);
    }

    // Recorded from a deployed server, chunk by chunk.
    #[test]
    fn recorded_events_are_read() {
        let need = br#"event: payment-need-voucher
data: {"channelId":"0x50cb","requiredCumulative":"2000","acceptedCumulative":"1000","deposit":"2000"}

"#;
        let events = decode(&[b"event: message\ndata: the\n\n", need]);
        assert_eq!(events[0], ("message".to_owned(), "the".to_owned()));
        assert_eq!(events[1].0, "payment-need-voucher");
        assert!(events[1].1.starts_with('{') && events[1].1.ends_with('}'));
    }

    // SECURITY-CASES A7: nothing grows without bound.
    #[test]
    fn an_endless_event_is_given_up() {
        let mut decoder = Decoder::default();
        let line = format!("data: {}\n", "x".repeat(1_000));
        let refused = (0..2_000).find_map(|_| decoder.push(line.as_bytes()).err());
        assert_eq!(refused, Some(EventTooLarge));

        let mut decoder = Decoder::default();
        let refused = (0..2_000).find_map(|_| decoder.push(&[b'x'; 1_000]).err());
        assert_eq!(refused, Some(EventTooLarge));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            stream in "(data: |event: |:|\\PC|\r|\n|\r\n){0,60}",
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = stream.as_bytes();
            let (head, tail) = bytes.split_at(cut.index(bytes.len().saturating_add(1)));
            prop_assert_eq!(decode(&[head, tail]), decode(&[bytes]));
        }

        // PROTOCOL 5.7: what is encoded comes back, with every line end as LF.
        #[test]
        fn encoded_text_comes_back(text in "(\\PC|\r|\n|\r\n){0,60}") {
            let event = crate::sse::encode::message(&text);
            let normal = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(decode(&[&event]), vec![("message".to_owned(), normal)]);
        }
    }
}
