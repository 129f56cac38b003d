//! The ten funded accounts every local Ethereum node has.

use alloy_primitives::{Address, hex, keccak256};
use k256::ecdsa::SigningKey;

/// A development account. Its key is public knowledge: never send real money to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevAccount {
    /// The account's address.
    pub address: Address,
    /// The secp256k1 key, `0x` and 64 hex digits.
    pub private_key: String,
}

/// First ten keys of the mnemonic `test test test test test test test test test test test junk`
/// (path `m/44'/60'/0'/0/n`).
const KEYS: [[u8; 32]; 10] = [
    hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
    hex!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
    hex!("7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
    hex!("47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
    hex!("8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
    hex!("92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e"),
    hex!("4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356"),
    hex!("dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97"),
    hex!("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"),
];

/// The ten accounts in mnemonic order.
pub(crate) fn dev_accounts() -> Vec<DevAccount> {
    KEYS.iter()
        .filter_map(|key| {
            let signing = SigningKey::from_slice(key).ok()?;
            let point = signing.verifying_key().to_sec1_point(false);
            let coordinates = point.as_bytes().get(1..)?;
            let address = Address::from_word(keccak256(coordinates));
            Some(DevAccount {
                address,
                private_key: hex::encode_prefixed(key),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::dev_accounts;
    use alloy_primitives::address;

    #[test]
    fn accounts_are_those_of_the_mnemonic() {
        let accounts = dev_accounts();
        assert_eq!(accounts.len(), 10);
        assert_eq!(
            accounts[0].address,
            address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")
        );
        assert_eq!(
            accounts[1].address,
            address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
        );
        assert_eq!(
            accounts[2].address,
            address!("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
        );
        assert_eq!(
            accounts[9].address,
            address!("0xa0Ee7A142d267C1f36714E4a8F75612F20a79720")
        );
    }
}
