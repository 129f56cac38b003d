//! A client, its server, and what is under way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use mpp_client::session::book::{ChannelBook as _, MemoryBook};
use mpp_client::{Clock, Origin, Payer, Policy, Site as Place};
use mpp_core::{Amount, Timestamp};
use mpp_server::{FollowPolicy, Route, SettlePolicy};
use mpp_tempo::SessionProtocol;

use super::lies::Fate;
use super::wire::{Line, Seen};
use crate::simulation::books::check_conservation;
use crate::simulation::chain::Chain;
use crate::simulation::clock::Steered;
use crate::simulation::crowd::{Crowd, Ended};
use crate::simulation::life::Life;
use crate::simulation::site::{Process, Site};
use crate::simulation::wallet::key;
use crate::simulation::{NEVER, lock};

/// What a unit costs, in base units.
pub(super) const PRICE: u128 = 1_000;

/// What the client pays for a unit at most.
pub(super) const MAX_PRICE: u128 = 2 * PRICE;

/// What it deposits in a channel at most.
pub(super) const MAX_DEPOSIT: u128 = 20 * PRICE;

/// Where what the client does is counted among the processes.
pub(super) const CLIENT: usize = 0;

/// The account that pays.
const ACCOUNT: usize = 1;

/// What the client has done.
pub(super) enum Done {
    /// A call has ended; whether it was paid for.
    Called(bool),
    Worked,
}

pub(super) struct World {
    head: [u8; 4],
    pub(super) site: Site,
    pub(super) server: Process,
    pub(super) route: Route,
    pub(super) payer: Payer,
    /// Of the client.
    life: Life,
    pub(super) book: Arc<MemoryBook>,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) crowd: Crowd<Done>,
    pub(super) calls: u64,
    /// What becomes of the messages of the next call.
    pub(super) fates: VecDeque<Fate>,
    /// Calls that were paid for.
    pub(super) paid: usize,
}

impl Clock for Steered {
    fn now(&self) -> Timestamp {
        mpp_server::clock::Clock::now(self)
    }
}

impl World {
    pub(super) fn new(head: [u8; 4]) -> Self {
        let site = Site::new();
        mpp_client::reproducible::seed(0);
        let book = Arc::new(MemoryBook::default());
        let life = Life::new();
        let (server, route) = start(&site, head);
        Self {
            head,
            server,
            route,
            payer: payer(&site, &life, &book),
            life,
            book,
            seen: Arc::default(),
            crowd: Crowd::new(),
            calls: 0,
            fates: VecDeque::new(),
            paid: 0,
            site,
        }
    }

    /// The server dies and another takes its place.
    pub(super) fn restart_server(&mut self) {
        self.server.life.end_after(0);
        (self.server, self.route) = start(&self.site, self.head);
    }

    /// The client dies and begins again with its book.
    pub(super) fn restart(&mut self) {
        self.life.end_after(0);
        self.crowd.forget(CLIENT);
        self.life = Life::new();
        self.payer = payer(&self.site, &self.life, &self.book);
    }

    pub(super) fn end_after(&self, halves: u8) {
        self.life.end_after(halves);
    }

    /// A call's way to the server.
    pub(super) fn line(&mut self, key: Option<String>) -> Line {
        self.calls += 1;
        Line {
            server: self.server.server.clone(),
            route: self.route.clone(),
            life: self.server.life.clone(),
            book: Arc::clone(&self.book),
            seen: Arc::clone(&self.seen),
            audit: Arc::clone(&self.site.audit),
            call: self.calls,
            key,
            fates: std::mem::take(&mut self.fates),
        }
    }

    /// Lets the client work: to the end, or so many polls for now.
    pub(super) async fn run(
        &mut self,
        work: impl Future<Output = Done> + 'static,
        polls: Option<u8>,
    ) {
        let process = (CLIENT, self.life.clone());
        let ended = self.crowd.run(&self.site, process, work, polls).await;
        self.ended(ended);
    }

    pub(super) fn ended(&mut self, ended: Ended<Done>) {
        for (_, done) in ended {
            self.site.look();
            match done {
                Some(Done::Called(paid)) => self.paid += usize::from(paid),
                Some(Done::Worked) => {}
                None => self.restart(),
            }
        }
    }

    pub(super) fn check(&self) {
        self.site.look();
        let audit = lock(&self.site.audit);
        audit.require_clean();
        let seen = lock(&self.seen);
        for (id, shown) in audit.books.all() {
            // Nothing that holds money is forgotten, and nothing is paid out
            // that was not signed.
            assert!(self.book.read(&id).is_ok(), "the book does not know {id}");
            assert!(
                shown.paid <= seen.highest(id),
                "{} was paid out of {id}, and {} signed",
                shown.paid,
                seen.highest(id)
            );
        }
        let channels: Vec<_> = audit.books.all().map(|(id, _)| (PROTOCOL, id)).collect();
        check_conservation(&self.site.node, &channels);
    }
}

pub(super) const PROTOCOL: SessionProtocol = SessionProtocol::V2;

fn start(site: &Site, [_, _, sponsors, _]: [u8; 4]) -> (Process, Route) {
    let settlement = SettlePolicy {
        every: NEVER,
        ..SettlePolicy::on_demand()
    };
    let process = site.start(FollowPolicy::default(), settlement);
    let offer = process.server.session().amount("0.001");
    let offer = offer.suggested_deposit("0.005");
    let offer = match sponsors & 1 {
        0 => offer,
        _ => offer.fee_payer(),
    };
    let route = Route::new("/unit", [offer.build().unwrap()]).unwrap();
    (process, route)
}

fn payer(site: &Site, life: &Life, book: &Arc<MemoryBook>) -> Payer {
    let chain = Chain {
        node: site.node.clone(),
        life: life.clone(),
        audit: Arc::clone(&site.audit),
    };
    let policy = Policy::new(Amount::new(MAX_DEPOSIT))
        .max_unit_price(Amount::new(MAX_PRICE))
        .resume(mpp_client::ResumePolicy::Never);
    Payer::builder()
        .signer(key(&site.node, ACCOUNT))
        .chain(chain)
        .policy(policy)
        .book(Arc::<MemoryBook>::clone(book))
        .clock(Arc::new(site.clock.clone()))
        .build()
        .unwrap()
}

/// Where the client buys.
pub(super) fn place() -> Place {
    Place {
        origin: Origin::process("shop").unwrap(),
        path: "/unit".to_owned(),
    }
}
