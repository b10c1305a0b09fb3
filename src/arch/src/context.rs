// SPDX-License-Identifier: MIT OR Apache-2.0
//! The saved state of an execution context, with the EL1 registers that a partition or the normal world
//! must get back (DECISIONS 1 and 2).
//!
//! [`El1State`] and the other banks are made from the one table ([`bulkhead_core::system_state`]), and so
//! are their save and restore routines: straight lines of two registers at a time. A register that is in
//! the table cannot be saved and not restored.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use bulkhead_abi::Registers;
use bulkhead_core::hardware::VcpuContext;

use crate::fp::FpState;
use crate::pstate;
use crate::timer;

macro_rules! register_banks {
    ($(
        $(#[$doc:meta])*
        $bank:ident, $save:ident, $restore:ident, $presence:ident:
        $((
            $a:ident: $a_name:literal = $a_code:literal, $($a_rest:expr),*;
            $b:ident: $b_name:literal = $b_code:literal, $($b_rest:expr),*
        ))*
    )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        #[repr(C)]
        pub struct $bank {
            $(
                #[doc = $a_name]
                pub $a: u64,
                #[doc = $b_name]
                pub $b: u64,
            )*
        }

        impl $bank {
            /// A bank whose registers `next` makes, one after the other.
            pub fn from_fn(mut next: impl FnMut() -> u64) -> Self {
                Self { $($a: next(), $b: next()),* }
            }
        }

        #[unsafe(naked)]
        unsafe extern "C" fn $save(_to: *mut $bank) {
            naked_asm!(
                $(
                    concat!("mrs x1, ", $a_code),
                    concat!("mrs x2, ", $b_code),
                    "stp x1, x2, [x0], #16",
                )*
                "ret",
            )
        }

        #[unsafe(naked)]
        unsafe extern "C" fn $restore(_from: *const $bank) {
            naked_asm!(
                $(
                    "ldp x1, x2, [x0], #16",
                    concat!("msr ", $a_code, ", x1"),
                    concat!("msr ", $b_code, ", x2"),
                )*
                "ret",
            )
        }
    )* };
}

bulkhead_core::system_state!(register_banks);

/// Which optional banks are switched: what the machine has and EL3 allows (DECISIONS 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Banks {
    /// [`PointerKeys`].
    pub pointer_keys: bool,
    /// [`TagState`].
    pub tags: bool,
}

/// All that a context has in EL1's registers while it is loaded.
#[derive(Clone, Debug, Default)]
pub struct SystemState {
    /// Always switched.
    pub el1: El1State,
    /// Switched where used.
    pub keys: PointerKeys,
    /// Switched where used.
    pub tags: TagState,
}

impl SystemState {
    /// SCTLR_EL1 of a context that has not run: its RES1 bits, MMU and caches off.
    const SCTLR_RESET: u64 = 0x30d0_0980;

    /// CPACR_EL1 of a context that has not run: FP and Advanced SIMD are usable at once, as
    /// partitions in the field expect (COMPATIBILITY.md).
    const CPACR_RESET: u64 = 0b11 << 20;

    /// VSESR_EL2 of every context: its SErrors, which Bulkhead signals, say nothing of their cause (IDS).
    const VSESR: u64 = 1 << 24;

    /// The state in which a context of a partition with these keys starts.
    pub fn reset(keys: &PointerKeys) -> Self {
        let el1 = El1State {
            sctlr: Self::SCTLR_RESET,
            cpacr: Self::CPACR_RESET,
            vsesr: Self::VSESR,
            ..El1State::default()
        };
        Self {
            el1,
            keys: keys.clone(),
            tags: TagState::default(),
        }
    }

    /// Fills `self` from this core's registers.
    #[inline]
    pub fn save(&mut self, banks: Banks) {
        // SAFETY: the routines read registers that exist (the optional ones by `banks`) and write
        // the bank that they get, whose layout the same table makes.
        unsafe {
            save_el1(&mut self.el1);
            if banks.pointer_keys {
                save_keys(&mut self.keys);
            }
            if banks.tags {
                save_tags(&mut self.tags);
            }
        }
    }

    /// Puts `self` into this core's registers, for the next entry of EL1.
    #[inline]
    pub fn restore(&self, banks: Banks) {
        // SAFETY: as in `save`; the registers govern EL1 and EL0 only, which do not run now, and S-EL2
        // does not use them.
        unsafe {
            restore_el1(&self.el1);
            if banks.pointer_keys {
                restore_keys(&self.keys);
            }
            if banks.tags {
                restore_tags(&self.tags);
            }
        }
    }
}

/// The translation of a partition's addresses: what its stage-2 roots look like in registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageTwo {
    /// VTTBR_EL2: the root of the non-secure IPA space, and the VMID of both.
    pub vttbr: u64,
    /// VSTTBR_EL2: the root of the secure IPA space.
    pub vsttbr: u64,
    /// VTCR_EL2.
    pub vtcr: u64,
    /// VSTCR_EL2.
    pub vstcr: u64,
}

/// How the addresses of a partition are translated.
#[derive(Clone, Copy, Debug)]
pub enum Translation {
    /// S-EL1: two stage-2 roots.
    StageTwo(StageTwo),
    /// S-EL0: TTBR0_EL2, root and ASID.
    El0(u64),
}

/// The saved state of an execution context.
///
/// The general-purpose registers, PC and PSTATE are saved and restored at each exit and entry; the
/// rest lies in the core's registers while the context is loaded there.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    pub(crate) registers: Registers,
    pub(crate) pc: u64,
    pub(crate) spsr: u64,
    pub(crate) system: SystemState,
    pub(crate) stage_two: StageTwo,
    /// TTBR0_EL2 while it runs, at S-EL0; zero at S-EL1.
    pub(crate) ttbr0: u64,
    pub(crate) vmpidr: u64,
    /// CNTVOFF_EL2.
    pub(crate) counter_offset: u64,
    /// Whether S-EL2 has masked its EL1 virtual timer, which had fired.
    pub(crate) timer_masked: bool,
    /// Whether a virtual SError is pending, as of when it left its core, or of its last SError.
    pub(crate) serror: bool,
    pub(crate) fp: FpState,
    /// What [`PointerKeys`] hold when it starts.
    first_keys: PointerKeys,
    /// Where the partition's virtual counter starts; `None` if it is the physical one.
    epoch: Option<&'static Epoch>,
}

/// The physical counter's value at which a partition started, once it has: all its contexts have one virtual
/// counter.
#[derive(Debug, Default)]
pub struct Epoch(AtomicU64);

impl Epoch {
    /// The start, which is now for the first who asks.
    fn get(&self) -> u64 {
        let now = timer::now();
        let first = (self.0).compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        first.map_or_else(|start| start, |_| now)
    }
}

pub(crate) const PC: usize = offset_of!(Context, pc);
const _: () = assert!(
    offset_of!(Context, spsr) == PC + 8,
    "pc and spsr are saved as a pair"
);

/// PSTATE at entry: EL1h, all exceptions masked (B-56).
const SPSR_RESET: u64 = 0x3c5;
/// PSTATE at entry at S-EL0: EL0t. S-EL2 is its host, whose exceptions PSTATE would mask: none are.
const SPSR_RESET_EL0: u64 = 0;
/// BTYPE, the single-step state and nothing else.
const SPSR_BTYPE: u64 = 0b11 << 10;
const SPSR_SS: u64 = 1 << 21;
/// MPIDR_EL1 bit 31 reads one.
const VMPIDR_RES1: u64 = 1 << 31;

impl Context {
    /// A context that has not run, of the execution context with index `vcpu`, whose addresses are
    /// translated by `translation`, whose pointers are signed with `keys` unless it sets others (L6), and whose virtual
    /// counter starts at `epoch` (F-13).
    /// [`VcpuContext::reset`] gives it an entry point.
    pub fn new(
        vcpu: u16,
        translation: Translation,
        keys: PointerKeys,
        epoch: Option<&'static Epoch>,
    ) -> Self {
        let (stage_two, ttbr0) = match translation {
            Translation::StageTwo(stage_two) => (stage_two, 0),
            Translation::El0(ttbr0) => (StageTwo::default(), ttbr0),
        };
        Self {
            registers: Registers::ZERO,
            pc: 0,
            spsr: SPSR_RESET,
            system: SystemState::reset(&keys),
            stage_two,
            ttbr0,
            vmpidr: VMPIDR_RES1 | u64::from(vcpu),
            counter_offset: 0,
            timer_masked: false,
            serror: false,
            fp: FpState::default(),
            first_keys: keys,
            epoch,
        }
    }

    /// Whether it runs at S-EL0 of S-EL2's own regime, without S-EL1.
    #[inline]
    pub(crate) fn is_el0(&self) -> bool {
        self.ttbr0 != 0
    }

    /// PSTATE at its last exit.
    pub fn pstate(&self) -> u64 {
        self.spsr
    }

    /// Steps over a trapped T32 instruction of 2 bytes at EL0, which may be in an IT block.
    pub fn skip_halfword(&mut self) {
        self.pc = self.pc.wrapping_add(2);
        self.spsr = pstate::behind_aarch32_instruction(self.spsr) & !SPSR_SS;
    }
}

impl VcpuContext for Context {
    #[inline]
    fn registers(&self) -> &Registers {
        &self.registers
    }

    #[inline]
    fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    fn pc(&self) -> u64 {
        self.pc
    }

    fn skip_instruction(&mut self) {
        self.pc = self.pc.wrapping_add(4);
        self.spsr &= !(SPSR_BTYPE | SPSR_SS);
    }

    fn step_back(&mut self) {
        self.pc = self.pc.wrapping_sub(4);
    }

    fn has_serror(&self) -> bool {
        self.serror
    }

    fn counter_offset(&self) -> u64 {
        self.counter_offset
    }

    fn reset(&mut self, entry: u64) {
        self.registers = Registers::ZERO;
        self.pc = entry;
        self.spsr = match self.is_el0() {
            true => SPSR_RESET_EL0,
            false => SPSR_RESET,
        };
        self.system = SystemState::reset(&self.first_keys);
        self.counter_offset = self.epoch.map_or(0, Epoch::get);
        (self.timer_masked, self.serror) = (false, false);
        self.fp = FpState::default();
    }
}
