// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which descriptors map a range: blocks, contiguous runs, 52-bit addresses; when they are split and
//! merged, and when that is refused.

use super::fixture::{Fixture, GIB, KIB_4, MIB_2, RO, RWX, TEXT, dma, stage1, stage2, stage2_of};
use crate::MapError;
use crate::Reshape;
use crate::attrs::Space;
use crate::stage1::UPPER_HALF;
use crate::stage2::{MAX_LPA2_IPA_BITS, Stage2, Stage2Layout};
use crate::table::Level;

const KIB_64: u64 = 16 * KIB_4;
const MIB_32: u64 = 16 * MIB_2;

/// Whether the descriptor that maps `address` is contiguous, and how many bytes it maps.
fn shape<T>(f: &Fixture<T>, address: u64) -> Option<(u64, bool)> {
    let found = f.walker.translate(&f.mem, address).ok()?;
    Some((found.bytes, found.contiguous))
}

#[test]
fn whole_aligned_runs_are_contiguous() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(GIB + KIB_4, 3 * GIB + KIB_4, 3 * KIB_64, RWX)
        .unwrap();
    for (page, contiguous) in [(1, false), (15, false), (16, true), (47, true), (48, false)] {
        let found = shape(&f, GIB + page * KIB_4);
        assert_eq!(found, Some((KIB_4, contiguous)), "page {page}");
    }
    // The output address is not at the same place in its run.
    f.map(2 * GIB, GIB + KIB_4, 2 * KIB_64, RWX).unwrap();
    assert_eq!(shape(&f, 2 * GIB + KIB_64), Some((KIB_4, false)));
    // Blocks make runs too: of 32 MiB and of 16 GiB.
    f.map(4 * GIB, 4 * GIB, MIB_32 + MIB_2, RWX).unwrap();
    assert_eq!(shape(&f, 4 * GIB), Some((MIB_2, true)));
    assert_eq!(shape(&f, 4 * GIB + MIB_32), Some((MIB_2, false)));
    f.map(32 * GIB, 32 * GIB, 17 * GIB, RWX).unwrap();
    assert_eq!(shape(&f, 47 * GIB), Some((GIB, true)));
    assert_eq!(shape(&f, 48 * GIB), Some((GIB, false)));
}

#[test]
fn a_page_out_of_a_run_splits_that_run_only() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(GIB, GIB, 3 * KIB_64, RWX).unwrap();
    let hole = GIB + KIB_64 + 5 * KIB_4;
    f.unmap(hole, KIB_4).unwrap();
    assert_eq!(f.output(hole), None);
    assert_eq!(f.output(hole + KIB_4), Some(hole + KIB_4));
    assert_eq!(shape(&f, GIB), Some((KIB_4, true)));
    assert_eq!(shape(&f, hole - KIB_4), Some((KIB_4, false)));
    assert_eq!(shape(&f, GIB + 2 * KIB_64), Some((KIB_4, true)));
    // Across a border: the end of one run and the start of the next.
    f.map(2 * GIB, 0, 3 * KIB_64, RO).unwrap();
    f.unmap(2 * GIB + KIB_64 - KIB_4, KIB_64 + 2 * KIB_4)
        .unwrap();
    for (page, expected) in [(14, Some(false)), (15, None), (32, None), (33, Some(false))] {
        let found = shape(&f, 2 * GIB + page * KIB_4).map(|(_, contiguous)| contiguous);
        assert_eq!(found, expected, "page {page}");
    }
}

#[test]
fn a_page_out_of_a_run_of_blocks_splits_the_run_and_the_block() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(4 * GIB, 4 * GIB, 2 * MIB_32, RWX).unwrap();
    let hole = 4 * GIB + 3 * MIB_2 + 7 * KIB_4;
    f.unmap(hole, KIB_4).unwrap();
    assert_eq!(f.output(hole), None);
    assert_eq!(shape(&f, hole - KIB_4), Some((KIB_4, false)));
    assert_eq!(shape(&f, hole + KIB_64), Some((KIB_4, true)));
    assert_eq!(shape(&f, 4 * GIB), Some((MIB_2, false)));
    assert_eq!(shape(&f, 4 * GIB + MIB_32), Some((MIB_2, true)));
    f.map(hole, hole, KIB_4, RWX).unwrap();
    assert_eq!(shape(&f, hole), Some((MIB_2, true)), "all of it is merged");
}

#[test]
fn pages_that_complete_a_block_become_one() {
    let mut f = stage2(40, Space::Secure, 16);
    for page in (0..512).rev() {
        let address = GIB + page * KIB_4;
        f.map(address, 2 * GIB + page * KIB_4, KIB_4, RO).unwrap();
    }
    assert_eq!(shape(&f, GIB), Some((MIB_2, false)));
    assert_eq!(f.tree.lookup(GIB, &f.mem).unwrap().1, RO);
    assert_eq!(f.tables(), 1, "the table of the pages is free");
    // The block completes 512, and they a GiB.
    f.map(GIB + MIB_2, 2 * GIB + MIB_2, GIB - MIB_2 - KIB_4, RO)
        .unwrap();
    assert_eq!(f.tables(), 2);
    f.map(2 * GIB - KIB_4, 3 * GIB - KIB_4, KIB_4, RO).unwrap();
    assert_eq!(shape(&f, GIB), Some((GIB, false)));
    assert_eq!(f.tables(), 0);
}

#[test]
fn what_is_unlike_is_not_merged() {
    // The attributes of one page, the address of one page, or the alignment of all of them differ.
    for (attributes, shift, start) in [(RO, 0, 0), (RWX, KIB_4, 0), (RWX, 0, KIB_4)] {
        let mut f = stage2(40, Space::Secure, 16);
        let last = MIB_2 - KIB_4;
        f.map(0, GIB + start, last, RWX).unwrap();
        f.map(last, GIB + start + last + shift, KIB_4, attributes)
            .unwrap();
        assert_eq!(f.granule(0), Some(KIB_4));
        assert_eq!(shape(&f, last), Some((KIB_4, false)));
        assert_eq!(f.tables(), 2);
    }
}

#[test]
fn a_page_lent_and_taken_back_leaves_the_block_as_it_was() {
    let mut f = stage2(40, Space::NonSecure, 16);
    f.map(GIB, GIB, GIB, RWX).unwrap();
    let before = f.mem.tables[&f.tree.root().0];
    for page in [0, 5 * 512 + 77, 512 * 512 - 1] {
        f.unmap(GIB + page * KIB_4, KIB_4).unwrap();
        assert_eq!(f.tables(), 2);
        f.map(GIB + page * KIB_4, GIB + page * KIB_4, KIB_4, RWX)
            .unwrap();
        assert_eq!(f.tables(), 0);
        assert_eq!(f.mem.tables[&f.tree.root().0], before);
    }
}

#[test]
fn split_without_merge() {
    let mut f = stage2(40, Space::Secure, 16);
    f.tree = f.tree.with_reshape(Reshape::Split);
    f.map(GIB, GIB, MIB_2, RWX).unwrap();
    f.unmap(GIB + KIB_4, KIB_4).unwrap();
    f.map(GIB + KIB_4, GIB + KIB_4, KIB_4, RWX).unwrap();
    assert_eq!(shape(&f, GIB), Some((KIB_4, false)));
    assert_eq!(shape(&f, GIB + KIB_64), Some((KIB_4, true)));
    assert_eq!(f.tables(), 2);
}

#[test]
fn under_dma_nothing_is_reshaped() {
    let mut f = dma(16);
    f.map(GIB, GIB, MIB_2, RWX).unwrap();
    f.map(0, 0, 2 * KIB_64, RWX).unwrap();
    for (ipa, bytes) in [
        (GIB, KIB_4),
        (GIB + KIB_4, MIB_2 - KIB_4),
        (0, KIB_4),
        (KIB_4, KIB_64),
        (KIB_64 - KIB_4, KIB_64 + KIB_4),
    ] {
        assert_eq!(f.unmap(ipa, bytes), Err(MapError::Split), "{ipa:#x}");
    }
    f.unmap(0, KIB_64).unwrap();
    for page in (0..16).rev() {
        f.map(page * KIB_4, page * KIB_4, KIB_4, RWX).unwrap();
    }
    assert_eq!(shape(&f, 0), Some((KIB_4, false)), "no run is made");
    f.unmap(0, 2 * KIB_64).unwrap();
    f.unmap(GIB, MIB_2).unwrap();
    assert_eq!(f.tables(), 0);
}

#[test]
fn s_el2s_own_runs_are_not_split() {
    let mut f = stage1(16);
    let base = UPPER_HALF.0;
    f.map(base, 0, KIB_64, TEXT).unwrap();
    assert_eq!(shape(&f, base), Some((KIB_4, true)));
    assert_eq!(f.unmap(base, KIB_4), Err(MapError::Split));
    assert_eq!(f.output(base + KIB_64 - 1), Some(KIB_64 - 1));
    f.unmap(base, KIB_64).unwrap();
    assert_eq!(f.tables(), 0);
}

fn lpa2(bits: u32) -> Fixture<Stage2> {
    stage2_of(Stage2Layout::lpa2(bits).unwrap(), Space::Secure, 32)
}

#[test]
fn layouts_with_lpa2() {
    // IPA bits, T0SZ, SL2, SL0, pages of the root, level.
    for (bits, t0sz, sl2, sl0, pages, start) in [
        (40, 24, 0, 1, 2, Level::One),
        (48, 16, 0, 2, 1, Level::Zero),
        (49, 15, 1, 0, 1, Level::MinusOne),
        (52, 12, 1, 0, 1, Level::MinusOne),
    ] {
        let layout = Stage2Layout::lpa2(bits).unwrap();
        let fields = (layout.t0sz(), layout.sl2(), layout.sl0());
        assert_eq!(fields, (t0sz, sl2, sl0), "{bits} bits");
        assert_eq!((layout.root_pages(), layout.ds()), (pages, 1));
        assert_eq!(layout.start_level(), start);
    }
    assert_eq!(Stage2Layout::new(40).unwrap().ds(), 0);
    assert_eq!(Stage2Layout::lpa2(MAX_LPA2_IPA_BITS + 1), None);
    assert_eq!(Stage2Layout::lpa2(31), None);
}

#[test]
fn addresses_of_52_bits_are_mapped() {
    for bits in [40, 48, 49, 52] {
        let mut f = lpa2(bits);
        let end = 1 << bits;
        let (high, top) = (0x000a_5000_0000_0000, 1 << 52);
        f.map(end - KIB_4, top - KIB_4, KIB_4, RO).unwrap();
        f.map(0, high + GIB, KIB_64, RWX).unwrap();
        f.map(GIB, high, GIB, RWX).unwrap();
        assert_eq!(f.output(end - 1), Some(top - 1));
        assert_eq!(f.output(5), Some(high + GIB + 5));
        assert_eq!(shape(&f, 0), Some((KIB_4, true)));
        assert_eq!(shape(&f, GIB), Some((GIB, false)));
        assert_eq!(f.tree.lookup(end - KIB_4, &f.mem).unwrap().1, RO);
        f.unmap(GIB + KIB_4, KIB_4).unwrap();
        assert_eq!(f.output(GIB), Some(high));
        f.map(GIB + KIB_4, high + KIB_4, KIB_4, RWX).unwrap();
        assert_eq!(shape(&f, GIB), Some((GIB, false)));
        assert_eq!(f.map(2 * GIB, top, KIB_4, RO), Err(MapError::OutOfRange));
    }
}

#[test]
fn a_level_0_entry_maps_with_lpa2() {
    let mut f = lpa2(52);
    let half_tib = 512 * GIB;
    f.map(half_tib, 3 * half_tib, 2 * half_tib, RWX).unwrap();
    assert_eq!(shape(&f, half_tib), Some((half_tib, false)));
    f.unmap(half_tib + KIB_4, KIB_4).unwrap();
    assert_eq!(f.tables(), 4);
    assert_eq!(f.output(half_tib), Some(3 * half_tib));
    f.map(half_tib + KIB_4, 3 * half_tib + KIB_4, KIB_4, RWX)
        .unwrap();
    assert_eq!(shape(&f, half_tib), Some((half_tib, false)));
    assert_eq!(f.tables(), 1);
}

#[test]
fn a_change_keeps_the_address_and_takes_no_more_than_a_split() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(GIB, 3 * GIB, GIB, RWX).unwrap();
    f.map(2 * GIB, KIB_4, 3 * KIB_64, RWX).unwrap();
    // From within a block, over a border where the output address jumps, into pages.
    let start = 2 * GIB - MIB_2 - KIB_4;
    f.change(start, MIB_2 + KIB_4 + KIB_64, RO).unwrap();
    for (address, output, attributes) in [
        (start - KIB_4, start - KIB_4 + 2 * GIB, RWX),
        (start, start + 2 * GIB, RO),
        (2 * GIB - KIB_4, 4 * GIB - KIB_4, RO),
        (2 * GIB, KIB_4, RO),
        (2 * GIB + KIB_64, KIB_64 + KIB_4, RWX),
    ] {
        assert_eq!(f.output(address), Some(output));
        assert_eq!(f.tree.lookup(address, &f.mem).unwrap().1, attributes);
    }
    assert_eq!(f.granule(2 * GIB - MIB_2), Some(MIB_2));
    f.change(start, MIB_2 + KIB_4, RWX).unwrap();
    assert_eq!(f.granule(GIB), Some(GIB));
    let mut f = dma(16);
    f.map(GIB, GIB, MIB_2, RWX).unwrap();
    assert_eq!(f.change(GIB, MIB_2, RO), Err(MapError::Split));
    assert_eq!(f.tree.lookup(GIB, &f.mem).unwrap().1, RWX);
}
