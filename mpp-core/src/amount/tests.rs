//! Amounts are exact or refused.

use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;

use super::{Amount, AmountError};
use crate::testing;

#[track_caller]
fn check_decimal(human: &str, decimals: u8, expected: Result<u128, AmountError>) {
    assert_eq!(
        Amount::from_decimal(human, decimals),
        expected.map(Amount::new),
        "{human}"
    );
}

// PROTOCOL.md section 2: human prices convert exactly or are refused.
#[test]
fn human_prices_convert_exactly() {
    check_decimal("0.000025", 6, Ok(25));
    check_decimal("0.001", 6, Ok(1_000));
    check_decimal("1", 6, Ok(1_000_000));
    check_decimal("12.5", 6, Ok(12_500_000));
    check_decimal("0", 6, Ok(0));
    check_decimal("7", 0, Ok(7));
    check_decimal("1.50", 1, Ok(15));
    check_decimal("1.000000000", 6, Ok(1_000_000));
    check_decimal("340282366920938463463374607431768211455", 0, Ok(u128::MAX));
    check_decimal("0", 255, Ok(0));
}

#[test]
fn human_prices_are_never_rounded() {
    check_decimal("0.0000004", 6, Err(AmountError::TooPrecise { decimals: 6 }));
    check_decimal("0.0000009", 6, Err(AmountError::TooPrecise { decimals: 6 }));
    check_decimal("1.5", 0, Err(AmountError::TooPrecise { decimals: 0 }));
    check_decimal("1", 39, Err(AmountError::TooLarge));
    check_decimal(
        "340282366920938463463374607431768211456",
        0,
        Err(AmountError::TooLarge),
    );
}

#[test]
fn human_prices_have_one_grammar() {
    for text in ["", ".5"] {
        check_decimal(text, 6, Err(AmountError::Empty));
    }
    for text in [
        "5.", "-1", "+1", "1e3", " 1", "1 ", "1.-5", "1.2.3", "0x10", "1,5", "\u{0661}",
    ] {
        check_decimal(text, 6, Err(AmountError::InvalidDigit));
    }
    check_decimal("1.0000000x", 6, Err(AmountError::InvalidDigit));
    check_decimal("00.5", 6, Err(AmountError::LeadingZero));
}

#[test]
fn decimal_form_trims_trailing_zeros_only() {
    assert_eq!(Amount::new(25).to_decimal(6), "0.000025");
    assert_eq!(Amount::new(1_500_000).to_decimal(6), "1.5");
    assert_eq!(Amount::new(100_000_000).to_decimal(6), "100");
    assert_eq!(Amount::ZERO.to_decimal(6), "0");
    assert_eq!(Amount::new(120).to_decimal(0), "120");
}

#[test]
fn text_is_plain_decimal_digits() {
    assert_eq!("0".parse(), Ok(Amount::ZERO));
    assert_eq!(u128::MAX.to_string().parse(), Ok(Amount::MAX));
    for (text, error) in [
        ("", AmountError::Empty),
        ("-1", AmountError::InvalidDigit),
        ("+1", AmountError::InvalidDigit),
        ("1.0", AmountError::InvalidDigit),
        ("01", AmountError::LeadingZero),
        ("00", AmountError::LeadingZero),
        (
            "340282366920938463463374607431768211456",
            AmountError::TooLarge,
        ),
        (
            "9999999999999999999999999999999999999999",
            AmountError::TooLarge,
        ),
    ] {
        assert_eq!(text.parse::<Amount>(), Err(error), "{text}");
    }
}

// PROTOCOL.md section 2: integers in JSON are decimal strings (security case A32).
#[test]
fn json_numbers_are_refused() {
    assert_eq!(
        serde_json::from_str::<Amount>("\"1000\"").unwrap(),
        Amount::new(1_000)
    );
    for text in ["1000", "1e3", "-1", "null", "\"-1\"", "\"1e3\"", "\"\""] {
        assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
    }
}

#[test]
fn arithmetic_is_checked() {
    assert_eq!(Amount::MAX.checked_add(Amount::new(1)), None);
    assert_eq!(
        Amount::new(2).checked_add(Amount::new(3)),
        Some(Amount::new(5))
    );
    assert_eq!(Amount::new(1).checked_sub(Amount::new(2)), None);
    assert_eq!(
        Amount::new(3).checked_sub(Amount::new(2)),
        Some(Amount::new(1))
    );
    assert_eq!(Amount::MAX.checked_mul(2), None);
    assert_eq!(Amount::new(25).checked_mul(4), Some(Amount::new(100)));
    assert_eq!(Amount::new(1).saturating_sub(Amount::new(2)), Amount::ZERO);
}

proptest! {
    #[test]
    fn text_round_trips(amount in testing::amount()) {
        prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        let json = serde_json::to_string(&amount).unwrap();
        prop_assert_eq!(&json, &format!("\"{amount}\""));
        prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
    }

    #[test]
    fn decimal_form_round_trips(amount in testing::amount(), decimals in 0_u8..=60) {
        let human = amount.to_decimal(decimals);
        prop_assert_eq!(Amount::from_decimal(&human, decimals), Ok(amount), "{}", human);
    }
}
