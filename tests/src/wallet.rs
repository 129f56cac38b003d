//! A payer that does exactly what it is told, right or wrong.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU8, Ordering},
};

use alloy_primitives::{Address, B256};
use axum::{Router, body::Body, extract::ConnectInfo};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use mpp_core::{
    Amount, Challenge, Credential, Problem, Receipt, SessionReceipt,
    header::{challenge, credential, names, receipt},
};
use mpp_devnet::Devnet;
use mpp_tempo::{
    ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer as _,
    chain::ChainClient as _,
    charge::{AttributionMemo, Transfers},
    network::PATH_USD,
    tx::{
        FeeMode, TxContext, TxFees, build,
        build::{OpenParams, Transfer},
        gas,
    },
    voucher::sign_voucher,
    wire::{ChargePayload, ChargeRequest, SessionPayload, SessionRequest},
};
use tower::ServiceExt as _;

use crate::pair::DEPOSIT;

/// A key and a way to the chain.
pub(crate) struct Wallet {
    pub(crate) signer: LocalSigner,
    chain: Devnet,
    salt: AtomicU8,
    /// What its channels hold, in base units.
    pub(crate) deposit: Amount,
}

impl Wallet {
    pub(crate) fn new(signer: LocalSigner, chain: Devnet) -> Self {
        Self {
            signer,
            chain,
            salt: AtomicU8::new(1),
            deposit: Amount::new(DEPOSIT),
        }
    }

    /// Signs an open transaction and a first voucher for `first` base units.
    pub(crate) async fn opening(
        &self,
        challenge: &Challenge,
        first: u128,
    ) -> (ChannelTerms, SessionPayload) {
        let request: SessionRequest = challenge.request.decode().unwrap();
        let details = &request.method_details;
        let params = OpenParams {
            protocol: details.protocol(),
            escrow: details.escrow_contract,
            payee: request.recipient,
            token: request.currency,
            operator: Address::ZERO,
            deposit: self.deposit,
            salt: B256::repeat_byte(self.salt.fetch_add(1, Ordering::SeqCst)),
            authorized_signer: Address::ZERO,
        };
        let context = self.context(gas::open(params.protocol));
        let unsigned = build::open(&context, &params).unwrap();
        let terms = unsigned.open_terms(&params, self.signer.address());
        let transaction = unsigned.sign(&self.signer).await.unwrap().encode();
        let signed = self.voucher(&terms, first).await;
        let payload = SessionPayload::Open {
            channel_id: terms.id(),
            transaction,
            authorized_signer: None,
            descriptor: descriptor(&terms),
            cumulative_amount: signed.voucher.cumulative,
            signature: signed.signature,
        };
        (terms, payload)
    }

    /// Opens a channel on a route without buying anything.
    pub(crate) async fn open(&self, app: &Router, path: &str, first: u128) -> Opened {
        let challenge = challenge_of(app, path).await;
        self.open_under(app, path, challenge, first).await
    }

    /// As [`Wallet::open`], under a challenge that is at hand.
    pub(crate) async fn open_under(
        &self,
        app: &Router,
        path: &str,
        challenge: Challenge,
        first: u128,
    ) -> Opened {
        let (terms, payload) = self.opening(&challenge, first).await;
        let ask = Ask::new(Method::HEAD, path).pay(&challenge, &payload);
        let answer = ask.send(app).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        Opened { terms, challenge }
    }

    pub(crate) async fn voucher(&self, terms: &ChannelTerms, units: u128) -> SignedVoucher {
        sign_voucher(&self.signer, terms, Amount::new(units))
            .await
            .unwrap()
    }

    /// The payload of a voucher.
    pub(crate) async fn pay(&self, terms: &ChannelTerms, units: u128) -> SessionPayload {
        let signed = self.voucher(terms, units).await;
        SessionPayload::Voucher {
            channel_id: terms.id(),
            descriptor: descriptor(terms),
            cumulative_amount: signed.voucher.cumulative,
            signature: signed.signature,
        }
    }

    pub(crate) async fn top_up(&self, terms: &ChannelTerms, additional: u128) -> SessionPayload {
        let context = self.context(gas::TOP_UP);
        let additional = Amount::new(additional);
        let unsigned = build::top_up(&context, terms, additional).unwrap();
        SessionPayload::TopUp {
            channel_id: terms.id(),
            transaction: unsigned.sign(&self.signer).await.unwrap().encode(),
            descriptor: descriptor(terms),
            additional_deposit: additional,
        }
    }

    pub(crate) async fn close(&self, terms: &ChannelTerms, units: u128) -> SessionPayload {
        let signed = self.voucher(terms, units).await;
        SessionPayload::Close {
            channel_id: terms.id(),
            descriptor: descriptor(terms),
            cumulative_amount: signed.voucher.cumulative,
            signature: signed.signature,
            close_signature: None,
        }
    }

    /// A credential that pays what `asked` asks for, under the challenge
    /// `shown`, by a transaction that the server is to send.
    pub(crate) async fn charge(&self, asked: &Challenge, shown: &Challenge) -> String {
        let request: ChargeRequest = asked.request.decode().unwrap();
        let transfers = Transfers::try_from(&request).unwrap();
        // The memo is the right one, so that only the dispatch can refuse it.
        let memo = AttributionMemo::new(shown.realm.as_str(), None, shown.id.as_str());
        let made: Vec<_> = transfers
            .with_attribution(memo)
            .iter()
            .map(|one| Transfer::of_charge(request.currency, one))
            .collect();
        let mut context = self.context(gas::transfers(made.len()));
        if request.method_details.fee_payer == Some(true) {
            context.fee_mode = FeeMode::Sponsored;
        }
        let unsigned = build::transfer(&context, &made).unwrap();
        let transaction = unsigned.sign(&self.signer).await.unwrap().encode();
        let payload = serde_json::to_value(ChargePayload::Transaction { transaction }).unwrap();
        credential::encode(&Credential::new(shown.clone(), payload)).unwrap()
    }

    /// What a self-paid transaction of the present needs.
    pub(crate) fn context(&self, gas_limit: u64) -> TxContext {
        TxContext {
            chain_id: self.chain.chain_id(),
            now: mpp_core::Timestamp::from_secs(i64::try_from(self.chain.now()).unwrap()),
            valid_for: std::time::Duration::from_secs(25),
            fees: TxFees {
                max_fee_per_gas: 2_000_000_000,
                max_priority_fee_per_gas: 0,
                gas_limit,
            },
            fee_mode: FeeMode::SelfPaid {
                fee_token: PATH_USD,
            },
            // Any moment in the past keeps two equal calls apart.
            valid_after: Some(u64::from(self.salt.fetch_add(1, Ordering::SeqCst))),
        }
    }
}

/// An open channel and the challenge it was opened under.
pub(crate) struct Opened {
    pub(crate) terms: ChannelTerms,
    pub(crate) challenge: Challenge,
}

fn descriptor(terms: &ChannelTerms) -> Option<mpp_tempo::ChannelDescriptor> {
    (terms.protocol == SessionProtocol::V2).then_some(terms.descriptor)
}

/// A request in the making.
pub(crate) struct Ask {
    parts: http::request::Builder,
    body: Body,
}

impl Ask {
    pub(crate) fn new(method: Method, uri: &str) -> Self {
        Self {
            parts: Request::builder().method(method).uri(uri),
            body: Body::empty(),
        }
    }

    pub(crate) fn get(uri: &str) -> Self {
        Self::new(Method::GET, uri)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.parts = self.parts.header(name, value);
        self
    }

    pub(crate) fn body(mut self, text: &'static str) -> Self {
        self.body = Body::from(text);
        self
    }

    pub(crate) fn streamed(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Says where the request comes from, as a server that knows its peers does.
    pub(crate) fn peer(self, address: SocketAddr) -> Self {
        self.extension(ConnectInfo(address))
    }

    /// Adds what a server knows of the request beside its head.
    pub(crate) fn extension<T: Clone + Send + Sync + 'static>(mut self, fact: T) -> Self {
        self.parts = self.parts.extension(fact);
        self
    }

    /// Adds a credential in `Authorization`.
    pub(crate) fn pay(self, challenge: &Challenge, payload: &SessionPayload) -> Self {
        self.header(names::AUTHORIZATION, &authorization(challenge, payload))
    }

    /// Sends it, and leaves the body to the caller.
    pub(crate) async fn start(self, app: &Router) -> http::Response<Body> {
        let request = self.parts.body(self.body).unwrap();
        app.clone().oneshot(request).await.unwrap()
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self, app: &Router) -> Answer {
        let (parts, body) = self.start(app).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

/// A credential as a header value.
pub(crate) fn authorization(challenge: &Challenge, payload: &SessionPayload) -> String {
    credential::encode(&Credential::new(challenge.clone(), payload.to_value())).unwrap()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        challenges(&self.headers)
    }

    pub(crate) fn problem(&self) -> Problem {
        Problem::from_json(self.body.as_bytes()).unwrap()
    }

    pub(crate) fn has_receipt(&self) -> bool {
        self.headers.contains_key(names::PAYMENT_RECEIPT)
    }

    #[track_caller]
    pub(crate) fn receipt(&self) -> SessionReceipt {
        header_receipt(&self.headers)
    }

    /// All values of a header, as one list.
    pub(crate) fn list(&self, name: header::HeaderName) -> String {
        let values = self.headers.get_all(name).iter();
        let texts: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
        texts.join(", ").to_lowercase()
    }
}

pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let texts: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
    let parsed = challenge::parse_all(texts).into_iter();
    parsed.collect::<Result<_, _>>().unwrap()
}

#[track_caller]
pub(crate) fn header_receipt(headers: &HeaderMap) -> SessionReceipt {
    let value = headers.get(names::PAYMENT_RECEIPT).unwrap();
    session(receipt::parse(value.to_str().unwrap()).unwrap())
}

#[track_caller]
pub(crate) fn session(receipt: Receipt) -> SessionReceipt {
    match receipt {
        Receipt::Session(receipt) => receipt,
        Receipt::Charge(_) => panic!("a charge receipt"),
    }
}

/// The challenge of a route with one offer.
pub(crate) async fn challenge_of(app: &Router, path: &str) -> Challenge {
    let answer = Ask::get(path).send(app).await;
    assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED, "{answer:?}");
    let mut challenges = answer.challenges();
    assert_eq!(challenges.len(), 1);
    challenges.remove(0)
}
