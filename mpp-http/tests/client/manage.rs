//! Sessions: topping up and closing.

use mpp_client::{ClientError, Phase};
use mpp_core::{Problem, ProblemKind};
use mpp_tempo::SessionProtocol;

use crate::shop::{PRICE, Shop, does, units};
use crate::wire::Reply;

// `session.close()` returns the receipt with the settlement hash.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_lazy_and_ends_with_its_settlement() {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let shop = Shop::of(protocol).await;
        let client = shop.client();
        let session = client.session(shop.at("/")).unwrap();
        assert_eq!(session.state().unwrap(), None);
        assert!(shop.log().is_empty());
        let nothing = session.close().await;
        assert!(matches!(nothing, Err(ClientError::Misuse(_))));
        session.get("/a").send().await.unwrap();
        session.get("b").send().await.unwrap();
        let state = session.state().unwrap().unwrap();
        assert_eq!(state.deposit, units(10_000));
        assert_eq!(state.signed, units(2 * PRICE));
        assert_eq!(state.spent, units(2 * PRICE));
        let receipt = session.close().await.unwrap();
        assert_eq!(receipt.tx_hash, Some(format!("0x{}", "cc".repeat(32))));
        assert_eq!(shop.story().last().unwrap(), "HEAD close");
        let phase = &client.channels().unwrap()[0].phase;
        // The chain here shows no end of it.
        assert!(matches!(phase, Phase::CloseConfirmed { tx_hash: Some(_) }));
        // The next request opens another channel.
        session.get("/a").send().await.unwrap();
        assert_eq!(client.channels().unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_topped_up_deliberately() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/a")).unwrap();
    session.get("/a").send().await.unwrap();
    let receipt = session.top_up(units(5_000)).await.unwrap();
    assert_eq!(receipt.spent, units(PRICE));
    assert_eq!(session.state().unwrap().unwrap().deposit, units(15_000));
    assert_eq!(shop.only().deposit, units(15_000));
    let too_much = session.top_up(units(90_000)).await;
    assert!(matches!(too_much, Err(ClientError::Policy(_))));
}

// PROTOCOL 5.5: HEAD, and an empty POST where HEAD is not known. A POST with the query would order
// content, so the query stays away.
#[tokio::test(flavor = "multi_thread")]
async fn where_head_is_unknown_an_empty_post_manages() {
    let shop = Shop::open().await;
    shop.change(|m| m.head = false);
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    session.get("/a?size=large").send().await.unwrap();
    session.top_up(units(1_000)).await.unwrap();
    session.close().await.unwrap();
    let expected = [
        "GET",
        "GET open",
        "HEAD topUp",
        "POST topUp",
        "HEAD close",
        "POST close",
    ];
    assert_eq!(shop.story(), expected);
    for request in shop.log().iter().filter(|request| request.method == "POST") {
        assert_eq!(request.path, "/a");
        assert_eq!(request.query, None);
        assert_eq!(request.header("content-length"), Some("0"));
    }
    // Neither was charged.
    assert_eq!(shop.only().spent, units(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn management_renews_its_challenge_once() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/a")).unwrap();
    session.get("/a").send().await.unwrap();
    shop.trick(does("topUp"), |shop, _| async move {
        shop.refuse(Problem::new(ProblemKind::ChallengeNotFound, "again"))
    });
    session.top_up(units(1_000)).await.unwrap();
    let top_ups: Vec<_> = shop.log().iter().filter_map(|r| r.payload()).collect();
    assert_eq!(top_ups[1], top_ups[2]);
    assert_eq!(shop.only().deposit, units(11_000));
}

// SECURITY-CASES: a committed top-up lost because a later step failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_top_up_is_repeated_and_counted_once() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/a")).unwrap();
    session.get("/a").send().await.unwrap();
    // Once: repeated at once, with the same transaction.
    shop.lose_answer(does("topUp"));
    session.top_up(units(1_000)).await.unwrap();
    assert_eq!(shop.only().deposit, units(11_000));
    // Twice: reported, and found out by the next one.
    shop.lose_answer(does("topUp"));
    shop.trick(does("topUp"), |_, _| async { Reply::HangUp });
    let lost = session.top_up(units(1_000)).await;
    assert!(matches!(
        lost,
        Err(ClientError::Indeterminate {
            tx_hash: Some(_),
            ..
        })
    ));
    session.top_up(units(500)).await.unwrap();
    assert_eq!(shop.only().deposit, units(12_500));
    assert_eq!(session.state().unwrap().unwrap().deposit, units(12_500));
}

// PROTOCOL 5.4: the problem names the amount that a v1 close needs.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_follows_the_amount_that_the_server_names() {
    let shop = Shop::of(SessionProtocol::V1).await;
    let client = shop.client();
    let session = client.session(shop.at("/a")).unwrap();
    session.get("/a").send().await.unwrap();
    // Charged, but the client has not heard of it.
    shop.lose_answer(does("voucher"));
    assert!(session.get("/a").send().await.is_err());
    let receipt = session.close().await.unwrap();
    assert_eq!(receipt.spent, units(2 * PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_close_is_repeated() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/a")).unwrap();
    session.get("/a").send().await.unwrap();
    for _ in 0..2 {
        shop.trick(does("close"), |_, _| async { Reply::HangUp });
    }
    let lost = session.close().await;
    assert!(matches!(lost, Err(ClientError::Indeterminate { .. })));
    assert_eq!(client.channels().unwrap()[0].phase, Phase::Closing);
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_leaves_without_the_server() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/a")).unwrap();
    session.get("/a").send().await.unwrap();
    session.request_close().await.unwrap();
    let early = session.withdraw().await;
    assert!(matches!(early, Err(ClientError::Misuse(_))));
    shop.chain.advance_time(std::time::Duration::from_secs(901));
    shop.chain.mine();
    assert!(session.withdraw().await.unwrap().is_some());
}
