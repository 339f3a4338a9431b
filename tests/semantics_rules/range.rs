//! Ranges of a stored response, and parts that are combined (RFC 9110 §14, RFC 9111 §3.3, §3.4).

use larder::semantics::conditional::Validators;
use larder::semantics::partial::{
    Combination, ContentRange, Missing, NotCombined, Span, combination, completion,
};
use larder::semantics::range::{Limits, Multipart, Part, Selection, select, select_in, unsatisfied};
use proptest::prelude::*;

use crate::support::{START, fields_of};

fn chosen(range: &str, length: u64) -> Selection {
    select(&fields_of(&[("range", range)]), length, Limits::default())
}

fn single(start: u64, end: u64) -> Selection {
    Selection::Single(Part { start, end })
}

fn several(parts: &[(u64, u64)]) -> Selection {
    Selection::Multiple(parts.iter().map(|&(start, end)| Part { start, end }).collect())
}

#[test]
fn ranges_are_selected_as_rfc_9110_says() {
    use Selection::{Unsatisfiable, Whole};
    for (range, length, want) in [
        ("bytes=0-1", 11, single(0, 2)),
        ("bytes=1-", 11, single(1, 11)),
        ("bytes=-1", 11, single(10, 11)),
        ("bytes=-100", 11, single(0, 11)),
        ("bytes=0-100", 11, single(0, 11)),
        ("bytes=0-0", 11, single(0, 1)),
        ("bytes=10-10", 11, single(10, 11)),
        ("BYTES=0-1", 11, single(0, 2)),
        ("bytes= 0-1 , ", 11, single(0, 2)),
        ("bytes=0-18446744073709551615", 11, single(0, 11)),
        ("bytes=0-99999999999999999999999", 11, single(0, 11)),
        ("bytes=99999999999999999999999-", 11, Unsatisfiable),
        ("bytes=11-", 11, Unsatisfiable),
        ("bytes=11-20", 11, Unsatisfiable),
        ("bytes=-0", 11, Unsatisfiable),
        ("bytes=0-0", 0, Whole),
        ("bytes=0-", 0, Whole),
        ("bytes=-1", 0, Whole),
        ("bytes=-0", 0, Whole),
        ("bytes=0-0,5-", 0, Whole),
        ("bytes=0-1,11-", 11, single(0, 2)),
        ("bytes=0-1, 4-5", 11, several(&[(0, 2), (4, 6)])),
        ("bytes=4-5, 0-1", 11, several(&[(4, 6), (0, 2)])),
        ("bytes=0-5, 3-8", 11, single(0, 9)),
        ("bytes=0-1, 4-5, 1-4", 11, single(0, 6)),
        ("bytes=0-4, 5-9", 11, several(&[(0, 5), (5, 10)])),
        // Malformed, unknown, excessive: as if there were none.
        ("bytes=5-4", 11, Whole),
        ("bytes=a-b", 11, Whole),
        ("bytes=0-1,x", 11, Whole),
        ("bytes=--1", 11, Whole),
        ("bytes=-", 11, Whole),
        ("bytes=", 11, Whole),
        ("bytes 0-1", 11, Whole),
        ("items=0-1", 11, Whole),
        ("bytes=+0-1", 11, Whole),
        ("", 11, Whole),
        ("bytes=0-,0-,0-", 11, Whole),
    ] {
        assert_eq!(chosen(range, length), want, "{range} of {length}");
    }
    assert_eq!(select(&fields_of(&[]), 11, Limits::default()), Whole);
    assert_eq!(
        select(&fields_of(&[("range", "bytes=0-1"), ("range", "bytes=3-4")]), 11, Limits::default()),
        Whole
    );
    assert_eq!(unsatisfied(11), "bytes */11");
}

#[test]
fn more_ranges_than_allowed_are_ignored() {
    let list =
        |count: u64| (0..count).map(|at| format!("{}-{}", at * 4, at * 4)).collect::<Vec<_>>().join(",");
    assert!(
        matches!(chosen(&format!("bytes={}", list(32)), 1000), Selection::Multiple(parts) if parts.len() == 32)
    );
    assert_eq!(chosen(&format!("bytes={}", list(33)), 1000), Selection::Whole);
    // The total may be twice the size and no more.
    assert_eq!(chosen("bytes=0-,0-", 11), single(0, 11));
    let twice = Limits { max_total_factor: 1, ..Limits::default() };
    assert_eq!(select(&fields_of(&[("range", "bytes=0-,0-")]), 11, twice), Selection::Whole);
}

#[test]
fn a_stored_part_answers_only_for_what_it_holds() {
    let held = Span { start: 4, end: 9, complete: Some(10), exact: true };
    let of = |range: &str, held| select_in(&fields_of(&[("range", range)]), held, Limits::default());
    for (range, want) in [
        ("bytes=4-8", single(4, 9)),
        ("bytes=6-8", single(6, 9)),
        ("bytes=6-6", single(6, 7)),
        ("bytes=6-", Selection::NotHeld),
        ("bytes=-5", Selection::NotHeld),
        ("bytes=3-5", Selection::NotHeld),
        ("bytes=0-1", Selection::NotHeld),
        ("bytes=4-5,0-1", Selection::NotHeld),
        ("bytes=4-4,6-7", several(&[(4, 5), (6, 8)])),
        ("bytes=10-", Selection::Unsatisfiable),
        ("x", Selection::NotHeld),
    ] {
        assert_eq!(of(range, held), want, "{range}");
    }
    assert_eq!(select_in(&fields_of(&[]), held, Limits::default()), Selection::NotHeld);
    let unknown = Span { complete: None, ..held };
    assert_eq!(of("bytes=4-8", unknown), single(4, 9));
    assert_eq!(of("bytes=4-9", unknown), Selection::NotHeld);
    assert_eq!(of("bytes=-1", unknown), Selection::NotHeld);
    assert_eq!(of("bytes=50-60", unknown), Selection::NotHeld);
    // The published suite's part: `bytes 4-9/10` with five bytes.
    let short = Span::reconcile(ContentRange { first: 4, last: 9, complete: Some(10) }, 5).unwrap();
    for (range, want) in
        [("bytes=-5", (4, 9)), ("bytes=6-8", (6, 9)), ("bytes=6-", (6, 9)), ("bytes=-1", (8, 9))]
    {
        assert_eq!(of(range, short), single(want.0, want.1), "{range}");
    }
}

#[test]
fn a_multipart_body_is_framed_as_announced() {
    let multipart = Multipart { boundary: "XYZ", content_type: Some(b"text/plain"), complete: Some(10) };
    assert_eq!(multipart.content_type(), "multipart/byteranges; boundary=XYZ");
    let parts = [Part { start: 0, end: 2 }, Part { start: 8, end: 10 }];
    let mut body = Vec::new();
    for part in &parts {
        body.extend(multipart.opening(part));
        body.extend(&b"0123456789"[part.start as usize..part.end as usize]);
    }
    body.extend(multipart.closing());
    let want = "\r\n--XYZ\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
                \r\n--XYZ\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--XYZ--\r\n";
    assert_eq!(String::from_utf8(body).unwrap(), want);
    assert_eq!(multipart.length(&parts), want.len() as u64);
    let bare = Multipart { content_type: None, complete: None, ..multipart };
    assert_eq!(bare.opening(&parts[0]), b"\r\n--XYZ\r\nContent-Range: bytes 0-1/*\r\n\r\n");
}

#[test]
fn content_ranges_are_read_strictly() {
    let of = |value: &str| ContentRange::read(&fields_of(&[("content-range", value)]));
    let some = |first, last, complete| Some(ContentRange { first, last, complete });
    assert_eq!(of("bytes 4-8/9"), some(4, 8, Some(9)));
    assert_eq!(of("Bytes 0-0/*"), some(0, 0, None));
    for bad in [
        "",
        "bytes",
        "bytes 4-8",
        "bytes */9",
        "bytes 8-4/9",
        "bytes 4-9/9",
        "items 4-8/9",
        "bytes 4-8/x",
        "bytes -8/9",
        "bytes 4-/9",
        "bytes 4-8/-1",
        "bytes +4-8/9",
    ] {
        assert_eq!(of(bad), None, "{bad}");
    }
    assert_eq!(
        ContentRange::read(&fields_of(&[("content-range", "bytes 4-8/9"), ("content-range", "bytes 4-8/9")])),
        None
    );
    assert_eq!(some(4, 8, Some(9)).unwrap().to_value(), "bytes 4-8/9");
    assert_eq!(some(4, 8, None).unwrap().to_value(), "bytes 4-8/*");
}

#[test]
fn parts_are_combined_only_under_one_strong_validator() {
    let of = |one: &[(&str, &str)], two: &[(&str, &str)]| {
        let (one, two) = (fields_of(one), fields_of(two));
        combination(&Validators::read(&one, START), &Validators::read(&two, START))
    };
    let (a, b, weak) = ([("etag", "\"a\"")], [("etag", "\"b\"")], [("etag", "W/\"a\"")]);
    assert_eq!(of(&a, &a), Combination::Allowed);
    assert_eq!(of(&a, &b), Combination::Refused(NotCombined::OtherRepresentation));
    let none = Combination::Refused(NotCombined::NoStrongValidator);
    assert_eq!(of(&weak, &weak), none);
    assert_eq!(of(&a, &weak), none);
    assert_eq!(of(&a, &[]), none);
    assert_eq!(of(&[("last-modified", "@-60")], &[("last-modified", "@-60")]), none);
}

#[test]
fn a_part_is_completed_by_the_one_range_that_is_missing() {
    let span = |start, end, complete, exact| Span { start, end, complete, exact };
    assert_eq!(span(0, 5, Some(10), true).missing(), Some(Missing::From(5)));
    assert_eq!(span(0, 5, None, true).missing(), Some(Missing::From(5)));
    assert_eq!(span(5, 10, Some(10), true).missing(), Some(Missing::UpTo(4)));
    assert_eq!(span(2, 5, Some(10), true).missing(), None);
    assert_eq!(span(2, 5, None, true).missing(), None);
    assert_eq!(span(0, 10, Some(10), true).missing(), None);
    assert_eq!(span(4, 9, Some(9), false).missing(), None);
    assert!(span(0, 10, Some(10), true).is_whole() && !span(0, 10, None, true).is_whole());
    let asked = completion(&span(0, 5, Some(10), true), Some(b"\"a\"")).unwrap();
    assert_eq!((asked.range.as_str(), asked.if_range.unwrap().to_str().unwrap()), ("bytes=5-", "\"a\""));
    let asked = completion(&span(5, 10, Some(10), true), Some(b"W/\"a\"")).unwrap();
    assert_eq!((asked.range.as_str(), asked.if_range), ("bytes=0-4", None));
    assert_eq!(completion(&span(2, 5, Some(10), true), None), None);
}

#[test]
fn parts_join_where_they_touch_and_agree() {
    let span = |start, end, complete| Span { start, end, complete, exact: true };
    let (left, right) = (span(0, 5, None), span(5, 10, Some(10)));
    assert_eq!(left.join(&right), Some(span(0, 10, Some(10))));
    assert_eq!(right.join(&left), left.join(&right));
    assert_eq!(span(0, 7, None).join(&right), Some(span(0, 10, Some(10))));
    assert_eq!(span(0, 4, None).join(&right), None, "a gap");
    assert_eq!(span(0, 5, Some(11)).join(&right), None, "another length");
    assert_eq!(span(0, 12, None).join(&right), None, "beyond the end");
    assert_eq!(Span { exact: false, ..left }.join(&right), None);
    assert_eq!(span(2, 4, None).join(&span(0, 9, None)), Some(span(0, 9, None)));
}

proptest! {
    #[test]
    fn parts_always_lie_within_and_are_what_was_asked(
        ranges in prop::collection::vec((0u64..30, 0u64..30, 0u8..3), 1..8), length in 0u64..20,
    ) {
        let text: Vec<String> = ranges.iter().map(|&(a, b, form)| match form {
            0 => format!("{}-{}", a.min(b), a.max(b)),
            1 => format!("{a}-"),
            _ => format!("-{a}"),
        }).collect();
        let wanted = |byte: u64| ranges.iter().any(|&(a, b, form)| match form {
            0 => (a.min(b)..=a.max(b)).contains(&byte),
            1 => byte >= a,
            _ => byte + a >= length,
        });
        match chosen(&format!("bytes={}", text.join(",")), length) {
            Selection::Whole => {}
            Selection::NotHeld => prop_assert!(false, "all is held"),
            Selection::Unsatisfiable => prop_assert!((0..length).all(|byte| !wanted(byte))),
            Selection::Single(part) => {
                prop_assert!((0..length).all(|byte| wanted(byte) == (part.start..part.end).contains(&byte)));
            }
            Selection::Multiple(parts) => {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                for byte in 0..length {
                    let times = parts.iter().filter(|part| (part.start..part.end).contains(&byte)).count();
                    prop_assert_eq!(times, usize::from(wanted(byte)), "byte {}", byte);
                }
            }
        }
    }

    #[test]
    fn no_range_field_makes_it_panic(value in "[ -~]{0,40}", length in any::<u64>(), start in any::<u64>(), end in any::<u64>()) {
        let value = format!("bytes={}", value);
        let _ = chosen(&value, length);
        if start < end {
            let held = Span { start, end, complete: None, exact: true };
            let _ = select_in(&fields_of(&[("range", &value)]), held, Limits::default());
        }
        let content_range = value.replacen("bytes=", "bytes ", 1);
        if let Some(range) = ContentRange::read(&fields_of(&[("content-range", &content_range)])) {
            let _ = Span::reconcile(range, length);
        }
    }
}
