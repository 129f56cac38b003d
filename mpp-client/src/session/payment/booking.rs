//! How a paid request ends, and what the accounts make of it.

use mpp_core::{Amount, SessionReceipt};

use super::Payment;
use crate::error::{ClientError, TransportError};
use crate::event::ClientEvent;
use crate::session::book::{self, BookError};
use crate::session::ledger::Reservation;

impl Payment {
    /// Books the receipt of the finished request.
    ///
    /// # Errors
    /// [`ClientError::Discrepancy`] for a receipt that contradicts the accounts. The request stays
    /// in doubt then, and the receipt changes nothing.
    pub fn confirm(mut self, receipt: &SessionReceipt) -> Result<(), ClientError> {
        let totals = self.totals(receipt)?;
        let limit = self.payer.policy().unaccounted_limit();
        let Some(reservation) = self.reservation.take() else {
            return Ok(());
        };
        let booked = self.update(|record| {
            let booked = record.ledger.confirm(&reservation, totals, limit);
            if booked.is_err() {
                record.ledger.lose(&reservation);
            }
            booked
        })?;
        if let Err(discrepancy) = booked {
            return Err(self.payer.report(self.channel, discrepancy));
        }
        self.confirm_open()?;
        self.payer.emit(&ClientEvent::Charged(receipt.clone()));
        Ok(())
    }

    /// Books the receipt that a stream begins with.
    ///
    /// # Errors
    /// As [`Payment::confirm`]; the reservation is kept.
    pub fn observe(&mut self, receipt: &SessionReceipt) -> Result<(), ClientError> {
        let totals = self.totals(receipt)?;
        let limit = self.payer.policy().unaccounted_limit();
        let reservation = self.reservation.as_ref();
        let seen = book::update(self.payer.book(), &self.channel, |record| {
            record.ledger.observe(reservation, totals, limit)
        })?;
        seen.map_err(|discrepancy| self.payer.report(self.channel, discrepancy))?;
        self.confirm_open()
    }

    /// The answer is that of an earlier request with the same key: this one cost nothing, and the
    /// receipt tells what that one did.
    ///
    /// # Errors
    /// As [`Payment::confirm`], without the doubt: the server itself says that it charged nothing
    /// this time.
    pub fn replayed(mut self, receipt: &SessionReceipt) -> Result<(), ClientError> {
        let ours = self.channel;
        // A key may be older than the channel. A receipt of another one says nothing of ours.
        let paid = receipt.channel_id.parse().unwrap_or(ours);
        let totals = self.payer.totals(paid, receipt)?;
        let limit = self.payer.policy().unaccounted_limit();
        if paid == ours {
            self.confirm_open()?;
        }
        self.sent = false;
        let (payer, origin) = (self.payer.clone(), self.site.origin.to_string());
        // Given back first: what this request may cost explains nothing that an earlier one did.
        drop(self);
        let seen = book::update(payer.book(), &paid, |record| {
            // What other servers have charged is for them to say.
            if record.key.origin != origin {
                return Ok(());
            }
            record.ledger.observe(None, totals, limit)
        });
        match seen {
            // The book keeps channels only as long as they hold money.
            Err(BookError::Unknown) if paid != ours => Ok(()),
            seen => seen?.map_err(|discrepancy| payer.report(paid, discrepancy)),
        }
    }

    /// The server serves the channel: others may use it while this request goes on.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn confirm_open(&mut self) -> Result<(), ClientError> {
        if self.opening.is_some() {
            self.payer.opened(&self.channel)?;
            self.opening = None;
        }
        Ok(())
    }

    /// The request was not charged, or was never sent.
    pub fn release(mut self) {
        self.sent = false;
    }

    /// The resource failed; an honest server did not charge for that.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn dismiss(mut self) -> Result<(), ClientError> {
        if let Some(reservation) = self.reservation.take() {
            self.update(|record| record.ledger.dismiss(&reservation))?;
        }
        Ok(())
    }

    /// The request was answered without a receipt: it may have been charged.
    pub fn doubt(mut self) {
        self.sent = true;
    }

    /// The request was refused for good, and not charged.
    ///
    /// A refused open is not a live channel: its transaction is sent again as long as it is valid,
    /// and afterwards the chain decides.
    pub fn refuse(mut self, error: ClientError) -> ClientError {
        self.sent = false;
        self.payer.emit(&ClientEvent::Rejected {
            channel_id: Some(self.channel),
            reason: error.to_string(),
        });
        error
    }

    /// The answer was lost: the request may have been charged.
    pub fn lose(mut self, source: TransportError) -> ClientError {
        self.sent = true;
        let opening = self.opening.is_some();
        let tx_hash = opening
            .then(|| self.payer.book().read(&self.channel).ok())
            .flatten()
            .and_then(|record| record.open)
            .map(|open| open.tx_hash);
        ClientError::Indeterminate {
            channel_id: self.channel,
            tx_hash,
            cumulative: self.presented(),
            cost: self
                .reservation
                .as_ref()
                .map_or(Amount::ZERO, Reservation::cost),
            source,
        }
    }
}

impl Drop for Payment {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation.take() else {
            return;
        };
        let sent = self.sent;
        let booked = self.update(|record| {
            if sent {
                record.ledger.lose(&reservation);
            } else {
                record.ledger.release(&reservation);
            }
        });
        if booked.is_err() {
            tracing::error!("a payment could not be booked: the channel book failed");
        }
    }
}
