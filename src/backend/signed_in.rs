//! Origins that sign connections in, and not requests: whatever comes next over such a connection is, to them, from the
//! same person.
//!
//! HTTP knows of no such thing: each request is to be understood by itself (RFC 9110 §3.3). IIS, and what is
//! compatible with it, does it all the same, for clients that say `NTLM` or `Negotiate` (RFC 4559).

use http::header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};

use crate::message::Fields;

/// The schemes by which a connection may be signed in.
const SCHEMES: [&[u8]; 4] = [b"ntlm", b"negotiate", b"nego2", b"kerberos"];

/// IIS says by it for how long a connection stays signed in.
const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");

/// Whether the connection over which `asked` was answered with `answered` may be somebody's from then on.
pub(super) fn is_somebodys(asked: &Fields, answered: &Fields) -> bool {
    names_scheme(asked, &AUTHORIZATION)
        || names_scheme(answered, &WWW_AUTHENTICATE)
        || answered.contains_key(&PERSISTENT_AUTH)
}

/// Any word counts, wherever it stands in the list of challenges: a name too many costs a connection.
fn names_scheme(fields: &Fields, name: &HeaderName) -> bool {
    fields.get_all(name).any(|line| {
        line.as_bytes()
            .split(|byte| !byte.is_ascii_alphanumeric())
            .any(|word| SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &'static str, lines: &[&str]) -> Fields {
        let mut fields = Fields::new();
        for line in lines {
            fields.append(name, http::HeaderValue::from_str(line).unwrap());
        }
        fields
    }

    #[test]
    fn a_connection_is_somebodys_once_either_side_speaks_of_signing_it_in() {
        let none = Fields::new();
        for (lines, want) in [
            (&["NTLM TlRMTVNTUAAB"][..], true),
            (&["ntlm TlRMTVNTUAAB"], true),
            (&["Negotiate YIIJ"], true),
            (&["Bearer abc"], false),
            (&["Basic YTpi"], false),
        ] {
            assert_eq!(is_somebodys(&fields("authorization", lines), &none), want, "{lines:?}");
        }
        for (lines, want) in [
            (&["NTLM"][..], true),
            (&["Negotiate oYG2"], true),
            (&["Basic realm=\"x\"", "NEGOTIATE"], true),
            (&["Basic realm=\"x\", NTLM"], true),
            (&["Bearer, Negotiate,NTLM"], true),
            (&["Basic realm=\"x\""], false),
            (&["Digest realm=\"x\", nonce=\"y\""], false),
        ] {
            assert_eq!(is_somebodys(&none, &fields("www-authenticate", lines)), want, "{lines:?}");
        }
        assert!(is_somebodys(&none, &fields("persistent-auth", &["true"])));
        assert!(!is_somebodys(&none, &none));
    }
}
