//! Event streams, read and written.

use mpp_core::Amount;
use mpp_http::sse::decode::{Decoder, Event, MAX_EVENT};
use mpp_http::sse::{MESSAGE, NEED_VOUCHER, RECEIPT, encode};
use mpp_tempo::ChannelId;
use mpp_tempo::wire::NeedVoucher;

/// Checks a stream of any bytes, or content that a server relays.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    match choice % 4 {
        0 => pieces(rest, 1),
        1 => pieces(rest, usize::from(choice / 4) + 1),
        2 => content(&String::from_utf8_lossy(rest)),
        _ => relayed(&String::from_utf8_lossy(rest)),
    }
}

fn read(pieces: impl Iterator<Item = Vec<u8>>) -> Option<Vec<Event>> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(&piece).ok()?;
        events.extend(std::iter::from_fn(|| decoder.next_event()));
    }
    Some(events)
}

/// In whatever pieces the bytes come, they are the events of a reader that
/// has all of them.
fn pieces(bytes: &[u8], size: usize) {
    let events = read(bytes.chunks(size).map(Vec::from));
    if bytes.len() <= MAX_EVENT {
        assert_eq!(events, Some(plainly(bytes)));
    }
}

/// The event stream format in the words of its standard, without any care for
/// memory.
fn plainly(bytes: &[u8]) -> Vec<Event> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        if matches!(byte, b'\r' | b'\n') {
            let crlf = *byte == b'\r' && bytes.get(place + 1) == Some(&b'\n');
            place += usize::from(crlf);
            lines.push(Vec::new());
        } else {
            lines.last_mut().unwrap().push(*byte);
        }
        place += 1;
    }
    // What no line end follows is not yet a line.
    lines.pop();
    let mut events = Vec::new();
    let (mut name, mut data) = (String::new(), Vec::new());
    for line in lines {
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            let lines: Vec<String> = std::mem::take(&mut data);
            if !lines.is_empty() {
                let name = if name.is_empty() {
                    MESSAGE.into()
                } else {
                    name
                };
                let data = lines.join("\n");
                events.push(Event { name, data });
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.into(),
            "data" => data.push(value.into()),
            _ => {}
        }
    }
    events
}

fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// SECURITY-CASES A23: whatever the content is, between the server's own
/// events it is one message.
fn content(text: &str) {
    let need = NeedVoucher {
        channel_id: ChannelId::repeat_byte(7),
        required_cumulative: Amount::new(2),
        accepted_cumulative: Amount::new(1),
        deposit: Amount::new(9),
    };
    let message = encode::message(text);
    let stream = [
        &message[..],
        &encode::need_voucher(&need),
        &message,
        &encode::heartbeat(),
        &message,
    ];
    let events = read(stream.into_iter().map(Vec::from)).unwrap();
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, [MESSAGE, NEED_VOUCHER, MESSAGE, MESSAGE]);
    for event in events.iter().filter(|event| event.name == MESSAGE) {
        assert_eq!(event.data, with_lf(text));
    }
    assert_eq!(plainly(&stream.concat()), events);
}

/// Events of another server keep their names, but never become payment events.
fn relayed(text: &str) {
    let (name, text) = text.split_once('\0').unwrap_or((text, ""));
    let event = encode::relayed(name, text);
    let events = read([event.to_vec()].into_iter()).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].data, with_lf(text));
    assert!(![NEED_VOUCHER, RECEIPT].contains(&events[0].name.as_str()));
    assert!(!events[0].name.starts_with("payment-"));
}
