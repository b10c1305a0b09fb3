// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 2 by example.

use super::fixture::{DEVICE, GIB, KIB_4, MIB_2, RO, RWX, pool, stage2};
use crate::MapError;
use crate::addr::Pa;
use crate::attrs::{MemoryType, Permissions, Space, Stage2Attributes};
use crate::pool::Account;
use crate::stage2::{Stage2, Stage2Layout};
use crate::table::Level;
use crate::testing::RecordedMemory;

#[test]
fn layouts_follow_the_architecture() {
    // IPA bits, T0SZ, SL0, pages of the root.
    let expected = [
        (32, 32, 1, 1),
        (36, 28, 1, 1),
        (39, 25, 1, 1),
        (40, 24, 1, 2),
        (41, 23, 1, 4),
        (42, 22, 1, 8),
        (43, 21, 1, 16),
        (44, 20, 2, 1),
        (48, 16, 2, 1),
    ];
    for (bits, t0sz, sl0, pages) in expected {
        let layout = Stage2Layout::new(bits).unwrap();
        assert_eq!(
            (layout.t0sz(), layout.sl0(), layout.root_pages()),
            (t0sz, sl0, pages)
        );
        assert_eq!(layout.start_level() == Level::One, sl0 == 1);
        assert_eq!(layout.ipa_bits(), bits);
    }
    assert_eq!(Stage2Layout::new(31), None);
    assert_eq!(Stage2Layout::new(49), None);
}

#[test]
fn a_concatenated_root_is_aligned_to_its_size() {
    for bits in 32..=48 {
        let layout = Stage2Layout::new(bits).unwrap();
        let (mut pool, mut mem) = (pool(40), RecordedMemory::default());
        let tree = Stage2::new(
            layout,
            Space::Secure,
            false,
            Account::SPMC,
            &mut pool,
            &mut mem,
        )
        .unwrap();
        assert_eq!(tree.root().0 % (layout.root_pages() as u64 * 4096), 0);
        assert_eq!(pool.used(), layout.root_pages());
        assert_eq!((tree.layout(), tree.space()), (layout, Space::Secure));
    }
}

#[test]
fn a_root_needs_pages() {
    let layout = Stage2Layout::new(43).unwrap();
    let (mut pool, mut mem) = (pool(15), RecordedMemory::default());
    assert!(
        Stage2::new(
            layout,
            Space::Secure,
            true,
            Account::SPMC,
            &mut pool,
            &mut mem
        )
        .is_none()
    );
    assert_eq!(pool.used(), 0);
}

#[test]
fn the_largest_blocks_that_fit_are_used() {
    let mut f = stage2(40, Space::Secure, 16);
    // A page, blocks of 2 MiB, a block of 1 GiB, a block of 2 MiB, a page.
    let start = GIB - MIB_2 - KIB_4;
    f.map(
        start,
        4 * GIB + start,
        KIB_4 + MIB_2 + GIB + MIB_2 + KIB_4,
        RWX,
    )
    .unwrap();
    assert_eq!(f.granule(start), Some(KIB_4));
    assert_eq!(f.granule(GIB - MIB_2), Some(MIB_2));
    assert_eq!(f.granule(GIB), Some(GIB));
    assert_eq!(f.granule(2 * GIB), Some(MIB_2));
    assert_eq!(f.granule(2 * GIB + MIB_2), Some(KIB_4));
    assert_eq!(f.granule(2 * GIB + MIB_2 + KIB_4), None);
    assert_eq!(f.granule(start - 1), None);
    assert_eq!(f.output(GIB + 0x1234_5678), Some(5 * GIB + 0x1234_5678));
    assert_eq!(f.tables(), 4);
}

#[test]
fn output_alignment_bounds_the_block() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(GIB, 3 * GIB + MIB_2, GIB, RWX).unwrap();
    assert_eq!(f.granule(GIB), Some(MIB_2));
    f.map(4 * MIB_2, 4 * MIB_2 + KIB_4, 2 * MIB_2, RWX).unwrap();
    assert_eq!(f.granule(4 * MIB_2), Some(KIB_4));
    assert_eq!(f.output(5 * MIB_2 - 1), Some(5 * MIB_2 - 1 + KIB_4));
}

#[test]
fn a_level_0_entry_never_maps() {
    let mut f = stage2(48, Space::Secure, 16);
    let half_tib = 512 * GIB;
    f.map(half_tib, half_tib, half_tib, RWX).unwrap();
    assert_eq!(f.granule(2 * half_tib - 1), Some(GIB));
    assert_eq!(f.tables(), 1);
}

#[test]
fn malformed_requests_are_refused() {
    let mut f = stage2(32, Space::Secure, 16);
    let end = 4 * GIB;
    let top = 1 << 48;
    for (ipa, pa, bytes, error) in [
        (1, 0, KIB_4, MapError::Unaligned),
        (0, 0x800, KIB_4, MapError::Unaligned),
        (0, 0, KIB_4 + 1, MapError::Unaligned),
        (0, 0, 0, MapError::OutOfRange),
        (end, 0, KIB_4, MapError::OutOfRange),
        (end - KIB_4, 0, 2 * KIB_4, MapError::OutOfRange),
        (0, top, KIB_4, MapError::OutOfRange),
        (0, top - KIB_4, 2 * KIB_4, MapError::OutOfRange),
        (KIB_4, 0, KIB_4.wrapping_neg(), MapError::OutOfRange),
        (0, KIB_4.wrapping_neg(), KIB_4, MapError::OutOfRange),
    ] {
        assert_eq!(
            f.map(ipa, pa, bytes, RWX),
            Err(error),
            "{ipa:#x} {pa:#x} {bytes:#x}"
        );
    }
    for (ipa, bytes, error) in [
        (0x10, KIB_4, MapError::Unaligned),
        (0, 0x10, MapError::Unaligned),
        (0, 0, MapError::OutOfRange),
        (end, KIB_4, MapError::OutOfRange),
        (0, KIB_4, MapError::NotMapped),
        (KIB_4, KIB_4.wrapping_neg(), MapError::OutOfRange),
    ] {
        assert_eq!(f.unmap(ipa, bytes), Err(error));
    }
    let executable = Stage2Attributes {
        permissions: Permissions::READ_EXECUTE,
        ..DEVICE
    };
    assert_eq!(f.map(0, 0, KIB_4, executable), Err(MapError::Attributes));
    assert_eq!(f.output(end), None);
    assert_eq!(f.output(u64::MAX), None);
}

#[test]
fn the_ends_of_both_address_spaces_can_be_mapped() {
    let mut f = stage2(48, Space::NonSecure, 16);
    let last = (1 << 48) - KIB_4;
    f.map(last, last, KIB_4, RO).unwrap();
    f.map(0, 0, KIB_4, RO).unwrap();
    assert_eq!(f.output(last + 0xfff), Some(last + 0xfff));
    f.unmap(last, KIB_4).unwrap();
    f.unmap(0, KIB_4).unwrap();
    assert_eq!(f.tables(), 0);
}

#[test]
fn an_overlap_with_any_page_is_refused() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(GIB + 5 * MIB_2, 0, KIB_4, RWX).unwrap();
    f.map(2 * GIB, 0, GIB, RWX).unwrap();
    for (ipa, bytes) in [
        (GIB + 5 * MIB_2, KIB_4),
        (GIB, 8 * MIB_2),
        (GIB, GIB),
        (0, 4 * GIB),
        (2 * GIB + 7 * KIB_4, KIB_4),
        (2 * GIB - KIB_4, 2 * KIB_4),
    ] {
        assert_eq!(
            f.map(ipa, 0, bytes, RWX),
            Err(MapError::Overlap),
            "{ipa:#x} {bytes:#x}"
        );
    }
}

#[test]
fn an_unmap_across_a_hole_is_refused() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(0, 0, 3 * MIB_2, RWX).unwrap();
    f.unmap(MIB_2 + KIB_4, KIB_4).unwrap();
    assert_eq!(f.unmap(0, 3 * MIB_2), Err(MapError::NotMapped));
    assert_eq!(f.unmap(2 * MIB_2, 2 * MIB_2), Err(MapError::NotMapped));
    assert_eq!(f.output(MIB_2), Some(MIB_2));
}

#[test]
fn a_page_out_of_a_gib_splits_two_levels() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(GIB, 7 * GIB, GIB, RO).unwrap();
    let hole = GIB + 9 * MIB_2 + 3 * KIB_4;
    f.unmap(hole, KIB_4).unwrap();
    assert_eq!(f.tables(), 2);
    assert_eq!(f.output(hole), None);
    assert_eq!(f.output(hole - 1), Some(hole - 1 + 6 * GIB));
    assert_eq!(f.output(hole + KIB_4), Some(hole + KIB_4 + 6 * GIB));
    assert_eq!(f.granule(hole - KIB_4), Some(KIB_4));
    assert_eq!(f.granule(GIB), Some(MIB_2));
    assert_eq!(f.granule(2 * GIB - 1), Some(MIB_2));
    assert_eq!(f.tree.lookup(GIB, &f.mem).unwrap().1, RO);
}

#[test]
fn a_hole_between_two_blocks_splits_both() {
    let mut f = stage2(43, Space::Secure, 32);
    f.map(0, 0, 3 * GIB, RWX).unwrap();
    f.unmap(KIB_4, 3 * GIB - 2 * KIB_4).unwrap();
    assert_eq!(f.tables(), 4);
    assert_eq!(f.output(KIB_4 - 1), Some(KIB_4 - 1));
    assert_eq!(f.output(3 * GIB - KIB_4), Some(3 * GIB - KIB_4));
    for hole in [KIB_4, GIB, 2 * GIB, 3 * GIB - KIB_4 - 1] {
        assert_eq!(f.output(hole), None);
    }
}

#[test]
fn a_range_lookup_wants_one_run_with_one_set_of_attributes() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(0, GIB, MIB_2, RWX).unwrap();
    f.map(MIB_2, GIB + MIB_2, 3 * KIB_4, RWX).unwrap();
    f.map(MIB_2 + 3 * KIB_4, GIB, KIB_4, RWX).unwrap();
    f.map(MIB_2 + 4 * KIB_4, GIB + KIB_4, KIB_4, RO).unwrap();
    let range = |ipa, bytes| f.tree.lookup_range(ipa, bytes, &f.mem).map(|(pa, _)| pa);
    assert_eq!(range(0x10, MIB_2 + 3 * KIB_4 - 0x10), Some(Pa(GIB + 0x10)));
    assert_eq!(range(0, MIB_2 + 4 * KIB_4), None, "the addresses jump");
    assert_eq!(range(MIB_2 + 3 * KIB_4, KIB_4), Some(Pa(GIB)));
    assert_eq!(
        range(MIB_2 + 3 * KIB_4, KIB_4 + 1),
        None,
        "the attributes change"
    );
    assert_eq!(
        range(MIB_2 + 4 * KIB_4, KIB_4 + 1),
        None,
        "a page is missing"
    );
    assert_eq!(
        range(MIB_2 + 4 * KIB_4 + 8, KIB_4),
        None,
        "its last bytes are missing"
    );
    assert_eq!(range(0, u64::MAX), None);
    assert_eq!(range(1 << 40, 1), None);
}

#[test]
fn a_range_lookup_ends_at_the_end_of_the_space() {
    let mut f = stage2(32, Space::Secure, 16);
    f.map(3 * GIB, 0, GIB, RWX).unwrap();
    assert_eq!(
        f.tree.lookup_range(3 * GIB, GIB, &f.mem),
        Some((Pa(0), RWX))
    );
    assert_eq!(f.tree.lookup_range(3 * GIB, GIB + 1, &f.mem), None);
}

#[test]
fn release_gives_everything_back() {
    for bits in [32, 40, 43, 48] {
        let mut f = stage2(bits, Space::NonSecure, 64);
        f.map(KIB_4, KIB_4, GIB, RWX).unwrap();
        f.map(3 * GIB, 0, MIB_2 + KIB_4, DEVICE).unwrap();
        f.map((1 << bits) - KIB_4, 0, KIB_4, RO).unwrap();
        f.tree.release(&mut f.pool, &mut f.mem, &mut f.recorder);
        assert_eq!(f.pool.used(), 0);
        f.checker.edit(&f.mem.trace.take()).unwrap();
        for ipa in [KIB_4, 3 * GIB, (1 << bits) - KIB_4] {
            assert!(
                f.walker.translate(&f.mem, ipa).is_err(),
                "the root is cleared"
            );
        }
    }
}

#[test]
fn without_fwb_the_bits_differ_and_the_lookup_does_not() {
    let layout = Stage2Layout::new(40).unwrap();
    for fwb in [false, true] {
        let (mut pool, mut mem) = (pool(16), RecordedMemory::default());
        let mut tree = Stage2::new(
            layout,
            Space::Secure,
            fwb,
            Account::SPMC,
            &mut pool,
            &mut mem,
        )
        .unwrap();
        let mut unused = crate::tlb::Unused;
        for (page, memory) in [(0, MemoryType::Normal), (1, MemoryType::Device)] {
            let attributes = Stage2Attributes {
                memory,
                permissions: Permissions::READ_WRITE,
            };
            let ipa = page * KIB_4;
            tree.map(
                ipa,
                Pa(ipa),
                KIB_4,
                attributes,
                &mut pool,
                &mut mem,
                &mut unused,
            )
            .unwrap();
            assert_eq!(tree.lookup(ipa, &mem), Some((Pa(ipa), attributes)));
        }
    }
}
