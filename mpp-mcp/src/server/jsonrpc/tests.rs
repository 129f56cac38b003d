//! Messages, read and written.

use super::*;

#[track_caller]
fn invalid_id(message: Value, id: &Value) {
    match Message::read(message) {
        Ok(_) => panic!("it was read"),
        Err(known) => assert_eq!(known, *id),
    }
}

#[test]
fn an_invalid_request_is_answered_under_its_id_if_that_can_be_read() {
    invalid_id(json!([]), &Value::Null);
    invalid_id(json!({"id": 1}), &json!(1));
    invalid_id(json!({"id": 1, "method": "a"}), &json!(1));
    invalid_id(json!({"id": {"_meta": "secret"}}), &Value::Null);
    invalid_id(
        json!({"jsonrpc": "2.0", "id": {}, "method": "a"}),
        &Value::Null,
    );
    invalid_id(
        json!({"jsonrpc": "2.0", "id": "x", "method": "a", "params": "b"}),
        &json!("x"),
    );
}

#[test]
fn payment_is_taken_out_of_both_places() {
    let meta = json!({"org.paymentauth/credential": {}, "progressToken": 1});
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "a", "_meta": meta}, "_meta": meta,
    });
    let mut message = Message::read(message).unwrap();
    drop(message.call(None));
    let left = json!({"progressToken": 1});
    assert_eq!(Value::Object(message.meta), left);
    assert_eq!(message.params.unwrap()["_meta"], left);
}

#[test]
fn metadata_beside_a_result_is_left_out_when_there_is_none() {
    let bare = success(&json!(1), &json!("x"), Members::new());
    assert_eq!(bare, json!({"jsonrpc": "2.0", "id": 1, "result": "x"}));
}
