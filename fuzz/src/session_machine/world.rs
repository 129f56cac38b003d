//! The servers, the chain, the channels, and what is under way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Bytes;
use mpp_core::{Amount, SessionReceipt};
use mpp_server::gate::Grant;
use mpp_server::session::meter::MeteredStream;
use mpp_server::session::record::ChannelRecord;
use mpp_server::store::ChannelStore as _;
use mpp_server::{FollowPolicy, Route, SettlePolicy};
use mpp_tempo::{ChannelId, ChannelTerms, SessionProtocol};

use super::request::{Asked, Done};
use crate::simulation::books::{BOTH, check_conservation};
use crate::simulation::crowd::{Crowd, Ended};
use crate::simulation::site::{Backup, Process, Site};
use crate::simulation::wallet::{Wallet, ready};
use crate::simulation::{NEVER, lock};

/// What a unit costs, in base units.
pub(super) const PRICE: u128 = 1_000;

/// One server process and what it sells, for each protocol version.
pub(super) struct Shop {
    pub(super) process: Process,
    routes: [Route; 2],
    /// It has compared its records with the chain since it was started.
    pub(super) has_looked: bool,
}

/// A channel of one of the payers.
pub(super) struct Channel {
    pub(super) terms: ChannelTerms,
    pub(super) id: ChannelId,
    pub(super) payer: usize,
    pub(super) salt: u8,
    pub(super) deposit: u128,
    /// The newest transaction that opens it.
    pub(super) opening: Bytes,
    /// The highest voucher that its payer has signed.
    pub(super) signed: u128,
}

/// A request that may be served.
pub(super) struct Serving {
    pub(super) grant: Grant,
    pub(super) asked: Asked,
}

/// A stream that is read.
pub(super) struct Streaming {
    pub(super) stream: MeteredStream,
    pub(super) asked: Asked,
}

pub(super) struct World {
    head: [u8; 4],
    pub(super) site: Site,
    pub(super) shops: Vec<Shop>,
    pub(super) payers: [Wallet; 2],
    pub(super) payee: Wallet,
    pub(super) channels: Vec<Channel>,
    pub(super) serving: VecDeque<Serving>,
    pub(super) streaming: Option<Streaming>,
    pub(super) crowd: Crowd<Done>,
    /// The last credential that was sent, to be sent again.
    pub(super) last: Option<Asked>,
    /// What was stored at some time.
    backup: Option<Backup>,
    /// What the chain had paid out when a backup was put back.
    pub(super) paid: HashMap<ChannelId, u128>,
    /// Receipts of idempotent requests, as they were first given.
    pub(super) receipts: HashMap<(ChannelId, u8), SessionReceipt>,
}

impl World {
    pub(super) fn new(head: [u8; 4]) -> Self {
        let site = Site::new();
        let mut world = Self {
            head,
            shops: Vec::new(),
            payers: [1, 2].map(|account| Wallet::new(&site.node, account)),
            payee: Wallet::new(&site.node, 0),
            channels: Vec::new(),
            serving: VecDeque::new(),
            streaming: None,
            crowd: Crowd::new(),
            last: None,
            backup: None,
            paid: HashMap::new(),
            receipts: HashMap::new(),
            site,
        };
        world.shops = (0..2).map(|_| world.start()).collect();
        world
    }

    /// Starts a server, configured as the head of the story says.
    fn start(&self) -> Shop {
        let [_, policy, sponsors, _] = self.head;
        let finality = self.finality();
        let mut follow = FollowPolicy::default();
        follow.finality_depth = finality;
        follow.unfinal_cap = Amount::new(2 * PRICE);
        follow.unseen_cap = Amount::new(4 * PRICE);
        let mut settlement = SettlePolicy {
            finality,
            every: NEVER,
            ..SettlePolicy::on_demand()
        };
        if policy & 1 != 0 {
            settlement.channel_amount = Some(Amount::new(3 * PRICE));
        }
        if policy & 2 != 0 {
            settlement.idle_close = Some(Duration::from_secs(300));
        }
        if policy & 4 != 0 {
            settlement.batch = 1;
        }
        let process = self.site.start(follow, settlement);
        let routes = BOTH.map(|protocol| {
            let offer = process.server.session().amount("0.001").protocol(protocol);
            let offer = match sponsors & 1 {
                0 => offer,
                _ => offer.fee_payer(),
            };
            Route::new("/unit", [offer.build().unwrap()]).unwrap()
        });
        Shop {
            process,
            routes,
            has_looked: false,
        }
    }

    /// So many blocks must follow before something is final.
    pub(super) fn finality(&self) -> u64 {
        (self.head[0] % 3).into()
    }

    /// The process dies and another takes its place.
    pub(super) fn restart(&mut self, shop: usize) {
        self.shops[shop].process.life.end_after(0);
        self.crowd.forget(shop);
        self.serving.retain(|serving| serving.asked.shop != shop);
        let of_shop = |streaming: &Streaming| streaming.asked.shop == shop;
        if self.streaming.as_ref().is_some_and(of_shop) {
            self.streaming = None;
        }
        self.shops[shop] = self.start();
    }

    pub(super) fn back_up(&mut self) {
        self.backup = Some(self.site.backup());
    }

    /// SECURITY-CASES A28: both servers find an old backup in place of their
    /// store.
    pub(super) fn restore(&mut self) {
        let Some(backup) = self.backup.take() else {
            return;
        };
        self.site.restore(&backup);
        for shop in 0..self.shops.len() {
            self.restart(shop);
        }
        self.receipts.clear();
        let paid = self.channels.iter().filter_map(|channel| {
            let there = self.site.node.channel(channel.terms.protocol, channel.id)?;
            Some((channel.id, there.settled.base_units()))
        });
        self.paid = paid.collect();
        self.backup = Some(backup);
    }

    pub(super) fn reorg(&mut self, depth: u8, fate: u8) {
        self.site.reorg(depth, fate);
        // What was paid out may have been taken back.
        self.paid.clear();
    }

    pub(super) fn route(&self, shop: usize, protocol: SessionProtocol) -> &Route {
        let [v1, v2] = &self.shops[shop].routes;
        match protocol {
            SessionProtocol::V1 => v1,
            SessionProtocol::V2 => v2,
        }
    }

    pub(super) fn record(&self, id: ChannelId) -> Option<ChannelRecord> {
        let found = ready(self.site.truth.load(id)).unwrap();
        found.map(|found| Arc::unwrap_or_clone(found.record))
    }

    pub(super) fn check(&self) {
        self.site.look();
        let channels: Vec<_> = self
            .channels
            .iter()
            .map(|channel| (channel.terms.protocol, channel.id))
            .collect();
        check_conservation(&self.site.node, &channels);
        lock(&self.site.audit).require_clean();
        self.site.check_sponsor();
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
