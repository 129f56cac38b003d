//! Paying a charge: checked, recorded, signed, in this order.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use mpp_core::{Challenge, Credential};
use mpp_tempo::Signer;
use mpp_tempo::chain::{ChainClient, ChainError};
use mpp_tempo::tx::build::{self, Transfer};
use mpp_tempo::tx::{FeeMode, UnsignedTx, gas};
use mpp_tempo::wire::{ChargeMode, ChargePayload};
use serde_json::Value;

use super::{ChargeId, ChargeOffer, ChargeRecord, ChargeState, Wallet, WalletError};
use crate::credential;
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::offer::Unpayable;
use crate::origin::{Origin, Site};
use crate::payer::Payer;
use crate::policy::PolicyViolation;
use crate::session::book::{Admission, BookError};

/// What must be left of a challenge's time for paying it.
const LEAST_TIME: Duration = Duration::from_secs(3);

/// A charge for which a credential exists.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) id: ChargeId,
    pub(crate) offer: ChargeOffer,
    /// The transaction, unless the server's part of it is missing.
    pub(crate) tx_hash: Option<B256>,
    pub(crate) mode: ChargeMode,
    pub(crate) credential_is: CredentialIs,
}

/// Whether somebody else may have the credential already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialIs {
    /// Nobody: it was made just now.
    New,
    /// The server may have been shown it.
    Shown,
}

/// Why a charge is not paid.
enum Stopped {
    /// Its purchase was begun by another request at the same time.
    Bought(ChargeId),
    Failed(ClientError),
}

impl<E: Into<ClientError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A charge that is about to be paid.
struct Order<'a> {
    site: &'a Site,
    offer: &'a ChargeOffer,
    purchase: Option<B256>,
    transfers: Vec<Transfer>,
}

impl Payer {
    /// How an offer is paid: as the policy says if the server takes that, else in the other way.
    /// A wallet can only push.
    pub(crate) fn mode_for(&self, offer: &ChargeOffer) -> Result<ChargeMode, Unpayable> {
        if offer.transfers().is_none() {
            // A proof takes a key and no transaction.
            return match self.can_sign() {
                true => Ok(ChargeMode::Pull),
                false => Err(Unpayable::Mode),
            };
        }
        let (first, second) = match (self.wallet(), self.policy().mode_of_charges()) {
            (Some(_), _) => (ChargeMode::Push, None),
            (None, ChargeMode::Pull) => (ChargeMode::Pull, Some(ChargeMode::Push)),
            (None, ChargeMode::Push) => (ChargeMode::Push, Some(ChargeMode::Pull)),
        };
        let mut modes = std::iter::once(first).chain(second);
        modes.find(|mode| offer.takes(*mode)).ok_or(Unpayable::Mode)
    }

    /// The account that pays charges.
    pub(crate) fn account(&self) -> Address {
        self.wallet()
            .map_or_else(|| self.address(), |wallet| wallet.address())
    }

    /// Checks a charge against the policy, as is done before anything is signed for it.
    pub(crate) fn check_charge(&self, site: &Site, offer: &ChargeOffer) -> Result<(), ClientError> {
        let checked = self.judge_charge(&site.origin, offer)?;
        checked.map_err(|violation| self.violated(violation))
    }

    /// What the policy has against a charge, and the connected chain against one that is paid by a
    /// transaction of ours. A wallet finds the chain by itself, and a proof needs none.
    pub(crate) fn judge_charge(
        &self,
        origin: &Origin,
        offer: &ChargeOffer,
    ) -> Result<Result<(), PolicyViolation>, ClientError> {
        let pinned = self.book().payees_of(&origin.to_string())?;
        let allowed = self.policy().check_charge(origin, offer, &pinned);
        let is_ours = self.wallet().is_none() && offer.transfers().is_some();
        Ok(allowed.and_then(|()| match is_ours {
            true => self.check_connected(offer.chain_id()),
            false => Ok(()),
        }))
    }

    /// Pays a charge, or finds that it was paid: the credential, and what it stands for.
    pub(crate) async fn pay_charge(
        &self,
        site: &Site,
        offer: &ChargeOffer,
        purchase: Option<B256>,
    ) -> Result<(Credential, Ticket), ClientError> {
        self.check_charge(site, offer)?;
        let id = ChargeId::of(&site.origin, offer.challenge());
        if let Some(known) = self.book().charge(&id)?
            && known.payer == self.account()
        {
            // Without an end of its validity it is a wallet's, which may have been wrong about it.
            if known.payload.is_null() || known.valid_before.is_none() {
                self.find_out(&id).await;
            }
            return self.present(&id)?.ok_or_else(paid_twice);
        }
        let mode = self.mode_for(offer)?;
        let order = Order {
            site,
            offer,
            purchase,
            transfers: transfers(offer),
        };
        let paid = match self.wallet() {
            Some(wallet) => self.send_by(wallet, &order).await,
            None => self.sign_charge(&order, mode).await,
        };
        match paid {
            Err(Stopped::Bought(other)) => self.present(&other)?.ok_or_else(paid_twice),
            Err(Stopped::Failed(error)) => Err(error),
            Ok(paid) => Ok(paid),
        }
    }

    async fn sign_charge(
        &self,
        order: &Order<'_>,
        mode: ChargeMode,
    ) -> Result<(Credential, Ticket), Stopped> {
        let unsigned = self.unsigned(order).await?;
        let from_block = self.chain()?.block().await?.number;
        let payer = self.signer().address();
        let mut record = self.record(order, payer, from_block);
        record.valid_before = unsigned.valid_before();
        let id = record.id;
        self.admit(record).await?;
        // From here on the charge is in the book, and its budget is spent until it is void.
        let signed = match self.sign_tx(unsigned).await {
            Ok(signed) => signed,
            Err(error) => return Err(self.void(&id, error).into()),
        };
        let (bytes, hash) = (signed.encode(), signed.hash());
        let tx_hash = (!order.offer.is_sponsored()).then_some(hash);
        let payload = payload(match mode {
            ChargeMode::Pull => ChargePayload::Transaction {
                transaction: bytes.clone(),
            },
            ChargeMode::Push => ChargePayload::Hash { hash },
        })?;
        self.book().update_charge(&id, &mut |record| {
            record.payload = payload.clone();
            record.tx_hash = tx_hash;
        })?;
        self.signed(order, tx_hash);
        if mode == ChargeMode::Push {
            self.push(&id, self.chain()?.send_and_wait(bytes).await)?;
        }
        let ticket = Ticket {
            id,
            offer: order.offer.clone(),
            tx_hash,
            mode,
            credential_is: CredentialIs::New,
        };
        Ok((self.credential(order.offer, payer, payload)?, ticket))
    }

    /// The transaction: direct transfers, good for as long as chain and challenge allow.
    async fn unsigned(&self, order: &Order<'_>) -> Result<UnsignedTx, ClientError> {
        let fee_mode = if order.offer.is_sponsored() {
            FeeMode::Sponsored
        } else {
            FeeMode::SelfPaid {
                fee_token: order.offer.currency(),
            }
        };
        let gas_limit = gas::transfers(order.transfers.len());
        let mut context = self.context(gas_limit, fee_mode).await?;
        // PROTOCOL 4: validBefore = min(now + 25 s, challenge expiry).
        let left = order.offer.expires().saturating_duration_since(context.now);
        context.valid_for = context.valid_for.min(left);
        if context.valid_for < LEAST_TIME {
            return Err(Unpayable::Late.into());
        }
        Ok(build::transfer(&context, &order.transfers)?)
    }

    /// What became of a transaction that was sent from here.
    fn push(
        &self,
        id: &ChargeId,
        sent: Result<mpp_tempo::chain::TxReceipt, ChainError>,
    ) -> Result<(), ClientError> {
        match sent {
            Ok(receipt) if receipt.success => {
                let tx_hash = receipt.hash;
                self.learn_charge(id, ChargeState::Paid { tx_hash })?;
                Ok(())
            }
            Ok(_) => Err(self.void(id, ClientError::Payment("the transaction was reverted"))),
            // The node has refused it or was not reached: it will not be mined.
            Err(error @ (ChainError::Rejected { .. } | ChainError::Unreachable { .. })) => {
                Err(self.void(id, error.into()))
            }
            Err(error) => Err(self.unconfirmed(id, error.into())),
        }
    }

    async fn send_by(
        &self,
        wallet: &dyn Wallet,
        order: &Order<'_>,
    ) -> Result<(Credential, Ticket), Stopped> {
        if order.offer.expires().saturating_duration_since(self.now()) < LEAST_TIME {
            return Err(Unpayable::Late.into());
        }
        let from_block = match self.chain_client() {
            Some(chain) if self.is_connected(order.offer.chain_id()) => chain.block().await?.number,
            // The wallet finds its chain by itself, and blocks of another one say nothing.
            Some(_) | None => 0,
        };
        let payer = wallet.address();
        let record = self.record(order, payer, from_block);
        let id = record.id;
        self.admit(record).await?;
        self.signed(order, None);
        let chain_id = order.offer.chain_id();
        let hash = match wallet.send(chain_id, &order.transfers).await {
            Ok(hash) => hash,
            Err(error) => {
                let known = match &error {
                    WalletError::NotSent(_) => return Err(self.void(&id, error.into()).into()),
                    WalletError::Unknown { tx_hash, .. } => *tx_hash,
                };
                self.book()
                    .update_charge(&id, &mut |record| record.tx_hash = known.or(record.tx_hash))?;
                return Err(self.unconfirmed(&id, error.into()).into());
            }
        };
        let payload = payload(ChargePayload::Hash { hash })?;
        self.book().update_charge(&id, &mut |record| {
            record.payload = payload.clone();
            record.tx_hash = Some(hash);
            record.state = record.state.learn(ChargeState::Paid { tx_hash: hash });
        })?;
        let ticket = Ticket {
            id,
            offer: order.offer.clone(),
            tx_hash: Some(hash),
            mode: ChargeMode::Push,
            credential_is: CredentialIs::New,
        };
        Ok((self.credential(order.offer, payer, payload)?, ticket))
    }

    fn record(&self, order: &Order<'_>, payer: Address, from_block: u64) -> ChargeRecord {
        let challenge: &Challenge = order.offer.challenge();
        ChargeRecord {
            id: ChargeId::of(&order.site.origin, challenge),
            origin: order.site.origin.to_string(),
            purchase: order.purchase,
            challenge: challenge.clone(),
            payer,
            payload: Value::Null,
            amount: order.offer.amount(),
            at: self.now(),
            from_block,
            tx_hash: None,
            valid_before: None,
            state: ChargeState::Open,
            is_shared: false,
        }
    }

    /// Writes the charge into the book, if the budgets have room for it.
    async fn admit(&self, record: ChargeRecord) -> Result<(), Stopped> {
        let payees = ChargeOffer::read(record.challenge.clone())?.payees();
        self.pin(&record.origin, &payees)?;
        match self.try_admit(&record) {
            Ok(Ok(())) => return Ok(()),
            // Charges that were never paid take room until the chain has been asked.
            Ok(Err(violation)) => {
                if !self.resolve_open(record.at).await? {
                    return Err(self.violated(violation).into());
                }
            }
            // One that was broken off stands for the purchase as long.
            Err(Stopped::Bought(other)) => {
                if self.find_out(&other).await != Some(ChargeState::Void) {
                    return Err(Stopped::Bought(other));
                }
            }
            Err(failed) => return Err(failed),
        }
        self.try_admit(&record)?
            .map_err(|violation| self.violated(violation).into())
    }

    fn try_admit(&self, record: &ChargeRecord) -> Result<Result<(), PolicyViolation>, Stopped> {
        let mut admitted = Ok(());
        let mut bought = None;
        let is_same = |other: &&ChargeRecord| {
            other.purchase.is_some()
                && (other.purchase, other.payer) == (record.purchase, record.payer)
                && other.state.counts()
        };
        let mut admit = |others: &[ChargeRecord]| {
            bought = others.iter().find(is_same).map(|other| other.id);
            admitted = self.policy().admit_charge(record, others);
            bought.is_none() && admitted.is_ok()
        };
        let added = self.book().add_charge(record.clone(), &mut admit);
        match (added, bought) {
            (Ok(_), Some(other)) => Err(Stopped::Bought(other)),
            (Ok(Admission::Added | Admission::Refused), None) => Ok(admitted),
            (Err(BookError::Exists), _) => Err(paid_twice().into()),
            (Err(error), _) => Err(error.into()),
        }
    }

    fn signed(&self, order: &Order<'_>, tx_hash: Option<B256>) {
        self.emit(&ClientEvent::ChargeBegun {
            origin: order.site.origin.to_string(),
            amount: order.offer.amount(),
            tx_hash,
        });
    }

    fn credential(
        &self,
        offer: &ChargeOffer,
        payer: Address,
        payload: Value,
    ) -> Result<Credential, ClientError> {
        credential::of_account(offer.challenge(), (offer.chain_id(), &payer), payload)
    }

    /// Nothing was sent and nothing will be.
    pub(crate) fn void(&self, id: &ChargeId, error: ClientError) -> ClientError {
        match self.learn_charge(id, ChargeState::Void) {
            Ok(_) => error,
            Err(failed) => failed,
        }
    }

    /// The request that was to carry a new payment was never sent. The payment is void then, unless
    /// another request has taken it out of the book meanwhile.
    pub(crate) fn give_up(&self, id: &ChargeId, error: ClientError) -> ClientError {
        let mut is_void = false;
        let updated = self.book().update_charge(id, &mut |record| {
            if !record.is_shared {
                record.state = record.state.learn(ChargeState::Void);
            }
            is_void = !record.state.counts();
        });
        match updated {
            Ok(()) if is_void => error,
            Ok(()) => self.unconfirmed(id, error),
            Err(failed) => failed.into(),
        }
    }

    /// The credential of a charge that was made before; `None` when the charge was given up: it may
    /// have expired, and its budget was given back.
    ///
    /// A payment whose sender could not say that it was made is presented once its transaction is
    /// known. Until then, nothing tells whether there is one. Under which hash it was mined, the
    /// chain knows better than its sender.
    pub(crate) fn present(
        &self,
        id: &ChargeId,
    ) -> Result<Option<(Credential, Ticket)>, ClientError> {
        let mut found = None;
        self.book().update_charge(id, &mut |record| {
            // From here on nobody can say alone that the server was never shown it.
            record.is_shared |= record.state.counts();
            let is_other = record.valid_before.is_none()
                && record
                    .state
                    .tx_hash()
                    .is_some_and(|hash| record.tx_hash != Some(hash));
            if (record.payload.is_null() || is_other)
                && let Some(hash) = known_hash(record)
                && let Ok(payload) = payload(ChargePayload::Hash { hash })
            {
                record.payload = payload;
                record.tx_hash = Some(hash);
            }
            found = Some(record.clone());
        })?;
        match found {
            Some(record) if !record.state.counts() => Ok(None),
            Some(record) if record.payload.is_null() => {
                let unknown = "whether it was made before is not known";
                Err(self.unconfirmed(id, ClientError::Payment(unknown)))
            }
            Some(record) => again(&record).map(Some),
            None => Ok(None),
        }
    }

    /// The error of a charge that may have been paid.
    pub(crate) fn unconfirmed(&self, id: &ChargeId, source: ClientError) -> ClientError {
        let found = self.book().charge(id);
        let Ok(Some(record)) = found else {
            return source;
        };
        ClientError::ChargeIndeterminate {
            charge: Box::new((&record).into()),
            source: Box::new(source),
        }
    }

    pub(crate) fn learn_charge(
        &self,
        id: &ChargeId,
        news: ChargeState,
    ) -> Result<ChargeState, ClientError> {
        let mut state = news;
        self.book().update_charge(id, &mut |record| {
            record.state = record.state.learn(news);
            state = record.state;
        })?;
        Ok(state)
    }
}

/// The transaction that paid a charge, if the server can be shown its hash.
fn known_hash(record: &ChargeRecord) -> Option<B256> {
    let offer = ChargeOffer::read(record.challenge.clone()).ok()?;
    let hash = record.state.tx_hash().or(record.tx_hash)?;
    offer.takes(ChargeMode::Push).then_some(hash)
}

const fn paid_twice() -> ClientError {
    ClientError::Protocol("it asks for one payment twice")
}

fn again(record: &ChargeRecord) -> Result<(Credential, Ticket), ClientError> {
    let offer = ChargeOffer::read(record.challenge.clone())?;
    let payload: ChargePayload = serde_json::from_value(record.payload.clone())
        .map_err(|_| ClientError::Payment("the credential in the book can not be read"))?;
    let mode = match payload {
        ChargePayload::Hash { .. } => ChargeMode::Push,
        ChargePayload::Transaction { .. } | ChargePayload::Proof { .. } => ChargeMode::Pull,
    };
    let payer = (offer.chain_id(), &record.payer);
    let credential = credential::of_account(&record.challenge, payer, record.payload.clone())?;
    let ticket = Ticket {
        id: record.id,
        offer,
        tx_hash: record.tx_hash,
        mode,
        credential_is: CredentialIs::Shown,
    };
    Ok((credential, ticket))
}

fn transfers(offer: &ChargeOffer) -> Vec<Transfer> {
    let made = offer.made();
    let token = offer.currency();
    made.iter()
        .map(|transfer| Transfer::of_charge(token, transfer))
        .collect()
}

pub(super) fn payload(payload: ChargePayload) -> Result<Value, ClientError> {
    serde_json::to_value(payload)
        .map_err(|_| ClientError::Payment("the payment can not be written"))
}

impl From<WalletError> for ClientError {
    fn from(error: WalletError) -> Self {
        Self::Wallet(Box::new(error))
    }
}
