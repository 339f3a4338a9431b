//! "Did you mean": the nearest of the words that would have been right.

/// The candidate that differs from `written` by at most a third of its letters; the nearest one, if any.
pub fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let written = fold(written);
    let bound = (written.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&written, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What other proxies call a setting, and what it may be called here.
pub fn other_names(written: &str) -> impl Iterator<Item = &'static str> + use<> {
    const NAMES: [(&str, &str); 26] = [
        ("allowed", "allow"),
        ("backends", "backend"),
        ("bind", "listen"),
        ("check", "probe"),
        ("cluster", "backend"),
        ("grace", "stale_while_revalidate"),
        ("healthcheck", "probe"),
        ("hosts", "host"),
        ("inactive", "keep"),
        ("keep_stale", "stale_if_error"),
        ("max_age", "ttl"),
        ("max_size", "memory"),
        ("paths", "path"),
        ("port", "listen"),
        ("routes", "route"),
        ("rule", "route"),
        ("server", "endpoints"),
        ("servers", "endpoints"),
        ("size", "memory"),
        ("storage", "memory"),
        ("threads", "workers"),
        ("upstream", "backend"),
        ("url", "endpoints"),
        ("url", "path"),
        ("urls", "endpoints"),
        ("when", "match"),
    ];
    let written = fold(written);
    NAMES.iter().filter(move |(other, _)| fold(other) == written).map(|(_, ours)| *ours)
}

/// Case, `-` and `_` are not what a person means to distinguish by.
fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// Letters to insert, remove, replace, or swap with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, letter) in left.iter().enumerate() {
        let mut next = vec![at + 1];
        for (other_at, other) in right.iter().enumerate() {
            let replaced = row[other_at] + usize::from(letter != other);
            let mut cost = replaced.min(row[other_at + 1] + 1).min(next[other_at] + 1);
            let swapped = at > 0 && other_at > 0 && left[at - 1] == *other && right[other_at - 1] == *letter;
            if swapped {
                cost = cost.min(before[other_at - 1] + 1);
            }
            next.push(cost);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        for (written, want) in [
            ("memroy", Some("memory")),
            ("max-object", Some("max_object")),
            ("Memory", Some("memory")),
            ("tls", None),
            ("wibble", None),
        ] {
            assert_eq!(nearest(written, ["memory", "max_object", "ttl_x"]), want, "{written}");
        }
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn the_words_of_other_proxies_are_known() {
        assert_eq!(other_names("upstream").collect::<Vec<_>>(), ["backend"]);
        assert_eq!(other_names("max-age").collect::<Vec<_>>(), ["ttl"]);
        assert_eq!(other_names("url").collect::<Vec<_>>(), ["endpoints", "path"]);
        assert_eq!(other_names("wibble").count(), 0);
    }
}
