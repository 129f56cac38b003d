//! Configuring a client.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mpp_client::{
    BuildError, ChannelBook, ClientMethod, Clock, DurableBook, Payer, PayerBuilder, Policy, Wallet,
};
use mpp_tempo::{Signer, chain::ChainClient};
use reqwest::ClientBuilder as HttpConfig;

use super::Client;

/// How long a server may take to accept a connection, unless configured otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Collects what a [`Client`] needs: a signer, a policy, and a chain client to open channels.
#[derive(Default)]
pub struct ClientBuilder {
    payer: PayerBuilder,
    http: Option<HttpConfig>,
    book: Option<PathBuf>,
}

impl ClientBuilder {
    /// The key that pays and signs vouchers.
    #[must_use]
    pub fn signer(mut self, signer: impl Signer + 'static) -> Self {
        self.payer = self.payer.signer(signer);
        self
    }

    /// An account that sends payments itself; see [`PayerBuilder::wallet`].
    #[must_use]
    pub fn wallet(mut self, wallet: impl Wallet) -> Self {
        self.payer = self.payer.wallet(wallet);
        self
    }

    /// A payment method of one's own; see [`PayerBuilder::method`].
    #[must_use]
    pub fn method(mut self, method: impl ClientMethod) -> Self {
        self.payer = self.payer.method(method);
        self
    }

    /// The chain. Asked when a channel is opened, refilled or left and for charges, never for a
    /// voucher.
    #[must_use]
    pub fn chain(mut self, chain: impl ChainClient) -> Self {
        self.payer = self.payer.chain(chain);
        self
    }

    /// What may be paid.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.payer = self.payer.policy(policy);
        self
    }

    /// The directory where channels are recorded, for good; see [`DurableBook`].
    ///
    /// Several clients and processes may use one directory. They pay as one.
    #[must_use]
    pub fn book_at(mut self, directory: impl Into<PathBuf>) -> Self {
        self.book = Some(directory.into());
        self
    }

    /// Where channels are recorded; by default in memory, for as long as the client lasts.
    #[must_use]
    pub fn book(mut self, book: Arc<dyn ChannelBook>) -> Self {
        self.payer = self.payer.book(book);
        self
    }

    /// The clock; by default that of the machine.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.payer = self.payer.clock(clock);
        self
    }

    /// Settings of the HTTP client: timeouts, proxies, certificates. Redirects stay off.
    #[must_use]
    pub fn http(mut self, config: HttpConfig) -> Self {
        self.http = Some(config);
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// [`BuildError`] when the signer or the policy is missing, or the book or the HTTP client can
    /// not be set up.
    pub fn build(mut self) -> Result<Client, BuildError> {
        if let Some(directory) = self.book {
            let book = DurableBook::open(directory)?;
            self.payer = self.payer.book(Arc::new(book));
        }
        let http = self
            .http
            .unwrap_or_else(|| HttpConfig::new().connect_timeout(CONNECT_TIMEOUT));
        let payer: Payer = self.payer.build()?;
        Client::with_payer(payer, http)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("payer", &self.payer)
            .finish_non_exhaustive()
    }
}
