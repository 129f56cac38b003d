//! Vouchers as JSON, for programs in other languages.

use std::path::Path;

use alloy_primitives::hex;
use mpp_tempo::SessionProtocol;
use serde_json::{Value, json};

use crate::fixture::{self, Case};
use crate::report;

/// Vouchers of each version.
const COUNT: usize = 64;

/// Writes vouchers of both versions.
///
/// # Errors
/// When the file can not be written.
pub fn save(path: &Path) -> anyhow::Result<()> {
    let versions = [SessionProtocol::V1, SessionProtocol::V2];
    let cases = versions.map(|protocol| fixture::vouchers(protocol, COUNT, COUNT));
    let cases: Vec<Value> = cases.iter().flatten().map(exported).collect();
    report::save(&cases, path)
}

fn exported(case: &Case) -> Value {
    json!({
        "protocol": case.terms.protocol,
        "escrow": case.terms.escrow,
        "chainId": case.terms.chain_id,
        "signer": case.terms.signer(),
        "voucher": {
            "channelId": case.terms.id(),
            "cumulativeAmount": case.signed.voucher.cumulative,
            "signature": hex::encode_prefixed(case.signature),
        },
    })
}
