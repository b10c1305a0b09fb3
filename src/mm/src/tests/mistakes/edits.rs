// SPDX-License-Identifier: MIT OR Apache-2.0
//! Correct edits, for mistakes to be made in.

use crate::addr::Pa;
use crate::attrs::Space;
use crate::stage1::UPPER_HALF;
use crate::testing::{Checker, RecordedMemory, Recorder, Step, Target, Trace, Walker};
use crate::tests::fixture::{GIB, KIB_4, MIB_2, RWX, SHARED, Stages, dma, stage1, stage2};
use crate::tlb::{self, Barrier, Instructions, Roots};

/// The steps of one correct edit, and a checker that has followed all before it.
pub(super) type Recorded = (Checker, Vec<Step>);

/// A block of 2 MiB is removed, and a page of the next one, which is split.
pub(super) fn split() -> Recorded {
    let mut f = stage2(40, Space::NonSecure, 8);
    f.map(GIB, GIB, 2 * MIB_2, RWX).unwrap();
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::unmap(f, GIB, MIB_2 + KIB_4));
    (checker, steps)
}

/// A page is mapped where two tables are missing.
pub(super) fn map() -> Recorded {
    let mut f = stage2(40, Space::Secure, 8);
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::map(f, KIB_4, 9 * KIB_4, KIB_4, RWX));
    (checker, steps)
}

/// Three pages are unmapped, and their tables are freed and used again.
pub(super) fn reuse() -> Recorded {
    let mut f = stage2(40, Space::Secure, 8);
    f.map(0, GIB, 3 * KIB_4, RWX).unwrap();
    let checker = f.checker.clone();
    let mut steps = f.all_steps(|f| Stages::unmap(f, 0, 3 * KIB_4));
    steps.extend(f.all_steps(|f| Stages::map(f, GIB, GIB, KIB_4, RWX)));
    (checker, steps)
}

/// One page of a contiguous run is unmapped; a block beside it keeps the tables.
pub(super) fn split_run() -> Recorded {
    let mut f = stage2(40, Space::Secure, 8);
    f.map(GIB, GIB, 16 * KIB_4, RWX).unwrap();
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::unmap(f, GIB + 5 * KIB_4, KIB_4));
    (checker, steps)
}

/// The last of 16 pages is mapped, which makes them a contiguous run.
pub(super) fn merge_run() -> Recorded {
    let mut f = stage2(40, Space::Secure, 8);
    f.map(GIB, GIB, 15 * KIB_4, RWX).unwrap();
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::map(f, GIB + 15 * KIB_4, GIB + 15 * KIB_4, KIB_4, RWX));
    (checker, steps)
}

/// The last of 512 pages is mapped, which makes them a block; the table is freed and used again.
pub(super) fn merge_block() -> Recorded {
    let mut f = stage2(40, Space::Secure, 8);
    f.map(GIB, GIB, MIB_2 - KIB_4, RWX).unwrap();
    let last = GIB + MIB_2 - KIB_4;
    let checker = f.checker.clone();
    let mut steps = f.all_steps(|f| Stages::map(f, last, last, KIB_4, RWX));
    steps.extend(f.all_steps(|f| Stages::map(f, GIB + MIB_2, 0, KIB_4, RWX)));
    (checker, steps)
}

/// More pages are unmapped than are named one by one.
pub(super) fn unmap_many() -> Recorded {
    let mut f = stage2(40, Space::Secure, 8);
    f.map(GIB, GIB, 100 * KIB_4, RWX).unwrap();
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::unmap(f, GIB, 100 * KIB_4));
    (checker, steps)
}

/// A page is mapped for a device whose SMMU does not see caches.
pub(super) fn dma_map() -> Recorded {
    let mut f = dma(8);
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::map(f, GIB, GIB, KIB_4, RWX));
    (checker, steps)
}

/// A page is unmapped there.
pub(super) fn dma_unmap() -> Recorded {
    let mut f = dma(8);
    f.map(GIB, GIB, KIB_4, RWX).unwrap();
    f.map(GIB + KIB_4, 0, KIB_4, RWX).unwrap();
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::unmap(f, GIB, KIB_4));
    (checker, steps)
}

/// Two pages of S-EL2's own map are unmapped.
pub(super) fn own_unmap() -> Recorded {
    let mut f = stage1(8);
    f.map(UPPER_HALF.0, 0, 3 * KIB_4, SHARED).unwrap();
    let checker = f.checker.clone();
    let steps = f.all_steps(|f| Stages::unmap(f, UPPER_HALF.0, 2 * KIB_4));
    (checker, steps)
}

const FIRST: Roots = Roots {
    vttbr: 0x0007_0000_0100_0000,
    vsttbr: 0x0200_0000,
};
const SECOND: Roots = Roots {
    vttbr: 0x0007_0000_0300_0000,
    vsttbr: 0x0400_0000,
};

/// A partition runs and ends; another one gets its VMID and runs.
pub(super) fn reuse_vmid() -> Recorded {
    let mem = RecordedMemory::default();
    let target = Target::StageTwo {
        space: Space::Secure,
        roots: FIRST,
    };
    let walker = Walker::stage2(Pa(FIRST.vsttbr), 25 | 1 << 6);
    let checker = Checker::new(target, crate::table::Walks::Cached, walker, &mem);
    let mut machine = Recorder::new(Trace::default(), target);
    let run = |machine: &mut Recorder, roots| {
        let loaded = machine.roots();
        for roots in [roots, loaded] {
            machine.load_roots(roots);
            machine.barrier(Barrier::Instructions);
        }
    };
    run(&mut machine, FIRST);
    tlb::invalidate_vmid(&mut machine, FIRST);
    run(&mut machine, SECOND);
    tlb::invalidate_all_vmids(&mut machine);
    run(&mut machine, FIRST);
    let steps = machine.trace.take();
    (checker, steps)
}
