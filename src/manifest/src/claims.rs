// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two long lists without memory for either: what one says against what the other says.

/// How many claims are held at once. Reading a claim from the tree costs far more than comparing two.
const BATCH: usize = 32;

/// The first of `ours` that clashes with one of `theirs`, and that one.
///
/// `theirs` calls back with each of theirs, and is called once for every 32 of `ours`.
pub(crate) fn first_clash<T: Copy, U>(
    mut ours: impl Iterator<Item = T>,
    theirs: impl Fn(&mut dyn FnMut(U)),
    clash: impl Fn(&T, &U) -> bool,
) -> Option<(T, U)> {
    let mut batch = [None; BATCH];
    loop {
        let mut held = 0_usize;
        for slot in &mut batch {
            *slot = ours.next();
            if slot.is_none() {
                break;
            }
            held = held.saturating_add(1);
        }
        if held == 0 {
            return None;
        }
        // Ever fewer of the batch are left to look at: those before the one that has clashed.
        let mut found = None;
        let full = held == BATCH;
        theirs(&mut |other| {
            let earlier = batch.iter().take(held).flatten();
            if let Some((index, ours)) = earlier.enumerate().find(|(_, ours)| clash(ours, &other)) {
                found = Some((*ours, other));
                held = index;
            }
        });
        if found.is_some() {
            return found;
        }
        if !full {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p21_the_first_clash_is_found_whatever_the_batch() {
        for length in [0_u32, 1, 31, 32, 33, 64, 100] {
            let none = |each: &mut dyn FnMut(u32)| (200..300).for_each(each);
            assert_eq!(first_clash(0..length, none, |a, b| a == b), None);
            for first in 0..length {
                // All from `first` on clash, the other list in descending order.
                let theirs = |each: &mut dyn FnMut(u32)| (first..200).rev().for_each(each);
                let found = first_clash(0..length, theirs, |a, b| a == b);
                assert_eq!(found, Some((first, first)), "{length}");
            }
        }
    }
}
