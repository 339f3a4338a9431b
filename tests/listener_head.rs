//! Properties of the head parser: it never panics, never depends on how bytes were cut, and never reads
//! a head otherwise than `httparse` does.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use larder::listener::head::{Head, HeadScan, parse};
use larder::listener::{Limits, Refusal};
use proptest::prelude::*;

type Read = Result<Option<(Head, usize)>, Refusal>;

/// Gives `input` to the parser piece by piece, as the socket would.
fn read(input: &[u8], cuts: &[usize], limits: &Limits) -> Read {
    let mut scan = HeadScan::default();
    for &cut in cuts.iter().chain([&input.len()]) {
        if let Some(whole) = scan.scan(&input[..cut], limits)? {
            let bytes = Bytes::copy_from_slice(&input[..whole.end()]);
            return parse(&bytes, &whole).map(|head| Some((head, whole.end())));
        }
    }
    Ok(None)
}

fn shown(read: &Read) -> String {
    format!("{read:?}")
}

/// Up to `most` characters from `alphabet`.
fn some_of(alphabet: &'static str, most: usize) -> impl Strategy<Value = String> {
    let characters: Vec<char> = alphabet.chars().collect();
    proptest::collection::vec(proptest::sample::select(characters), 0..=most)
        .prop_map(|characters| characters.into_iter().collect())
}

fn just(text: &'static str) -> impl Strategy<Value = String> {
    Just(text.to_owned())
}

/// Something like a head: mostly sound parts, some of them broken, in a mostly sound order.
fn head_like() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        12 => just("GET"), 4 => just("POST"), 1 => just("CONNECT"), 1 => just("OPTIONS"),
        1 => some_of("AGET!#\r\n (", 6), 1 => just("G T"),
    ];
    let path = some_of("abz019?&=%|{}._~-/", 12).prop_map(|rest| format!("/{rest}"));
    let target = prop_oneof![
        16 => path, 1 => just("*"), 1 => just("http://a/b"), 1 => just("http://b"), 1 => just("a:443"),
        1 => some_of("/a #\"\\:\t\0\x7f", 6),
    ];
    let version = prop_oneof![
        16 => just("HTTP/1.1"), 4 => just("HTTP/1.0"), 1 => just("HTTP/2.0"), 1 => just(""), 1 => just("http/1.1"),
    ];
    let end = prop_oneof![
        90 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n "), 1 => Just(""),
    ];
    let any_field = (some_of("AzHost-!_", 8), some_of("az 09\t;,\"=/\u{e9}\u{1f}\u{7f}", 10))
        .prop_map(|(name, value)| format!("{name}: {value}"));
    let sound_field = (some_of("AzHost-!_", 8), some_of("az 09\t;,\"=/\u{e9}", 10))
        .prop_map(|(name, value)| format!("x{name}: {value}"));
    let field = prop_oneof![
        24 => sound_field,
        1 => just("Host: a"), 3 => any_field, 1 => just("Content-Length: 5"), 1 => just("X:  y \t "),
        1 => just("Transfer-Encoding: chunked"), 1 => just("Connection: keep-alive, X"),
        1 => just("Expect: 100-continue"), 1 => just("X : y"), 1 => just("Empty:"), 1 => some_of("\0\r\n:a \t\u{ff}", 6),
    ];
    let fields = proptest::collection::vec((field, end.clone()), 0..5);
    let last = prop_oneof![9 => Just("\r\n"), 1 => Just("")];
    let first = prop_oneof![5 => Just("Host: a\r\n"), 1 => Just("")];
    let line = (method, target, version, end, first);
    (line, fields, last).prop_map(|((method, target, version, end, first), fields, last)| {
        let mut head = format!("{method} {target} {version}{end}{first}");
        for (field, end) in fields {
            head.push_str(&field);
            head.push_str(end);
        }
        head.push_str(last);
        head.into_bytes()
    })
}

fn agrees_with_httparse(input: &[u8]) -> Result<(), TestCaseError> {
    let Ok(Some((head, end))) = read(input, &[], &Limits::default()) else { return Ok(()) };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(input);
    prop_assert_eq!(parsed, Ok(httparse::Status::Complete(end)));
    prop_assert_eq!(request.method, Some(head.method.as_str()));
    prop_assert_eq!(request.path.map(str::as_bytes), Some(&head.target[..]));
    prop_assert_eq!(request.version, Some(u8::from(head.version == http::Version::HTTP_11)));
    prop_assert_eq!(request.headers.len(), head.headers.len());
    for name in head.headers.names() {
        let ours: Vec<&[u8]> = head.headers.get_all(name).map(|value| value.as_bytes()).collect();
        let theirs: Vec<&[u8]> = request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name.as_str()))
            .map(|field| field.value)
            .collect();
        prop_assert_eq!(ours, theirs);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
        let whole = read(&input, &[], &Limits::default());
        prop_assert_eq!(shown(&read(&input, &[cut.min(input.len())], &Limits::default())), shown(&whole));
    }

    #[test]
    fn an_accepted_head_reads_as_httparse_reads_it(input in head_like()) {
        agrees_with_httparse(&input)?;
    }

    #[test]
    fn the_verdict_does_not_depend_on_how_the_bytes_were_cut(input in head_like(), behind in some_of("GET / \r\nx:", 10)) {
        let input = [input, behind.into_bytes()].concat();
        let whole = shown(&read(&input, &[], &Limits::default()));
        for cut in 0..=input.len() {
            prop_assert_eq!(&shown(&read(&input, &[cut], &Limits::default())), &whole, "cut at {}", cut);
        }
        let every: Vec<usize> = (0..=input.len()).collect();
        prop_assert_eq!(&shown(&read(&input, &every, &Limits::default())), &whole);
    }

    #[test]
    fn limits_hold_however_the_bytes_were_cut(
        input in head_like(), head_bytes in 4usize..60, request_line_bytes in 1usize..30, fields in 0usize..4,
    ) {
        let limits = Limits { head_bytes, request_line_bytes, fields, ..Limits::default() };
        let whole = read(&input, &[], &limits);
        let every: Vec<usize> = (0..=input.len()).collect();
        prop_assert_eq!(shown(&read(&input, &every, &limits)), shown(&whole));
        if let Ok(Some((head, end))) = whole {
            prop_assert!(end <= head_bytes + 2 && head.headers.len() <= fields);
        }
        prop_assert!(input.len() <= head_bytes + 2 || !matches!(read(&input, &[], &limits), Ok(None)));
    }
}

#[test]
fn the_generator_makes_heads_that_are_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let accepted = (0..500)
        .filter(|_| {
            let input = head_like().new_tree(&mut runner).unwrap().current();
            matches!(read(&input, &[], &Limits::default()), Ok(Some(_)))
        })
        .count();
    assert!(accepted > 50, "{accepted} of 500: the properties would say nothing");
}
