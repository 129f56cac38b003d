//! Photos, sold one by one: $0.01 each, from this folder's `photos`.

#![forbid(unsafe_code)]

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::{Misuse, PaymentServer, Route, SessionOffer};

/// Price of a photo in the currency of the offer.
pub const PRICE_PER_PHOTO: &str = "0.01";

const PHOTOS: [(&str, &[u8]); 3] = [
    ("dusk", include_bytes!("../photos/dusk.png")),
    ("sea", include_bytes!("../photos/sea.png")),
    ("dunes", include_bytes!("../photos/dunes.png")),
];

/// The photos' offer, before anything is set that depends on the server.
pub fn offer(server: &PaymentServer) -> SessionOffer {
    server
        .session()
        .amount(PRICE_PER_PHOTO)
        .unit_type("photo")
        .suggested_deposit("1")
        .description("Photos, sold one by one")
}

/// A router with the free list `/photos` and a paid route for each photo,
/// such as `/photos/sea`.
///
/// Only photos that exist have a route, so nobody pays for a `404`; they
/// share one scope, so one challenge buys any of them.
///
/// # Errors
/// When the offer does not hold together.
pub fn router(server: &PaymentServer, offer: SessionOffer) -> Result<Router, Misuse> {
    let route = Route::new("/photos", [offer.build()?])?;
    let mut router = Router::new().route("/photos", get(list));
    for (name, bytes) in PHOTOS {
        let pay = PaymentLayer::new(server.clone(), route.clone());
        let photo = move |paid: Paid| async move { photo(&paid, bytes) };
        router = router.route(&format!("/photos/{name}"), get(photo).layer(pay));
    }
    Ok(router)
}

async fn list() -> String {
    PHOTOS.map(|(name, _)| name).join("\n")
}

fn photo(_paid: &Paid, bytes: &'static [u8]) -> Response {
    ([(header::CONTENT_TYPE, "image/png")], bytes).into_response()
}
