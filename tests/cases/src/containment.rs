// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions that fetch, walk, fault and corrupt what they can: E8 to E16, K4, K6 and K13 of the abuse
//! cases. That the line of each end names the region and the rule is checked against `expected.log`.
//!
//! Not here: E11, since nothing changes a stage 2 under a partition yet, and the SError of E12, which
//! QEMU does not raise: `tests/sim/tests/containment.rs` has both.

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::exception::{self, class};
use bulkhead_payload::generated::{self, Numbers, mrs, msr};
use bulkhead_payload::stage1::{self, NON_SECURE_TABLE, PAGE, TABLE};
use bulkhead_payload::{Request, entry, memory};

use crate::normal_world::{NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, fail, rules};

cases! {
    e08_a_fetch_from_a_device_ends_that_partition_only: [fetch_device_half];
    e08_a_fetch_from_memory_that_is_never_executable_ends_that_partition_only: [fetch_constants_half];
    e09_a_table_that_stage_2_does_not_allow_ends_that_partition_only: [foreign_table_half];
    e10_a_permission_fault_behind_stage_1_ends_that_partition_only: [write_constants_half];
    e12_a_device_that_does_not_answer_harms_that_partition_only: [no_answer_half];
    e13_what_a_partition_may_not_execute_is_its_own_exception: [e13_half];
    e14_an_illegal_pstate_of_its_own_is_the_partitions_own_exception: [illegal_state_half];
    e15_tables_that_the_normal_world_edits_harm_that_partition_only: [shared_tables_half, look_half];
    e16_tables_in_bulkheads_memory_end_that_partition_only: [garbage_root_half];
    e16_garbage_in_the_translation_registers_ends_that_partition_only: [garbage_half];
    k6_ffa_abort_ends_that_partition_only: [abort_half];
    k4_a_stack_that_overflows_into_a_guard_ends_that_partition_only: [overflow_half];
    k13_a_partition_that_corrupts_all_its_memory_ends_alone: [corrupt_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];

/// Where Bulkhead is.
const BULKHEAD: u64 = 0x0e10_0000;

/// The tester whose manifest has the device region `hole`, which nothing answers in.
const WITH_HOLE: u16 = 0x8007;
/// The tester whose manifest has the non-secure memory region `ours`.
const WITH_OURS: u16 = 0x8008;
/// The tester whose manifest has the device region `pit`, which nothing answers in.
const WITH_PIT: u16 = 0x8004;
const HOLE: usize = 0x0910_0000;
const PIT: usize = 0x0920_0000;

/// The memory of a spare partition, from its package on (`spare.dts.in`).
pub(crate) fn own(offset: usize) -> usize {
    /// From the start of a package to its image.
    const IMAGE: usize = 0x4000;
    entry::image_start() - IMAGE + offset
}
const GUARD: usize = 0xf_d000;
const STACK_TOP: usize = 0xf_f000;
pub(crate) const CONSTANTS: usize = 0xf_f000;

/// Ends a victim by half 0 of the current case: its caller is told, and nothing else changed.
fn end(world: &mut NormalWorld, victim: EndpointId) -> TestResult {
    let payload = run_half(world.case(), 0, [0; 3]);
    let reply = world.direct(Width::W64, victim, payload);
    assert_ended(world, victim, reply)
}

pub(crate) fn assert_ended(
    world: &mut NormalWorld,
    victim: EndpointId,
    reply: bulkhead_payload::Reply,
) -> TestResult {
    if reply.is(Function::MsgSendDirectResp) {
        world.results(victim, &reply)?;
    }
    reply.clone().refused(FfaError::Aborted)?;
    if let Some(what) = rules::strict(&reply, world.version, rules::ERROR) {
        fail!("{what}, in {reply}");
    }
    world
        .direct(Width::W64, victim, [0; 5])
        .refused(FfaError::Aborted)?;
    world
        .call(Request::run(victim, 0))
        .refused(FfaError::Aborted)?;
    world.no_state_change()
}

fn end_spare(world: &mut NormalWorld) -> TestResult {
    let victim = world.spare()?;
    end(world, victim)
}

fn e08_a_fetch_from_a_device_ends_that_partition_only(world: &mut NormalWorld) -> TestResult {
    let victim = world.victim_named(WITH_HOLE)?;
    end(world, victim)
}

fn fetch_device_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let (_, exception) = exception::expect(|| memory::fetch(HOLE));
    fail!("it went on, {exception:?}")
}

fn e08_a_fetch_from_memory_that_is_never_executable_ends_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    end_spare(world)
}

fn fetch_constants_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    // It may read there.
    memory::load(own(CONSTANTS));
    let (_, exception) = exception::expect(|| memory::fetch(own(CONSTANTS)));
    fail!("it went on, {exception:?}")
}

fn e09_a_table_that_stage_2_does_not_allow_ends_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    end_spare(world)
}

/// A walk that is fine, then one through another's memory.
fn foreign_table_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    const GIGABYTE: usize = 5;
    stage1::enable();
    let page = own(CONSTANTS) as u64;
    let same = memory::load(stage1::window(0, page | PAGE)) == memory::load(own(CONSTANTS));
    ensure!(same, "the window does not show the page");
    stage1::root().set(GIGABYTE, BULKHEAD | TABLE);
    let (_, exception) = exception::expect(|| memory::store(GIGABYTE << 30, 1));
    fail!("it went on, {exception:?}")
}

fn e10_a_permission_fault_behind_stage_1_ends_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    end_spare(world)
}

/// HPFAR_EL2 need not hold the address of a permission fault; FAR_EL2 holds one of stage 1.
fn write_constants_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    stage1::enable();
    let window = stage1::window(3, own(CONSTANTS) as u64 | PAGE);
    let (_, exception) = exception::expect(|| memory::store(window + 0x18, 1));
    fail!("it went on, {exception:?}")
}

/// On this machine S-EL1 takes the abort (HCR_EL2.TEA has no effect); on others S-EL2 does, and ends the
/// partition.
fn e12_a_device_that_does_not_answer_harms_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    let id = EndpointId(WITH_PIT);
    if !world.testers().iter().any(|tester| tester.id == id) {
        crate::skip!("{id} is not there, or was aborted by an earlier test");
    }
    let payload = run_half(world.case(), 0, [0; 3]);
    let reply = world.direct(Width::W64, id, payload);
    if reply.is_error(FfaError::Aborted) {
        world.victim_named(WITH_PIT)?;
        return assert_ended(world, id, reply);
    }
    world.results(id, &reply)?;
    world.no_state_change()
}

fn no_answer_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    /// ESR_EL1.DFSC: a synchronous external abort, not on a walk.
    const EXTERNAL: u64 = 0x10;
    let attempts: [fn(); 2] = [
        || {
            memory::load(PIT);
        },
        || memory::store(PIT, 1),
    ];
    for attempt in attempts {
        let ((), exception) = exception::expect(attempt);
        let Some(exception) = exception else {
            fail!("something answers at {PIT:#x}")
        };
        ensure!(
            exception.class() == class::DATA_ABORT && exception.syndrome & 0x3f == EXTERNAL,
            "{exception:?}"
        );
    }
    Ok(NO_RESULTS)
}

/// The encoding of a system register or instruction as [`mrs`] takes it.
const fn register(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

const fn read(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u32 {
    mrs(register(op0, op1, crn, crm, op2))
}

const fn write(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u32 {
    msr(register(op0, op1, crn, crm, op2))
}

/// What a partition may not execute: name, instruction, and the class of the exception that it takes
/// itself. CPACR_EL1 lets SVE and SME through, so that it is S-EL2 that does not.
const ILLEGAL: &[(&str, u32, u64)] = &[
    ("MRS HCR_EL2", read(3, 4, 1, 1, 0), class::UNDEFINED),
    ("MSR HCR_EL2", write(3, 4, 1, 1, 0), class::UNDEFINED),
    ("MRS SCR_EL3", read(3, 6, 1, 1, 0), class::UNDEFINED),
    ("MSR SCR_EL3", write(3, 6, 1, 1, 0), class::UNDEFINED),
    ("MSR SCTLR_EL2", write(3, 4, 1, 0, 0), class::UNDEFINED),
    ("MSR VTTBR_EL2", write(3, 4, 2, 1, 0), class::UNDEFINED),
    ("MSR VSTTBR_EL2", write(3, 4, 2, 6, 0), class::UNDEFINED),
    ("MSR VTCR_EL2", write(3, 4, 2, 1, 2), class::UNDEFINED),
    ("MRS TPIDR_EL2", read(3, 4, 13, 0, 2), class::UNDEFINED),
    ("MSR VBAR_EL2", write(3, 4, 12, 0, 0), class::UNDEFINED),
    ("MSR ELR_EL2", write(3, 4, 4, 0, 1), class::UNDEFINED),
    ("MSR SPSR_EL2", write(3, 4, 4, 0, 0), class::UNDEFINED),
    ("MRS ESR_EL2", read(3, 4, 5, 2, 0), class::UNDEFINED),
    ("MRS HPFAR_EL2", read(3, 4, 6, 0, 4), class::UNDEFINED),
    ("MSR SP_EL1", write(3, 4, 4, 1, 0), class::UNDEFINED),
    ("MRS SCTLR_EL12", read(3, 5, 1, 0, 0), class::UNDEFINED),
    ("MSR CNTHCTL_EL2", write(3, 4, 14, 1, 0), class::UNDEFINED),
    (
        "MSR CNTHPS_CTL_EL2",
        write(3, 4, 14, 5, 1),
        class::UNDEFINED,
    ),
    ("MSR CNTPS_CTL_EL1", write(3, 7, 14, 2, 1), class::UNDEFINED),
    ("AT S12E1R", write(1, 4, 7, 8, 4), class::UNDEFINED),
    ("AT S1E2R", write(1, 4, 7, 8, 0), class::UNDEFINED),
    ("TLBI ALLE1", write(1, 4, 8, 7, 4), class::UNDEFINED),
    ("TLBI ALLE2", write(1, 4, 8, 7, 0), class::UNDEFINED),
    ("TLBI IPAS2E1", write(1, 4, 8, 4, 1), class::UNDEFINED),
    ("TLBI VMALLS12E1", write(1, 4, 8, 7, 6), class::UNDEFINED),
    ("TLBI ALLE3", write(1, 6, 8, 7, 0), class::UNDEFINED),
    // The interrupt controller: lists of interrupts, other levels, SGIs.
    ("MRS ICH_HCR_EL2", read(3, 4, 12, 11, 0), class::UNDEFINED),
    ("MSR ICH_LR0_EL2", write(3, 4, 12, 12, 0), class::UNDEFINED),
    ("MSR ICC_SRE_EL2", write(3, 4, 12, 9, 5), class::UNDEFINED),
    ("MSR ICC_CTLR_EL3", write(3, 6, 12, 12, 4), class::UNDEFINED),
    (
        "MSR ICC_SGI1R_EL1",
        write(3, 0, 12, 11, 5),
        class::UNDEFINED,
    ),
    (
        "MSR ICC_ASGI1R_EL1",
        write(3, 0, 12, 11, 6),
        class::UNDEFINED,
    ),
    (
        "MSR ICC_SGI0R_EL1",
        write(3, 0, 12, 11, 7),
        class::UNDEFINED,
    ),
    // Performance monitors, activity monitors, profiling.
    ("MRS PMCR_EL0", read(3, 3, 9, 12, 0), class::UNDEFINED),
    ("MSR PMCR_EL0", write(3, 3, 9, 12, 0), class::UNDEFINED),
    ("MRS PMCCNTR_EL0", read(3, 3, 9, 13, 0), class::UNDEFINED),
    (
        "MSR PMCNTENSET_EL0",
        write(3, 3, 9, 12, 1),
        class::UNDEFINED,
    ),
    ("MRS PMEVCNTR0_EL0", read(3, 3, 14, 8, 0), class::UNDEFINED),
    ("MSR PMUSERENR_EL0", write(3, 3, 9, 14, 0), class::UNDEFINED),
    (
        "MSR PMINTENSET_EL1",
        write(3, 0, 9, 14, 1),
        class::UNDEFINED,
    ),
    ("MRS AMCR_EL0", read(3, 3, 13, 2, 0), class::UNDEFINED),
    ("MSR PMSCR_EL1", write(3, 0, 9, 9, 0), class::UNDEFINED),
    ("MSR PMBLIMITR_EL1", write(3, 0, 9, 10, 0), class::UNDEFINED),
    // Debug and trace.
    ("MRS MDSCR_EL1", read(2, 0, 0, 2, 2), class::UNDEFINED),
    ("MSR MDSCR_EL1", write(2, 0, 0, 2, 2), class::UNDEFINED),
    ("MSR DBGBVR0_EL1", write(2, 0, 0, 0, 4), class::UNDEFINED),
    ("MSR DBGBCR0_EL1", write(2, 0, 0, 0, 5), class::UNDEFINED),
    ("MSR DBGWVR0_EL1", write(2, 0, 0, 0, 6), class::UNDEFINED),
    ("MRS MDRAR_EL1", read(2, 0, 1, 0, 0), class::UNDEFINED),
    ("MSR OSLAR_EL1", write(2, 0, 1, 0, 4), class::UNDEFINED),
    ("MSR OSDLR_EL1", write(2, 0, 1, 3, 4), class::UNDEFINED),
    ("MSR TRFCR_EL1", write(3, 0, 1, 2, 1), class::UNDEFINED),
    ("MSR TRBLIMITR_EL1", write(3, 0, 9, 11, 0), class::UNDEFINED),
    ("MSR TRCPRGCTLR", write(2, 1, 0, 1, 0), class::UNDEFINED),
    ("MSR BRBCR_EL1", write(2, 1, 9, 0, 0), class::UNDEFINED),
    // Partitioning, error records, implementation defined, limited ordering.
    ("MSR MPAM1_EL1", write(3, 0, 10, 5, 0), class::UNDEFINED),
    ("MSR MPAM0_EL1", write(3, 0, 10, 5, 1), class::UNDEFINED),
    ("MRS ERRIDR_EL1", read(3, 0, 5, 3, 0), class::UNDEFINED),
    ("MSR ERRSELR_EL1", write(3, 0, 5, 3, 1), class::UNDEFINED),
    ("MRS ACTLR_EL1", read(3, 0, 1, 0, 1), class::UNDEFINED),
    ("MSR ACTLR_EL1", write(3, 0, 1, 0, 1), class::UNDEFINED),
    ("MSR S3_0_C15_C0_0", write(3, 0, 15, 0, 0), class::UNDEFINED),
    ("MRS S3_3_C15_C2_0", read(3, 3, 15, 2, 0), class::UNDEFINED),
    ("MSR LORC_EL1", write(3, 0, 10, 4, 3), class::UNDEFINED),
    // AArch32.
    ("MRS DACR32_EL2", read(3, 4, 3, 0, 0), class::UNDEFINED),
    ("MRS IFSR32_EL2", read(3, 4, 5, 0, 1), class::UNDEFINED),
    ("MRS FPEXC32_EL2", read(3, 4, 5, 3, 0), class::UNDEFINED),
    ("MRS SPSR_abt", read(3, 4, 4, 3, 1), class::UNDEFINED),
    // SVE and SME.
    ("MSR ZCR_EL1", write(3, 0, 1, 2, 0), class::UNDEFINED),
    ("RDVL X0, #1", 0x04bf_5020, class::UNDEFINED),
    ("PTRUE P0.B", 0x2518_e3e0, class::UNDEFINED),
    ("MSR SMCR_EL1", write(3, 0, 1, 2, 6), class::UNDEFINED),
    ("MSR SVCR", write(3, 3, 4, 2, 2), class::UNDEFINED),
    ("SMSTART", 0xd503_477f, class::UNDEFINED),
    ("RDSVL X0, #1", 0x04bf_5820, class::UNDEFINED),
    ("MSR TPIDR2_EL0", write(3, 3, 13, 0, 5), class::UNDEFINED),
    // Exceptions and debug states.
    ("UDF", 0, class::UNDEFINED),
    ("HLT #0", 0xd440_0000, class::UNDEFINED),
    ("BRK #1", 0xd420_0020, class::BRK),
    ("DCPS1", 0xd4a0_0001, class::UNDEFINED),
    ("DCPS2", 0xd4a0_0002, class::UNDEFINED),
    ("DCPS3", 0xd4a0_0003, class::UNDEFINED),
    ("DRPS", 0xd6bf_03e0, class::UNDEFINED),
    ("HVC #1", 0xd400_0022, class::UNDEFINED),
    ("HVC #0xffff", 0xd41f_ffe2, class::UNDEFINED),
    ("SMC #1", 0xd400_0023, class::UNDEFINED),
];

fn e13_what_a_partition_may_not_execute_is_its_own_exception(
    world: &mut NormalWorld,
) -> TestResult {
    for role in [Role::Primary, Role::Secondary] {
        world.invoke(world.tester(role)?, 0, [0; 3])?;
    }
    world.no_state_change()
}

/// Each once, with noise; x0 keeps its value, and the instruction after it adds one.
fn e13_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    /// CPACR_EL1 with FPEN alone, as the runtime has it, and with SMEN and ZEN.
    const FP: u64 = 3 << 20;
    const FP_SVE_SME: u64 = FP | 3 << 24 | 3 << 16;
    // SAFETY: nothing but the instructions under test uses them.
    let cpacr = |value: u64| unsafe {
        core::arch::asm!("msr cpacr_el1, {}", "isb", in(reg) value, options(nostack));
    };
    let mut numbers = Numbers::new(0x5eed_0013);
    cpacr(FP_SVE_SME);
    let mut wrong = None;
    for &(name, instruction, expected) in ILLEGAL {
        let noise = numbers.next();
        let (x0, exception) = exception::expect(|| generated::run(instruction, noise));
        let class = exception.map(|exception| exception.class());
        if class != Some(expected) || x0 != noise.wrapping_add(1) {
            wrong.get_or_insert((name, x0, exception));
        }
    }
    cpacr(FP);
    match wrong {
        Some((name, x0, exception)) => fail!("{name} left {x0:#x} and ended in {exception:?}"),
        None => Ok(NO_RESULTS),
    }
}

fn e14_an_illegal_pstate_of_its_own_is_the_partitions_own_exception(
    world: &mut NormalWorld,
) -> TestResult {
    for role in [Role::Primary, Role::Secondary] {
        let [count, ..] = world.invoke(world.tester(role)?, 0, [0; 3])?;
        equal("the number of illegal states", count, 29)?;
    }
    world.no_state_change()
}

/// Every mode that is not EL0t, EL1t, EL1h or AArch32 User, and a legal one with the bit that makes
/// it illegal.
fn illegal_state_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    const MASKS: u64 = 0x3c0;
    const LEGAL: [u64; 4] = [0b0_0000, 0b0_0100, 0b0_0101, 0b1_0000];
    const ILLEGAL_BIT: u64 = 1 << 20;
    let modes = (0..32).filter(|mode| !LEGAL.contains(mode));
    let mut count = 0;
    for state in modes.chain([0b0_0101 | ILLEGAL_BIT]) {
        let ((), exception) = exception::expect(|| return_to(MASKS | state));
        let Some(exception) = exception else {
            fail!("a return to {state:#x} is legal")
        };
        ensure!(
            exception.class() == class::ILLEGAL_STATE,
            "a return to {state:#x} ended in {exception:?}"
        );
        ensure!(
            entry::exception_level() == entry::ExceptionLevel::El1,
            "a return to {state:#x} changed the level"
        );
        count += 1;
    }
    Ok([count, 0, 0, 0])
}

/// ERET to the next instruction.
pub(crate) fn return_to(pstate: u64) {
    // SAFETY: it goes on behind the instruction, after an exception if the state is illegal.
    unsafe {
        core::arch::asm!(
            "msr spsr_el1, {state}",
            "adr {next}, 1f",
            "msr elr_el1, {next}",
            "isb",
            "eret",
            "1: nop",
            state = in(reg) pstate,
            next = out(reg) _,
            options(nostack),
        );
    }
}

/// The pages of `ours`: a table of level 2, one of level 3, and two of data.
const OURS: [usize; 4] = [0x5000_0000, 0x5000_1000, 0x5000_2000, 0x5000_3000];
/// The gigabyte that those tables map.
const THEIRS: usize = 5;

fn e15_tables_that_the_normal_world_edits_harm_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    let victim = world.victim_named(WITH_OURS)?;
    let [level_2, level_3, one, two] = OURS;
    memory::store(level_2, level_3 as u64 | TABLE);
    memory::store(level_3, one as u64 | PAGE);
    memory::store(one, 0x1111);
    memory::store(two, 0x2222);
    world.invoke(victim, 0, [0; 3])?;
    for (page, value) in [(one, 0x1111), (two, 0x2222), (one, 0x1111)] {
        memory::store(level_3, page as u64 | PAGE);
        let [found, faulted, ..] = world.invoke(victim, 1, [0; 3])?;
        equal("whether it faulted", faulted, 0)?;
        equal("what it finds", found, value)?;
    }
    // Nowhere: its own exception.
    for nowhere in [0, 0xdead_beef_0bad_cafc] {
        memory::store(level_3, nowhere);
        let [_, faulted, ..] = world.invoke(victim, 1, [0; 3])?;
        equal("whether it faulted", faulted, 1)?;
    }
    // Bulkhead's memory, and another's, which are no non-secure memory.
    memory::store(level_3, BULKHEAD | PAGE);
    let payload = run_half(world.case(), 1, [0; 3]);
    let reply = world.direct(Width::W64, victim, payload);
    assert_ended(world, victim, reply)
}

fn shared_tables_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    stage1::enable();
    stage1::root().set(THEIRS, OURS[0] as u64 | NON_SECURE_TABLE);
    Ok(NO_RESULTS)
}

fn look_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    stage1::flush();
    let (value, exception) = exception::expect(|| memory::load(THEIRS << 30));
    Ok([value, exception.is_some().into(), 0, 0])
}

fn e16_tables_in_bulkheads_memory_end_that_partition_only(world: &mut NormalWorld) -> TestResult {
    end_spare(world)
}

const TCR: u64 = 0x0000_0005_0080_3519;
const MAIR: u64 = 0x0404_ff44_0c00_bbff;
const SCTLR: u64 = 0x30d0_1985;

fn garbage_root_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    stage1::registers(BULKHEAD, TCR, MAIR, SCTLR);
    fail!("it went on")
}

/// A root beyond all memory, within what every core can address. Registers that make every fetch an exception at S-EL1, whose handler
/// is not mapped either, are not tried: QEMU that counts instructions never gets to the next one.
fn e16_garbage_in_the_translation_registers_ends_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    end_spare(world)
}

fn garbage_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    stage1::registers(0x7654_0010_fe70_0000, TCR, MAIR, SCTLR);
    fail!("it went on")
}

fn k4_a_stack_that_overflows_into_a_guard_ends_that_partition_only(
    world: &mut NormalWorld,
) -> TestResult {
    end_spare(world)
}

fn k6_ffa_abort_ends_that_partition_only(world: &mut NormalWorld) -> TestResult {
    end_spare(world)
}

fn abort_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.call(Request::ffa(Function::Abort, Width::W64).with([0, 0x6_0000_002a]));
    fail!("it went on: {:#x?}", &reply.registers.x[..8])
}

fn overflow_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    // SAFETY: it does not come back from here; the page above the guard is nobody's.
    unsafe {
        core::arch::asm!(
            "mov sp, {top}",
            "2: stp x29, x30, [sp, #-16]!",
            "bl 2b",
            top = in(reg) own(STACK_TOP),
            options(noreturn),
        );
    }
}

fn k13_a_partition_that_corrupts_all_its_memory_ends_alone(world: &mut NormalWorld) -> TestResult {
    let before = world.partitions.clone();
    let victim = world.spare()?;
    end(world, victim)?;
    let after = world.partitions.clone();
    ensure!(before == after, "the list of partitions changed");
    Ok(())
}

core::arch::global_asm!(
    r#"
    .section .text.corrupt, "ax"
    .balign 4096
    // x0 = from, x1 = guard, x2 = behind it, x3 = end, x4 = what goes in: all of [x0, x1) and [x2, x3) but
    // this page. Then a fetch from there.
    .global payload_corrupt
payload_corrupt:
    adrp    x5, payload_corrupt
1:  cmp     x0, x5
    b.ne    2f
    add     x0, x0, #4096
2:  str     x4, [x0], #8
    cmp     x0, x1
    b.lo    1b
3:  str     x4, [x2], #8
    cmp     x2, x3
    b.lo    3b
    dsb     sy
    mov     x0, xzr
    mov     sp, x0
    br      x0
    .balign 4096
"#
);

/// Code, data, stacks, vectors and boot information.
fn corrupt_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    unsafe extern "C" {
        fn payload_corrupt(from: usize, guard: usize, behind: usize, end: usize, value: u64) -> !;
    }
    // SAFETY: it does not come back.
    unsafe {
        payload_corrupt(
            own(0),
            own(GUARD),
            own(GUARD + memory::PAGE_SIZE),
            own(CONSTANTS),
            0xdead_beef_dead_beef,
        )
    }
}
