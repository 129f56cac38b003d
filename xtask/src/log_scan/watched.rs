//! Where secrets pass by: signers, requests and challenges.

use alloy_primitives::{Address, B256};
use axum::{extract::Request, middleware::Next, response::Response};
use http::header;
use mpp_core::header::{challenge, names};
use mpp_server::ServerEvent;
use mpp_tempo::{LocalSigner, Signature65, Signer, SignerError};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{secret, secret_text};

/// A signer all of whose signatures are secrets.
#[derive(Clone, Debug)]
pub(crate) struct Watched(pub(crate) LocalSigner);

impl Signer for Watched {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign_digest(&self, digest: &B256) -> Result<Signature65, SignerError> {
        let signature = self.0.sign_digest(digest).await?;
        secret("signature", &signature.to_bytes());
        Ok(signature)
    }
}

/// Notes the credentials of a request, and the challenges that answer it.
pub(crate) async fn overhear(request: Request, next: Next) -> Response {
    for name in [header::AUTHORIZATION.as_str(), names::PAYMENT_AUTHORIZATION] {
        for value in request.headers().get_all(name) {
            secret_text(name_of(name), &String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let response = next.run(request).await;
    let values = response.headers().get_all(header::WWW_AUTHENTICATE);
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    for issued in challenge::parse_all(texts).into_iter().flatten() {
        secret_text("challenge id", issued.id.as_str());
    }
    response
}

fn name_of(field: &str) -> &'static str {
    if field == names::PAYMENT_AUTHORIZATION {
        "Payment-Authorization"
    } else {
        "Authorization"
    }
}

/// Notes the challenges that a server issues, by whatever transport, for as
/// long as it lives.
pub(crate) async fn overhear_events(mut events: Receiver<ServerEvent>) {
    loop {
        match events.recv().await {
            Ok(ServerEvent::ChallengeIssued { challenge_id, .. }) => {
                secret_text("challenge id", challenge_id.as_str());
            }
            // What was missed went over HTTP as well.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
