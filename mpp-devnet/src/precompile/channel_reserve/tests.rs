//! Rules that no signed transaction can reach, because its hash would have to be inside itself.

use super::deposit::open;
use super::payout::close;
use super::*;
use crate::chain::state::{State, Token};
use std::collections::HashSet;
use tempo_contracts::precompiles::ITIP20ChannelReserve::ChannelDescriptor;
use tempo_contracts::precompiles::PATH_USD_ADDRESS as TOKEN;

const PAYER: Address = Address::repeat_byte(1);
const PAYEE: Address = Address::repeat_byte(2);
const CONTEXT: B256 = B256::repeat_byte(3);

fn state() -> State {
    let mut state = State::default();
    let token = Token {
        name: String::new(),
        symbol: String::new(),
        paused: false,
        total_supply: U256::from(100),
        admin: PAYER,
    };
    state.tokens.set(TOKEN, token);
    state.balances.set((TOKEN, PAYER), U256::from(100));
    state
}

fn env(state: &mut State, open_context: B256) -> Env<'_> {
    Env {
        state,
        chain_id: 1,
        now: 1,
        stream_channel: Address::ZERO,
        open_context,
        opened: HashSet::new(),
        logs: Vec::new(),
    }
}

fn open_call() -> abi::openCall {
    abi::openCall {
        payee: PAYEE,
        operator: PAYER,
        token: TOKEN,
        deposit: U96::from(10),
        salt: B256::ZERO,
        authorizedSigner: Address::ZERO,
    }
}

fn close_call() -> abi::closeCall {
    abi::closeCall {
        descriptor: ChannelDescriptor {
            payer: PAYER,
            payee: PAYEE,
            operator: PAYER,
            token: TOKEN,
            salt: B256::ZERO,
            authorizedSigner: Address::ZERO,
            expiringNonceHash: CONTEXT,
        },
        cumulativeAmount: U96::ZERO,
        captureAmount: U96::ZERO,
        signature: Bytes::new(),
    }
}

#[test]
fn a_channel_closed_in_its_opening_transaction_stays_closed_in_it() {
    let mut state = state();
    let mut env = env(&mut state, CONTEXT);
    open(&mut env, PAYER, &open_call()).unwrap();
    close(&mut env, PAYER, &close_call()).unwrap();
    let again = open(&mut env, PAYER, &open_call());
    assert_eq!(again, Err(Revert::error(abi::ChannelAlreadyExists {})));
    // The guard belongs to the transaction, not to the chain.
    env.opened.clear();
    open(&mut env, PAYER, &open_call()).unwrap();
}

#[test]
fn without_a_transaction_there_is_no_open() {
    let mut state = state();
    let mut env = env(&mut state, B256::ZERO);
    let outcome = open(&mut env, PAYER, &open_call());
    assert_eq!(outcome, Err(Revert::error(abi::ExpiringNonceHashNotSet {})));
}
