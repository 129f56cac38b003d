//! The rules of charges and refunds, checked at every write.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use mpp_core::ChallengeId;
use mpp_devnet::{Devnet, LogQuery};
use mpp_server::charge::record::{ChargeDocument, ChargeId, ChargeRecord, ChargeState};
use mpp_server::charge::refund::{RefundDocument, RefundState};
use mpp_server::store::codec::decode_document;
use mpp_server::store::{Document, DocumentKind, DocumentWrite};
use mpp_tempo::network::PATH_USD;

use super::audit::Lost;

/// What the chain has ever shown of transfers, also in blocks that are gone.
#[derive(Debug, Default)]
pub(crate) struct Cashbook {
    /// Successful transactions and what they moved: from, to, amount.
    moved: HashMap<B256, Vec<(Address, Address, u128)>>,
    next_block: u64,
    /// How often a request was served for a challenge.
    served: HashMap<ChallengeId, usize>,
    /// Which challenge a transaction has paid.
    paid: HashMap<String, ChallengeId>,
}

impl Cashbook {
    pub(crate) fn look(&mut self, node: &Devnet) {
        let head = node.block_number();
        if head < self.next_block {
            return;
        }
        let transfer = keccak256("Transfer(address,address,uint256)");
        let query = LogQuery {
            from_block: Some(self.next_block),
            addresses: vec![PATH_USD],
            topics: vec![vec![transfer]],
            ..LogQuery::default()
        };
        let mut fresh: HashMap<B256, Vec<_>> = HashMap::new();
        for log in node.logs(&query) {
            let [_, from, to] = log.log.topics() else {
                continue;
            };
            let amount = U256::from_be_slice(&log.log.data.data).saturating_to();
            let [from, to] = [from, to].map(|party| Address::from_word(*party));
            fresh
                .entry(log.tx_hash)
                .or_default()
                .push((from, to, amount));
        }
        self.moved.extend(fresh);
        self.next_block = head + 1;
    }

    /// Blocks were replaced: their numbers will be used again.
    pub(crate) fn reorged(&mut self) {
        self.next_block = 0;
    }

    /// Whether this transaction has ever moved so much in this way.
    fn has_moved(&self, transaction: B256, way: (Address, Address, u128)) -> bool {
        let moved = self.moved.get(&transaction);
        moved.is_some_and(|moved| moved.contains(&way))
    }

    /// SECURITY-CASES A1: a challenge and a transaction pay once.
    pub(crate) fn served(
        &mut self,
        challenge: &ChallengeId,
        reference: &str,
    ) -> Result<(), String> {
        let served = self.served.entry(challenge.clone()).or_default();
        *served += 1;
        if *served > 1 {
            return Err(format!("{challenge} was served twice"));
        }
        match self.paid.insert(reference.into(), challenge.clone()) {
            Some(other) if other != *challenge => {
                Err(format!("{reference} has paid {other} and {challenge}"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn was_served(&self, challenge: &ChallengeId) -> bool {
        self.served.contains_key(challenge)
    }

    /// Checks one write of documents.
    pub(crate) fn check(
        &self,
        before: &[Option<Document>],
        writes: &[DocumentWrite],
        lost: &Lost,
    ) -> Result<(), String> {
        for (before, write) in before.iter().zip(writes) {
            let old = before.as_ref().map(|old| &old.value);
            let Some(new) = &write.value else {
                if let (DocumentKind::Charge, Some(old)) = (write.key.kind, old) {
                    Self::removed(&read(write, old)?, lost)?;
                }
                continue;
            };
            match write.key.kind {
                DocumentKind::Charge => {
                    let old: Option<ChargeDocument> =
                        old.map(|old| read(write, old)).transpose()?;
                    self.charge(old, &read(write, new)?, lost)?;
                }
                DocumentKind::Refund => {
                    let old: Option<RefundDocument> =
                        old.map(|old| read(write, old)).transpose()?;
                    self.refund(old, &read(write, new)?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn charge(
        &self,
        old: Option<ChargeDocument>,
        new: &ChargeDocument,
        lost: &Lost,
    ) -> Result<(), String> {
        match (old, new) {
            (Some(ChargeDocument::Record(old)), ChargeDocument::Record(new)) => {
                if let (ChargeState::Sent { sent, .. }, ChargeState::Released) =
                    (&old.state, &new.state)
                {
                    lost.check(sent.hash, sent.valid_before)?;
                }
                self.proceeds(&old, new)
            }
            (None, ChargeDocument::Record(new)) => rule(
                !new.is_paid() || self.is_paid(new),
                "paid from the beginning",
                new,
            ),
            (_, ChargeDocument::Belongs(ChargeId(_))) => Ok(()),
            (Some(ChargeDocument::Belongs(_)), ChargeDocument::Record(new)) => {
                rule(false, "a charge in the place of another", new)
            }
        }
    }

    /// Only what was never paid goes.
    fn removed(old: &ChargeDocument, lost: &Lost) -> Result<(), String> {
        let ChargeDocument::Record(old) = old else {
            return Ok(());
        };
        if let ChargeState::Sent { sent, .. } = &old.state {
            lost.check(sent.hash, sent.valid_before)?;
        }
        rule(!old.is_paid(), "a charge that was paid is removed", old)
    }

    /// SECURITY-CASES A25: only what the chain has shown is paid, and stays so.
    fn proceeds(&self, old: &ChargeRecord, new: &ChargeRecord) -> Result<(), String> {
        rule(old.id() == new.id(), "another charge", new)?;
        rule(
            !old.is_paid() || new.is_paid(),
            "what was paid is paid no more",
            new,
        )?;
        rule(
            old.is_paid() || !new.is_paid() || self.is_paid(new),
            "paid, and the chain never showed that",
            new,
        )?;
        rule(
            !old.is_paid() || old.payment == new.payment,
            "another transaction pays it",
            new,
        )?;
        rule(new.grants >= old.grants, "a grant is used twice", new)?;
        rule(
            new.refunded <= new.bill.amount,
            "more goes back than was paid",
            new,
        )
    }

    fn is_paid(&self, record: &ChargeRecord) -> bool {
        let (payer, bill) = (record.payer, &record.bill);
        let way = (payer, bill.recipient, bill.amount.base_units());
        record
            .payment
            .hash
            .is_some_and(|hash| self.has_moved(hash, way))
    }

    fn refund(&self, old: Option<RefundDocument>, new: &RefundDocument) -> Result<(), String> {
        let stage = |state: &RefundState| match state {
            RefundState::Begun { .. } => 0,
            RefundState::Sent { .. } => 1,
            RefundState::Paid { .. } | RefundState::Failed => 2,
        };
        let Some(old) = old else {
            return rule(stage(&new.state) == 0, "a refund begins in the middle", new);
        };
        rule(
            old.amount == new.amount && old.payer == new.payer,
            "another refund",
            new,
        )?;
        rule(
            stage(&new.state) >= stage(&old.state),
            "a refund went back",
            new,
        )?;
        rule(
            stage(&old.state) < 2 || old.state == new.state,
            "a refund that is over changed",
            new,
        )
    }

    /// What has gone from one account to others, in blocks that stand.
    pub(crate) fn sent(node: &Devnet, from: Address, to: &[Address]) -> u128 {
        let mut standing = Self::default();
        standing.look(node);
        let all = standing.moved.values().flatten();
        all.filter(|(payer, payee, _)| *payer == from && to.contains(payee))
            .map(|(_, _, amount)| amount)
            .sum()
    }
}

fn read<T: serde::de::DeserializeOwned>(write: &DocumentWrite, bytes: &[u8]) -> Result<T, String> {
    decode_document(write.key.kind, bytes)
        .map_err(|error| format!("a document can not be read: {error}"))
}

fn rule(holds: bool, name: &str, found: &impl std::fmt::Debug) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(format!("{name}: {found:#?}")),
    }
}
