// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order of writes, barriers and invalidations, step by step; and that the checker, which
//! follows each edit of every other test, sees what is left out.

use super::fixture::{GIB, KIB_4, MIB_2, RWX, Stages, stage1, stage2};
use crate::addr::{Pa, Va};
use crate::attrs::Space;
use crate::stage1::UPPER_HALF;
use crate::table::{AddressFormat, Descriptor, Level};
use crate::testing::Step;
use crate::tlb::{Invalidation, Stage};

fn invalidation(space: Space, start: u64, bytes: u64, stride: u64) -> Step {
    Step::Invalidate(Invalidation {
        stage: Stage::Two,
        space,
        start,
        bytes,
        stride,
    })
}

#[test]
fn x1_a_new_table_is_published_before_it_is_linked() {
    let mut f = stage2(40, Space::Secure, 8);
    let root = f.tree.root();
    let steps = f.steps(|f| Stages::map(f, KIB_4, 9 * KIB_4, KIB_4, RWX));
    // Zero level 2, zero level 3, page, link level 3 into level 2, publish, link level 2, publish.
    let [
        Step::Zero(two),
        Step::Zero(three),
        page,
        link,
        Step::Publish,
        linked,
        Step::Publish,
    ] = steps[..]
    else {
        panic!("{steps:x?}")
    };
    let write = |step| match step {
        Step::Write {
            table,
            index,
            descriptor,
        } => (table, index, descriptor),
        _ => panic!("{step:x?}"),
    };
    let (table, index, descriptor) = write(page);
    assert_eq!((table, index), (three, 1));
    assert_eq!(
        Descriptor::decode(descriptor, Level::Three, AddressFormat::Bits48),
        Descriptor::Page(Pa(9 * KIB_4))
    );
    assert_eq!(write(link), (two, 0, three.0 | 3));
    assert_eq!(write(linked), (root, 0, two.0 | 3));
}

#[test]
fn x1_a_split_breaks_the_whole_block_before_it_makes_the_table() {
    let mut f = stage2(40, Space::NonSecure, 8);
    f.map(GIB, GIB, MIB_2, RWX).unwrap();
    let steps = f.steps(|f| Stages::unmap(f, GIB + 5 * KIB_4, KIB_4));
    let order: Vec<_> = steps.iter().skip(1 + 511).collect();
    let (Step::Zero(table), [Step::Publish, broken, invalidated, made, Step::Publish]) =
        (&steps[0], &order[..])
    else {
        panic!("{order:x?}")
    };
    assert!(matches!(broken, Step::Write { descriptor: 0, .. }));
    assert_eq!(
        **invalidated,
        invalidation(Space::NonSecure, GIB, MIB_2, MIB_2)
    );
    assert!(matches!(made, Step::Write { descriptor, .. } if *descriptor == table.0 | 3));
}

#[test]
fn x2_x6_pages_are_invalidated_once_for_all_and_their_table_is_freed_last() {
    let mut f = stage2(40, Space::Secure, 8);
    f.map(0, GIB, 3 * KIB_4, RWX).unwrap();
    assert_eq!(f.tables(), 2);
    let steps = f.steps(|f| Stages::unmap(f, 0, 3 * KIB_4));
    let calls: Vec<_> = steps
        .iter()
        .filter(|step| !matches!(step, Step::Write { .. }))
        .copied()
        .collect();
    assert_eq!(calls, [invalidation(Space::Secure, 0, 3 * KIB_4, KIB_4)]);
    assert_eq!(
        steps.last(),
        calls.last(),
        "nothing is written after the invalidation"
    );
}

#[test]
fn x2_one_operation_for_a_block_and_none_smaller_than_needed() {
    let mut f = stage2(40, Space::Secure, 8);
    f.map(GIB, GIB, GIB, RWX).unwrap();
    let steps = f.steps(|f| Stages::unmap(f, GIB, GIB));
    assert_eq!(
        steps.last(),
        Some(&invalidation(Space::Secure, GIB, GIB, GIB))
    );
    // A block and a page: one operation a page.
    f.map(MIB_2, MIB_2, MIB_2 + KIB_4, RWX).unwrap();
    let steps = f.steps(|f| Stages::unmap(f, MIB_2, MIB_2 + KIB_4));
    assert_eq!(
        steps.last(),
        Some(&invalidation(Space::Secure, MIB_2, MIB_2 + KIB_4, KIB_4))
    );
}

#[test]
fn x2_stage_1_says_whole_virtual_addresses() {
    let mut f = stage1(8);
    let va = Va(0u64.wrapping_sub(KIB_4));
    f.map(va.0, 0x9000, KIB_4, super::fixture::SHARED).unwrap();
    f.map(UPPER_HALF.0, 0xa000, KIB_4, super::fixture::SHARED)
        .unwrap();
    let steps = f.steps(|f| Stages::unmap(f, va.0, KIB_4));
    let expected = Invalidation {
        stage: Stage::One,
        space: Space::Secure,
        start: va.0,
        bytes: KIB_4,
        stride: KIB_4,
    };
    assert_eq!(steps.last(), Some(&Step::Invalidate(expected)));
}
