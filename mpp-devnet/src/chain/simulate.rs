//! Calls that leave no trace: `eth_call`, `eth_estimateGas` and `eth_simulateV1`.

use crate::chain::candidate::Target;
use crate::chain::execute::environment;
use crate::chain::gas;
use crate::chain::gas::NonceCost;
use crate::chain::node::Node;
use crate::chain::state::State;
use crate::precompile::Env;
use crate::precompile::revert::Outcome;
use alloy_primitives::{Address, Bytes, Log, U256, keccak256};

/// A transaction that is only tried.
#[derive(Debug, Clone)]
pub(crate) struct DryRun {
    pub(crate) from: Address,
    pub(crate) calls: Vec<Target>,
    /// `None` stands for the protocol nonce.
    pub(crate) nonce_key: Option<U256>,
    /// Gas of the sender's signature.
    pub(crate) signature_gas: u64,
    pub(crate) sponsored: bool,
}

/// What one of several tried calls did.
#[derive(Debug, Clone)]
pub(crate) struct Simulated {
    pub(crate) outcome: Outcome,
    pub(crate) logs: Vec<Log>,
    pub(crate) gas_used: u64,
}

impl Node {
    /// Runs the calls on the state after block `number` and returns the last call's output.
    pub(crate) fn dry_run(&mut self, run: &DryRun, number: u64) -> Outcome {
        self.tried(number, run.from, |env| call_all(env, run))
    }

    /// Runs one after the other; each sees what those before it have done. One that reverts leaves nothing behind.
    pub(crate) fn simulate(
        &mut self,
        from: Address,
        runs: &[DryRun],
        number: u64,
    ) -> Vec<Simulated> {
        let gas: Vec<u64> = runs.iter().map(|run| self.gas_of(run)).collect();
        self.tried(number, from, |env| {
            let run = |(run, gas_used): (&DryRun, u64)| {
                let (mark, logged) = (env.state.mark(), env.logs.len());
                let outcome = call_all(env, run);
                if outcome.is_err() {
                    env.state.rollback(mark);
                    env.logs.truncate(logged);
                }
                Simulated {
                    outcome,
                    logs: env.logs.split_off(logged),
                    gas_used,
                }
            };
            runs.iter().zip(gas).map(run).collect()
        })
    }

    /// Lets somebody try something on the state after block `number`, which stays as it is.
    fn tried<T>(
        &mut self,
        number: u64,
        from: Address,
        attempt: impl FnOnce(&mut Env<'_>) -> T,
    ) -> T {
        // A dry run has no transaction to hash; any non-zero context lets `open` be tried.
        let context = keccak256([b"dry run".as_slice(), from.as_slice()].concat());
        if number >= self.height() {
            let now = self.pending_timestamp();
            let mark = self.state.mark();
            let mut env = environment(&self.rules, &mut self.state, now, context);
            let tried = attempt(&mut env);
            self.state.rollback(mark);
            return tried;
        }
        let timestamp = self
            .block(number)
            .map(|block| block.timestamp())
            .unwrap_or_default();
        let mut past = self.state_at(number);
        attempt(&mut environment(&self.rules, &mut past, timestamp, context))
    }

    /// A copy of the state as it was after block `number`.
    pub(crate) fn state_at(&self, number: u64) -> State {
        let mut past = self.state.clone();
        if let Some(next) = number.checked_add(1).and_then(|next| self.block(next)) {
            past.rollback(next.before);
        }
        past
    }

    /// The gas a transaction with these calls needs; prices do not depend on the calls' outcome.
    pub(crate) fn gas_of(&self, run: &DryRun) -> u64 {
        let nonce = match run.nonce_key {
            Some(U256::MAX) => NonceCost::Expiring,
            Some(key) if !key.is_zero() => match self.state.nonce(run.from, key) {
                0 => NonceCost::NewKey,
                _ => NonceCost::UsedKey,
            },
            _ => NonceCost::Protocol,
        };
        let base = gas::intrinsic(&run.calls, run.signature_gas, run.sponsored, nonce);
        let calls = run
            .calls
            .iter()
            .map(|target| gas::call(self.rules.stream_channel, target));
        calls.fold(base, u64::saturating_add)
    }
}

fn call_all(env: &mut Env<'_>, run: &DryRun) -> Outcome {
    let mut output = Bytes::new();
    for target in &run.calls {
        output = env.call(run.from, target.to, &target.input)?;
    }
    Ok(output)
}
