//! Vouchers for a stream that asks for more.

use mpp_core::{Problem, ProblemKind};
use mpp_tempo::wire::NeedVoucher;

use super::{
    ManageWire,
    manage::{Managed, refusal},
};
use crate::error::ClientError;
use crate::origin::Site;
use crate::payer::Payer;
use crate::session::payment::Payment;

/// Requests for a voucher that may come without any data between them
/// (SECURITY-CASES A27).
const MAX_UNFED: u32 = 16;
/// Vouchers that one request may take: a higher one of another request can overtake it, or need what
/// is left of the deposit.
const MAX_LATE: u32 = 8;

/// With a stream that asks for vouchers: it may do so as long as it delivers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    unfed: u32,
}

impl Patience {
    /// The stream asks for a voucher.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when it has delivered nothing for too many.
    pub const fn on_need(&mut self) -> Result<(), ClientError> {
        self.unfed = self.unfed.saturating_add(1);
        if self.unfed > MAX_UNFED {
            return Err(ClientError::Protocol(
                "it asks for voucher after voucher and delivers nothing",
            ));
        }
        Ok(())
    }

    /// The stream delivers.
    pub const fn on_content(&mut self) {
        self.unfed = 0;
    }
}

impl Payer {
    /// Answers a stream's request for a voucher, with a top-up first if it
    /// needs one.
    ///
    /// # Errors
    /// As [`Payment::extend`] and [`Payment::prepare`]; [`ClientError::Problem`]
    /// when the server refuses, [`ClientError::Transport`] when the answer was
    /// lost: the voucher cost nothing, but the stream can not go on without it.
    ///
    /// # Cancel safety
    /// Dropped, the voucher may have arrived; answering again is harmless.
    pub async fn feed_over<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
        payment: &mut Payment,
        need: &NeedVoucher,
    ) -> Result<(), ClientError> {
        payment.extend(need)?;
        for _ in 0..MAX_LATE {
            // Signs within the policy, and refills first when the deposit is too small.
            self.credential_over(site, wire, payment).await?;
            // What another request has learned may be on other terms than the stream.
            let known = self.known_offer(site);
            let known = known.filter(|offer| payment.offer().has_terms_of(offer));
            let offer = known.unwrap_or_else(|| payment.offer().clone());
            let managed = match self.manage(site, wire, offer, payment).await {
                // A request beside the stream needs more of the deposit by now: refill it first.
                Err(ClientError::InsufficientDeposit { .. }) => continue,
                managed => managed?,
            };
            match managed {
                Managed::Done(receipt) => return payment.observe_voucher(&receipt),
                Managed::Refused {
                    problem: Some(problem),
                    ..
                } if is_covered(&problem, need) => return Ok(()),
                Managed::Refused {
                    problem: Some(problem),
                    ..
                } if problem.kind == ProblemKind::DeltaTooSmall => {}
                Managed::Refused { status, problem } => return Err(refusal(status, problem)),
                Managed::Lost(error) => return Err(ClientError::Transport(error)),
            }
        }
        Err(ClientError::Protocol(
            "it refuses every voucher as too late",
        ))
    }
}

/// A higher voucher of another request has covered the need already.
fn is_covered(problem: &Problem, need: &NeedVoucher) -> bool {
    problem.kind == ProblemKind::DeltaTooSmall
        && problem
            .accepted_cumulative
            .is_some_and(|accepted| accepted >= need.required_cumulative)
}
