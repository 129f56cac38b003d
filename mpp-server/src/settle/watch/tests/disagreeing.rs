//! Several nodes behind one address, and a store that fails in between: nothing that
//! was seen once is lost.

use super::*;
use crate::testing::{Faltering, top_up_payload};

/// A world over a store that may fail.
async fn faltering() -> (World, Faltering) {
    let mut world = asked().await;
    let store = Faltering::new(world.store.clone());
    let builder = world.configure(world.store.clone()).store(store.clone());
    world.server = builder.watch_every(NEVER).build().unwrap();
    world.server.ready().await.unwrap();
    (world, store)
}

// SECURITY-CASES A34: the deposit is locked, and the first to hear of it failed.
#[tokio::test(start_paused = true)]
async fn a_top_up_that_could_not_be_noted_is_credited_by_the_follower() {
    for protocol in BOTH {
        let (world, store) = faltering().await;
        let (route, terms) = in_service(&world, protocol).await;
        let signed = world.sign_top_up(&terms, 5 * PRICE, paying()).await;
        let payload = top_up_payload(&terms, signed.encode(), 5 * PRICE);
        store.fail_next_commit();
        let decision = world.manage(&route, &payload).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        assert_eq!(world.record(terms.id()).await.deposit, amount(DEPOSIT));
        look(&world, 3).await;
        let deposit = world.record(terms.id()).await.deposit;
        assert_eq!(deposit, amount(DEPOSIT + 5 * PRICE));
    }
}
