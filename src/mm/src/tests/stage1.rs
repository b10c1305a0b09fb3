// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 1 by example.

use super::fixture::{GIB, KIB_4, MIB_2, SHARED, TEXT, stage1};
use crate::MapError;
use crate::addr::{Pa, Va};
use crate::attrs::{BranchTargets, Permissions, Space, Stage1Attributes};
use crate::stage1::UPPER_HALF;

const BASE: u64 = UPPER_HALF.0;

#[test]
fn both_ends_of_the_upper_half_can_be_mapped() {
    let mut f = stage1(16);
    let last = 0_u64.wrapping_sub(KIB_4);
    f.map(last, 0x8000, KIB_4, TEXT).unwrap();
    f.map(BASE, GIB, GIB, SHARED).unwrap();
    assert_eq!(f.output(u64::MAX), Some(0x8fff));
    assert_eq!(f.output(BASE + 5), Some(GIB + 5));
    assert_eq!(f.granule(BASE), Some(GIB));
    assert_eq!(f.tree.lookup(Va(BASE), &f.mem), Some((Pa(GIB), SHARED)));
    assert_eq!(
        f.tree.lookup_range(Va(last), KIB_4, &f.mem),
        Some((Pa(0x8000), TEXT))
    );
    assert_eq!(f.tree.lookup_range(Va(last), KIB_4 + 1, &f.mem), None);
    f.unmap(last, KIB_4).unwrap();
    f.unmap(BASE, GIB).unwrap();
    assert_eq!(f.tables(), 0);
}

#[test]
fn addresses_outside_of_the_upper_half_are_refused() {
    let mut f = stage1(16);
    let last = 0_u64.wrapping_sub(KIB_4);
    assert_eq!(f.map(0, 0, KIB_4, TEXT), Err(MapError::OutOfRange));
    assert_eq!(
        f.map(BASE - KIB_4, 0, KIB_4, TEXT),
        Err(MapError::OutOfRange)
    );
    assert_eq!(f.map(last, 0, 2 * KIB_4, TEXT), Err(MapError::OutOfRange));
    assert_eq!(f.unmap(0, KIB_4), Err(MapError::OutOfRange));
    assert_eq!(f.output(0), None);
    assert_eq!(f.output(BASE - 1), None);
}

#[test]
fn writable_and_executable_is_refused() {
    let mut f = stage1(16);
    let both = Stage1Attributes {
        permissions: Permissions::READ_WRITE_EXECUTE,
        ..TEXT
    };
    assert_eq!(f.map(BASE, 0, KIB_4, both), Err(MapError::Attributes));
    let foreign = Stage1Attributes {
        space: Space::NonSecure,
        ..TEXT
    };
    assert_eq!(f.map(BASE, 0, KIB_4, foreign), Err(MapError::Attributes));
}

#[test]
fn a_block_is_not_split() {
    let mut f = stage1(16);
    f.map(BASE, 0, 2 * MIB_2, TEXT).unwrap();
    assert_eq!(f.unmap(BASE, KIB_4), Err(MapError::Split));
    assert_eq!(
        f.unmap(BASE + KIB_4, 2 * MIB_2 - KIB_4),
        Err(MapError::Split)
    );
    assert_eq!(f.output(BASE), Some(0));
    f.unmap(BASE + MIB_2, MIB_2).unwrap();
    assert_eq!(f.output(BASE + MIB_2), None);
}

#[test]
fn guarded_text_reads_back_as_text() {
    let mut f = stage1(16);
    f.tree = f.tree.with_branch_targets(BranchTargets::Guarded);
    f.map(BASE, 0, KIB_4, TEXT).unwrap();
    assert_eq!(f.tree.lookup(Va(BASE), &f.mem), Some((Pa(0), TEXT)));
    let descriptor = f.walker.translate(&f.mem, BASE).unwrap().descriptor;
    assert_eq!(descriptor >> 50 & 1, 1);
    let mut found = Vec::new();
    f.tree.walk(&f.mem, |mapping| {
        found.push((mapping.start, mapping.pa.0, mapping.bytes))
    });
    assert_eq!(found, [(BASE, 0, KIB_4)]);
}

#[test]
fn a_mailbox_is_unmapped_with_few_reads() {
    let mut f = stage1(16);
    for page in [0, 16] {
        f.map(BASE + page * KIB_4, page * KIB_4, KIB_4, SHARED)
            .unwrap();
    }
    let mut cost = Vec::new();
    for page in [0, 16] {
        f.mem.reads.set(0);
        let steps =
            f.steps(|f| crate::tests::fixture::Stages::unmap(f, BASE + page * KIB_4, KIB_4));
        cost.push((f.mem.reads.get(), steps.len()));
    }
    // Three levels read twice, to plan and to clear; then one descriptor is cleared, or three.
    assert_eq!(cost, [(6, 2), (6, 4)]);
}
