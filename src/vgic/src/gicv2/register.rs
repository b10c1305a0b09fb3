// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of both frames, as one table.

use super::Size;

/// A frame of registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// GICD.
    Distributor,
    /// GICC.
    CpuInterface,
}

/// How a register may be accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 32 bits.
    Word,
    /// 32 bits, or any of its bytes.
    Bytes,
}

/// A register, or an array of the same kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// GICD_CTLR.
    Control,
    /// GICD_TYPER.
    Type,
    /// GICD_IIDR and GICC_IIDR.
    Implementer,
    /// GICD_IGROUPR.
    Group,
    /// GICD_ISENABLER and, with `false`, GICD_ICENABLER.
    Enable(bool),
    /// GICD_ISPENDR and GICD_ICPENDR.
    Pending(bool),
    /// GICD_ISACTIVER and GICD_ICACTIVER.
    Active(bool),
    /// GICD_IPRIORITYR.
    Priority,
    /// GICD_ITARGETSR.
    Targets,
    /// GICD_ICFGR.
    Configuration,
    /// Reads as zero, and ignores writes.
    Zero,
    /// GICD_SGIR.
    Generate,
    /// GICD_SPENDSGIR and GICD_CPENDSGIR.
    Sources(bool),
    /// GICD_PIDR2.
    Revision,
    /// GICC_CTLR.
    InterfaceControl,
    /// GICC_PMR.
    Mask,
    /// GICC_BPR, or GICC_ABPR of Group 1.
    BinaryPoint(usize),
    /// GICC_IAR, or GICC_AIAR.
    Acknowledge(usize),
    /// GICC_EOIR, or GICC_AEOIR.
    End(usize),
    /// GICC_RPR.
    Running,
    /// GICC_HPPIR, or GICC_AHPPIR.
    Highest(usize),
    /// GICC_APR0, or GICC_NSAPR0.
    ActivePriorities(usize),
    /// GICC_DIR.
    Deactivate,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    /// Its name; `n` stands for the number in an array.
    pub name: &'static str,
    /// Where it is.
    pub frame: Frame,
    /// The offset of the first byte.
    pub offset: u32,
    /// How many registers of 4 bytes there are.
    pub count: u32,
    /// How they may be accessed.
    pub width: Width,
    /// What they do.
    pub kind: Kind,
}

const fn row(
    name: &'static str,
    frame: Frame,
    offset: u32,
    count: u32,
    width: Width,
    kind: Kind,
) -> Register {
    Register {
        name,
        frame,
        offset,
        count,
        width,
        kind,
    }
}

use Frame::{CpuInterface as C, Distributor as D};
use Width::{Bytes, Word};

/// All registers, in the order of their offsets. What is between them is nothing.
pub static REGISTERS: [Register; 39] = [
    row("GICD_CTLR", D, 0x000, 1, Word, Kind::Control),
    row("GICD_TYPER", D, 0x004, 1, Word, Kind::Type),
    row("GICD_IIDR", D, 0x008, 1, Word, Kind::Implementer),
    row("GICD_IGROUPRn", D, 0x080, 32, Word, Kind::Group),
    row("GICD_ISENABLERn", D, 0x100, 32, Word, Kind::Enable(true)),
    row("GICD_ICENABLERn", D, 0x180, 32, Word, Kind::Enable(false)),
    row("GICD_ISPENDRn", D, 0x200, 32, Word, Kind::Pending(true)),
    row("GICD_ICPENDRn", D, 0x280, 32, Word, Kind::Pending(false)),
    row("GICD_ISACTIVERn", D, 0x300, 32, Word, Kind::Active(true)),
    row("GICD_ICACTIVERn", D, 0x380, 32, Word, Kind::Active(false)),
    row("GICD_IPRIORITYRn", D, 0x400, 255, Bytes, Kind::Priority),
    row("GICD_ITARGETSRn", D, 0x800, 255, Bytes, Kind::Targets),
    row("GICD_ICFGRn", D, 0xc00, 64, Word, Kind::Configuration),
    row("GICD_PPISR, GICD_SPISRn", D, 0xd00, 64, Word, Kind::Zero),
    row("GICD_NSACRn", D, 0xe00, 64, Word, Kind::Zero),
    row("GICD_SGIR", D, 0xf00, 1, Word, Kind::Generate),
    row("GICD_CPENDSGIRn", D, 0xf10, 4, Bytes, Kind::Sources(false)),
    row("GICD_SPENDSGIRn", D, 0xf20, 4, Bytes, Kind::Sources(true)),
    row("GICD_PIDR4 to 7, 0, 1", D, 0xfd0, 6, Word, Kind::Zero),
    row("GICD_PIDR2", D, 0xfe8, 1, Word, Kind::Revision),
    row("GICD_PIDR3, GICD_CIDRn", D, 0xfec, 5, Word, Kind::Zero),
    row("GICC_CTLR", C, 0x000, 1, Word, Kind::InterfaceControl),
    row("GICC_PMR", C, 0x004, 1, Word, Kind::Mask),
    row("GICC_BPR", C, 0x008, 1, Word, Kind::BinaryPoint(0)),
    row("GICC_IAR", C, 0x00c, 1, Word, Kind::Acknowledge(0)),
    row("GICC_EOIR", C, 0x010, 1, Word, Kind::End(0)),
    row("GICC_RPR", C, 0x014, 1, Word, Kind::Running),
    row("GICC_HPPIR", C, 0x018, 1, Word, Kind::Highest(0)),
    row("GICC_ABPR", C, 0x01c, 1, Word, Kind::BinaryPoint(1)),
    row("GICC_AIAR", C, 0x020, 1, Word, Kind::Acknowledge(1)),
    row("GICC_AEOIR", C, 0x024, 1, Word, Kind::End(1)),
    row("GICC_AHPPIR", C, 0x028, 1, Word, Kind::Highest(1)),
    row("implementation defined", C, 0x040, 36, Word, Kind::Zero),
    row("GICC_APR0", C, 0x0d0, 1, Word, Kind::ActivePriorities(0)),
    row("GICC_APR1 to 3", C, 0x0d4, 3, Word, Kind::Zero),
    row("GICC_NSAPR0", C, 0x0e0, 1, Word, Kind::ActivePriorities(1)),
    row("GICC_NSAPR1 to 3", C, 0x0e4, 3, Word, Kind::Zero),
    row("GICC_IIDR", C, 0x0fc, 1, Word, Kind::Implementer),
    row("GICC_DIR", C, 0x1000, 1, Word, Kind::Deactivate),
];

/// The register at `offset`, if an access of `size` there is allowed.
pub(super) fn find(frame: Frame, offset: u32, size: Size) -> Option<&'static Register> {
    let found = REGISTERS.iter().find(|register| {
        let end = register.count.saturating_mul(4);
        let into = offset.checked_sub(register.offset);
        register.frame == frame && into.is_some_and(|into| into < end)
    })?;
    let fits = match size {
        Size::Word => offset.is_multiple_of(4),
        Size::Byte => found.width == Bytes,
        Size::Half | Size::Double => false,
    };
    fits.then_some(found)
}
