// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is taken away for a time: it is not mapped, its place is kept, and giving it back or up takes no page.

use super::fixture::{Fixture, KIB_4, MIB_2, RO, RWX, stage2};
use crate::MapError;
use crate::attrs::Space;
use crate::stage2::Stage2;
use crate::tree::Reshape;

/// Pages of the memory of the random test.
const PAGES: u64 = 1536;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Mapped,
    Suspended,
    Gone,
}

#[test]
fn a41_what_is_suspended_keeps_its_place_and_comes_back_as_it_was() {
    for space in [Space::Secure, Space::NonSecure] {
        let mut f = stage2(40, space, 16);
        f.map(MIB_2, 4 * MIB_2, MIB_2, RWX).unwrap();
        f.map(2 * MIB_2, 7 * MIB_2, KIB_4, RO).unwrap();
        let before = f.walked();
        for (start, bytes) in [
            (MIB_2, MIB_2),
            (MIB_2 + KIB_4, KIB_4),
            (MIB_2 + 16 * KIB_4, 33 * KIB_4),
            (2 * MIB_2, KIB_4),
            (2 * MIB_2 - KIB_4, 2 * KIB_4),
        ] {
            f.suspend(start, bytes).unwrap();
            assert_eq!(f.output(start), None);
            assert_eq!(f.output(start + bytes - 1), None);
            assert_eq!(f.suspend(start, KIB_4), Err(MapError::NotMapped));
            assert_eq!(f.unmap(start, KIB_4), Err(MapError::NotMapped));
            assert_eq!(f.map(start, 0, KIB_4, RWX), Err(MapError::Overlap));
            f.resume(start, bytes);
            assert_eq!(f.walked(), before);
        }
    }
}

#[test]
fn a41_what_is_forgotten_is_gone_and_its_table_is_freed() {
    let mut f = stage2(40, Space::Secure, 16);
    f.map(MIB_2, 4 * MIB_2, 2 * KIB_4, RWX).unwrap();
    let tables = f.tables();
    f.suspend(MIB_2, 2 * KIB_4).unwrap();
    assert_eq!(f.tables(), tables, "its place is kept");
    f.forget(MIB_2, KIB_4);
    assert_eq!(f.tables(), tables);
    f.forget(MIB_2 + KIB_4, KIB_4);
    assert_eq!(f.tables(), 0);
    f.map(MIB_2, 9 * MIB_2, KIB_4, RO).unwrap();
}

#[test]
fn a59_a_gap_is_what_is_neither_mapped_nor_suspended() {
    let mut f = stage2(40, Space::NonSecure, 16);
    let gap =
        |f: &Fixture<Stage2>, bytes, align| f.tree.gap(MIB_2..4 * MIB_2, bytes, align, &f.mem);
    assert_eq!(gap(&f, 3 * MIB_2, KIB_4), Some(MIB_2));
    assert_eq!(gap(&f, 3 * MIB_2 + KIB_4, KIB_4), None);
    f.map(MIB_2, 9 * MIB_2, KIB_4, RWX).unwrap();
    f.map(2 * MIB_2, 4 * MIB_2, MIB_2, RWX).unwrap();
    f.suspend(MIB_2, KIB_4).unwrap();
    assert_eq!(gap(&f, KIB_4, KIB_4), Some(MIB_2 + KIB_4));
    assert_eq!(gap(&f, MIB_2 - KIB_4, KIB_4), Some(MIB_2 + KIB_4));
    assert_eq!(gap(&f, MIB_2, KIB_4), Some(3 * MIB_2));
    assert_eq!(gap(&f, KIB_4, MIB_2), Some(3 * MIB_2));
    f.forget(MIB_2, KIB_4);
    assert_eq!(gap(&f, MIB_2, MIB_2), Some(MIB_2));
    f.suspend(2 * MIB_2, MIB_2).unwrap();
    f.map(3 * MIB_2, 11 * MIB_2, KIB_4, RO).unwrap();
    assert_eq!(gap(&f, MIB_2, KIB_4), Some(MIB_2));
    assert_eq!(gap(&f, MIB_2 + KIB_4, KIB_4), None);
    // Only what lies in the window counts.
    assert_eq!(f.tree.gap(0..MIB_2, MIB_2, KIB_4, &f.mem), Some(0));
    assert_eq!(f.tree.gap(4 * MIB_2..4 * MIB_2, KIB_4, KIB_4, &f.mem), None);
}

/// Random ranges are suspended, resumed and forgotten. Each edit is followed by the checker of the order of
/// writes and invalidations (X1, X2, X6), and fails first with every number of pages that is too small.
#[test]
fn o3_random_suspensions_agree_with_a_flat_model() {
    for reshape in [Reshape::Split, Reshape::SplitAndMerge] {
        let mut f = stage2(40, Space::Secure, 64);
        f.tree = f.tree.with_reshape(reshape);
        f.map(MIB_2, 8 * MIB_2, 3 * MIB_2, RWX).unwrap();
        let mut model = vec![State::Mapped; PAGES as usize];
        let mut suspended: Vec<(u64, u64)> = Vec::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % bound
        };
        for _ in 0..400 {
            let act = below(5);
            if act < 3 || suspended.is_empty() {
                let longest = [1, 2, 20, 600][below(4) as usize];
                let (first, pages) = (below(PAGES), 1 + below(longest));
                let end = (first + pages).min(PAGES);
                let range = first as usize..end as usize;
                let free = model[range.clone()].iter().all(|one| *one == State::Mapped);
                let result = f.suspend(MIB_2 + first * KIB_4, (end - first) * KIB_4);
                let expected = if free {
                    Ok(())
                } else {
                    Err(MapError::NotMapped)
                };
                assert_eq!(result, expected);
                if free {
                    model[range].fill(State::Suspended);
                    suspended.push((first, end));
                }
            } else {
                let which = below(suspended.len() as u64) as usize;
                let (first, end) = suspended.swap_remove(which);
                let (start, bytes) = (MIB_2 + first * KIB_4, (end - first) * KIB_4);
                let after = if act == 3 || below(4) != 0 {
                    f.resume(start, bytes);
                    State::Mapped
                } else {
                    f.forget(start, bytes);
                    State::Gone
                };
                model[first as usize..end as usize].fill(after);
            }
            for _ in 0..40 {
                let page = below(PAGES);
                let expected = match model[page as usize] {
                    State::Mapped => Some(8 * MIB_2 + page * KIB_4),
                    State::Suspended | State::Gone => None,
                };
                assert_eq!(f.output(MIB_2 + page * KIB_4), expected, "page {page}");
            }
            let (first, pages) = (below(PAGES), 1 + below(24));
            let align = 1 << below(4);
            let fits = |start: &u64| {
                let range = *start as usize..(start + pages) as usize;
                model[range].iter().all(|state| *state == State::Gone)
            };
            let starts = (first.next_multiple_of(align)..=PAGES.saturating_sub(pages))
                .step_by(align as usize);
            let expected = { starts }.find(fits).map(|start| MIB_2 + start * KIB_4);
            let window = MIB_2 + first * KIB_4..MIB_2 + PAGES * KIB_4;
            let found = (f.tree).gap(window, pages * KIB_4, align * KIB_4, &f.mem);
            assert_eq!(found, expected, "{pages} pages");
        }
    }
}

impl Fixture<Stage2> {
    fn suspend(&mut self, start: u64, bytes: u64) -> Result<(), MapError> {
        let (result, ..) =
            self.edit(|f| (f.tree).suspend(start, bytes, &mut f.pool, &mut f.mem, &mut f.recorder));
        result
    }

    fn resume(&mut self, start: u64, bytes: u64) {
        let done = self.edit(|f| {
            (f.tree).resume(start, bytes, &mut f.pool, &mut f.mem, &mut f.recorder);
            Ok(())
        });
        assert_eq!(done, (Ok(()), 0, 0), "it takes no page");
    }

    fn forget(&mut self, start: u64, bytes: u64) {
        let done = self.edit(|f| {
            (f.tree).forget(start, bytes, &mut f.pool, &mut f.mem, &mut f.recorder);
            Ok(())
        });
        assert_eq!(done, (Ok(()), 0, 0), "it takes no page");
    }

    /// All that is mapped.
    fn walked(&self) -> String {
        let mut text = String::new();
        self.tree
            .walk(&self.mem, |mapping| text += &format!("{mapping:x?}\n"));
        text
    }
}
