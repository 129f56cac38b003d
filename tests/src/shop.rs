//! Routes to sell, and a socket whose router can be exchanged.

use std::{
    future::IntoFuture as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderMap, StatusCode};
use mpp_http::server::{Metered, Paid, PaidSession, PaymentLayer};
use mpp_server::{Offer, PaymentServer, Route};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::ServiceExt as _;

/// Words of the streams that [`words`] sells.
pub(crate) const WORDS: u64 = 20;

/// A paid route at `path`, whose scope is the path.
pub(crate) fn sell(
    server: &PaymentServer,
    path: &str,
    offers: impl IntoIterator<Item = Offer>,
    handler: MethodRouter,
) -> Router {
    let route = Route::new(path, offers).unwrap();
    let pay = PaymentLayer::new(server.clone(), route);
    Router::new().route(path, handler.layer(pay))
}

/// What a handler has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visits(Arc<Mutex<Vec<HeaderMap>>>);

impl Visits {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The headers of the last request that reached the handler.
    pub(crate) fn last(&self) -> HeaderMap {
        self.0.lock().unwrap().last().cloned().unwrap()
    }

    pub(crate) fn note(&self, headers: HeaderMap) {
        self.0.lock().unwrap().push(headers);
    }
}

/// A handler for `GET` that answers "a photo" and tells who came.
pub(crate) fn photo(visits: &Visits) -> MethodRouter {
    let visits = visits.clone();
    get(move |_: Paid, headers: HeaderMap| async move {
        visits.note(headers);
        "a photo"
    })
}

/// A handler for any method, as [`photo`].
pub(crate) fn anything(visits: &Visits) -> MethodRouter {
    let visits = visits.clone();
    axum::routing::any(move |_: Paid, headers: HeaderMap| async move {
        visits.note(headers);
        "a photo"
    })
}

/// A handler that always answers with this.
pub(crate) fn answer(make: fn() -> Response) -> MethodRouter {
    get(move |_: Paid| async move { make() })
}

/// A free title, then [`WORDS`] paid words.
pub(crate) async fn words(session: PaidSession) -> Metered {
    session.stream(|mut stream| async move {
        stream.send("title").await;
        for number in 1..=WORDS {
            stream.charge().await?;
            stream.send(format!("word{number}")).await;
        }
        Ok(())
    })
}

/// A socket on loopback. What it serves can be exchanged, as by a restart.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Without a slash at the end.
    pub(crate) url: String,
    app: Arc<Mutex<Router>>,
    requests: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Socket {
    pub(crate) async fn open() -> Self {
        let app = Arc::new(Mutex::new(Router::new()));
        let requests = Arc::new(AtomicU32::new(0));
        let (current, counter) = (Arc::clone(&app), Arc::clone(&requests));
        let entry = Router::new().fallback(move |request: Request| {
            counter.fetch_add(1, Ordering::SeqCst);
            let app = current.lock().unwrap().clone();
            async move {
                let answer = app.oneshot(request).await;
                answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = axum::serve(listener, entry).into_future();
        #[expect(
            clippy::disallowed_methods,
            reason = "the socket owns and ends this task"
        )]
        let task = tokio::spawn(async move { serve.await.unwrap() });
        Self {
            url,
            app,
            requests,
            task,
        }
    }

    /// Serves this from now on.
    pub(crate) fn serve(&self, app: Router) {
        *self.app.lock().unwrap() = app;
    }

    /// Requests so far, of any kind.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}
