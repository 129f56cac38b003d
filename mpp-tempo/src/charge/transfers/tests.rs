use proptest::prelude::*;

use super::*;
use crate::network::PATH_USD;
use crate::wire::{ChargeDetails, Split};

const REALM: &str = "shop.example";
const BINDING: ChargeBinding<'static> = ChargeBinding {
    realm: REALM,
    challenge_id: "c1",
};

fn request(amount: u128, splits: Option<&[(u128, u8, Option<B256>)]>) -> ChargeRequest {
    let split = |&(amount, to, memo): &(u128, u8, Option<B256>)| Split {
        amount: Amount::new(amount),
        memo,
        recipient: Address::repeat_byte(to),
    };
    ChargeRequest {
        amount: Amount::new(amount),
        currency: PATH_USD,
        recipient: Address::repeat_byte(1),
        description: None,
        external_id: None,
        method_details: ChargeDetails {
            chain_id: 42431,
            fee_payer: None,
            memo: None,
            splits: splits.map(|splits| splits.iter().map(split).collect()),
            supported_modes: None,
        },
    }
}

fn transfers(amount: u128, splits: Option<&[(u128, u8, Option<B256>)]>) -> Transfers {
    Transfers::try_from(&request(amount, splits)).unwrap()
}

fn surplus(asked: &Transfers, made: &[ChargeTransfer]) -> Result<usize, TransferMismatch> {
    let matched = asked.match_with(made, BINDING)?;
    Ok(matched.surplus)
}

fn attribution(challenge_id: &str) -> AttributionMemo {
    AttributionMemo::new(REALM, Some("client"), challenge_id)
}

// PROTOCOL 4: the primary recipient gets the rest.
#[test]
fn the_primary_recipient_gets_what_the_splits_leave() {
    let pinned = Some(B256::repeat_byte(7));
    let asked = transfers(100, Some(&[(30, 2, None), (69, 3, pinned)]));
    assert_eq!(asked.primary().amount, Amount::new(1));
    assert_eq!(asked.count(), 3);
    let sum: u128 = asked.iter().map(|one| one.amount.base_units()).sum();
    assert_eq!(sum, 100);
    let made = asked.with_attribution(attribution("c1"));
    assert_eq!(made[0].memo, Some(attribution("c1").to_word()));
    assert_eq!((made[1].memo, made[2].memo), (None, pinned));
}

// PROTOCOL 4: splits: 1 to 10, each > 0, sum < amount.
#[test]
fn requests_that_break_a_rule_are_refused() {
    let check = |amount, splits: Option<&[_]>, expected| {
        let request = request(amount, splits);
        assert_eq!(Transfers::try_from(&request), Err(expected));
    };
    check(0, None, InvalidCharge::NothingToPay);
    check(10, Some(&[]), InvalidCharge::SplitCount(0));
    check(
        100,
        Some(&[(1, 2, None); 11]),
        InvalidCharge::SplitCount(11),
    );
    check(10, Some(&[(0, 2, None)]), InvalidCharge::EmptySplit);
    check(10, Some(&[(10, 2, None)]), InvalidCharge::SplitSum);
    check(10, Some(&[(11, 2, None)]), InvalidCharge::SplitSum);
    let huge = u128::MAX;
    check(
        huge,
        Some(&[(huge, 2, None), (huge, 2, None)]),
        InvalidCharge::SplitSum,
    );
    assert_eq!(transfers(11, Some(&[(1, 2, None); 10])).count(), 11);
}

// PROTOCOL 4: the attribution memo is required on at least one matched transfer.
#[test]
fn a_payment_of_another_challenge_does_not_count() {
    let asked = transfers(10, None);
    let made = |memo| {
        [ChargeTransfer {
            memo,
            ..*asked.primary()
        }]
    };
    let own = made(Some(attribution("c1").to_word()));
    assert_eq!(surplus(&asked, &own), Ok(0));
    let bare = asked.match_with(&made(None), BINDING);
    assert_eq!(bare, Err(TransferMismatch::Unattributed));
    let elsewhere = AttributionMemo::new("other.example", None, "c1").to_word();
    for memo in [attribution("c2").to_word(), elsewhere, B256::repeat_byte(7)] {
        assert!(matches!(
            asked.match_with(&made(Some(memo)), BINDING),
            Err(TransferMismatch::Missing { .. })
        ));
    }
}

#[test]
fn a_pinned_memo_is_what_the_primary_transfer_must_carry() {
    let mut request = request(10, None);
    let pinned = B256::repeat_byte(9);
    request.method_details.memo = Some(pinned);
    let asked = Transfers::try_from(&request).unwrap();
    assert!(!asked.is_attributed());
    let made = asked.with_attribution(attribution("c1"));
    assert_eq!(made[0].memo, Some(pinned));
    assert_eq!(surplus(&asked, &made), Ok(0));
    let other = [ChargeTransfer {
        memo: Some(attribution("c1").to_word()),
        ..*asked.primary()
    }];
    assert!(asked.match_with(&other, BINDING).is_err());
}

#[test]
fn each_transfer_counts_once() {
    let asked = transfers(20, Some(&[(10, 1, None)]));
    let attributed = asked.with_attribution(attribution("c1"));
    assert_eq!(surplus(&asked, &attributed), Ok(0));
    assert!(asked.match_with(&attributed[..1], BINDING).is_err());
    // The bare one must not keep the attributed one from being found.
    let reversed = [attributed[1], attributed[0], attributed[1]];
    assert_eq!(surplus(&asked, &reversed), Ok(1));
}

proptest! {
    // Whatever the order, what a client makes matches; with any one of them changed it does not.
    #[test]
    fn the_order_does_not_matter_and_everything_else_does(
        splits in prop::collection::vec((1_u128..50, 1_u8..4, any::<bool>()), 1..=10),
        rest in 1_u128..50,
        at in any::<prop::sample::Index>(),
        backwards in any::<bool>(),
        change in 0..3,
    ) {
        let splits: Vec<_> = splits
            .into_iter()
            .map(|(amount, to, pinned)| (amount, to, pinned.then(|| B256::repeat_byte(to))))
            .collect();
        let total = splits.iter().fold(rest, |sum, split| sum.saturating_add(split.0));
        let asked = transfers(total, Some(&splits));
        let mut made = asked.with_attribution(attribution("c1"));
        let place = at.index(made.len());
        made.rotate_left(place);
        if backwards {
            made.reverse();
        }
        prop_assert_eq!(surplus(&asked, &made), Ok(0));

        let mut more = made.clone();
        more.insert(at.index(made.len()), made[0]);
        prop_assert_eq!(surplus(&asked, &more), Ok(1));

        let changed = *at.get(&made);
        made[place] = match change {
            0 => ChargeTransfer { amount: Amount::new(1_000), ..changed },
            1 => ChargeTransfer { to: Address::repeat_byte(0xEE), ..changed },
            _ => ChargeTransfer { memo: Some(B256::repeat_byte(0xEE)), ..changed },
        };
        prop_assert!(asked.match_with(&made, BINDING).is_err());
    }
}
