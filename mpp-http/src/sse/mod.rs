//! Server-sent events: metered content and payment events on one stream.
//!
//! Three event names exist (PROTOCOL 5.7). Content only ever travels as
//! [`MESSAGE`], split into `data:` lines, so no content can forge the others.

pub mod decode;
pub mod encode;

/// Event name of content.
pub const MESSAGE: &str = "message";

/// Event name of a request for a voucher.
pub const NEED_VOUCHER: &str = "payment-need-voucher";

/// Event name of the receipt that ends a stream.
pub const RECEIPT: &str = "payment-receipt";
