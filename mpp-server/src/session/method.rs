//! Sessions as a payment method: the action decides which way to go.

use std::sync::Arc;

use mpp_core::{EncodedJson, IntentName, MethodName};
use mpp_tempo::{
    channel::{ChannelDescriptor, ChannelId, SessionProtocol},
    voucher::{SignedVoucher, Voucher},
    wire::{PayloadError, SessionPayload},
};

use super::{
    Engine, SessionContext, SessionTerms,
    command::{Command, NewHold},
    driver::{Applied, Ran},
    receipt::managed,
    record::{ChannelRecord, Hold, Idempotency},
    tab::{NewTab, Tab},
};
use crate::{
    bootstrap::ProofMethod,
    error::{Failure, Rejection},
    gate::{BoundCredential, BoxFuture, Grant, Offer, PaymentMethod, Purpose, Redeemed, Visit},
    store::ChannelStore,
};

/// `method="tempo"`, `intent="session"` at one price.
#[derive(Debug)]
pub(crate) struct SessionMethod {
    engine: Arc<dyn Engine>,
    terms: SessionTerms,
    request: EncodedJson,
    description: Option<String>,
    method: MethodName,
    intent: IntentName,
}

impl SessionMethod {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        terms: SessionTerms,
        request: EncodedJson,
        description: Option<String>,
    ) -> Self {
        Self {
            engine,
            terms,
            request,
            description,
            method: MethodName::tempo(),
            intent: IntentName::session(),
        }
    }
}

impl PaymentMethod for SessionMethod {
    fn method(&self) -> &MethodName {
        &self.method
    }

    fn intent(&self) -> &IntentName {
        &self.intent
    }

    fn request(&self) -> &EncodedJson {
        &self.request
    }

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn proof(&self) -> Option<Offer> {
        // Snapshots describe v2 channels (draft-tempo-session-00, Session Snapshot).
        if self.terms.protocol == SessionProtocol::V1 {
            return None;
        }
        ProofMethod::beside(Arc::clone(&self.engine), self.terms.clone()).map(Offer::new)
    }

    fn redeem(
        &self,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'_, Result<Redeemed, Failure>> {
        Arc::clone(&self.engine).redeem(&self.terms, credential, visit)
    }
}

/// Carries out the action of a bound credential.
///
/// # Cancel safety
/// Each commit happens whole or not at all, and transactions are followed by
/// tasks of the server, so a dropped request is resumed by repeating it.
pub(super) async fn redeem<S: ChannelStore>(
    context: Arc<SessionContext<S>>,
    terms: &SessionTerms,
    credential: BoundCredential,
    visit: Visit,
) -> Result<Redeemed, Failure> {
    let payload = credential
        .session_payload()
        .map_err(|error| unreadable(&error, credential.payload()))?;
    let request = Request {
        context: Arc::clone(&context),
        terms,
        credential: &credential,
        visit,
    };
    let _entered = context.queue.enter();
    match payload {
        SessionPayload::Open { .. } => request.open(&payload).await,
        SessionPayload::TopUp { .. } => request.top_up(&payload).await,
        SessionPayload::Voucher { .. } => request.voucher(&payload).await,
        SessionPayload::Close { .. } => request.close(&payload).await,
    }
}

/// A malformed signature is its own problem (PROTOCOL 1.3).
fn unreadable(error: &PayloadError, payload: &serde_json::Value) -> Rejection {
    let channel_id = payload
        .get("channelId")
        .and_then(|id| id.as_str()?.parse().ok());
    match (error, channel_id) {
        (PayloadError::Signature(_), Some(channel_id)) => {
            Rejection::InvalidSignature { channel_id }
        }
        _ => Rejection::InvalidPayload(error.to_string()),
    }
}

/// One credential on its way through an action.
pub(super) struct Request<'a, S> {
    pub(super) context: Arc<SessionContext<S>>,
    pub(super) terms: &'a SessionTerms,
    pub(super) credential: &'a BoundCredential,
    pub(super) visit: Visit,
}

impl<S: ChannelStore> Request<'_, S> {
    /// What is held for this request: the price of one unit, or nothing when
    /// it only manages the channel (PROTOCOL 5.5).
    pub(super) fn hold(&self, asked: Option<Idempotency>) -> Option<NewHold> {
        match self.visit.purpose {
            Purpose::Management => None,
            Purpose::Content => Some(NewHold {
                amount: self.terms.price,
                challenge_id: self.credential.challenge().id.clone(),
                idempotency: asked,
                // An open has waited for the chain since the request arrived.
                until: self.context.keeper.until(self.context.clock.now()),
            }),
        }
    }

    /// The idempotent request that this is on a channel, if it is one.
    /// Requests that only manage the channel are that by nature.
    pub(super) fn asked(&self, channel: ChannelId) -> Option<Idempotency> {
        let content = self.visit.purpose == Purpose::Content;
        let repeatable = self.visit.repeatable.filter(|_| content)?;
        Some(repeatable.on_channel(channel))
    }

    /// Answers a retry whose voucher can not be taken any more, because others
    /// have moved on or the channel has ended. `rejection` says why.
    ///
    /// Nobody learns of an outcome without a valid voucher, and none costs a
    /// curve operation where there is nothing to learn (SECURITY-CASES A8, A16).
    pub(super) async fn replay(
        &self,
        record: &ChannelRecord,
        signed: &SignedVoucher,
        rejection: Rejection,
    ) -> Result<Redeemed, Failure> {
        let Some(asked) = self.asked(record.id) else {
            return Err(rejection.into());
        };
        let found = self.context.driver.outcome(record.id, asked).await;
        let now = self.context.clock.now();
        let mut live = record.holds.iter().filter(|hold| hold.is_live(now));
        let in_progress = live.any(|hold| hold.idempotency == Some(asked));
        if matches!(found, Ok(None)) && !in_progress {
            return self.refuse(signed, rejection).await;
        }
        self.context.verify(record, signed, self.visit.peer).await?;
        match found? {
            Some(outcome) => Ok(Redeemed::Served(Box::new(outcome.into_inner().into()))),
            None => Err(Rejection::RequestInProgress {
                channel_id: record.id,
            }
            .into()),
        }
    }

    /// Runs the command that a voucher leads to, unless the request was served
    /// before.
    pub(super) async fn carry_out(
        &self,
        signed: &SignedVoucher,
        command: Command,
    ) -> Result<Redeemed, Failure> {
        let channel_id = signed.voucher.channel_id;
        let asked = self.asked(channel_id);
        let ran = self.context.run_once(channel_id, command, asked).await;
        match ran.and_then(|ran| self.answer(ran)) {
            Err(Failure::Rejected(rejection)) => self.refuse(signed, rejection).await,
            answered => answered,
        }
    }

    /// Refuses a request, after a look for an earlier one with its key that has
    /// found none: what asks for a higher payment says so, if it is certain.
    async fn refuse(
        &self,
        signed: &SignedVoucher,
        rejection: Rejection,
    ) -> Result<Redeemed, Failure> {
        let wants_more = matches!(
            rejection,
            Rejection::InsufficientBalance(_)
                | Rejection::DeltaTooSmall { .. }
                | Rejection::AmountExceedsDeposit { .. }
        );
        let Voucher {
            channel_id,
            cumulative,
        } = signed.voucher;
        let driver = &self.context.driver;
        if wants_more
            && self.asked(channel_id).is_some()
            && !driver.may_have_forgotten(channel_id, cumulative).await?
        {
            return Ok(Redeemed::NeverServed(rejection));
        }
        Err(rejection.into())
    }

    /// The answer once everything is durable.
    fn answer(&self, ran: Ran) -> Result<Redeemed, Failure> {
        let applied = match ran {
            Ran::Now(applied) => applied,
            Ran::Before(outcome) => {
                return Ok(Redeemed::Served(Box::new(outcome.into_inner().into())));
            }
        };
        let Applied {
            record, outcome, ..
        } = applied.get();
        if let Some(shortage) = outcome.shortage {
            return Err(Rejection::InsufficientBalance(shortage).into());
        }
        let challenge_id = &self.credential.challenge().id;
        let mut holds = record.holds.iter();
        let made = holds.find(|hold| Some(hold.id) == outcome.hold);
        let Some(&Hold {
            id: hold, until, ..
        }) = made
        else {
            let receipt = managed(record, challenge_id, None, self.visit.now);
            return Ok(Redeemed::Managed(receipt));
        };
        let context = &self.context;
        context.keeper.add((record.id, hold), until);
        let tab = Tab::new(
            Arc::clone(context) as Arc<dyn super::till::Till>,
            NewTab {
                record,
                hold,
                challenge_id: challenge_id.clone(),
                price: self.terms.price,
                options: self.terms.stream,
                keep_outcome: self.visit.repeatable.map(|_| context.keep_outcomes),
            },
        );
        Ok(Redeemed::Serve(Grant::held(tab)))
    }

    /// Content is not sold on when nothing can be collected for it.
    pub(super) fn check_exposure(&self, record: &ChannelRecord) -> Result<(), Rejection> {
        match self.visit.purpose {
            Purpose::Management => Ok(()),
            Purpose::Content => self.context.settlement.check_exposure(record),
        }
    }

    /// The channel must be one that this offer could have led to, and the
    /// credential must describe it truthfully (draft-tempo-session-00,
    /// Voucher Verification 1; SECURITY-CASES A10, A11).
    pub(super) fn check_channel(
        &self,
        record: &ChannelRecord,
        descriptor: Option<&ChannelDescriptor>,
    ) -> Result<(), Rejection> {
        let (of_channel, offered) = (&record.terms, self.terms);
        let wrong = |what: &str| Err(Rejection::VerificationFailed(String::from(what)));
        if of_channel.protocol != offered.protocol {
            return wrong("the channel is of another session protocol");
        }
        if of_channel.chain_id != offered.chain_id || of_channel.escrow != offered.escrow {
            return wrong("the channel is in another escrow");
        }
        let parties = &of_channel.descriptor;
        if parties.payee != offered.recipient {
            return wrong("the channel pays another recipient");
        }
        if parties.token != offered.currency {
            return wrong("the channel holds another currency");
        }
        if parties.operator != offered.operator {
            return wrong("the channel names another operator");
        }
        self.check_descriptor(descriptor, parties)?;
        self.check_source(parties.payer)
    }

    /// A v2 credential carries the channel's descriptor; a v1 credential may
    /// (PROTOCOL 5.2).
    pub(super) fn check_descriptor(
        &self,
        claimed: Option<&ChannelDescriptor>,
        actual: &ChannelDescriptor,
    ) -> Result<(), Rejection> {
        match claimed {
            None if self.terms.protocol == SessionProtocol::V2 => Err(Rejection::InvalidPayload(
                String::from("the payload carries no descriptor"),
            )),
            Some(claimed) if claimed != actual => Err(Rejection::VerificationFailed(String::from(
                "the descriptor is not the channel's",
            ))),
            None | Some(_) => Ok(()),
        }
    }

    /// A claimed source must be the payer.
    pub(super) fn check_source(&self, payer: alloy_primitives::Address) -> Result<(), Rejection> {
        let Some(source) = self.credential.source() else {
            return Ok(());
        };
        if source.chain_id != self.terms.chain_id || source.address != payer {
            return Err(Rejection::VerificationFailed(String::from(
                "`source` is not the channel's payer",
            )));
        }
        Ok(())
    }
}
