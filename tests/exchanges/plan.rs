//! What happens in one sequence of exchanges: drawn by chance, and nothing but data, so that it can be run again and
//! made shorter.

use crate::chance::Chance;

/// Pages of one sequence: few, so that they meet again.
pub const PAGES: usize = 2;
const STEPS: usize = 30;

#[derive(Clone, Debug)]
pub enum Step {
    /// These requests at the same time.
    Ask(Vec<Ask>),
    /// The page has a new version.
    Change(usize),
    /// From now on the origin answers so for the page.
    Say(usize, Says),
    Purge {
        page: usize,
        soft: bool,
    },
}

/// One client's request.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub page: usize,
    pub method: &'static str,
    /// Who asks: `Cookie` or `Authorization`.
    pub who: Who,
    pub x_sel: Option<&'static str>,
    pub language: Option<&'static str>,
    pub none_match: Option<Tags>,
    pub modified_since: Option<Since>,
    pub range: Option<&'static str>,
    pub if_range: Option<Tags>,
    /// `Cache-Control` of the request: ignored, by default.
    pub control: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Nobody,
    Cookie(&'static str),
    Authorized(&'static str),
}

/// Which entity tags a client knows.
#[derive(Clone, Copy, Debug)]
pub enum Tags {
    /// Of what it would get from the origin now.
    Current,
    CurrentWeakly,
    /// Of the version before.
    Old,
    /// Of what somebody else would get.
    Others,
    /// A list that ends with the current one.
    Several,
    Any,
    Nonsense,
}

#[derive(Clone, Copy, Debug)]
pub enum Since {
    Current,
    LongAgo,
    InTheFuture,
    Nonsense,
}

/// How the origin answers.
#[derive(Clone, Copy, Debug)]
pub struct Says {
    pub status: u16,
    pub control: &'static str,
    /// `Expires`, in seconds from now.
    pub expires: Option<i64>,
    pub age: Option<u64>,
    /// `Date`, in seconds from now.
    pub date: Option<i64>,
    pub vary: &'static str,
    pub tag: Tag,
    pub has_last_modified: bool,
    pub sets_cookie: bool,
    pub framing: Framing,
    pub serves_ranges: bool,
    pub confirms: Confirms,
    pub length: usize,
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    None,
    Strong,
    Weak,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    Close,
}

/// What it answers to a condition that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirms {
    /// The whole again.
    Never,
    /// 304 with the validators.
    WithValidators,
    /// 304 without any.
    Barely,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection is reset before any answer.
    Reset,
    /// The body breaks off in its middle.
    CutOff,
    /// What comes is no HTTP.
    Garbage,
}

const CONTROLS: [&str; 26] = [
    "",
    "",
    "max-age=600",
    "max-age=600",
    "max-age=600",
    "max-age=0",
    "max-age=1",
    "max-age=600, must-revalidate",
    "max-age=600, proxy-revalidate",
    "max-age=0, must-revalidate",
    "no-store",
    "no-store, max-age=600",
    "no-cache",
    "no-cache, max-age=600",
    "private",
    "private, max-age=600",
    "public",
    "public, max-age=600",
    "s-maxage=600",
    "max-age=0, s-maxage=600",
    "max-age=1, stale-while-revalidate=600",
    "max-age=0, stale-while-revalidate=600",
    "max-age=0, stale-if-error=600",
    "max-age=600, private=\"x-mine\"",
    "max-age=600, no-cache=\"x-mine\"",
    "max-age=600, no-store, must-understand",
];

/// The sequence that belongs to `seed`.
pub fn sequence(seed: u64) -> Vec<Step> {
    let mut chance = Chance::new(seed);
    let mut steps: Vec<Step> = (0..PAGES).map(|page| Step::Say(page, says(&mut chance))).collect();
    for _ in 0..STEPS {
        let page = chance.below(PAGES);
        let step = match chance.below(100) {
            0..=11 => Step::Say(page, says(&mut chance)),
            12..=18 => Step::Change(page),
            19..=22 => Step::Purge { page, soft: chance.percent(50) },
            23..=34 => {
                // Several at once are mostly about one page, and mostly the same request.
                let like = ask(&mut chance, page);
                let others = 1 + chance.below(3);
                let other = |chance: &mut Chance| if chance.percent(60) { like } else { ask(chance, page) };
                Step::Ask(std::iter::once(like).chain((0..others).map(|_| other(&mut chance))).collect())
            }
            _ => Step::Ask(vec![ask(&mut chance, page)]),
        };
        steps.push(step);
    }
    steps
}

fn ask(chance: &mut Chance, page: usize) -> Ask {
    let method = match chance.below(100) {
        0..=79 => "GET",
        80..=90 => "HEAD",
        91..=95 => "POST",
        96..=97 => "PUT",
        _ => "DELETE",
    };
    let is_safe = matches!(method, "GET" | "HEAD");
    let tags = [
        Tags::Current,
        Tags::Current,
        Tags::CurrentWeakly,
        Tags::Old,
        Tags::Others,
        Tags::Several,
        Tags::Any,
        Tags::Nonsense,
    ];
    let range = chance.maybe(
        15,
        &[
            "bytes=0-4",
            "bytes=0-",
            "bytes=-5",
            "bytes=7-20",
            "bytes=0-1,5-9",
            "bytes=999999-",
            "bytes=x",
            "pages=1",
        ],
    );
    Ask {
        page,
        method,
        who: match chance.below(100) {
            0..=59 => Who::Nobody,
            60..=79 => Who::Cookie(chance.one_of(&["ada", "ben"])),
            _ => Who::Authorized(chance.one_of(&["ada", "ben"])),
        },
        x_sel: chance.maybe(50, &["1", "2"]),
        language: chance.maybe(50, &["en", "de"]),
        none_match: chance.maybe(if is_safe { 15 } else { 0 }, &tags),
        modified_since: chance.maybe(
            if is_safe { 10 } else { 0 },
            &[Since::Current, Since::Current, Since::LongAgo, Since::InTheFuture, Since::Nonsense],
        ),
        range: range.filter(|_| is_safe),
        if_range: chance.maybe(if range.is_some() && is_safe { 30 } else { 0 }, &tags[..4]),
        control: chance.maybe(10, &["no-cache", "max-age=0", "no-store", "only-if-cached"]),
    }
}

fn says(chance: &mut Chance) -> Says {
    Says {
        status: match chance.below(100) {
            0..=79 => 200,
            80..=84 => 404,
            85..=88 => 301,
            89..=92 => 503,
            93..=94 => 500,
            95..=96 => 403,
            97 => 410,
            _ => 204,
        },
        control: chance.one_of(&CONTROLS),
        expires: chance.maybe(15, &[600, 1, 0, -600]),
        age: chance.maybe(15, &[0, 1, 300, 599, 600, 700, 5_000_000_000]),
        date: if chance.percent(80) { Some(0) } else { chance.maybe(50, &[-300, -700, 300]) },
        vary: if chance.percent(65) {
            ""
        } else {
            chance.one_of(&[
                "X-Sel",
                "Accept-Language",
                "X-Sel, Accept-Language",
                "Cookie",
                "Authorization, X-Sel",
                "*",
            ])
        },
        tag: chance.one_of(&[Tag::None, Tag::Strong, Tag::Strong, Tag::Weak]),
        has_last_modified: chance.percent(40),
        sets_cookie: chance.percent(8),
        framing: chance.one_of(&[Framing::Length, Framing::Length, Framing::Chunked, Framing::Close]),
        serves_ranges: chance.percent(60),
        confirms: chance.one_of(&[
            Confirms::WithValidators,
            Confirms::WithValidators,
            Confirms::WithValidators,
            Confirms::Barely,
            Confirms::Never,
        ]),
        length: chance.one_of(&[0, 1, 40, 40, 300, 300, 300, 20_000, 100_000]),
        failure: chance.maybe(6, &[Failure::Reset, Failure::CutOff, Failure::Garbage]),
    }
}
