//! How many files and sockets the process may have open, and how many of them are for clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::assemble;
use crate::config::Settings;

/// Raises the soft limit to the hard one; answers what holds now, `None` where nothing does. The soft limit is low
/// for the sake of programs that use `select`, which this one does not.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }
}

/// How many clients may be connected at a time. Says so if that is fewer than was asked for.
pub(super) fn seats(settings: &Settings) -> usize {
    let wanted = settings.limits.connections;
    let limit = raise();
    let aside = settings.limits.descriptors_aside;
    let seats = seats_of(wanted, limit, aside, assemble::descriptors_aside(settings));
    if seats < wanted {
        tracing::warn!(
            descriptors = limit,
            clients = seats,
            wanted,
            "fewer clients than limits.connections can be connected: the process may have too few descriptors; \
             raise its hard limit (LimitNOFILE, ulimit -Hn)"
        );
    }
    seats
}

/// What is left for clients of so many descriptors. What is kept for others, where nobody has said how many, is half
/// of them at most.
fn seats_of(wanted: usize, limit: Option<u64>, aside: Option<usize>, needed: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let aside = aside.unwrap_or(needed.min(limit / 2));
    wanted.min(limit.saturating_sub(aside)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left_of_the_descriptors_and_never_none() {
        for (wanted, limit, aside, needed, seats) in [
            (10_000, None, None, 640, 10_000),
            (10_000, Some(1 << 20), None, 640, 10_000),
            (10_000, Some(8192), None, 640, 7552),
            (10_000, Some(1024), None, 640, 512),
            (10_000, Some(1024), Some(100), 640, 924),
            (10_000, Some(1024), Some(5000), 640, 1),
            (50, Some(1024), None, 640, 50),
        ] {
            assert_eq!(seats_of(wanted, limit, aside, needed), seats, "{wanted} {limit:?} {aside:?}");
        }
    }
}
