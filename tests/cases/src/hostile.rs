// SPDX-License-Identifier: MIT OR Apache-2.0
//! Worlds that try everything: random calls, every system register, the interrupt interface, memory.

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::generated::{self, Numbers, mrs, msr};
use bulkhead_payload::memory::MAILBOX;
use bulkhead_payload::{Canary, Conduit, Request, counter, entry, exception};

use crate::normal_world::{LONG_SPIN, NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, run_half};
use crate::{cases, ensure, fail, rules};

cases! {
    k2_an_hvc_or_smc_with_an_immediate_is_undefined_where_it_stands: [immediate_half];
    l4_no_system_register_carries_a_value_to_another_partition: [find_registers_half, set_register_half, read_register_half];
    m9_buffers_of_the_normal_world_at_odd_places_are_refused;
    m10_a_buffer_in_memory_that_does_not_answer_is_an_error;
    k3_random_calls_of_the_normal_world_harm_nobody;
    k3_random_calls_of_a_partition_harm_nobody: [random_calls_half];
    k1_a_partition_of_random_instructions_and_a_garbage_stage_1_is_ended_alone: [random_instructions_half];
    k6_a_partition_that_disturbs_its_interrupt_interface_keeps_no_interrupt_from_others: [interface_half, spin_half];
    k1_an_illegal_exception_return_ends_that_partition_only: [illegal_return_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];

/// The encoding of a system register as [`mrs`] takes it.
const fn encoding(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> u16 {
    op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

fn k2_an_hvc_or_smc_with_an_immediate_is_undefined_where_it_stands(
    world: &mut NormalWorld,
) -> TestResult {
    world.invoke(world.tester(Role::Primary)?, 0, [0; 3])?;
    Ok(())
}

/// The instruction after the skipped one adds one to x0.
fn immediate_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    const SMC: u32 = 0xd400_0003;
    const HVC: u32 = 0xd400_0002;
    const UDF: u32 = 0;
    let mut numbers = Numbers::new(7);
    for instruction in [
        UDF,
        SMC | 1 << 5,
        SMC | 0xffff << 5,
        HVC | 1 << 5,
        HVC | 0xffff << 5,
    ]
    .into_iter()
    .chain((0..100).map(|_| {
        let immediate = 1 + numbers.below(0xffff) as u32;
        immediate << 5 | if immediate & 1 == 0 { SMC } else { HVC }
    })) {
        let (x0, exception) = exception::expect(|| generated::run(instruction, 0x8400_0069));
        let Some(exception) = exception else {
            fail!("{instruction:#x} is not undefined")
        };
        ensure!(
            exception.class() == exception::class::UNDEFINED,
            "{instruction:#x} ended in {exception:?}"
        );
        if x0 != 0x8400_006a {
            fail!("ELR_EL1 after {instruction:#x} does not point at it: x0={x0:#x}");
        }
    }
    Ok(NO_RESULTS)
}

/// What a partition may not change and go on with its half: PSTATE and stack (CRn = 4), SCTLR_EL1, CPACR,
/// VBAR, and the physical interrupt interface.
fn keeps_itself_alive(register: u16) -> bool {
    let (op1, crn, crm) = (register >> 11 & 7, register >> 7 & 15, register >> 3 & 15);
    register >> 14 == 3
        && !(crn == 4 || crn == 12 && (crm == 0 || crm >= 8))
        && !(op1 == 0 && crn == 1 && crm == 0)
}

const READABLE: u64 = 1 << 63;

fn read(register: u16) -> Option<u64> {
    let (value, exception) = exception::expect(|| generated::run(mrs(register), 0));
    exception.is_none().then(|| value.wrapping_sub(1))
}

fn write(register: u16, value: u64) {
    exception::expect(|| generated::run(msr(register), value));
}

/// Results: the next four registers, from the argument on, that hold what is written to them.
fn find_registers_half(_: &mut PartitionWorld, [from, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let mut found = [0; 4];
    let mut next = 0;
    for register in from as u16..=u16::MAX {
        if !keeps_itself_alive(register) {
            continue;
        }
        let Some(old) = read(register) else { continue };
        // Some are read-only, some count.
        write(register, !old);
        let inverted = read(register);
        write(register, old);
        if inverted != Some(old) && read(register) == Some(old) {
            found[next] = u64::from(register) | READABLE;
            next += 1;
            if next == found.len() {
                break;
            }
        }
    }
    Ok(found)
}

/// Writes a register; results: what it held and holds.
fn set_register_half(
    _: &mut PartitionWorld,
    [register, value, _]: [u64; 3],
) -> TestResult<[u64; 4]> {
    let register = register as u16;
    let old = read(register).unwrap_or(0);
    write(register, value);
    Ok([old, read(register).unwrap_or(0), 0, 0])
}

fn read_register_half(_: &mut PartitionWorld, [register, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let value = read(register as u16);
    Ok([value.unwrap_or(0), value.is_some().into(), 0, 0])
}

/// Every encoding with op0 = 3 is tried: what one partition leaves in a register, neither another nor the
/// normal world finds there.
fn l4_no_system_register_carries_a_value_to_another_partition(
    world: &mut NormalWorld,
) -> TestResult {
    /// DISR_EL1 of a partition is VDISR_EL2 to others.
    const DISR: u16 = encoding(3, 0, 12, 1, 1);
    const VDISR_EL2: u16 = encoding(3, 4, 12, 1, 1);
    let (writer, reader) = (world.tester(Role::Primary)?, world.tester(Role::Secondary)?);
    let watch = world.stop_watching();
    let mut from = 0xc000;
    let mut count = 0;
    loop {
        let found = world.invoke(writer, 0, [from, 0, 0])?;
        for register in found {
            if register & READABLE == 0 {
                continue;
            }
            count += 1;
            from = (register & 0xffff) + 1;
            let name = register as u16;
            let own = if name == DISR { VDISR_EL2 } else { name };
            let seen = |world: &mut NormalWorld, value| -> TestResult<[u64; 3]> {
                let [old, written, ..] = world.invoke(writer, 1, [from - 1, value, 0])?;
                let here = read(own).unwrap_or(0);
                let [there, ..] = world.invoke(reader, 2, [from - 1, 0, 0])?;
                world.invoke(writer, 1, [from - 1, old, 0])?;
                Ok([written, here, there])
            };
            let [one, here_one, there_one] = seen(world, 0x0000_0000_8100_0025)?;
            let [two, here_two, there_two] = seen(world, 0x0000_0000_0100_001a)?;
            let (op1, crn, crm, op2) = (name >> 11 & 7, name >> 7 & 15, name >> 3 & 15, name & 7);
            if one != two && (there_one, there_two) == (one, two) {
                fail!(
                    "{reader} reads in S3_{op1}_C{crn}_C{crm}_{op2} what {writer} wrote there: {one:#x}"
                );
            }
            if one != two && (here_one, here_two) == (one, two) {
                fail!(
                    "the normal world reads in S3_{op1}_C{crn}_C{crm}_{op2} what {writer} wrote there: {one:#x}"
                );
            }
        }
        if found[3] == 0 {
            break;
        }
    }
    world.continue_watching(watch);
    ensure!(count > 20, "only {count} registers hold a value");
    Ok(())
}

const PAGE: u64 = 0x1000;
/// The end of the normal world's memory.
const END: u64 = 0xc000_0000;

fn map(tx: u64, rx: u64, pages: u64) -> Request {
    Request::ffa(Function::RxtxMap, Width::W64).with([tx, rx, pages])
}

fn m9_buffers_of_the_normal_world_at_odd_places_are_refused(world: &mut NormalWorld) -> TestResult {
    let fine = MAILBOX.tx.address();
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    let odd = [
        0,
        0x0800_0000,
        0x080a_0000,
        0x0900_0000,
        0x0904_0000,
        0x0e00_0000,
        0x0e10_0000,
        0x0e30_0000,
        0x0eff_f000,
        0x3fff_f000,
        fine + 1,
        fine + 0x800,
        1 << 40,
        1 << 48,
        0x000f_ffff_ffff_f000,
        1 << 63 | fine,
        !(PAGE - 1),
        u64::MAX,
    ];
    for address in odd {
        for request in [
            map(fine, address, 1),
            map(address, fine, 1),
            map(address, address.wrapping_add(PAGE), 1),
        ] {
            world.call(request).refused(FfaError::InvalidParameters)?;
        }
    }
    for request in [
        map(fine, fine, 1),
        map(fine, END - PAGE, 16),
        map(0x3fff_f000, fine, 2),
        map(fine, fine + PAGE, 2),
        map(fine, fine + PAGE, 0),
        map(fine, fine + PAGE, 17),
        map(fine, fine + PAGE, 0x41),
        map(fine, fine + PAGE, 0xffff_ffff),
    ] {
        world.call(request).refused(FfaError::InvalidParameters)?;
    }
    world.map_mailbox(Width::W64).succeeded()?;
    Ok(())
}

/// The manifest gives the normal world more memory than the machine has.
fn m10_a_buffer_in_memory_that_does_not_answer_is_an_error(world: &mut NormalWorld) -> TestResult {
    let list = Request::ffa(Function::PartitionInfoGet, Width::W32);
    for (rx, pages) in [(END, 1), (END + PAGE, 16)] {
        world.ffa(Function::RxtxUnmap, []).succeeded()?;
        world.call(map(0x6000_0000, rx, pages)).succeeded()?;
        world.call(list).refused(FfaError::Aborted)?;
        // RX was not handed over.
        world
            .ffa(Function::RxRelease, [])
            .refused(FfaError::Denied)?;
        world.call(list).refused(FfaError::Aborted)?;
    }
    world.ffa(Function::RxtxUnmap, []).succeeded()?;
    world.map_mailbox(Width::W64).succeeded()?;
    world.call(list).succeeded()?;
    world.ffa(Function::RxRelease, []).succeeded()?;
    Ok(())
}

/// Values for arguments: ids, sizes, addresses, noise.
fn argument(numbers: &mut Numbers, memory: u64) -> u64 {
    let id = |numbers: &mut Numbers| {
        numbers.of(&[
            0, 1, 0x7fff, 0x8000, 0x8001, 0x8002, 0x8003, 0x8004, 0x8006, 0x8007, 0xfffe, 0xffff,
        ])
    };
    match numbers.below(8) {
        0 | 1 => 0,
        2 | 3 => id(numbers) << 16 | id(numbers),
        4 => memory + numbers.below(16) * PAGE,
        5 => numbers.below(64),
        6 => numbers.of(&[
            1,
            2,
            1 << 31,
            0x8000_0001,
            1 << 63,
            0xffff_ffff,
            u64::MAX,
            0x10000,
            0x10001,
            0x10003,
        ]),
        _ => numbers.next(),
    }
}

/// A call in the range of FF-A or beside it, but none of PSCI, SDEI and the vendor, nor FFA_CONSOLE_LOG, which prints.
fn random_call(numbers: &mut Numbers, memory: u64) -> Request {
    let id = loop {
        let base = numbers.of(&[0x8400_0000, 0xc400_0000]);
        let id = match numbers.below(16) {
            0 => base | numbers.of(&[0x50, 0x53, 0xff01, 0xff03, 0x5f, 0xa0, 0xff]),
            1 => base | 0x1_0000 | (0x60 + numbers.below(0x40)),
            2 => numbers.of(&[
                0x8000_0000,
                0x8000_0001,
                0x8000_8000,
                0x9234_5678,
                0x0400_0060,
                0x7fff_ffff,
            ]),
            _ => base | (0x60 + numbers.below(0x40)),
        };
        if id & 0xff != 0x8a && id & 0xff != 0x90 {
            break id | numbers.of(&[0, 0, 0, 1 << 32, 1 << 63]);
        }
    };
    let mut request = Request::new(id);
    request.arguments = 18;
    for x in &mut request.x[1..] {
        *x = argument(numbers, memory);
    }
    request
}

fn k3_random_calls_of_the_normal_world_harm_nobody(world: &mut NormalWorld) -> TestResult {
    let mut numbers = Numbers::new(0x5eed_0001);
    let watch = world.stop_watching();
    for _ in 0..30_000 {
        let request = random_call(&mut numbers, 0x6000_0000);
        let reply = request.issue(Conduit::Smc, Canary::new(EndpointId::NORMAL_WORLD));
        if let Some(index) = (18..31).find(|&index| reply.x(index) != reply.sent.x[index]) {
            fail!("x{index} changed in call {:#x}: {reply}", request.x[0]);
        }
    }
    world.continue_watching(watch);
    world.ffa(Function::RxRelease, []);
    world.ffa(Function::RxtxUnmap, []);
    world.map_mailbox(Width::W64).succeeded()?;
    Ok(())
}

/// Runs a half in a partition until the half is over, or the partition is, whatever it returns in between.
/// Returns whether it was ended.
fn let_loose(world: &mut NormalWorld, victim: EndpointId, half: usize) -> TestResult<bool> {
    let payload = run_half(world.case(), half, [0; 3]);
    let mut request = Request::direct(Width::W64, world.id(), victim, payload);
    for _ in 0..10_000 {
        let reply = world.call(request);
        if reply.is_error(FfaError::Aborted) {
            world.no_state_change()?;
            world.end()?;
            return Ok(true);
        }
        if reply.is(Function::MsgSendDirectResp) && reply.payload()[0] >> 16 == 0xb01d {
            world.results(victim, &reply)?;
            world.no_state_change()?;
            world.end()?;
            return Ok(false);
        }
        let suspended = reply.is(Function::Interrupt) || reply.is(Function::Yield);
        request = if suspended || reply.is_error(FfaError::Busy) {
            Request::run(victim, 0)
        } else {
            Request::direct(Width::W64, world.id(), victim, payload)
        };
    }
    fail!("{victim} does not come to an end")
}

/// Has the primary tester spin, and sees that a non-secure interrupt ends that.
fn interrupts_arrive(world: &mut NormalWorld, spin: usize) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    let payload = run_half(world.case(), spin, [0; 3]);
    let interrupt = world.interrupted(Request::direct(Width::W64, world.id(), primary, payload))?;
    let end = world.resume(&interrupt)?;
    let [result, ..] = world.results(primary, &end)?;
    equal("the result of the half", result, 0x600d)
}

fn spin_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    counter::spin(counter::microseconds(LONG_SPIN));
    Ok([0x600d, 0, 0, 0])
}

fn k3_random_calls_of_a_partition_harm_nobody(world: &mut NormalWorld) -> TestResult {
    let victim = world.tester(Role::Secondary)?;
    let_loose(world, victim, 0)?;
    Ok(())
}

fn random_calls_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let mut numbers = Numbers::new(0x5eed_0002);
    let memory = (entry::image_end() as u64).next_multiple_of(PAGE);
    for _ in 0..20_000 {
        let request = random_call(&mut numbers, memory);
        let conduit = if numbers.below(2) == 0 {
            Conduit::Smc
        } else {
            Conduit::Hvc
        };
        let reply = request.issue(conduit, Canary::new(world.id()));
        if let Some(index) = (18..31).find(|&index| reply.x(index) != reply.sent.x[index]) {
            fail!("x{index} changed in call {:#x}: {reply}", request.x[0]);
        }
    }
    world.ffa(Function::RxRelease, []);
    world.ffa(Function::RxtxUnmap, []);
    Ok(NO_RESULTS)
}

fn k1_a_partition_of_random_instructions_and_a_garbage_stage_1_is_ended_alone(
    world: &mut NormalWorld,
) -> TestResult {
    end_by(world)
}

/// Every MRS and every MSR and SYS of op0 = 1 to 3, with noise, but what would change this partition's own
/// PSTATE and translation; then memory that is not its own.
fn random_instructions_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let mut numbers = Numbers::new(0x5eed_0003);
    for encoding in 0x4000..=u16::MAX {
        let interface = encoding >> 14 == 3 && encoding >> 7 & 15 == 12;
        if !interface {
            exception::expect(|| generated::run(mrs(encoding), 0));
        }
        // SYS includes DC ZVA, DC IVAC, IC and TLBI: with addresses of its own page of nothing.
        let value = match encoding >> 14 {
            1 => (entry::image_end() as u64).next_multiple_of(PAGE) + PAGE,
            _ => numbers.next(),
        };
        if encoding >> 14 == 1 && encoding >> 7 & 15 != 4
            || keeps_itself_alive(encoding)
            || encoding >> 14 == 2
        {
            exception::expect(|| generated::run(msr(encoding), value));
        }
    }
    // BRK, SVC, WFE, UDF, HLT, DCPS1.
    for instruction in [
        0xd420_0000,
        0xd400_0001,
        0xd503_205f,
        0,
        0xd440_0000,
        0xd4a0_0001,
    ] {
        exception::expect(|| generated::run(instruction, 0));
    }
    translation()
}

fn k6_a_partition_that_disturbs_its_interrupt_interface_keeps_no_interrupt_from_others(
    world: &mut NormalWorld,
) -> TestResult {
    let secondary = world.tester(Role::Secondary)?;
    for crm in 8..16 {
        for op2 in 0..8 {
            // SGIs are trapped; the others reach the physical interface on some machines (W1, W2).
            let register = encoding(3, 0, 12, crm, op2);
            world.invoke(secondary, 0, [register.into(), 0, 0])?;
            if let Err(why) = interrupts_arrive(world, 1) {
                fail!("after S3_0_C12_C{crm}_{op2}: {why}");
            }
        }
    }
    world.no_state_change()
}

/// Disturbs one register of the interface, masks what can be masked, and leaves an expired timer behind.
fn interface_half(_: &mut PartitionWorld, [register, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let register = register as u16;
    read(register);
    write(register, 0);
    write(register, u64::MAX);
    // ICC_IGRPEN1_EL1, ICC_IGRPEN0_EL1, ICC_PMR_EL1.
    for off in [
        encoding(3, 0, 12, 12, 7),
        encoding(3, 0, 12, 12, 6),
        encoding(3, 0, 4, 6, 0),
    ] {
        write(off, 0);
    }
    // CNTV_CVAL_EL0, CNTV_CTL_EL0, CNTP_CTL_EL0.
    write(encoding(3, 3, 14, 3, 2), 0);
    write(encoding(3, 3, 14, 3, 1), 1);
    write(encoding(3, 3, 14, 2, 1), 1);
    Ok(NO_RESULTS)
}

fn end_by(world: &mut NormalWorld) -> TestResult {
    let victim = world.victim()?;
    let ended = let_loose(world, victim, 0)?;
    ensure!(ended, "{victim} was not ended");
    if let Some(what) = rules::strict(
        &world.direct(Width::W64, victim, [0; 5]),
        world.version,
        rules::ERROR,
    ) {
        fail!("{what}");
    }
    Ok(())
}

/// Tables in Bulkhead's own memory and in the normal world's, and the MMU on.
fn translation() -> TestResult<[u64; 4]> {
    write(encoding(3, 0, 2, 0, 0), 0x0e10_0000);
    write(encoding(3, 0, 2, 0, 1), 0x4000_0000);
    write(encoding(3, 0, 2, 0, 2), 0x0000_0005_b510_3510);
    write(encoding(3, 0, 10, 2, 0), 0x0404_ff44_0c00_bbff);
    write(encoding(3, 0, 1, 0, 0), 0x30d0_1985);
    fail!("it went on")
}

fn k1_an_illegal_exception_return_ends_that_partition_only(world: &mut NormalWorld) -> TestResult {
    end_by(world)
}

/// ERET to EL2, with vectors that are not its own: the exception that follows has nowhere to go.
fn illegal_return_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    // SAFETY: it does not come back from here.
    unsafe {
        core::arch::asm!(
            "mov {vectors}, #0",
            "msr vbar_el1, {vectors}",
            "mov {state}, #0x3c9",
            "msr spsr_el1, {state}",
            "adr {state}, .",
            "msr elr_el1, {state}",
            "isb",
            "eret",
            vectors = out(reg) _,
            state = out(reg) _,
            options(nostack),
        );
    }
    fail!("it went on")
}
