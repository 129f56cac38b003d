//! Payer identifiers: PROTOCOL.md section 1.2.

use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;

use super::{DidPkh, SourceError};
use crate::testing::{cases, text};

#[test]
fn recorded_sources_are_read_and_normalized() {
    for case in cases("credentials") {
        let source = text(&case["credential"], "source");
        let did: DidPkh = source.parse().unwrap();
        assert_eq!(did.chain_id, 42431);
        assert_eq!(did.to_string(), source.to_ascii_lowercase());
    }
}

#[test]
fn other_identifiers_are_refused() {
    for text in [
        "",
        "did:key:z6Mk",
        "did:pkh:solana:1:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "did:pkh:eip155:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "did:pkh:eip155::0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "did:pkh:eip155:01:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "did:pkh:eip155:+1:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "did:pkh:eip155:18446744073709551616:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "did:pkh:eip155:1:3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "did:pkh:eip155:1:0x3c44cdddb6a900fa2b585dd299e03d12fa4293b",
        "did:pkh:eip155:1:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bg",
        "did:pkh:eip155:1:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc ",
    ] {
        assert_eq!(text.parse::<DidPkh>(), Err(SourceError), "{text}");
    }
}

proptest! {
    #[test]
    fn text_round_trips(chain_id in any::<u64>(), address in "0x[0-9a-fA-F]{40}") {
        let did = DidPkh::new(chain_id, &address).unwrap();
        let expected = format!("did:pkh:eip155:{chain_id}:{}", address.to_ascii_lowercase());
        prop_assert_eq!(did.to_string(), expected);
        prop_assert_eq!(did.to_string().parse(), Ok(did));
        let json = serde_json::to_string(&did).unwrap();
        prop_assert_eq!(serde_json::from_str::<DidPkh>(&json).unwrap(), did);
    }
}
