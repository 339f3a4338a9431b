//! Parts of a response: from what is stored whole, from stored parts, and completed.

use super::caching::*;
use crate::common::*;

/// RFC 9110 §15.3.7.
#[test]
fn a_206_has_the_fields_of_the_200() {
    let origin = always(FULL, "0123456789");
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let whole = larder.get("/page").expect_status(200).expect_hit();
    let part = larder.get_with("/page", &[("Range", "bytes=2-4")]).expect_status(206).expect_hit();
    assert_eq!((part.text().as_str(), part.field("Content-Range")), ("234", Some("bytes 2-4/10")));
    assert_eq!(part.field("Content-Length"), Some("3"));
    for name in ["Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary"] {
        assert!(whole.field(name).is_some(), "{name} in {whole}");
    }
    for (name, value) in &whole.fields {
        if !["content-length", "age", "cache-status"].contains(&name.to_ascii_lowercase().as_str()) {
            assert_eq!(part.field(name), Some(value.as_str()), "{name}");
        }
    }
    assert_eq!(origin.request_count(), 1);
}

/// RFC 9110 §15.3.7.2.
#[test]
fn a_multipart_206_has_no_content_range_of_its_own() {
    let origin = always("Cache-Control: max-age=600\r\nContent-Type: text/plain\r\n", "0123456789");
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let answer = larder.get_with("/page", &[("Range", "bytes=0-1,6-8")]).expect_status(206).expect_hit();
    assert_eq!(answer.field("Content-Range"), None);
    let content_type = answer.field("Content-Type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect(content_type);
    let part = |range: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n"
        )
    };
    let want = format!("{}{}--{boundary}--\r\n", part("0-1", "01"), part("6-8", "678"));
    assert_eq!(answer.text().trim_start_matches("\r\n"), want);
    assert_eq!(answer.field("Content-Length"), Some(answer.body.len().to_string().as_str()));
}

/// RFC 9111 §3.3: what is stored of a part answers what lies within it, as a part; the whole is completed.
#[test]
fn a_part_is_always_sent_as_206() {
    let origin = Origin::scripted(|asked, wire| {
        const WHOLE: &str = "0123456789";
        let fields = "Cache-Control: max-age=600\r\nETag: \"1\"\r\n";
        let Some(range) = asked.field("Range") else { return wire.answer(fields, WHOLE) };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(9));
        let part = &WHOLE[first..=last];
        let length = part.len();
        let _ = wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\n{fields}Content-Range: bytes {first}-{last}/10\r\n\
             Content-Length: {length}\r\n\r\n{part}"
        ));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    let range = |range: &str| larder.get_with("/page", &[("Range", range)]).expect_status(206);
    let first = range("bytes=0-4");
    assert_eq!((first.text().as_str(), first.field("Content-Range")), ("01234", Some("bytes 0-4/10")));
    let within = range("bytes=1-3").expect_hit();
    assert_eq!((within.text().as_str(), within.field("Content-Range")), ("123", Some("bytes 1-3/10")));
    assert_eq!(origin.request_count(), 1);
    let whole = larder.get("/page").expect_status(200);
    assert_eq!((whole.text().as_str(), whole.field("Content-Range")), ("0123456789", None), "{whole}");
    assert_eq!(origin.requests()[1].field("Range"), Some("bytes=5-"), "only the rest is fetched");
    // RFC 9211 §2.3: what the origin answered, not what became of it.
    assert_eq!(whole.expect_forwarded("partial").cache_parameter("fwd-status").as_deref(), Some("206"));
    assert_eq!(larder.get("/page").expect_hit().text(), "0123456789");
    assert_eq!(origin.request_count(), 2);
}

/// RFC 9111 §3.4. The rest comes without the fields that the first part had (RFC 9110 §15.3.7).
#[test]
fn a_completed_response_has_the_fields_of_both_parts() {
    let origin = Origin::scripted(|asked, wire| {
        let (range, fields, part) = match asked.field("Range") {
            Some("bytes=0-3") => ("0-3", "Content-Type: text/plain\r\nX-First: 1\r\n", "0123"),
            Some("bytes=4-") if asked.field("If-Range") == Some("\"d\"") => ("4-9", "", "456789"),
            _ => return wire.answer("", "unexpected"),
        };
        let length = part.len();
        let _ = wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {range}/10\r\nContent-Length: {length}\r\n\
             ETag: \"d\"\r\nCache-Control: max-age=600\r\n{fields}\r\n{part}"
        ));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    larder.get_with("/digits", &[("Range", "bytes=0-3")]).expect_status(206);
    for _ in 0..2 {
        let whole = larder.get("/digits").expect_status(200).expect_whole();
        assert_eq!((whole.text().as_str(), whole.field("X-First")), ("0123456789", Some("1")), "{whole}");
        assert_eq!((whole.field("Content-Type"), whole.field("Content-Range")), (Some("text/plain"), None));
    }
    assert_eq!(origin.request_count(), 2);
}

/// What comes to complete a stored part may turn out to be for nobody: whoever asked for the whole gets it.
#[test]
fn a_rest_that_may_not_be_stored_is_not_passed_off_as_the_answer() {
    let origin = Origin::scripted(|asked, wire| {
        let (range, control, part) = match asked.field("Range") {
            Some("bytes=0-3") => ("0-3", "max-age=600", "0123"),
            Some("bytes=4-") => ("4-9", "no-store", "456789"),
            _ => return wire.answer("Cache-Control: no-store\r\n", "0123456789"),
        };
        let length = part.len();
        let _ = wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {range}/10\r\nContent-Length: {length}\r\n\
             ETag: \"d\"\r\nCache-Control: {control}\r\n\r\n{part}"
        ));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    larder.get_with("/digits", &[("Range", "bytes=0-3")]).expect_status(206);
    let whole = larder.get("/digits").expect_status(200).expect_whole();
    assert_eq!(whole.text(), "0123456789");
}

/// RFC 9110 §14.2: a `Range` is GET's. A POST whose answer is stored is answered whole all the same.
#[test]
fn a_post_with_a_range_gets_the_whole() {
    let origin = Origin::scripted(|_, wire| {
        wire.answer("Cache-Control: max-age=600\r\nContent-Location: /found\r\n", "0123456789")
    });
    let larder = Larder::before(&origin.url());
    let answer = larder.request("POST", "/found", &[("Range", "bytes=0-1")], b"x").expect_status(200);
    assert_eq!(answer.text(), "0123456789");
}
