//! The rules of PROTOCOL 5.6 and SECURITY-CASES, checked at every commit.

use std::collections::{HashMap, HashSet};

use alloy_primitives::B256;
use mpp_core::{Amount, ChallengeId, SessionReceipt};
use mpp_devnet::Devnet;
use mpp_server::session::record::{ChannelRecord, LedgerKind, Phase, Quarantine};
use mpp_server::store::{Document, DocumentWrite, OUTCOMES_PER_CHANNEL, OutcomeKey, Write};
use mpp_tempo::ChannelId;

use super::books::Books;
use super::cashbook::Cashbook;
use super::outbox;

/// What was promised so far, by channel, and what the chain has shown.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) books: Books,
    pub(crate) cash: Cashbook,
    accounts: Accounts,
    lost: Lost,
    /// A node has been behind.
    lagged: bool,
    /// The first rule that was broken.
    broken: Option<String>,
}

/// When nobody has to wait for a transaction any more.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// What a node has refused, or the chain undone.
    over: HashSet<B256>,
    /// The later of the times on the clocks of chain and servers, in Unix
    /// seconds.
    now: u64,
}

impl Lost {
    /// A transaction is given up only when it can not be mined any more.
    pub(crate) fn check(&self, transaction: B256, valid_before: Option<u64>) -> Result<(), String> {
        let is_late = valid_before.is_some_and(|end| end <= self.now);
        if is_late || self.over.contains(&transaction) {
            return Ok(());
        }
        Err(format!(
            "given up at {}, and can be mined until {valid_before:?}: {transaction}",
            self.now
        ))
    }
}

/// What was promised, by channel.
pub(crate) type Accounts = HashMap<ChannelId, Account>;

/// What was committed of one channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// The most that was ever spent.
    most_spent: u128,
    /// What was charged and given back, by the ledger.
    charged: u128,
    credited: u128,
    units: u64,
    /// Holds and charges, by the challenge that they answer.
    holds: HashMap<ChallengeId, usize>,
    charges: HashMap<ChallengeId, usize>,
    /// When and as which outcome a key was charged.
    keys: HashMap<OutcomeKey, (i64, u64)>,
    /// How often the transport was told to serve, and that it was paid.
    granted: HashMap<ChallengeId, usize>,
    served: HashMap<ChallengeId, usize>,
    /// How often something may have been charged.
    pub(crate) asked: u64,
    /// Units that were handed over.
    delivered: u64,
}

impl Audit {
    /// Panics when a rule was broken, wherever that was noticed.
    pub(crate) fn require_clean(&self) {
        if let Some(broken) = &self.broken {
            panic!("{broken}");
        }
    }

    /// So many blocks are about to be replaced.
    pub(crate) fn reorged(&mut self, depth: u64) {
        self.books.reorged(depth);
        self.cash.reorged();
    }

    pub(crate) fn accounts(&self) -> Accounts {
        self.accounts.clone()
    }

    /// What was promised since a backup is forgotten, but the chain still pays
    /// for what was spent then.
    pub(crate) fn restored(&mut self, then: &Accounts) {
        for (id, account) in &mut self.accounts {
            let most_spent = account.most_spent;
            *account = then.get(id).cloned().unwrap_or_default();
            account.most_spent = most_spent;
        }
    }

    pub(crate) fn note(&mut self, checked: Result<(), String>) {
        if let Err(broken) = checked {
            self.broken.get_or_insert(broken);
        }
    }

    pub(crate) fn account(&mut self, id: ChannelId) -> &mut Account {
        self.accounts.entry(id).or_default()
    }

    /// Reads what is new on the chain. The payee never receives more than was
    /// spent (PROTOCOL 5.4).
    pub(crate) fn look(&mut self, node: &Devnet) {
        self.books.look(node);
        self.cash.look(node);
        let accounts = &self.accounts;
        let paid_too_much = self.books.all().find(|(id, shown)| {
            let spent = accounts.get(id).map_or(0, |account| account.most_spent);
            shown.paid > spent
        });
        if let Some((id, shown)) = paid_too_much {
            self.note(Err(format!(
                "{id} has paid {} for less: {:?}",
                shown.paid,
                self.accounts.get(&id)
            )));
        }
    }

    /// A node has refused a transaction, or the chain has undone it.
    pub(crate) fn over(&mut self, transaction: B256) {
        self.lost.over.insert(transaction);
    }

    /// A node does not show its newest blocks.
    pub(crate) fn lagged(&mut self) {
        self.lagged = true;
    }

    /// It is so late, on the clock that is ahead.
    pub(crate) fn is_late(&mut self, now: u64) {
        self.lost.now = now;
    }

    /// Documents that were made durable.
    pub(crate) fn written(&mut self, before: &[Option<Document>], writes: &[DocumentWrite]) {
        let checked = outbox::check(before, writes, &self.lost);
        self.note(checked.and_then(|()| self.cash.check(before, writes, &self.lost)));
    }

    /// A commit that was made durable.
    pub(crate) fn committed(&mut self, before: Option<&ChannelRecord>, write: &Write) {
        let checked = self.check(before, write);
        self.note(checked.map_err(|rule| {
            format!(
                "{rule}\nbefore: {before:#?}\nafter: {:#?}\nentry: {:#?}",
                write.next, write.entry
            )
        }));
    }

    fn check(&mut self, before: Option<&ChannelRecord>, write: &Write) -> Result<(), String> {
        let next = &write.next;
        bounds(next)?;
        let shown = self.books.shown(next.id);
        rule(
            next.deposit.base_units() <= shown.deposit,
            "more is deposited than the chain ever showed (A14)",
        )?;
        rule(
            next.settled.base_units() <= shown.paid,
            "more is settled than the chain ever showed",
        )?;
        let is_closed = matches!(next.phase, Phase::Closed { .. });
        rule(
            !is_closed || shown.is_finalized,
            "closed, and the chain never showed that (A33)",
        )?;
        if let (Some(Phase::Opening(sent)), Phase::Failed) =
            (before.map(|before| &before.phase), &next.phase)
        {
            self.lost.check(sent.hash, Some(sent.valid_before))?;
        }
        let seen = Seen {
            reorged: self.books.reorgs > 0,
            lagged: self.lagged,
        };
        let account = self.accounts.entry(next.id).or_default();
        match before {
            Some(before) => {
                monotone(before, next, seen)?;
                account.money(before, write)?;
                account.service(before, next)?;
            }
            None => rule(
                next.spent == Amount::ZERO && next.holds.is_empty(),
                "a new record is not empty",
            )?,
        }
        account.outcome(write)
    }

    /// A receipt that a client has got: what it says is durable (DESIGN 2.6).
    pub(crate) fn acknowledged(&mut self, record: &ChannelRecord, receipt: &SessionReceipt) {
        let account = self.accounts.entry(record.id).or_default();
        let credited = account.credited;
        let spent = record.spent.base_units() + credited;
        let checked = rule(
            receipt.spent.base_units() <= spent,
            "a receipt shows more spent than is durable",
        )
        .and(rule(
            receipt.accepted_cumulative <= record.accepted(),
            "a receipt shows more accepted than is durable",
        ))
        .map_err(|rule| format!("{rule}: {receipt:?}, {record:#?}"));
        self.note(checked);
    }

    /// A grant: a hold of its own stands behind it.
    pub(crate) fn granted(&mut self, id: ChannelId, challenge: &ChallengeId) {
        let account = self.accounts.entry(id).or_default();
        let granted = account.granted.entry(challenge.clone()).or_default();
        *granted += 1;
        let held = account.holds.get(challenge).copied().unwrap_or(0);
        let checked = rule(
            *granted <= held,
            "a request was granted and nothing is held for it",
        );
        self.note(checked);
    }

    /// A unit of a stream was handed over: it was charged before.
    pub(crate) fn streamed(&mut self, id: ChannelId) {
        let account = self.accounts.entry(id).or_default();
        account.delivered += 1;
        let checked = rule(
            account.delivered <= account.units,
            "more was delivered than charged",
        );
        self.note(checked);
    }

    /// A request was served: a charge of its own stands behind it.
    pub(crate) fn served(&mut self, id: ChannelId, challenge: &ChallengeId, units: u64) {
        let account = self.accounts.entry(id).or_default();
        account.delivered += units;
        let served = account.served.entry(challenge.clone()).or_default();
        *served += 1;
        let charged = account.charges.get(challenge).copied().unwrap_or(0);
        let checked = rule(*served <= charged, "a request was served and not charged").and(rule(
            account.delivered <= account.units,
            "more was delivered than charged",
        ));
        self.note(checked);
    }
}

fn rule(holds: bool, name: &str) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(name.into()),
    }
}

/// PROTOCOL 5.6: what is spent and held is covered by vouchers, those by the
/// deposit.
fn bounds(next: &ChannelRecord) -> Result<(), String> {
    if matches!(next.phase, Phase::Opening(_) | Phase::Failed) {
        return rule(
            next.spent == Amount::ZERO && next.holds.is_empty(),
            "sold before the deposit is there",
        );
    }
    let promised = next.promised(next.changed_at);
    rule(
        promised <= next.accepted(),
        "more is promised than accepted",
    )?;
    if matches!(
        next.phase,
        Phase::Open | Phase::CloseRequested { .. } | Phase::Closing { .. }
    ) {
        rule(
            next.accepted() <= next.deposit,
            "in service, and more is accepted than deposited",
        )?;
        rule(
            next.settled <= next.deposit,
            "more is settled than deposited",
        )?;
    }
    if let Phase::Closing {
        voucher, capture, ..
    } = &next.phase
    {
        let covered = voucher.voucher.cumulative >= *capture && *capture >= next.spent;
        rule(covered, "a close captures something else than is owed")?;
        rule(
            *capture == next.spent.max(next.settled),
            "a close captures more than is owed",
        )?;
    }
    Ok(())
}

/// Why the chain may have shown less than it did before.
#[derive(Clone, Copy)]
struct Seen {
    reorged: bool,
    /// A server that has just begun can not tell a node that is behind from one
    /// whose newest blocks are gone. It stops selling until it sees them again.
    lagged: bool,
}

fn monotone(before: &ChannelRecord, next: &ChannelRecord, seen: Seen) -> Result<(), String> {
    rule(
        next.units >= before.units && next.stream >= before.stream,
        "a count went back",
    )?;
    rule(
        next.newest_hold >= before.newest_hold,
        "a hold's number is used twice",
    )?;
    let is_claim = matches!(before.phase, Phase::Opening(_) | Phase::Failed);
    rule(
        is_claim || next.accepted() >= before.accepted(),
        "an accepted voucher was lost",
    )?;
    if seen.reorged {
        return Ok(());
    }
    let was_closed = matches!(before.phase, Phase::Closed { .. });
    let is_closed = matches!(next.phase, Phase::Closed { .. });
    rule(!was_closed || is_closed, "a closed channel came back (A13)")?;
    if seen.lagged {
        return Ok(());
    }
    rule(
        next.deposit >= before.deposit,
        "the deposit went back without a reorganization",
    )?;
    rule(
        next.settled >= before.settled,
        "what is settled went back without a reorganization",
    )
}

impl Account {
    /// Every change of what is spent stands in the ledger, and service alone
    /// is charged.
    fn money(&mut self, before: &ChannelRecord, write: &Write) -> Result<(), String> {
        let next = &write.next;
        let (old, new) = (before.spent.base_units(), next.spent.base_units());
        self.most_spent = self.most_spent.max(new);
        if let Some(entry) = &write.entry {
            let told = (entry.accepted, entry.spent, entry.deposit);
            rule(
                told == (next.accepted(), next.spent, next.deposit),
                "the ledger tells something else",
            )?;
        }
        let charged = write
            .entry
            .as_ref()
            .filter(|entry| entry.kind == LedgerKind::Charged);
        let credited = write
            .entry
            .as_ref()
            .filter(|entry| entry.kind == LedgerKind::Credited);
        if let Some(entry) = charged {
            rule(
                Some(new) == old.checked_add(entry.cost.base_units()),
                "the charge is not the difference",
            )?;
            self.charged += entry.cost.base_units();
            self.units += entry.units;
            if let Some(challenge) = &entry.challenge_id {
                *self.charges.entry(challenge.clone()).or_default() += 1;
            }
            return rule(self.units <= self.asked, "more was charged than asked for");
        }
        if let Some(entry) = credited {
            rule(
                Some(new) == old.checked_sub(entry.cost.base_units()),
                "the credit is not the difference",
            )?;
            rule(
                next.spent >= next.settled,
                "what was paid out was given back",
            )?;
            self.credited += entry.cost.base_units();
            return Ok(());
        }
        rule(
            new == old,
            "what is spent changed and the ledger does not know",
        )?;
        rule(
            Some(new) == self.charged.checked_sub(self.credited),
            "the ledger does not add up",
        )
    }

    /// Only a channel in service sells (A13, A14, A28).
    fn service(&mut self, before: &ChannelRecord, next: &ChannelRecord) -> Result<(), String> {
        let is_adopted = matches!(
            before.phase,
            Phase::Quarantined {
                reason: Quarantine::Adopted,
                ..
            }
        );
        if next.newest_hold > before.newest_hold {
            rule(
                before.phase == Phase::Open || is_adopted,
                "something is held out of service",
            )?;
            rule(
                next.phase == Phase::Open,
                "something is held and service ends",
            )?;
            let new = next
                .holds
                .iter()
                .filter(|hold| hold.id > before.newest_hold);
            for hold in new {
                *self.holds.entry(hold.challenge_id.clone()).or_default() += 1;
            }
        }
        let sold = next.units > before.units;
        let in_service = matches!(before.phase, Phase::Open | Phase::CloseRequested { .. });
        rule(!sold || in_service, "something is charged out of service")
    }

    /// No key is charged twice while its outcome has to be kept (A16).
    fn outcome(&mut self, write: &Write) -> Result<(), String> {
        let Some(outcome) = &write.outcome else {
            return Ok(());
        };
        let at = write.next.changed_at.as_secs();
        if let Some((until, number)) = self
            .keys
            .insert(outcome.key, (outcome.expires.as_secs(), outcome.number))
        {
            let is_kept = at < until && outcome.number < number + OUTCOMES_PER_CHANNEL;
            rule(!is_kept, "an idempotency key was charged twice")?;
        }
        rule(
            outcome.receipt.spent == write.next.spent,
            "an outcome is not what was charged",
        )
    }
}
