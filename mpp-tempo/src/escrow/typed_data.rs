//! The EIP-712 types of vouchers, as the escrows define them.
//!
//! [`VoucherDomain`](crate::voucher::VoucherDomain) hashes vouchers by hand, because that is the
//! hot path. These are for whoever wants to come to the same digest another way.

use alloy_primitives::B256;
use alloy_sol_types::{Eip712Domain, SolStruct};

use super::to_uint96;
use crate::channel::{ChannelTerms, SessionProtocol};
use crate::voucher::{Voucher, VoucherError};

mod v1 {
    alloy_sol_types::sol! {
        struct Voucher {
            bytes32 channelId;
            uint128 cumulativeAmount;
        }
    }
}

mod v2 {
    alloy_sol_types::sol! {
        struct Voucher {
            bytes32 channelId;
            uint96 cumulativeAmount;
        }
    }
}

/// Digest of a voucher, computed from its Solidity type.
///
/// # Errors
/// [`VoucherError::AmountTooLarge`].
pub(crate) fn voucher_digest(
    terms: &ChannelTerms,
    voucher: &Voucher,
) -> Result<B256, VoucherError> {
    let domain = Eip712Domain::new(
        Some(terms.protocol.domain_name().into()),
        Some("1".into()),
        Some(alloy_primitives::U256::from(terms.chain_id)),
        Some(terms.escrow),
        None,
    );
    Ok(match terms.protocol {
        SessionProtocol::V1 => v1::Voucher {
            channelId: voucher.channel_id,
            cumulativeAmount: voucher.cumulative.base_units(),
        }
        .eip712_signing_hash(&domain),
        SessionProtocol::V2 => v2::Voucher {
            channelId: voucher.channel_id,
            cumulativeAmount: to_uint96(voucher.cumulative)
                .map_err(|_| VoucherError::AmountTooLarge)?,
        }
        .eip712_signing_hash(&domain),
    })
}
