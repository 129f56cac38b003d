//! A request that is paid with a credential of its own.

use mpp_client::flow::{Action, Answer, Booking, Repetition};
use mpp_client::{Choice, ClientError, Once, TransportError};
use mpp_core::Receipt;

use super::{Content, Exchange, PaidResponse, Repeats};

impl Exchange {
    /// Chooses among the offers of an answer, and pays.
    pub(super) async fn choose(&mut self, answer: &Answer) -> Result<(), ClientError> {
        let payer = &self.client.payer;
        let choice = payer.choose(&self.site, &answer.challenges)?;
        payer.learn_choice(&self.site, &choice);
        self.pay(choice).await
    }

    pub(super) async fn pay_once(&mut self, choice: Choice) -> Result<(), ClientError> {
        let (payer, site) = (&self.client.payer, &self.site);
        self.once = Some(match choice {
            Choice::Charge(offer) => payer.charge(site, &offer, self.order.key()).await?,
            Choice::Method(method, challenge) => payer.pay_by(site, method, *challenge).await?,
            Choice::Session(_) => return Err(ClientError::Misuse("a session is not paid once")),
        });
        Ok(())
    }

    /// Waits before the request is sent again with the same credential, unless it was often enough.
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
        tokio::time::sleep(pause).await;
        Ok(())
    }

    pub(super) async fn act_once(
        &mut self,
        once: Once,
        action: Action,
        (answer, content): (Answer, Content),
    ) -> Result<Option<PaidResponse>, ClientError> {
        match action {
            Action::Deliver(booking) => deliver(once, booking, &answer, content).map(Some),
            Action::Repeat(pause) => {
                self.once = Some(once);
                let busy = || TransportError::new("the server was busy with the request");
                self.lost.get_or_insert_with(busy);
                tokio::time::sleep(pause).await;
                Ok(None)
            }
            // Only what pays nothing is made again.
            Action::Pay => self.choose(&answer).await.map(|()| None),
            Action::Fail(error) => Err(once.refuse(error)),
            // What the server says does not tell what became of the lost request.
            Action::FailInDoubt(error) => Err(match self.lost.take() {
                Some(lost) => once.lose(lost),
                None => once.doubt(error),
            }),
            Action::Renew(_) | Action::Again(_) | Action::ReplaceChannel { .. } => {
                Err(once.doubt(ClientError::Misuse("a one-time payment has no channel")))
            }
        }
    }
}

fn deliver(
    once: Once,
    booking: Booking,
    answer: &Answer,
    content: Content,
) -> Result<PaidResponse, ClientError> {
    let Booking::Once(receipt) = booking else {
        // Without a receipt, the book keeps a charge open.
        return Ok(PaidResponse::new(content, None, None));
    };
    once.confirm(&receipt)?;
    let receipt = Receipt::Charge(*receipt);
    if answer.status == 204 && answer.repetition == Repetition::Replayed {
        let receipt = Box::new(receipt);
        return Err(ClientError::AlreadyDelivered { receipt });
    }
    Ok(PaidResponse::new(content, Some(receipt), None))
}
