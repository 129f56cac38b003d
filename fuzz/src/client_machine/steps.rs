//! What may happen in one step.

use mpp_client::exchange::{CallKey, Exchange, Repeats};
use mpp_client::session::book::ChannelBook as _;
use mpp_tempo::ChannelId;

use super::lies::Fate;
use super::world::{Done, World, place};
use crate::simulation::crowd::patience;

/// Calls that can be made to revert: open, top-up, settle, close, the request
/// to close, and the withdrawal.
const SELECTORS: [[u8; 4]; 6] = [
    [0xed, 0xc5, 0x3b, 0x00],
    [0xdc, 0x48, 0x47, 0x1e],
    [0x97, 0xfb, 0x51, 0x04],
    [0x73, 0xb5, 0x7f, 0x74],
    [0x67, 0x54, 0x02, 0xe5],
    [0x41, 0xe2, 0xc6, 0x64],
];

impl World {
    pub(super) async fn happen(&mut self, [what, one, two, how]: [u8; 4]) {
        match what % 24 {
            0..=6 => self.call(one, two, how).await,
            7 => self.close(one, how).await,
            8 => self.leave(one, how).await,
            9 => self.resolve(one, how).await,
            10..=11 => {
                let ended = self.crowd.go_on(one, two % 64).await;
                self.ended(ended);
            }
            12 => {
                let ended = self.crowd.finish_first(&self.site).await;
                self.ended(ended);
            }
            // Somebody does not wait for an answer any more.
            13 => self.crowd.forget_one(one),
            14 => self.restart(),
            15 => self.end_after(one % 24 + 1),
            16 => self.restart_server(),
            17 => self.server.life.end_after(one % 24 + 1),
            18 => self.server.break_write(one),
            19 => self.site.advance(one, two),
            20 => self.site.break_transaction(one, two, &SELECTORS),
            21 => self.site.hide_chain(one, two),
            22 => self.work(one, how).await,
            _ => (0..=one % 4).for_each(|_| self.site.node.mine()),
        }
    }

    /// Buys a unit. `one` says how, `two` what becomes of the messages.
    async fn call(&mut self, one: u8, two: u8, how: u8) {
        let key = (one & 1 != 0).then(mpp_client::new_idempotency_key);
        let repeats = match one >> 1 & 3 {
            0 => Repeats::Never,
            1 => Repeats::WhenPaidOnce,
            _ if key.is_some() => Repeats::Always,
            _ => Repeats::Never,
        };
        // Honest messages come first: the lie is told with the second or third.
        let honest = usize::from(one >> 3 & 3);
        self.fates.extend(std::iter::repeat_n(Fate::Honest, honest));
        self.fates.push_back(Fate::of(two));
        if one & 0x20 != 0 {
            self.fates.push_back(Fate::of(two ^ one >> 4));
        }
        let work = self.order(key, repeats);
        self.run(work, patience(how)).await;
    }

    /// One call of the client, over the way that the world has set up.
    pub(super) fn order(
        &mut self,
        key: Option<String>,
        repeats: Repeats,
    ) -> impl Future<Output = Done> + 'static {
        let payer = self.payer.clone();
        let mut line = self.line(key.clone());
        let key = key.map_or(CallKey::None, CallKey::OfCall);
        async move {
            let exchange = Exchange::new(&payer, place(), &mut line);
            let delivered = exchange.repeats(repeats).key(key).run().await;
            Done::Called(delivered.is_ok_and(|delivered| delivered.receipt.is_some()))
        }
    }

    fn pick(&self, which: u8) -> Option<ChannelId> {
        let mut known: Vec<_> = self.book.records().unwrap();
        known.sort_by_key(|record| record.id);
        let which = usize::from(which).checked_rem(known.len())?;
        Some(known[which].id)
    }

    async fn close(&mut self, which: u8, how: u8) {
        let Some(id) = self.pick(which) else { return };
        self.fates.push_back(Fate::of(how << 4 | which >> 4));
        let payer = self.payer.clone();
        let mut line = self.line(None);
        let work = async move {
            drop(payer.close_over(&place(), &mut line, id).await);
            Done::Worked
        };
        self.run(work, patience(how)).await;
    }

    async fn leave(&mut self, which: u8, how: u8) {
        let Some(id) = self.pick(which) else { return };
        let payer = self.payer.clone();
        let work = async move {
            drop(payer.leave(&id).await);
            Done::Worked
        };
        self.run(work, patience(how)).await;
    }

    async fn resolve(&mut self, which: u8, how: u8) {
        let Some(id) = self.pick(which) else { return };
        let payer = self.payer.clone();
        let work = async move {
            drop(payer.resolve(&id).await);
            Done::Worked
        };
        self.run(work, patience(how)).await;
    }

    /// What the server's timers do.
    async fn work(&mut self, one: u8, how: u8) {
        let server = self.server.server.clone();
        let life = self.server.life.clone();
        let work = async move {
            let working = async {
                if one & 1 != 0 {
                    drop(server.settle().await);
                } else if server.ready().await.is_ok() {
                    drop(server.catch_up().await);
                }
            };
            tokio::select! {
                biased;
                () = life.over() => {}
                () = working => {}
            }
            Done::Worked
        };
        self.run(work, patience(how)).await;
    }
}
