//! What may happen in one step.

use std::time::Duration;

use futures_util::StreamExt as _;
use mpp_core::Amount;
use mpp_server::Collected;
use mpp_server::gate::{Access, Purpose};
use mpp_server::session::meter::Frame;
use mpp_server::session::record::Phase;
use mpp_tempo::wire::SessionPayload;
use mpp_tempo::{ChannelId, ChannelTerms, SessionProtocol, VoucherSignature};

use super::request::{self, Done, Kind};
use super::world::{Channel, PRICE, Serving, Streaming, World};
use crate::simulation::crowd::patience;
use crate::simulation::lock;
use crate::simulation::wallet::Fees;

/// Channels of one run.
const MAX_CHANNELS: usize = 5;

/// Calls that can be made to revert: open, top-up, settle and close.
const SELECTORS: [[u8; 4]; 8] = [
    [0xc7, 0x9e, 0xa4, 0x85],
    [0xed, 0xc5, 0x3b, 0x00],
    [0xb6, 0x76, 0x44, 0xb9],
    [0xdc, 0x48, 0x47, 0x1e],
    [0x51, 0x6d, 0x3b, 0x88],
    [0x97, 0xfb, 0x51, 0x04],
    [0x0d, 0x65, 0xc5, 0x1d],
    [0x73, 0xb5, 0x7f, 0x74],
];

impl World {
    pub(super) async fn happen(&mut self, [what, one, two, how]: [u8; 4]) {
        let what = what % 34;
        let shop = usize::from(how & 1);
        match what {
            0..=3 => self.buy(one, two, how).await,
            4..=5 => self.capture(one, how).await,
            6 => self.give_up(one, two),
            7 => self.open(one, two, how).await,
            8 => self.top_up(one, two, how).await,
            9 => self.close(one, two, how).await,
            10 => self.authorize(one, two, how).await,
            11..=13 => self.past_the_server(what, one, two),
            14 => self.hostile(one, two, how).await,
            15 => self.repeat(shop, one, how).await,
            16 => self.site.advance(one, two),
            17 => self
                .site
                .clock
                .advance(i64::from(one as i8) * i64::from(two % 16)),
            18 => self.go_on(one, two % 64).await,
            19 => self.finish_first().await,
            20 => self.restart(shop),
            21 => self.shops[shop].process.life.end_after(one % 24 + 1),
            22 => self.shops[shop].process.break_write(one),
            23 => self.site.break_transaction(one, two, &SELECTORS),
            24 => self.site.hide_chain(one, two),
            25 => self.reorg(one, two),
            26..=29 => self.work(what, one, two, how).await,
            30 => self.stream(one, two).await,
            31 if two >> 4 == 5 => self.open_late(one, two, how).await,
            32 => self.back_up(),
            33 => self.restore(),
            _ => (0..=one % 4).for_each(|_| self.site.node.mine()),
        }
    }

    fn pick(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.channels.len())
    }

    /// What a payer signs next: usually one unit more.
    fn amount(&mut self, channel: usize, choice: u8) -> u128 {
        let channel = &mut self.channels[channel];
        let amount = match choice {
            0..128 => channel.signed + PRICE * u128::from(choice % 3),
            _ => PRICE / 2 * u128::from(choice % 64),
        };
        channel.signed = channel.signed.max(amount.min(channel.deposit));
        amount
    }

    async fn buy(&mut self, which: u8, amount: u8, how: u8) {
        let Some(place) = self.pick(which) else {
            return;
        };
        let amount = self.amount(place, amount);
        let channel = &self.channels[place];
        let signed = self.payers[channel.payer].voucher(&channel.terms, amount);
        let terms = channel.terms;
        let payload = request::voucher(&terms, &signed);
        let shop = usize::from(how & 1);
        let Some(mut asked) = self.ask(shop, &terms, &payload, Kind::Voucher).await else {
            return;
        };
        // Half of the requests are idempotent.
        asked.key = (how & 2 != 0).then_some(which / 16 % 4);
        self.send(asked, patience(how)).await;
    }

    async fn authorize(&mut self, which: u8, amount: u8, how: u8) {
        let Some(place) = self.pick(which) else {
            return;
        };
        let amount = self.amount(place, amount);
        let channel = &self.channels[place];
        let signed = self.payers[channel.payer].voucher(&channel.terms, amount);
        let payload = request::voucher(&channel.terms, &signed);
        self.manage(&channel.terms.clone(), &payload, Kind::Voucher, how)
            .await;
    }

    async fn manage(
        &mut self,
        terms: &ChannelTerms,
        payload: &SessionPayload,
        kind: Kind,
        how: u8,
    ) {
        let shop = usize::from(how & 1);
        let Some(mut asked) = self.ask(shop, terms, payload, kind).await else {
            return;
        };
        asked.purpose = Purpose::Management;
        self.send(asked, patience(how)).await;
    }

    async fn open(&mut self, one: u8, two: u8, how: u8) {
        if one & 16 != 0
            && let Some(place) = self.pick(one >> 5)
            && self.channels[place].terms.protocol == SessionProtocol::V1
        {
            return self.open_again(place, one, two, how).await;
        }
        if self.channels.len() >= MAX_CHANNELS {
            return;
        }
        let protocol = if one & 1 == 0 {
            SessionProtocol::V2
        } else {
            SessionProtocol::V1
        };
        let payer = usize::from(one >> 1 & 1);
        let deposit = PRICE * u128::from(two % 12 + 1);
        let salt = self.channels.len() as u8 + 1;
        let fees = fees(one & 8);
        let wallet = &self.payers[payer];
        let (opening, terms) = wallet.open(self.payee.address(), protocol, deposit, salt, fees);
        let first = PRICE * u128::from(two >> 6);
        let signed = wallet.voucher(&terms, first);
        let payload = request::open(&terms, opening.encode(), &signed);
        self.channels.push(Channel {
            id: terms.id(),
            terms,
            payer,
            salt,
            deposit,
            opening: opening.encode(),
            signed: first.min(deposit),
        });
        if one & 32 != 0 {
            // The payer sends it itself, and the server may hear of it or not.
            drop(self.site.node.submit(&opening.encode()));
            return;
        }
        self.show_open(&terms, &payload, one, how).await;
    }

    /// SECURITY-CASES A1: an open that may have been mined long ago, and its
    /// channel may have ended since.
    async fn open_late(&mut self, which: u8, two: u8, how: u8) {
        let Some(place) = self.pick(which) else {
            return;
        };
        let channel = &self.channels[place];
        let signed = self.payers[channel.payer].voucher(&channel.terms, PRICE);
        let payload = request::open(&channel.terms, channel.opening.clone(), &signed);
        let terms = channel.terms;
        let is_over = self.has_ended(&terms) && !self.is_in_service(terms.id());
        self.show_open(&terms, &payload, two, how).await;
        assert!(
            !is_over || self.site.lags() || !self.is_in_service(terms.id()),
            "a channel that has ended is sold on: {:#?}",
            self.record(terms.id())
        );
    }

    /// Whether the chain shows the end of a channel now.
    fn has_ended(&self, terms: &ChannelTerms) -> bool {
        let there = self.site.node.channel(terms.protocol, terms.id());
        let is_empty = there.is_none_or(|there| there.finalized);
        is_empty && lock(&self.site.audit).books.shown(terms.id()).is_finalized
    }

    /// Whether the channel is in service.
    fn is_in_service(&self, id: ChannelId) -> bool {
        self.record(id)
            .is_some_and(|record| record.phase == Phase::Open)
    }

    /// PROTOCOL 5.3: another transaction for the same channel.
    async fn open_again(&mut self, place: usize, one: u8, two: u8, how: u8) {
        let deposit = PRICE * u128::from(two % 12 + 1);
        let channel = &mut self.channels[place];
        let wallet = &self.payers[channel.payer];
        let (protocol, fees) = (channel.terms.protocol, fees(one & 8));
        let (opening, terms) =
            wallet.open(self.payee.address(), protocol, deposit, channel.salt, fees);
        assert_eq!(terms.id(), channel.id);
        channel.deposit = deposit;
        channel.opening = opening.encode();
        let signed = wallet.voucher(&terms, PRICE * u128::from(two >> 6));
        let payload = request::open(&terms, opening.encode(), &signed);
        self.show_open(&terms, &payload, one, how).await;
    }

    /// Nothing is bought, or the first unit.
    async fn show_open(
        &mut self,
        terms: &ChannelTerms,
        payload: &SessionPayload,
        one: u8,
        how: u8,
    ) {
        if one & 4 == 0 {
            self.manage(terms, payload, Kind::Open, how).await;
            return;
        }
        let shop = usize::from(how & 1);
        if let Some(asked) = self.ask(shop, terms, payload, Kind::Open).await {
            self.send(asked, patience(how)).await;
        }
    }

    async fn top_up(&mut self, which: u8, two: u8, how: u8) {
        let Some(place) = self.pick(which) else {
            return;
        };
        let additional = PRICE * u128::from(two % 5 + 1);
        let channel = &mut self.channels[place];
        channel.deposit += additional;
        let terms = channel.terms;
        let transaction = self.payers[channel.payer].top_up(&terms, additional, fees(two & 8));
        let payload = request::top_up(&terms, transaction.encode(), additional);
        self.manage(&terms, &payload, Kind::TopUp, how).await;
    }

    async fn close(&mut self, which: u8, two: u8, how: u8) {
        let Some(place) = self.pick(which) else {
            return;
        };
        let channel = &self.channels[place];
        // An honest payer closes with what was spent, or with what it has signed.
        let spent = self
            .record(channel.id)
            .map_or(0, |record| record.spent.base_units());
        let amount = match two % 4 {
            0 | 1 => spent,
            2 => channel.signed,
            _ => PRICE * u128::from(two / 4 % 16),
        };
        let signed = self.payers[channel.payer].voucher(&channel.terms, amount);
        let payload = request::close(&channel.terms, &signed);
        self.manage(&channel.terms.clone(), &payload, Kind::Close, how)
            .await;
    }

    /// SECURITY-CASES A9, A10, A11, A13, A15, A35: refused, and nothing happens.
    async fn hostile(&mut self, which: u8, kind: u8, how: u8) {
        let Some(place) = self.pick(which) else {
            return;
        };
        let channel = &self.channels[place];
        let (terms, stranger) = (channel.terms, &self.payers[1 - channel.payer]);
        let amount = channel.signed + PRICE;
        let payload = match kind % 6 {
            0 => request::voucher(&terms, &stranger.voucher(&terms, amount)),
            1 => {
                let above = PRICE * 1_000;
                request::voucher(&terms, &self.payers[channel.payer].voucher(&terms, above))
            }
            2 => {
                let mut signed = self.payers[channel.payer].voucher(&terms, amount);
                let mut bytes = signed.signature.to_bytes();
                bytes[usize::from(kind) % 64] ^= 1;
                let Ok(signature) = VoucherSignature::parse(&bytes) else {
                    return;
                };
                signed.signature = signature;
                request::voucher(&terms, &signed)
            }
            3 => request::close(&terms, &stranger.voucher(&terms, amount)),
            4 => {
                let signed = stranger.voucher(&terms, PRICE);
                request::open(&terms, channel.opening.clone(), &signed)
            }
            // Nobody's fees are paid for a voucher that is worth nothing (A15).
            _ => {
                let (payee, salt) = (self.payee.address(), 100 + kind % 100);
                let payer = &self.payers[channel.payer];
                let (opening, fresh) =
                    payer.open(payee, terms.protocol, PRICE, salt, Fees::Sponsor);
                let signed = stranger.voucher(&fresh, PRICE);
                request::open(&fresh, opening.encode(), &signed)
            }
        };
        let shop = usize::from(how & 1);
        let mined = self.site.node.transactions_mined();
        if let Some(asked) = self.ask(shop, &terms, &payload, Kind::Hostile).await {
            self.send(asked, None).await;
        }
        let is_calm = self.crowd.is_empty();
        assert!(
            !is_calm || self.site.node.transactions_mined() == mined,
            "sent for nothing (A35)"
        );
    }

    /// SECURITY-CASES A1: the same credential once more, here or there.
    async fn repeat(&mut self, shop: usize, one: u8, how: u8) {
        let Some(mut asked) = self.last.clone() else {
            return;
        };
        asked.shop = shop;
        if one & 1 != 0 {
            asked.key = Some(one >> 1 & 3);
        }
        self.send(asked, patience(how)).await;
    }

    async fn capture(&mut self, which: u8, how: u8) {
        let Some(place) = usize::from(which).checked_rem(self.serving.len()) else {
            return;
        };
        let Some(Serving { grant, asked }) = self.serving.remove(place) else {
            return;
        };
        lock(&self.site.audit).account(asked.channel).asked += 1;
        let shop = asked.shop;
        let is_stream = how & 2 != 0;
        let access = grant.access();
        let told = asked.clone();
        // The unit that a stream begins with is handed over by the stream.
        let units = u64::from(!is_stream);
        let work = async move { Done::Captured(grant.capture(None).await, told, units) };
        self.run(shop, work, patience(how)).await;
        if let (true, Access::Session(tab)) = (is_stream, access)
            && !self.shops[shop].process.life.is_over()
        {
            // The transport pays for the first unit, and then reads.
            let stream = tab.stream(|mut meter| async move {
                loop {
                    meter.charge().await?;
                    meter.send("unit").await;
                }
            });
            self.streaming = Some(Streaming { stream, asked });
        }
    }

    /// A handler fails, or its client goes away.
    fn give_up(&mut self, which: u8, two: u8) {
        if two & 1 != 0 {
            self.streaming = None;
            return;
        }
        if let Some(place) = usize::from(which).checked_rem(self.serving.len()) {
            self.serving.remove(place);
        }
    }

    /// Reads a stream: so many frames, as far as they are there.
    async fn stream(&mut self, frames: u8, two: u8) {
        let Some(mut streaming) = self.streaming.take() else {
            return;
        };
        if two & 1 != 0 {
            streaming.stream.stop();
        }
        let life = self.shops[streaming.asked.shop].process.life.clone();
        for _ in 0..frames % 6 {
            lock(&self.site.audit)
                .account(streaming.asked.channel)
                .asked += 1;
            let patience = Duration::from_millis(u64::from(two) * 300);
            let next = tokio::select! {
                biased;
                () = life.over() => return self.restart(streaming.asked.shop),
                next = tokio::time::timeout(patience, streaming.stream.next()) => next,
            };
            match next {
                Err(_) | Ok(Some(Frame::NeedVoucher(_))) => break,
                Ok(Some(Frame::Receipt(receipt))) => self.acknowledge(&streaming.asked, &receipt),
                Ok(Some(Frame::Data(_))) => {
                    lock(&self.site.audit).streamed(streaming.asked.channel)
                }
                Ok(None) => return,
            }
        }
        self.streaming = Some(streaming);
    }

    /// The payer goes to the chain itself.
    fn past_the_server(&mut self, what: u8, which: u8, two: u8) {
        let Some(place) = self.pick(which) else {
            return;
        };
        let channel = &mut self.channels[place];
        let wallet = &self.payers[channel.payer];
        let transaction = match what {
            11 => wallet.request_close(&channel.terms),
            12 => wallet.withdraw(&channel.terms),
            _ => {
                let additional = PRICE * u128::from(two % 4 + 1);
                channel.deposit += additional;
                wallet.top_up(&channel.terms, additional, Fees::Payer)
            }
        };
        // The chain may refuse it.
        drop(self.site.node.submit(&transaction.encode()));
    }

    /// What a server's timers and its operator do.
    async fn work(&mut self, what: u8, one: u8, two: u8, how: u8) {
        let shop = usize::from(how & 1);
        let server = self.shops[shop].process.server.clone();
        let channel = self.pick(one).map(|place| self.channels[place].id);
        let credit = Amount::new(PRICE / 2 * u128::from(two % 5));
        let sees = !self.site.lags();
        let work = async move {
            match (what, channel) {
                (26, _) => {
                    if server.ready().await.is_ok() && server.catch_up().await.is_ok() && sees {
                        return Done::Looked(shop);
                    }
                }
                (27, _) if two & 1 == 0 => drop::<Result<Collected, _>>(server.settle().await),
                (27, _) => drop(server.collect().await),
                (28, Some(id)) => drop(server.credit(id, credit).await),
                (29, Some(id)) if two & 1 == 0 => drop(server.refresh(id).await),
                (29, _) => drop(server.reconcile().await),
                _ => {}
            }
            Done::Worked
        };
        self.run(shop, work, patience(how)).await;
    }
}

fn fees(sponsored: u8) -> Fees {
    match sponsored {
        0 => Fees::Payer,
        _ => Fees::Sponsor,
    }
}
