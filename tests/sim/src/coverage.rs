// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which tests name which call, read off their source text.
//!
//! A test names a call when its own text has `Function::CALL`, or one of [`HELPERS`], or that of a function of
//! its file which it names, and so on. What a test merely compares with a reply is not meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Functions that make a message, and which.
const HELPERS: [(&str, &str); 7] = [
    ("request(", "MsgSendDirectReq"),
    ("direct(", "MsgSendDirectReq"),
    ("Request::direct(", "MsgSendDirectReq"),
    ("response(", "MsgSendDirectResp"),
    ("respond(", "MsgSendDirectResp"),
    ("run(", "Run"),
    ("Request::run(", "Run"),
];

/// Calls that are replies, too.
const REPLIES: [&str; 5] = [
    "MsgSendDirectResp",
    "MsgSendDirectResp2",
    "MsgWait",
    "Error",
    "Yield",
];

/// The tests, by the Rust name of the call that they name.
#[derive(Default)]
pub struct Coverage {
    simulator: BTreeMap<String, BTreeSet<String>>,
    two_worlds: BTreeMap<String, BTreeSet<String>>,
}

impl Coverage {
    /// Reads the tests of the simulator and of two worlds.
    ///
    /// # Panics
    /// If the sources are not where they were built.
    pub fn read() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Self {
            simulator: read_all(&tests.join("sim/tests")),
            two_worlds: read_all(&tests.join("cases/src")),
        }
    }

    /// How many tests name the call: in the simulator, and in two worlds.
    pub fn counts(&self, call: &str) -> (usize, usize) {
        let count = |of: &BTreeMap<_, BTreeSet<_>>| of.get(call).map_or(0, BTreeSet::len);
        (count(&self.simulator), count(&self.two_worlds))
    }

    /// The ids of abuse cases and features that their names begin with, in order.
    pub fn ids(&self, call: &str) -> Vec<String> {
        let names = [&self.simulator, &self.two_worlds].into_iter();
        let ids: BTreeSet<(String, u32)> = names
            .flat_map(|of| of.get(call).into_iter().flatten())
            .flat_map(|name| name.split('_').map_while(id))
            .collect();
        ids.into_iter()
            .map(|(letters, number)| match letters.as_str() {
                // Features of FF-A have two digits.
                "A" => format!("A-{number:02}"),
                _ => format!("{letters}{number}"),
            })
            .collect()
    }
}

/// A word of a test's name that is an id, as letters and number.
fn id(word: &str) -> Option<(String, u32)> {
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (letters, number) = word.split_at(digits);
    let is_id = (1..=2).contains(&letters.len()) && letters.bytes().all(|c| c.is_ascii_lowercase());
    Some((
        letters.to_uppercase(),
        number.parse().ok().filter(|_| is_id)?,
    ))
}

fn read_all(directory: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in fs::read_dir(directory).expect("the tests' directory can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a test's source can be read");
            for (test, call) in named(&text) {
                all.entry(call).or_default().insert(test);
            }
        }
    }
    all
}

/// Each test of a file with each call that it names.
fn named(text: &str) -> BTreeSet<(String, String)> {
    let functions = functions(text);
    let mut pairs = BTreeSet::new();
    for test in functions.keys().filter(|name| is_test(name, text)) {
        let (mut seen, mut open) = (BTreeSet::new(), vec![test.as_str()]);
        while let Some(name) = open.pop() {
            let Some(body) = functions.get(name).filter(|_| seen.insert(name)) else {
                continue;
            };
            for (before, word) in words(body) {
                let name = word.trim_end_matches('(');
                let called = name.strip_prefix("Function::").filter(|call| {
                    !REPLIES.contains(call) || !before.ends_with([',', '|']) && !is_compared(before)
                });
                let helper = HELPERS.iter().find(|(helper, _)| word == *helper);
                if let Some((own, _)) = functions.get_key_value(name) {
                    open.push(own);
                } else if let Some(call) = called.or(helper.map(|(_, call)| *call)) {
                    pairs.insert((test.clone(), call.to_string()));
                }
            }
        }
    }
    pairs
}

/// A test has `#[test]` before it, or a line in `cases!`; its halves are the functions that the line names.
fn is_test(name: &str, text: &str) -> bool {
    text.contains(&format!("#[test]\nfn {name}(")) || case_row(name, text).is_some()
}

fn case_row<'a>(name: &str, text: &'a str) -> Option<&'a str> {
    let table = text.split_once("\ncases! {")?.1.split_once("\n}")?.0;
    table.lines().map(str::trim).find(|row| {
        let rest = row.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([';', ':']))
    })
}

/// The functions of a formatted file with their text, and for a case that of its row.
fn functions(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut rest = text;
    while let Some(start) = rest.find("fn ") {
        let is_item = rest[..start].ends_with(['\n', ' ']);
        rest = &rest[start + 3..];
        let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
        if !is_item || name.is_empty() {
            continue;
        }
        let end = rest.find("\nfn ").or_else(|| rest.find("    fn "));
        let mut body = rest[name.len()..end.unwrap_or(rest.len())].to_string();
        body.extend(case_row(&name, text));
        all.insert(name, body);
    }
    all
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Names, with the path before and the parenthesis after them, and the text before that.
fn words(body: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let is_part = |c: char| is_word(c) || c == ':';
        let start = rest + body[rest..].find(is_part)?;
        let length = body[start..].find(|c| !is_part(c));
        let mut end = length.map_or(body.len(), |length| start + length);
        end += usize::from(body[end..].starts_with('('));
        rest = end;
        Some((body[..start].trim_end(), &body[start..end]))
    })
}

/// Whether what follows is compared with a reply.
fn is_compared(before: &str) -> bool {
    ["==", "!=", ".is(", "returned("]
        .iter()
        .any(|end| before.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
cases! {
    g1_one;
    g2_g3_two: [half];
}
fn half() { Function::Run }
fn helper(a: u32) { other(Function::Error.id()) }
fn g1_one() { helper(1) }
fn g2_g3_two() {}
#[test]
fn l1_no_case() {
    helper(1);
    [Function::Yield, 1];
    request(1);
    let run = 1;
    assert_function(1, Function::MsgWait);
    assert_eq!(1 == Function::MsgWait);
}
fn other() {}
";

    #[test]
    fn a_test_names_what_it_and_its_functions_name() {
        let pair = |test: &str, call: &str| (test.to_string(), call.to_string());
        let expected = [
            pair("g1_one", "Error"),
            pair("g2_g3_two", "Run"),
            pair("l1_no_case", "Error"),
            pair("l1_no_case", "MsgSendDirectReq"),
            pair("l1_no_case", "Yield"),
        ];
        assert_eq!(named(FILE), expected.into());
    }

    #[test]
    fn ids_begin_names() {
        let ids = |name: &str| name.split('_').map_while(id).count();
        assert_eq!(ids("a30_n10_the_bitmaps_of_v1"), 2);
        assert_eq!(ids("once_a30"), 0);
        assert_eq!(ids("cv_stress"), 0);
    }
}
