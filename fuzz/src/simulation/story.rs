//! Every byte string is a story: a head, and steps of four bytes each.

/// Steps of one run.
const MAX_STEPS: usize = 96;

/// A world in which a story happens.
pub(crate) trait World {
    /// Takes one step.
    async fn happen(&mut self, step: [u8; 4]);

    /// Panics when a rule is broken.
    fn check(&self);

    /// Lets what failed be mended, and then everything has to agree.
    async fn end(&mut self);
}

/// Plays one story, and checks all rules after every step.
pub(crate) fn play<W: World>(data: &[u8], begin: impl FnOnce([u8; 4]) -> W) {
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
        let mut world = begin(*head);
        for step in steps.iter().take(MAX_STEPS) {
            world.happen(*step).await;
            world.check();
        }
        world.end().await;
    });
}
