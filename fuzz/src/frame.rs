//! Frames of paid WebSockets.

use mpp_core::encoding::json;
use mpp_http::ws::Frame;

/// Checks a frame, and the same bytes as content of one.
pub fn check(data: &[u8]) {
    if let Ok(frame) = Frame::from_json(data) {
        let written = frame.to_json();
        assert!(
            Frame::from_json(written.as_bytes()).as_ref() == Ok(&frame),
            "{frame:?}"
        );
        // Whatever is a frame is strict JSON, an object with one name.
        let value = json::parse(data).unwrap();
        assert_eq!(
            value["mpp"],
            json::parse(written.as_bytes()).unwrap()["mpp"]
        );
    }
    // SECURITY-CASES A23: content is never anything else.
    let text = String::from_utf8_lossy(data).into_owned();
    let content = Frame::Message { data: text };
    assert!(Frame::from_json(content.to_json().as_bytes()) == Ok(content));
}
