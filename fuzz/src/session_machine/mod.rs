//! Lives of session channels on two servers: every byte string is a story.
//!
//! After every step, and at every commit between, what was promised must hold;
//! in the end everything that failed is mended, and the books of servers and
//! chain must come to agree.

mod ending;
mod request;
mod steps;
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
