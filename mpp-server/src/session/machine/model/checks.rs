//! What holds after every step.

use super::*;

/// What a credit gave back: never what was paid out, and only in service.
pub(super) fn check_credit(old: &ChannelRecord, command: &Command, step: &Step) -> Amount {
    let Command::Credit { amount } = command else {
        assert!(step.next.spent >= old.spent);
        return Amount::ZERO;
    };
    assert!(matches!(
        old.phase,
        Phase::Open | Phase::CloseRequested { .. }
    ));
    assert!(step.next.spent >= old.settled && !amount.is_zero());
    let kind = step.entry.as_ref().map(|entry| (entry.kind, entry.cost));
    assert_eq!(kind, Some((LedgerKind::Credited, *amount)));
    *amount
}

pub(super) fn check_monotone(old: &ChannelRecord, next: &ChannelRecord) {
    assert!(next.deposit >= old.deposit);
    assert!(next.settled >= old.settled && next.units >= old.units);
    assert!(next.stream >= old.stream);
    // Before the chain has shown the deposit, the first voucher is a claim.
    let in_service = !matches!(old.phase, Phase::Opening(_) | Phase::Failed);
    assert!(!in_service || next.accepted() >= old.accepted());
    if let Phase::Closed { transaction } = &old.phase {
        assert!(matches!(next.phase, Phase::Closed { .. }));
        assert!(transaction.is_none() || next.phase == old.phase);
        assert_eq!((next.spent, &next.best), (old.spent, &old.best));
    }
}

/// What is settled was delivered, and never goes back to less.
pub(super) fn check_collectable(old: &ChannelRecord, next: &ChannelRecord, command: &Command) {
    let amount_of = |signed: Option<&SignedVoucher>| {
        signed.map_or(Amount::ZERO, |signed| signed.voucher.cumulative)
    };
    let collectable = amount_of(next.collectable());
    assert!(collectable <= next.spent);
    let given_back = matches!(command, Command::Credit { .. });
    assert!(collectable >= amount_of(old.collectable()) || old.deposit.is_zero() || given_back);
    let Unsettled {
        earned,
        ahead,
        since,
        units,
    } = &next.unsettled;
    let spent = next.spent;
    assert!(earned.is_none() || amount_of(earned.as_ref()) <= spent);
    assert!(ahead.is_none() || amount_of(ahead.as_ref()) > spent);
    assert!(next.best.is_some() || (earned.is_none() && ahead.is_none()));
    assert_eq!(since.is_some(), next.spent > next.settled);
    assert!(*units <= next.units);
    let begun = !matches!(old.phase, Phase::Closing { .. });
    if let (Phase::Closing { voucher, .. }, true) = (&next.phase, begun) {
        assert!(voucher.voucher.cumulative >= next.owed());
    }
}

pub(super) fn check_bounds(record: &ChannelRecord, now: Timestamp) {
    if matches!(record.phase, Phase::Opening(_) | Phase::Failed) {
        assert!(record.spent.is_zero() && record.holds.is_empty());
        return;
    }
    let promised = record.spent.checked_add(record.held(now)).unwrap();
    assert!(promised <= record.accepted());
    check_keys(record, now);
    let serving = matches!(record.phase, Phase::Open | Phase::CloseRequested { .. });
    assert!(serving || record.holds.is_empty());
    // Taken back by the chain: nothing is sold, and every voucher is kept.
    if let Phase::Quarantined {
        reason: Quarantine::DepositReverted | Quarantine::OpenReverted,
        ..
    } = record.phase
    {
        assert!(record.accepted() > record.deposit || record.deposit.is_zero());
        return;
    }
    // A close is the end, whatever was taken back before it.
    if matches!(record.phase, Phase::Closed { .. }) {
        return;
    }
    assert!(!record.deposit.is_zero());
    assert!(record.settled <= record.deposit);
    // Out of service for another reason, a channel may lose a part of its
    // deposit too: it is put back only once the deposit covers what was accepted.
    if matches!(record.phase, Phase::Quarantined { .. }) {
        return;
    }
    assert!(record.accepted() <= record.deposit);
    if let Phase::Closing {
        voucher, capture, ..
    } = &record.phase
    {
        let cumulative = voucher.voucher.cumulative;
        assert!(*capture >= record.spent && *capture <= cumulative);
        assert!(cumulative <= record.deposit);
        if record.terms.protocol == SessionProtocol::V1 {
            assert_eq!(cumulative, *capture);
        }
    }
}

/// One idempotent request is in flight once.
pub(super) fn check_keys(record: &ChannelRecord, now: Timestamp) {
    let live = record.holds.iter().filter(|hold| hold.is_live(now));
    let keys: Vec<_> = live
        .filter_map(|hold| hold.idempotency.map(|asked| asked.key))
        .collect();
    let distinct: HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

pub(super) fn check_rejection(old: &ChannelRecord, command: &Command, rejection: &Rejection) {
    assert_eq!(rejection.channel_id(), Some(old.id));
    // In service, a voucher is refused for its amount alone.
    if let (Phase::Open, Command::Accept { voucher, .. }) = (&old.phase, command) {
        let cumulative = voucher.cumulative();
        match rejection {
            Rejection::AmountExceedsDeposit { .. } => assert!(cumulative > old.deposit),
            Rejection::DeltaTooSmall { min_delta, .. } => {
                let enough = old.accepted().checked_add(*min_delta).unwrap();
                assert!(cumulative != old.accepted() && cumulative < enough.max(old.accepted()));
            }
            Rejection::RequestInProgress { .. } | Rejection::IdempotencyKeyReused { .. } => {}
            other => panic!("{other}"),
        }
    }
}
