//! A way to a server that breaks at random.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A cut comes after no more than so many bytes of answers: about a dozen photos.
const ANSWERS: u64 = 32_000;
/// Or after no more than so many bytes of requests: about eight.
const ASKS: u64 = 12_000;

/// Passes bytes on, both ways, for a while.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Where it listens, without a slash at the end.
    pub(super) url: String,
    cuts: Arc<AtomicU64>,
    _running: JoinSet<()>,
}

/// How a connection will end.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Bytes of requests that get through.
    asks: u64,
    /// Bytes of answers that get through.
    answers: u64,
    /// What of the last piece gets through.
    last: Last,
}

#[derive(Clone, Copy, Debug)]
enum Last {
    /// Nothing: the server has done its work, and nobody hears of it.
    Nothing,
    /// The beginning.
    Beginning,
}

impl Proxy {
    /// Listens on a port of its own, for as long as it is kept.
    pub(super) async fn start(server: SocketAddr, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let cuts = Arc::new(AtomicU64::new(0));
        let mut running = JoinSet::new();
        running.spawn(accept(listener, server, seed, Arc::clone(&cuts)));
        Ok(Self {
            url,
            cuts,
            _running: running,
        })
    }

    /// How many connections it has cut.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, seed: u64, cuts: Arc<AtomicU64>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let fate = Fate::draw(&mut random);
        let cuts = Arc::clone(&cuts);
        connections.spawn(async move {
            // Either side may also end it by itself.
            if let Ok(End::Cut) = pass(client, server, fate).await {
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// How a connection has ended.
enum End {
    Cut,
    Closed,
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut fate: Fate) -> std::io::Result<End> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asks, mut answers) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let (bytes, to, left) = tokio::select! {
            read = client.read(&mut asks) => (asks.get(..read?), &mut server, &mut fate.asks),
            read = server.read(&mut answers) => {
                (answers.get(..read?), &mut client, &mut fate.answers)
            }
        };
        let bytes = bytes.unwrap_or_default();
        if bytes.is_empty() {
            return Ok(End::Closed);
        }
        let length = bytes.len() as u64;
        if length > *left {
            if let Last::Beginning = fate.last {
                let part = usize::try_from(*left).unwrap_or(0);
                to.write_all(bytes.get(..part).unwrap_or_default()).await?;
            }
            return Ok(End::Cut);
        }
        *left = left.saturating_sub(length);
        to.write_all(bytes).await?;
    }
}

impl Fate {
    fn draw(random: &mut impl Rng) -> Self {
        let in_a_request = random.random_ratio(1, 3);
        let (asks, answers) = match in_a_request {
            true => (random.random_range(0..=ASKS), u64::MAX),
            false => (u64::MAX, random.random_range(0..=ANSWERS)),
        };
        let last = match random.random_ratio(1, 2) {
            true => Last::Beginning,
            false => Last::Nothing,
        };
        Self {
            asks,
            answers,
            last,
        }
    }
}
