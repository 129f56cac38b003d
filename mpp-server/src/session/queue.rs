//! Vouchers that wait for the curve at the same time are verified together.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use mpp_tempo::{
    SignedVoucher, VerifiedVoucher, VoucherVerifier,
    voucher::{VoucherError, verify_batch},
};
use tokio::sync::oneshot;

/// From so many requests in progress on, a voucher waits for company.
///
/// Company comes from requests that are ready to run; with fewer in progress
/// than this, a batch would be too small to save more than the waiting costs.
const COMPANY: usize = 8;

type Answer = Result<VerifiedVoucher, VoucherError>;

/// Verifies vouchers at once when the server is idle, and in batches when it
/// is busy.
///
/// A busy server has several requests ready to run on each thread. The first
/// of them whose voucher needs the curve lets the others run up to the same
/// point, once, and then verifies for all. So a voucher waits for work that
/// would be done anyway, never for a timer, and a lone one does not wait at
/// all. Every voucher is verified on its own and gets its own answer: a lower
/// one is not taken for good because a higher one of its channel is, since its
/// signature is also what authenticates the request that brought it.
#[derive(Debug, Default)]
pub struct VoucherQueue {
    waiting: Mutex<Vec<Job>>,
    in_progress: AtomicUsize,
}

#[derive(Debug)]
struct Job {
    verifier: Arc<VoucherVerifier>,
    signed: SignedVoucher,
    answer: oneshot::Sender<Answer>,
}

impl VoucherQueue {
    /// A queue with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request as in progress until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InProgress<'_> {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(self)
    }

    /// Verifies a voucher, alone or together with others.
    ///
    /// # Errors
    /// [`VoucherError`], as [`VoucherVerifier::verify`].
    ///
    /// # Cancel safety
    /// Dropped, only this voucher's answer is lost: whoever waits with it is
    /// verified all the same.
    pub async fn verify(&self, verifier: &Arc<VoucherVerifier>, signed: &SignedVoucher) -> Answer {
        if self.in_progress.load(Ordering::Relaxed) < COMPANY {
            return verifier.verify(signed);
        }
        let (answer, answered) = oneshot::channel();
        let leads = self.push(Job {
            verifier: Arc::clone(verifier),
            signed: signed.clone(),
            answer,
        });
        if leads {
            let lead = Lead(self);
            let_others_run().await;
            drop(lead);
        }
        match answered.await {
            Ok(answer) => answer,
            // The leader panicked; its vouchers are still unverified.
            Err(_) => verifier.verify(signed),
        }
    }

    /// Whoever finds the queue empty leads the batch that begins.
    fn push(&self, job: Job) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(job);
        waiting.len() == 1
    }

    fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}

/// A request that is in progress. See [`VoucherQueue::enter`].
#[derive(Debug)]
pub struct InProgress<'a>(&'a VoucherQueue);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The duty to verify what waits: done on drop, so that a leader whose request
/// is cancelled leaves nobody behind.
struct Lead<'a>(&'a VoucherQueue);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // From here on the next voucher begins a batch of its own, which
        // another thread may verify at the same time.
        verify_all(self.0.take());
    }
}

fn verify_all(jobs: Vec<Job>) {
    let vouchers: Vec<_> = jobs
        .iter()
        .map(|job| (&*job.verifier, &job.signed))
        .collect();
    let mut answers = vec![Err(VoucherError::InvalidSignature); jobs.len()];
    if verify_batch(&vouchers, &mut answers).is_err() {
        // Only for another number of answers than of vouchers. Without an
        // answer each waiting request verifies its own.
        return;
    }
    drop(vouchers);
    for (job, answer) in jobs.into_iter().zip(answers) {
        // Whoever asked may have gone.
        drop(job.answer.send(answer));
    }
}

/// Goes to the end of the run queue once.
///
/// Not `yield_now`, which also waits for the I/O driver.
async fn let_others_run() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
