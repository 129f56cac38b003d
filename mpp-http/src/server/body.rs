//! One body type for what the handler says and what the layer says.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::{BodyExt as _, Either, Full};

/// Either the handler's body, untouched, or a short text of the layer.
pub type PaymentBody<B> = Either<B, Full<Bytes>>;

pub(super) fn text<B>(text: impl Into<Bytes>) -> PaymentBody<B> {
    Either::Right(Full::new(text.into()))
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is larger than the layer keeps.
    TooLarge,
    /// It broke off.
    Broken,
}

/// Reads a body to its end. One that says that it is too large is not begun.
pub(super) async fn collect<B: Body<Data = Bytes>>(
    body: B,
    limit: usize,
) -> Result<Bytes, Unreadable> {
    let least = usize::try_from(body.size_hint().lower());
    if least.is_ok_and(|least| least > limit) || least.is_err() {
        return Err(Unreadable::TooLarge);
    }
    let mut whole = BytesMut::new();
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unreadable::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len().saturating_add(data.len()) > limit {
            return Err(Unreadable::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
