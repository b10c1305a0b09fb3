// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a board's image is linked.
//!
//! A board crate calls [`link_image`] from its build script and needs no linker script of its own:
//! the image is linked at one virtual address for all boards and runs wherever it was loaded, so
//! nothing in the layout belongs to a board.

use std::env;
use std::path::Path;

/// Has Cargo link the binary of the calling crate as a Bulkhead image.
///
/// Does nothing for targets with an operating system, so that a workspace-wide check on the host
/// gets through.
pub fn link_image() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("image.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    for argument in [
        &format!("-T{}", script.display()),
        "--no-dynamic-linker",
        "--fatal-warnings",
        "--orphan-handling=error",
        "-zmax-page-size=4096",
        "-zcommon-page-size=4096",
        "-znognustack",
        "-zseparate-code",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
