//! Logs of the chain: events of the escrows, and the transfers of a charge.

use alloy_primitives::{Address, B256, Bytes, U256};
use arbitrary::{Arbitrary, Unstructured};
use mpp_core::Amount;
use mpp_tempo::chain::{ChainLog, TxReceipt};
use mpp_tempo::charge::{ChargeBinding, Transfers, check_receipt, payment_logs};
use mpp_tempo::escrow::EscrowEvent;
use mpp_tempo::network::PATH_USD;
use mpp_tempo::wire::{ChargeDetails, ChargeRequest, Split};
use mpp_tempo::{SessionProtocol, charge::AttributionMemo};

const REALM: &str = "shop.example";
const ID: &str = "challenge";

/// A log, made of what stands in real ones.
#[derive(Arbitrary, Debug)]
struct Entry {
    emitter: u8,
    event: u8,
    parties: [u8; 2],
    amount: Number,
    memo: u8,
    /// Cuts the data, or adds to it.
    damage: Option<i8>,
    topics: u8,
}

#[derive(Arbitrary, Debug)]
enum Number {
    Small(u8),
    Word(u64),
    Max,
}

impl Number {
    fn word(&self) -> U256 {
        match self {
            Self::Small(number) => U256::from(*number),
            Self::Word(number) => U256::from(*number) << 64,
            Self::Max => U256::MAX,
        }
    }
}

/// Checks a receipt made of logs.
pub fn check(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok((splits, pinned, success)) = bytes.arbitrary::<(u8, bool, bool)>() else {
        return;
    };
    let mut logs = Vec::new();
    while logs.len() < 24
        && !bytes.is_empty()
        && let Ok(entry) = Entry::arbitrary(&mut bytes)
    {
        logs.push(log(&entry));
    }
    for log in &logs {
        events(log);
    }
    charge(splits, pinned, receipt(logs, success));
}

fn account(number: u8) -> Address {
    Address::repeat_byte(number % 4 + 1)
}

fn memo(choice: u8) -> B256 {
    match choice % 3 {
        0 => B256::ZERO,
        1 => B256::repeat_byte(9),
        _ => AttributionMemo::new(REALM, None, ID).to_word(),
    }
}

fn log(entry: &Entry) -> ChainLog {
    let [one, other] = entry.parties.map(|party| account(party).into_word());
    let all: Vec<B256> = [SessionProtocol::V1, SessionProtocol::V2]
        .into_iter()
        .flat_map(EscrowEvent::topics)
        .collect();
    let filter = payment_logs(&transfers(0, false), binding(), (account(0), 0));
    let with_memo = filter.topics[0][0];
    let transfer = alloy_primitives::keccak256("Transfer(address,address,uint256)");
    let event = match entry.event % 4 {
        0 => transfer,
        1 => with_memo,
        _ => all[usize::from(entry.event / 4) % all.len()],
    };
    let mut topics = vec![event, one, other];
    if entry.event % 4 == 1 {
        topics.push(memo(entry.memo));
    } else if entry.event % 4 > 1 {
        topics.push(memo(entry.memo));
    }
    topics.truncate(usize::from(entry.topics % 8).max(1));
    let mut data: Vec<u8> = entry.amount.word().to_be_bytes::<32>().into();
    if entry.event % 4 > 1 {
        data = data.repeat(usize::from(entry.memo % 7));
    }
    match entry.damage {
        Some(cut @ ..0) => {
            data.truncate(data.len().saturating_sub(usize::from(cut.unsigned_abs())))
        }
        Some(more) => data.extend(std::iter::repeat_n(0, more.unsigned_abs().into())),
        None => {}
    }
    let emitter = match entry.emitter % 4 {
        0..=1 => PATH_USD,
        2 => mpp_tempo::network::CHANNEL_RESERVE,
        _ => account(entry.emitter / 4),
    };
    ChainLog {
        address: emitter,
        topics,
        data: Bytes::from(data),
        block_number: Some(1),
        tx_hash: Some(B256::repeat_byte(1)),
        log_index: None,
    }
}

/// An event is about the channel that its topics name.
fn events(log: &ChainLog) {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        if let Some(event) = EscrowEvent::decode(log, protocol) {
            assert!(EscrowEvent::topics(protocol).contains(&log.topics[0]));
            assert_eq!(event.channel_id(), log.topics[1]);
        }
    }
}

fn receipt(logs: Vec<ChainLog>, success: bool) -> TxReceipt {
    TxReceipt {
        hash: B256::repeat_byte(1),
        success,
        block_number: 1,
        logs,
        gas_used: 1,
        from: account(0),
        fee_payer: None,
        gas_price: None,
    }
}

fn binding() -> ChargeBinding<'static> {
    ChargeBinding {
        realm: REALM,
        challenge_id: ID,
    }
}

fn transfers(splits: u8, pinned: bool) -> Transfers {
    let split = |number| Split {
        amount: Amount::new(1),
        memo: None,
        recipient: account(number),
    };
    let splits: Vec<Split> = (0..splits % 4).map(split).collect();
    let request = ChargeRequest {
        amount: Amount::new(10),
        currency: PATH_USD,
        recipient: account(1),
        description: None,
        external_id: None,
        method_details: ChargeDetails {
            chain_id: 42_431,
            fee_payer: None,
            memo: pinned.then(|| memo(1)),
            splits: (!splits.is_empty()).then_some(splits),
            supported_modes: None,
        },
    };
    Transfers::try_from(&request).unwrap()
}

/// SECURITY-CASES A4 and A25: what is believed to be paid was paid.
fn charge(splits: u8, pinned: bool, receipt: TxReceipt) {
    let transfers = transfers(splits, pinned);
    let Ok(matched) = check_receipt(&receipt, &transfers, binding()) else {
        return;
    };
    assert!(receipt.success);
    // Every log of the payer counts at most once.
    let moved = receipt.logs.iter().filter(|log| {
        log.address == PATH_USD && log.topics.get(1) == Some(&account(0).into_word())
    });
    let moved: Vec<_> = moved.collect();
    assert!(moved.len() >= transfers.count() + matched.surplus);
    for asked in transfers.iter() {
        let wanted = transfers
            .iter()
            .filter(|other| other.to == asked.to && other.amount == asked.amount);
        let made = moved.iter().filter(|log| {
            log.topics.get(2) == Some(&asked.to.into_word())
                && log.data[..] == U256::from(asked.amount.base_units()).to_be_bytes::<32>()
        });
        assert!(made.count() >= wanted.count());
    }
    // And some log carries the memo by which it was matched.
    assert!(
        moved
            .iter()
            .any(|log| log.topics.get(3) == Some(&matched.memo))
    );
}
