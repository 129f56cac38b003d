//! HTTP/1.1 for tests: one task per connection, every request handed to a function.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use mpp_core::{Credential, header};
use mpp_tempo::wire::SessionPayload;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A request as the server has read it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) connection: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The payment credential, wherever it stands.
    pub(crate) fn credential(&self) -> Option<Credential> {
        let fields = ["authorization", "payment-authorization"];
        let values = self
            .headers
            .iter()
            .filter(|(name, _)| fields.contains(&name.as_str()))
            .map(|(_, value)| value.as_str());
        let token = header::credential::find(values).unwrap()?;
        Some(header::credential::parse(token).unwrap())
    }

    pub(crate) fn payload(&self) -> Option<SessionPayload> {
        let credential = self.credential()?;
        Some(SessionPayload::from_value(&credential.payload).unwrap())
    }
}

/// What the server does with a request.
pub(crate) enum Reply {
    /// Answers with a body of known length.
    Full(Head, Vec<u8>),
    /// Answers with a body that comes in pieces until the sender is dropped.
    Pieces(Head, mpsc::Receiver<Vec<u8>>),
    /// Answers, and breaks off in the middle of the body.
    BreakOff(Head),
    /// Closes the connection without an answer.
    HangUp,
}

pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Head {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// A running server; it stops when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    _tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Server {
    pub(crate) async fn start(handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let connections = Arc::downgrade(&tasks);
        tasks.lock().unwrap().spawn(async move {
            for number in 0_usize.. {
                let (stream, _) = listener.accept().await.unwrap();
                let Some(tasks) = connections.upgrade() else {
                    return;
                };
                let serving = serve(stream, number, handler.clone());
                tasks.lock().unwrap().spawn(serving);
            }
        });
        Self { url, _tasks: tasks }
    }
}

async fn serve(stream: TcpStream, connection: usize, handler: Handler) {
    stream.set_nodelay(true).unwrap();
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(request) = read_request(&mut read, connection).await {
        let is_head = request.method == "HEAD";
        let sent = match handler(request).await {
            Reply::Full(head, body) => write_full(&mut write, &head, &body, is_head).await,
            Reply::Pieces(head, pieces) => write_pieces(&mut write, &head, pieces).await,
            Reply::BreakOff(head) => {
                let text = render(&head, "content-length: 1000000");
                let _broken = write.write_all(text.as_bytes()).await;
                return;
            }
            Reply::HangUp => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn read_request(
    read: &mut (impl AsyncBufReadExt + Unpin),
    connection: usize,
) -> Option<Request> {
    let mut line = String::new();
    if read.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers = Vec::new();
    loop {
        line.clear();
        read.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v);
    let mut body = Vec::new();
    if let Some(length) = find("content-length") {
        body.resize(length.parse().ok()?, 0);
        read.read_exact(&mut body).await.ok()?;
    } else if find("transfer-encoding").is_some() {
        body = read_chunks(read).await?;
    }
    Some(Request {
        connection,
        method,
        path,
        query,
        headers,
        body,
    })
}

async fn read_chunks(read: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        read.read_line(&mut line).await.ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length];
        read.read_exact(&mut chunk).await.ok()?;
        read.read_line(&mut line).await.ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend(chunk);
    }
}

fn render(head: &Head, framing: &str) -> String {
    let mut text = format!("HTTP/1.1 {} X\r\n{framing}\r\n", head.status);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text
}

async fn write_full(
    write: &mut (impl AsyncWriteExt + Unpin),
    head: &Head,
    body: &[u8],
    is_head: bool,
) -> std::io::Result<()> {
    let framing = if head.status == 204 {
        "x-framing: none".to_owned()
    } else {
        format!("content-length: {}", body.len())
    };
    let mut bytes = render(head, &framing).into_bytes();
    if !is_head && head.status != 204 {
        bytes.extend_from_slice(body);
    }
    write.write_all(&bytes).await
}

async fn write_pieces(
    write: &mut (impl AsyncWriteExt + Unpin),
    head: &Head,
    mut pieces: mpsc::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    let text = render(head, "transfer-encoding: chunked");
    write.write_all(text.as_bytes()).await?;
    while let Some(piece) = pieces.recv().await {
        let size = format!("{:x}\r\n", piece.len());
        write.write_all(size.as_bytes()).await?;
        write.write_all(&piece).await?;
        write.write_all(b"\r\n").await?;
    }
    write.write_all(b"0\r\n\r\n").await
}
