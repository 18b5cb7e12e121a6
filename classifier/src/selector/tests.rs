//! The project's own cases of the selector language.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error:?}"))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

#[test]
fn selectors_match_what_calico_matches() {
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: &[(&str, Pairs, bool)] = &[
        ("", &[], true),
        (" \t ", &[], true),
        ("all()", &[], true),
        ("all( )", &[], true),
        ("global()", &[], true),
        ("all() && global()", &[], true),
        ("!all()", &[], false),
        ("!!all()", &[], true),
        ("has(a)", &[("a", "")], true),
        ("has(\ta )", &[("a", "x")], true),
        ("a == ''", &[("a", "")], true),
        ("a == ''", &[], false),
        ("a == 'X'", &[("a", "x")], false),
        ("A == 'x'", &[("a", "x")], false),
        ("a != 'x'", &[], true),
        ("a not in {'x'}", &[], true),
        ("a notin{'x'}", &[("a", "x")], false),
        ("a in {}", &[("a", "")], false),
        ("a not in {}", &[("a", "")], true),
        ("a in {'x',}", &[("a", "x")], true),
        ("a in { 'x' , 'y' , }", &[("a", "y")], true),
        ("a contains ''", &[("a", "")], true),
        ("a contains ''", &[], false),
        ("a starts\t with 'ab'", &[("a", "abc")], true),
        ("a startswith 'ab'", &[("a", "xab")], false),
        ("a endswith'bc'", &[("a", "abc")], true),
        ("a ends  with 'bc'", &[("a", "bca")], false),
        ("in in {'x'}", &[("in", "x")], true),
        ("has == 'a'", &[("has", "a")], true),
        ("all == 'a'", &[("all", "a")], true),
        ("not == 'b'", &[("not", "b")], true),
        ("contains contains 'contains'", &[("contains", "contains")], true),
        ("starts starts with 's'", &[("starts", "s")], true),
        ("a/b.c_d-e == 'x'", &[("a/b.c_d-e", "x")], true),
        ("-a == 'x'", &[("-a", "x")], true),
        ("a == 'line\nbreak'", &[("a", "line\nbreak")], true),
        ("a == 'grüße'", &[("a", "grüße")], true),
        // `!` binds to one operation, `&&` stronger than `||`.
        ("!a == 'x' && b == 'y'", &[("b", "y")], true),
        ("a == 'x' || b == 'y' && c == 'z'", &[("a", "x")], true),
        ("(a == 'x' || b == 'y') && c == 'z'", &[("a", "x")], false),
    ];
    for (text, pairs, expected) in cases {
        assert_eq!(parse(text).matches(&labels(pairs)), *expected, "`{text}` on {pairs:?}");
    }
}

#[test]
fn mistakes_are_pointed_at_and_explained() {
    // Text, what the caret underlines (empty at the end of the text), a part of the message.
    let cases = [
        ("b", "", "expected an operator after the label `b`"),
        ("a b", "b", "expected an operator after the label `a`: `==`"),
        ("a squiggles 'x'", "squiggles", "expected an operator"),
        ("a starts 'x'", "starts", "expected an operator"),
        ("a notx {'x'}", "notx", "expected an operator"),
        ("a = 'x'", "=", "expected `==`"),
        ("a ! 'x'", "!", "expected an operator"),
        ("a == b", "b", "expected a quoted value after `==`"),
        ("a ==", "", "after `==`, as in `'value'`, but the selector ends here"),
        ("a not  in 'x'", "'x'", "expected a set after `not  in`"),
        ("a in {,'x'}", ",", "expected a quoted value or `}`"),
        ("a in {'x' 'y'}", "'y'", "expected `,` or `}`"),
        ("a in {'x',", "", "expected a quoted value or `}`"),
        ("a in {'x', 'y", "'y", "expected a closing `'`"),
        ("a == \"x'", "\"x'", "expected a closing `\"`"),
        ("'x' == a", "'x'", "expected a label before this value"),
        ("a == 'x' && %", "%", "expected a label, `has(label)`"),
        ("a == 'x' &&", "", "but the selector ends here"),
        ("a == 'x' & b == 'y'", "&", "expected `&&`"),
        ("a == 'x' | b == 'y'", "|", "expected `||`"),
        ("a == 'x' &&& b == 'y'", "&", "expected a label"),
        ("a == 'x' ü", "ü", "expected `&&`, `||` or the end"),
        ("a == 'x' b == 'y'", "b", "or the end of the selector"),
        ("ü (has(a)", "ü", "expected a label"),
        ("a != 'ü' && (has(a)", "", "for the `(` at character 13"),
        ("(has(a) has(b))", "has", "expected `&&`, `||` or a `)`"),
        ("has(a))", ")", "closes nothing"),
        ("()", ")", "expected a label"),
        ("!", "", "expected a label"),
        ("!= 'x'", "!=", "expected a label"),
        ("has()", ")", "expected a label"),
        ("has(a b)", "b", "expected `)` to close `has(`"),
        ("has(a", "", "expected `)` to close `has(`"),
        ("has (a)", "has (", "expected `has(` without a blank"),
        ("all ( )", "all (", "expected `all(` without a blank"),
        ("all(a)", "a", "expected `)` to close `all(`"),
        ("global(", "", "expected `)` to close `global(`"),
        ("has(a)\n", "\n", "one line"),
        ("has(a) &&\r\nhas(b)", "\r", "one line"),
        ("\u{a0}has(a)", "\u{a0}", "expected a label"),
    ];
    for (text, underlined, part) in cases {
        let error = Selector::parse(text).expect_err(text);
        assert!(error.message.contains(part), "`{text}`: {}", error.message);
        assert_eq!(
            text.get(error.offset..error.offset + error.length),
            Some(underlined),
            "`{text}`: {error:?}"
        );
        assert_eq!(error.length == 0, error.offset == text.len(), "`{text}`: {error:?}");
    }
}

#[test]
fn canonical_form_is_one_spelling() {
    let cases = [
        ("", "all()"),
        ("!!all()", "all()"),
        ("! !\t! all()", "!all()"),
        ("a in {}", "a in {}"),
        ("a not in {'z', \"y\", 'z',}", "a not in {\"y\", \"z\"}"),
        ("a in {'\"', \"'\"}", "a in {'\"', \"'\"}"),
        ("((has(a)))", "has(a)"),
        ("has(a)||has(b)&&has(c)", "(has(a) || (has(b) && has(c)))"),
        ("has(a)&&(has(b)&&has(c))", "(has(a) && (has(b) && has(c)))"),
        // As Calico: parentheses keep the two negations apart, the canonical form shows them.
        ("!(!has(a))", "!!has(a)"),
    ];
    for (text, canonical) in cases {
        assert_eq!(parse(text).to_string(), canonical, "`{text}`");
    }
}

#[test]
fn prefix_goes_before_every_label_name() {
    let selector = parse("all() && global() && !(has(a) || b in {'x'} && c starts with 'y')");
    assert_eq!(
        selector.with_prefix("pcns.").to_string(),
        "(all() && global() && !(has(pcns.a) || (pcns.b in {\"x\"} && pcns.c starts with \"y\")))"
    );
}

#[test]
fn unique_id_is_the_one_calico_gives() {
    assert_eq!(parse("").unique_id(), "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug");
}

#[test]
fn label_names_have_a_limit() {
    let name = "a".repeat(LABEL_CHARS_MAX);
    assert!(Selector::parse(&format!("has({name})")).is_ok());
    assert!(Selector::parse(&format!("{name} == 'x'")).is_ok());
    let error = Selector::parse(&format!("has({name}a)")).unwrap_err();
    assert_eq!((error.offset, error.length), (4, LABEL_CHARS_MAX + 1));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert!(Selector::parse(&nested(NESTING_MAX)).is_ok());
    assert_eq!(Selector::parse(&nested(NESTING_MAX + 1)).unwrap_err().offset, NESTING_MAX);
    assert!(Selector::parse(&nested(100_000)).unwrap_err().message.contains("nested too deep"));
    assert!(Selector::parse(&"(!".repeat(100_000)).is_err());
    assert!(Selector::parse(&"(".repeat(100_000)).is_err());
}

#[test]
fn whatever_is_accepted_is_accepted_again_in_canonical_form() {
    // Two groups per parenthesis: the canonical form needs twice as many as the text.
    let alternating = |depth| {
        let open = "has(a) || has(b) && (".repeat(depth);
        format!("{open}has(c){}", ")".repeat(depth))
    };
    let deepest = parse(&alternating(NESTING_MAX / 2));
    assert_eq!(parse(&deepest.to_string()), deepest);
    assert!(Selector::parse(&alternating(NESTING_MAX / 2 + 1)).is_err());
}

#[test]
fn long_texts_are_read() {
    let many = |part: &str, between: &str, count| vec![part; count].join(between);
    assert!(parse(&many("has(a)", " && ", 100_000)).matches(&labels(&[("a", "")])));
    assert!(parse(&format!("{}has(a)", "! ".repeat(100_000))).matches(&labels(&[("a", "")])));
    assert!(
        parse(&format!("a in {{{}}}", many("'x'", ",", 100_000))).matches(&labels(&[("a", "x")]))
    );
    assert!(Selector::parse(&" ".repeat(100_000)).is_ok());
    assert!(Selector::parse(&"a".repeat(100_000)).is_err());
    assert!(Selector::parse(&"'a' ".repeat(100_000)).is_err());
    assert!(Selector::parse(&many("has(a", " && ", 100_000)).is_err());
    let error = Selector::parse(&format!("a == {}", "b".repeat(100_000))).unwrap_err();
    assert!(error.length == 100_000 && error.message.len() < 200, "a message is one line");
}

/// Trees as the parser makes them: `!` never directly in `!`, groups of two and more.
fn trees() -> impl Strategy<Value = Expr> {
    let name = "[a-zA-Z0-9_./-]{1,8}";
    let value = prop_oneof!["[^\"]{0,6}", "[^']{0,6}"];
    let values = prop::collection::btree_set(value.clone(), 0..4);
    let leaf = prop_oneof![
        Just(Expr::All),
        Just(Expr::Global),
        name.prop_map(Expr::Has),
        (name, value.clone()).prop_map(|(name, value)| Expr::Equal(name, value)),
        (name, value.clone()).prop_map(|(name, value)| Expr::NotEqual(name, value)),
        (name, value.clone()).prop_map(|(name, value)| Expr::Contains(name, value)),
        (name, value.clone()).prop_map(|(name, value)| Expr::StartsWith(name, value)),
        (name, value).prop_map(|(name, value)| Expr::EndsWith(name, value)),
        (name, values.clone()).prop_map(|(name, values)| Expr::In(name, values)),
        (name, values).prop_map(|(name, values)| Expr::NotIn(name, values)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let some = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.prop_map(|expr| {
                if let Expr::Not(operand) = expr { *operand } else { Expr::Not(Box::new(expr)) }
            }),
            some.clone().prop_map(Expr::And),
            some.prop_map(Expr::Or),
        ]
    })
}

proptest! {
    #[test]
    fn canonical_form_reads_back_as_the_same_tree(expr in trees()) {
        let selector = Selector { expr };
        prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place_inside_it(text in prop_oneof![
        "\\PC{0,40}",
        "([ab!&|(){}'\",= \t\n]|has\\(|all\\(\\)|in|not|starts|with|ü){0,20}",
    ]) {
        match Selector::parse(&text) {
            Ok(selector) => {
                prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap().unique_id().len(), 40);
            }
            Err(error) => {
                prop_assert!(text.get(error.offset..error.offset + error.length).is_some());
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}
