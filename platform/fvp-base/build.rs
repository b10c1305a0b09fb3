// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the board's image.

fn main() {
    bulkhead_build::link_image();
}
