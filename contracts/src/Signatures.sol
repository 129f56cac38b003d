// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Signatures of vouchers over secp256k1.
library Signatures {
    /// Half the order of the curve. Above it every signature has a twin below it, which would
    /// make two vouchers of one.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// The signer of a digest, or zero: 65 bytes with v of 27 or 28, or the 64 of EIP-2098.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        bytes32 r;
        bytes32 s;
        uint8 v;
        if (signature.length == 65) {
            r = bytes32(signature[0:32]);
            s = bytes32(signature[32:64]);
            v = uint8(signature[64]);
        } else if (signature.length == 64) {
            r = bytes32(signature[0:32]);
            uint256 vs = uint256(bytes32(signature[32:64]));
            s = bytes32((vs << 1) >> 1);
            v = uint8(27 + (vs >> 255));
        } else {
            return address(0);
        }
        if (uint256(s) > HALF_ORDER || (v != 27 && v != 28)) return address(0);
        return ecrecover(digest, v, r, s);
    }
}
