//! What may happen in one step.

use alloy_primitives::B256;
use mpp_core::{Amount, Challenge};
use mpp_tempo::charge::{AttributionMemo, ChargeTransfer, Transfers};
use mpp_tempo::network::PATH_USD;
use mpp_tempo::tx::build::Transfer;
use mpp_tempo::tx::{SignedTx, build, gas};
use mpp_tempo::wire::{ChargePayload, ChargeRequest};

use super::request::{Asked, Done, value};
use super::world::{PRICE, Serving, World};
use crate::simulation::crowd::patience;
use crate::simulation::wallet::Fees;

/// Calls that can be made to revert: both kinds of transfer.
const SELECTORS: [[u8; 4]; 2] = [[0xa9, 0x05, 0x9c, 0xbb], [0x95, 0x77, 0x7d, 0x59]];

impl World {
    pub(super) async fn happen(&mut self, [what, one, two, how]: [u8; 4]) {
        let shop = usize::from(how & 1);
        match what % 32 {
            0..=3 => self.pull(one, two, how).await,
            4..=5 => self.push(one, two, how).await,
            6..=8 => self.repeat(one, two, how).await,
            9..=11 => self.capture(one, how).await,
            12 => {
                if let Some(place) = usize::from(one).checked_rem(self.serving.len()) {
                    self.serving.remove(place);
                }
            }
            13..=14 => self.hostile(one, two, how).await,
            15..=16 => self.refund(one, two, how).await,
            17 => self.site.advance(one, two),
            18 => self
                .site
                .clock
                .advance(i64::from(one as i8) * i64::from(two % 16)),
            19..=20 => self.go_on(one, two % 64).await,
            21 => self.finish_first().await,
            22 => self.restart(shop),
            23 => self.shops[shop].process.life.end_after(one % 24 + 1),
            24 => self.shops[shop].process.break_write(one),
            25..=26 => self.site.break_transaction(one, two, &SELECTORS),
            27 => self.site.hide_chain(one, two),
            28 => self.site.reorg(one, two),
            29 => self.release(one, how).await,
            30 => self.ready(how).await,
            _ => (0..=one % 4).for_each(|_| self.site.node.mine()),
        }
    }

    /// What an honest payer signs for a challenge.
    fn pay(&self, payer: usize, challenge: &Challenge, route: usize) -> SignedTx {
        let request: ChargeRequest = challenge.request.decode().unwrap();
        let transfers = Transfers::try_from(&request).unwrap();
        let (realm, id) = (challenge.realm.as_str(), challenge.id.as_str());
        let memo = AttributionMemo::new(realm, None, id);
        self.sign(payer, &transfers.with_attribution(memo), route)
    }

    fn sign(&self, payer: usize, transfers: &[ChargeTransfer], route: usize) -> SignedTx {
        let wallet = &self.payers[payer];
        let calls: Vec<_> = transfers
            .iter()
            .map(|one| Transfer::of_charge(PATH_USD, one))
            .collect();
        let fees = if route == 1 {
            Fees::Sponsor
        } else {
            Fees::Payer
        };
        let context = wallet.context_for(gas::TRANSFER, fees);
        wallet.sign(build::transfer(&context, &calls).unwrap())
    }

    /// The server sends the transaction.
    async fn pull(&mut self, one: u8, two: u8, how: u8) {
        let (shop, route) = (usize::from(how & 1), usize::from(two & 1));
        let challenge = self.challenge(shop, route).await;
        let transaction = self.pay(usize::from(one & 1), &challenge, route);
        let payload = ChargePayload::Transaction {
            transaction: transaction.encode(),
        };
        self.show(challenge, &payload, (transaction, route, two), how)
            .await;
    }

    /// The payer sends the transaction itself, before or after it shows it.
    async fn push(&mut self, one: u8, two: u8, how: u8) {
        let shop = usize::from(how & 1);
        let challenge = self.challenge(shop, 0).await;
        let transaction = self.pay(usize::from(one & 1), &challenge, 0);
        let hash = transaction.hash();
        if one & 2 == 0 {
            drop(self.site.node.submit(&transaction.encode()));
        }
        let payload = ChargePayload::Hash { hash };
        self.show(challenge, &payload, (transaction, 0, two), how)
            .await;
    }

    async fn show(
        &mut self,
        challenge: Challenge,
        payload: &ChargePayload,
        (transaction, route, two): (SignedTx, usize, u8),
        how: u8,
    ) {
        let asked = Asked {
            shop: usize::from(how & 1),
            route,
            value: value(&challenge, payload),
            challenge,
            key: (how & 2 != 0).then_some(two >> 1 & 3),
            transaction: Some(transaction),
            is_hostile: false,
        };
        self.asked.push(asked.clone());
        self.send(asked, patience(how)).await;
    }

    /// SECURITY-CASES A1: the same credential once more, here or there; or the
    /// payer sends its transaction itself, late.
    async fn repeat(&mut self, which: u8, two: u8, how: u8) {
        let Some(place) = usize::from(which).checked_rem(self.asked.len()) else {
            return;
        };
        let mut asked = self.asked[place].clone();
        let transaction = asked.transaction.as_ref();
        if let Some(transaction) = transaction.filter(|tx| two & 3 == 3 && !tx.needs_fee_payer()) {
            drop(self.site.node.submit(&transaction.encode()));
            return;
        }
        asked.shop = usize::from(how & 1);
        self.send(asked, patience(how)).await;
    }

    /// SECURITY-CASES A1, A3, A4, A25: none of these pays.
    async fn hostile(&mut self, one: u8, kind: u8, how: u8) {
        let shop = usize::from(how & 1);
        let challenge = self.challenge(shop, 0).await;
        let (realm, id) = (challenge.realm.as_str(), challenge.id.as_str());
        let honest = ChargeTransfer {
            to: self.payee.address(),
            amount: Amount::new(PRICE),
            memo: Some(AttributionMemo::new(realm, None, id).to_word()),
        };
        let payer = usize::from(one & 1);
        let other = &self.asked;
        let payload = match kind % 6 {
            // What has paid, or will pay, another challenge.
            0 | 1 => {
                let Some(place) = usize::from(one).checked_rem(other.len()) else {
                    return;
                };
                // Two challenges of one moment are one.
                if other[place].challenge.id == challenge.id {
                    return;
                }
                let Some(transaction) = &other[place].transaction else {
                    return;
                };
                match kind % 6 {
                    0 => ChargePayload::Hash {
                        hash: transaction.hash(),
                    },
                    _ => ChargePayload::Transaction {
                        transaction: transaction.encode(),
                    },
                }
            }
            2 => self.bent(
                payer,
                ChargeTransfer {
                    amount: Amount::new(PRICE - 1),
                    ..honest
                },
            ),
            3 => self.bent(
                payer,
                ChargeTransfer {
                    to: self.payers[1].address(),
                    ..honest
                },
            ),
            4 => self.bent(
                payer,
                ChargeTransfer {
                    memo: Some(B256::ZERO),
                    ..honest
                },
            ),
            _ => ChargePayload::Hash {
                hash: B256::repeat_byte(one),
            },
        };
        let asked = Asked {
            shop,
            route: 0,
            value: value(&challenge, &payload),
            challenge,
            key: None,
            transaction: None,
            is_hostile: true,
        };
        self.send(asked, None).await;
    }

    fn bent(&self, payer: usize, transfer: ChargeTransfer) -> ChargePayload {
        let transaction = self.sign(payer, &[transfer], 0);
        ChargePayload::Transaction {
            transaction: transaction.encode(),
        }
    }

    pub(super) async fn capture(&mut self, which: u8, how: u8) {
        let Some(place) = usize::from(which).checked_rem(self.serving.len()) else {
            return;
        };
        let Some(Serving { grant, asked }) = self.serving.remove(place) else {
            return;
        };
        let shop = asked.shop;
        let work = async move { Done::Captured(grant.capture(None).await, asked) };
        self.run(shop, work, patience(how)).await;
    }

    /// The handler has failed, and says so.
    async fn release(&mut self, which: u8, how: u8) {
        let Some(place) = usize::from(which).checked_rem(self.serving.len()) else {
            return;
        };
        let Some(Serving { grant, asked }) = self.serving.remove(place) else {
            return;
        };
        let work = async move {
            grant.release().await;
            Done::Worked
        };
        self.run(asked.shop, work, patience(how)).await;
    }

    async fn refund(&mut self, which: u8, part: u8, how: u8) {
        let Some(place) = usize::from(which).checked_rem(self.receipts.len()) else {
            return;
        };
        let receipt = self.receipts[place].clone();
        let total = Amount::new(PRICE / 4 * u128::from(part % 5));
        let challenge = receipt.challenge_id.clone().expect("a charge's receipt");
        let most = self.asked_back.entry(challenge).or_insert(total);
        *most = total.max(*most);
        let shop = usize::from(how & 1);
        let server = self.shops[shop].process.server.clone();
        let work = async move {
            if let Ok(refund) = server.refund_to(&receipt, total).await {
                assert_eq!(refund.total, total, "another total: {refund:?}");
            }
            Done::Worked
        };
        self.run(shop, work, patience(how)).await;
    }

    async fn ready(&mut self, how: u8) {
        let shop = usize::from(how & 1);
        let server = self.shops[shop].process.server.clone();
        let work = async move {
            drop(server.ready().await);
            Done::Worked
        };
        self.run(shop, work, patience(how)).await;
    }
}
