//! What a single value must meet beyond its kind: the checks that settings name.

use std::time::Duration;

use super::problem::Fault;
use super::units::{Amount, Size};

type Verdict = Result<(), Fault>;

/// A time that something is given must be more than none.
pub fn some_time(span: &Duration) -> Verdict {
    match span.is_zero() {
        true => Err(Fault::new("this cannot be zero: nothing would ever be in time")),
        false => Ok(()),
    }
}

/// A number that must be at least one.
pub fn at_least_one(number: &usize) -> Verdict {
    between(*number, 1, usize::MAX)
}

/// A number within bounds.
pub fn between(number: usize, low: usize, high: usize) -> Verdict {
    if number < low {
        return Err(Fault::new(format!("this is at least {low}")));
    }
    if number > high {
        return Err(Fault::new(format!("this is at most {high}")));
    }
    Ok(())
}

/// A name that stands in metrics: short, and of letters that need no quoting anywhere.
pub fn name(name: &str) -> Verdict {
    let sound = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    match name.len() {
        1..=64 if name.chars().all(sound) && !name.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
        _ => Err(Fault::new(
            "a name has 1 to 64 letters, digits, `-`, `_`, `.` and `/`, and is not only a number",
        )),
    }
}

/// A size within bounds.
pub fn size_between(size: Size, low: Size, high: Size) -> Verdict {
    if size < low {
        return Err(Fault::new(format!("this is at least {low}")));
    }
    if size > high {
        return Err(Fault::new(format!("this is at most {high}")));
    }
    Ok(())
}

/// The head of a message: enough for any sound one, and bounded.
pub fn head_size(size: &Size) -> Verdict {
    size_between(*size, Size::kib(1), Size::mib(16))
}

/// The store's memory.
pub fn memory(amount: &Amount) -> Verdict {
    match amount {
        Amount::Bytes(size) => size_between(*size, Size::mib(1), Size(u64::MAX)),
        Amount::Share(_) => Ok(()),
    }
}

/// A share of more than nothing.
pub fn share(share: &f64) -> Verdict {
    match (0.001..=1.0).contains(share) {
        true => Ok(()),
        false => Err(Fault::new("this is from 0.001 to 1")),
    }
}

/// A fraction from 0 to 1.
pub fn fraction(fraction: &f64) -> Verdict {
    match (0.0..=1.0).contains(fraction) {
        true => Ok(()),
        false => Err(Fault::new("this is from 0 to 1").help("for a tenth write 0.1")),
    }
}

/// The path of a request.
pub fn path(path: &str) -> Verdict {
    if !path.starts_with('/') {
        let fault = Fault::new("a path begins with a slash");
        return Err(fault.help(format!("write \"/{path}\"")));
    }
    match path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        true => Ok(()),
        false => {
            Err(Fault::new("this cannot be sent as a path").help("percent-encode what is not plain ASCII"))
        }
    }
}

/// The value of a `Host` field (RFC 9110 §7.2).
pub fn host_field(host: &str) -> Verdict {
    match host.parse::<http::uri::Authority>() {
        Ok(authority) if !host.contains('@') && !authority.host().is_empty() => Ok(()),
        _ => Err(Fault::new(format!("\"{host}\" is not a host")).help("write \"example.com\", or \"pass\"")),
    }
}

/// A status code that a final response can have.
pub fn status(status: &u16) -> Verdict {
    between(usize::from(*status), 200, 599)
}
