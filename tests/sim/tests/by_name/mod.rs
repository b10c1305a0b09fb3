// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests that a table names.

use std::fs;
use std::path::Path;

/// A file from the root of the repository, and names of tests in it.
pub type Named = (&'static str, &'static [&'static str]);

/// Whether the file has a test of this name: a `#[test]`, a scenario of the schedules, or a case of two worlds.
fn has(text: &str, name: &str) -> bool {
    let is_function = text.contains(&format!("fn {name}("));
    let host = text.contains(&format!("#[test]\nfn {name}("))
        || text.contains(&format!("#[test]\n    fn {name}("))
        || text.contains(&format!(
            "#[test]\n#[rustfmt::skip] // One case a line.\nfn {name}("
        ));
    let listed = [";\n", ": [", ":\n"].map(|end| format!("    {name}{end}"));
    let scenario = text.contains(&format!("\npub fn {name}("));
    is_function && (host || scenario || listed.iter().any(|line| text.contains(line)))
}

/// All of them are there.
pub fn assert_there(id: &str, files: &[Named]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, tests) in files {
        let text = fs::read_to_string(root.join(file)).expect(file);
        assert!(!tests.is_empty(), "{id}: {file}");
        for test in *tests {
            assert!(has(&text, test), "{id}: {file} has no test {test}");
        }
    }
}
