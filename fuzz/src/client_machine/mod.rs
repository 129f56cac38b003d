//! Lives of a client: every byte string is a story.
//!
//! The client is the real one: payer, book, policy and exchange. Its server is
//! a real one, too, but what that says may be changed on the way, get lost or
//! never have been sent, and the client may end at any time and begin again
//! with its book.

mod ending;
mod lies;
mod steps;
mod wire;
mod world;

use self::world::World;
use crate::simulation::story;

/// Checks one story.
pub fn check(data: &[u8]) {
    story::play(data, World::new);
}

impl story::World for World {
    async fn happen(&mut self, step: [u8; 4]) {
        World::happen(self, step).await;
    }

    fn check(&self) {
        World::check(self);
    }

    async fn end(&mut self) {
        World::end(self).await;
    }
}
