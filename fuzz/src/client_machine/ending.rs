//! The end of a story: the client goes on where it was, and gets its rest back.

use mpp_client::exchange::Repeats;
use mpp_client::session::book::{ChannelBook as _, Phase};
use mpp_client::session::exit::Leave;
use mpp_server::session::record::Phase as Service;
use mpp_server::store::ChannelStore as _;
use mpp_tempo::ChannelId;

use super::world::{PRICE, PROTOCOL, World};
use crate::simulation::lock;
use crate::simulation::wallet::ready;

impl World {
    /// Everything is mended, the server is honest, and both begin again.
    pub(super) async fn end(&mut self) {
        while !self.crowd.is_empty() {
            let ended = self.crowd.finish_first(&self.site).await;
            self.ended(ended);
            self.check();
        }
        self.fates.clear();
        self.restart_server();
        self.site.mend();
        self.restart();
        self.site.pass(60);
        self.site.node.mine();
        self.serve().await;
        self.goes_on().await;
        self.check();
        self.gets_its_rest_back().await;
        self.check();
    }

    async fn serve(&self) {
        let server = &self.server.server;
        server.ready().await.expect("nothing fails any more");
        server.catch_up().await.expect("nothing fails any more");
        server.settle().await.expect("nothing fails any more");
    }

    /// A channel that both sides hold for open, and that can pay, pays.
    async fn goes_on(&mut self) {
        let before = self.good_channel();
        let paid = self.paid;
        let work = self.order(None, Repeats::Never);
        self.run(work, None).await;
        // To whom was lied, the accounts may not explain what the truth is.
        if lock(&self.seen).lied {
            return;
        }
        let Some(before) = before else { return };
        assert_eq!(self.paid, paid + 1, "an honest server is not paid");
        let is_used = lock(&self.seen).has_paid(before, self.calls);
        assert!(is_used, "another channel than {before} is used");
    }

    /// A channel that the client's accounts and the server's agree about.
    fn good_channel(&self) -> Option<ChannelId> {
        let records = self.book.records().unwrap();
        let mut good = records.iter().filter(|record| {
            let Some(there) = ready(self.site.truth.load(record.id)).unwrap() else {
                return false;
            };
            let (ours, theirs) = (record.ledger.signed(), there.record);
            let next = ours.base_units() + 2 * PRICE;
            record.phase == Phase::Open
                && theirs.phase == Service::Open
                && theirs.accepted() <= ours
                && next <= theirs.deposit.base_units()
                && theirs.deposit == record.ledger.deposit()
        });
        good.next().map(|record| record.id)
    }

    /// Whatever the server has said: nothing stays in a channel for good.
    async fn gets_its_rest_back(&mut self) {
        let known: Vec<_> = lock(&self.site.audit).books.all().collect();
        for (id, _) in known {
            self.leaves(id).await;
        }
    }

    async fn leaves(&mut self, id: ChannelId) {
        for _ in 0..4 {
            let left = self.payer.leave(&id).await;
            if let Ok(Leave::Done { .. }) = left {
                break;
            }
            self.site.pass(901);
            self.site.node.mine();
        }
        let there = self.site.node.channel(PROTOCOL, id);
        let is_empty = there
            .as_ref()
            .is_none_or(|there| there.finalized || there.deposit.is_zero());
        assert!(is_empty, "the rest stays in {id}: {there:?}");
        let record = self.book.read(&id).unwrap();
        assert!(
            !record.phase.may_hold_money(),
            "the book does not know that it is over: {record:?}"
        );
    }
}
