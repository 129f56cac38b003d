// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What the escrows need of a TIP-20 token.
interface IToken {
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// Calls to tokens.
library Tokens {
    /// Calls a token. False when there is none, or when it says no; when it reverts, its reason
    /// passes through.
    function invoke(address token, bytes memory call) internal returns (bool) {
        // A call to an account without code would succeed and move nothing.
        if (token.code.length == 0) return false;
        (bool success, bytes memory answer) = token.call(call);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer.length == 32 && abi.decode(answer, (bool));
    }
}
