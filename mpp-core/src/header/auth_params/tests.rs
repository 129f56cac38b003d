//! The grammar of schemes and parameters: PROTOCOL.md section 1, security case A6.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;

use super::{Content, parse};
use crate::header::HeaderError;
use crate::header::limits::{MAX_PARAMETERS, MAX_VALUE};

type Read = (String, Result<Vec<(String, String)>, HeaderError>);

fn read(value: &str) -> Vec<Read> {
    let elements = parse(value).unwrap();
    let owned = elements.into_iter().map(|element| {
        let content = element.content.map(|content| match content {
            Content::Token68(token) => vec![("<token68>".into(), token.into())],
            Content::Params(params) => params
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        });
        (element.scheme.into(), content)
    });
    owned.collect()
}

fn scheme(name: &str, params: &[(&str, &str)]) -> Read {
    let params = params
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    (name.into(), Ok(params.collect()))
}

fn broken(name: &str, error: HeaderError) -> Read {
    (name.into(), Err(error))
}

#[track_caller]
fn check(value: &str, expected: &[Read]) {
    assert_eq!(read(value), expected, "{value}");
}

#[test]
fn schemes_and_parameters_are_told_apart() {
    check("", &[]);
    check(" , ,", &[]);
    check("Negotiate", &[scheme("Negotiate", &[])]);
    check("A, B", &[scheme("A", &[]), scheme("B", &[])]);
    check(
        "A x=1, y=2, B z=3",
        &[
            scheme("A", &[("x", "1"), ("y", "2")]),
            scheme("B", &[("z", "3")]),
        ],
    );
    check("A x=1,B", &[scheme("A", &[("x", "1")]), scheme("B", &[])]);
    check(
        "Basic QWxh==, Payment e30",
        &[
            scheme("Basic", &[("<token68>", "QWxh==")]),
            scheme("Payment", &[("<token68>", "e30")]),
        ],
    );
    check("N abc=", &[scheme("N", &[("<token68>", "abc=")])]);
}

#[test]
fn blanks_around_the_equals_sign_are_skipped() {
    let expected = [scheme("A", &[("x", "1"), ("y", "2 3")])];
    check("A x = 1 , y\t=\t\"2 3\"", &expected);
    check("A  x=1,,y= \"2 3\" ,", &expected);
}

// A token that is followed by `=` is a parameter, whatever its name.
#[test]
fn a_parameter_may_have_the_name_of_a_scheme() {
    check(
        "A x=1, Payment = 2",
        &[scheme("A", &[("x", "1"), ("Payment", "2")])],
    );
}

#[test]
fn quoted_values_hide_commas_schemes_and_escapes() {
    check(
        r#"A x="1, Payment id=2", y=3"#,
        &[scheme("A", &[("x", "1, Payment id=2"), ("y", "3")])],
    );
    check(r#"A x="a\"b\\c\d""#, &[scheme("A", &[("x", r#"a"b\cd"#)])]);
    check(
        r#"A x="", y="\"""#,
        &[scheme("A", &[("x", ""), ("y", "\"")])],
    );
}

// PROTOCOL.md section 1: characters above U+00FF are written \uXXXX (UTF-16 units) by peers.
#[test]
fn unicode_escapes_are_decoded() {
    check(
        r#"A x="\u2615\uD83D\uDE00\u00e9""#,
        &[scheme("A", &[("x", "\u{2615}\u{1f600}\u{e9}")])],
    );
    // Not four hex digits: an ordinary escaped `u`. An escaped backslash: no escape at all.
    check(
        r#"A x="C:\users", y="\\u2615""#,
        &[scheme("A", &[("x", "C:users"), ("y", r"\u2615")])],
    );
    for half in [r"\ud83d", r"\ude00", r"\ud83d\u0041", r"\ud83dx"] {
        check(
            &format!("A x=\"{half}\", B"),
            &[broken("A", HeaderError::Syntax), scheme("B", &[])],
        );
    }
}

#[test]
fn half_a_surrogate_pair_does_not_swallow_an_escape() {
    let value = r#"A x="\ud83d\", Payment id=1, y=", B"#;
    check(value, &[broken("A", HeaderError::Syntax), scheme("B", &[])]);
}

// PROTOCOL.md section 1: CR or LF anywhere is an error.
#[test]
fn control_characters_are_refused_raw_and_escaped() {
    for value in [
        "A x=1\r\nB: c",
        "A x=\"\n\"",
        "\0",
        "A x=\"\u{7f}\"",
        "A x=\"\u{85}\"",
    ] {
        assert_eq!(
            parse(value).unwrap_err(),
            HeaderError::ControlCharacter,
            "{value:?}"
        );
    }
    for escape in ["000d", "000A", "0000", "0085"] {
        let value = format!("A x=\"\\u{escape}\"");
        check(&value, &[broken("A", HeaderError::ControlCharacter)]);
    }
    check("A x=\"a\tb\"", &[scheme("A", &[("x", "a\tb")])]);
}

// PROTOCOL.md section 1: duplicates (case-insensitive) are an error.
#[test]
fn duplicate_parameters_spoil_their_scheme_only() {
    check(
        "A x=1, X=2, B x=1",
        &[
            broken("A", HeaderError::DuplicateParameter),
            scheme("B", &[("x", "1")]),
        ],
    );
}

#[test]
fn broken_parameters_spoil_their_scheme_only() {
    for value in [
        "A x=, B",
        "A x, y=1, B",
        "A x=1 2, B",
        "A x=\"1\"2, B",
        "A x=1 y=2, B",
        "A abc, y=1, B",
        "A x=1, \"quoted, Payment id=1\", B",
        "A x=1, y@z, B",
        r#"A x=1 "a\", Payment id=1", B"#,
        "A x=y\"z, Payment id=1\", B",
        "A x=\u{e9}, B",
    ] {
        let found = read(value);
        let schemes: Vec<&str> = found.iter().map(|(scheme, _)| scheme.as_str()).collect();
        assert_eq!(schemes.first(), Some(&"A"), "{value}");
        assert_eq!(schemes.last(), Some(&"B"), "{value}");
        assert!(!schemes.contains(&"Payment"), "{value}");
    }
    check(
        "A x=\"open, Payment id=1",
        &[broken("A", HeaderError::Syntax)],
    );
}

#[test]
fn counts_and_sizes_are_bounded() {
    let params = |count: usize| {
        let params: Vec<String> = (0..count).map(|index| format!("p{index}=1")).collect();
        format!("A {}", params.join(","))
    };
    assert!(read(&params(MAX_PARAMETERS))[0].1.is_ok());
    assert_eq!(
        read(&params(MAX_PARAMETERS + 1)),
        [broken("A", HeaderError::TooManyEntries)]
    );
    assert!(parse(&"a".repeat(MAX_VALUE)).is_ok());
    assert_eq!(
        parse(&"a".repeat(MAX_VALUE + 1)).unwrap_err(),
        HeaderError::TooLarge
    );
}

proptest! {
    // Security case A6: whatever stands inside quotes, what follows them is read right.
    #[test]
    fn quoted_text_never_leaks(text in any::<String>()) {
        let quoted: String = text
            .chars()
            .filter(|character| !character.is_control())
            .flat_map(|character| match character {
                '"' | '\\' => vec!['\\', character],
                other => vec![other],
            })
            .collect();
        let value = format!("A x=\"{quoted}\", B y=1");
        let found = read(&value);
        prop_assert_eq!(found.len(), 2, "{}", value);
        prop_assert_eq!(&found[1], &scheme("B", &[("y", "1")]));
    }

    #[test]
    fn no_text_panics(text in "[AaPaymentu0-9=\\\\\", ;\t]{0,60}", noise in any::<String>()) {
        let _ = parse(&noise);
        prop_assert!(parse(&text).unwrap().len() <= text.len());
    }
}
