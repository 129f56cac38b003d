//! Lives of charges on two servers: every byte string is a story.
//!
//! As in `session_machine`, after a head of four bytes each step takes four.

mod ending;
mod request;
mod steps;
mod world;

use self::world::World;

/// Steps of one run.
const MAX_STEPS: usize = 96;

/// Checks one story.
pub fn check(data: &[u8]) {
    let Some((head, story)) = data.split_first_chunk::<4>() else {
        return;
    };
    let (steps, _) = story.as_chunks::<4>();
    if steps.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(*head);
        for step in steps.iter().take(MAX_STEPS) {
            world.happen(*step).await;
            world.check();
        }
        world.end().await;
    });
}
