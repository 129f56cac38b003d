use super::*;

#[test]
fn addresses_of_one_network_share_a_budget() {
    let range_of = |text: &str| range(text.parse().unwrap());
    assert_eq!(range_of("192.0.2.1"), range_of("192.0.2.254"));
    assert_ne!(range_of("192.0.2.1"), range_of("192.0.3.1"));
    assert_eq!(range_of("2001:db8:1:2::1"), range_of("2001:db8:1:3::1"));
    assert_ne!(range_of("2001:db8:1::1"), range_of("2001:db8:2::1"));
    // An IPv4 address in the form of IPv6 is the same one.
    assert_eq!(range_of("::ffff:192.0.2.1"), range_of("192.0.2.9"));
}

#[test]
fn windows_follow_each_other() {
    let budget = SponsorBudget::default();
    let at = |secs| budget.window(Timestamp::from_secs(secs));
    assert_eq!(at(3_600), at(7_199));
    assert_eq!(at(7_200), at(7_199) + 1);
    let old = Spent {
        window: 1,
        fees: U256::from(5),
    };
    assert_eq!(Spent::in_window(Some(old), 1), old);
    assert_eq!(Spent::in_window(Some(old), 2).fees, U256::ZERO);
}

#[test]
fn payers_ranges_and_the_total_are_kept_apart() {
    let budget = SponsorBudget::default();
    let peer = Some(IpAddr::from([192, 0, 2, 1]));
    let subjects = budget.subjects(Address::repeat_byte(1), peer);
    let keys: std::collections::BTreeSet<_> = subjects.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(budget.subjects(Address::repeat_byte(1), None).len(), 2);
}
