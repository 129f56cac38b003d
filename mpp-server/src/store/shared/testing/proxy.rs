//! A way to a server that loses answers on demand.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::tasks::Tasks;

/// Passes bytes on, both ways.
pub(in crate::store) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    _running: tokio_util::sync::DropGuard,
}

#[derive(Default)]
struct State {
    lose: AtomicBool,
    lost: AtomicU64,
    /// So many answers still come through, and then nothing moves any more.
    until_frozen: Mutex<Option<u64>>,
}

impl State {
    fn is_frozen(&self) -> bool {
        *self.until_frozen.lock().unwrap() == Some(0)
    }

    fn has_answered(&self) {
        if let Some(left) = self.until_frozen.lock().unwrap().as_mut() {
            *left = left.saturating_sub(1);
        }
    }
}

impl Proxy {
    /// A proxy before `server`, on a port of its own.
    pub(in crate::store) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, tasks) = (Arc::new(State::default()), Tasks::default());
        let (shared, connections) = (Arc::clone(&state), tasks.clone());
        tasks.start(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.start(async move {
                    // Either side may end it at any time.
                    drop(pass(client, server, &state).await);
                });
            }
        });
        Self {
            address,
            state,
            _running: tasks.stop_on_drop(),
        }
    }

    pub(in crate::store) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server does what it is asked next, but its answer is lost, and
    /// the connection with it.
    pub(in crate::store) fn lose_the_next_answer(&self) {
        self.state.lose.store(true, Ordering::SeqCst);
    }

    /// After so many more answers the client is as good as gone, and no
    /// connection ends.
    pub(in crate::store) fn freeze_after(&self, answers: u64) {
        *self.state.until_frozen.lock().unwrap() = Some(answers);
    }

    /// How many answers were lost.
    pub(in crate::store) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, state: &State) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut asks, mut answers) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        if state.is_frozen() {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            read = client.read(&mut asks) => match read? {
                0 => return Ok(()),
                read => server.write_all(&asks[..read]).await?,
            },
            read = server.read(&mut answers) => match read? {
                0 => return Ok(()),
                _ if state.lose.swap(false, Ordering::SeqCst) => {
                    state.lost.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                read => {
                    client.write_all(&answers[..read]).await?;
                    state.has_answered();
                }
            },
        }
    }
}
