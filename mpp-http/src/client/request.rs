//! A request before it is sent.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mpp_client::exchange::{Exchange, Track};
use mpp_client::{ClientError, Site};
use mpp_core::header::{idempotency_key::IdempotencyKey, names};
use serde::Serialize;
use url::Url;

use super::order::{Order, OrderBody, Repeating};
use super::wire::OrderWire;
use super::{Client, PaidResponse};

/// A request that pays when it must.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Client,
    order: Result<Order, ClientError>,
    track: Option<Track<Url>>,
}

impl RequestBuilder {
    pub(super) fn new(client: Client, method: Method, url: Option<Url>) -> Self {
        let order = url
            .map(|url| Order::new(method, url))
            .ok_or(ClientError::Misuse("the URL can not be read"));
        Self {
            client,
            order,
            track: None,
        }
    }

    /// Reports the channel that pays to a session.
    pub(super) fn tracked(mut self, track: Track<Url>) -> Self {
        self.track = Some(track);
        self
    }

    /// Adds a header field. One that can not be written is reported when the request is sent.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.order = self.order.and_then(|mut order| {
            let (Ok(name), Ok(value)) = (name.try_into(), value.try_into()) else {
                return Err(ClientError::Misuse("a header field can not be written"));
            };
            order.headers.append(name, value);
            Ok(order)
        });
        self
    }

    /// Adds header fields.
    pub fn headers(mut self, headers: &HeaderMap) -> Self {
        if let Ok(order) = &mut self.order {
            for (name, value) in headers {
                order.headers.append(name.clone(), value.clone());
            }
        }
        self
    }

    /// Sets the body. It is kept until the answer is there, since the request may have to be sent
    /// again.
    ///
    /// For the same reason it goes out with a key (see [`RequestBuilder::idempotency_key`]), and
    /// servers bound how much they keep of such a request: ours takes 1 MiB unless it is told
    /// otherwise, and answers more with `413`. A larger body goes by
    /// [`RequestBuilder::body_stream`] or [`RequestBuilder::without_repeats`].
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        if let Ok(order) = &mut self.order {
            order.body = OrderBody::Bytes(body.into());
        }
        self
    }

    /// Sets a body that is streamed and can be sent once.
    ///
    /// The challenge is fetched before, so that the body goes out with a payment. Should the
    /// server refuse that, the request fails.
    pub fn body_stream(mut self, body: impl Into<reqwest::Body>) -> Self {
        if let Ok(order) = &mut self.order {
            order.body = OrderBody::Once(Some(body.into()));
        }
        self
    }

    /// Sets a JSON body and its content type.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        self.order = self.order.and_then(|mut order| {
            let body = serde_json::to_vec(value)
                .map_err(|_| ClientError::Misuse("the body can not be written as JSON"))?;
            order.body = OrderBody::Bytes(body.into());
            let json = HeaderValue::from_static("application/json");
            order.headers.entry(header::CONTENT_TYPE).or_insert(json);
            Ok(order)
        });
        self
    }

    /// Names this purchase: however often it is sent under this key, within the time and number
    /// that the server remembers, it is served and charged once.
    ///
    /// Every request that may be sent again has a random key of its own. Choose one to repeat a request after
    /// [`ClientError::Indeterminate`] or a restart, and to let the client repeat a `POST` whose
    /// answer was lost.
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.order = self.order.and_then(|mut order| {
            let text = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            let parsed = IdempotencyKey::parse(&text);
            let value = parsed
                .ok()
                .and_then(|key| HeaderValue::from_str(&key.encode()).ok());
            let misuse = ClientError::Misuse("an idempotency key is 1 to 255 visible characters");
            order
                .headers
                .insert(names::IDEMPOTENCY_KEY, value.ok_or(misuse)?);
            Ok(order)
        });
        self
    }

    /// Sends the request once: when its answer is lost, that is
    /// [`ClientError::Indeterminate`] at once.
    pub fn without_repeats(mut self) -> Self {
        if let Ok(order) = &mut self.order {
            order.repeating = Repeating::Never;
        }
        self
    }

    /// Bounds the time from each sending to the end of its answer's body.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let Ok(order) = &mut self.order {
            order.timeout = Some(timeout);
        }
        self
    }

    /// Sends the request, and pays for it if the server asks for that.
    ///
    /// Answers of any status other than a refused payment are returned, also errors and redirects.
    ///
    /// When the answer is lost, the same request is sent again with the same voucher and key, a
    /// few times: a server that knows the key answers as it has before and charges nothing more.
    ///
    /// # Errors
    /// [`ClientError`]; only [`ClientError::Indeterminate`] and [`ClientError::ChargeIndeterminate`]
    /// mean that money may have moved, and [`ClientError::AlreadyDelivered`] that it has.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the request may have been served and charged. The accounts keep
    /// covering it, and a channel that was being opened is taken over by the next request with the
    /// same transaction.
    pub async fn send(self) -> Result<PaidResponse, ClientError> {
        let mut order = self.order?;
        let site = Site::of(&order.url)?;
        let (repeats, key) = order.prepare_repeats();
        let payer = &self.client.payer;
        let mut wire = OrderWire {
            resource: self.client.resource(order.url.clone()),
            order,
            accept: payer.accept_payment(),
            track: self.track.as_ref(),
        };
        let delivered = Exchange::new(payer, site, &mut wire)
            .repeats(repeats)
            .key(key)
            .run()
            .await?;
        Ok(PaidResponse::of(delivered))
    }
}
