// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IToken, Tokens} from "./Tokens.sol";

/// What the reserve needs of Tempo's transfer policies (TIP-403).
interface IPolicies {
    function isAuthorized(uint64 policyId, address user) external view returns (bool);
}

/// The token's side of its transfer policy.
interface IPolicedToken {
    function transferPolicyId() external view returns (uint64);
}

/// Tempo's signature verifier (TIP-1020): secp256k1, P-256 and WebAuthn.
interface ISignatureVerifier {
    function recover(bytes32 hash, bytes calldata signature) external view returns (address signer);
}

/// The v2 channel reserve (TIP-1034) for nodes that do not have it as a precompile.
///
/// Two things a precompile does are out of a contract's reach, so whoever sends the
/// transactions of this node prepares them in storage. A precompile sees which transaction an
/// `open` is part of: here `openContexts` says so. And it takes deposits without an allowance:
/// here the payer's allowance is there already.
contract ChannelReserve {
    /// What identifies a channel. Only its hash is stored, so every call brings it along.
    struct ChannelDescriptor {
        address payer;
        address payee;
        address operator;
        address token;
        bytes32 salt;
        address authorizedSigner;
        bytes32 expiringNonceHash;
    }

    /// One slot of state; all zero for a channel that does not exist any more.
    struct ChannelState {
        uint96 settled;
        uint96 deposit;
        uint32 closeRequestedAt;
    }

    struct Channel {
        ChannelDescriptor descriptor;
        ChannelState state;
    }

    uint64 public constant CLOSE_GRACE_PERIOD = 15 minutes;
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("TIP20 Channel Reserve");
    bytes32 private constant VERSION_HASH = keccak256("1");

    IPolicies private constant POLICIES = IPolicies(0x403c000000000000000000000000000000000000);
    ISignatureVerifier private constant VERIFIER = ISignatureVerifier(0x5165300000000000000000000000000000000000);

    /// By keccak(payer, calldata of the open): keccak(encodeForSigning ++ payer) of the
    /// transaction around it. Slot zero; nothing here ever writes to it.
    mapping(bytes32 openingKey => bytes32 expiringNonceHash) private openContexts;
    mapping(bytes32 channelId => ChannelState) private channels;

    event ChannelOpened(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        address operator,
        address token,
        address authorizedSigner,
        bytes32 salt,
        bytes32 expiringNonceHash,
        uint96 deposit
    );
    event Settled(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 cumulativeAmount,
        uint96 deltaPaid,
        uint96 newSettled
    );
    event TopUp(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 additionalDeposit,
        uint96 newDeposit
    );
    event CloseRequested(
        bytes32 indexed channelId, address indexed payer, address indexed payee, uint256 closeGraceEnd
    );
    event CloseRequestCancelled(bytes32 indexed channelId, address indexed payer, address indexed payee);
    event ChannelClosed(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 settledToPayee,
        uint96 refundedToPayer
    );

    error ChannelAlreadyExists();
    error ChannelNotFound();
    error NotPayer();
    error NotPayeeOrOperator();
    error InvalidPayee();
    error InvalidToken();
    error ZeroDeposit();
    error ExpiringNonceHashNotSet();
    error InvalidSignature();
    error AmountExceedsDeposit();
    error AmountNotIncreasing();
    error CaptureAmountInvalid();
    error CloseNotReady();
    error DepositOverflow();
    error PolicyForbids();
    error TransferFailed();
    error UnknownFunctionSelector(bytes4 selector);

    /// Precompiles say which function they do not have.
    fallback() external {
        revert UnknownFunctionSelector(msg.sig);
    }

    /// Locks up a deposit of the caller.
    function open(
        address payee,
        address operator,
        address token,
        uint96 deposit,
        bytes32 salt,
        address authorizedSigner
    ) external returns (bytes32 channelId) {
        if (payee == address(0) || isToken(payee)) revert InvalidPayee();
        // A virtual payee can not send transactions, so somebody else has to collect.
        if (isVirtual(payee) && (operator == address(0) || isVirtual(operator))) revert InvalidPayee();
        if (!isToken(token)) revert InvalidToken();
        if (deposit == 0) revert ZeroDeposit();
        bytes32 context = openContexts[keccak256(abi.encodePacked(msg.sender, msg.data))];
        if (context == 0) revert ExpiringNonceHashNotSet();
        channelId = computeChannelId(msg.sender, payee, operator, token, salt, authorizedSigner, context);
        if (channels[channelId].deposit != 0 || openedHere(channelId)) revert ChannelAlreadyExists();
        ensureNotFrozen(token, payee);
        channels[channelId].deposit = deposit;
        pull(token, deposit);
        emit ChannelOpened(
            channelId, msg.sender, payee, operator, token, authorizedSigner, salt, context, deposit
        );
    }

    /// Adds to the deposit and cancels a pending close request; a zero amount only does the
    /// latter.
    function topUp(ChannelDescriptor calldata descriptor, uint96 additionalDeposit) external {
        (bytes32 channelId, ChannelState memory state) = active(descriptor);
        if (msg.sender != descriptor.payer) revert NotPayer();
        bool cancelled = state.closeRequestedAt != 0;
        if (additionalDeposit == 0 && !cancelled) return;
        if (additionalDeposit > type(uint96).max - state.deposit) revert DepositOverflow();
        state.deposit += additionalDeposit;
        state.closeRequestedAt = 0;
        channels[channelId] = state;
        if (additionalDeposit != 0) {
            ensureNotFrozen(descriptor.token, descriptor.payee);
            pull(descriptor.token, additionalDeposit);
        }
        if (cancelled) emit CloseRequestCancelled(channelId, msg.sender, descriptor.payee);
        emit TopUp(channelId, msg.sender, descriptor.payee, additionalDeposit, state.deposit);
    }

    /// Pays the payee what a newer voucher is worth more than the last.
    function settle(ChannelDescriptor calldata descriptor, uint96 cumulativeAmount, bytes calldata signature)
        external
    {
        (bytes32 channelId, ChannelState memory state) = active(descriptor);
        ensurePayeeOrOperator(descriptor);
        if (cumulativeAmount > state.deposit) revert AmountExceedsDeposit();
        if (cumulativeAmount <= state.settled) revert AmountNotIncreasing();
        verify(descriptor, channelId, cumulativeAmount, signature);
        ensureNotFrozen(descriptor.token, descriptor.payer);
        uint96 delta = cumulativeAmount - state.settled;
        channels[channelId].settled = cumulativeAmount;
        pay(descriptor.token, descriptor.payee, delta);
        emit Settled(channelId, descriptor.payer, descriptor.payee, cumulativeAmount, delta, cumulativeAmount);
    }

    /// Pays the captured amount, which the voucher must cover, and gives the rest back.
    function close(
        ChannelDescriptor calldata descriptor,
        uint96 cumulativeAmount,
        uint96 captureAmount,
        bytes calldata signature
    ) external {
        (bytes32 channelId, ChannelState memory state) = active(descriptor);
        ensurePayeeOrOperator(descriptor);
        if (captureAmount < state.settled || captureAmount > cumulativeAmount) revert CaptureAmountInvalid();
        if (captureAmount > state.deposit) revert AmountExceedsDeposit();
        if (captureAmount > state.settled) {
            verify(descriptor, channelId, cumulativeAmount, signature);
            ensureNotFrozen(descriptor.token, descriptor.payer);
        }
        finish(descriptor, channelId, state, captureAmount);
    }

    /// Starts the grace period; repeating it changes nothing.
    function requestClose(ChannelDescriptor calldata descriptor) external {
        (bytes32 channelId, ChannelState memory state) = active(descriptor);
        if (msg.sender != descriptor.payer) revert NotPayer();
        if (state.closeRequestedAt != 0) return;
        channels[channelId].closeRequestedAt = uint32(block.timestamp);
        uint256 end = block.timestamp + CLOSE_GRACE_PERIOD;
        emit CloseRequested(channelId, msg.sender, descriptor.payee, end);
    }

    /// Gives back what is left once the grace period is over.
    function withdraw(ChannelDescriptor calldata descriptor) external {
        (bytes32 channelId, ChannelState memory state) = active(descriptor);
        if (msg.sender != descriptor.payer) revert NotPayer();
        uint256 ready = uint256(state.closeRequestedAt) + CLOSE_GRACE_PERIOD;
        if (state.closeRequestedAt == 0 || block.timestamp < ready) revert CloseNotReady();
        finish(descriptor, channelId, state, state.settled);
    }

    function getChannel(ChannelDescriptor calldata descriptor) external view returns (Channel memory) {
        return Channel(descriptor, channels[idOf(descriptor)]);
    }

    function getChannelState(bytes32 channelId) external view returns (ChannelState memory) {
        return channels[channelId];
    }

    function getChannelStatesBatch(bytes32[] calldata channelIds)
        external
        view
        returns (ChannelState[] memory states)
    {
        states = new ChannelState[](channelIds.length);
        for (uint256 i = 0; i < channelIds.length; ++i) {
            states[i] = channels[channelIds[i]];
        }
    }

    function computeChannelId(
        address payer,
        address payee,
        address operator,
        address token,
        bytes32 salt,
        address authorizedSigner,
        bytes32 expiringNonceHash
    ) public view returns (bytes32) {
        ChannelDescriptor memory descriptor =
            ChannelDescriptor(payer, payee, operator, token, salt, authorizedSigner, expiringNonceHash);
        return idOf(descriptor);
    }

    function getVoucherDigest(bytes32 channelId, uint96 cumulativeAmount) public view returns (bytes32) {
        bytes32 voucher = keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, cumulativeAmount));
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(), voucher));
    }

    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// All members are of static types, so that the struct encodes as they do one by one.
    function idOf(ChannelDescriptor memory descriptor) private view returns (bytes32) {
        return keccak256(abi.encode(descriptor, address(this), block.chainid));
    }

    function active(ChannelDescriptor calldata descriptor)
        private
        view
        returns (bytes32 channelId, ChannelState memory state)
    {
        channelId = idOf(descriptor);
        state = channels[channelId];
        if (state.deposit == 0) revert ChannelNotFound();
    }

    /// Whether this transaction has opened the channel before; from now on it has. One that was
    /// closed since leaves no trace in storage.
    function openedHere(bytes32 channelId) private returns (bool opened) {
        assembly ("memory-safe") {
            opened := tload(channelId)
            tstore(channelId, 1)
        }
    }

    /// Deletes the slot before anything is paid; `captured` is the payee's total.
    function finish(
        ChannelDescriptor calldata descriptor,
        bytes32 channelId,
        ChannelState memory state,
        uint96 captured
    ) private {
        delete channels[channelId];
        uint96 refund = state.deposit - captured;
        pay(descriptor.token, descriptor.payee, captured - state.settled);
        pay(descriptor.token, descriptor.payer, refund);
        emit ChannelClosed(channelId, descriptor.payer, descriptor.payee, captured, refund);
    }

    function verify(
        ChannelDescriptor calldata descriptor,
        bytes32 channelId,
        uint96 cumulativeAmount,
        bytes calldata signature
    ) private view {
        address signer = descriptor.authorizedSigner;
        if (signer == address(0)) signer = descriptor.payer;
        try VERIFIER.recover(getVoucherDigest(channelId, cumulativeAmount), signature) returns (address recovered) {
            if (recovered == address(0) || recovered != signer) revert InvalidSignature();
        } catch {
            revert InvalidSignature();
        }
    }

    function ensurePayeeOrOperator(ChannelDescriptor calldata descriptor) private view {
        bool operated = descriptor.operator != address(0) && msg.sender == descriptor.operator;
        if (!operated && msg.sender != descriptor.payee) revert NotPayeeOrOperator();
    }

    function ensureNotFrozen(address token, address account) private view {
        uint64 policy = IPolicedToken(token).transferPolicyId();
        if (!POLICIES.isAuthorized(policy, account)) revert PolicyForbids();
    }

    /// TIP-20 tokens have an address range of their own.
    function isToken(address account) private pure returns (bool) {
        return uint160(account) >> 64 == 0x20c000000000000000000000;
    }

    /// Addresses that stand for an account of somebody else (TIP-1022): a master's four bytes,
    /// ten fixed ones, and six of the user.
    function isVirtual(address account) private pure returns (bool) {
        return uint80(uint160(account) >> 48) == 0xfdfdfdfdfdfdfdfdfdfd;
    }

    function pull(address token, uint96 amount) private {
        bytes memory call = abi.encodeCall(IToken.transferFrom, (msg.sender, address(this), amount));
        if (!Tokens.invoke(token, call)) revert TransferFailed();
    }

    function pay(address token, address to, uint96 amount) private {
        if (amount == 0) return;
        if (!Tokens.invoke(token, abi.encodeCall(IToken.transfer, (to, amount)))) revert TransferFailed();
    }
}
