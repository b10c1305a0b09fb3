// SPDX-License-Identifier: MIT OR Apache-2.0
//! The README's tables are those of the code.

use std::fs;
use std::path::Path;

use bulkhead_sim::tables;

/// With this variable set, the test writes the tables rather than compare them.
const UPDATE: &str = "BULKHEAD_UPDATE_README";

#[test]
fn the_readme_has_the_tables_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).expect("README.md can be read");
    let mut wanted = readme.clone();
    for (name, table) in [
        ("calls", tables::calls()),
        ("coverage", tables::coverage()),
        ("runtime-models", tables::runtime_models()),
        ("routing", tables::routing()),
        ("share-rules", tables::share_rules()),
        ("return-rules", tables::return_rules()),
        ("reserved-bits", tables::reserved_bits()),
        ("system-state", tables::system_state()),
    ] {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end {name} -->"));
        let start = wanted
            .find(&begin)
            .unwrap_or_else(|| panic!("no marker {begin}"))
            + begin.len();
        let stop = start
            + wanted[start..]
                .find(&end)
                .unwrap_or_else(|| panic!("no marker {end}"));
        wanted.replace_range(start..stop, &table);
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &wanted).expect("README.md can be written");
    } else {
        assert!(
            readme == wanted,
            "README.md is not up to date: run this test with {UPDATE}=1"
        );
    }
}
