//! A fee payer behind a URL.

use core::fmt;

use alloc::format;
use alloy_primitives::Address;
use alloy_provider::ProviderBuilder;
use serde_json::json;
use tempo_alloy::TempoNetwork;
use url::Url;

use super::request::Failure;
use super::simulate::is_unsupported;
use super::{RpcChain, RpcTimeouts, filling, read};
use crate::chain::ChainError;
use crate::signer::SignerError;
use crate::tx::{CosignError, FeePayer, SignedTx, verify_cosigned};

/// A service that signs as the fee payer over JSON-RPC.
///
/// Services speak one of two methods. `eth_signRawTransaction` takes the 0x78 envelope and gives
/// back the final 0x76 transaction (viem's `withRelay`). `eth_fillTransaction` takes the members
/// of the transaction with `feePayer: true`, and gives back those of the fee payer beside them
/// (mppx' hosted fee payers); the signature of the sender never leaves this process then. The
/// first is asked for first, and the second when the service does not know it.
///
/// The service may refuse, and has limits of its own. Its answer is verified: the same
/// transaction of the same sender, with a fee payer's signature that holds. Of an answer to
/// `eth_fillTransaction` only the fee token and the signature are used, and it is refused when
/// it shows another transaction. Whom the signature belongs to follows from what was signed, so
/// name the account with [`of_account`](Self::of_account): without that, a service that has
/// signed something else is found out by the chain only, which then refuses the transaction.
#[derive(Clone)]
pub struct RemoteFeePayer {
    service: RpcChain,
    account: Option<Address>,
}

impl RemoteFeePayer {
    /// Uses the service at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] if it is not a URL.
    pub fn new(url: &str) -> Result<Self, ChainError> {
        let url = Url::parse(url).map_err(|_| ChainError::rejected("endpoint is not a URL"))?;
        let provider = ProviderBuilder::<_, _, TempoNetwork>::default().connect_http(url);
        Ok(Self {
            service: RpcChain::new(provider, 0),
            account: None,
        })
    }

    /// Takes the signature of this account only, and lets its balance be watched.
    #[must_use]
    pub const fn of_account(mut self, account: Address) -> Self {
        self.account = Some(account);
        self
    }

    /// Replaces the timeouts.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: RpcTimeouts) -> Self {
        self.service = self.service.with_timeouts(timeouts);
        self
    }

    async fn sign(&self, asked: &SignedTx) -> Result<SignedTx, CosignError> {
        let params = json!([asked.encode()]);
        let attempt = self.service.attempt("eth_signRawTransaction", params);
        let answer = match attempt.await.map_err(unavailable)? {
            Ok(answer) => answer,
            Err((code, message)) if is_unsupported(code, &message) => {
                return self.fill(asked).await;
            }
            Err((code, message)) => {
                return Err(unavailable(Failure::Refused { code, message }.into()));
            }
        };
        // Some answer with the bytes, some with an object that holds them.
        let raw = read::bytes(&answer).or_else(|| read::bytes(answer.get("raw")?));
        let raw = raw.ok_or(CosignError::Altered)?;
        SignedTx::decode(&raw).map_err(|_| CosignError::Altered)
    }

    async fn fill(&self, asked: &SignedTx) -> Result<SignedTx, CosignError> {
        let params = json!([filling::request(asked)?]);
        let request = self.service.request("eth_fillTransaction", params);
        let answer = request.await.map_err(unavailable)?;
        let filled = answer.get("tx").ok_or(CosignError::Altered)?;
        filling::complete(asked, filled)
    }
}

impl FeePayer for RemoteFeePayer {
    fn address(&self) -> Option<Address> {
        self.account
    }

    /// The service chooses the fee token.
    fn pays_in(&self, _fee_token: Address) -> Option<Address> {
        None
    }

    async fn cosign(
        &self,
        transaction: SignedTx,
        _fee_token: Address,
    ) -> Result<SignedTx, CosignError> {
        if !transaction.needs_fee_payer() {
            return Err(CosignError::NotRequested);
        }
        let signed = self.sign(&transaction).await?;
        verify_cosigned(&transaction, &signed, self.account)?;
        Ok(signed)
    }
}

impl fmt::Debug for RemoteFeePayer {
    /// The endpoint is left out: it may carry a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFeePayer")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

fn unavailable(error: ChainError) -> CosignError {
    CosignError::Signer(match error {
        ChainError::Rejected { message } => {
            SignerError::Refused(format!("the fee payer: {message}"))
        }
        error => SignerError::Unavailable(format!("the fee payer: {error}")),
    })
}
