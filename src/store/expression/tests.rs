//! Claims about expressions.

use proptest::prelude::*;

use super::*;

/// A response with everything that an expression can ask for.
struct Page;

const AT: Moment = Moment::from_unix_secs(1_000_000);

impl Subject for Page {
    fn key(&self) -> u128 {
        1
    }
    fn page(&self) -> u128 {
        2
    }
    fn host(&self) -> &str {
        "www.example.com"
    }
    fn target(&self) -> &[u8] {
        b"/blog/a.png?x=1&y=2"
    }
    fn tags(&self) -> &[TagDigest] {
        static TAGS: std::sync::OnceLock<Vec<TagDigest>> = std::sync::OnceLock::new();
        TAGS.get_or_init(|| vec![TagDigest::of(b"blog"), TagDigest::of(b"post-7")])
    }
    fn status(&self) -> u16 {
        404
    }
    fn size(&self) -> u64 {
        2048
    }
    fn age_at(&self, moment: Moment) -> Duration {
        moment.since(AT.before(Duration::from_secs(7200)))
    }
    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        match name {
            "content-type" => test(b"image/png"),
            "x-foo" => test(b"one") || test(b"two (2)"),
            "x-raw" => test(b"caf\xe9"),
            _ => false,
        }
    }
    fn any_tag(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        test(b"blog") || test(b"post-7")
    }
}

fn parse(source: &str) -> Arc<Expression> {
    Expression::parse(source, &ExpressionLimits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn holds(source: &str) -> bool {
    parse(source).matches(&Page, AT)
}

fn error(source: &str) -> ExpressionError {
    Expression::parse(source, &ExpressionLimits::default()).expect_err(source)
}

#[test]
fn every_field_can_be_asked_for() {
    for source in [
        r#"host == "www.example.com""#,
        r#"host == WWW.Example.COM"#,
        r#"host ~ "^WWW\.""#,
        r#"path == "/blog/a.png""#,
        r#"path ~ "\.png$""#,
        r#"query == "x=1&y=2""#,
        r#"url == "/blog/a.png?x=1&y=2""#,
        r#"status == 404"#,
        r#"status >= 400 && status < 500"#,
        r#"size == 2KiB && size <= 2048 && size > 2kB"#,
        r#"age == 2h && age > 7199s && age <= "2h""#,
        r#"tag == "blog" && tag != "news""#,
        r#"tag ~ "^post-""#,
        r#"resp.field("content-type") ~ "image/""#,
        r#"resp.field("Content-Type") == "image/png""#,
        r#"field("x-foo") == "two (2)""#,
    ] {
        assert!(holds(source), "{source}");
        assert!(!holds(&format!("!({source})")), "{source}");
    }
}

#[test]
fn varnish_bans_are_understood() {
    for source in [
        r#"req.http.host == "www.example.com" && req.url ~ "^/blog""#,
        r#"req.http.Host == www.example.com && req.url ~ ^/blog"#,
        r#"obj.http.x-foo ~ one"#,
        r#"obj.http.X-Foo == "one""#,
        r#"obj.status == 404"#,
        r#"obj.age > 1h"#,
        r#"obj.http.x-url ~ "^/blog/" && obj.http.x-host ~ "example\.com$""#,
        r#"req.url ~ (a|b)\.png"#,
        r#"req.url ~ /(blog|news)/ && obj.status != 200"#,
        r#"obj.http.content-type ~ image/.*"#,
    ] {
        assert!(holds(source), "{source}");
    }
}

#[test]
fn what_is_not_there_equals_and_matches_nothing() {
    assert!(!holds(r#"resp.field("x-none") == """#));
    assert!(!holds(r#"resp.field("x-none") ~ ".*""#));
    assert!(holds(r#"resp.field("x-none") != "x""#));
    assert!(holds(r#"resp.field("x-none") !~ ".*""#));
}

#[test]
fn not_equal_means_no_line_equals() {
    assert!(!holds(r#"resp.field("x-foo") != "one""#));
    assert!(!holds(r#"resp.field("x-foo") !~ "two""#));
}

#[test]
fn comparisons_are_with_the_form_in_which_pages_are_stored() {
    for source in [
        r#"host == "WWW.example.com.:080""#,
        r#"path == "/%62log/./a.png""#,
        r#"url == "/x/../blog/a.png?x=%31&y=2""#,
        r#"query == "x=1&%79=2""#,
        r#"path ~ "^/%62log/""#,
    ] {
        assert!(holds(source), "{source}");
    }
    for source in [r#"path == "blog""#, r#"path == "/a?b""#, r#"url == "/a#b""#, r#"host == "http://a""#] {
        assert!(error(source).to_string().contains("is ever this"), "{source}");
    }
}

#[test]
fn and_binds_more_tightly_than_or() {
    assert!(holds(r#"status == 404 || status == 1xx"#.replace("1xx", "100").as_str()));
    assert!(holds("status == 404 || status == 200 && status == 200"));
    assert!(!holds("(status == 404 || status == 200) && status == 200"));
    assert!(holds("!status == 200 && status == 404"));
    assert!(holds("!(status == 200 || status == 301) && !!status == 404"));
}

#[test]
fn fields_need_not_be_text() {
    assert!(holds(r#"obj.http.x-raw ~ "^caf.$""#));
    assert!(holds(r#"obj.http.x-raw ~ "\xe9$""#));
}

#[test]
fn age_is_the_age_when_the_ban_was_made() {
    let older_than_an_hour = parse("age > 1h");
    assert!(older_than_an_hour.matches(&Page, AT));
    assert!(!older_than_an_hour.matches(&Page, AT.before(Duration::from_secs(5400))));
    assert!(older_than_an_hour.depends_on_age());
    assert!(!parse("status == 404").depends_on_age());
}

#[test]
fn a_response_with_too_many_tags_has_every_tag() {
    struct Many;
    impl Subject for Many {
        fn key(&self) -> u128 {
            1
        }
        fn page(&self) -> u128 {
            2
        }
        fn host(&self) -> &str {
            "a"
        }
        fn target(&self) -> &[u8] {
            b"/"
        }
        fn tags(&self) -> &[TagDigest] {
            &[TagDigest::ANY]
        }
        fn status(&self) -> u16 {
            200
        }
        fn size(&self) -> u64 {
            0
        }
        fn age_at(&self, _: Moment) -> Duration {
            Duration::ZERO
        }
        fn any_field(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            false
        }
        fn any_tag(&self, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            false
        }
    }
    assert!(parse("tag == x && host == a").matches(&Many, AT));
}

#[test]
fn unknown_fields_come_with_a_suggestion() {
    assert_eq!(error("hots == x").help(), Some("did you mean `host`?"));
    assert_eq!(error("stauts == 404").help(), Some("did you mean `status`?"));
    assert_eq!(
        error("req.http.hots == x").help(),
        Some("of a request's fields only req.http.host is kept with its response")
    );
    assert!(error("obj.ttl > 1d").help().unwrap().contains("obj.age"));
    assert!(error("quux == x").help().unwrap().starts_with("expected host, path"));
}

#[test]
fn an_error_shows_the_place() {
    let shown = error(r#"host == "a" && stauts == 404"#).to_string();
    assert_eq!(
        shown,
        "unknown field `stauts`\n  host == \"a\" && stauts == 404\n                 ^^^^^^ did you mean `status`?"
    );
}

#[test]
fn mistakes_are_told_where_they_are() {
    for (source, at, message) in [
        ("", 0, "the expression ends too soon"),
        ("host ==", 7, "the expression ends too soon"),
        ("host = x", 5, "no operator stands here"),
        ("host x", 5, "no operator stands here"),
        ("host == x host == y", 10, "the expression goes on where it should end"),
        ("(host == x", 0, "this parenthesis is not closed"),
        ("host == x)", 9, "this parenthesis closes nothing"),
        (r#"host == "x"#, 8, "this string is not closed"),
        ("host < x", 5, "host is text"),
        ("status ~ 4", 7, "status is a number"),
        ("status == abc", 10, "`abc` does not fit here"),
        ("status == 99", 10, "`99` does not fit here"),
        ("age > 5", 6, "`5` does not fit here"),
        ("size > 5 parsecs", 9, "the expression goes on where it should end"),
        ("url ~ \"a(\"", 6, "not a regular expression: unclosed group"),
        (r#"resp.field("a b") == x"#, 11, "`a b` cannot be the name of a field"),
        ("resp.field == x", 11, "the field's name is missing"),
        ("host == x &&", 12, "the expression ends too soon"),
        ("host == x & host == y", 10, "the expression goes on where it should end"),
        ("&& host == x", 0, "no field stands here"),
    ] {
        let error = error(source);
        assert_eq!((error.position().start, error.message()), (at, message), "{source}");
    }
}

#[test]
fn what_could_take_forever_is_refused() {
    assert!(error(r#"url ~ "(?=a)b""#).message().starts_with("not a regular expression"));
    assert!(error(r#"url ~ "(a)\1""#).message().starts_with("not a regular expression"));
    assert!(error(r#"url ~ "(a{1000}){1000}""#).message().contains("compiles to more than"));
    assert!(error(&format!("url ~ \"{}a{}\"", "(".repeat(100), ")".repeat(100))).message().contains("nest"));
}

#[test]
fn a_hostile_pattern_takes_linear_time() {
    // An engine that backtracks would take 2^10000 steps here. Finishing at all is the claim.
    struct Long(Vec<u8>);
    let long = Long(b"a".repeat(10_000));
    let expression = parse(r#"path ~ "^(a+)+(a*)*b$""#);
    let Node::Text { pattern, .. } = &expression.root else { panic!() };
    assert!(!pattern.matches(&long.0));
}

#[test]
fn depth_length_and_number_are_bounded() {
    let nested = |depth: usize| format!("{}status == 404{}", "(".repeat(depth), ")".repeat(depth));
    assert!(holds(&nested(32)));
    assert!(error(&nested(33)).message().contains("levels"));
    assert!(error(&"!".repeat(100_000)).message().contains("long"));
    assert!(error(&"!".repeat(1000)).message().contains("levels"));
    assert!(error(&"(".repeat(8000)).message().contains("levels"));
    let many = vec!["status == 404"; 257].join(" && ");
    assert!(error(&many).message().contains("256 comparisons"));
    let limits = ExpressionLimits { length: 10, ..ExpressionLimits::default() };
    assert!(Expression::parse("status == 404", &limits).is_err());
}

#[test]
fn bans_that_have_an_index_are_lowered() {
    let prefix = |host: Option<&str>, path: &str| Lowered::Prefix {
        host: host.map(Box::from),
        path: path.as_bytes().into(),
    };
    let url = |host: Option<&str>, url: &str| Lowered::Url {
        host: host.map(Box::from),
        url: url.as_bytes().into(),
    };
    let path = |host: Option<&str>, path: &str| Lowered::Path {
        host: host.map(Box::from),
        path: path.as_bytes().into(),
    };
    for (source, expected) in [
        (r#"req.http.host == "A.example""#, Some(Lowered::Host("a.example".into()))),
        (r#"host ~ "^A\.example$""#, Some(Lowered::Host("a.example".into()))),
        (r#"host == a && url ~ "^/x/""#, Some(prefix(Some("a"), "/x/"))),
        (r#"host == a && path ~ "^/x/.*""#, Some(prefix(Some("a"), "/x/"))),
        (r#"url ~ "^/x\.html\?a=""#, Some(prefix(None, "/x.html?a="))),
        (r#"path ~ "^/x\?a""#, None),
        (r#"tag == "x""#, Some(Lowered::Tag(TagDigest::of(b"x")))),
        (r#"url ~ ".*""#, Some(Lowered::Everything)),
        (r#"host == a && url ~ "/.*""#, Some(Lowered::Host("a".into()))),
        (r#"obj.http.x ~ ".*""#, None),
        (r#"tag == x && host == a"#, None),
        (r#"tag == x && tag == y"#, None),
        (r#"tag ~ "x""#, None),
        (r#"host != a"#, None),
        (r#"host == a || host == b"#, None),
        (r#"url ~ "/x/""#, None),
        (r#"url ~ "^/x$""#, Some(url(None, "/x"))),
        (r#"host == a && url == "/x?y""#, Some(url(Some("a"), "/x?y"))),
        (r#"path == "/x""#, Some(path(None, "/x"))),
        (r#"host ~ "^a$" && path ~ "^/x\.html$""#, Some(path(Some("a"), "/x.html"))),
        (r#"url == "/x" && status == 404"#, None),
        (r#"url == "/x" && path == "/x""#, None),
        (r#"url != "/x""#, None),
        (r#"query == "x""#, None),
        (r#"url ~ "^/x+""#, None),
        (r#"url ~ "^/x|^/y""#, None),
        (r#"url ~ "^/\d""#, None),
        (r#"url ~ "^/x.y""#, None),
        (r#"status == 404"#, None),
    ] {
        assert_eq!(parse(source).lowered(), expected.as_ref(), "{source}");
    }
}

#[test]
fn the_host_that_a_ban_needs_is_known() {
    assert_eq!(parse(r#"host == A && tag == x"#).required_host(), Some("a"));
    assert_eq!(parse(r#"status == 404 && host ~ "^a$""#).required_host(), Some("a"));
    assert_eq!(parse(r#"host == a || tag == x"#).required_host(), None);
    assert_eq!(parse(r#"host != a && tag == x"#).required_host(), None);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/.-]{0,6}",
        r#"[a\\" ()|&é]{0,6}"#,
        Just("www.example.com".to_owned()),
        Just("blog".to_owned())
    ]
}

fn comparison() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("host"),
        Just("req.http.host"),
        Just("path"),
        Just("url"),
        Just("query"),
        Just("tag"),
        Just("obj.http.x-foo"),
        Just("resp.field(\"Content-Type\")"),
    ];
    let relation = prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let number = prop_oneof![
        (100..999_u16).prop_map(|code| ("status", code.to_string())),
        any::<u32>().prop_map(|bytes| ("size", bytes.to_string())),
        any::<u32>().prop_map(|millis| ("age", format!("{millis}ms"))),
    ];
    prop_oneof![
        (field.clone(), prop_oneof![Just("=="), Just("!=")], text())
            .prop_map(|(field, operator, text)| {
                let slash = if matches!(field, "path" | "url") { "/" } else { "" };
                format!("{field} {operator} {}", Quoted(&format!("{slash}{text}")))
            })
            // What no field ever is is refused.
            .prop_filter("a text that the field can be", |source| {
                Expression::parse(source, &ExpressionLimits::default()).is_ok()
            }),
        (field, prop_oneof![Just("~"), Just("!~")], "[a-z/.^$]{0,6}")
            .prop_map(|(field, operator, text)| format!("{field} {operator} {}", Quoted(&text))),
        (number, relation).prop_map(|((field, number), relation)| format!("{field}{relation}{number}")),
    ]
}

/// An expression and what it should come to, given by evaluating its comparisons one by one.
fn expression() -> impl Strategy<Value = (String, bool)> {
    let leaf = comparison().prop_map(|source| {
        let value = holds(&source);
        (source, value)
    });
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone())
                .prop_map(|((a, left), (b, right))| (format!("({a}) && ({b})"), left && right)),
            (inner.clone(), inner.clone())
                .prop_map(|((a, left), (b, right))| (format!("(({a})||({b}))"), left || right)),
            inner.prop_map(|(a, value)| (format!("! ({a})"), !value)),
        ]
    })
}

proptest! {
    #[test]
    fn an_expression_means_what_its_parts_mean((source, value) in expression()) {
        prop_assert_eq!(holds(&source), value, "{}", source);
    }

    #[test]
    fn the_normal_form_is_the_same_expression((source, value) in expression()) {
        let first = parse(&source);
        let second = parse(first.source());
        prop_assert_eq!(first.source(), second.source());
        prop_assert_eq!(second.matches(&Page, AT), value);
        prop_assert_eq!(first.lowered(), second.lowered());
    }

    #[test]
    fn no_text_makes_the_parser_panic(source in r#"[a-z().~!=&|<>"\\ 0-9é]{0,40}"#) {
        let _ = Expression::parse(&source, &ExpressionLimits::default()).map_err(|error| error.to_string());
    }

    #[test]
    fn no_sequence_of_tokens_makes_the_parser_panic(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just("host"), Just("=="), Just("~"), Just("!"), Just("("), Just(")"), Just("&&"), Just("||"),
                Just("\"a\""), Just("age"), Just("1d"), Just("resp.field"), Just("é"), Just("\\"), Just(" "),
            ],
            0..16,
        )
    ) {
        let _ = Expression::parse(&tokens.concat(), &ExpressionLimits::default()).map_err(|error| error.to_string());
    }
}
