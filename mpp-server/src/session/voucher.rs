//! The voucher action: the hot path.

use mpp_tempo::wire::SessionPayload;

use super::{
    command::{Command, NewHold},
    machine::{Screened, screen},
    method::Request,
    record::{ChannelRecord, Idempotency, Phase, Quarantine},
};
use crate::{
    error::{Failure, Rejection},
    gate::Redeemed,
    settle::Adoption,
    store::ChannelStore,
};

impl<S: ChannelStore> Request<'_, S> {
    /// Accepts a voucher and holds the price of the request, in one commit.
    ///
    /// The order of checks is PROTOCOL 5.4: everything cheap comes before the
    /// curve. No RPC is made, and the curve runs under no lock.
    ///
    /// # Cancel safety
    /// Dropped before the commit nothing has happened; after it, the voucher
    /// is kept and the hold lapses.
    pub(super) async fn voucher(&self, payload: &SessionPayload) -> Result<Redeemed, Failure> {
        let channel_id = payload.channel_id();
        let signed = payload.voucher().ok_or_else(missing_voucher)?;
        let (record, _) = self.context.driver.load(channel_id).await?;
        self.check_channel(&record, payload.descriptor())?;
        self.check_exposure(&record)?;
        let asked = self.asked(channel_id);
        let min_delta = self.terms.min_voucher_delta;
        let screened = match screen(&record, &signed, min_delta) {
            Ok(screened) => screened,
            Err(rejection) => return self.replay(&record, &signed, rejection).await,
        };
        let command = match (self.recovery(&record), screened) {
            (None, Screened::Known) => self.hold_balance(asked),
            (recovery, _) => {
                let peer = self.visit.peer;
                let voucher = self.context.verify(&record, &signed, peer).await?;
                match recovery {
                    Some(hold) => Command::Recover { voucher, hold },
                    None => Command::Accept {
                        voucher,
                        min_delta,
                        hold: self.hold(asked),
                    },
                }
            }
        };
        self.carry_out(&signed, command).await
    }

    /// What to hold for a content request whose voucher may bring an adopted
    /// channel into service.
    fn recovery(&self, record: &ChannelRecord) -> Option<NewHold> {
        let adopted = matches!(
            record.phase,
            Phase::Quarantined {
                reason: Quarantine::Adopted,
                ..
            }
        );
        let allowed = adopted && self.context.adoption == Adoption::Voucher;
        allowed.then(|| self.hold(self.asked(record.id))).flatten()
    }

    /// What a request does that brings no higher voucher.
    pub(super) fn hold_balance(&self, asked: Option<Idempotency>) -> Command {
        match self.hold(asked) {
            Some(hold) => Command::Hold(hold),
            None => Command::Keep,
        }
    }
}

pub(super) fn missing_voucher() -> Rejection {
    Rejection::InvalidPayload(String::from("the payload carries no voucher"))
}
