//! Charging for tokens by what a language model's answer says it used.
//!
//! A handler reserves the most that an answer may cost, asks the model, and
//! passes the answer on through [`UsageBill::settle`]:
//!
//! * JSON with a usage block, as OpenAI and Anthropic send it, is charged
//!   before its head leaves, and carries the receipt.
//! * An event stream is passed on event by event, charged at its end, and
//!   ends with the `payment-receipt` event. When the client goes away before,
//!   what had been delivered is charged: the tokens that the model had
//!   reported by then, or one output token for each piece of text, whichever
//!   is more. A piece is at least one token, so that is never too much.
//!
//! Never more than the reservation is charged. An answer that is no success
//! costs nothing, and neither does one without a usage block: that is
//! answered `502`, since nobody could say what it costs.

mod count;
mod price;
mod stream;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use mpp_core::Amount;
use mpp_server::session::reserve::Reservation;

pub use self::{
    count::Usage,
    price::{InexactPrice, TokenPrices},
};
use super::{Paid, Unaffordable};

/// The largest JSON answer that is read for its usage block, in bytes.
const MAX_JSON: usize = 16 * 1024 * 1024;

/// A reservation that is captured from what an answer says it used.
#[derive(Debug)]
#[must_use = "a dropped bill charges nothing"]
pub struct UsageBill {
    prices: TokenPrices,
    reservation: Reservation,
}

impl TokenPrices {
    /// Reserves what an answer of at most these numbers of tokens costs.
    ///
    /// # Errors
    /// As [`Paid::reserve`].
    ///
    /// # Cancel safety
    /// As [`Paid::reserve`].
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::response::Response;
    /// use mpp_http::server::{Paid, Unaffordable, usage::{TokenPrices, Usage}};
    ///
    /// async fn chat(paid: Paid) -> Result<Response, Unaffordable> {
    ///     // $3 and $15 for a million tokens, in a currency with 6 decimals.
    ///     let prices = TokenPrices::new(3, 15);
    ///     let most = Usage { input: 1_000, output: 4_000 };
    ///     let bill = prices.reserve(&paid, most).await?;
    ///     Ok(bill.settle(ask_the_model().await).await)
    /// }
    /// # async fn ask_the_model() -> Response { Response::default() }
    /// ```
    pub async fn reserve(self, paid: &Paid, most: Usage) -> Result<UsageBill, Unaffordable> {
        let max = self.cost(most);
        Ok(UsageBill {
            prices: self,
            reservation: paid.reserve(max).await?,
        })
    }
}

impl UsageBill {
    /// Passes an answer on and charges what it says it used.
    ///
    /// # Cancel safety
    /// Dropped, nothing is charged.
    pub async fn settle(self, response: Response) -> Response {
        if !response.status().is_success() {
            return response;
        }
        if is(&response, "text/event-stream") {
            return self.stream(response);
        }
        self.json(response).await
    }

    async fn json(self, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let Ok(body) = Limited::new(body, MAX_JSON).collect().await else {
            return no_usage("the answer broke off or is too large");
        };
        let body = body.to_bytes();
        let Some(usage) = Usage::of_json(&body) else {
            return no_usage("the answer says no usage");
        };
        let (cost, units) = self.bill(usage);
        if let Err(over) = self.reservation.capture(cost, units) {
            return Unaffordable::from(over).into_response();
        }
        parts.headers.remove(header::TRANSFER_ENCODING);
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Response::from_parts(parts, Body::from(body))
    }

    fn stream(self, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        // PROTOCOL 5.7; events are written anew, so their length changes.
        parts.headers.remove(header::CONTENT_LENGTH);
        let fixed = HeaderValue::from_static("no-store, no-transform");
        parts.headers.insert(header::CACHE_CONTROL, fixed);
        let events = stream::events(self, body.into_data_stream());
        Response::from_parts(parts, Body::from_stream(events))
    }

    /// What the usage costs, at most what is reserved; and in tokens.
    fn bill(&self, usage: Usage) -> (Amount, u64) {
        let cost = self.prices.cost(usage);
        let max = self.reservation.max();
        if cost > max {
            tracing::warn!(%cost, %max, "an answer used more than was reserved for it");
        }
        (cost.min(max), usage.input.saturating_add(usage.output))
    }
}

fn is(response: &Response, kind: &str) -> bool {
    let value = response.headers().get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let named = text.split(';').next().unwrap_or("").trim();
    named.eq_ignore_ascii_case(kind)
}

fn no_usage(why: &'static str) -> Response {
    tracing::warn!(why, "an answer could not be billed");
    StatusCode::BAD_GATEWAY.into_response()
}

#[cfg(test)]
mod tests;
