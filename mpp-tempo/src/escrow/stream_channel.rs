//! ABI of the v1 escrow contract, in the shapes that deployed clients expect.
//!
//! They differ from the draft's appendix in the channel struct, the salt in `ChannelOpened` and
//! the width of `topUp`; both widths are here (PROTOCOL 5.3).
#![expect(
    clippy::too_many_arguments,
    reason = "the ABI's events have as many members"
)]

use alloy_sol_types::sol;

sol! {
    /// The v1 escrow: one contract that holds the deposits of many channels.
    #[derive(Debug, PartialEq, Eq)]
    interface IStreamChannel {
        /// State of a channel; after a close all zero but `finalized`.
        struct Channel {
            bool finalized;
            uint64 closeRequestedAt;
            address payer;
            address payee;
            address token;
            address authorizedSigner;
            uint128 deposit;
            uint128 settled;
        }

        function CLOSE_GRACE_PERIOD() external view returns (uint64);
        function VOUCHER_TYPEHASH() external view returns (bytes32);
        function domainSeparator() external view returns (bytes32);

        function open(
            address payee,
            address token,
            uint128 deposit,
            bytes32 salt,
            address authorizedSigner
        ) external returns (bytes32 channelId);
        function topUp(bytes32 channelId, uint256 additionalDeposit) external;
        function topUp(bytes32 channelId, uint128 additionalDeposit) external;
        function settle(bytes32 channelId, uint128 cumulativeAmount, bytes calldata signature) external;
        function close(bytes32 channelId, uint128 cumulativeAmount, bytes calldata signature) external;
        function requestClose(bytes32 channelId) external;
        function withdraw(bytes32 channelId) external;

        function getChannel(bytes32 channelId) external view returns (Channel memory);
        function getChannelsBatch(bytes32[] calldata channelIds) external view returns (Channel[] memory);
        function computeChannelId(
            address payer,
            address payee,
            address token,
            bytes32 salt,
            address authorizedSigner
        ) external view returns (bytes32);
        function getVoucherDigest(bytes32 channelId, uint128 cumulativeAmount) external view returns (bytes32);

        event ChannelOpened(
            bytes32 indexed channelId,
            address indexed payer,
            address indexed payee,
            address token,
            address authorizedSigner,
            bytes32 salt,
            uint256 deposit
        );
        event TopUp(
            bytes32 indexed channelId,
            address indexed payer,
            address indexed payee,
            uint256 additionalDeposit,
            uint256 newDeposit
        );
        event Settled(
            bytes32 indexed channelId,
            address indexed payer,
            address indexed payee,
            uint256 cumulativeAmount,
            uint256 deltaPaid,
            uint256 newSettled
        );
        event CloseRequested(
            bytes32 indexed channelId,
            address indexed payer,
            address indexed payee,
            uint256 closeGraceEnd
        );
        event CloseRequestCancelled(
            bytes32 indexed channelId,
            address indexed payer,
            address indexed payee
        );
        event ChannelClosed(
            bytes32 indexed channelId,
            address indexed payer,
            address indexed payee,
            uint256 settledToPayee,
            uint256 refundedToPayer
        );

        error ChannelAlreadyExists();
        error ChannelNotFound();
        error ChannelFinalized();
        error InvalidSignature();
        error AmountExceedsDeposit();
        error AmountNotIncreasing();
        error NotPayer();
        error NotPayee();
        error TransferFailed();
        error CloseNotReady();
        error InvalidPayee();
        error InvalidToken();
        error ZeroDeposit();
        error DepositOverflow();
    }
}
