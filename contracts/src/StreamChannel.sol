// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IToken, Tokens} from "./Tokens.sol";
import {Signatures} from "./Signatures.sol";

/// The v1 escrow: deposits of many channels in one contract.
///
/// A payer locks a deposit for one payee and signs cumulative vouchers off chain. The payee
/// collects the newest one whenever it likes. Either side can end the channel: the payee at
/// once, the payer after a grace period in which the payee can still collect.
///
/// The contract has no constructor and no immutables, so that its runtime code can be put at
/// any address of any chain; both are read when they are needed.
contract StreamChannel {
    /// A channel in the member order that deployed clients read.
    struct Channel {
        /// Stays true for good, so that an id is never opened twice.
        bool finalized;
        /// When the payer asked to close, or zero.
        uint64 closeRequestedAt;
        address payer;
        address payee;
        address token;
        /// Who signs vouchers; zero stands for the payer.
        address authorizedSigner;
        /// Everything that was ever locked up, paid out or not.
        uint128 deposit;
        /// What the payee has got of it.
        uint128 settled;
    }

    uint64 public constant CLOSE_GRACE_PERIOD = 15 minutes;
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 cumulativeAmount)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Tempo Stream Channel");
    bytes32 private constant VERSION_HASH = keccak256("1");

    mapping(bytes32 channelId => Channel) private channels;

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
        bytes32 indexed channelId, address indexed payer, address indexed payee, uint256 closeGraceEnd
    );
    event CloseRequestCancelled(bytes32 indexed channelId, address indexed payer, address indexed payee);
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

    /// Locks up a deposit of the caller, which must have approved it.
    function open(address payee, address token, uint128 deposit, bytes32 salt, address authorizedSigner)
        external
        returns (bytes32 channelId)
    {
        if (payee == address(0)) revert InvalidPayee();
        if (token == address(0)) revert InvalidToken();
        if (deposit == 0) revert ZeroDeposit();
        channelId = computeChannelId(msg.sender, payee, token, salt, authorizedSigner);
        Channel storage channel = channels[channelId];
        if (channel.payer != address(0) || channel.finalized) revert ChannelAlreadyExists();
        channel.payer = msg.sender;
        channel.payee = payee;
        channel.token = token;
        // A fresh slot is dear; the default needs none.
        if (authorizedSigner != address(0)) channel.authorizedSigner = authorizedSigner;
        channel.deposit = deposit;
        pull(token, deposit);
        emit ChannelOpened(channelId, msg.sender, payee, token, authorizedSigner, salt, deposit);
    }

    /// Adds to the deposit; a pending close request is cancelled by it.
    function topUp(bytes32 channelId, uint256 additionalDeposit) external {
        addDeposit(channelId, additionalDeposit);
    }

    /// The same in the width of the draft, which makes it another function.
    function topUp(bytes32 channelId, uint128 additionalDeposit) external {
        addDeposit(channelId, additionalDeposit);
    }

    /// Pays the payee what a newer voucher is worth more than the last.
    function settle(bytes32 channelId, uint128 cumulativeAmount, bytes calldata signature) external {
        Channel storage channel = active(channelId);
        (address payer, address payee) = (channel.payer, channel.payee);
        if (msg.sender != payee) revert NotPayee();
        if (cumulativeAmount > channel.deposit) revert AmountExceedsDeposit();
        uint128 settled = channel.settled;
        if (cumulativeAmount <= settled) revert AmountNotIncreasing();
        verify(channel, channelId, cumulativeAmount, signature);
        channel.settled = cumulativeAmount;
        uint128 delta = cumulativeAmount - settled;
        pay(channel.token, payee, delta);
        emit Settled(channelId, payer, payee, cumulativeAmount, delta, cumulativeAmount);
    }

    /// Pays the full amount of a voucher and gives the rest back. At or below what was settled
    /// before nothing is paid, so that no voucher is needed.
    function close(bytes32 channelId, uint128 cumulativeAmount, bytes calldata signature) external {
        Channel storage channel = active(channelId);
        if (msg.sender != channel.payee) revert NotPayee();
        uint128 settled = channel.settled;
        if (cumulativeAmount > settled) {
            if (cumulativeAmount > channel.deposit) revert AmountExceedsDeposit();
            verify(channel, channelId, cumulativeAmount, signature);
            settled = cumulativeAmount;
        }
        finish(channelId, settled);
    }

    /// Starts the grace period; repeating it changes nothing.
    function requestClose(bytes32 channelId) external {
        Channel storage channel = active(channelId);
        if (msg.sender != channel.payer) revert NotPayer();
        if (channel.closeRequestedAt != 0) return;
        channel.closeRequestedAt = uint64(block.timestamp);
        emit CloseRequested(channelId, msg.sender, channel.payee, block.timestamp + CLOSE_GRACE_PERIOD);
    }

    /// Gives back what is left once the grace period is over.
    function withdraw(bytes32 channelId) external {
        Channel storage channel = active(channelId);
        if (msg.sender != channel.payer) revert NotPayer();
        uint64 requestedAt = channel.closeRequestedAt;
        if (requestedAt == 0 || block.timestamp < requestedAt + CLOSE_GRACE_PERIOD) revert CloseNotReady();
        finish(channelId, channel.settled);
    }

    function getChannel(bytes32 channelId) external view returns (Channel memory) {
        return channels[channelId];
    }

    function getChannelsBatch(bytes32[] calldata channelIds) external view returns (Channel[] memory found) {
        found = new Channel[](channelIds.length);
        for (uint256 i = 0; i < channelIds.length; ++i) {
            found[i] = channels[channelIds[i]];
        }
    }

    function computeChannelId(address payer, address payee, address token, bytes32 salt, address authorizedSigner)
        public
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(payer, payee, token, salt, authorizedSigner, address(this), block.chainid));
    }

    function getVoucherDigest(bytes32 channelId, uint128 cumulativeAmount) public view returns (bytes32) {
        bytes32 voucher = keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, cumulativeAmount));
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(), voucher));
    }

    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    function addDeposit(bytes32 channelId, uint256 additional) private {
        Channel storage channel = active(channelId);
        if (msg.sender != channel.payer) revert NotPayer();
        if (additional == 0) revert ZeroDeposit();
        uint256 deposit = channel.deposit;
        if (additional > type(uint128).max - deposit) revert DepositOverflow();
        deposit += additional;
        channel.deposit = uint128(deposit);
        bool cancelled = channel.closeRequestedAt != 0;
        channel.closeRequestedAt = 0;
        pull(channel.token, uint128(additional));
        address payee = channel.payee;
        if (cancelled) emit CloseRequestCancelled(channelId, msg.sender, payee);
        emit TopUp(channelId, msg.sender, payee, additional, deposit);
    }

    /// Clears the channel but for its flag before anything is paid.
    function finish(bytes32 channelId, uint128 settled) private {
        Channel memory channel = channels[channelId];
        delete channels[channelId];
        channels[channelId].finalized = true;
        uint128 refund = channel.deposit - settled;
        pay(channel.token, channel.payee, settled - channel.settled);
        pay(channel.token, channel.payer, refund);
        emit ChannelClosed(channelId, channel.payer, channel.payee, settled, refund);
    }

    function active(bytes32 channelId) private view returns (Channel storage channel) {
        channel = channels[channelId];
        if (channel.finalized) revert ChannelFinalized();
        if (channel.payer == address(0)) revert ChannelNotFound();
    }

    function verify(Channel storage channel, bytes32 channelId, uint128 cumulativeAmount, bytes calldata signature)
        private
        view
    {
        address signer = channel.authorizedSigner;
        if (signer == address(0)) signer = channel.payer;
        address recovered = Signatures.recover(getVoucherDigest(channelId, cumulativeAmount), signature);
        if (recovered == address(0) || recovered != signer) revert InvalidSignature();
    }

    function pull(address token, uint128 amount) private {
        bytes memory call = abi.encodeCall(IToken.transferFrom, (msg.sender, address(this), amount));
        if (!Tokens.invoke(token, call)) revert TransferFailed();
    }

    function pay(address token, address to, uint128 amount) private {
        if (amount == 0) return;
        if (!Tokens.invoke(token, abi.encodeCall(IToken.transfer, (to, amount)))) revert TransferFailed();
    }
}
