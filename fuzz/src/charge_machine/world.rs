//! The servers, the payers, and what is under way.

use std::collections::{HashMap, VecDeque};

use mpp_core::{Amount, ChallengeId, ChargeReceipt};
use mpp_server::charge::record::ChargeDocument;
use mpp_server::gate::Grant;
use mpp_server::store::codec::decode_document;
use mpp_server::store::{ChannelStore as _, DocumentKind, DocumentPage};
use mpp_server::{FollowPolicy, Route, SettlePolicy};

use super::request::{Asked, Done};
use crate::simulation::cashbook::Cashbook;
use crate::simulation::crowd::{Crowd, Ended};
use crate::simulation::site::{Process, Site};
use crate::simulation::wallet::{Wallet, ready};
use crate::simulation::{NEVER, lock};

/// What a request costs, in base units.
pub(super) const PRICE: u128 = 10_000;

/// One server process and what it sells: without and with the fees.
pub(super) struct Shop {
    pub(super) process: Process,
    pub(super) routes: [Route; 2],
}

/// A request that may be served.
pub(super) struct Serving {
    pub(super) grant: Grant,
    pub(super) asked: Asked,
}

pub(super) struct World {
    pub(super) site: Site,
    pub(super) shops: Vec<Shop>,
    pub(super) payers: [Wallet; 2],
    pub(super) payee: Wallet,
    /// Everything honest that was asked for, to be asked for again.
    pub(super) asked: Vec<Asked>,
    pub(super) serving: VecDeque<Serving>,
    pub(super) crowd: Crowd<Done>,
    pub(super) receipts: Vec<ChargeReceipt>,
    /// The greatest total that was to go back of a charge.
    pub(super) asked_back: HashMap<ChallengeId, Amount>,
}

impl World {
    pub(super) fn new(_: [u8; 4]) -> Self {
        let site = Site::new();
        let mut world = Self {
            shops: Vec::new(),
            payers: [1, 2].map(|account| Wallet::new(&site.node, account)),
            payee: Wallet::new(&site.node, 0),
            asked: Vec::new(),
            serving: VecDeque::new(),
            crowd: Crowd::new(),
            receipts: Vec::new(),
            asked_back: HashMap::new(),
            site,
        };
        world.shops = (0..2).map(|_| world.start()).collect();
        world
    }

    fn start(&self) -> Shop {
        let settlement = SettlePolicy {
            every: NEVER,
            ..SettlePolicy::on_demand()
        };
        let process = self.site.start(FollowPolicy::default(), settlement);
        let plain = process.server.charge().amount("0.01");
        let sponsored = process.server.charge().amount("0.01").sponsored();
        let routes = [("/photo", plain), ("/free-of-fees", sponsored)]
            .map(|(scope, offer)| Route::new(scope, [offer.build().unwrap()]).unwrap());
        Shop { process, routes }
    }

    /// The process dies and another takes its place.
    pub(super) fn restart(&mut self, shop: usize) {
        self.shops[shop].process.life.end_after(0);
        self.crowd.forget(shop);
        self.serving.retain(|serving| serving.asked.shop != shop);
        self.shops[shop] = self.start();
    }

    /// Never more goes back than is on record, and no token is made or lost.
    pub(super) fn check(&self) {
        self.site.look();
        lock(&self.site.audit).require_clean();
        self.site.check_sponsor();
        let node = &self.site.node;
        assert_eq!(
            node.sum_of_balances(mpp_tempo::network::PATH_USD),
            node.total_supply(mpp_tempo::network::PATH_USD)
        );
        let payers = [&self.payers[0], &self.payers[1]].map(Wallet::address);
        let back = Cashbook::sent(node, self.payee.address(), &payers);
        let refunded = self.refunded();
        assert!(
            back <= refunded,
            "{back} went back, and {refunded} on record"
        );
    }

    /// What has gone back or is on its way, by the records; of no charge more
    /// than anybody asked for, however often.
    fn refunded(&self) -> u128 {
        let page = DocumentPage {
            kind: DocumentKind::Charge,
            after: None,
            limit: 1_000,
        };
        let all = ready(self.site.truth.documents(page)).unwrap();
        let records = all.iter().filter_map(|(_, document)| {
            match decode_document(DocumentKind::Charge, &document.value).unwrap() {
                ChargeDocument::Record(record) => {
                    let most = self.asked_back.get(&record.challenge_id);
                    let most = most.copied().unwrap_or(Amount::ZERO);
                    assert!(record.refunded <= most, "refunded twice: {record:#?}");
                    Some(record.refunded.base_units())
                }
                ChargeDocument::Belongs(_) => None,
            }
        });
        records.sum()
    }

    /// Lets a server work: to the end, or so many polls for now.
    pub(super) async fn run(
        &mut self,
        shop: usize,
        work: impl Future<Output = Done> + 'static,
        polls: Option<u8>,
    ) {
        let process = (shop, self.shops[shop].process.life.clone());
        let ended = self.crowd.run(&self.site, process, work, polls).await;
        self.ended(ended);
    }

    /// Lets something that is under way go on.
    pub(super) async fn go_on(&mut self, which: u8, polls: u8) {
        let ended = self.crowd.go_on(which, polls).await;
        self.ended(ended);
    }

    /// Lets what began first go on to its end.
    pub(super) async fn finish_first(&mut self) {
        let ended = self.crowd.finish_first(&self.site).await;
        self.ended(ended);
    }

    fn ended(&mut self, ended: Ended<Done>) {
        for (shop, done) in ended {
            self.site.look();
            match done {
                Some(done) => self.told(done),
                None => self.restart(shop),
            }
        }
    }
}
