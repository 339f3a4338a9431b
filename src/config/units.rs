//! Sizes: `64KiB`, `1GiB`, and shares of a whole: `75%`.

use super::problem::Fault;
use super::value::Text;

const UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// So many binary kilobytes.
    pub const fn kib(count: u64) -> Self {
        Size(count << 10)
    }

    /// So many binary megabytes.
    pub const fn mib(count: u64) -> Self {
        Size(count << 20)
    }

    /// So many binary gigabytes.
    pub const fn gib(count: u64) -> Self {
        Size(count << 30)
    }

    /// The number as the machine counts; saturates where addresses are narrower than 64 bits.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Display for Size {
    /// In the largest unit that loses nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = UNITS[..4].iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match unit {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Text for Size {
    const KIND: &'static str = "size";
    const EXAMPLE: &'static str = "64KiB";

    fn parse(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim());
        if text.starts_with('-') {
            return Err(Fault::new("a size is not negative"));
        }
        if unit == "%" {
            return Err(
                Fault::new("a share of memory is not possible here").help("write a size, as in \"64KiB\"")
            );
        }
        if number.is_empty() {
            return Err(Fault::new(format!("\"{text}\" is not a size")).help("write a size as in \"64KiB\""));
        }
        let Some((_, bytes)) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
            return Err(unknown_unit(number, unit));
        };
        decimal(number, *bytes).map(Size)
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn of_number(number: &str) -> Option<String> {
        (!number.starts_with('-')).then(|| format!("{number}B"))
    }
}

fn unknown_unit(number: &str, unit: &str) -> Fault {
    let letter = unit.chars().next().unwrap_or_default().to_ascii_uppercase();
    match unit {
        "" => Fault::new("a size needs a unit")
            .help(format!("write \"{number}B\", \"{number}KiB\", \"{number}MiB\"…")),
        _ if "KMGT".contains(letter) => Fault::new(format!("unknown unit \"{unit}\"")).help(format!(
            "write \"{number}{letter}iB\" (powers of 1024) or \"{number}{letter}B\" (powers of 1000)"
        )),
        _ => Fault::new(format!("unknown unit \"{unit}\""))
            .help("the units are B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"),
    }
}

/// `number`, which may have a decimal fraction, times `factor`, rounded down.
fn decimal(number: &str, factor: u64) -> Result<u64, Fault> {
    let unreadable = || Fault::new(format!("\"{number}\" is not a number"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.is_empty() || (number.contains('.') && fraction.is_empty()) {
        return Err(unreadable());
    }
    if fraction.len() > 9 || whole.len() > 20 {
        return Err(Fault::new("too many digits"));
    }
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| unreadable())?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or_default());
    u64::try_from(digits * u128::from(factor) / scale)
        .map_err(|_| Fault::new("the size is larger than can be counted"))
}

/// A size, or a share of a whole that the setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Bytes(Size),
    /// In hundredths of a per cent: 1 to 10,000.
    Share(u32),
}

impl Amount {
    /// `percent` of the whole.
    pub const fn percent(percent: u32) -> Self {
        Amount::Share(percent * 100)
    }

    /// In bytes, of a whole of `whole` bytes.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Amount::Bytes(size) => size.0,
            Amount::Share(share) => {
                u64::try_from(u128::from(whole) * u128::from(share) / 10_000).unwrap_or(u64::MAX)
            }
        }
    }
}

impl Text for Amount {
    const KIND: &'static str = "size or share";
    const EXAMPLE: &'static str = "1GiB";

    fn parse(text: &str) -> Result<Self, Fault> {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return Size::parse(text).map(Amount::Bytes);
        };
        let percent = percent.trim();
        if percent.starts_with('-') {
            return Err(Fault::new("a share is not negative"));
        }
        match decimal(percent, 100)? {
            0 => Err(Fault::new("a share of nothing").help("write at least \"0.01%\"")),
            share if share > 10_000 => {
                Err(Fault::new("a share is at most 100%").help("write a size, as in \"2GiB\", to be exact"))
            }
            share => {
                u32::try_from(share).map(Amount::Share).map_err(|_| Fault::new("a share is at most 100%"))
            }
        }
    }

    fn show(&self) -> String {
        match self {
            Amount::Bytes(size) => size.to_string(),
            Amount::Share(share) if share % 100 == 0 => format!("{}%", share / 100),
            Amount::Share(share) => {
                let exact = format!("{}.{:02}", share / 100, share % 100);
                format!("{}%", exact.trim_end_matches('0'))
            }
        }
    }

    fn of_number(number: &str) -> Option<String> {
        Size::of_number(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_as_written() {
        for (text, bytes) in [
            ("0B", 0),
            ("1KiB", 1024),
            ("1.5 MiB", 1_572_864),
            ("10kB", 10_000),
            ("10KB", 10_000),
            ("2gib", 2 << 30),
            ("16777215TiB", 16_777_215 << 40),
        ] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_reason() {
        for (text, message) in [
            ("10", "a size needs a unit"),
            ("-1KiB", "a size is not negative"),
            ("1G", "unknown unit \"G\""),
            ("1 parsec", "unknown unit \"parsec\""),
            ("KiB", "\"KiB\" is not a size"),
            ("1.2.3KiB", "\"1.2.3\" is not a number"),
            ("1.KiB", "\"1.\" is not a number"),
            ("16777216TiB", "the size is larger than can be counted"),
            ("999999999999999999999B", "too many digits"),
            ("50%", "a share of memory is not possible here"),
        ] {
            assert_eq!(Size::parse(text).unwrap_err().message, message, "{text}");
        }
        for (text, message) in [
            ("101%", "a share is at most 100%"),
            ("0%", "a share of nothing"),
            ("-5%", "a share is not negative"),
            ("x%", "\"x\" is not a number"),
            ("99999999999999999999%", "the size is larger than can be counted"),
        ] {
            assert_eq!(Amount::parse(text).unwrap_err().message, message, "{text}");
        }
    }

    #[test]
    fn a_share_is_of_the_whole() {
        assert_eq!(Amount::percent(75).of(1000), 750);
        assert_eq!(Amount::parse("12.5%").unwrap().of(1 << 30), 1 << 27);
        assert_eq!(Amount::percent(100).of(u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn sizes_read_back_as_shown(bytes: u64, share in 1..=10_000u32) {
            prop_assert_eq!(Size::parse(&Text::show(&Size(bytes))), Ok(Size(bytes)));
            prop_assert_eq!(Amount::parse(&Text::show(&Amount::Share(share))), Ok(Amount::Share(share)));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,24}") {
            let _ = (Size::parse(&text), Amount::parse(&text));
        }
    }
}
