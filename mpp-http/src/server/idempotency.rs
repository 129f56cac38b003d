//! Requests with an `Idempotency-Key`: telling them apart, keeping answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, response};
use http_body::Body;
use http_body_util::Full;
use mpp_core::header::{decode_bytes, idempotency_key::IdempotencyKey, names};
use mpp_server::{Rejection, gate::Repeatable, store::StoredResponse};

use super::PaymentBody;
use super::body::{self, Unreadable};

/// The client's key, if it has sent one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Rejection> {
    let name = HeaderName::from_static(names::IDEMPOTENCY_KEY);
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let parsed = IdempotencyKey::parse(&decode_bytes(value.as_bytes()));
    match (parsed, values.next()) {
        (Ok(key), None) => Ok(Some(key)),
        _ => Err(Rejection::BadRequest(
            "`Idempotency-Key` must be one string of at most 255 bytes",
        )),
    }
}

/// What makes a request the same as another: method, target and body.
pub(super) fn repeatable<B>(request: &Request<B>, key: &IdempotencyKey, body: &[u8]) -> Repeatable {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let method = request.method().as_str().as_bytes();
    Repeatable::new(key, &[method, target.as_bytes(), body])
}

/// Reads a response whose size is known and within the limit, and keeps a
/// copy. Streams and large responses pass as they are.
pub(super) async fn keep<R>(
    response: Response<R>,
    limit: usize,
) -> Result<(Response<PaymentBody<R>>, Option<StoredResponse>), Unreadable>
where
    R: Body<Data = Bytes>,
{
    let size = response.body().size_hint().exact();
    let is_kept = size.is_some_and(|size| usize::try_from(size).is_ok_and(|size| size <= limit));
    if !is_kept {
        return Ok((response.map(PaymentBody::Left), None));
    }
    let (parts, body) = response.into_parts();
    let body = body::collect(body, limit).await?;
    let stored = StoredResponse {
        status: parts.status.as_u16(),
        headers: headers(&parts),
        body: body.clone(),
    };
    let response = Response::from_parts(parts, PaymentBody::Right(Full::new(body)));
    Ok((response, Some(stored)))
}

/// The headers that mean the same when they are sent again. A receipt is not
/// among them: the one of the outcome counts.
fn headers(parts: &response::Parts) -> Vec<(String, Bytes)> {
    let once = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::DATE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static(names::PAYMENT_RECEIPT),
    ];
    let kept = parts
        .headers
        .iter()
        .filter(|(name, _)| !once.contains(name));
    kept.map(|(name, value)| {
        let value = Bytes::copy_from_slice(value.as_bytes());
        (name.as_str().to_owned(), value)
    })
    .collect()
}

/// A kept response, as it was.
pub(super) fn restore<R>(stored: StoredResponse) -> Option<Response<PaymentBody<R>>> {
    let mut response = Response::new(PaymentBody::Right(Full::new(stored.body)));
    *response.status_mut() = http::StatusCode::from_u16(stored.status).ok()?;
    for (name, value) in stored.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(value).ok()?;
        response.headers_mut().append(name, value);
    }
    Some(response)
}
