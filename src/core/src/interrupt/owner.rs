// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose the secure interrupts are: what the manifests say, as one table.

use crate::few;
use crate::hardware::Hardware;
use crate::partition::Partition;

/// A secure interrupt, and the partition that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Owned {
    /// The INTID.
    pub intid: u32,
    /// The index of the partition.
    pub partition: usize,
}

/// All interrupts of the partitions' devices, as their manifests have them.
pub fn owned<H: Hardware>(
    partitions: &'static [Partition<H>],
) -> impl Iterator<Item = Owned> + Clone {
    partitions.iter().enumerate().flat_map(|(partition, one)| {
        let interrupts = one.config.interrupts.iter();
        interrupts.map(move |&intid| Owned { intid, partition })
    })
}

/// The owners by INTID.
#[derive(Clone, Copy, Debug)]
pub struct Owners(&'static [Owned]);

impl Owners {
    /// The table of `all`, which is sorted here. No INTID has two owners: a second one is passed over.
    pub fn new(all: &'static mut [Owned]) -> Self {
        few::sort(all, |one, other| one < other);
        Self(all)
    }

    /// The index of the partition that has `intid`.
    pub(crate) fn of(&self, intid: u32) -> Option<usize> {
        let first = self.0.partition_point(|one| one.intid < intid);
        let found = self.0.get(first).filter(|one| one.intid == intid);
        found.map(|one| one.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i11_the_owner_is_found_by_the_whole_intid() {
        let all = [(5119, 2), (34, 0), (32, 1), (4096, 0), (1019, 1)];
        let all: Vec<_> = all
            .into_iter()
            .map(|(intid, partition)| Owned { intid, partition })
            .collect();
        let owners = Owners::new(all.clone().leak());
        for one in all {
            assert_eq!(owners.of(one.intid), Some(one.partition));
        }
        for intid in [
            0,
            31,
            33,
            1018,
            1020,
            1023,
            4095,
            5118,
            5120,
            8191,
            u32::MAX,
        ] {
            assert_eq!(owners.of(intid), None);
        }
    }
}
