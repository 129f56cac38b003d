//! A poem, sold by the word: $0.001 each; title and author are free.
//!
//! The first word is paid with the request, every other one just before it is
//! sent. When the balance runs out the stream waits for the next voucher. It can
//! be had as server-sent events and over a WebSocket, by the same handler.

#![forbid(unsafe_code)]

use axum::{Router, routing::get};
use mpp_http::server::{Metered, PaidSession, PaymentLayer};
use mpp_server::{Misuse, PaymentServer, Route, SessionOffer};

/// Emily Dickinson, published 1891; in the public domain.
const TITLE: &str = "\"Hope\" is the thing with feathers\n";
const AUTHOR: &str = "by Emily Dickinson\n\n";
const POEM: &str = "\"Hope\" is the thing with feathers -\n\
    That perches in the soul -\n\
    And sings the tune without the words -\n\
    And never stops - at all -\n";

/// Price of a word in the currency of the offer.
pub const PRICE_PER_WORD: &str = "0.001";

/// The number of words that are charged.
#[must_use]
pub fn word_count() -> u64 {
    words().map(|_| 1).sum()
}

/// The poem's offer, before anything is set that depends on the server.
pub fn offer(server: &PaymentServer) -> SessionOffer {
    server
        .session()
        .amount(PRICE_PER_WORD)
        .unit_type("word")
        .suggested_deposit("0.01")
        .description("A poem, sold by the word")
}

/// A router with the paid route `/poem`.
///
/// # Errors
/// When the offer does not hold together.
pub fn router(server: &PaymentServer, offer: SessionOffer) -> Result<Router, Misuse> {
    let route = Route::new("/poem", [offer.build()?])?;
    let pay = PaymentLayer::new(server.clone(), route).websocket();
    Ok(Router::new().route("/poem", get(poem).layer(pay)))
}

async fn poem(session: PaidSession) -> Metered {
    session.stream(|mut stream| async move {
        stream.send(TITLE).await;
        stream.send(AUTHOR).await;
        for word in words() {
            stream.charge().await?;
            stream.send(word).await;
        }
        Ok(())
    })
}

/// The words, each with the blank or line break behind it.
fn words() -> impl Iterator<Item = &'static str> {
    POEM.split_inclusive([' ', '\n'])
}
