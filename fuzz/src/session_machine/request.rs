//! Requests to the servers, and what their answers must be.

use mpp_core::header::credential;
use mpp_core::header::idempotency_key::IdempotencyKey;
use mpp_core::{ChallengeId, Credential, Receipt, SessionReceipt};
use mpp_server::error::Failure;
use mpp_server::gate::{Attempt, Decision, Purpose, Repeatable};
use mpp_server::{PaymentServer, Route};
use mpp_tempo::wire::SessionPayload;
use mpp_tempo::{ChannelDescriptor, ChannelId, ChannelTerms, SessionProtocol, SignedVoucher};

use super::world::{Serving, World};
use crate::simulation::lock;

/// A request, so that it can be sent again and its answer be judged.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) shop: usize,
    pub(super) channel: ChannelId,
    pub(super) protocol: SessionProtocol,
    pub(super) challenge: ChallengeId,
    /// The value of `Authorization`.
    pub(super) value: String,
    pub(super) purpose: Purpose,
    pub(super) key: Option<u8>,
    pub(super) kind: Kind,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Voucher,
    TopUp,
    Close,
    /// It must be refused.
    Hostile,
}

/// What became of something that a server was asked for.
pub(super) enum Done {
    Decided(Box<Decision>, Asked),
    Captured(Result<Receipt, Failure>, Asked, u64),
    /// A server has compared its records with the chain.
    Looked(usize),
    /// Something that only the books judge.
    Worked,
}

impl World {
    /// Writes a request, with a fresh challenge.
    pub(super) async fn ask(
        &self,
        shop: usize,
        terms: &ChannelTerms,
        payload: &SessionPayload,
        kind: Kind,
    ) -> Option<Asked> {
        let protocol = terms.protocol;
        let route = self.route(shop, protocol);
        let attempt = Attempt::from_credential(None, Purpose::Content);
        let decision = self.shops[shop].process.server.decide(route, attempt).await;
        let Decision::Refuse(refusal) = decision else {
            panic!("something for nothing: {decision:?}");
        };
        let challenge = refusal.challenges.first()?.to_challenge();
        let id = challenge.id.clone();
        let credential = Credential::new(challenge, payload.to_value());
        let value = credential::encode(&credential).ok()?;
        Some(Asked {
            shop,
            channel: terms.id(),
            protocol,
            challenge: id,
            value,
            purpose: Purpose::Content,
            key: None,
            kind,
        })
    }

    /// Sends a request, and lets it run for so many polls, or to its end.
    pub(super) async fn send(&mut self, asked: Asked, polls: Option<u8>) {
        self.last = Some(asked.clone());
        let server = self.shops[asked.shop].process.server.clone();
        let route = self.route(asked.shop, asked.protocol).clone();
        let shop = asked.shop;
        self.run(shop, decide(server, route, asked), polls).await;
    }

    /// Judges an answer.
    pub(super) fn told(&mut self, done: Done) {
        match done {
            Done::Worked => {}
            Done::Looked(shop) => self.shops[shop].has_looked = true,
            Done::Decided(decision, asked) => self.decided(*decision, asked),
            Done::Captured(captured, asked, units) => {
                if let Ok(Receipt::Session(receipt)) = captured {
                    self.served(&asked, receipt, units);
                }
            }
        }
    }

    fn decided(&mut self, decision: Decision, asked: Asked) {
        if asked.kind == Kind::Hostile {
            assert!(
                matches!(decision, Decision::Refuse(_)),
                "taken: {asked:?}, {decision:?}"
            );
            return;
        }
        match decision {
            Decision::Refuse(_) => {}
            Decision::Grant(grant) => {
                assert_eq!(asked.purpose, Purpose::Content);
                lock(&self.site.audit).granted(asked.channel, &asked.challenge);
                self.is_open_or_was(&asked);
                self.knows_what_was_paid(&asked);
                self.serving.push_back(Serving { grant, asked });
                if self.serving.len() > 8 {
                    self.serving.pop_front();
                }
            }
            Decision::Respond(Receipt::Session(receipt)) => {
                if asked.kind == Kind::Close {
                    let shown = lock(&self.site.audit).books.shown(asked.channel);
                    assert!(shown.is_finalized, "closed, says the server (A33)");
                }
                self.is_open_or_was(&asked);
                self.acknowledge(&asked, &receipt);
            }
            Decision::Replay(replay) => {
                let Receipt::Session(receipt) = replay.receipt else {
                    panic!("another method's receipt");
                };
                let known = asked
                    .key
                    .and_then(|key| self.receipts.get(&(asked.channel, key)));
                if let Some(known) = known {
                    assert_eq!((known.spent, known.units), (receipt.spent, receipt.units));
                }
                self.acknowledge(&asked, &receipt);
            }
            other => panic!("{other:?}"),
        }
    }

    /// SECURITY-CASES A14 and A25: no channel is used that the chain never had.
    fn is_open_or_was(&self, asked: &Asked) {
        let shown = lock(&self.site.audit).books.shown(asked.channel);
        assert!(
            shown.deposit > 0,
            "the chain never had this channel: {asked:?}"
        );
    }

    /// SECURITY-CASES A28: what the chain has paid for more than any voucher of
    /// the backup is not sold on, once a server has looked.
    fn knows_what_was_paid(&self, asked: &Asked) {
        let paid = self.paid.get(&asked.channel).copied().unwrap_or_default();
        let record = self
            .record(asked.channel)
            .expect("a grant without a record");
        assert!(
            !self.shops[asked.shop].has_looked || record.accepted().base_units() >= paid,
            "sold, and a voucher for {paid} is lost: {record:#?}"
        );
    }

    pub(super) fn acknowledge(&self, asked: &Asked, receipt: &SessionReceipt) {
        assert_eq!(receipt.channel_id, asked.channel.to_string());
        let record = self
            .record(asked.channel)
            .expect("a receipt without a record");
        lock(&self.site.audit).acknowledged(&record, receipt);
    }

    pub(super) fn served(&mut self, asked: &Asked, receipt: SessionReceipt, units: u64) {
        self.acknowledge(asked, &receipt);
        lock(&self.site.audit).served(asked.channel, &asked.challenge, units);
        if let Some(key) = asked.key {
            self.receipts.insert((asked.channel, key), receipt);
        }
    }
}

async fn decide(server: PaymentServer, route: Route, asked: Asked) -> Done {
    let repeatable = asked.key.map(|key| {
        let name = IdempotencyKey::from_text(&format!("key-{key}")).unwrap();
        Repeatable::new(&name, &[b"unit"])
    });
    let values = [asked.value.as_str()];
    let attempt = Attempt::from_headers(values, [], asked.purpose).repeatable(repeatable);
    let decision = server.decide(&route, attempt).await;
    Done::Decided(Box::new(decision), asked)
}

fn descriptor(terms: &ChannelTerms) -> Option<ChannelDescriptor> {
    (terms.protocol == SessionProtocol::V2).then_some(terms.descriptor)
}

pub(super) fn voucher(terms: &ChannelTerms, signed: &SignedVoucher) -> SessionPayload {
    SessionPayload::Voucher {
        channel_id: signed.voucher.channel_id,
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
    }
}

pub(super) fn close(terms: &ChannelTerms, signed: &SignedVoucher) -> SessionPayload {
    SessionPayload::Close {
        channel_id: signed.voucher.channel_id,
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
        close_signature: None,
    }
}

pub(super) fn open(
    terms: &ChannelTerms,
    transaction: alloy_primitives::Bytes,
    signed: &SignedVoucher,
) -> SessionPayload {
    SessionPayload::Open {
        channel_id: signed.voucher.channel_id,
        transaction,
        authorized_signer: None,
        descriptor: descriptor(terms),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature.clone(),
    }
}

pub(super) fn top_up(
    terms: &ChannelTerms,
    transaction: alloy_primitives::Bytes,
    additional: u128,
) -> SessionPayload {
    SessionPayload::TopUp {
        channel_id: terms.id(),
        transaction,
        descriptor: descriptor(terms),
        additional_deposit: mpp_core::Amount::new(additional),
    }
}
