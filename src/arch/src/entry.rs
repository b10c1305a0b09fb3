// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from EL3 with the MMU off to Rust in the upper half, for the boot core and the others.
//!
//! The stub is the only position-independent code: one page, entered at its physical address, which
//! may be any 4 KiB-aligned one. The boot core builds the *early map*: the image in the upper half
//! page by page, readable, writable and executable, and an identity map of the stub's page alone in
//! the lower half, to turn the MMU on from. Rust replaces the early map by the final one
//! ([`install_map`]); the identity tables stay for cores that come on later and are not in TTBR0_EL2
//! otherwise, but for a core that goes off ([`open_identity_map`]).
//!
//! | core | enters at | x0 | goes to |
//! |---|---|---|---|
//! | boot | first byte of the image | SPMC manifest | `bulkhead_boot(manifest, load_address)` |
//! | others, on CPU_ON | [`secondary_entry`] | – | `bulkhead_secondary(index)` |
//!
//! Secondary cores are told apart by MPIDR, not by what EL3 passes (DECISIONS 16).

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bulkhead_mm::attrs::MAIR_EL2;

use crate::cache;
use crate::layout::{self, IMAGE_BASE, VA_BITS};
use crate::percore::{self, PerCore};
use crate::sysreg::{self, HCR_EL2, SCTLR, TCR};

/// HCR_EL2 while Bulkhead boots; [`switch`](crate::switch) adds what governs partitions.
const HCR_BOOT: u64 = HCR_EL2::E2H.val(1).value | HCR_EL2::RW.val(1).value;

const SCTLR_RES1: u64 = SCTLR::LSMAOE.val(1).value
    | SCTLR::NTLSMD.val(1).value
    | SCTLR::EIS.val(1).value
    | SCTLR::TSCXT.val(1).value
    | SCTLR::EOS.val(1).value
    | SCTLR::SED.val(1).value
    | SCTLR::ITD.val(1).value;

/// SCTLR_EL2 with the MMU on and the early map.
const SCTLR_EARLY: u64 = SCTLR_RES1
    | SCTLR::SA.val(1).value
    | SCTLR::I.val(1).value
    | SCTLR::C.val(1).value
    | SCTLR::M.val(1).value;

/// SCTLR_EL2 with the final map.
pub(crate) const SCTLR_FINAL: u64 = SCTLR_EARLY | SCTLR::WXN.val(1).value;

/// EnIA, EnIB, EnDA, EnDB: pointer authentication at S-EL2. The key registers hold those of whoever ran
/// last there, so that Bulkhead signs nothing (L6); `scripts/elf-scan` sees to it, too.
pub(crate) const SCTLR_KEYS: u64 = SCTLR::ENIA.val(1).value
    | SCTLR::ENIB.val(1).value
    | SCTLR::ENDA.val(1).value
    | SCTLR::ENDB.val(1).value;
const _: () = assert!(SCTLR_FINAL & SCTLR_KEYS == 0);
/// EOS: a return to a lower level synchronises, so that a partition's first signature sees its keys.
const _: () = assert!(SCTLR_FINAL & SCTLR::EOS.val(1).value != 0);

/// TCR_EL2 without the output size, with both halves walked: 48 bits of identity map below.
const TCR_BOTH: u64 = TCR::TG1::KiB4.value
    | TCR::SH1::Inner.value
    | TCR::ORGN1::WriteBack.value
    | TCR::IRGN1::WriteBack.value
    | TCR::T1SZ.val(64 - VA_BITS).value
    | TCR::SH0::Inner.value
    | TCR::ORGN0::WriteBack.value
    | TCR::IRGN0::WriteBack.value
    | TCR::T0SZ.val(16).value;

/// A descriptor that points to the next level's table.
const TABLE: u64 = 0b11;
/// A page of the early map: valid, accessed, inner shareable, normal memory; executable at S-EL2.
const PAGE: u64 = 0b11 | AF | SH_INNER | UXN;
const AF: u64 = 1 << 10;
const SH_INNER: u64 = 0b11 << 8;
const UXN: u64 = 1 << 54;
const READ_ONLY: u64 = 1 << 7;
// The descriptors above have attribute index 0.
const _: () = assert!(MAIR_EL2 & 0xff == 0xff, "attribute 0 is not normal memory");

/// What a core needs before its MMU is on; read with caches off.
#[repr(C, align(64))]
struct Parameters {
    /// The physical address of the final map's root.
    root: AtomicU64,
    /// SCTLR_EL2.
    sctlr: u64,
    /// The virtual address of the [`PerCore`] table.
    cores: AtomicUsize,
    /// Its length.
    core_count: AtomicUsize,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.parameters")]
static BULKHEAD_PARAMETERS: Parameters = Parameters {
    root: AtomicU64::new(0),
    sctlr: SCTLR_FINAL,
    cores: AtomicUsize::new(0),
    core_count: AtomicUsize::new(0),
};

/// The physical address of the image's first byte; set once by the stub.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.load_address")]
static BULKHEAD_LOAD_ADDRESS: AtomicU64 = AtomicU64::new(0);

global_asm!(
    r#"
    .section .text.stub.entry, "ax"

    // The boot core: x0 = SPMC manifest.
    .global bulkhead_entry
bulkhead_entry:
    mov     x20, x0
    bl      bulkhead_sane_el2
    adrp    x19, __image_start

    // What lies in the caches is older than the image in memory.
    mov     x0, x19
    adrp    x1, __image_end
    bl      bulkhead_invalidate

    // The early map. Tables, one page each from x10: identity levels 0 to 3, upper half levels 1 to
    // 3, level 3 of the early window.
    adrp    x10, __early_tables
    adrp    x11, __early_tables_end
    mov     x9, x10
1:  stp     xzr, xzr, [x9], #16
    cmp     x9, x11
    b.lo    1b

    mov     x12, {table}
    add     x13, x10, #0x1000           // identity level 1
    orr     x14, x13, x12
    ubfx    x15, x19, #39, #9
    str     x14, [x10, x15, lsl #3]
    add     x14, x10, #0x2000           // level 2
    orr     x15, x14, x12
    ubfx    x16, x19, #30, #9
    str     x15, [x13, x16, lsl #3]
    add     x15, x10, #0x3000           // level 3
    orr     x16, x15, x12
    ubfx    x17, x19, #21, #9
    str     x16, [x14, x17, lsl #3]
    ldr     x12, ={identity_page}
    orr     x12, x12, x19
    ubfx    x17, x19, #12, #9
    str     x12, [x15, x17, lsl #3]

    mov     x12, {table}
    add     x13, x10, #0x4000           // upper half level 1, entry 0
    add     x14, x10, #0x5000           // level 2, entries 0 and 511
    orr     x15, x14, x12
    str     x15, [x13]
    add     x15, x10, #0x6000           // level 3 of the image
    orr     x16, x15, x12
    str     x16, [x14]
    add     x16, x10, #0x7000           // level 3 of the early window
    orr     x16, x16, x12
    str     x16, [x14, #(511 * 8)]
    ldr     x12, ={early_page}
    orr     x12, x12, x19
    adrp    x16, __image_end
    sub     x16, x16, x19
2:  str     x12, [x15], #8
    add     x12, x12, #0x1000
    subs    x16, x16, #0x1000
    b.hi    2b

    mov     x0, x10
    mov     x1, x11
    bl      bulkhead_invalidate

    add     x1, x10, #0x4000
    ldr     x2, ={sctlr_early}
    ldr     x30, =bulkhead_boot_high
    b       bulkhead_enable_mmu

    // A core that comes on later.
    .global bulkhead_secondary_entry
bulkhead_secondary_entry:
    bl      bulkhead_sane_el2
    adrp    x10, __early_tables
    adrp    x9, {parameters}
    add     x9, x9, :lo12:{parameters}
    ldr     x1, [x9, {root}]
    ldr     x2, [x9, {sctlr}]
    ldr     x30, =bulkhead_secondary_high
    b       bulkhead_enable_mmu

    .section .text.stub, "ax"

    // x10 = identity root, x1 = upper root, x2 = SCTLR_EL2, x30 = virtual address to go on at.
bulkhead_enable_mmu:
    ldr     x3, ={mair}
    msr     mair_el2, x3
    ldr     x3, ={tcr}
    mrs     x4, id_aa64mmfr0_el1
    and     x4, x4, #0xf
    cmp     x4, #5                      // 48 bits; more needs another table format
    mov     x5, #5
    csel    x4, x4, x5, lo
    orr     x3, x3, x4, lsl {ips}
    msr     tcr_el2, x3
    msr     ttbr0_el2, x10
    msr     S3_4_C2_C0_1, x1            // TTBR1_EL2
    ic      iallu
    tlbi    alle2
    tlbi    alle1
    dsb     sy
    isb
    msr     sctlr_el2, x2
    isb
    br      x30

    // EL2 as the code expects it, whatever the last owner left; only x0 to x3 change. A core that is
    // not at EL2 waits for ever.
bulkhead_sane_el2:
    mrs     x3, currentel
    cmp     x3, #(2 << 2)
    b.ne    bulkhead_wait
    msr     daifset, #0xf
    ldr     x3, ={hcr}
    msr     hcr_el2, x3
    isb
    ldr     x3, ={sctlr_off}
    msr     sctlr_el2, x3
    msr     cptr_el2, xzr               // with E2H = 1: FP, SVE and SME trap here too
    msr     cnthctl_el2, xzr
    msr     cntvoff_el2, xzr
    msr     mdcr_el2, xzr
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    msr     tpidr_el2, xzr
    msr     spsel, #1
    isb
    ret

bulkhead_wait:
    wfi
    b       bulkhead_wait

    // Drops the lines of [x0, x1) from the data caches. Only x0, x3 and x4 change.
bulkhead_invalidate:
    mrs     x3, ctr_el0
    ubfx    x3, x3, #16, #4
    mov     x4, #4
    lsl     x3, x4, x3
    sub     x4, x3, #1
    bic     x0, x0, x4
3:  dc      ivac, x0
    add     x0, x0, x3
    cmp     x0, x1
    b.lo    3b
    dsb     sy
    ret

    // Replaces the upper half's root from the identity map: x0 = new root, x1 = SCTLR_EL2,
    // x30 = where to go on, in the upper half. Only x2 changes.
    .global bulkhead_replace_root
bulkhead_replace_root:
    mrs     x2, tcr_el2
    orr     x2, x2, {epd1}
    msr     tcr_el2, x2
    isb
    tlbi    alle2
    dsb     sy
    isb
    msr     S3_4_C2_C0_1, x0            // TTBR1_EL2
    msr     sctlr_el2, x1
    bic     x2, x2, {epd1}
    msr     tcr_el2, x2
    isb
    ret

    .section .text.entry, "ax"

    // In the upper half. x19 = load address, x20 = manifest.
bulkhead_boot_high:
    adrp    x0, __bss_start
    adrp    x1, __bss_end
    add     x1, x1, :lo12:__bss_end
    cmp     x0, x1
    b.hs    2f
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b
2:  adrp    x0, {load_address}
    str     x19, [x0, :lo12:{load_address}]
    ldr     x0, =__stack_top
    mov     sp, x0
    bl      bulkhead_drop_identity_map
    mov     x0, x20
    mov     x1, x19
    mov     x29, xzr
    mov     x30, xzr
    b       bulkhead_boot

    // In the upper half, with the final map.
bulkhead_secondary_high:
    adrp    x9, {parameters}
    add     x9, x9, :lo12:{parameters}
    ldr     x10, [x9, {cores}]
    ldr     x11, [x9, {core_count}]
    mrs     x12, mpidr_el1
    ldr     x13, ={affinity}
    and     x12, x12, x13
    mov     x0, xzr
3:  cmp     x0, x11
    b.hs    4f
    ldr     x13, [x10, {core_mpidr}]
    cmp     x13, x12
    b.eq    5f
    add     x10, x10, {core_size}
    add     x0, x0, #1
    b       3b
    // A core that no manifest names has no SPMC (W8). It keeps the identity map: when it comes on again, it
    // enters with the MMU on (`open_identity_map`).
4:  b       bulkhead_refuse
5:  bl      bulkhead_drop_identity_map
    msr     tpidr_el2, x10
    ldr     x13, [x10, {core_stack}]
    mov     sp, x13
    mov     x29, xzr
    mov     x30, xzr
    b       bulkhead_secondary

    // Ends the walks of the lower half; sets VBAR_EL2. Only x2 and x3 change.
bulkhead_drop_identity_map:
    adrp    x2, bulkhead_vectors
    add     x2, x2, :lo12:bulkhead_vectors
    msr     vbar_el2, x2
    mrs     x2, tcr_el2
    orr     x2, x2, {epd0}
    msr     tcr_el2, x2
    msr     ttbr0_el2, xzr
    isb
    tlbi    alle2
    dsb     sy
    isb
    ret
"#,
    table = const TABLE,
    identity_page = const PAGE | READ_ONLY,
    early_page = const PAGE,
    sctlr_early = const SCTLR_EARLY,
    sctlr_off = const SCTLR_RES1,
    hcr = const HCR_BOOT,
    tcr = const TCR_BOTH,
    epd0 = const TCR::EPD0.val(1).value,
    epd1 = const TCR::EPD1.val(1).value,
    ips = const TCR::IPS.shift,
    mair = const MAIR_EL2,
    affinity = const percore::AFFINITY,
    load_address = sym BULKHEAD_LOAD_ADDRESS,
    parameters = sym BULKHEAD_PARAMETERS,
    root = const offset_of!(Parameters, root),
    sctlr = const offset_of!(Parameters, sctlr),
    cores = const offset_of!(Parameters, cores),
    core_count = const offset_of!(Parameters, core_count),
    core_mpidr = const offset_of!(PerCore, mpidr),
    core_stack = const offset_of!(PerCore, stack_top),
    core_size = const size_of::<PerCore>(),
);

unsafe extern "C" {
    fn bulkhead_secondary_entry();
    fn bulkhead_replace_root();
}

/// The physical address of the image's first byte.
pub fn load_address() -> u64 {
    BULKHEAD_LOAD_ADDRESS.load(Ordering::Relaxed)
}

/// The physical address of `address`, which lies in Bulkhead's linear RAM area.
pub fn physical(address: usize) -> u64 {
    load_address() + (address - IMAGE_BASE) as u64
}

/// The address in the linear area of the byte at the physical address `pa`, which is Bulkhead's RAM.
pub fn linear(pa: u64) -> usize {
    IMAGE_BASE + (pa - load_address()) as usize
}

/// Where a core that comes on later enters: what EL3 is told (FFA_SECONDARY_EP_REGISTER).
pub fn secondary_entry() -> u64 {
    physical(bulkhead_secondary_entry as *const () as usize)
}

/// Lets cores other than this one come on: they find the final map and their [`PerCore`] here.
pub fn publish_secondaries(cores: &'static [PerCore]) {
    BULKHEAD_PARAMETERS
        .cores
        .store(cores.as_ptr().addr(), Ordering::Relaxed);
    BULKHEAD_PARAMETERS
        .core_count
        .store(cores.len(), Ordering::Relaxed);
    BULKHEAD_PARAMETERS
        .root
        .store(current_root(), Ordering::Relaxed);
    // Read by cores whose caches are off.
    cache::clean_to_coherency(
        (&raw const BULKHEAD_PARAMETERS).addr(),
        size_of::<Parameters>(),
    );
}

/// Walks the lower half again, through the root at the physical address `empty`: no address of it is mapped until
/// a partition at S-EL0 runs, whose root is there meanwhile. What a walk begins with is not kept back by ending
/// walks (TCR_EL2.EPD0), since that may be cached as zero.
pub(crate) fn open_lower_half(empty: u64, e0pd: bool) {
    let tcr = sysreg::read!("tcr_el2") & !TCR::EPD0.val(1).value;
    // SAFETY: the root has no entries, and nothing of Bulkhead lies in the lower half.
    unsafe {
        sysreg::write!("ttbr0_el2", empty);
        sysreg::isb();
        sysreg::write!("tcr_el2", tcr | TCR::E0PD1.val(e0pd.into()).value);
    }
    sysreg::isb();
}

/// Walks the lower half again, for the identity map of the stub's page.
///
/// A core does so before it goes off: EL3 enters it at [`secondary_entry`] with the EL2 registers that
/// it had then, the MMU on (TF-A's SPMD sets nothing but the address: `spmd_cpu_on_finish_handler`).
pub fn open_identity_map() {
    let identity_root = physical(layout::early_tables().start);
    let tcr = sysreg::read!("tcr_el2");
    // SAFETY: the identity map holds the stub's page alone, read-only, and is never changed; nothing
    // of Bulkhead lies in the lower half.
    unsafe {
        sysreg::write!("ttbr0_el2", identity_root);
        sysreg::isb();
        sysreg::write!("tcr_el2", tcr & !TCR::EPD0.val(1).value);
    }
    sysreg::isb();
}

fn current_root() -> u64 {
    sysreg::read!("S3_4_C2_C0_1")
}

/// Replaces the early map by the final one, whose root table is at the physical address `root`, and
/// forbids execution of what is writable.
///
/// # Safety
/// The tables under `root` map the running code, its data and its stack at the addresses that they
/// have now, and are never freed.
pub unsafe fn install_map(root: u64) {
    let target = physical(bulkhead_replace_root as *const () as usize);
    let tcr = sysreg::read!("tcr_el2");
    open_identity_map();
    // SAFETY: the code at `target` runs in the identity map, which the stub built and which maps
    // just its page; it uses no stack. The caller vouches for the new map. Afterwards the lower half
    // is not walked, as before.
    unsafe {
        core::arch::asm!(
            "blr {target}",
            target = in(reg) target,
            in("x0") root,
            in("x1") SCTLR_FINAL,
            out("x2") _,
            out("x30") _,
            options(nostack),
        );
        sysreg::write!("tcr_el2", tcr);
        sysreg::write!("ttbr0_el2", 0);
        sysreg::isb();
        core::arch::asm!("tlbi alle2", "dsb sy", "isb", options(nostack));
    }
}

/// Goes on in `next` on the stack that ends at `stack_top`. What the stack in use holds is lost.
///
/// # Safety
/// `stack_top` is the end of memory that is mapped for good and nobody's, enough for a stack.
pub unsafe fn continue_on<T>(
    stack_top: usize,
    next: extern "C" fn(&'static mut T) -> !,
    argument: &'static mut T,
) -> ! {
    // SAFETY: nothing returns to the frames that are left behind; `argument` does not live there.
    unsafe {
        core::arch::asm!(
            "mov sp, {stack}",
            "mov x29, xzr",
            "mov x30, xzr",
            "br {next}",
            stack = in(reg) stack_top,
            next = in(reg) next,
            in("x0") core::ptr::from_mut(argument),
            options(noreturn),
        )
    }
}
