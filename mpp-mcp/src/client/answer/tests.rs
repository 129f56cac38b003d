//! Answers of every kind, as a flow sees them (`vectors/mcp/answers.json`).

use serde_json::{Value, json};

use super::*;

fn read(case: &Value) -> Answer {
    if let Some(error) = case.get("error") {
        let error: RpcError = serde_json::from_value(error.clone()).unwrap();
        return of_error(&error);
    }
    let verdict = match case.get("isError") {
        Some(Value::Bool(true)) => Verdict::Failure,
        _ => Verdict::Success,
    };
    of_result(case.get("meta").and_then(Value::as_object), verdict)
}

#[test]
fn answers_mean_what_the_vectors_say() {
    let text = include_str!("../../../../vectors/mcp/answers.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let (name, answer) = (&case["name"], read(case));
        assert_eq!(u64::from(answer.status), case["status"], "{name}");
        assert_eq!(json!(answer.challenges.len()), case["challenges"], "{name}");
        let problem = answer.problem.as_ref().map(|problem| {
            let uri = problem.type_uri();
            uri.rsplit('/').next().unwrap().to_owned()
        });
        assert_eq!(
            problem.as_deref(),
            case.get("problem").and_then(Value::as_str),
            "{name}"
        );
        let has_receipt = answer.receipt != ReceiptField::Absent;
        assert_eq!(has_receipt, case.get("receipt").is_some(), "{name}");
    }
}

#[test]
fn a_replayed_answer_says_whether_it_is_still_there() {
    let kept = json!({meta::REPLAYED: true});
    let kept = of_result(kept.as_object(), Verdict::Success);
    assert_eq!((kept.status, kept.repetition), (200, Repetition::Replayed));
    let gone = json!({meta::REPLAYED: meta::DELIVERED});
    let gone = of_result(gone.as_object(), Verdict::Success);
    assert_eq!((gone.status, gone.repetition), (204, Repetition::Replayed));
    let error = RpcError::new(PAYMENT_REQUIRED, "").with_data(json!({meta::REPLAYED: false}));
    assert_eq!(of_error(&error).repetition, Repetition::New);
}

#[test]
fn a_flood_of_challenges_is_cut_off() {
    let one = json!({"id": "a", "realm": "r", "method": "tempo", "intent": "session",
        "request": {"amount": "1"}});
    let data = json!({"challenges": vec![one; 1_000]});
    let error = RpcError::new(PAYMENT_REQUIRED, "").with_data(data);
    assert_eq!(of_error(&error).challenges.len(), MAX_CHALLENGES);
}

#[test]
fn a_snapshot_that_is_no_object_is_unreadable() {
    let bad = json!({meta::SESSION_SNAPSHOT: "x"});
    let met = acquaintance(Answer::default(), bad.as_object());
    assert_eq!(met.snapshot, Err(SnapshotRefused::Unreadable));
    let met = acquaintance(Answer::default(), None);
    assert_eq!(met.snapshot, Ok(None));
}
