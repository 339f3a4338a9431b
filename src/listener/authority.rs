//! `Host` and the authority of a target (RFC 9110 §7.2): which are refused at the door.

use super::refusal::Refusal;
use crate::semantics::authority::{Invalid, check, normal_authority};

/// Checks that `authority` is `host [":" port]` with a host that is not empty and no user information.
pub(super) fn check_authority(authority: &[u8]) -> Result<(), Refusal> {
    check(authority).map_err(|invalid| match invalid {
        Invalid::Userinfo => Refusal::Userinfo,
        Invalid::Host => Refusal::InvalidHost,
    })
}

/// Whether two authorities name the same host and port of an http or https URI.
pub(super) fn same_authority(one: &[u8], other: &[u8], https: bool) -> bool {
    normal_authority(one, https) == normal_authority(other, https)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_goes_without_saying() {
        assert!(same_authority(b"a", b"A:80", false));
        assert!(same_authority(b"a:", b"a", false));
        assert!(same_authority(b"[::1]:080", b"[0::1]", false));
        assert!(same_authority(b"a", b"a:443", true));
        assert!(!same_authority(b"a", b"a:443", false));
        assert!(!same_authority(b"a", b"b", false));
    }
}
