// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sorting for the few things that boot sorts. The library's sort for many takes ten kilobytes of the image in
//! each of its uses.

/// Sorts `all` so that no one is `before` its predecessor; those of which neither is before the other keep their
/// order.
pub fn sort<T>(all: &mut [T], mut before: impl FnMut(&T, &T) -> bool) {
    for end in 1..=all.len() {
        let mut rest = all.get_mut(..end).unwrap_or_default();
        while let [shorter @ .., last] = rest {
            match shorter.last_mut() {
                Some(previous) if before(last, previous) => core::mem::swap(previous, last),
                _ => break,
            }
            rest = shorter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_five_is_sorted_and_equals_stay() {
        for number in 0..5_u32.pow(5) {
            let all: Vec<(u32, u32)> = (0..5).map(|at| (number / 5_u32.pow(at) % 5, at)).collect();
            let mut ours = all.clone();
            sort(&mut ours, |a, b| a.0 < b.0);
            let mut wanted = all;
            wanted.sort_by_key(|one| one.0);
            assert_eq!(ours, wanted);
        }
        sort::<u8>(&mut [], |_, _| true);
    }
}
