//! One body type for what the handler says and what the layer says.

use bytes::Bytes;
use http_body_util::{Either, Full};

/// Either the handler's body, untouched, or a short text of the layer.
pub type PaymentBody<B> = Either<B, Full<Bytes>>;

pub(super) fn text<B>(text: impl Into<Bytes>) -> PaymentBody<B> {
    Either::Right(Full::new(text.into()))
}
