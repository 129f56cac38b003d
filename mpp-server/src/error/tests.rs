//! PROTOCOL 1.3, row by row.

use mpp_core::Amount;
use mpp_tempo::chain::ChainError;

use super::*;
use crate::{store::StoreFault, tasks::TaskLost};

const CHANNEL: ChannelId = ChannelId::repeat_byte(0xAB);

/// Rejection, type suffix, status.
fn general_table() -> Vec<(Rejection, &'static str, u16)> {
    let channel_id = CHANNEL;
    let text = || String::from("text");
    vec![
        (Rejection::PaymentRequired, "payment-required", 402),
        (Rejection::BadRequest("two"), "bad-request", 400),
        (
            Rejection::MalformedCredential(text()),
            "malformed-credential",
            402,
        ),
        (
            Rejection::InvalidChallenge("route"),
            "invalid-challenge",
            402,
        ),
        (Rejection::ChallengeExpired, "payment-expired", 402),
        (Rejection::MethodUnsupported, "method-unsupported", 400),
        (Rejection::InvalidPayload(text()), "invalid-payload", 402),
        (
            Rejection::VerificationFailed(text()),
            "verification-failed",
            402,
        ),
        (Rejection::ProofReplayed, "verification-failed", 403),
        (Rejection::TooManyProofs, "rate-limited", 429),
        (Rejection::ChargeInProgress, "request-in-progress", 409),
        (Rejection::ChargeNotMined, "request-in-progress", 409),
        (Rejection::ChargeKeyReused, "idempotency-key-reused", 422),
        (Rejection::ChargeLapsed, "service-unavailable", 503),
        (Rejection::SponsorBudget, "rate-limited", 429),
        (
            Rejection::CreditTooLarge {
                channel_id,
                most: Amount::new(1),
            },
            "bad-request",
            400,
        ),
        (
            Rejection::TopUpChallenge { channel_id },
            "session/challenge-not-found",
            402,
        ),
        (
            Rejection::ChannelNotFound { channel_id },
            "session/channel-not-found",
            410,
        ),
        (
            Rejection::ChannelFinalized {
                channel_id,
                why: "closed",
            },
            "session/channel-finalized",
            410,
        ),
    ]
}

/// The same for what is wrong with a voucher or its balance.
fn voucher_table() -> Vec<(Rejection, &'static str, u16)> {
    let channel_id = CHANNEL;
    let amount = Amount::new;
    vec![
        (
            Rejection::InvalidSignature { channel_id },
            "session/invalid-signature",
            402,
        ),
        (
            Rejection::SignerMismatch { channel_id },
            "session/signer-mismatch",
            402,
        ),
        (
            Rejection::AmountExceedsDeposit {
                channel_id,
                deposit: amount(7),
            },
            "session/amount-exceeds-deposit",
            402,
        ),
        (
            Rejection::DeltaTooSmall {
                channel_id,
                accepted: amount(5),
                min_delta: amount(2),
            },
            "session/delta-too-small",
            402,
        ),
        (
            Rejection::InsufficientBalance(Shortage {
                channel_id,
                required_top_up: amount(1),
                required_cumulative: amount(2),
                accepted: amount(3),
                deposit: amount(4),
            }),
            "session/insufficient-balance",
            402,
        ),
        (
            Rejection::CloseAmount {
                channel_id,
                required: amount(6),
            },
            "session/insufficient-balance",
            402,
        ),
        (
            Rejection::StreamSuperseded { channel_id },
            "verification-failed",
            402,
        ),
        (Rejection::RateLimited { channel_id }, "rate-limited", 429),
        (Rejection::TooManyHolds { channel_id }, "rate-limited", 429),
        (
            Rejection::RequestInProgress { channel_id },
            "request-in-progress",
            409,
        ),
        (
            Rejection::IdempotencyKeyReused { channel_id },
            "idempotency-key-reused",
            422,
        ),
        (
            Rejection::HoldGone { channel_id },
            "service-unavailable",
            503,
        ),
        (
            Rejection::Quarantined { channel_id },
            "service-unavailable",
            503,
        ),
        (
            Rejection::ChainNotSeen { channel_id },
            "service-unavailable",
            503,
        ),
        (
            Rejection::NotFinal { channel_id },
            "service-unavailable",
            503,
        ),
    ]
}

fn table() -> Vec<(Rejection, &'static str, u16)> {
    [general_table(), voucher_table()].concat()
}

#[test]
fn every_rejection_becomes_its_problem() {
    for (rejection, suffix, status) in table() {
        let problem = Problem::from(&rejection);
        let uri = format!("https://paymentauth.org/problems/{suffix}");
        assert_eq!(problem.kind.type_uri(), uri);
        assert_eq!(problem.status(), status, "{suffix}");
        assert_eq!(problem.detail, rejection.to_string());
        // Every 402, and 400 and 410 on a protected resource, carries fresh challenges.
        let carries = matches!(status, 400 | 402 | 410);
        assert_eq!(rejection.kind().carries_challenge(), carries, "{suffix}");
    }
}

// "Session problems carry `channelId`", in lower case (PROTOCOL 2).
#[test]
fn session_problems_name_the_channel() {
    let id = format!("0x{}", "ab".repeat(32));
    for (rejection, suffix, _) in table() {
        let problem = Problem::from(&rejection);
        if suffix.starts_with("session/") {
            assert_eq!(problem.channel_id, Some(id.clone()), "{suffix}");
        }
        assert_eq!(
            problem.channel_id.is_some(),
            rejection.channel_id().is_some()
        );
    }
}

#[test]
fn problems_say_what_would_help() {
    let extensions = |rejection: &Rejection| {
        let problem = Problem::from(rejection);
        [
            problem.required_top_up,
            problem.required_cumulative,
            problem.accepted_cumulative,
            problem.deposit,
        ]
        .map(|amount| amount.map(Amount::base_units))
    };
    let none = [None; 4];
    for (rejection, suffix, _) in table() {
        let expected = match rejection {
            Rejection::InsufficientBalance(_) => [Some(1), Some(2), Some(3), Some(4)],
            Rejection::CloseAmount { .. } => [None, Some(6), None, None],
            Rejection::DeltaTooSmall { .. } => [None, None, Some(5), None],
            Rejection::AmountExceedsDeposit { .. } => [None, None, None, Some(7)],
            _ => none,
        };
        assert_eq!(extensions(&rejection), expected, "{suffix}");
    }
}

// DESIGN 4: faults are 5xx, carry no challenge and never name a backend to the peer.
#[test]
fn faults_are_5xx_and_discreet() {
    let check = |fault: Fault, status: u16| {
        let problem = Problem::from(&fault);
        assert_eq!(problem.status(), status);
        assert_eq!(fault.is_transient(), status == 503);
        assert!(!problem.kind.carries_challenge());
        for secret in ["10.0.0.7", "postgres"] {
            assert!(!problem.detail.contains(secret), "{}", problem.detail);
        }
    };
    check(StoreFault::transient("postgres 10.0.0.7", None).into(), 503);
    check(StoreFault::lasting("postgres 10.0.0.7", None).into(), 500);
    check(ChainError::unreachable("10.0.0.7").into(), 503);
    check(ChainError::malformed("10.0.0.7").into(), 500);
    check(Fault::OutcomeUnknown, 503);
    check(TaskLost.into(), 503);
    check(Fault::Inconsistent("10.0.0.7"), 500);
}

// DESIGN 4: lower case, no full stop.
#[test]
fn messages_are_lower_case_without_full_stop() {
    for (rejection, ..) in table() {
        let text = rejection.to_string();
        let first = text.chars().next().unwrap();
        assert!(first.is_lowercase() || first == '`', "{text}");
        assert!(!text.ends_with('.'), "{text}");
    }
}
