//! Traces made here, of the kinds that tell policies apart. Always the same ones.

const ASKS: usize = 100_000;
const IDS: u64 = 20_000;

/// Name and ids of each.
pub fn traces() -> Vec<(String, Vec<u64>)> {
    let mut chance = Chance(1);
    let zipf = |exponent: f64| Zipf::new(IDS, exponent);
    let (steep, flat) = (zipf(0.9), zipf(0.7));
    let once = |index: usize| 1_000_000 + index as u64;
    let mut made = Vec::new();
    let mut add = |name: &str, ask: &mut dyn FnMut(usize, &mut Chance) -> u64| {
        made.push((name.to_owned(), (0..ASKS).map(|index| ask(index, &mut chance)).collect()));
    };
    add("zipf-0.9", &mut |_, chance| steep.draw(chance));
    add("zipf-0.7", &mut |_, chance| flat.draw(chance));
    // A crawler asks for what nobody asks for again.
    add("zipf-and-scan", &mut |index, chance| match chance.unit() < 0.3 {
        true => once(index),
        false => steep.draw(chance),
    });
    let mut round = 0;
    add("zipf-and-loop", &mut |_, chance| match chance.unit() < 0.3 {
        true => {
            round += 1;
            2_000_000 + round % 3000
        }
        false => steep.draw(chance),
    });
    // What is popular changes.
    add("zipf-shifting", &mut |index, chance| steep.draw(chance) + index as u64 / 5000 * 500);
    // News: everything is asked for soon after it is new, or never again.
    let mut newest = 0;
    add("news", &mut |_, chance| {
        if chance.unit() < 0.15 {
            newest += 1;
            return newest;
        }
        newest.saturating_sub((-150.0 * (1.0 - chance.unit()).ln()) as u64)
    });
    made
}

/// Numbers by chance, always the same (SplitMix64).
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The id of rank `n` is asked for in proportion to `n` to the power of minus the exponent.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ids: u64, exponent: f64) -> Self {
        let mut sum = 0.0;
        Zipf(
            (1..=ids)
                .map(|rank| {
                    sum += (rank as f64).powf(-exponent);
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, chance: &mut Chance) -> u64 {
        let point = chance.unit() * self.0.last().copied().unwrap_or(0.0);
        self.0.partition_point(|sum| *sum < point) as u64
    }
}
