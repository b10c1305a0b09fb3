// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the payloads as position-independent executables by the runtime's linker script.

use std::path::Path;

fn main() {
    // Each payload lies somewhere below `tests`, as the runtime does.
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("payload/image.ld"))
        .find(|script| script.exists())
        .expect("no directory above has payload/image.ld");
    let script = script.display();
    println!("cargo::rerun-if-changed={script}");
    // `core` comes compiled without position independence: its code needs none, as every address is
    // relative to the PC, and `-z notext` allows relocations in its constants.
    for argument in [
        "-pie",
        "--no-dynamic-linker",
        "-znotext",
        "-znorelro",
        "-zmax-page-size=4096",
        "--build-id=none",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-T{script}");
}
