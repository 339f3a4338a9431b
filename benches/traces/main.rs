//! How many requests are answered from memory: replays traces through the real shelves, plain LRU,
//! moka's own policies and S3-FIFO.
//!
//! `cargo bench --bench traces -- FILE…` replays files of one id per line (`-` for standard input; unpack
//! them first); without files it replays traces that it makes itself. Sizes are 1 % and 10 % of the
//! distinct ids, each of weight one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod made;
mod peers;

use std::collections::HashSet;

use peers::Policy;

fn main() {
    // cargo hands `--bench` to every bench.
    let files: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let traces = match files.is_empty() {
        true => made::traces(),
        false => files.into_iter().map(read).collect(),
    };
    print!("{:<16} {:>5}", "trace", "size");
    peers::all(10).iter().for_each(|policy| print!(" {:>9}", policy.name()));
    println!();
    for (name, ids) in traces {
        let footprint = ids.iter().collect::<HashSet<_>>().len() as u64;
        for percent in [1, 10] {
            print!("{name:<16} {percent:>4}%");
            for mut policy in peers::all((footprint * percent / 100).max(2)) {
                print!(" {:>9.2}", 100.0 * hit_ratio(policy.as_mut(), &ids));
            }
            println!();
        }
    }
}

fn read(file: String) -> (String, Vec<u64>) {
    let text = match file.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()).expect("standard input is readable"),
        _ => std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")),
    };
    let ids = text.split_ascii_whitespace().map(|id| id.parse().expect("one number per line")).collect();
    (file.rsplit('/').next().unwrap_or_default().to_owned(), ids)
}

fn hit_ratio(policy: &mut dyn Policy, ids: &[u64]) -> f64 {
    ids.iter().filter(|id| policy.ask(**id)).count() as f64 / ids.len() as f64
}
