// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where fuzzing starts: inputs that are right, and the words of the formats.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::devicetree;

/// Writes `TARGET/seeds/*` and `TARGET/dictionary` below `out`.
///
/// # Errors
/// Those of writing files.
pub fn write(out: &Path) -> io::Result<()> {
    for (index, shipped) in devicetree::shipped().iter().enumerate() {
        let name = format!("{index:02}");
        write_seed(out, "tree", &name, &shipped.blob)?;
        for set in 0..devicetree::SETS {
            let mut seed = vec![set];
            seed.extend(&shipped.blob);
            write_seed(out, "manifest", &format!("{name}-{set}"), &seed)?;
        }
    }
    for (name, cells) in PACKAGES {
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_le_bytes()).collect();
        write_seed(out, "package", name, &bytes)?;
    }
    let words = devicetree_words();
    for target in ["tree", "manifest"] {
        fs::write(out.join(target).join("dictionary"), &words)?;
    }
    Ok(())
}

/// The limit, then the header: magic, version, manifest offset and size, image offset and size.
const PACKAGES: [(&str, [u32; 7]); 2] = [
    ("v1", [0x10_0000, 0x474b_5053, 1, 24, 0x800, 0x1000, 0x1000]),
    (
        "v2",
        [0x10_0000, 0x474b_5053, 2, 0x1000, 0x800, 0x4000, 0x2_0000],
    ),
];

fn write_seed(out: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let directory = out.join(target).join("seeds");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), bytes)
}

/// Tokens, and the names of properties, in libFuzzer's notation.
fn devicetree_words() -> String {
    let mut text = String::new();
    for token in [1_u8, 2, 3, 4, 9] {
        writeln!(text, "\"\\x00\\x00\\x00\\x{token:02x}\"").expect("a string takes everything");
    }
    for name in devicetree::property_names() {
        writeln!(text, "\"{name}\"").expect("a string takes everything");
    }
    text
}
