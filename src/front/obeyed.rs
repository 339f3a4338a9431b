//! Fields of a request that origins take orders from, though nothing keys responses by them: whose word is taken
//! for them, in one table.
//!
//! Such a field is meant for the proxy next to the origin. From a stranger it is the way to choose what others get:
//! a page whose links lead elsewhere, a redirect that never ends, another page altogether, stored under a key that
//! says nothing of it. So strangers do not get to send them, and a trusted proxy only those that tell of its
//! client, unless responses are kept apart by the field.

use http::{HeaderName, Method};

/// What a field makes an origin believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The client's address.
    Address,
    /// Who the client is: a user, a certificate.
    Person,
    /// The host or port that was asked for.
    Host,
    /// The scheme that was asked for.
    Scheme,
    /// The path that was asked for, or what stands before it.
    Url,
    /// Another method than the request line says.
    Method,
    /// What the origin's own server set, or Larder does.
    Server,
}

impl Says {
    /// Whether a trusted proxy is believed about it. By the rest an origin chooses what it answers; of a proxy that
    /// passes on what it got (most do with all but one or two of these), clients choose it.
    fn is_believed(self) -> bool {
        matches!(self, Says::Address | Says::Person)
    }
}

/// What is done with names that have an underscore, or anything but letters, digits and dashes. CGI, WSGI, Rack, PHP
/// and their like make one variable of `X_Forwarded_Host` and `X-Forwarded-Host`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    #[default]
    Drop,
    /// All but the other spellings of what Larder itself keeps from clients, or writes.
    Pass,
}

/// What of a request's fields the origin gets to see.
#[derive(Clone, Debug, Default)]
pub struct Obeyed {
    pub underscores: Underscores,
    /// Further names that nobody may send.
    pub drop: Vec<HeaderName>,
    /// Names that everybody may send, whatever this file says.
    pub pass: Vec<HeaderName>,
    /// Names that trusted proxies may send: responses are kept apart by them.
    pub keyed: Vec<HeaderName>,
}

impl Obeyed {
    /// Whether the origin is told this field (its name in lower case) of a request with this method. Fields that
    /// Larder writes are not asked about.
    pub fn admits(&self, name: &[u8], method: &Method, trusted: bool) -> bool {
        if is_among(&self.pass, name) {
            return true;
        }
        if is_among(&self.drop, name) {
            return false;
        }
        if !is_plain(name) {
            return self.underscores == Underscores::Pass && !self.is_twin(name);
        }
        match says(name) {
            None => true,
            Some(Says::Method) => !is_safe(method),
            Some(says) => trusted && (says.is_believed() || is_among(&self.keyed, name)),
        }
    }

    /// Whether the origin may not be told of this field what the request says.
    pub fn bends(&self, name: &[u8]) -> bool {
        !is_among(&self.pass, name)
            && !is_among(&self.keyed, name)
            && (is_among(&self.drop, name) || !is_plain(name) || says(name).is_some())
    }

    /// Whether an origin that makes variables of names takes it for one that only Larder may say.
    fn is_twin(&self, name: &[u8]) -> bool {
        let plain = plain(name);
        says(&plain).is_some() || is_written(&plain) || is_among(&self.drop, &plain)
    }
}

/// Whether `method` is one whose answers may be stored as those to GET, or that asks for no change.
fn is_safe(method: &Method) -> bool {
    method.is_safe() || method.as_str() == "QUERY"
}

fn is_among(names: &[HeaderName], name: &[u8]) -> bool {
    names.iter().any(|other| other.as_str().as_bytes() == name)
}

/// Whether a name has nothing but letters, digits and dashes: nginx's notion of a valid one.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Names of the message itself, or that Larder gives their value whatever the client said.
fn is_written(name: &[u8]) -> bool {
    matches!(
        name,
        b"content-length"
            | b"transfer-encoding"
            | b"content-type"
            | b"content-encoding"
            | b"content-range"
            | b"keep-alive"
            | b"proxy-connection"
            | b"proxy-authorization"
            | b"cache-control"
            | b"if-none-match"
            | b"if-modified-since"
            | b"if-match"
            | b"if-unmodified-since"
            | b"if-range"
            | b"max-forwards"
    )
}

/// What a field (in lower case) makes an origin believe; nothing of the ordinary ones.
///
/// From what frameworks and servers read: Symfony and Laravel, Rails and Rack, Django and Werkzeug, Gunicorn,
/// Spring, Jetty, WebLogic, ASP.NET and IIS, WordPress and Magento, ktor, Express, Envoy, and the CDNs.
pub fn says(name: &[u8]) -> Option<Says> {
    match name.first()? {
        b'x' => says_experimental(name.strip_prefix(b"x-")?),
        b'f' | b'p' | b's' | b'c' | b't' | b'r' | b'u' | b'h' | b'b' | b'i' | b'a' | b'w' | b'm' | b'o'
        | b'e' => says_plain(name),
        _ => None,
    }
}

/// Whether a field (in lower case) tells an origin who the client is, in this spelling or one that it takes for the
/// same.
pub fn is_about_a_person(name: &[u8]) -> bool {
    match is_plain(name) {
        true => says(name) == Some(Says::Person),
        false => says(&plain(name)) == Some(Says::Person),
    }
}

/// The spelling with dashes of a name that has anything else in their place.
fn plain(name: &[u8]) -> smallvec::SmallVec<[u8; 64]> {
    name.iter().map(|byte| if byte.is_ascii_alphanumeric() { *byte } else { b'-' }).collect()
}

/// How the fields begin by which gateways that sign people in tell of them: of mod_ssl, Cloudflare Access, Tailscale,
/// mod_auth_openidc, Shibboleth, mod_auth_mellon.
const PERSONS: [&[u8]; 11] = [
    b"ssl-client-",
    b"tls-client-",
    b"cf-access-",
    b"tailscale-user-",
    b"oidc-claim-",
    b"oidc-access-token",
    b"oidc-id-token",
    b"shib-",
    b"mellon-",
    b"remote-user-",
    b"cert-client-",
];

/// The same of those that begin with `x-`, without that: of oauth2-proxy, authentik, Authelia, Google's and Amazon's
/// load balancers, Azure, Pomerium, Vouch, Kong, Grafana.
const EXPERIMENTAL_PERSONS: [&[u8]; 20] = [
    b"ssl-client-",
    b"tls-client-",
    b"client-cert-",
    b"ms-client-principal",
    b"ms-token-",
    b"amzn-mtls-",
    b"amzn-oidc-",
    b"auth-request-",
    b"authentik-",
    b"authelia-",
    b"authenticated-",
    b"goog-authenticated-user-",
    b"goog-iap-jwt-",
    b"pomerium-",
    b"vouch-",
    b"webauth-",
    b"consumer-",
    b"credential-",
    b"token-subject",
    b"shib-",
];

fn says_plain(name: &[u8]) -> Option<Says> {
    Some(match name {
        // RFC 7239: Larder writes it anew, with what a trusted proxy said of addresses.
        b"forwarded" => Says::Address,
        // Of a CGI program it becomes HTTP_PROXY, by which many libraries choose where they connect ("httpoxy").
        b"proxy" | b"surrogate-capability" => Says::Server,
        b"client-ip"
        | b"true-client-ip"
        | b"fastly-client-ip"
        | b"fly-client-ip"
        | b"proxy-client-ip"
        | b"wl-proxy-client-ip"
        | b"remote-addr"
        | b"remote-host"
        | b"incap-client-ip"
        | b"ali-cdn-real-ip"
        | b"cdn-src-ip"
        | b"cf-connecting-ip"
        | b"cf-connecting-ipv6"
        | b"cf-pseudo-ipv4"
        | b"cf-ipcountry"
        | b"http-client-ip"
        | b"cloudfront-viewer-address" => Says::Address,
        // RFC 9440 §3.1: whoever ends TLS takes them out of what clients send.
        b"client-cert"
        | b"client-cert-chain"
        | b"remote-user"
        | b"remote-name"
        | b"remote-email"
        | b"remote-group"
        | b"remote-groups"
        | b"remote-ident"
        | b"auth-user"
        | b"auth-type"
        | b"eppn"
        | b"sm-user"
        | b"iv-user"
        | b"iv-groups"
        | b"iv-creds"
        | b"mellon-user"
        | b"ssl-cert"
        | b"proxy-auth-cert"
        | b"proxy-ssl-id"
        | b"proxy-remote-user"
        | b"wl-proxy-client-cert" => Says::Person,
        b"front-end-https"
        | b"https"
        | b"ssl"
        | b"ssl-offloaded"
        | b"cf-visitor"
        | b"cloudfront-forwarded-proto"
        | b"url-scheme"
        | b"wl-proxy-ssl"
        | b"request-scheme" => Says::Scheme,
        b"http-host" | b"host-override" | b"server-name" | b"server-port" | b"host-name" => Says::Host,
        b"base-url" | b"script-name" | b"path-info" | b"path-translated" | b"script-filename"
        | b"request-uri" | b"request-url" | b"document-uri" | b"unencoded-url" | b"query-string"
        | b"script-uri" | b"script-url" | b"redirect-url" => Says::Url,
        b"http-method-override" | b"method-override" | b"request-method" => Says::Method,
        b"forwarded-for" | b"forwarded-for-ip" => Says::Address,
        b"forwarded-proto" | b"forwarded-scheme" | b"forwarded-ssl" => Says::Scheme,
        _ if PERSONS.iter().any(|start| name.starts_with(start)) => Says::Person,
        // Any other of these is about the URL that was asked for.
        _ if name.starts_with(b"forwarded-") => Says::Host,
        // IIS's own words to the application behind it.
        _ if name.starts_with(b"ms-aspnetcore-") => Says::Server,
        _ => return None,
    })
}

/// The same for a name that begins with `x-`, without that.
fn says_experimental(name: &[u8]) -> Option<Says> {
    if let Some(name) = name.strip_prefix(b"forwarded-") {
        return Some(match name {
            b"for" | b"by" | b"client-ip" | b"for-original" | b"for-ip" | b"country" => Says::Address,
            b"user"
            | b"email"
            | b"groups"
            | b"preferred-username"
            | b"access-token"
            | b"client-cert"
            | b"tls-client-cert"
            | b"tls-client-cert-info"
            | b"name"
            | b"id-token" => Says::Person,
            b"proto" | b"protocol" | b"scheme" | b"ssl" | b"https" => Says::Scheme,
            b"host" | b"server" | b"port" | b"host-override" => Says::Host,
            b"method" => Says::Method,
            _ => Says::Url,
        });
    }
    Some(match name {
        b"forwarded"
        | b"forward-for"
        | b"real-ip"
        | b"client-ip"
        | b"client"
        | b"cluster-client-ip"
        | b"true-client-ip"
        | b"true-ip"
        | b"remote-ip"
        | b"remote-addr"
        | b"remote-host"
        | b"originating-ip"
        | b"original-for"
        | b"original-forwarded-for"
        | b"original-remote-addr"
        | b"original-ip"
        | b"proxyuser-ip"
        | b"custom-ip-authorization"
        | b"envoy-external-address"
        | b"coming-from"
        | b"ip"
        | b"azure-clientip"
        | b"azure-socketip"
        | b"appengine-user-ip"
        | b"nf-client-connection-ip"
        | b"cdn-src-ip"
        | b"source-ip"
        | b"vercel-forwarded-for"
        | b"appengine-remote-addr"
        | b"do-connecting-ip"
        | b"bluecoat-via"
        | b"country-code"
        | b"geo-country"
        | b"client-port" => Says::Address,
        b"remote-user"
        | b"remote-name"
        | b"remote-email"
        | b"remote-group"
        | b"remote-groups"
        | b"trusted-remote-user"
        | b"auth-user"
        | b"auth-username"
        | b"auth-userid"
        | b"auth-user-id"
        | b"auth-email"
        | b"auth-groups"
        | b"auth-name"
        | b"kerberos-user"
        | b"userinfo"
        | b"proxy-user"
        | b"client-cert"
        | b"client-verify"
        | b"ssl-cert"
        | b"ssl-verify"
        | b"arr-clientcert"
        | b"client-dn"
        | b"verified-user" => Says::Person,
        b"host"
        | b"http-host"
        | b"host-override"
        | b"http-host-override"
        | b"backend-host"
        | b"real-host"
        | b"forward-host"
        | b"server-name"
        | b"server-port"
        | b"original-host"
        | b"original-port"
        | b"envoy-original-host"
        | b"host-name"
        | b"gateway-host"
        | b"port" => Says::Host,
        b"scheme" | b"url-scheme" | b"https" | b"ssl" | b"proto" | b"protocol" | b"forward-proto"
        | b"proxied-https" | b"original-proto" | b"original-scheme" | b"request-scheme" | b"arr-ssl"
        | b"real-scheme" | b"secure" | b"ssl-offloaded" | b"client-proto" | b"client-scheme" => Says::Scheme,
        b"script-name"
        | b"base-url"
        | b"base-path"
        | b"path-info"
        | b"path-prefix"
        | b"prefix"
        | b"request-uri"
        | b"request-url"
        | b"real-url"
        | b"real-uri"
        | b"proxy-url"
        | b"destination-url"
        | b"http-destinationurl"
        | b"envoy-original-path"
        | b"envoy-original-url"
        | b"replaced-path"
        | b"ingress-path"
        | b"application-path"
        | b"virtual-path"
        | b"path" => Says::Url,
        b"http-method-override"
        | b"http-method"
        | b"method-override"
        | b"method"
        | b"original-method"
        | b"tunnel-method" => Says::Method,
        // Rack::Sendfile and its like take from these where files are, and how they are sent.
        b"sendfile-type" | b"sendfile" | b"lighttpd-send-file" => Says::Server,
        _ if name.starts_with(b"accel-") => Says::Server,
        // Next.js believes that it wrote these itself: the page that was meant, its status, that its middleware ran.
        b"matched-path" | b"now-route-matches" => Says::Url,
        _ if name.starts_with(b"invoke-") => Says::Url,
        _ if name.starts_with(b"middleware-") => Says::Server,
        _ if EXPERIMENTAL_PERSONS.iter().any(|start| name.starts_with(start)) => Says::Person,
        _ if name.starts_with(b"original-") || name.starts_with(b"rewrite-") => Says::Url,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind with what applications are known to read; the table beside the code could not tell of a gap.
    const READ_BY_APPLICATIONS: [&str; 101] = [
        "Forwarded",
        "X-Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Path",
        "X-Forwarded-Proto",
        "X-Forwarded-Protocol",
        "X-Forwarded-Scheme",
        "X-Forwarded-Server",
        "X-Forwarded-Ssl",
        "X-Forwarded-Uri",
        "X-Forwarded-User",
        "X-Original-For",
        "X-Original-Host",
        "X-Original-Prefix",
        "X-Original-Proto",
        "X-Original-URI",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Rewrite-Path",
        "X-Url-Scheme",
        "X-Scheme",
        "X-Proxied-Https",
        "Front-End-Https",
        "CloudFront-Forwarded-Proto",
        "X-HTTP-Host-Override",
        "X-Host",
        "X-Host-Override",
        "X-Backend-Host",
        "X-Forward-Host",
        "X-Real-IP",
        "X-Client-IP",
        "Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Visitor",
        "Fastly-Client-IP",
        "X-Cluster-Client-IP",
        "X-ProxyUser-Ip",
        "X-Remote-IP",
        "X-Remote-Addr",
        "X-Originating-IP",
        "X-Envoy-External-Address",
        "X-Envoy-Original-Path",
        "Proxy-Client-IP",
        "WL-Proxy-Client-IP",
        "WL-Proxy-SSL",
        "Proxy",
        "Base-Url",
        "Script-Name",
        "X-Script-Name",
        "Path-Info",
        "X-Sendfile-Type",
        "X-Accel-Mapping",
        "Surrogate-Capability",
        "Remote-User",
        "X-Remote-User",
        "Client-Cert",
        "X-SSL-Client-Verify",
        "MS-ASPNETCORE-CLIENTCERT",
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Groups",
        "X-Auth-Request-Access-Token",
        "X-Auth-User",
        "X-Auth-Username",
        "Remote-Name",
        "Remote-Email",
        "Remote-Groups",
        "X-Remote-Group",
        "X-Remote-Groups",
        "X-Authentik-Username",
        "X-Authentik-Groups",
        "X-WebAuth-User",
        "X-Goog-Authenticated-User-Email",
        "X-Goog-Authenticated-User-Id",
        "X-Goog-Iap-Jwt-Assertion",
        "X-Amzn-Oidc-Data",
        "X-Amzn-Oidc-Identity",
        "X-Amzn-Oidc-Accesstoken",
        "Cf-Access-Authenticated-User-Email",
        "Cf-Access-Jwt-Assertion",
        "X-Ms-Token-Aad-Access-Token",
        "Tailscale-User-Login",
        "Tailscale-User-Name",
        "X-Vouch-User",
        "X-Pomerium-Claim-Email",
        "Oidc-Claim-Sub",
        "Shib-Session-Id",
        "Eppn",
        "Sm-User",
        "X-Consumer-Username",
        "X-SSL-Cert",
        "X-Client-Verify",
        "X-Invoke-Path",
        "X-Invoke-Status",
        "X-Matched-Path",
        "X-Now-Route-Matches",
        "X-Middleware-Subrequest",
    ];

    fn admits(obeyed: &Obeyed, name: &str, trusted: bool) -> bool {
        obeyed.admits(name.to_ascii_lowercase().as_bytes(), &Method::GET, trusted)
    }

    #[test]
    fn a_stranger_says_nothing_that_applications_obey_in_whatever_spelling() {
        for underscores in [Underscores::Drop, Underscores::Pass] {
            let obeyed = Obeyed { underscores, ..Obeyed::default() };
            for name in READ_BY_APPLICATIONS {
                for twin in [
                    name.to_owned(),
                    name.replace('-', "_"),
                    name.replacen('-', "_", 1),
                    name.replace('-', "."),
                ] {
                    assert!(!admits(&obeyed, &twin, false), "{twin} {underscores:?}");
                    assert!(obeyed.bends(twin.to_ascii_lowercase().as_bytes()), "{twin}");
                }
            }
        }
    }

    #[test]
    fn what_belongs_to_the_message_has_no_second_spelling() {
        let obeyed = Obeyed { underscores: Underscores::Pass, ..Obeyed::default() };
        for twin in ["Content_Length", "Transfer_Encoding", "Content_Type", "If_None_Match", "Cache_Control"]
        {
            assert!(!admits(&obeyed, twin, true), "{twin}");
        }
        assert!(admits(&obeyed, "api_key", false));
        assert!(!admits(&Obeyed::default(), "api_key", true));
    }

    #[test]
    fn what_clients_have_to_say_themselves_is_left_alone() {
        for name in [
            "Accept-Language",
            "Authorization",
            "Cookie",
            "Content-Type",
            "Destination",
            "DNT",
            "Idempotency-Key",
            "Origin",
            "Priority",
            "Referer",
            "Save-Data",
            "Sec-CH-UA",
            "Sec-Fetch-Site",
            "Traceparent",
            "Upgrade-Insecure-Requests",
            "User-Agent",
            "X-Amzn-Trace-Id",
            "X-Api-Key",
            "X-Auth-Token",
            "X-B3-TraceId",
            "X-CSRF-Token",
            "X-Request-ID",
            "X-Requested-With",
            "X-XSRF-TOKEN",
        ] {
            assert!(admits(&Obeyed::default(), name, false), "{name}");
            assert!(!Obeyed::default().bends(name.to_ascii_lowercase().as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_about_its_client_and_about_the_url_only_where_that_is_keyed() {
        let keyed = Obeyed { keyed: vec!["x-forwarded-host".parse().unwrap()], ..Obeyed::default() };
        for (name, by_default, with_key) in [
            ("X-Forwarded-For", true, true),
            ("X-Forwarded-User", true, true),
            ("True-Client-IP", true, true),
            ("X-Forwarded-Host", false, true),
            ("X-Forwarded-Port", false, false),
            ("X-Original-URL", false, false),
            ("X-Invoke-Path", false, false),
            ("X-Middleware-Subrequest", false, false),
            ("Proxy", false, false),
        ] {
            assert_eq!(admits(&Obeyed::default(), name, true), by_default, "{name}");
            assert_eq!(admits(&keyed, name, true), with_key, "{name}");
            assert!(!admits(&keyed, name, false), "{name}");
        }
    }

    #[test]
    fn what_tells_of_a_person_is_known_as_such_in_whatever_spelling() {
        for name in [
            "remote-user",
            "remote_user",
            "remote-email",
            "x-forwarded-user",
            "x-forwarded-email",
            "x-forwarded-access-token",
            "x-auth-request-groups",
            "x-authentik-email",
            "x-goog-authenticated-user-id",
            "x-amzn-oidc-data",
            "cf-access-jwt-assertion",
            "tailscale-user-login",
            "client-cert",
            "x-ssl-client-cert",
            "x-ssl-cert",
            "x-client-verify",
        ] {
            assert!(is_about_a_person(name.as_bytes()), "{name}");
        }
        for name in [
            "x-forwarded-for",
            "x-forwarded-host",
            "cf-connecting-ip",
            "x-auth-token",
            "cookie",
            "x-user-agent",
        ] {
            assert!(!is_about_a_person(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn another_method_is_for_requests_that_change_something() {
        let obeyed = Obeyed::default();
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            for (method, admitted) in
                [("GET", false), ("HEAD", false), ("QUERY", false), ("OPTIONS", false), ("POST", true)]
            {
                let method = method.parse().unwrap();
                assert_eq!(obeyed.admits(name.as_bytes(), &method, true), admitted, "{method} {name}");
            }
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let obeyed = Obeyed {
            drop: vec!["x-secret".parse().unwrap()],
            pass: vec!["x-host".parse().unwrap(), "api_key".parse().unwrap()],
            underscores: Underscores::Pass,
            ..Obeyed::default()
        };
        assert!(admits(&obeyed, "X-Host", false) && admits(&obeyed, "api_key", false));
        assert!(!admits(&obeyed, "X-Secret", true) && !admits(&obeyed, "X_Secret", true));
        assert!(obeyed.bends(b"x-secret") && !obeyed.bends(b"x-host"));
    }
}
