// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stage 1 of a partition at S-EL0 by example.

use super::fixture::{Fixture, GIB, KIB_4, MIB_2, SHARED, Stages, TEXT, el0, pool};
use crate::MapError;
use crate::addr::Pa;
use crate::attrs::{BranchTargets, Permissions, Space, Stage1Attributes};
use crate::el0::El0Stage1;
use crate::pool::Account;
use crate::testing::{RecordedMemory, Rule, Step};
use crate::tlb::Tlbi;

const DATA: Stage1Attributes = Stage1Attributes {
    permissions: Permissions::READ_WRITE,
    ..TEXT
};

#[test]
fn a_walk_starts_where_the_architecture_says() {
    for (bits, t0sz, start) in [(32, 32, 1), (39, 25, 1), (40, 24, 0), (48, 16, 0)] {
        let f = el0(bits, 8);
        assert_eq!((f.tree.t0sz(), f.walker.start), (t0sz, start));
    }
    let (mut pool, mut mem) = (pool(8), RecordedMemory::default());
    for bits in [31, 49] {
        let (targets, account) = (BranchTargets::Unchecked, Account::SPMC);
        assert!(El0Stage1::new(bits, targets, account, &mut pool, &mut mem).is_none());
    }
    assert_eq!(pool.used(), 0);
}

#[test]
fn what_a_partition_maps_is_its_own_and_never_s_el2s_to_execute() {
    let mut f = el0(48, 16);
    let last = (1 << 48) - KIB_4;
    f.map(last, GIB, KIB_4, TEXT).unwrap();
    f.map(GIB, 3 * GIB, GIB, DATA).unwrap();
    f.map(0, 0, KIB_4, SHARED).unwrap();
    for address in [last, GIB, 0] {
        let word = f.walker.translate(&f.mem, address).unwrap().descriptor;
        assert_eq!(word >> 53 & 1, 1, "PXN");
        assert_eq!(word >> 11 & 1, 1, "nG");
        assert_eq!(word >> 6 & 1, 1, "AP[1]");
    }
    assert_eq!(Stages::lookup(&f, last), Some((Pa(GIB), TEXT)));
    assert_eq!(f.output(GIB + 5), Some(3 * GIB + 5));
    assert_eq!(f.map(1 << 48, 0, KIB_4, DATA), Err(MapError::OutOfRange));
    let both = Stage1Attributes {
        permissions: Permissions::READ_WRITE_EXECUTE,
        ..TEXT
    };
    assert_eq!(f.map(MIB_2, 0, KIB_4, both), Err(MapError::Attributes));
    let foreign = Stage1Attributes {
        space: Space::NonSecure,
        ..TEXT
    };
    assert_eq!(f.map(MIB_2, 0, KIB_4, foreign), Err(MapError::Attributes));
    assert_eq!(f.change(0, KIB_4, both), Err(MapError::Attributes));
    assert_eq!(f.output(MIB_2), None);
}

#[test]
fn a56_permissions_change_page_by_page_and_come_back() {
    let mut f = el0(39, 16);
    f.map(GIB, GIB, MIB_2, DATA).unwrap();
    let page = GIB + 7 * KIB_4;
    let attributes = |f: &Fixture<El0Stage1>, va| Stages::lookup(f, va).unwrap().1;
    let none = Stage1Attributes {
        permissions: Permissions::NONE,
        ..DATA
    };
    for changed in [TEXT, none] {
        f.change(page, 2 * KIB_4, changed).unwrap();
        for (offset, expected) in [(-1, DATA), (0, changed), (1, changed), (2, DATA)] {
            let va = page.wrapping_add_signed(offset * KIB_4 as i64);
            assert_eq!(attributes(&f, va), expected);
            assert_eq!(f.output(va), Some(va));
        }
        assert_eq!(f.granule(page), Some(KIB_4));
        f.change(page, 2 * KIB_4, DATA).unwrap();
        assert_eq!(f.granule(page), Some(MIB_2), "it is a block again");
    }
    assert_eq!(f.change(GIB, 2 * MIB_2, TEXT), Err(MapError::NotMapped));
    assert_eq!(attributes(&f, GIB), DATA);
}

#[test]
fn what_leads_to_one_space_is_not_found_as_the_others_and_is_not_mapped_over() {
    let mut f = el0(48, 16);
    f.map(GIB, GIB, 2 * KIB_4, DATA).unwrap();
    f.map(GIB + 2 * KIB_4, GIB, KIB_4, SHARED).unwrap();
    let run = |f: &mut Fixture<El0Stage1>, space| {
        let found = f.tree.of(space).lookup_run(GIB, 3 * KIB_4, &f.mem);
        found.map(|(pa, bytes, _)| (pa, bytes))
    };
    let secure = Some((Pa(GIB), 2 * KIB_4));
    assert_eq!(run(&mut f, Space::Secure), secure);
    assert_eq!(run(&mut f, Space::NonSecure), None);
    assert_eq!(f.map(GIB, GIB, KIB_4, SHARED), Err(MapError::Overlap));
    assert_eq!(run(&mut f, Space::Secure), secure);
    let mut seen = [0, 0];
    for (index, space) in [Space::Secure, Space::NonSecure].into_iter().enumerate() {
        let tables = f.tree.of(space);
        tables.walk(&f.mem, |mapping| seen[index] += mapping.bytes);
    }
    assert_eq!(seen, [2 * KIB_4, KIB_4]);
}

#[test]
fn a_page_that_is_suspended_comes_back_as_it_was() {
    let mut f = el0(48, 16);
    f.map(GIB, GIB, 3 * KIB_4, DATA).unwrap();
    f.all_steps(|f| {
        let (pool, mem, recorder) = (&mut f.pool, &mut f.mem, &mut f.recorder);
        let tables = f.tree.of(Space::Secure);
        tables.suspend(GIB + KIB_4, KIB_4, pool, mem, recorder)
    });
    assert_eq!(Stages::lookup(&f, GIB + KIB_4), None);
    assert_eq!(f.map(GIB + KIB_4, 0, KIB_4, DATA), Err(MapError::Overlap));
    f.all_steps(|f| {
        let (pool, mem, recorder) = (&mut f.pool, &mut f.mem, &mut f.recorder);
        let tables = f.tree.of(Space::Secure);
        tables.resume(GIB + KIB_4, KIB_4, pool, mem, recorder);
        Ok(())
    });
    assert_eq!(
        Stages::lookup(&f, GIB + KIB_4),
        Some((Pa(GIB + KIB_4), DATA))
    );
}

#[test]
fn x2_the_asid_is_named() {
    let mut f = el0(39, 16);
    f.map(GIB, GIB, 3 * KIB_4, DATA).unwrap();
    let mut checker = f.checker.clone();
    let mut steps = f.all_steps(|f| Stages::unmap(f, GIB, 3 * KIB_4));
    let named: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Tlbi(operation) => Some(*operation),
            _ => None,
        })
        .collect();
    let page = 0x8123 << 48 | GIB >> 12;
    assert_eq!(named, [0, 1, 2].map(|number| Tlbi::Va(page + number)));
    for step in &mut steps {
        if let Step::Tlbi(Tlbi::Va(operand)) = step {
            *operand &= !(1 << 63);
        }
    }
    let found = checker.edit(&steps).map_err(|violation| violation.rule);
    assert_eq!(found, Err(Rule::WrongAsid));
}

#[test]
fn release_gives_everything_back() {
    let mut f = el0(48, 16);
    f.map(KIB_4, KIB_4, GIB, DATA).unwrap();
    f.tree.release(&mut f.pool, &mut f.mem, &mut f.recorder);
    assert_eq!(f.pool.used(), 0);
    f.checker.edit(&f.mem.trace.take()).unwrap();
}
