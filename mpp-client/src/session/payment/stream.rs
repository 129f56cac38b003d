//! A paid request whose answer is a stream that asks for more.

use mpp_core::SessionReceipt;
use mpp_tempo::wire::NeedVoucher;

use super::{CredentialField, Payment};
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::offer::Offer;
use crate::session::book;
use crate::session::ledger::{Discrepancy, Need, Plan};

impl Payment {
    /// The answer is a stream: it may cost more than its beginning, up to the policy's limit.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn begin_stream(&mut self) -> Result<(), ClientError> {
        self.confirm_open()?;
        let limit = self.payer.policy().stream_limit();
        if let Some(reservation) = self.reservation.as_mut() {
            book::update(self.payer.book(), &self.channel, |record| {
                record.ledger.begin_stream(reservation, limit);
            })?;
        }
        Ok(())
    }

    /// A running stream asks for a higher voucher: checks and reserves it.
    ///
    /// # Errors
    /// [`ClientError::Policy`], [`ClientError::Discrepancy`] and [`ClientError::Protocol`] when it
    /// asks for what is not allowed or makes no sense.
    pub fn extend(&mut self, need: &NeedVoucher) -> Result<(), ClientError> {
        if need.channel_id != self.channel {
            return Err(self.payer.report(self.channel, Discrepancy::OtherChannel));
        }
        let required = need.required_cumulative;
        self.payer.emit(&ClientEvent::NeedVoucher {
            channel_id: self.channel,
            required,
        });
        if need.accepted_cumulative >= required {
            return Err(ClientError::Protocol("it pauses a stream that is paid"));
        }
        let (payer, price) = (self.payer.clone(), self.offer.price());
        let required = book::update(payer.book(), &self.channel, |record| {
            let ledger = &mut record.ledger;
            if need.accepted_cumulative > ledger.signed() {
                return Err(Discrepancy::AcceptedAboveSigned.into());
            }
            let required = ledger.stream_need(required, need.accepted_cumulative, price);
            let policy = payer.policy();
            policy.check_step(price, ledger.signed(), required)?;
            policy.check_stream(ledger.stream_cost(required))?;
            ledger.extend_stream(required);
            Ok::<_, ClientError>(required)
        })??;
        self.need = Need::Stream(required);
        Ok(())
    }

    /// The voucher that a stream waits for, as a credential of its own under `offer`.
    ///
    /// # Errors
    /// As [`Payment::prepare`], which must have come first: [`ClientError::InsufficientDeposit`] when
    /// the channel has to be refilled, also because a request beside the stream needs more of it by
    /// now.
    ///
    /// # Cancel safety
    /// As [`Payment::prepare`].
    pub async fn voucher(&mut self, offer: &Offer) -> Result<CredentialField, ClientError> {
        if *offer != self.offer {
            self.payer.check_offer(&self.site, offer)?;
            offer.check_time(self.payer.now())?;
            if !self.offer.has_terms_of(offer) {
                return Err(ClientError::Protocol(
                    "it changes its terms in the middle of a stream",
                ));
            }
            self.offer = offer.clone();
        }
        match self.plan()? {
            Plan::Voucher(cumulative) => self.voucher_for(cumulative).await,
            Plan::TopUp(required) => Err(ClientError::InsufficientDeposit {
                channel_id: self.channel,
                required,
                deposit: self.update(|record| record.ledger.deposit())?,
            }),
        }
    }

    /// Books the receipt of the voucher that was sent beside the stream.
    ///
    /// # Errors
    /// As [`Payment::observe`].
    pub fn observe_voucher(&mut self, receipt: &SessionReceipt) -> Result<(), ClientError> {
        if self.totals(receipt)?.accepted < self.beside {
            let lie = Discrepancy::AcceptedBelowPresented;
            return Err(self.payer.report(self.channel, lie));
        }
        self.observe(receipt)
    }
}
