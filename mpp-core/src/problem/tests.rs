//! Problems: PROTOCOL.md sections 1.3 and 6.

use alloc::string::String;
use alloc::vec::Vec;

use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ForeignProblem, Problem, ProblemKind};
use crate::encoding::json::JsonError;
use crate::testing::{self, cases, text};

// The table of PROTOCOL.md section 1.3, the codes of section 6, and whether a challenge follows.
#[test]
fn kinds_have_the_facts_of_the_table() {
    let table = cases("problem_types");
    let issued = ProblemKind::ALL
        .into_iter()
        .filter(|kind| *kind != ProblemKind::Unknown);
    let issued: Vec<ProblemKind> = issued.collect();
    assert_eq!(issued.len(), table.len());
    for (kind, row) in issued.into_iter().zip(table) {
        let suffix = kind
            .type_uri()
            .strip_prefix("https://paymentauth.org/problems/");
        assert_eq!(suffix, Some(text(&row, "suffix")));
        assert_eq!(json!(kind.status()), row["status"], "{row}");
        assert_eq!(json!(kind.mcp_code()), row["mcpCode"], "{row}");
        assert_eq!(
            json!(kind.carries_challenge()),
            row["carriesChallenge"],
            "{row}"
        );
        assert!(!kind.title().is_empty());
    }
}

#[test]
fn type_uris_name_their_kinds() {
    for kind in ProblemKind::ALL {
        let named = match kind {
            ProblemKind::ProofReplayed => Some(ProblemKind::VerificationFailed),
            ProblemKind::Unknown => None,
            kind => Some(kind),
        };
        assert_eq!(ProblemKind::from_type_uri(kind.type_uri()), named);
    }
}

#[test]
fn members_are_those_of_the_protocol() {
    let problem = Problem::new(ProblemKind::InsufficientBalance, "the balance is used up")
        .with_challenge_id("c1".parse().unwrap())
        .with_channel_id("0xe8d5")
        .with_required_top_up(crate::Amount::new(1))
        .with_required_cumulative(crate::Amount::new(2))
        .with_accepted_cumulative(crate::Amount::new(3))
        .with_deposit(crate::Amount::new(4));
    let expected = json!({
        "type": "https://paymentauth.org/problems/session/insufficient-balance",
        "title": "Insufficient Balance", "status": 402, "detail": "the balance is used up",
        "challengeId": "c1", "channelId": "0xe8d5", "requiredTopUp": "1",
        "requiredCumulative": "2", "acceptedCumulative": "3", "deposit": "4",
    });
    assert_eq!(problem.to_json().parse::<Value>().unwrap(), expected);
    let bare = Problem::new(ProblemKind::PaymentRequired, "");
    assert_eq!(
        bare.to_json()
            .parse::<Value>()
            .unwrap()
            .as_object()
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn recorded_problems_are_read() {
    for case in cases("problems") {
        let problem = Problem::from_json(text(&case, "body").as_bytes()).unwrap();
        assert_ne!(problem.kind, ProblemKind::Unknown, "{case}");
        assert_eq!(problem.type_uri(), text(&case, "type"));
        assert_eq!(
            u64::from(problem.status()),
            case["status"].as_u64().unwrap()
        );
        let id = problem
            .challenge_id
            .as_ref()
            .map(crate::ChallengeId::as_str);
        assert_eq!(id, case["challengeId"].as_str());
        assert!(!problem.detail.is_empty());
    }
}

#[test]
fn unknown_types_are_kept() {
    let text = br#"{"type":"https://example.com/p","title":"Odd","status":418,"detail":"tea"}"#;
    let problem = Problem::from_json(text).unwrap();
    assert_eq!(problem.kind, ProblemKind::Unknown);
    assert_eq!(
        (problem.type_uri(), problem.title()),
        ("https://example.com/p", "Odd")
    );
    assert_eq!(problem.status(), 418);
    assert_eq!(
        Problem::from_json(problem.to_json().as_bytes()),
        Ok(problem)
    );
}

#[test]
fn members_of_wrong_types_count_as_absent() {
    let text = br#"{"type":1,"status":"402","detail":[],"challengeId":"","deposit":5,"hint":{}}"#;
    let problem = Problem::from_json(text).unwrap();
    assert_eq!(problem.kind, ProblemKind::Unknown);
    assert_eq!(problem.type_uri(), "about:blank");
    assert_eq!(
        (
            problem.detail.as_str(),
            problem.challenge_id,
            problem.deposit
        ),
        ("", None, None)
    );
    for text in ["[]", "1", "null"] {
        assert_eq!(
            Problem::from_json(text.as_bytes()),
            Err(JsonError::Shape),
            "{text}"
        );
    }
}

// PROTOCOL.md section 1.3: 403 without challenge for a replayed one-shot proof.
#[test]
fn replayed_proofs_are_told_apart_by_status() {
    let problem = Problem::new(ProblemKind::ProofReplayed, "used");
    let read = Problem::from_json(problem.to_json().as_bytes()).unwrap();
    assert_eq!(read.kind, ProblemKind::ProofReplayed);
    assert_eq!(
        problem.type_uri(),
        ProblemKind::VerificationFailed.type_uri()
    );
}

fn problem() -> impl Strategy<Value = Problem> {
    let amounts = prop::array::uniform4(option::of(testing::amount()));
    let foreign = (
        "[a-z:/]{1,20}",
        option::of(any::<String>()),
        option::of(any::<u16>()),
    );
    let kind = prop::sample::select(&ProblemKind::ALL[..]);
    let ids = (
        option::of(testing::challenge_id()),
        option::of(any::<String>()),
    );
    (kind, any::<String>(), ids, amounts, foreign).prop_map(
        |(kind, detail, ids, amounts, foreign)| {
            let mut problem = Problem::new(kind, detail);
            (problem.challenge_id, problem.channel_id) = ids;
            [
                problem.required_top_up,
                problem.required_cumulative,
                problem.accepted_cumulative,
                problem.deposit,
            ] = amounts;
            if kind == ProblemKind::Unknown {
                let (type_uri, title, status) = foreign;
                // A peer always writes both; their absence reads as the kind's own.
                let title = Some(title.unwrap_or_default());
                let status = Some(status.unwrap_or(418));
                problem.foreign = Some(ForeignProblem {
                    type_uri,
                    title,
                    status,
                });
            }
            problem
        },
    )
}

proptest! {
    #[test]
    fn json_round_trips(problem in problem()) {
        prop_assert_eq!(Problem::from_json(problem.to_json().as_bytes()), Ok(problem));
    }
}
