//! What a server answers with: receipts, problems, snapshots.

use mpp_core::header::{limits::MAX_CREDENTIAL, receipt as header, session};
use mpp_core::{Problem, Receipt, SessionReceiptText};
use mpp_tempo::wire::SessionSnapshot;

/// Checks a receipt, a problem, a snapshot or a channel id.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    match choice % 5 {
        0 => receipt(rest),
        1 => problem(rest),
        2 => snapshot(rest),
        3 => text(rest, receipt_value),
        _ => text(rest, session_values),
    }
}

fn text(data: &[u8], check: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(data) {
        check(text);
    }
}

fn receipt(json: &[u8]) {
    let Ok(receipt) = Receipt::from_json(json) else {
        return;
    };
    assert_eq!(
        Receipt::from_json(receipt.to_json().as_bytes()).as_ref(),
        Ok(&receipt)
    );
    let value = header::encode(&receipt);
    if value.len() <= MAX_CREDENTIAL {
        assert_eq!(header::parse(&value).as_ref(), Ok(&receipt));
    }
    if let Receipt::Session(session) = &receipt {
        // The writer of the hot path writes what the general one does.
        let mut written = String::new();
        header::ReceiptWriter::default().write(&SessionReceiptText::from(session), &mut written);
        assert_eq!(written, value);
        let json = mpp_core::encoding::base64url::decode(&value).unwrap();
        assert_eq!(json, receipt.to_json().as_bytes());
    }
}

fn receipt_value(value: &str) {
    if let Ok(receipt) = header::parse(value) {
        assert!(value.trim().len() <= MAX_CREDENTIAL);
        assert_eq!(header::parse(&header::encode(&receipt)), Ok(receipt));
    }
}

fn problem(json: &[u8]) {
    let Ok(problem) = Problem::from_json(json) else {
        return;
    };
    let written = problem.to_json();
    let again = Problem::from_json(written.as_bytes()).unwrap();
    assert_eq!(again.to_json(), written);
    assert_eq!(again.kind, problem.kind);
    assert_eq!(again.detail, problem.detail);
    assert_eq!(again.status(), problem.status());
    assert_eq!(
        [
            again.required_top_up,
            again.required_cumulative,
            again.accepted_cumulative,
            again.deposit
        ],
        [
            problem.required_top_up,
            problem.required_cumulative,
            problem.accepted_cumulative,
            problem.deposit
        ]
    );
    assert_eq!(
        (again.challenge_id, again.channel_id),
        (problem.challenge_id, problem.channel_id)
    );
}

fn snapshot(json: &[u8]) {
    let value = mpp_core::encoding::base64url::encode(json);
    let Ok(parsed) = session::parse_snapshot(&value) else {
        return;
    };
    assert!(value.len() <= MAX_CREDENTIAL);
    assert_eq!(
        session::parse_snapshot(&session::encode_snapshot(&parsed)).as_ref(),
        Ok(&parsed)
    );
    let Ok(snapshot) = serde_json::from_value::<SessionSnapshot>(parsed) else {
        return;
    };
    let written = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(
        serde_json::from_value::<SessionSnapshot>(written).unwrap(),
        snapshot
    );
    if let Ok(terms) = snapshot.verify() {
        assert_eq!(terms.id(), snapshot.channel_id);
        assert!(snapshot.spent <= snapshot.accepted_cumulative);
        assert!(snapshot.accepted_cumulative <= snapshot.deposit);
    }
}

fn session_values(value: &str) {
    if let Ok(id) = session::parse_channel(value) {
        assert_eq!(session::parse_channel(&id).as_deref(), Ok(id.as_str()));
        assert!(id.parse::<mpp_tempo::ChannelId>().is_ok());
    }
    if let Ok(parsed) = session::parse_snapshot(value) {
        assert_eq!(
            session::parse_snapshot(&session::encode_snapshot(&parsed)),
            Ok(parsed)
        );
    }
}
