// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes seeds and dictionaries for the fuzzers: `make-seeds DIRECTORY`.

fn main() -> std::io::Result<()> {
    let out = std::env::args()
        .nth(1)
        .expect("usage: make-seeds DIRECTORY");
    bulkhead_fuzz::seeds::write(out.as_ref())
}
