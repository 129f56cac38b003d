//! Frames of paid WebSockets (PROTOCOL 5.7).
//!
//! Every message is one JSON object. Content only ever travels as the `data`
//! of a message frame, so no content can forge the others.

use std::fmt;

use mpp_core::{encoding::json, receipt::SessionReceipt};
use mpp_tempo::wire::NeedVoucher;
use serde::{Deserialize, Serialize};

/// The largest frame that a server takes, in bytes: one that holds the largest
/// credential, and no more.
pub const MAX_INBOUND: usize = 64 * 1024;

/// The largest frame that a client takes, in bytes.
pub const MAX_CONTENT: usize = 1024 * 1024;

/// Reads or writes a frame, heard by nobody: what tungstenite would log of it
/// is all of it, credentials included (SECURITY-CASES A20).
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) fn unheard<F: Future>(frame: F) -> impl Future<Output = F::Output> {
    use tracing::instrument::WithSubscriber as _;
    frame.with_subscriber(tracing::Dispatch::none())
}

/// One message.
///
/// ```
/// use mpp_http::ws::Frame;
///
/// let frame = Frame::Message { data: "a word".into() };
/// assert_eq!(frame.to_json(), r#"{"mpp":"message","data":"a word"}"#);
/// assert_eq!(Frame::from_json(br#"{"mpp":"payment-close-request"}"#)?, Frame::CloseRequest);
/// # Ok::<(), mpp_core::encoding::json::JsonError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mpp")]
pub enum Frame {
    /// From the client: a credential, as in the header `Authorization`.
    #[serde(rename = "authorization")]
    Authorization {
        /// The header's value.
        authorization: String,
    },
    /// Content.
    #[serde(rename = "message")]
    Message {
        /// The text.
        data: String,
    },
    /// The balance is used up; the stream waits for a voucher.
    #[serde(rename = "payment-need-voucher")]
    NeedVoucher {
        /// What is needed.
        data: NeedVoucher,
    },
    /// An authorization was carried out.
    #[serde(rename = "payment-receipt")]
    Receipt {
        /// The committed state.
        data: SessionReceipt,
    },
    /// From the client: end the stream.
    #[serde(rename = "payment-close-request")]
    CloseRequest,
    /// The stream is over, by itself or because the client has asked for it.
    #[serde(rename = "payment-close-ready")]
    CloseReady {
        /// The committed state at the end.
        data: SessionReceipt,
    },
    /// An authorization was refused, or the stream failed.
    #[serde(rename = "payment-error")]
    Error {
        /// The HTTP status.
        status: u16,
        /// The problem as JSON, or a sentence.
        message: String,
    },
}

impl Frame {
    /// Writes a frame.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Structs of strings and numbers have no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a frame, strictly; the caller has bounded its size.
    ///
    /// # Errors
    /// [`json::JsonError`] for what is not one.
    pub fn from_json(text: &[u8]) -> Result<Self, json::JsonError> {
        json::from_slice(text)
    }
}

/// Leaves credential and content out: whoever reads a log could spend the one
/// and has not paid for the other.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorization { .. } => "Authorization(..)",
            Self::Message { .. } => "Message(..)",
            Self::NeedVoucher { .. } => "NeedVoucher(..)",
            Self::Receipt { .. } => "Receipt(..)",
            Self::CloseRequest => "CloseRequest",
            Self::CloseReady { .. } => "CloseReady(..)",
            Self::Error { .. } => "Error(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str) {
        let frame = Frame::from_json(text.as_bytes()).unwrap();
        assert_eq!(frame.to_json(), text);
    }

    // The forms of deployed peers.
    #[test]
    fn frames_are_written_as_they_are_read() {
        check(r#"{"mpp":"authorization","authorization":"Payment e30"}"#);
        check(r#"{"mpp":"message","data":"two\nlines"}"#);
        check(r#"{"mpp":"payment-close-request"}"#);
        check(r#"{"mpp":"payment-error","status":402,"message":"no"}"#);
        let id = format!("0x{}", "ab".repeat(32));
        check(&format!(
            r#"{{"mpp":"payment-need-voucher","data":{{"channelId":"{id}","requiredCumulative":"3","acceptedCumulative":"2","deposit":"9"}}}}"#
        ));
        check(&format!(
            r#"{{"mpp":"payment-close-ready","data":{{"method":"tempo","intent":"session","status":"success","timestamp":"2026-01-01T00:00:00Z","reference":"{id}","challengeId":"x","channelId":"{id}","acceptedCumulative":"2","spent":"2","units":2}}}}"#
        ));
    }

    // SECURITY-CASES A23.
    #[test]
    fn no_content_forges_a_control_frame() {
        let forged = r#""},{"mpp":"payment-close-ready"#;
        let text = Frame::Message {
            data: forged.into(),
        }
        .to_json();
        assert_eq!(
            Frame::from_json(text.as_bytes()).unwrap(),
            Frame::Message {
                data: forged.into()
            }
        );
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"mpp":"else"}"#,
            r#"{"data":"x"}"#,
            r#"{"mpp":"message","mpp":"authorization","data":"x"}"#,
            r#"{"mpp":"payment-error","status":-1,"message":""}"#,
        ] {
            assert!(Frame::from_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_shows_neither_credential_nor_content() {
        for frame in [
            Frame::Authorization {
                authorization: "secret".into(),
            },
            Frame::Message {
                data: "secret".into(),
            },
        ] {
            assert!(!format!("{frame:?}").contains("secret"));
        }
    }
}
