//! Finding channels again that the book has lost, from the chain's logs alone.
//!
//! A channel that was found this way pays for nothing: what was signed on it is not known. Its
//! deposit comes back with [`Payer::leave`].

use mpp_core::Amount;
use mpp_tempo::chain::{ChainClient, FoundChannel, HistoryFilter, Party, find_channels};
use mpp_tempo::voucher::{SignVoucherError, sign_voucher};
use mpp_tempo::{ChannelId, ChannelTerms, ChannelView, Existence};

use super::book::{self, BookError, ChannelKey, ChannelRecord, Phase, StaleReason};
use super::ledger::Ledger;
use crate::error::ClientError;
use crate::payer::Payer;

/// The origin of channels whose server nobody remembers.
const NOWHERE: &str = "found on chain";

/// A channel that this payer has money in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rescued {
    /// The channel.
    pub channel_id: ChannelId,
    /// Its terms, rebuilt from its open.
    pub terms: ChannelTerms,
    /// What the chain shows.
    pub view: ChannelView,
    /// What the book knew of it.
    pub standing: Standing,
}

/// What the book knew of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It was there, in this phase. One that was held for over can be left from now on.
    Known {
        /// Where it was in its life.
        phase: Phase,
    },
    /// It was missing, and is in the book from now on.
    Found,
    /// It is missing, and can not be in this payer's book: another key signs its vouchers.
    OtherSigner,
}

impl Payer {
    /// Finds every channel of this payer that holds money, and puts those into the book that it
    /// does not know, or holds for over.
    ///
    /// Looks in both escrows of the chain; [`Payer::rescue_from`] looks elsewhere.
    ///
    /// # Errors
    /// [`ClientError::Chain`], [`ClientError::Book`], or [`ClientError::Misuse`] without a chain
    /// client.
    ///
    /// # Cancel safety
    /// Dropped, some are in the book; calling it again finds the others.
    pub async fn rescue(&self) -> Result<Vec<Rescued>, ClientError> {
        let chain_id = self.chain()?.chain_id();
        let filter = HistoryFilter::all(Party::Payer(self.address()), chain_id);
        self.rescue_from(&filter).await
    }

    /// As [`Payer::rescue`], for other escrows or a later start. Channels of other payers are left
    /// out.
    ///
    /// # Errors
    /// As [`Payer::rescue`].
    ///
    /// # Cancel safety
    /// As [`Payer::rescue`].
    pub async fn rescue_from(&self, filter: &HistoryFilter) -> Result<Vec<Rescued>, ClientError> {
        let mut rescued = Vec::new();
        for found in find_channels(self.chain()?, filter).await? {
            let holds_money = found.view.existence == Existence::Open;
            if holds_money && found.terms.descriptor.payer == self.address() {
                rescued.push(self.take_in(found).await?);
            }
        }
        Ok(rescued)
    }

    async fn take_in(&self, found: FoundChannel) -> Result<Rescued, ClientError> {
        let (terms, view) = (found.terms, found.view);
        let channel_id = terms.id();
        let standing = match self.book().read(&channel_id) {
            Ok(record) => self.reopen(record, &view)?,
            Err(BookError::Unknown) => self.insert_found(&terms, &view).await?,
            Err(error) => return Err(error.into()),
        };
        Ok(Rescued {
            channel_id,
            terms,
            view,
            standing,
        })
    }

    /// What the book holds for over has money on chain: a reorganization, or a node that had fallen
    /// behind, was believed. It pays for nothing more, and can be left.
    fn reopen(&self, record: ChannelRecord, view: &ChannelView) -> Result<Standing, ClientError> {
        if !record.phase.may_hold_money() {
            book::update(self.book(), &record.id, |record| {
                if !record.phase.may_hold_money() {
                    record.phase = found_phase(view);
                }
            })?;
        }
        Ok(Standing::Known {
            phase: record.phase,
        })
    }

    async fn insert_found(
        &self,
        terms: &ChannelTerms,
        view: &ChannelView,
    ) -> Result<Standing, ClientError> {
        // It authorizes nothing.
        let nothing = match sign_voucher(self.signer(), terms, Amount::ZERO).await {
            Ok(signed) => signed,
            Err(SignVoucherError::Signer(error)) => return Err(ClientError::Signer(error)),
            Err(_) => return Ok(Standing::OtherSigner),
        };
        let parties = &terms.descriptor;
        let record = ChannelRecord {
            id: terms.id(),
            key: ChannelKey {
                origin: String::from(NOWHERE),
                chain_id: terms.chain_id,
                protocol: terms.protocol,
                escrow: terms.escrow,
                payer: parties.payer,
                payee: parties.payee,
                operator: parties.operator,
                token: parties.token,
            },
            terms: *terms,
            phase: found_phase(view),
            ledger: Ledger::new(view.deposit, Amount::ZERO),
            open: None,
            best: nothing,
            top_up: None,
            grows_until: 0,
        };
        match self.book().insert(record) {
            // Another client with the same book was faster.
            Ok(()) | Err(BookError::Exists) => Ok(Standing::Found),
            Err(error) => Err(error.into()),
        }
    }
}

fn found_phase(view: &ChannelView) -> Phase {
    match view.close_requested_at {
        Some(at) => Phase::CloseRequested { at },
        None => Phase::Stale {
            reason: StaleReason::Found,
        },
    }
}
