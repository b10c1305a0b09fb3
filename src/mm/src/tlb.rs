// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tables' editor asks of the translation lookaside buffers, and the instructions that do
//! it.
//!
//! The sequences are here rather than beside the instructions, so that the trace checker sees what
//! the firmware executes: [`Instructions`] is the machine, or a recorder.

use crate::attrs::Space;

/// A stage of translation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// The EL2&0 regime, of S-EL2 itself or of a partition at S-EL0: virtual to physical addresses.
    One,
    /// A partition's stage 2: intermediate physical to physical addresses.
    Two,
}

/// A range of input addresses of which nothing may stay cached, neither translations nor
/// intermediate walk steps. Entries are those of the VMID or ASID to which the tables belong: the
/// implementation knows it, and a VMID must be in VTTBR_EL2 (`DECISIONS.md` 28).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Invalidation {
    /// The stage.
    pub stage: Stage,
    /// Stage 2: the space of the input addresses (the NS bit of the operand). Stage 1: secure.
    pub space: Space,
    /// The first address: an IPA, or a whole virtual address including its upper bits.
    pub start: u64,
    /// The length in bytes, a multiple of `stride`.
    pub bytes: u64,
    /// The size in bytes of the smallest entry removed in the range: invalidating one address in
    /// each `stride` bytes from `start` on is enough.
    pub stride: u64,
}

/// Barriers and invalidations.
pub trait Maintenance {
    /// Orders earlier table writes before later accesses and table walks of all cores. It is called
    /// after new valid descriptors have been written, and before a table that was filled is linked
    /// into a tree that may be in use.
    fn publish(&mut self);

    /// Makes earlier table writes visible to table walks, invalidates on all cores, and returns
    /// when that is complete. It is called after descriptors have been made invalid, before others
    /// take their place and before tables that they pointed to are reused.
    fn invalidate(&mut self, invalidation: Invalidation);
}

/// For tables that no core uses yet: nothing can be cached, and whoever puts the tables to use
/// publishes them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Unused;

impl Maintenance for Unused {
    fn publish(&mut self) {}
    fn invalidate(&mut self, _: Invalidation) {}
}

/// A barrier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Barrier {
    /// DSB ISHST: earlier writes are seen by later table walks of all cores.
    Stores,
    /// DSB ISH: earlier writes are seen, and earlier TLB invalidations are complete, on all cores.
    All,
    /// ISB: this core's later instructions see what is complete, and its system registers.
    Instructions,
}

/// A TLB invalidation on all cores of the inner shareable domain. Operands are as the instruction
/// takes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tlbi {
    /// TLBI VAE2IS: stage 1 of EL2&0, one address; ASID in bits [63:48], VA[55:12] in [43:0].
    Va(u64),
    /// TLBI ALLE2IS: stage 1 of EL2&0, everything.
    AllEl2,
    /// TLBI IPAS2E1IS: stage 2 of the loaded VMID, one IPA; NS in bit 63, IPA[51:12] in [39:0].
    Ipa(u64),
    /// TLBI VMALLE1IS: stage 1, and combined entries, of the loaded VMID.
    StageOne,
    /// TLBI VMALLS12E1IS: both stages of the loaded VMID.
    BothStages,
    /// TLBI ALLE1IS: both stages of all VMIDs.
    AllEl1,
}

/// The stage-2 roots of a partition as registers hold them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Roots {
    /// VTTBR_EL2: the non-secure root, the VMID in bits [63:48].
    pub vttbr: u64,
    /// VSTTBR_EL2: the secure root.
    pub vsttbr: u64,
}

/// What keeps TLBs in step with tables.
pub trait Instructions {
    /// Executes a barrier.
    fn barrier(&mut self, barrier: Barrier);
    /// Executes an invalidation.
    fn tlbi(&mut self, operation: Tlbi);
    /// What VTTBR_EL2 and VSTTBR_EL2 hold.
    fn roots(&self) -> Roots;
    /// Writes VTTBR_EL2 and VSTTBR_EL2. No lower level runs until those of the partition that is to
    /// run are back.
    fn load_roots(&mut self, roots: Roots);
}

/// Beyond this many operations, everything of the VMID or regime is invalidated instead.
const MANY: u64 = 64;
/// Bit 63 of the operand of [`Tlbi::Ipa`]: the address is in the non-secure IPA space (bug class 59).
const NON_SECURE: u64 = 1 << 63;
/// The operand's address field: bits [55:12] of an address in [43:0].
const ADDRESS: u64 = 0xfff_ffff_ffff;
/// Where the operand's address starts in an address.
const ADDRESS_SHIFT: u32 = 12;
/// Where the operand's ASID starts.
const ASID_SHIFT: u32 = 48;

/// The operands for `what`, unless they are too many.
fn operands(what: &Invalidation) -> Option<impl Iterator<Item = u64> + use<>> {
    let (start, stride) = (what.start, what.stride);
    let count = what.bytes.checked_div(stride)?;
    (count <= MANY).then(|| {
        (0..count).map(move |step| {
            let address = start.wrapping_add(step.wrapping_mul(stride));
            address.unbounded_shr(ADDRESS_SHIFT) & ADDRESS
        })
    })
}

/// [`Maintenance::publish`] of all tables.
#[inline]
pub fn publish(machine: &mut (impl Instructions + ?Sized)) {
    machine.barrier(Barrier::Stores);
    machine.barrier(Barrier::Instructions);
}

/// [`Maintenance::invalidate`] of stage 1: of S-EL2's own, whose entries are global, with `asid` 0;
/// of a partition at S-EL0 with its ASID.
#[inline]
pub fn invalidate_stage_one(
    machine: &mut (impl Instructions + ?Sized),
    asid: u16,
    what: Invalidation,
) {
    let asid = u64::from(asid).unbounded_shl(ASID_SHIFT);
    machine.barrier(Barrier::Stores);
    match operands(&what) {
        Some(operands) => {
            for operand in operands {
                machine.tlbi(Tlbi::Va(operand | asid));
            }
        }
        None => machine.tlbi(Tlbi::AllEl2),
    }
    machine.barrier(Barrier::All);
    machine.barrier(Barrier::Instructions);
}

/// [`Maintenance::invalidate`] of the stage 2 of the partition whose roots are `roots`: they are
/// loaded while its VMID is needed (`DECISIONS.md` 28), and those that were loaded come back.
#[inline]
pub fn invalidate_stage_two(
    machine: &mut (impl Instructions + ?Sized),
    roots: Roots,
    what: Invalidation,
) {
    let space = match what.space {
        Space::Secure => 0,
        Space::NonSecure => NON_SECURE,
    };
    with_roots(machine, roots, |machine| match operands(&what) {
        Some(operands) => {
            for operand in operands {
                machine.tlbi(Tlbi::Ipa(operand | space));
            }
            // Combined entries hold stage-2 results too (W9).
            machine.barrier(Barrier::All);
            machine.tlbi(Tlbi::StageOne);
        }
        None => machine.tlbi(Tlbi::BothStages),
    });
}

/// Invalidates everything of the VMID in `roots`, which from now on may stand for other tables (X3).
#[inline]
pub fn invalidate_vmid(machine: &mut (impl Instructions + ?Sized), roots: Roots) {
    with_roots(machine, roots, |machine| machine.tlbi(Tlbi::BothStages));
}

/// Invalidates everything of all partitions at S-EL1: all VMIDs may stand for other tables (X3).
#[inline]
pub fn invalidate_all_vmids(machine: &mut (impl Instructions + ?Sized)) {
    machine.barrier(Barrier::Stores);
    machine.tlbi(Tlbi::AllEl1);
    machine.barrier(Barrier::All);
    machine.barrier(Barrier::Instructions);
}

/// Runs `invalidate` with `roots` loaded, after earlier writes are seen; returns when it is complete.
fn with_roots<I: Instructions + ?Sized>(
    machine: &mut I,
    roots: Roots,
    invalidate: impl FnOnce(&mut I),
) {
    let loaded = machine.roots();
    machine.load_roots(roots);
    machine.barrier(Barrier::Instructions);
    machine.barrier(Barrier::Stores);
    invalidate(machine);
    machine.barrier(Barrier::All);
    machine.load_roots(loaded);
    machine.barrier(Barrier::Instructions);
}
