//! Who may purge on the public listener: nobody, unless the configuration says so.

use std::fmt;

use http::{HeaderName, header};
use ipnet::IpNet;
use subtle::{Choice, ConstantTimeEq};

use super::{PurgeRequest, Refusal};
use crate::message::Fields;

/// Who may purge. The default is nobody.
#[derive(Clone, Debug, Default)]
pub struct PurgeAccess {
    /// Addresses that may purge without a token, unless the request has come through a proxy: behind one,
    /// every client has its address.
    pub allow: Vec<IpNet>,
    /// Tokens that may purge from anywhere.
    pub tokens: Vec<PurgeToken>,
    /// Further fields in which a token is looked for, besides `Authorization: Bearer`, `Fastly-Key` and
    /// `X-Invalidate-Token`.
    pub token_fields: Vec<HeaderName>,
}

/// A secret that allows to purge, and the name under which its use is logged.
#[derive(Clone)]
pub struct PurgeToken {
    name: Box<str>,
    secret: Box<[u8]>,
}

impl PurgeToken {
    /// A token. `None` if the secret is empty: that would let everybody in.
    pub fn new(name: impl Into<Box<str>>, secret: impl AsRef<[u8]>) -> Option<Self> {
        let secret = secret.as_ref();
        (!secret.is_empty()).then(|| PurgeToken { name: name.into(), secret: secret.into() })
    }
}

impl fmt::Debug for PurgeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PurgeToken({})", self.name)
    }
}

/// Fields that a proxy adds.
const PROXY_FIELDS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

impl PurgeAccess {
    /// Who the sender is, if it may purge.
    pub(super) fn check(&self, request: &PurgeRequest<'_>) -> Result<Box<str>, Refusal> {
        if self.allow.is_empty() && self.tokens.is_empty() {
            return Err(Refusal::NobodyMay);
        }
        let shown = self.shown_tokens(request.headers);
        for shown in &shown {
            if let Some(token) = self.find_token(shown) {
                return Ok(format!("token {}", token.name).into());
            }
        }
        let address = request.peer.filter(|address| self.allow.iter().any(|net| net.contains(address)));
        match address {
            Some(_) if PROXY_FIELDS.iter().any(|name| request.headers.contains_key(*name)) => {
                Err(Refusal::CameThroughProxy)
            }
            Some(address) => Ok(address.to_string().into()),
            None if shown.is_empty() => Err(Refusal::AddressNotAllowed),
            None => Err(Refusal::TokenNotKnown),
        }
    }

    /// What the request shows as tokens. Most purges show none.
    fn shown_tokens<'a>(&'a self, headers: &'a Fields) -> Vec<&'a [u8]> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
        });
        let named = ["fastly-key", "x-invalidate-token"].into_iter().filter_map(|name| headers.get(name));
        let further = self.token_fields.iter().filter_map(|name| headers.get(name));
        bearer.into_iter().chain(named.chain(further).map(|value| value.as_bytes())).collect()
    }

    /// Compares with every token to the end, so that time tells nothing but the tokens' number and
    /// lengths.
    fn find_token(&self, shown: &[u8]) -> Option<&PurgeToken> {
        let mut found = None;
        for token in &self.tokens {
            let equal: Choice = token.secret.ct_eq(shown);
            if bool::from(equal) {
                found = Some(token);
            }
        }
        found
    }
}
