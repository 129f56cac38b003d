//! What the servers are doing at once, and in which order it goes on.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use super::life::{Life, step};
use super::site::Site;

/// Requests that are under way at once.
const MAX_RUNNING: usize = 6;

/// So often something is polled alone.
const PATIENCE: u8 = 100;

/// Seconds between blocks, for whoever waits for them.
const BLOCK_TIME: u32 = 5;

/// Nothing takes longer.
const MAX_BLOCKS: usize = 1_000;

/// What has come of it, and in which process; `None`: that has died.
pub(crate) type Ended<T> = Vec<(usize, Option<T>)>;

/// Everything that is half way.
pub(crate) struct Crowd<T>(VecDeque<Running<T>>);

impl<T> Crowd<T> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nobody answers for a process that is gone.
    pub(crate) fn forget(&mut self, process: usize) {
        self.0.retain(|running| running.process != process);
    }

    /// Nobody waits for this one any more: it is dropped where it is.
    pub(crate) fn forget_one(&mut self, which: u8) {
        let which = usize::from(which).checked_rem(self.0.len());
        drop(which.and_then(|which| self.0.remove(which)));
    }

    /// Lets a process work: to the end, or so many polls for now.
    pub(crate) async fn run(
        &mut self,
        site: &Site,
        (process, life): (usize, Life),
        work: impl Future<Output = T> + 'static,
        polls: Option<u8>,
    ) -> Ended<T> {
        let running = Running::new(process, life, work);
        match polls.filter(|_| self.0.len() < MAX_RUNNING) {
            Some(polls) => self.poll(running, polls).await,
            None => running.finish(&mut self.0, site).await,
        }
    }

    /// Lets something that is half way go on.
    pub(crate) async fn go_on(&mut self, which: u8, polls: u8) -> Ended<T> {
        let which = usize::from(which).checked_rem(self.0.len());
        match which.and_then(|which| self.0.remove(which)) {
            Some(running) => self.poll(running, polls).await,
            None => Vec::new(),
        }
    }

    /// Lets what began first go on to its end.
    pub(crate) async fn finish_first(&mut self, site: &Site) -> Ended<T> {
        match self.0.pop_front() {
            Some(running) => running.finish(&mut self.0, site).await,
            None => Vec::new(),
        }
    }

    async fn poll(&mut self, running: Running<T>, polls: u8) -> Ended<T> {
        let process = running.process;
        match running.poll(polls).await {
            Ok(done) => vec![(process, done)],
            Err(running) => {
                self.0.push_back(running);
                Vec::new()
            }
        }
    }
}

/// Something that a server is doing for somebody.
struct Running<T> {
    process: usize,
    work: std::pin::Pin<Box<dyn Future<Output = Option<T>>>>,
}

impl<T> Running<T> {
    /// Work of a process; `None` comes of it when that dies.
    fn new(process: usize, life: Life, work: impl Future<Output = T> + 'static) -> Self {
        let work = Box::pin(async move {
            tokio::select! {
                biased;
                () = life.over() => None,
                done = work => Some(done),
            }
        });
        Self { process, work }
    }

    /// Polls so often, with everything else in between; `Err` if it goes on.
    async fn poll(mut self, polls: u8) -> Result<Option<T>, Self> {
        for _ in 0..polls {
            let work = &mut self.work;
            let poll = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
            if let Poll::Ready(done) = poll.await {
                return Ok(done);
            }
            step().await;
        }
        Err(self)
    }

    /// Works to the end. What waits for others that are half way, such as for a
    /// lock, lets them go on; those that end thereby are returned, too. What
    /// waits for blocks gets them.
    async fn finish(self, others: &mut VecDeque<Self>, site: &Site) -> Ended<T> {
        let process = self.process;
        let mut running = match self.poll(PATIENCE).await {
            Ok(done) => return vec![(process, done)],
            Err(running) => running,
        };
        let mut ended = Vec::new();
        let mut working = std::future::poll_fn(|context| {
            if let Poll::Ready(done) = running.work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            let mut place = 0;
            while let Some(other) = others.get_mut(place) {
                match other.work.as_mut().poll(context) {
                    Poll::Ready(done) => ended.push((other.process, done)),
                    Poll::Pending => {
                        place += 1;
                        continue;
                    }
                }
                drop(others.remove(place));
            }
            Poll::Pending
        });
        let pause = Duration::from_secs(BLOCK_TIME.into());
        for _ in 0..MAX_BLOCKS {
            match tokio::time::timeout(pause, &mut working).await {
                Ok(done) => {
                    ended.push((process, done));
                    return ended;
                }
                Err(_) => site.pass(BLOCK_TIME),
            }
        }
        panic!("it never ends");
    }
}

/// How long a server may work now: to the end, or a few polls.
pub(crate) fn patience(how: u8) -> Option<u8> {
    (how & 0x80 != 0).then_some((how >> 2) & 0x1f)
}
