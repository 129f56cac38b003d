//! Sells one photo for a charge of a cent, and photos and words for sessions of the first protocol.

use std::{convert::Infallible, sync::Arc};

use alloy_signer_local::PrivateKeySigner;
use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::StreamExt as _;
use mpp::{
    PaymentChallenge, PaymentCredential, parse_authorization,
    protocol::methods::tempo::PATH_USD,
    server::{
        Mpp, SessionChallengeOptions, SessionChannelStore, SessionMethodConfig,
        SessionVerifyResult, TempoChargeMethod, TempoConfig, TempoProvider, TempoSessionMethod,
        axum::{
            ChargeChallenger, ChargeConfig, MppCharge, PaymentProblem, PaymentRequired, WithReceipt,
        },
        deduct_from_channel,
        sse::{self, ServeOptions},
        tempo, tempo_provider,
    },
    tempo::ChannelStore as _,
};
use serde_json::Value;

use crate::{leave, variable};

const CHAIN: u64 = 42431;
/// The contract that holds the channels.
const ESCROW: &str = "0xe1c4d3dce17bc111181ddf716f75bae49e61a336";
/// A cent.
const PRICE: u128 = 10_000;
/// Words of a stream.
const WORDS: u32 = 20;
/// Enough for all of them: the peer knows no top-ups of this protocol.
const DEPOSIT: &str = "500000";
/// Secret of a server that lives for one flow.
const SECRET: &str = "the secret of a peer that is only played with";

type Payment = Mpp<TempoChargeMethod<TempoProvider>, TempoSessionMethod<TempoProvider>>;

/// What sells by sessions.
struct Sessions {
    payment: Payment,
    store: Arc<SessionChannelStore>,
}

struct Cent;

impl ChargeConfig for Cent {
    fn amount() -> &'static str {
        "0.01"
    }
}

struct Nothing;

impl ChargeConfig for Nothing {
    fn amount() -> &'static str {
        "0"
    }
}

pub(crate) async fn run() -> anyhow::Result<()> {
    let app = charges(false)?.merge(charges(true)?).merge(sessions()?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

fn payment(sponsored: bool) -> anyhow::Result<Mpp<TempoChargeMethod<TempoProvider>>> {
    let payee: PrivateKeySigner = variable("PAYEE_KEY")?.parse()?;
    let sponsor: PrivateKeySigner = variable("SPONSOR_KEY")?.parse()?;
    let mut builder = tempo(TempoConfig {
        recipient: &payee.address().to_string(),
    })
    .rpc_url(&variable("RPC_URL")?)
    .chain_id(CHAIN)
    .realm("localhost")
    .secret_key(SECRET);
    if sponsored {
        builder = builder.fee_payer(true).fee_payer_signer(sponsor);
    }
    Ok(Mpp::create(builder)?)
}

fn charges(sponsored: bool) -> anyhow::Result<Router> {
    let payment: Arc<dyn ChargeChallenger> = Arc::new(payment(sponsored)?);
    let routes = match sponsored {
        true => Router::new().route("/charge/sponsored", get(sell_for::<Cent>)),
        false => Router::new()
            .route("/charge/pull", get(sell_for::<Cent>))
            .route("/charge/proof", get(sell_for::<Nothing>)),
    };
    Ok(routes.with_state(payment))
}

async fn sell_for<C: ChargeConfig>(charge: MppCharge<C>) -> WithReceipt<&'static str> {
    WithReceipt {
        receipt: charge.receipt,
        body: "a photo",
    }
}

fn sessions() -> anyhow::Result<Router> {
    let payee: PrivateKeySigner = variable("PAYEE_KEY")?.parse()?;
    let store = Arc::new(SessionChannelStore::new());
    let config = SessionMethodConfig {
        escrow_contract: ESCROW.parse()?,
        chain_id: CHAIN,
        min_voucher_delta: 0,
    };
    let provider = tempo_provider(&variable("RPC_URL")?)?;
    let method = TempoSessionMethod::new(provider, store.clone(), config).with_close_signer(payee);
    let sessions = Arc::new(Sessions {
        payment: payment(false)?.with_session_method(method),
        store,
    });
    Ok(Router::new()
        .route("/requests", get(sell_photo).post(manage))
        .route("/stream", get(sell_words).post(manage))
        .route("/settle", post(settle))
        .with_state(sessions))
}

impl Sessions {
    /// Takes the credential of a request, or answers in its place.
    async fn verify(
        &self,
        headers: &HeaderMap,
    ) -> Result<(PaymentCredential, SessionVerifyResult), Response> {
        let credential = headers.get(header::AUTHORIZATION);
        let credential =
            credential.and_then(|value| parse_authorization(value.to_str().ok()?).ok());
        let Some(credential) = credential else {
            return Err(match self.challenge() {
                Ok(challenge) => PaymentRequired(challenge).into_response(),
                Err(error) => PaymentProblem::new(&error, Vec::new()).into_response(),
            });
        };
        let verified = self.payment.verify_session(&credential).await;
        verified
            .map(|verified| (credential, verified))
            .map_err(|error| {
                let offers = self.challenge().into_iter().collect();
                PaymentProblem::new(&error, offers).into_response()
            })
    }

    fn challenge(&self) -> mpp::error::Result<PaymentChallenge> {
        let options = SessionChallengeOptions {
            suggested_deposit: Some(DEPOSIT),
            ..SessionChallengeOptions::default()
        };
        let recipient = self.payment.recipient().unwrap_or_default();
        let price = PRICE.to_string();
        self.payment
            .session_challenge_with_details(&price, PATH_USD, recipient, options)
    }
}

/// The answer to a credential that asks for nothing else, and a photo's head.
fn with_receipt(verified: &SessionVerifyResult, body: impl IntoResponse) -> Response {
    match verified.receipt.to_header() {
        Ok(receipt) => ([("payment-receipt", receipt)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn manage(State(sessions): State<Arc<Sessions>>, headers: HeaderMap) -> Response {
    match sessions.verify(&headers).await {
        Ok((_, verified)) => {
            let answer = axum::Json(verified.management_response.clone());
            with_receipt(&verified, answer)
        }
        Err(response) => response,
    }
}

/// What the owner of the server runs to collect from a channel.
async fn settle(State(sessions): State<Arc<Sessions>>, id: String) -> Response {
    let settled = async {
        let channel = sessions.store.get_channel(&id).await?;
        let channel = channel.context("no channel")?;
        let payee: PrivateKeySigner = variable("PAYEE_KEY")?.parse()?;
        leave::settle(&payee, &variable("RPC_URL")?, &channel).await
    };
    match settled.await {
        Ok(receipt) => axum::Json(receipt).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the credential of a GET asks for content. The first voucher of an open pays for it as any
/// other does, although the peer suggests to answer without content.
fn asks_for_content(method: &Method, credential: &PaymentCredential) -> bool {
    let action = credential.payload.get("action").and_then(Value::as_str);
    method == Method::GET && matches!(action, Some("open" | "voucher"))
}

async fn sell_photo(
    State(sessions): State<Arc<Sessions>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let (credential, verified) = match sessions.verify(&headers).await {
        Ok(verified) => verified,
        Err(response) => return response,
    };
    if asks_for_content(&method, &credential) {
        let channel = verified.receipt.reference.as_str();
        let store = sessions.store.as_ref();
        if let Err(error) = deduct_from_channel(store, channel, PRICE).await {
            return (StatusCode::PAYMENT_REQUIRED, error.to_string()).into_response();
        }
    }
    with_receipt(&verified, "a photo")
}

async fn sell_words(
    State(sessions): State<Arc<Sessions>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let (credential, verified) = match sessions.verify(&headers).await {
        Ok(verified) => verified,
        Err(response) => return response,
    };
    if !asks_for_content(&method, &credential) {
        return with_receipt(&verified, "");
    }
    let words = (0..WORDS).map(|number| format!("word{number}"));
    let events = sse::serve(ServeOptions {
        store: sessions.store.clone(),
        channel_id: verified.receipt.reference.clone(),
        challenge_id: credential.challenge.id,
        tick_cost: PRICE,
        generate: futures_util::stream::iter(words),
        poll_interval_ms: 10,
        min_voucher_delta: 0,
        before_charge: None,
    });
    let body = Body::from_stream(events.map(Ok::<_, Infallible>));
    let head = [(header::CONTENT_TYPE, "text/event-stream")];
    let mut response = (head, body).into_response();
    let receipt = verified.receipt.to_header().ok();
    if let Some(receipt) = receipt.and_then(|receipt| receipt.parse().ok()) {
        response.headers_mut().insert("payment-receipt", receipt);
    }
    response
}
