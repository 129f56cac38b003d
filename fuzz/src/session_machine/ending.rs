//! The end of a story: what failed is mended, and the books must agree.

use mpp_server::Fault;
use mpp_server::clock::Clock as _;
use mpp_server::gate::Purpose;
use mpp_server::session::record::{ChannelRecord, Phase, Quarantine};
use mpp_server::store::{ChannelStore as _, DocumentKind, DocumentPage};

use super::request::{self, Kind};
use super::world::{PRICE, World};
use crate::simulation::lock;
use crate::simulation::wallet::ready;

/// Looks until everything has come to its end.
const ROUNDS: usize = 6;

impl World {
    /// SECURITY-CASES A33 and A34: every state in between converges.
    pub(super) async fn end(&mut self) {
        while !self.crowd.is_empty() {
            self.finish_first().await;
            self.check();
        }
        self.streaming = None;
        self.serving.clear();
        for shop in 0..self.shops.len() {
            self.restart(shop);
        }
        self.site.mend();
        for _ in 0..ROUNDS {
            self.site.pass(31);
            self.site.node.mine();
            self.site.node.mine();
            for shop in 0..self.shops.len() {
                let server = self.shops[shop].process.server.clone();
                server.ready().await.expect("nothing fails any more");
                server.catch_up().await.expect("nothing fails any more");
                match server.settle().await {
                    // The one that leads is asked in its own turn: in a story nobody looks by himself.
                    Ok(_) | Err(Fault::DemandPending) => {}
                    Err(fault) => panic!("nothing fails any more: {fault:?}"),
                }
                self.check();
            }
        }
        for shop in 0..self.shops.len() {
            let server = self.shops[shop].process.server.clone();
            let compared = server.reconcile().await.expect("nothing fails any more");
            let contradicting = compared.contradicting;
            assert!(
                contradicting.is_empty(),
                "the chain shows less: {contradicting:?}"
            );
            self.check();
        }
        self.nothing_is_open();
        for place in 0..self.channels.len() {
            self.agrees(place);
            self.still_sells(place).await;
            self.check();
        }
    }

    fn nothing_is_open(&self) {
        let page = DocumentPage {
            kind: DocumentKind::Effect,
            after: None,
            limit: 64,
        };
        let open = ready(self.site.truth.documents(page)).unwrap();
        assert!(
            open.is_empty(),
            "{} effects are still under way",
            open.len()
        );
    }

    /// What the server knows of a channel is what the chain shows.
    fn agrees(&self, place: usize) {
        let channel = &self.channels[place];
        let on_chain = self.site.node.channel(channel.terms.protocol, channel.id);
        let record = self.record(channel.id);
        let Some(record) = record else {
            return;
        };
        let context = || format!("{on_chain:?}, {record:#?}");
        match on_chain {
            Some(there) if !there.finalized => {
                // What was final by the policy and is taken back is noticed by
                // whoever has seen it lately, and not by a server that begins.
                let deepest = lock(&self.site.audit).books.deepest;
                let is_lost = match record.phase {
                    Phase::Failed | Phase::Opening(_) => true,
                    Phase::Closed { .. } => deepest <= self.finality(),
                    _ => false,
                };
                assert!(
                    !is_lost,
                    "a channel that holds money is given up: {}",
                    context()
                );
                if matches!(record.phase, Phase::Closed { .. }) {
                    return;
                }
                assert_eq!(record.deposit, there.deposit, "{}", context());
                assert_eq!(record.settled, there.settled, "{}", context());
                let asked = requested_at(&record);
                if !matches!(record.phase, Phase::Closing { .. }) {
                    assert_eq!(asked, there.close_requested_at, "{}", context());
                }
                self.is_collected(&record);
            }
            // A slot that is empty was never filled, is closed, or was taken back.
            Some(_) | None => {
                let shown = lock(&self.site.audit).books.shown(channel.id);
                let is_over = match &record.phase {
                    Phase::Failed => true,
                    Phase::Closed { .. } => shown.is_finalized,
                    Phase::Quarantined {
                        reason: Quarantine::OpenReverted,
                        ..
                    } => true,
                    // All transactions that could open it have expired by now.
                    Phase::Opening(_)
                    | Phase::Open
                    | Phase::CloseRequested { .. }
                    | Phase::Closing { .. }
                    | Phase::Quarantined { .. } => false,
                };
                assert!(
                    is_over,
                    "a channel without money is still used: {}",
                    context()
                );
            }
        }
    }

    /// What was earned is paid out as far as there is a voucher for it.
    fn is_collected(&self, record: &ChannelRecord) {
        if !matches!(record.phase, Phase::Open | Phase::CloseRequested { .. }) {
            return;
        }
        let earned = record
            .collectable()
            .map_or(0, |signed| signed.voucher.cumulative.base_units());
        assert!(
            record.settled.base_units() >= earned,
            "{earned} was not collected: {record:#?}"
        );
    }

    /// A channel in service serves, on either server.
    async fn still_sells(&mut self, place: usize) {
        for shop in 0..2 {
            let channel = &self.channels[place];
            let Some(record) = self.record(channel.id) else {
                return;
            };
            // A clock that went back keeps holds of requests that are gone.
            let promised = record.promised(self.site.clock.now()).base_units();
            let next = (promised + PRICE).max(record.accepted().base_units());
            if record.phase != Phase::Open || next > record.deposit.base_units() {
                return;
            }
            let signed = self.payers[channel.payer].voucher(&channel.terms, next);
            let terms = channel.terms;
            let payload = request::voucher(&terms, &signed);
            let asked = self
                .ask(shop, &terms, &payload, Kind::Voucher)
                .await
                .expect("a challenge");
            assert_eq!(asked.purpose, Purpose::Content);
            self.send(asked, None).await;
            let granted = self.serving.len();
            assert_eq!(
                granted,
                1,
                "an honest payer is refused: {:#?}",
                self.record(terms.id())
            );
            self.happen([4, 0, 0, 0]).await;
            let after = self.record(terms.id()).expect("a record");
            assert_eq!(after.spent.base_units(), record.spent.base_units() + PRICE);
        }
    }
}

fn requested_at(record: &ChannelRecord) -> Option<u64> {
    match record.phase {
        Phase::CloseRequested { at } => Some(at),
        Phase::Quarantined { requested_at, .. } => requested_at,
        _ => None,
    }
}
