// SPDX-License-Identifier: MIT OR Apache-2.0
//! The world switch: entering a partition is a function that returns why it stopped.
//!
//! What moves when (DESIGN.md section 3, lazy switching):
//!
//! | state | moves |
//! |---|---|
//! | general-purpose registers, PC, PSTATE | at each entry and exit of a partition |
//! | EL1 and EL0 system registers, stage 2, priority mask | when another context, or the normal world, really runs |
//! | FP | on a partition's first use; back before the normal world runs |
//!
//! A call of the normal world that Bulkhead answers by itself moves none of them.

use core::arch::naked_asm;

use bulkhead_core::event::{Event, Fault, FaultKind};
use bulkhead_core::hardware::VcpuContext;
use bulkhead_core::virtual_interrupt::Lines;

use crate::context::{Banks, Context, PC, SystemState};
use crate::entry::{self, SCTLR_FINAL, SCTLR_KEYS};
use crate::features::Features;
use crate::fp::Fp;
use crate::gicv3::Interface;
use crate::syndrome::{Exception, Exit, Syndrome};
use crate::sysreg::{self, CNTHCTL, HCR_EL2, MDCR_EL2, SCTLR, read};
use crate::timer;

/// Where the vectors find the context: [sp] plus this, when a lower level runs.
pub(crate) const FRAME_CONTEXT: usize = 96;
const FRAME_SIZE: usize = 112;

/// What the vectors say: see `lower` there.
const SYNCHRONOUS: u64 = 0;
const IRQ: u64 = 1;
const FIQ: u64 = 2;
const SERROR: u64 = 3;
/// What [`run_with_virtual_timer`] says besides.
const VIRTUAL_TIMER: u64 = 4;

/// Runs a lower level with the general-purpose state of `context` until an exception.
///
/// # Safety
/// The rest of the context is loaded, and stage 2 keeps the lower level off Bulkhead's memory.
#[unsafe(naked)]
unsafe extern "C" fn run(_context: *mut Context) -> u64 {
    naked_asm!(
        "stp x29, x30, [sp, #-{frame_size}]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "str x0, [sp, #{frame_context}]",
        "ldp x2, x3, [x0, #{pc}]",
        "msr elr_el2, x2",
        "msr spsr_el2, x3",
        "ldp x2, x3, [x0, #16]",
        "ldp x4, x5, [x0, #32]",
        "ldp x6, x7, [x0, #48]",
        "ldp x8, x9, [x0, #64]",
        "ldp x10, x11, [x0, #80]",
        "ldp x12, x13, [x0, #96]",
        "ldp x14, x15, [x0, #112]",
        "ldp x16, x17, [x0, #128]",
        "ldp x18, x19, [x0, #144]",
        "ldp x20, x21, [x0, #160]",
        "ldp x22, x23, [x0, #176]",
        "ldp x24, x25, [x0, #192]",
        "ldp x26, x27, [x0, #208]",
        "ldp x28, x29, [x0, #224]",
        "ldr x30, [x0, #240]",
        "ldp x0, x1, [x0]",
        "eret",
        // No speculation past the return.
        "dsb nsh",
        "isb",
        // The vectors come here: x0 = kind, x1 = context.
        ".global bulkhead_leave",
        "bulkhead_leave:",
        "mrs x2, elr_el2",
        "mrs x3, spsr_el2",
        "stp x2, x3, [x1, #{pc}]",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp x29, x30, [sp], #{frame_size}",
        "ret",
        frame_size = const FRAME_SIZE,
        frame_context = const FRAME_CONTEXT,
        pc = const PC,
    )
}

/// Runs the loaded `context` on a machine where its EL1 virtual timer does not trap (DECISIONS 26).
///
/// The timer's interrupt is the normal world's, who may have disabled it: S-EL2's own timer fires with it, and no
/// exit comes before it. It is masked when it has fired. What the partition sets and does not leave this core
/// for, by a call, WFI or any interrupt, counts from then on at the latest.
#[inline]
fn run_with_virtual_timer(context: &mut Context) -> u64 {
    let kind = match timer::loaded_virtual_deadline(context.counter_offset) {
        // SAFETY: the context is loaded, with the stage 2 that was made for its partition.
        None => unsafe { run(context) },
        Some(due) => run_until(context, due),
    };
    if timer::virtual_fired() {
        return virtual_timer_fired(context, kind);
    }
    kind
}

/// Runs the loaded `context` until `due` at most.
#[cold]
#[inline(never)]
fn run_until(context: &mut Context, due: u64) -> u64 {
    let own = timer::deadline();
    if own.is_none_or(|own| due < own) {
        timer::set_deadline(Some(due));
    }
    // SAFETY: the context is loaded, with the stage 2 that was made for its partition.
    let kind = unsafe { run(context) };
    timer::set_deadline(own);
    kind
}

/// The EL1 virtual timer of the loaded `context` had fired when the run ended in `kind`, which comes again.
#[cold]
#[inline(never)]
fn virtual_timer_fired(context: &mut Context, kind: u64) -> u64 {
    if kind == SERROR {
        return kind;
    }
    timer::mask_virtual();
    context.timer_masked = true;
    if kind == SYNCHRONOUS && read!("esr_el2") >> 26 & 0x3f == EC_HVC {
        // Whatever else traps leaves PC where it is.
        context.step_back();
    }
    VIRTUAL_TIMER
}

/// A core's registers below S-EL2: who has them, and the way in and out.
#[derive(Debug)]
pub struct Cpu {
    features: Features,
    /// The root of the lower half while no partition at S-EL0 runs, which has no entries.
    empty: u64,
    /// HCR_EL2 without virtual interrupts.
    configuration: u64,
    banks: Banks,
    /// The interrupt interface of the core.
    pub interface: Interface,
    /// Whose EL1 state the core's registers hold.
    loaded: Loaded,
    /// Whether HCR_EL2.VSE was set for the loaded context, or the next one.
    serror: bool,
    normal_world: SystemState,
    fp: Fp,
}

/// Whose EL1 state is in the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loaded {
    /// The normal world's.
    NormalWorld,
    /// That of the context at this address, which is only compared.
    Context(usize),
    /// Nobody's: all are saved.
    Nobody,
}

/// HCR_EL2 while partitions may run, without virtual interrupts: no entry writes it.
fn hypervisor_configuration(features: &Features) -> u64 {
    let value = HCR_EL2::E2H.val(1)
        + HCR_EL2::RW.val(1)
        + HCR_EL2::VM.val(1)
        + HCR_EL2::PTW.val(1)
        + HCR_EL2::AMO.val(1)
        + HCR_EL2::IMO.val(1)
        + HCR_EL2::FMO.val(1)
        + HCR_EL2::FB.val(1)
        + HCR_EL2::BSU.val(1)
        + HCR_EL2::TID3.val(1)
        + HCR_EL2::TSC.val(1)
        + HCR_EL2::TIDCP.val(1)
        + HCR_EL2::TACR.val(1)
        + HCR_EL2::TWI.val(1)
        + HCR_EL2::TSW.val(1)
        + HCR_EL2::TLOR.val(1)
        + HCR_EL2::TERR.val(1)
        + HCR_EL2::TEA.val(1)
        + HCR_EL2::FWB.val(features.forced_write_back.into())
        + HCR_EL2::API.val(features.pointer_authentication.into())
        + HCR_EL2::APK.val(features.pointer_authentication.into())
        + HCR_EL2::ATA.val(features.memory_tagging.into());
    value.value
}

/// CNTHCTL_EL2: the EL1 physical timer traps and its counter does not (C-19); the EL1 virtual timer traps where it
/// can (DECISIONS 26). At S-EL0 below S-EL2 both timers trap and the counters do not.
fn timer_configuration(features: &Features) -> u64 {
    let value = CNTHCTL::EL0PCTEN.val(1)
        + CNTHCTL::EL0VCTEN.val(1)
        + CNTHCTL::EL1PCTEN.val(1)
        + CNTHCTL::EL1TVT.val(features.ecv.into());
    value.value
}

/// SCTLR_EL2 while a partition at S-EL0 runs: its pointer authentication, as EL3 allows it; WFI traps.
fn el0_control(features: &Features) -> u64 {
    let value = SCTLR::SA0.val(1)
        + SCTLR::DZE.val(1)
        + SCTLR::UCT.val(1)
        + SCTLR::NTWE.val(1)
        + SCTLR::UCI.val(1);
    let keys = match features.pointer_authentication {
        true => SCTLR_KEYS,
        false => 0,
    };
    SCTLR_FINAL | value.value | keys
}

/// MDCR_EL2: debug, trace, profiling and performance monitors trap.
fn debug_configuration(features: &Features) -> u64 {
    let value = MDCR_EL2::TDRA.val(1)
        + MDCR_EL2::TDOSA.val(1)
        + MDCR_EL2::TDA.val(1)
        + MDCR_EL2::TPM.val(1)
        + MDCR_EL2::TPMCR.val(1)
        + MDCR_EL2::TPMS.val(1)
        + MDCR_EL2::TTRF.val(1)
        + MDCR_EL2::HPMN.val(features.counters.into());
    value.value
}

impl Cpu {
    /// Takes over this core, whose registers hold what the normal world left or will start with.
    /// `vectors` has [`vector_state_size`](crate::fp::vector_state_size) bytes; `empty` is the physical address of a
    /// page of zeros, for good.
    pub fn new(
        features: Features,
        interface: Interface,
        vectors: &'static mut [u8],
        empty: u64,
    ) -> Self {
        let fp = Fp::new(&features, vectors);
        let identity = read!("midr_el1");
        let configuration = hypervisor_configuration(&features);
        // SAFETY: the values confine lower levels; S-EL2 itself keeps E2H, and its memory does not
        // depend on any of them.
        unsafe {
            sysreg::write!("hcr_el2", configuration);
            sysreg::write!("mdcr_el2", debug_configuration(&features));
            sysreg::write!("cnthctl_el2", timer_configuration(&features));
            sysreg::write!("cntvoff_el2", 0);
            sysreg::write!("vpidr_el2", identity);
            sysreg::write!("hstr_el2", 0);
            if features.hcrx {
                sysreg::write!("S3_4_C1_C2_2", 0);
            }
            if features.fine_grained_traps {
                // HFGRTR, HFGWTR, HFGITR, HDFGRTR, HDFGWTR: only what traps when its bit is zero.
                sysreg::write!("S3_4_C1_C1_4", 0);
                sysreg::write!("S3_4_C1_C1_5", 0);
                sysreg::write!("S3_4_C1_C1_6", 0);
                sysreg::write!("S3_4_C3_C1_4", 0);
                sysreg::write!("S3_4_C3_C1_5", 0);
            }
        }
        sysreg::isb();
        entry::open_lower_half(empty, features.e0pd);
        Self {
            features,
            empty,
            configuration,
            banks: Banks {
                pointer_keys: features.pointer_authentication,
                tags: features.memory_tagging,
            },
            interface,
            loaded: Loaded::NormalWorld,
            serror: false,
            normal_world: SystemState::default(),
            fp,
        }
    }

    /// Runs `context` until something reaches S-EL2 that concerns the caller. A context that was
    /// loaded before has been [parked](Self::park).
    #[inline]
    pub fn enter(&mut self, context: &mut Context) -> Exit {
        self.load(context);
        loop {
            let kind = if context.is_el0() {
                self.run_as_host(context)
            } else if self.features.ecv {
                // SAFETY: the context is loaded, with the stage 2 that was made for its partition.
                unsafe { run(context) }
            } else {
                run_with_virtual_timer(context)
            };
            if kind != SYNCHRONOUS {
                // Before it is acknowledged; after a call, parking does it.
                self.interface.load();
            }
            match kind {
                SYNCHRONOUS => {
                    let esr = read!("esr_el2");
                    if esr >> 26 & 0x3f == EC_FP && self.features.fp && !self.fp.is_given() {
                        self.fp.give(&context.fp);
                        continue;
                    }
                    return Exit::Synchronous(Syndrome {
                        esr,
                        far: read!("far_el2"),
                        hpfar: read!("hpfar_el2"),
                        level: Exception::of(context.spsr),
                    });
                }
                IRQ => return Exit::Irq,
                FIQ => return Exit::Fiq,
                VIRTUAL_TIMER => return Exit::VirtualTimer,
                _ => {
                    context.serror = self.serror_is_pending();
                    return Exit::SError(read!("esr_el2"));
                }
            }
        }
    }

    /// Runs the loaded `context` of a partition at S-EL0: S-EL2 is its host (TGE), and its tables are the lower half.
    /// Both end with the run: what TLB maintenance and address translation mean depends on TGE.
    #[cold]
    #[inline(never)]
    fn run_as_host(&self, context: &mut Context) -> u64 {
        let hcr = read!("hcr_el2");
        // SAFETY: the upper half stays as it is. The lower half is the partition's, whose pages S-EL2 never executes
        // (PXN) and does not name. The context is loaded.
        unsafe {
            sysreg::write!("ttbr0_el2", context.ttbr0);
            sysreg::write!("sctlr_el2", el0_control(&self.features));
            sysreg::write!("hcr_el2", hcr | HCR_EL2::TGE.val(1).value);
            let kind = run(context);
            sysreg::write!("hcr_el2", hcr);
            sysreg::write!("sctlr_el2", SCTLR_FINAL);
            sysreg::write!("ttbr0_el2", self.empty);
            sysreg::isb();
            kind
        }
    }

    #[inline]
    fn load(&mut self, context: &Context) {
        let address = core::ptr::from_ref(context).addr();
        match self.loaded {
            Loaded::Context(loaded) if loaded == address => return,
            Loaded::Context(_) => panic!("a context is entered while another one is loaded"),
            Loaded::NormalWorld => {
                self.normal_world.save(self.banks);
                self.interface.leave_normal_world();
            }
            Loaded::Nobody => {}
        }
        context.system.restore(self.banks);
        // SAFETY: these are the roots that were built for the context's partition.
        unsafe {
            sysreg::write!("S3_4_C2_C6_2", context.stage_two.vstcr);
            sysreg::write!("vtcr_el2", context.stage_two.vtcr);
            sysreg::write!("S3_4_C2_C6_0", context.stage_two.vsttbr);
            sysreg::write!("vttbr_el2", context.stage_two.vttbr);
            sysreg::write!("vmpidr_el2", context.vmpidr);
            sysreg::write!("cntvoff_el2", context.counter_offset);
        }
        self.loaded = Loaded::Context(address);
        if context.serror {
            self.signal_serror();
        }
    }

    /// Signals these virtual interrupts to whatever lower level runs next, until others are. A virtual SError is
    /// for the context that is entered next; it stays pending there until that takes it.
    #[cold]
    #[inline(never)]
    pub fn signal(&mut self, lines: Lines) {
        let serror = lines.contains(Lines::SERROR);
        self.serror |= serror;
        let value = HCR_EL2::VI.val(lines.contains(Lines::IRQ).into())
            + HCR_EL2::VF.val(lines.contains(Lines::FIQ).into())
            + HCR_EL2::VSE.val(serror.into());
        // The machine clears VSE when the SError is taken.
        let pending = read!("hcr_el2") & HCR_EL2::VSE.val(1).value;
        let value = self.configuration | value.value | pending;
        // SAFETY: as in `new`; virtual interrupts concern lower levels only.
        unsafe { sysreg::write!("hcr_el2", value) }
    }

    /// The loaded context leaves: a virtual SError that it has not taken waits until it is loaded again.
    #[cold]
    #[inline(never)]
    fn put_off_serror(&mut self, context: &mut Context) {
        context.serror = self.serror_is_pending();
        self.serror = false;
        let hcr = read!("hcr_el2") & !HCR_EL2::VSE.val(1).value;
        // SAFETY: as in `signal`.
        unsafe { sysreg::write!("hcr_el2", hcr) }
    }

    /// Whether the loaded context has a virtual SError that it has not taken: the machine clears HCR_EL2.VSE then.
    fn serror_is_pending(&self) -> bool {
        self.serror && read!("hcr_el2") & HCR_EL2::VSE.val(1).value != 0
    }

    /// The context that was loaded just now has a virtual SError pending.
    #[cold]
    #[inline(never)]
    fn signal_serror(&mut self) {
        self.serror = true;
        let hcr = read!("hcr_el2") | HCR_EL2::VSE.val(1).value;
        // SAFETY: as in `signal`.
        unsafe { sysreg::write!("hcr_el2", hcr) }
    }

    /// The physical counter's value at which the EL1 virtual timer of `context` fires; `None` while it is disabled
    /// or masked, and where it is emulated. The context is loaded here, or on no core.
    #[inline]
    pub fn virtual_timer(&self, context: &Context) -> Option<u64> {
        if self.features.ecv {
            return None;
        }
        if self.is_loaded(context) {
            return timer::loaded_virtual_deadline(context.counter_offset);
        }
        let saved = &context.system.el1;
        timer::virtual_deadline(saved.cntv_ctl, saved.cntv_cval, context.counter_offset)
    }

    /// Masks the EL1 virtual timer of `context`, which has fired: the partition sees IMASK in CNTV_CTL_EL0. The
    /// context is loaded here, or on no core.
    pub fn mask_virtual_timer(&self, context: &mut Context) {
        context.timer_masked = true;
        if self.is_loaded(context) {
            timer::mask_virtual();
        } else {
            context.system.el1.cntv_ctl |= timer::IMASK;
        }
    }

    /// If the EL1 virtual timer of the loaded `context` was masked since it fired, and the partition has set it to
    /// a value that is not reached, it is not masked any more.
    pub fn unmask_virtual_timer(&self, context: &mut Context) {
        if context.timer_masked && self.is_loaded(context) {
            context.timer_masked = !timer::unmask_virtual_if_set_again();
        }
    }

    #[inline]
    fn is_loaded(&self, context: &Context) -> bool {
        self.loaded == Loaded::Context(core::ptr::from_ref(context).addr())
    }

    /// Saves what the core's registers hold of `context`, if anything.
    #[inline]
    pub fn park(&mut self, context: &mut Context) {
        if !self.is_loaded(context) {
            return;
        }
        if self.serror {
            self.put_off_serror(context);
        }
        context.system.save(self.banks);
        self.fp.take(&mut context.fp);
        self.interface.load();
        self.loaded = Loaded::Nobody;
    }

    /// Gives the normal world its registers back, if a partition had them. Whatever context was
    /// loaded has been [parked](Self::park).
    #[inline]
    pub fn return_to_normal_world(&mut self) {
        match self.loaded {
            Loaded::NormalWorld => {}
            Loaded::Context(_) => panic!("the normal world is entered while a context is loaded"),
            Loaded::Nobody => {
                // EL3 gives the normal world its own offset; until then its timer is compared with the counter.
                // SAFETY: the offset concerns lower levels only.
                unsafe { sysreg::write!("cntvoff_el2", 0) }
                self.normal_world.restore(self.banks);
                self.fp.return_to_normal_world();
                self.interface.return_to_normal_world();
                self.loaded = Loaded::NormalWorld;
            }
        }
    }

    /// Whether non-secure interrupts stay pending while partitions run.
    #[inline]
    pub fn mask_non_secure_interrupts(&mut self, mask: bool) {
        self.interface.mask_non_secure(mask);
        if self.loaded != Loaded::NormalWorld {
            self.interface.load();
        }
    }

    /// What the loaded `context` did is undefined to it: it takes the exception, or at S-EL0, where nobody could, it
    /// ends by the event.
    #[cold]
    #[inline(never)]
    pub fn undefined(&mut self, context: &mut Context) -> Option<Event> {
        if !context.is_el0() {
            self.inject_undefined(context);
            return None;
        }
        Some(Event::Fault(Fault {
            kind: FaultKind::Exception,
            syndrome: read!("esr_el2"),
            address: read!("far_el2"),
        }))
    }

    /// Lets the loaded `context` take an Undefined Instruction exception at EL1.
    pub fn inject_undefined(&mut self, context: &mut Context) {
        /// Unknown reason, 32-bit instruction.
        const SYNDROME: u64 = 1 << 25;
        debug_assert!(self.is_loaded(context));
        let sctlr = read!("S3_5_C1_C0_0");
        // SAFETY: the context's own EL1 registers, as an exception to EL1 would set them.
        unsafe {
            sysreg::write!("S3_5_C4_C0_1", context.pc);
            sysreg::write!("S3_5_C4_C0_0", context.spsr);
            sysreg::write!("S3_5_C5_C2_0", SYNDROME);
        }
        context.pc = read!("S3_5_C12_C0_0").wrapping_add(vector_offset(context.spsr));
        context.spsr = exception_pstate(context.spsr, sctlr, &self.features);
    }

    /// The value of general-purpose register `rt` of `context`; 31 is zero.
    pub fn operand(context: &Context, rt: u8) -> u64 {
        context
            .registers()
            .x
            .get(usize::from(rt))
            .copied()
            .unwrap_or(0)
    }
}

/// Cleans and invalidates a line by set and way, as DC CISW does.
pub fn clean_invalidate_set_way(operand: u64) {
    // SAFETY: cleaning before invalidating loses nothing.
    unsafe { core::arch::asm!("dc cisw, {}", "dsb sy", in(reg) operand, options(nostack)) }
}

/// The class of HVC.
const EC_HVC: u64 = 0x16;
/// The class of a trapped FP access.
const EC_FP: u64 = 0x07;

/// The vector of a synchronous exception to EL1 from where `spsr` says.
fn vector_offset(spsr: u64) -> u64 {
    match spsr & 0x1f {
        0b0_0101 => 0x200,
        0b0_0100 => 0x000,
        mode if mode & 0x10 != 0 => 0x600,
        _ => 0x400,
    }
}

/// PSTATE after an exception to EL1 from a PSTATE of `spsr`.
fn exception_pstate(spsr: u64, sctlr: u64, features: &Features) -> u64 {
    const EL1H_DAIF: u64 = 0x3c5;
    /// NZCV and DIT stay.
    const KEPT: u64 = 0xf << 28 | 1 << 24;
    const PAN: u64 = 1 << 22;
    const SSBS: u64 = 1 << 12;
    const TCO: u64 = 1 << 25;
    const SCTLR_SPAN: u64 = 1 << 23;
    const SCTLR_DSSBS: u64 = 1 << 44;
    let mut pstate = EL1H_DAIF | spsr & KEPT;
    if features.pan && (spsr & PAN != 0 || sctlr & SCTLR_SPAN == 0) {
        pstate |= PAN;
    }
    if features.ssbs && sctlr & SCTLR_DSSBS != 0 {
        pstate |= SSBS;
    }
    if features.memory_tagging {
        pstate |= TCO;
    }
    pstate
}
