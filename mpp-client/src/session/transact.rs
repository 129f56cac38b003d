//! Chain time, fees and validity of the client's own transactions.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Timestamp;
use mpp_tempo::chain::{ChainClient, DynChain, TxReceipt};
use mpp_tempo::tx::{BuildError, FeeMode, SignedTx, TxContext, TxFees, UnsignedTx};

use crate::error::ClientError;
use crate::payer::Payer;
use crate::random::random;

/// How long a transaction may be mined. Chains take at most 30 s for expiring nonces, and the
/// clocks of client and chain may differ a little (PROTOCOL 4).
const VALID_FOR: Duration = Duration::from_secs(25);

impl From<BuildError> for ClientError {
    fn from(_: BuildError) -> Self {
        Self::Payment("the transaction's amounts or times are out of range")
    }
}

impl Payer {
    /// The chain client.
    pub(crate) fn chain(&self) -> Result<&DynChain, ClientError> {
        self.chain_client().ok_or(ClientError::Misuse(
            "channels and charges need a chain client",
        ))
    }

    /// The chain client, if it is of this chain: another one knows nothing of what happens there, and
    /// its silence would prove that no money is left.
    pub(crate) fn chain_of(&self, chain_id: u64) -> Result<&DynChain, ClientError> {
        let chain = self.chain()?;
        if self.is_connected(chain_id) {
            Ok(chain)
        } else {
            Err(ClientError::Misuse(
                "the channel or charge is on another chain than the one that is connected",
            ))
        }
    }

    /// The time by which transactions are dated: the chain may run ahead of this machine.
    pub(crate) async fn chain_now(&self) -> Result<Timestamp, ClientError> {
        let block = self.chain()?.block().await?;
        let chain_time = Timestamp::from_secs(i64::try_from(block.timestamp).unwrap_or(i64::MAX));
        Ok(self.now().max(chain_time))
    }

    /// Everything a transaction needs beside its calls.
    ///
    /// The start of validity is a random moment in the past: it makes two transactions with equal
    /// calls different, without which the second of two equal top-ups would be a replay.
    pub(crate) async fn context(
        &self,
        gas_limit: u64,
        fee_mode: FeeMode,
    ) -> Result<TxContext, ClientError> {
        let chain = self.chain()?;
        let now = self.chain_now().await?;
        let quote = chain.fees().await?;
        self.policy().check_fee(quote.max_fee_per_gas)?;
        let seconds = u64::try_from(now.as_secs()).unwrap_or(0);
        Ok(TxContext {
            chain_id: chain.chain_id(),
            now,
            valid_for: VALID_FOR,
            fees: TxFees {
                max_fee_per_gas: quote.max_fee_per_gas,
                max_priority_fee_per_gas: quote.max_priority_fee_per_gas,
                gas_limit,
            },
            fee_mode,
            valid_after: Some(random::<u64>().checked_rem(seconds).unwrap_or(0).max(1)),
        })
    }

    /// Signs a transaction of the client itself.
    pub(crate) async fn sign_tx(&self, unsigned: UnsignedTx) -> Result<SignedTx, ClientError> {
        unsigned
            .sign(self.signer())
            .await
            .map_err(ClientError::Signer)
    }

    /// Builds, signs and sends a transaction that the client pays for itself.
    pub(crate) async fn transact(
        &self,
        gas_limit: u64,
        fee_token: Address,
        build: impl FnOnce(&TxContext) -> Result<UnsignedTx, BuildError> + Send,
    ) -> Result<TxReceipt, ClientError> {
        let context = self
            .context(gas_limit, FeeMode::SelfPaid { fee_token })
            .await?;
        let signed = self.sign_tx(build(&context)?).await?;
        let receipt = self.chain()?.send_and_wait(signed.encode()).await?;
        if receipt.success {
            Ok(receipt)
        } else {
            Err(ClientError::Payment("the transaction was reverted"))
        }
    }
}

/// A signed transaction on its way into a credential.
pub(crate) struct Packed {
    pub(crate) bytes: Bytes,
    pub(crate) hash: B256,
    pub(crate) valid_before: u64,
}

impl From<&SignedTx> for Packed {
    fn from(signed: &SignedTx) -> Self {
        Self {
            bytes: signed.encode(),
            hash: signed.hash(),
            valid_before: signed.valid_before().unwrap_or(u64::MAX),
        }
    }
}
