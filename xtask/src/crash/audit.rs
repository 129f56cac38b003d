//! Compares what buyers were told with what the store's file holds.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, ensure};
use mpp_core::{Amount, SessionReceipt};

use super::buyer::PRICE;
use crate::ledger::{self, Contents, Entry};

/// The ledger is read after so many kills, since that takes long. Nothing is
/// missed: it only grows, and each kill is followed by a look at its sums.
const LEDGER_EVERY: u32 = 10;

/// What the buyers know.
#[derive(Debug, Default)]
pub(super) struct Known {
    channels: Mutex<HashMap<String, Account>>,
    retries: AtomicU64,
    replays: AtomicU64,
    lapsed: AtomicU64,
}

/// What a buyer knows of one channel.
#[derive(Clone, Debug, Default)]
struct Account {
    /// Purchases that were sent at least once.
    begun: u64,
    /// Purchases that were answered.
    acknowledged: Vec<Acknowledged>,
}

/// What the server has promised.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    /// In which life of the server.
    cycle: u32,
    accepted: Amount,
    spent: Amount,
}

impl Known {
    /// Notes a purchase before it is sent.
    pub(super) fn begin(&self, channel: &str) {
        let mut channels = self.channels();
        let account = channels.entry(channel.to_owned()).or_default();
        account.begun = account.begun.saturating_add(1);
    }

    /// Notes the receipt of the purchase `number` of its channel.
    pub(super) fn acknowledge(
        &self,
        cycle: u32,
        number: u64,
        receipt: &SessionReceipt,
        replayed: bool,
    ) -> anyhow::Result<()> {
        let due = PRICE.checked_mul(number).context("due")?;
        let (accepted, spent) = (receipt.accepted_cumulative, receipt.spent);
        ensure!(
            accepted == due && spent <= due,
            "the receipt says {spent} spent of {accepted} accepted, {due} is due"
        );
        let mut channels = self.channels();
        let account = channels.get_mut(&receipt.channel_id);
        let account = account.context("a receipt of another channel")?;
        account.acknowledged.push(Acknowledged {
            cycle,
            accepted,
            spent,
        });
        if replayed {
            self.replays.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Notes that the only purchase of a channel will never be answered: from now on the server
    /// may not have charged it.
    pub(super) fn give_up(&self, channel: &str) -> anyhow::Result<()> {
        let mut channels = self.channels();
        let account = channels.get_mut(channel).context("an unknown channel")?;
        ensure!(
            account.begun == 1 && account.acknowledged.is_empty(),
            "a channel in use was refused as never opened"
        );
        account.begun = 0;
        self.lapsed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that a purchase is sent again.
    pub(super) fn note_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks one file against the buyers' knowledge.
#[derive(Debug)]
pub(super) struct Audit {
    known: Arc<Known>,
    /// What may be lost of a channel and in total at each kill, if anything.
    caps: Option<(Amount, Amount)>,
    /// What was lost at all kills.
    lost: Amount,
}

/// The sums of a run.
#[derive(Debug)]
pub(super) struct Totals {
    acknowledged: usize,
    channels: usize,
    retries: u64,
    replays: u64,
    lapsed: u64,
    lost: Amount,
}

impl Audit {
    pub(super) fn new(known: Arc<Known>, caps: Option<(Amount, Amount)>) -> Self {
        Self {
            known,
            caps,
            lost: Amount::ZERO,
        }
    }

    /// What has happened so far.
    pub(super) fn progress(&self) -> Totals {
        let channels = self.known.channels();
        let acknowledged = channels.values().map(|account| account.acknowledged.len());
        Totals {
            acknowledged: acknowledged.sum(),
            channels: channels.len(),
            retries: self.known.retries.load(Ordering::Relaxed),
            replays: self.known.replays.load(Ordering::Relaxed),
            lapsed: self.known.lapsed.load(Ordering::Relaxed),
            lost: self.lost,
        }
    }

    /// Checks the file that the server of this cycle has left.
    pub(super) fn check(&mut self, file: &Path, cycle: u32) -> anyhow::Result<()> {
        // The server is dead: whatever it has charged was begun before.
        let accounts = self.known.channels().clone();
        let contents = Contents::read(file)?;
        if cycle.is_multiple_of(LEDGER_EVERY) {
            self.check_ledger(file, &accounts)?;
        }
        for (id, record) in &contents.channels {
            let account = accounts.get(id).context("a channel of nobody")?;
            let begun = PRICE.checked_mul(account.begun).context("begun")?;
            let (spent, accepted) = (record.spent, record.accepted());
            ensure!(
                spent <= begun && accepted <= begun,
                "channel {id}: {spent} spent of {accepted} accepted, {begun} was begun"
            );
        }
        match self.caps {
            None => nothing_lost(&accounts, &contents),
            Some(caps) => {
                let lost = within_caps(&accounts, &contents, cycle, caps)?;
                self.lost = self.lost.checked_add(lost).context("lost")?;
                Ok(())
            }
        }
    }

    /// No key is charged twice, and no receipt is missing.
    fn check_ledger(&self, file: &Path, accounts: &HashMap<String, Account>) -> anyhow::Result<()> {
        let ledger = ledger::read(file)?;
        ledger::no_double_charge(&ledger)?;
        match self.caps {
            None => all_entered(accounts, &ledger),
            Some(_) => Ok(()),
        }
    }

    /// Every buyer has every answer: what is charged is what was delivered.
    pub(super) fn settle(&self, file: &Path) -> anyhow::Result<Totals> {
        let accounts = self.known.channels().clone();
        let contents = Contents::read(file)?;
        self.check_ledger(file, &accounts)?;
        for (id, account) in &accounts {
            let count = u64::try_from(account.acknowledged.len())?;
            ensure!(count == account.begun, "channel {id}: an answer is missing");
            let delivered = PRICE.checked_mul(count).context("delivered")?;
            let spent = match contents.channels.get(id) {
                // Of an open that came too late the server may know nothing.
                None if count == 0 => Amount::ZERO,
                _ => contents.channel(id)?.spent,
            };
            ensure!(
                spent == delivered || (self.caps.is_some() && spent < delivered),
                "channel {id}: {spent} was charged for {delivered}"
            );
        }
        Ok(self.progress())
    }
}

/// Every receipt is covered by the record of its channel.
fn nothing_lost(accounts: &HashMap<String, Account>, contents: &Contents) -> anyhow::Result<()> {
    for (id, account) in accounts {
        for paid in &account.acknowledged {
            let record = contents.channel(id)?;
            let (spent, accepted) = (paid.spent, paid.accepted);
            ensure!(
                record.spent >= spent && record.accepted() >= accepted,
                "channel {id}: the receipt for {spent} of {accepted} is lost"
            );
        }
    }
    Ok(())
}

/// Every receipt is in the ledger as it was given.
fn all_entered(accounts: &HashMap<String, Account>, ledger: &[Entry]) -> anyhow::Result<()> {
    let entries = ledger.iter();
    let entries: HashSet<_> = entries
        .map(|entry| (entry.channel_id.as_str(), entry.spent, entry.accepted))
        .collect();
    for (id, account) in accounts {
        for paid in &account.acknowledged {
            let (spent, accepted) = (paid.spent, paid.accepted);
            ensure!(
                entries.contains(&(id.as_str(), spent, accepted)),
                "channel {id}: the ledger has no entry for {spent} of {accepted}"
            );
        }
    }
    Ok(())
}

/// What the kill has taken of the receipts of its cycle.
fn within_caps(
    accounts: &HashMap<String, Account>,
    contents: &Contents,
    cycle: u32,
    (per_channel, total): (Amount, Amount),
) -> anyhow::Result<Amount> {
    let mut sum = Amount::ZERO;
    for (id, account) in accounts {
        let mut promised = account.acknowledged.iter();
        let Some(last) = promised.rfind(|paid| paid.cycle == cycle) else {
            continue;
        };
        let record = contents.channel(id)?;
        let spent = last.spent.saturating_sub(record.spent);
        let accepted = last.accepted.saturating_sub(record.accepted());
        let lost = spent.max(accepted);
        ensure!(lost <= per_channel, "channel {id}: {lost} is lost");
        sum = sum.checked_add(lost).context("lost")?;
    }
    ensure!(sum <= total, "{sum} is lost in total");
    Ok(sum)
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged receipts, {} opens ({} too late), {} requests sent again, \
             {} stored answers, lost {}, double charges 0",
            self.acknowledged, self.channels, self.lapsed, self.retries, self.replays, self.lost
        )
    }
}
