//! The end of a story: what was paid is served, once.

use mpp_server::charge::record::{ChargeRecord, ChargeState};

use super::world::World;
use crate::simulation::lock;

impl World {
    /// SECURITY-CASES A34: every state in between converges.
    pub(super) async fn end(&mut self) {
        while !self.crowd.is_empty() {
            self.finish_first().await;
            self.check();
        }
        self.serving.clear();
        self.site.mend();
        for shop in 0..self.shops.len() {
            self.restart(shop);
            let server = self.shops[shop].process.server.clone();
            server.ready().await.expect("nothing fails any more");
        }
        // Leases and transactions end.
        self.site.pass(60);
        self.site.node.mine();
        for place in 0..self.asked.len() {
            self.is_served(place).await;
            self.check();
        }
    }

    /// A charge that the server knows and the chain shows is served if it was
    /// not yet, whichever server is asked.
    async fn is_served(&mut self, place: usize) {
        let mut asked = self.asked[place].clone();
        asked.shop = place % 2;
        let server = self.shops[asked.shop].process.server.clone();
        let known = server.charge_of(&asked.challenge.id).await;
        let known = known.expect("nothing fails any more");
        let was_served = lock(&self.site.audit).cash.was_served(&asked.challenge.id);
        let mine = asked.transaction.as_ref().map(|tx| tx.replay_id());
        let is_mine = known.as_ref().is_some_and(|known| {
            let hash = asked.transaction.as_ref().map(|tx| tx.hash());
            known.payment.replay_id == mine || known.payment.hash == hash
        });
        // Another charge may have answered the request under its key.
        if known.as_ref().is_some_and(|known| known.asked.is_none()) {
            asked.key = None;
        }
        self.send(asked.clone(), None).await;
        let granted = self.serving.len();
        let Some(known) = known.filter(|_| is_mine) else {
            return self.serving.clear();
        };
        match known.state {
            ChargeState::Served { .. } => assert_eq!(granted, 0, "served again: {known:#?}"),
            ChargeState::Paid | ChargeState::Serving { .. } => {
                assert!(!was_served, "served and not noted: {known:#?}");
                assert_eq!(granted, 1, "paid and not served: {known:#?}");
            }
            ChargeState::Claimed { .. } | ChargeState::Sent { .. } | ChargeState::Released => {
                let after = server.charge_of(&asked.challenge.id).await.unwrap();
                // A claim that has lapsed and was never sent is as good as none.
                let is_sent =
                    |after: &ChargeRecord| matches!(after.state, ChargeState::Sent { .. });
                let is_open = after.as_ref().is_some_and(is_sent);
                assert!(!is_open, "it is still under way: {after:#?}");
            }
        }
        if granted > 0 {
            self.capture(0, 0).await;
        }
        self.serving.clear();
    }
}
