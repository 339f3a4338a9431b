//! [`Fields`]: a message's header fields, flat, in the order in which they came.
//!
//! A map of header fields (`http::HeaderMap`) hashes each name on the way in and on each question, and most
//! questions are for fields that are not there. Here all names and values stand in one block of bytes, a line of
//! the index says where, and one word of marks answers most questions for what is absent with a shift and an
//! `and`. A clone is two copies of memory.

use std::fmt;
use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::field::{FieldName, FieldValue, InvalidField, Name, Value, is_value};

/// Header fields in the order in which they came. Names are in lower case.
///
/// Lines of the same name keep their order, and [`Fields::insert`] puts one in the place of the first of them.
/// Two of them are equal when each name has the same values in the same order, as with `http::HeaderMap`.
#[derive(Clone, Default)]
pub struct Fields {
    /// Names and values; also what was there before lines were removed.
    text: Vec<u8>,
    lines: Vec<Line>,
    /// The marks of all names that are, or were, there.
    marks: u64,
}

/// Where one field stands in the text.
#[derive(Clone, Copy)]
struct Line {
    name_at: u32,
    value_at: u32,
    value_len: u32,
    name_len: u16,
    mark: u8,
}

/// All values of one name, in order.
#[derive(Clone)]
pub struct Values<'a, N> {
    fields: &'a Fields,
    name: N,
    mark: u8,
    at: usize,
}

/// All lines, in order.
#[derive(Clone)]
pub struct Lines<'a> {
    text: &'a [u8],
    lines: std::slice::Iter<'a, Line>,
}

/// One of 64 marks, from what tells names apart best for the least work.
fn mark(name: &[u8]) -> u8 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    let middle = name[name.len() / 2];
    (first.wrapping_mul(7) ^ last.wrapping_mul(29) ^ middle.wrapping_mul(13)).wrapping_add(name.len() as u8)
        & 63
}

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields yet, with room for so many and for so many bytes of names and values.
    pub fn with_capacity(lines: usize, bytes: usize) -> Self {
        Fields { text: Vec::with_capacity(bytes), lines: Vec::with_capacity(lines), marks: 0 }
    }

    /// No fields yet: [`Fields::point_out`] says where they stand in `text`.
    pub fn over(text: Vec<u8>, lines: usize) -> Self {
        Fields { text, lines: Vec::with_capacity(lines), marks: 0 }
    }

    /// Adds the field whose valid name and value stand at these places of the text.
    ///
    /// # Errors
    /// The name is longer than 65,535 bytes, or the text than 4 GiB.
    pub fn point_out(&mut self, name: Range<usize>, value: Range<usize>) -> Result<(), InvalidField> {
        let name_len = u16::try_from(name.len()).map_err(|_| InvalidField)?;
        let name_at = u32::try_from(name.start).map_err(|_| InvalidField)?;
        let value_at = u32::try_from(value.start).map_err(|_| InvalidField)?;
        let value_len = u32::try_from(value.len()).map_err(|_| InvalidField)?;
        let name = self.text.get_mut(name).ok_or(InvalidField)?;
        name.make_ascii_lowercase();
        let mark = mark(name);
        self.marks |= 1 << mark;
        self.lines.push(Line { name_at, value_at, value_len, name_len, mark });
        Ok(())
    }

    /// The fields of serialised lines, such as [`FieldLines`](super::FieldLines) holds: valid, and with names in
    /// lower case.
    pub fn of_lines<'l>(lines: impl Iterator<Item = (&'l [u8], &'l [u8])>) -> Self {
        let mut fields = Fields::new();
        for (name, value) in lines {
            let line = fields.line_of_parts(name, &[value]);
            fields.lines.push(line);
        }
        fields
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.lines.iter().map(|line| usize::from(line.name_len) + line.value_len as usize).sum()
    }

    /// The same fields, with room for so many more lines and bytes.
    pub fn clone_with_room(&self, lines: usize, bytes: usize) -> Self {
        let mut clone = Fields::with_capacity(self.lines.len() + lines, self.text.len() + bytes);
        clone.text.extend_from_slice(&self.text);
        clone.lines.extend_from_slice(&self.lines);
        clone.marks = self.marks;
        clone
    }

    /// The first value of this name.
    pub fn get<N: FieldName>(&self, name: N) -> Option<Value<'_>> {
        self.get_all(name).next()
    }

    /// All values of this name, in order.
    pub fn get_all<N: FieldName>(&self, name: N) -> Values<'_, N> {
        let mark = mark(name.bytes());
        let at = if self.has_mark(mark) { 0 } else { self.lines.len() };
        Values { fields: self, name, mark, at }
    }

    /// Whether there is a line of this name.
    pub fn contains_key<N: FieldName>(&self, name: N) -> bool {
        self.get(name).is_some()
    }

    /// Adds a line behind the others.
    ///
    /// # Panics
    /// Past 4 GiB, which the bounds on heads keep far away.
    pub fn append<N: FieldName, V: FieldValue>(&mut self, name: N, value: V) {
        let line = self.line(name.bytes(), value.bytes());
        self.lines.push(line);
    }

    /// Puts this value in the place of all of that name.
    pub fn insert<N: FieldName, V: FieldValue>(&mut self, name: N, value: V) {
        self.set(name.bytes(), &[value.bytes()]);
    }

    /// Puts a value that is given in parts in the place of all of that name.
    ///
    /// # Errors
    /// It is no valid value; nothing has changed.
    pub fn insert_parts<N: FieldName>(&mut self, name: N, parts: &[&[u8]]) -> Result<(), InvalidField> {
        if !parts.iter().all(|part| is_value(part)) {
            return Err(InvalidField);
        }
        self.set(name.bytes(), parts);
        Ok(())
    }

    /// Puts a number in the place of all values of that name.
    pub fn insert_number<N: FieldName>(&mut self, name: N, number: u64) {
        self.set(name.bytes(), &[itoa::Buffer::new().format(number).as_bytes()]);
    }

    /// Adds an element, given in parts, at the end of a list field, and makes one line of all of its lines.
    ///
    /// # Errors
    /// It is no valid value; nothing has changed.
    pub fn append_element<N: FieldName>(&mut self, name: N, parts: &[&[u8]]) -> Result<(), InvalidField> {
        if !parts.iter().all(|part| is_value(part)) {
            return Err(InvalidField);
        }
        let (name, mark) = (name.bytes(), mark(name.bytes()));
        let Some(first) = self.find(name, mark, 0) else {
            let line = self.line_of_parts(name, parts);
            self.lines.push(line);
            return Ok(());
        };
        let value_at = self.text.len();
        let mut next = Some(first);
        while let Some(at) = next {
            let value = range(&self.lines[at]);
            self.text.extend_from_within(value);
            self.text.extend_from_slice(b", ");
            next = self.find(name, mark, at + 1);
        }
        parts.iter().for_each(|part| self.text.extend_from_slice(part));
        self.lines[first].value_at = value_at as u32;
        self.lines[first].value_len = (self.text.len() - value_at) as u32;
        self.drop_after(first, name, mark);
        Ok(())
    }

    /// Removes all lines of this name; answers whether there were any.
    pub fn remove<N: FieldName>(&mut self, name: N) -> bool {
        let (name, mark) = (name.bytes(), mark(name.bytes()));
        if !self.has_mark(mark) {
            return false;
        }
        let before = self.lines.len();
        let text = &self.text;
        self.lines.retain(|line| line.mark != mark || name_of(text, line) != name);
        before != self.lines.len()
    }

    /// Keeps the lines of those names for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(Name<'_>) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| keep(Name(name_of(text, line))));
    }

    /// All lines, in order.
    pub fn iter(&self) -> Lines<'_> {
        Lines { text: &self.text, lines: self.lines.iter() }
    }

    /// The name of each line, in order: as often as it has lines.
    pub fn names(&self) -> impl Iterator<Item = Name<'_>> + Clone {
        self.lines.iter().map(|line| Name(name_of(&self.text, line)))
    }

    /// The same fields for those who want a map.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for (name, value) in self {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
            {
                map.append(name, value);
            }
        }
        map
    }

    fn has_mark(&self, mark: u8) -> bool {
        self.marks >> mark & 1 == 1
    }

    /// The first line of this name at or after `from`.
    fn find(&self, name: &[u8], mark: u8, from: usize) -> Option<usize> {
        if !self.has_mark(mark) {
            return None;
        }
        let is_it = |line: &Line| line.mark == mark && name_of(&self.text, line) == name;
        self.lines.get(from..)?.iter().position(is_it).map(|at| from + at)
    }

    /// Removes the lines of this name behind `first`.
    fn drop_after(&mut self, first: usize, name: &[u8], mark: u8) {
        let mut at = first;
        while let Some(next) = self.find(name, mark, at + 1) {
            self.lines.remove(next);
            at = next - 1;
        }
    }

    fn set(&mut self, name: &[u8], parts: &[&[u8]]) {
        let mark = mark(name);
        match self.find(name, mark, 0) {
            Some(first) => {
                self.lines[first].value_at = self.text.len() as u32;
                parts.iter().for_each(|part| self.text.extend_from_slice(part));
                self.lines[first].value_len = self.text.len() as u32 - self.lines[first].value_at;
                self.drop_after(first, name, mark);
            }
            None => {
                let line = self.line_of_parts(name, parts);
                self.lines.push(line);
            }
        }
    }

    fn line(&mut self, name: &[u8], value: &[u8]) -> Line {
        self.line_of_parts(name, &[value])
    }

    /// Writes a name and a value into the text.
    fn line_of_parts(&mut self, name: &[u8], parts: &[&[u8]]) -> Line {
        debug_assert!(!name.iter().any(u8::is_ascii_uppercase), "names are in lower case");
        let name_at = self.text.len();
        self.text.extend_from_slice(name);
        let value_at = self.text.len();
        parts.iter().for_each(|part| self.text.extend_from_slice(part));
        let value_len = self.text.len() - value_at;
        assert!(u32::try_from(self.text.len()).is_ok(), "fields of more than 4 GiB");
        let mark = mark(name);
        self.marks |= 1 << mark;
        Line {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value_len as u32,
            // No name is longer: `HeaderName` allows no more, and `point_out` has checked.
            name_len: name.len() as u16,
            mark,
        }
    }
}

/// Where its value stands.
fn range(line: &Line) -> Range<usize> {
    let start = line.value_at as usize;
    start..start + line.value_len as usize
}

fn name_of<'t>(text: &'t [u8], line: &Line) -> &'t [u8] {
    let start = line.name_at as usize;
    &text[start..start + usize::from(line.name_len)]
}

impl<'a, N: FieldName> Iterator for Values<'a, N> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let found = self.fields.find(self.name.bytes(), self.mark, self.at)?;
        self.at = found + 1;
        Some(Value(&self.fields.text[range(&self.fields.lines[found])]))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (Name<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some((Name(name_of(self.text, line)), Value(&self.text[range(line)])))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lines.size_hint()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.names().all(|name| self.get_all(name).eq(other.get_all(name)))
    }
}

impl Eq for Fields {}

impl<N: FieldName, V: FieldValue> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        let mut fields = Fields::new();
        lines.into_iter().for_each(|(name, value)| fields.append(name, value));
        fields
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (Name<'a>, Value<'a>);
    type IntoIter = Lines<'a>;

    fn into_iter(self) -> Lines<'a> {
        self.iter()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(&'static str, String),
        Insert(&'static str, String),
        Remove(&'static str),
        Element(&'static str, String),
        Retain(&'static str),
    }

    fn name() -> impl Strategy<Value = &'static str> {
        // The last three have one mark.
        prop::sample::select(vec!["age", "etag", "vary", "x-a", "x-forwarded-for", "abc", "acb-", "a"])
    }

    fn step() -> impl Strategy<Value = Step> {
        let value = "[a-z ,=]{0,8}";
        prop_oneof![
            (name(), value).prop_map(|(name, value)| Step::Append(name, value)),
            (name(), value).prop_map(|(name, value)| Step::Insert(name, value)),
            name().prop_map(Step::Remove),
            (name(), value).prop_map(|(name, value)| Step::Element(name, value)),
            name().prop_map(Step::Retain),
        ]
    }

    fn take(fields: &mut Fields, map: &mut HeaderMap, step: &Step) {
        let of = |value: &str| HeaderValue::from_str(value).unwrap();
        match step {
            Step::Append(name, value) => {
                fields.append(name, of(value));
                map.append(*name, of(value));
            }
            Step::Insert(name, value) => {
                fields.insert(name, of(value));
                map.insert(*name, of(value));
            }
            Step::Remove(name) => assert_eq!(fields.remove(*name), map.remove(*name).is_some()),
            Step::Element(name, value) => {
                let (one, other) = value.split_at(value.len() / 2);
                fields.append_element(name, &[one.as_bytes(), other.as_bytes()]).unwrap();
                let mut all: Vec<&str> = map.get_all(*name).iter().map(|v| v.to_str().unwrap()).collect();
                all.push(value);
                let all = of(&all.join(", "));
                map.insert(*name, all);
            }
            Step::Retain(name) => {
                fields.retain(|there| there.as_str() != *name);
                map.remove(*name);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever is done to them, they answer as `http::HeaderMap` does.
        #[test]
        fn they_answer_as_a_map_does(steps in prop::collection::vec(step(), 0..24)) {
            let (mut fields, mut map) = (Fields::new(), HeaderMap::new());
            for step in &steps {
                take(&mut fields, &mut map, step);
                prop_assert_eq!(fields.to_map(), map.clone());
                prop_assert_eq!(&fields, &map.iter().collect::<Fields>());
                prop_assert_eq!(fields.len(), map.len());
                for name in ["age", "etag", "vary", "x-a", "x-forwarded-for", "abc", "acb-", "a", "host"] {
                    let ours: Vec<&[u8]> = fields.get_all(name).map(Value::as_bytes).collect();
                    let theirs: Vec<&[u8]> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                    prop_assert_eq!(ours, theirs);
                    prop_assert_eq!(fields.contains_key(name), map.contains_key(name));
                }
            }
        }
    }

    #[test]
    fn lines_keep_their_order_and_an_inserted_one_takes_the_first_place_of_its_name() {
        let mut fields =
            Fields::of_lines([(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"a", b"3"), (b"c", b"4")].into_iter());
        fields.insert("a", HeaderValue::from_static("5"));
        let lines: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(lines, [("a", &b"5"[..]), ("b", b"2"), ("c", b"4")]);
        assert_eq!(fields.bytes(), 6);
    }

    #[test]
    fn fields_are_pointed_out_in_a_text_and_their_names_get_lower_case() {
        let text = b"Host: A\r\nX-Empty:\r\n".to_vec();
        let mut fields = Fields::over(text, 2);
        fields.point_out(0..4, 6..7).unwrap();
        fields.point_out(9..16, 0..0).unwrap();
        assert_eq!(fields.get("host").map(Value::as_bytes), Some(&b"A"[..]));
        assert_eq!(fields.get("x-empty").map(Value::as_bytes), Some(&b""[..]));
        assert_eq!(fields.point_out(0..99, 0..0), Err(InvalidField));
    }

    #[test]
    fn what_is_no_value_is_refused_and_changes_nothing() {
        let mut fields: Fields = [("a", HeaderValue::from_static("1"))].into_iter().collect();
        let before = fields.clone();
        for bad in [&b"a\r\nb: c"[..], b"\n", b"\0", b"\x7f"] {
            assert_eq!(fields.insert_parts("a", &[bad]), Err(InvalidField));
            assert_eq!(fields.append_element("a", &[bad]), Err(InvalidField));
        }
        assert_eq!(fields, before);
    }
}
