//! A call that is paid with a credential of its own.

use mpp_core::Receipt;

use super::{Delivered, Exchange, Repeats, Wire, already};
use crate::choice::Choice;
use crate::error::{ClientError, TransportError};
use crate::flow::{Action, Answer, Booking, Repetition};
use crate::once::Once;

impl<W: Wire> Exchange<'_, W> {
    /// Chooses among the offers of an answer, and pays.
    pub(super) async fn choose(&mut self, answer: &Answer) -> Result<(), ClientError> {
        let choice = self.payer.choose(&self.site, &answer.challenges)?;
        self.payer.learn_choice(&self.site, &choice);
        self.pay(choice).await
    }

    pub(super) async fn pay_once(&mut self, choice: Choice) -> Result<(), ClientError> {
        let (payer, site) = (self.payer, &self.site);
        self.once = Some(match choice {
            Choice::Charge(offer) => payer.charge(site, &offer, self.key.text()).await?,
            Choice::Method(method, challenge) => payer.pay_by(site, method, *challenge).await?,
            Choice::Session(_) => return Err(ClientError::Misuse("a session is not paid once")),
        });
        Ok(())
    }

    /// Waits before the call is sent again with the same credential, unless it
    /// was often enough.
    pub(super) async fn lose_once(
        &mut self,
        once: Once,
        error: TransportError,
    ) -> Result<(), ClientError> {
        let pause = match self.repeats {
            Repeats::Always | Repeats::WhenPaidOnce => self.flow.on_lost(),
            Repeats::Never => None,
        };
        let Some(pause) = pause else {
            return Err(once.lose(error));
        };
        self.once = Some(once);
        self.lost = Some(error);
        self.wire.pause(pause).await;
        Ok(())
    }

    /// Does what the flow says before the call is sent again.
    pub(super) async fn act_once(
        &mut self,
        once: Once,
        action: Action,
        answer: &Answer,
    ) -> Result<(), ClientError> {
        match action {
            Action::Repeat(pause) => {
                self.once = Some(once);
                let busy = || TransportError::new("the server was busy with the request");
                self.lost.get_or_insert_with(busy);
                self.wire.pause(pause).await;
                Ok(())
            }
            // Only what pays nothing is made again.
            Action::Pay => self.choose(answer).await,
            Action::Fail(error) => Err(once.refuse(error)),
            // What the server says does not tell what became of the lost call.
            Action::FailInDoubt(error) => Err(match self.lost.take() {
                Some(lost) => once.lose(lost),
                None => once.doubt(error),
            }),
            Action::Deliver(_)
            | Action::Renew(_)
            | Action::Again(_)
            | Action::ReplaceChannel { .. } => {
                Err(once.doubt(ClientError::Misuse("a one-time payment has no channel")))
            }
        }
    }
}

pub(super) fn deliver<C>(
    once: Once,
    booking: Booking,
    answer: &Answer,
    content: C,
) -> Result<Delivered<C>, ClientError> {
    let receipt = match booking {
        Booking::Once(receipt) => {
            once.confirm(&receipt)?;
            Some(Receipt::Charge(*receipt))
        }
        // Without a receipt, the book keeps a charge open.
        _ => None,
    };
    if let Some(receipt) = &receipt
        && answer.status == 204
        && answer.repetition == Repetition::Replayed
    {
        return Err(already(receipt.clone()));
    }
    Ok(Delivered {
        content,
        receipt,
        payment: None,
    })
}
