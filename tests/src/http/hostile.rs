//! Requests that lie about where they go (SECURITY-CASES A5).

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, photo, sell},
    wallet::{Ask, authorization, challenge_of},
};

// PROTOCOL 1.1: the realm comes from configuration, never from a request.
#[tokio::test]
async fn host_and_forwarding_headers_change_nothing() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&visits));
    let honest = challenge_of(&app, "/photo").await;
    assert_eq!(honest.realm.as_str(), "shop.example");
    let wallet = pair.wallet();
    let opened = wallet
        .open_under(&app, "/photo", honest.clone(), PRICE)
        .await;
    let lies = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "gopher"),
        ("x-original-url", "/free"),
        ("x-rewrite-url", "/free"),
        ("x-http-method-override", "HEAD"),
        ("forwarded", "host=evil.example;proto=http"),
    ];
    for (number, (name, value)) in (1..).zip(lies) {
        // The clock stands still, so the very same challenge is issued.
        let answer = Ask::get("/photo").header(name, value).send(&app).await;
        assert_eq!(answer.challenges(), std::slice::from_ref(&honest), "{name}");
        // And the credential is as good as without the lie, no better.
        let payload = wallet.pay(&opened.terms, number * PRICE).await;
        let ask = Ask::get("/photo").header(name, value);
        let answer = ask.pay(&honest, &payload).send(&app).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.receipt().spent.base_units(), number * PRICE);
    }
}

/// Sends bytes as they are and reads the head of the answer.
async fn converse(url: &str, request: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn an_absolute_form_uri_changes_nothing() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&visits));
    pair.socket.serve(app.clone());
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/photo", PRICE).await;
    let lying = "GET http://evil.example/photo HTTP/1.1\r\nHost: evil.example\r\n\
        Connection: close\r\n";
    let answer = converse(&pair.socket.url, &format!("{lying}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 402 "), "{answer}");
    assert!(answer.contains(&format!("id=\"{}\"", opened.challenge.id)));
    assert!(answer.contains("realm=\"shop.example\""));
    assert!(!answer.contains("evil"));

    let payload = wallet.pay(&opened.terms, PRICE).await;
    let value = authorization(&opened.challenge, &payload);
    let paid = format!("{lying}Authorization: {value}\r\n\r\n");
    let answer = converse(&pair.socket.url, &paid).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(visits.count(), 1);
}

// PROTOCOL 1: CR and LF never get into a header; here the whole way.
#[tokio::test]
async fn a_description_can_not_split_the_response() {
    let pair = Pair::new().await;
    for text in [
        "a\r\nSet-Cookie: x=1",
        "a\nb",
        "\"quoted\" \\ caf\u{e9} \u{1f600}",
    ] {
        let offer = pair.offer(BOTH[1]).description(text).build();
        let Ok(offer) = offer else {
            continue;
        };
        let app = sell(&pair.server, "/photo", [offer], photo(&Visits::default()));
        let answer = Ask::get("/photo").send(&app).await;
        assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
        assert!(!answer.headers.contains_key("set-cookie"));
        assert_eq!(answer.challenges().len(), 1, "{text:?}");
    }
}
