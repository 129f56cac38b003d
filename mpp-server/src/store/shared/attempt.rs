//! Attempts that fail, and when another one is safe.

use std::{future::Future, time::Duration};

use super::{Author, Backoff, Insecure, Stamp, author};
use crate::store::{Commit, DocumentWrite, StoreFault, Version, Written};

/// A failed attempt.
#[derive(Debug)]
pub(in crate::store) struct Trouble {
    pub(in crate::store) fault: StoreFault,
    pub(in crate::store) fate: Fate,
}

/// What became of what was asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Fate {
    /// It did not happen and may be tried again.
    NotDone,
    /// It may have happened: trying again must not do it twice.
    Unknown,
    /// It did not happen, and trying again soon will not help.
    Refused,
}

impl Trouble {
    pub(in crate::store) fn new(fate: Fate, fault: StoreFault) -> Self {
        Self { fault, fate }
    }

    /// The server did not answer in time.
    pub(in crate::store) fn timeout() -> Self {
        let fault = StoreFault::transient("the store's server did not answer in time", None);
        Self::new(Fate::Unknown, fault)
    }

    /// No connection could be had in time, so that nothing was sent.
    #[cfg(feature = "redis")]
    pub(in crate::store) fn unreachable() -> Self {
        Self::timeout().before_sending()
    }

    /// A connection ended without a word.
    pub(in crate::store) fn closed() -> Self {
        let fault = StoreFault::transient("the connection to the store's server broke", None);
        Self::new(Fate::Unknown, fault)
    }

    /// The trouble of connecting, when nothing was sent yet.
    pub(in crate::store) fn connecting<E>(error: E) -> Self
    where
        E: std::error::Error + 'static,
        Self: From<E>,
    {
        match Insecure::found_in(&error) {
            Some(insecure) => insecure.into(),
            None => Self::from(error).before_sending(),
        }
    }

    fn before_sending(mut self) -> Self {
        if self.fate == Fate::Unknown {
            self.fate = Fate::NotDone;
        }
        self
    }
}

impl From<Trouble> for StoreFault {
    fn from(trouble: Trouble) -> Self {
        trouble.fault
    }
}

/// Somebody has to look at the server or at the configuration.
impl From<Insecure> for Trouble {
    fn from(insecure: Insecure) -> Self {
        StoreFault::from(insecure).into()
    }
}

/// Another attempt will not help.
impl From<StoreFault> for Trouble {
    fn from(fault: StoreFault) -> Self {
        Self::new(Fate::Refused, fault)
    }
}

/// Tries what may be repeated, until it succeeds or patience ends.
///
/// # Cancel safety
/// As one attempt.
pub(in crate::store) async fn persist<T, F>(
    patience: Duration,
    attempt: impl Fn() -> F,
) -> Result<T, StoreFault>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut backoff = Backoff::new(patience);
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(trouble) if trouble.fate == Fate::Refused => return Err(trouble.fault),
            Err(trouble) => {
                if !backoff.another().await {
                    return Err(trouble.fault);
                }
            }
        }
    }
}

/// Documents that are written together end as the one does that tells of them.
pub(in crate::store) fn together(commit: Commit) -> Written {
    match commit {
        Commit::Done(_) => Written::Done,
        Commit::Conflict => Written::Conflict,
    }
}

/// How one attempt at a commit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Attempt {
    /// The version was the expected one, and everything is written.
    Written,
    /// The version was another one, and nothing is written.
    Conflict,
}

/// A record's version, and the stamps of its last commits.
pub(in crate::store) type Stamped = (Version, Vec<u8>);

/// Tries a commit, so that it happens once and its fate is known.
///
/// Every attempt carries the same stamp. When one conflicts after an earlier
/// one whose answer was lost, `stamped` reads who made the version.
///
/// # Cancel safety
/// Dropped, the commit happens whole or not at all.
pub(in crate::store) async fn commit_once<A, S>(
    patience: Duration,
    expected: Option<Version>,
    stamp: Stamp,
    attempt: impl Fn() -> A,
    stamped: impl Fn() -> S,
) -> Result<Commit, StoreFault>
where
    A: Future<Output = Result<Attempt, Trouble>>,
    S: Future<Output = Result<Option<Stamped>, StoreFault>>,
{
    let before = expected.map_or(0, |version| version.0);
    let done = Commit::Done(Version(before.saturating_add(1)));
    let mut backoff = Backoff::new(patience);
    // Whether an earlier attempt may have happened.
    let mut uncertain = false;
    loop {
        match attempt().await {
            Ok(Attempt::Written) => return Ok(done),
            Ok(Attempt::Conflict) if uncertain => break,
            Ok(Attempt::Conflict) => return Ok(Commit::Conflict),
            Err(trouble) => {
                uncertain |= trouble.fate == Fate::Unknown;
                if trouble.fate == Fate::Refused || !backoff.another().await {
                    return Err(trouble.fault);
                }
            }
        }
    }
    let Some((version, stamps)) = stamped().await? else {
        return Ok(Commit::Conflict);
    };
    match author(stamp, expected, version, &stamps) {
        Author::Us => Ok(done),
        Author::Others => Ok(Commit::Conflict),
        Author::Unknown => Err(StoreFault::transient(
            "the acknowledgement of a commit was lost",
            None,
        )),
    }
}

/// The write whose document tells, when an answer is lost, whether all of them
/// happened: one that stays, when there is one. `None`: nothing is written.
///
/// When all are removed nobody can tell, and the caller finds them gone.
pub(in crate::store) fn witness(writes: &[DocumentWrite]) -> Option<&DocumentWrite> {
    let stays = writes.iter().find(|write| write.value.is_some());
    stays.or(writes.first())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const MINE: Stamp = Stamp([1; Stamp::BYTES]);

    fn trouble(fate: Fate) -> Result<Attempt, Trouble> {
        Err(Trouble::new(fate, StoreFault::transient("trouble", None)))
    }

    /// Plays attempts at a commit from version 3, and then this state.
    async fn play(
        attempts: impl IntoIterator<Item = Result<Attempt, Trouble>>,
        version: u64,
        stamps: &[u8],
    ) -> Result<Commit, StoreFault> {
        let attempts = RefCell::new(attempts.into_iter());
        commit_once(
            Duration::from_secs(5),
            Some(Version(3)),
            MINE,
            || std::future::ready(attempts.borrow_mut().next().unwrap()),
            || std::future::ready(Ok(Some((Version(version), stamps.to_vec())))),
        )
        .await
    }

    const DONE: Commit = Commit::Done(Version(4));

    #[tokio::test(start_paused = true)]
    async fn a_known_fate_is_reported_as_it_is() {
        for (attempt, commit) in [
            (Attempt::Written, DONE),
            (Attempt::Conflict, Commit::Conflict),
        ] {
            // The stamps would say otherwise, but nobody asks for them.
            assert_eq!(play([Ok(attempt)], 4, &MINE.0).await.unwrap(), commit);
            let late = [trouble(Fate::NotDone), Ok(attempt)];
            assert_eq!(play(late, 4, &MINE.0).await.unwrap(), commit);
        }
        assert!(play([trouble(Fate::Refused)], 4, &MINE.0).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_fate_is_found_out() {
        let lost = || [trouble(Fate::Unknown), Ok(Attempt::Conflict)];
        let other = [2; Stamp::BYTES];
        assert_eq!(play(lost(), 4, &MINE.0).await.unwrap(), DONE);
        assert_eq!(play(lost(), 4, &other).await.unwrap(), Commit::Conflict);
        let later = [other, MINE.0].concat();
        assert_eq!(play(lost(), 5, &later).await.unwrap(), DONE);
        assert_eq!(play(lost(), 5, &other).await.unwrap(), Commit::Conflict);
        let buried = play(lost(), 99, &other).await.unwrap_err();
        assert!(buried.is_transient());
        let again = [trouble(Fate::Unknown), Ok(Attempt::Written)];
        assert_eq!(play(again, 4, &other).await.unwrap(), DONE);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let fault = play(
            std::iter::repeat_with(|| trouble(Fate::Unknown)),
            4,
            &MINE.0,
        )
        .await;
        assert!(fault.unwrap_err().is_transient());
    }
}
