//! The short way issues what the long way binds.

use core::str::FromStr as _;

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::challenge::SecretKey;
use crate::testing;
use crate::{BodyDigest, header};

/// A draft with everything in it that challenges can have.
fn draft() -> impl Strategy<Value = ChallengeDraft> {
    (testing::challenge(), option::of(any::<[u8; 4]>())).prop_map(|(challenge, body)| {
        let expires = challenge.expires.as_deref().map(Timestamp::from_str);
        ChallengeDraft {
            realm: challenge.realm,
            method: challenge.method,
            intent: challenge.intent,
            request: challenge.request,
            expires: expires.transpose().unwrap(),
            digest: body.map(|body| BodyDigest::of(&body)),
            description: challenge.description,
            opaque: challenge.opaque,
            header: challenge.header,
        }
    })
}

proptest! {
    #[test]
    fn both_ways_issue_the_same_bytes(
        secret in any::<[u8; 32]>(),
        draft in draft(),
        times in prop::collection::vec(option::of(testing::timestamp()), 1..4),
    ) {
        let Ok(secret) = SecretKey::from_bytes(&secret) else {
            return Ok(());
        };
        let keys = KeyRing::new(secret);
        let template = keys.template(draft.clone());
        for expires in times {
            let challenge = keys.bind(ChallengeDraft { expires, ..draft.clone() });
            let issued = template.issue(expires);
            prop_assert_eq!(issued.id(), challenge.id.clone());
            prop_assert_eq!(issued.header_value(), header::challenge::encode(&challenge));
            prop_assert_eq!(issued.to_challenge(), challenge);
        }
    }
}
