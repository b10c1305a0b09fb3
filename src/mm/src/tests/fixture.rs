// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trees over recorded memory, checked after each edit.

use std::boxed::Box;

use crate::MapError;
use crate::addr::{PAGE_SIZE, Pa, PageRange, Va};
use crate::attrs::{
    BranchTargets, MemoryType, Permissions, Space, Stage1Attributes, Stage2Attributes,
};
use crate::el0::El0Stage1;
use crate::pool::{Account, PagePool, PageRecord};
use crate::stage1::{self, Stage1};
use crate::stage2::{Stage2, Stage2Layout};
use crate::table::Walks;
use crate::testing::{Checker, RecordedMemory, Recorder, Step, Target, Walker};
use crate::tlb::Roots;

pub(super) const KIB_4: u64 = 1 << 12;
pub(super) const MIB_2: u64 = 1 << 21;
pub(super) const GIB: u64 = 1 << 30;

/// Where the pool of each test is: no alignment beyond a page.
pub(super) const POOL_BASE: Pa = Pa(0x0e10_3000);

pub(super) const RWX: Stage2Attributes = Stage2Attributes {
    memory: MemoryType::Normal,
    permissions: Permissions::READ_WRITE_EXECUTE,
};
pub(super) const RO: Stage2Attributes = Stage2Attributes {
    memory: MemoryType::Normal,
    permissions: Permissions::READ_ONLY,
};
pub(super) const DEVICE: Stage2Attributes = Stage2Attributes {
    memory: MemoryType::Device,
    permissions: Permissions::READ_WRITE,
};

pub(super) const TEXT: Stage1Attributes = Stage1Attributes {
    memory: MemoryType::Normal,
    permissions: Permissions::READ_EXECUTE,
    space: Space::Secure,
};
pub(super) const SHARED: Stage1Attributes = Stage1Attributes {
    memory: MemoryType::Normal,
    permissions: Permissions::READ_WRITE,
    space: Space::NonSecure,
};

pub(super) fn pool(pages: usize) -> PagePool<'static> {
    let range = PageRange::new(POOL_BASE, pages as u64 * PAGE_SIZE).unwrap();
    PagePool::new(
        range,
        Box::leak(vec![PageRecord::UNUSED; pages].into_boxed_slice()),
    )
    .unwrap()
}

/// One tree of either stage, and what it works with.
pub(super) struct Fixture<T> {
    pub(super) tree: T,
    pub(super) pool: PagePool<'static>,
    pub(super) mem: RecordedMemory,
    pub(super) recorder: Recorder,
    pub(super) walker: Walker,
    pub(super) checker: Checker,
    root_pages: usize,
}

/// What both stages offer, for tests of both.
pub(super) trait Stages: Sized {
    type Attributes: Copy + PartialEq + std::fmt::Debug;
    fn map(
        f: &mut Fixture<Self>,
        start: u64,
        pa: u64,
        bytes: u64,
        a: Self::Attributes,
    ) -> Result<(), MapError>;
    fn unmap(f: &mut Fixture<Self>, start: u64, bytes: u64) -> Result<(), MapError>;
    /// Changes attributes, where that is possible.
    fn change(
        f: &mut Fixture<Self>,
        start: u64,
        bytes: u64,
        a: Self::Attributes,
    ) -> Result<(), MapError>;
    fn lookup(f: &Fixture<Self>, address: u64) -> Option<(Pa, Self::Attributes)>;
}

impl Stages for Stage2 {
    type Attributes = Stage2Attributes;

    fn map(
        f: &mut Fixture<Self>,
        start: u64,
        pa: u64,
        bytes: u64,
        a: Stage2Attributes,
    ) -> Result<(), MapError> {
        f.tree.map(
            start,
            Pa(pa),
            bytes,
            a,
            &mut f.pool,
            &mut f.mem,
            &mut f.recorder,
        )
    }

    fn unmap(f: &mut Fixture<Self>, start: u64, bytes: u64) -> Result<(), MapError> {
        f.tree
            .unmap(start, bytes, &mut f.pool, &mut f.mem, &mut f.recorder)
    }

    fn change(
        f: &mut Fixture<Self>,
        start: u64,
        bytes: u64,
        a: Stage2Attributes,
    ) -> Result<(), MapError> {
        f.tree
            .change(start, bytes, a, &mut f.pool, &mut f.mem, &mut f.recorder)
    }

    fn lookup(f: &Fixture<Self>, address: u64) -> Option<(Pa, Stage2Attributes)> {
        f.tree.lookup(address, &f.mem)
    }
}

impl Stages for Stage1 {
    type Attributes = Stage1Attributes;

    fn map(
        f: &mut Fixture<Self>,
        start: u64,
        pa: u64,
        bytes: u64,
        a: Stage1Attributes,
    ) -> Result<(), MapError> {
        f.tree.map(
            Va(start),
            Pa(pa),
            bytes,
            a,
            &mut f.pool,
            &mut f.mem,
            &mut f.recorder,
        )
    }

    fn unmap(f: &mut Fixture<Self>, start: u64, bytes: u64) -> Result<(), MapError> {
        f.tree
            .unmap(Va(start), bytes, &mut f.pool, &mut f.mem, &mut f.recorder)
    }

    fn change(_: &mut Fixture<Self>, _: u64, _: u64, _: Stage1Attributes) -> Result<(), MapError> {
        panic!("S-EL2's own map is not changed")
    }

    fn lookup(f: &Fixture<Self>, address: u64) -> Option<(Pa, Stage1Attributes)> {
        f.tree.lookup(Va(address), &f.mem)
    }
}

/// What stage 2 has of stage-1 attributes.
fn plain(a: Stage1Attributes) -> Stage2Attributes {
    Stage2Attributes {
        memory: a.memory,
        permissions: a.permissions,
    }
}

impl Stages for El0Stage1 {
    type Attributes = Stage1Attributes;

    fn map(
        f: &mut Fixture<Self>,
        start: u64,
        pa: u64,
        bytes: u64,
        a: Stage1Attributes,
    ) -> Result<(), MapError> {
        let (pool, mem, recorder) = (&mut f.pool, &mut f.mem, &mut f.recorder);
        let tables = f.tree.of(a.space);
        tables.map(start, Pa(pa), bytes, plain(a), pool, mem, recorder)
    }

    fn unmap(f: &mut Fixture<Self>, start: u64, bytes: u64) -> Result<(), MapError> {
        let (pool, mem, recorder) = (&mut f.pool, &mut f.mem, &mut f.recorder);
        f.tree
            .of(Space::Secure)
            .unmap(start, bytes, pool, mem, recorder)
    }

    fn change(
        f: &mut Fixture<Self>,
        start: u64,
        bytes: u64,
        a: Stage1Attributes,
    ) -> Result<(), MapError> {
        let (pool, mem, recorder) = (&mut f.pool, &mut f.mem, &mut f.recorder);
        let tables = f.tree.of(a.space);
        tables.change(start, bytes, plain(a), pool, mem, recorder)
    }

    fn lookup(f: &Fixture<Self>, address: u64) -> Option<(Pa, Stage1Attributes)> {
        [Space::Secure, Space::NonSecure]
            .into_iter()
            .find_map(|space| {
                let page = address & !(PAGE_SIZE - 1);
                let (pa, _, a) = f.tree.lookup_run(space, page, PAGE_SIZE, &f.mem)?;
                let pa = Pa(pa.0 + address % PAGE_SIZE);
                let (memory, permissions) = (a.memory, a.permissions);
                let attributes = Stage1Attributes {
                    memory,
                    permissions,
                    space,
                };
                Some((pa, attributes))
            })
    }
}

/// VTCR_EL2 as far as a walk needs it.
pub(super) fn vtcr(layout: &Stage2Layout) -> u64 {
    layout.t0sz() | layout.sl0() << 6 | layout.ds() << 32 | layout.sl2() << 33
}

/// The roots of a partition whose VMID, 0x1ff - 0x100, differs above bit 7 from what is loaded.
fn roots(root: Pa, space: Space) -> Roots {
    let (secure, non_secure) = match space {
        Space::Secure => (root.0, 0x7003_0000),
        Space::NonSecure => (0x7003_0000, root.0),
    };
    Roots {
        vttbr: 0x00ff << 48 | non_secure,
        vsttbr: secure,
    }
}

pub(super) fn stage2(ipa_bits: u32, space: Space, pages: usize) -> Fixture<Stage2> {
    stage2_of(Stage2Layout::new(ipa_bits).unwrap(), space, pages)
}

pub(super) fn stage2_of(layout: Stage2Layout, space: Space, pages: usize) -> Fixture<Stage2> {
    let (mut pool, mut mem) = (pool(pages), RecordedMemory::default());
    let tree = Stage2::new(layout, space, true, Account::SPMC, &mut pool, &mut mem).unwrap();
    let walks = Walks::Cached;
    fixture_of_stage2(tree, walks, pool, mem)
}

/// Tables under DMA of an SMMU that does not see caches.
pub(super) fn dma(pages: usize) -> Fixture<Stage2> {
    let (mut pool, mut mem) = (pool(pages), RecordedMemory::default());
    let layout = Stage2Layout::new(40).unwrap();
    let (space, walks, account) = (Space::NonSecure, Walks::Uncached, Account::SPMC);
    let tree = Stage2::for_dma(layout, space, walks, account, &mut pool, &mut mem).unwrap();
    fixture_of_stage2(tree, walks, pool, mem)
}

fn fixture_of_stage2(
    tree: Stage2,
    walks: Walks,
    pool: PagePool<'static>,
    mem: RecordedMemory,
) -> Fixture<Stage2> {
    let (layout, space) = (tree.layout(), tree.space());
    let walker = Walker::stage2(tree.root(), vtcr(&layout));
    let roots = roots(tree.root(), space);
    let target = Target::StageTwo { space, roots };
    fixture(tree, pool, mem, walker, target, walks, layout.root_pages())
}

pub(super) fn stage1(pages: usize) -> Fixture<Stage1> {
    let (mut pool, mut mem) = (pool(pages), RecordedMemory::default());
    let tree = Stage1::new(&mut pool, &mut mem).unwrap();
    let walker = Walker::stage1(tree.root(), stage1::T1SZ);
    let target = Target::StageOne { asid: 0 };
    fixture(tree, pool, mem, walker, target, Walks::Cached, 1)
}

/// Tables of a partition at S-EL0 with an ASID.
pub(super) fn el0(va_bits: u32, pages: usize) -> Fixture<El0Stage1> {
    let (mut pool, mut mem) = (pool(pages), RecordedMemory::default());
    let (targets, account) = (BranchTargets::Unchecked, Account::SPMC);
    let tree = El0Stage1::new(va_bits, targets, account, &mut pool, &mut mem).unwrap();
    let walker = Walker::el0(tree.root(), tree.t0sz());
    let target = Target::StageOne { asid: 0x8123 };
    fixture(tree, pool, mem, walker, target, Walks::Cached, 1)
}

fn fixture<T>(
    tree: T,
    pool: PagePool<'static>,
    mem: RecordedMemory,
    walker: Walker,
    target: Target,
    walks: Walks,
    root_pages: usize,
) -> Fixture<T> {
    let checker = Checker::new(target, walks, walker, &mem);
    mem.trace.take();
    let recorder = Recorder::new(mem.trace.clone(), target);
    Fixture {
        tree,
        pool,
        mem,
        recorder,
        walker,
        checker,
        root_pages,
    }
}

const ENOUGH: &str = "it fails until it has the pages that it takes, and no longer";

impl<T: Stages> Fixture<T> {
    pub(super) fn map(
        &mut self,
        start: u64,
        pa: u64,
        bytes: u64,
        attributes: T::Attributes,
    ) -> Result<(), MapError> {
        let (result, least, taken) = self.edit(|f| T::map(f, start, pa, bytes, attributes));
        assert_eq!(least, taken, "{ENOUGH}");
        result
    }

    pub(super) fn change(
        &mut self,
        start: u64,
        bytes: u64,
        attributes: T::Attributes,
    ) -> Result<(), MapError> {
        // What is freed on the way is taken again.
        let (result, least, taken) = self.edit(|f| T::change(f, start, bytes, attributes));
        assert!(least <= taken, "{ENOUGH}");
        result
    }

    pub(super) fn unmap(&mut self, start: u64, bytes: u64) -> Result<(), MapError> {
        let (result, least, taken) = self.edit(|f| T::unmap(f, start, bytes));
        assert_eq!(least, taken, "{ENOUGH}");
        result
    }

    /// Runs an edit with as few free pages as it takes, after it has failed with each smaller
    /// number, and checks everything that holds of every edit. Returns its result, that number, and
    /// how often it took a page.
    pub(super) fn edit(
        &mut self,
        mut edit: impl FnMut(&mut Self) -> Result<(), MapError>,
    ) -> (Result<(), MapError>, usize, usize) {
        let mut held = Vec::new();
        while let Ok(page) = self.pool.alloc(Account::SPMC, &mut self.mem) {
            held.push(page);
        }
        // What the zeroing of held pages would say to the checker is not part of the edit.
        let before = self.mem.tables.clone();
        self.mem.trace.take();
        let (mut short, mut taken) = (0, 0);
        let result = loop {
            let used = self.pool.used();
            let result = edit(self);
            let steps = self.mem.trace.take();
            if result.is_ok() {
                self.check(&steps);
                taken = steps
                    .iter()
                    .filter(|step| matches!(step, Step::Zero(_)))
                    .count();
                break result;
            }
            assert_eq!(steps, [], "a failed edit touches nothing");
            assert!(
                self.mem.tables == before,
                "a failed edit leaves the tables as they were"
            );
            assert_eq!(self.pool.used(), used, "a failed edit takes no page");
            match held.pop() {
                Some(page) if result == Err(MapError::NoMemory) => {
                    short += 1;
                    self.pool.free(page).unwrap();
                }
                Some(page) => {
                    held.push(page);
                    break result;
                }
                None => break result,
            }
        };
        for page in held {
            self.pool.free(page).unwrap();
        }
        self.checker.agrees_with(&self.mem);
        assert_eq!(
            self.pool.used(),
            self.root_pages + self.tables(),
            "no page is lost"
        );
        (result, if result.is_ok() { short } else { 0 }, taken)
    }

    /// How many tables there are beside the root.
    pub(super) fn tables(&self) -> usize {
        self.walker.tables(&self.mem).len()
    }

    /// How many bytes the descriptor that maps `address` maps.
    pub(super) fn granule(&self, address: u64) -> Option<u64> {
        self.walker
            .translate(&self.mem, address)
            .ok()
            .map(|translation| translation.bytes)
    }

    /// The output address of `address`, on which the walker and the lookup agree.
    pub(super) fn output(&self, address: u64) -> Option<u64> {
        let walked = self
            .walker
            .translate(&self.mem, address)
            .ok()
            .map(|found| found.pa);
        assert_eq!(
            T::lookup(self, address).map(|(pa, _)| pa.0),
            walked,
            "{address:#x}"
        );
        walked
    }

    /// The steps of an edit that must succeed, without what the machine executes for them.
    pub(super) fn steps(
        &mut self,
        edit: impl FnOnce(&mut Self) -> Result<(), MapError>,
    ) -> Vec<Step> {
        let mut steps = self.all_steps(edit);
        steps.retain(|step| !step.is_instruction());
        steps
    }

    /// All steps of an edit that must succeed.
    pub(super) fn all_steps(
        &mut self,
        edit: impl FnOnce(&mut Self) -> Result<(), MapError>,
    ) -> Vec<Step> {
        self.mem.trace.take();
        edit(self).unwrap();
        let steps = self.mem.trace.take();
        self.check(&steps);
        steps
    }

    fn check(&mut self, steps: &[Step]) {
        if let Err(violation) = self.checker.edit(steps) {
            panic!("{violation}: {steps:#x?}");
        }
    }
}
