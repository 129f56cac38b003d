//! Push: the client has sent the transaction and shows its hash.

use alloy_primitives::B256;
use mpp_tempo::{
    chain::{ChainClient, TxReceipt},
    charge::{self, Transfers},
    wire::ChargeMode,
};

use super::{
    claim::{Claimed, Shown},
    machine::{Todo, look},
    method::{Request, failed},
    record::{ChargeState, PaymentId},
};
use crate::{
    error::{Failure, Fault, Rejection},
    gate::Redeemed,
    store::ChannelStore,
};

impl<S: ChannelStore> Request<'_, S> {
    /// Pays with a transaction that the client has sent.
    ///
    /// Only what the chain shows counts: status, sender and transfers
    /// (SECURITY-CASES A4, A25).
    pub(super) async fn push(
        &self,
        transfers: &Transfers,
        hash: B256,
    ) -> Result<Redeemed, Failure> {
        self.check_mode(ChargeMode::Push)?;
        let payment = PaymentId {
            replay_id: None,
            hash: Some(hash),
        };
        loop {
            let context = self.context;
            let found = context.desk.load(self.id()).await?;
            let mut asked = None;
            let todo = match &found {
                None => Todo::Begin,
                Some(found) => {
                    self.check_source(found.value.payer)?;
                    asked = self.asked(found.value.payer);
                    look(&found.value, &payment, asked, context.clock.now())?
                }
            };
            match todo {
                Todo::Replay(response) => return self.replay(found, response),
                Todo::Serve => {}
                Todo::Resolve(sent) => {
                    let payer = found.map(|found| found.value.payer);
                    let errand = self.errand(transfers, payer.unwrap_or_default());
                    self.resolve(errand, sent).await?;
                }
                Todo::Begin => {
                    self.check_in_time()?;
                    let receipt = self.mined(hash).await?;
                    let shown = self.shown(&receipt, transfers, payment)?;
                    asked = self.asked(shown.payer);
                    match self.claim(&shown, found, ChargeState::Paid).await? {
                        Claimed::Conflict => continue,
                        Claimed::Elsewhere(redeemed) => return Ok(*redeemed),
                        Claimed::Now => {}
                    }
                }
            }
            return self.serve(asked).await;
        }
    }

    /// The receipt of a transaction that somebody else has sent.
    ///
    /// Whoever names many that are not there has to wait: each costs a call
    /// to the node. That counts for the challenge, so nobody makes others wait.
    async fn mined(&self, hash: B256) -> Result<TxReceipt, Failure> {
        let (limit, visit) = (&self.context.bad_signatures, self.visit);
        let now = self.context.clock.now();
        let guesses = self.id().0;
        if !limit.admits(guesses, visit.peer, now) {
            return Err(Rejection::TooManyProofs.into());
        }
        let receipt = self.context.chain.receipt(hash).await;
        let receipt = receipt.map_err(Fault::from)?;
        Ok(receipt.ok_or_else(|| {
            limit.failed(guesses, visit.peer, now);
            Rejection::ChargeNotMined
        })?)
    }

    fn shown(
        &self,
        receipt: &TxReceipt,
        transfers: &Transfers,
        payment: PaymentId,
    ) -> Result<Shown, Rejection> {
        let matched = charge::check_receipt(receipt, transfers, self.binding())
            .map_err(|error| failed(error.to_string()))?;
        self.check_source(receipt.from)?;
        Ok(Shown {
            payer: receipt.from,
            payment,
            memo: matched.memo,
            // What was mined is on the books even if another charge answers the
            // request: who is served for it is decided after that.
            asked: None,
            valid_before: None,
        })
    }
}
