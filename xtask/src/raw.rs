//! A payer that does exactly what it is told, right or wrong.

use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use mpp_core::{
    Amount, Challenge, Credential, Problem, ProblemKind, Receipt, SessionReceipt, header,
    source::DidPkh,
};
use mpp_tempo::{
    ChannelTerms, LocalSigner, SessionProtocol, Signer as _,
    tx::{UnsignedTx, build, gas},
    voucher::{SignedVoucher, Voucher, VoucherVerifier, sign_voucher},
    wire::{SessionPayload, SessionRequest},
};
use reqwest::{Method, Response};

use crate::{account, log_scan::Watched, node::Node};

/// A payer without judgment.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) signer: LocalSigner,
    http: reqwest::Client,
}

/// A channel that was prepared, perhaps opened.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) terms: ChannelTerms,
    pub(crate) transaction: alloy_primitives::Bytes,
}

impl Raw {
    pub(crate) fn new(signer: LocalSigner) -> Self {
        Self {
            signer,
            http: reqwest::Client::new(),
        }
    }

    /// The challenge of an unpaid request.
    pub(crate) async fn challenge(&self, url: &str) -> anyhow::Result<Challenge> {
        let response = self.http.get(url).send().await?;
        let [challenge] = challenges(&response)?
            .try_into()
            .ok()
            .context("one offer")?;
        Ok(challenge)
    }

    /// Signs an open transaction for `deposit`.
    pub(crate) async fn prepare(
        &self,
        node: &Node,
        challenge: &Challenge,
        deposit: Amount,
    ) -> anyhow::Result<Prepared> {
        let request: SessionRequest = challenge.request.decode()?;
        let protocol = request.method_details.protocol();
        let params = build::OpenParams {
            protocol,
            escrow: request.method_details.escrow_contract,
            payee: request.recipient,
            token: request.currency,
            operator: request.method_details.operator.unwrap_or_default(),
            deposit,
            salt: B256::random(),
            authorized_signer: Address::ZERO,
        };
        let context = account::context(node, gas::open(protocol)).await?;
        let unsigned: UnsignedTx = build::open(&context, &params)?;
        let terms = unsigned.open_terms(&params, self.signer.address());
        let transaction = unsigned.sign(&self.signer).await?.encode();
        Ok(Prepared { terms, transaction })
    }

    /// The open payload with this first voucher.
    pub(crate) fn open(&self, prepared: &Prepared, first: &SignedVoucher) -> SessionPayload {
        SessionPayload::Open {
            channel_id: prepared.terms.id(),
            transaction: prepared.transaction.clone(),
            authorized_signer: None,
            descriptor: descriptor(&prepared.terms),
            cumulative_amount: first.voucher.cumulative,
            signature: first.signature.clone(),
        }
    }

    /// A voucher of this payer.
    pub(crate) async fn sign(
        &self,
        terms: &ChannelTerms,
        cumulative: Amount,
    ) -> anyhow::Result<SignedVoucher> {
        let signer = Watched(self.signer.clone());
        Ok(sign_voucher(&signer, terms, cumulative).await?)
    }

    /// A voucher of this payer for anybody's channel.
    pub(crate) fn forge(&self, terms: &ChannelTerms, cumulative: Amount) -> SignedVoucher {
        let digest = VoucherVerifier::new(terms).digest(cumulative);
        SignedVoucher {
            voucher: Voucher {
                channel_id: terms.id(),
                cumulative,
            },
            signature: self.signer.sign_digest_sync(&digest).into(),
        }
    }

    /// Sends a payload with the challenge it answers.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        challenge: &Challenge,
        payload: &SessionPayload,
    ) -> anyhow::Result<Response> {
        let credential = self.credential(challenge, payload)?;
        self.present(method, url, &credential).await
    }

    /// A payload with the challenge it answers.
    pub(crate) fn credential(
        &self,
        challenge: &Challenge,
        payload: &SessionPayload,
    ) -> anyhow::Result<Credential> {
        let request: SessionRequest = challenge.request.decode()?;
        let chain_id = request.method_details.chain_id;
        let address = format!("{:#x}", self.signer.address());
        let source = DidPkh::new(chain_id, &address)?.to_string();
        let credential = Credential::new(challenge.clone(), payload.to_value());
        Ok(credential.with_source(source))
    }

    /// Sends any credential.
    pub(crate) async fn present(
        &self,
        method: Method,
        url: &str,
        credential: &Credential,
    ) -> anyhow::Result<Response> {
        self.authorize(method, url, &header::credential::encode(credential)?)
            .await
    }

    /// Sends any `Authorization` value.
    pub(crate) async fn authorize(
        &self,
        method: Method,
        url: &str,
        value: &str,
    ) -> anyhow::Result<Response> {
        let request = self.http.request(method, url);
        Ok(request.header("authorization", value).send().await?)
    }

    /// Opens a channel with a content request that pays for one unit.
    pub(crate) async fn open_channel(
        &self,
        node: &Node,
        url: &str,
        deposit: Amount,
    ) -> anyhow::Result<(Challenge, ChannelTerms)> {
        let challenge = self.challenge(url).await?;
        let request: SessionRequest = challenge.request.decode()?;
        let prepared = self.prepare(node, &challenge, deposit).await?;
        let first = self.sign(&prepared.terms, request.amount).await?;
        let payload = self.open(&prepared, &first);
        let response = self.send(Method::GET, url, &challenge, &payload).await?;
        anyhow::ensure!(
            response.status() == 200,
            "open: {} {}",
            response.status(),
            response.text().await?
        );
        Ok((challenge, prepared.terms))
    }

    /// Sends a voucher for `cumulative`.
    pub(crate) async fn pay(
        &self,
        method: Method,
        url: &str,
        challenge: &Challenge,
        signed: &SignedVoucher,
        terms: &ChannelTerms,
    ) -> anyhow::Result<Response> {
        let payload = voucher(terms, signed);
        self.send(method, url, challenge, &payload).await
    }
}

/// The voucher payload.
pub(crate) fn voucher(terms: &ChannelTerms, signed: &SignedVoucher) -> SessionPayload {
    SessionPayload::Voucher {
        channel_id: terms.id(),
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
    }
}

pub(crate) fn descriptor(terms: &ChannelTerms) -> Option<mpp_tempo::ChannelDescriptor> {
    (terms.protocol == SessionProtocol::V2).then_some(terms.descriptor)
}

/// All challenges of a response.
pub(crate) fn challenges(response: &Response) -> anyhow::Result<Vec<Challenge>> {
    let values = response.headers().get_all("www-authenticate").iter();
    let values: Vec<_> = values
        .map(|value| value.to_str())
        .collect::<Result<_, _>>()?;
    let parsed = header::challenge::parse_all(values);
    Ok(parsed.into_iter().collect::<Result<_, _>>()?)
}

/// The session receipt of a response.
pub(crate) fn receipt(response: &Response) -> anyhow::Result<SessionReceipt> {
    let value = response
        .headers()
        .get("payment-receipt")
        .with_context(|| format!("no receipt on a {}", response.status()))?;
    session_receipt(&header::receipt::parse(value.to_str()?)?).cloned()
}

/// Expects a refusal of this kind, with a fresh challenge and no receipt.
pub(crate) async fn refused(response: Response, kind: ProblemKind) -> anyhow::Result<Problem> {
    let status = response.status().as_u16();
    let fresh = challenges(&response)?.len();
    let receipt = response.headers().contains_key("payment-receipt");
    let body = response.bytes().await?;
    let problem = Problem::from_json(&body)
        .with_context(|| format!("{status}: {}", String::from_utf8_lossy(&body)))?;
    anyhow::ensure!(
        problem.kind == kind,
        "expected {kind:?}, got {:?}: {}",
        problem.kind,
        problem.detail
    );
    anyhow::ensure!(status == kind.status(), "status {status} for {kind:?}");
    anyhow::ensure!(!receipt, "a refusal carries a receipt");
    anyhow::ensure!(
        (fresh > 0) == kind.carries_challenge(),
        "{fresh} challenges with {kind:?}"
    );
    Ok(problem)
}

/// The session receipt in a receipt.
pub(crate) fn session_receipt(receipt: &Receipt) -> anyhow::Result<&SessionReceipt> {
    match receipt {
        Receipt::Session(receipt) => Ok(receipt),
        Receipt::Charge(_) => anyhow::bail!("not a session receipt"),
    }
}
