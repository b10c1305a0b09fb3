// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions at S-EL0 (D-03): messages, registers, interrupts, their pages (A-56, T25), and how they end.
//! That the line of each end names the partition and the reason is checked against `expected.log`.

use core::arch::asm;
use core::cell::UnsafeCell;

use bulkhead_abi::{EndpointId, FfaError, Function, Width};
use bulkhead_payload::entry::{ExceptionLevel, exception_level, image_start};
use bulkhead_payload::fp::FpState;
use bulkhead_payload::memory::{self, PAGE_SIZE};
use bulkhead_payload::{Canary, Conduit, Reply, Request, counter, gic};

use crate::containment::assert_ended;
use crate::normal_world::{LONG_SPIN, NormalWorld, Role};
use crate::outcome::{TestResult, Verdict, equal};
use crate::partition_world::PartitionWorld;
use crate::protocol::{Caller, command, echo, run_half};
use crate::sharing::{self, borrow_half, give_half, leave_half, lend_half, reclaim_half};
use crate::{cases, ensure, fail, skip};

cases! {
    d03_partitions_at_s_el0_run: [level_half];
    b56_s_el0_starts_with_its_boot_information_and_zeros: [entry_half];
    d03_s_el0_answers_messages_of_both_forms_and_widths;
    d03_s_el0_sends_messages_to_s_el1_and_to_s_el0: [forward_half];
    a03_features_at_s_el0: [features_half];
    a56_t25_permissions_of_pages_in_the_initialisation: [permissions_half];
    t25_permissions_are_denied_after_the_first_wait: [late_half];
    x12_an_interrupt_while_s_el0_runs: [spin_half];
    l6_s_el0_keeps_its_registers_and_sees_nobody_elses: [keep_half, look_half, disturb_half];
    l6_keys_of_pointer_authentication_are_each_partitions_own: [sign_half];
    d03_a43_s_el0_reads_and_writes_what_the_normal_world_shares: [borrow_half, leave_half];
    d03_a41_s_el0_lends_and_finds_zeroes: [borrow_half, leave_half, lend_half, reclaim_half];
    d03_a40_donated_pages_are_s_el0s: [borrow_half, leave_half, give_half, reclaim_half];
    d03_a49_reclaim_zeroes_what_s_el0_had: [borrow_half, leave_half];
    d03_s_el0_gets_and_sets_notifications_by_calls: [bind_half, fetch_half, signal_half];
    d03_hvc_ends_s_el0: [hvc_half];
    d03_smc_ends_s_el0: [smc_half];
    a79_a_write_to_what_it_may_only_execute_ends_s_el0: [write_text_half];
    a79_a_fetch_from_what_it_may_only_write_ends_s_el0: [fetch_data_half];
    a79_an_access_to_bulkheads_half_ends_s_el0: [upper_half];
    a79_a_register_of_s_el1_ends_s_el0: [register_half];
    a79_a_page_that_is_lent_ends_s_el0: [touch_half];
}

const NO_RESULTS: [u64; 4] = [0; 4];
/// Two partitions at S-EL0 that are not ended.
const ONE: EndpointId = EndpointId(0x8002);
const OTHER: EndpointId = EndpointId(0x8003);

/// FFA_MEM_PERM_*: data in bits 1:0, bit 2 if not executable.
const RW: u64 = 0b101;
const RO: u64 = 0b111;
const RX: u64 = 0b011;
const NONE: u64 = 0b100;

fn d03_partitions_at_s_el0_run(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    for (id, level) in [(primary, 1), (ONE, 0), (OTHER, 0)] {
        let [found, ..] = world.invoke(id, 0, [0; 3])?;
        equal("the exception level", found, level)?;
    }
    world.no_state_change()
}

fn level_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let level = match exception_level() {
        ExceptionLevel::El0 => 0,
        ExceptionLevel::El1 => 1,
        ExceptionLevel::El2 => 2,
    };
    Ok([level, 0, 0, 0])
}

fn b56_s_el0_starts_with_its_boot_information_and_zeros(world: &mut NormalWorld) -> TestResult {
    world.invoke(ONE, 0, [0; 3])?;
    Ok(())
}

/// x4 stands for x4 to x17 there (`entry.s`).
fn entry_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(boot) = &world.boot else {
        fail!("it does not know how it was started")
    };
    ensure!(boot.info.is_some(), "x0 led to no boot information");
    for index in 1..30 {
        equal("a register at entry", boot.entry.x[index], 0)?;
    }
    Ok(NO_RESULTS)
}

fn alike<const N: usize>(found: [u64; N], expected: [u64; N]) -> TestResult {
    for (found, expected) in found.into_iter().zip(expected) {
        equal("a value", found, expected)?;
    }
    Ok(())
}

const PAYLOAD: [u64; 5] = [
    0x1111_2222_3333_4444,
    0x5555_6666,
    0x7777_8888_9999_aaaa,
    0xbbbb,
    0xffff_ffff_ffff_ffff,
];

fn d03_s_el0_answers_messages_of_both_forms_and_widths(world: &mut NormalWorld) -> TestResult {
    for width in [Width::W32, Width::W64] {
        let reply = world.direct(width, ONE, PAYLOAD.map(|value| value & width.mask()));
        let reply = reply.returned(Function::MsgSendDirectResp)?;
        alike(reply.payload(), echo(width, PAYLOAD))?;
    }
    let [a, b, c, d, e] = PAYLOAD;
    let ids = EndpointId::pair(world.id(), ONE);
    let request = Request::ffa(Function::MsgSendDirectReq2, Width::W64);
    let reply = world.call(request.with([ids, 0, 0, a, b, c, d, e]));
    let reply = reply.returned(Function::MsgSendDirectResp2)?;
    let found: [u64; 5] = core::array::from_fn(|index| reply.x(4 + index));
    alike(found, echo(Width::W64, PAYLOAD))?;
    world.no_state_change()
}

fn d03_s_el0_sends_messages_to_s_el1_and_to_s_el0(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    for (from, to) in [(ONE, primary), (primary, ONE), (ONE, OTHER), (OTHER, ONE)] {
        let [answer, ..] = world.invoke(from, 0, [to.0.into(), 0x1234_5678, 0])?;
        equal("the answer", answer, !0x1234_5678)?;
    }
    world.no_state_change()
}

fn forward_half(world: &mut PartitionWorld, [to, value, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.direct(Width::W64, EndpointId(to as u16), [value, 0, 0, 0, 0]);
    let reply = reply.returned(Function::MsgSendDirectResp)?;
    Ok([reply.x(3), 0, 0, 0])
}

fn a03_features_at_s_el0(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    for (id, at_el0) in [(primary, 0), (ONE, 1)] {
        world.invoke(id, 0, [at_el0, 0, 0])?;
    }
    Ok(())
}

fn features_half(world: &mut PartitionWorld, [at_el0, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    const NPI: u64 = 1;
    for (id, there) in [
        (Function::MemPermGet.id(Width::W32), at_el0 == 1),
        (Function::MemPermSet.id(Width::W64), at_el0 == 1),
        (Function::MsgSendDirectReq2.id(Width::W64), true),
        (NPI, at_el0 == 0),
    ] {
        let reply = world.ffa(Function::Features, [id]);
        match there {
            true => reply.succeeded().map(|_| ())?,
            false => reply.refused(FfaError::NotSupported)?,
        }
    }
    Ok(NO_RESULTS)
}

/// Pages whose permissions change while the partition initialises.
#[repr(C, align(4096))]
struct Pages(UnsafeCell<[[u8; PAGE_SIZE]; 4]>);

// SAFETY: only the boot context uses them.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([[0; PAGE_SIZE]; 4]));

fn get(world: &mut PartitionWorld, address: usize, more: u64) -> Reply {
    let call = Request::ffa(Function::MemPermGet, Width::W64);
    world.call(call.with([address as u64, more]))
}

fn set(world: &mut PartitionWorld, address: usize, pages: u64, permissions: u64) -> Reply {
    let call = Request::ffa(Function::MemPermSet, Width::W64);
    world.call(call.with([address as u64, pages, permissions]))
}

/// What FFA_MEM_PERM_GET and SET do before the first FFA_MSG_WAIT.
///
/// # Errors
/// What is wrong.
pub(crate) fn probe(world: &mut PartitionWorld) -> TestResult {
    let pages = PAGES.0.get().addr();
    let page = |number: usize| pages + number * PAGE_SIZE;
    let is = |world: &mut PartitionWorld, address, more, permissions, length| {
        let reply = get(world, address, more).succeeded()?;
        equal("the permissions", reply.x(2), permissions)?;
        equal("the pages after it", reply.x(3), length)
    };
    is(world, image_start(), 0, RX, 0)?;
    is(world, page(0), 3, RW, 3)?;
    for permissions in [RO, NONE, RX, RW] {
        set(world, page(1), 2, permissions).succeeded()?;
        is(world, page(1), 1, permissions, 1)?;
        is(world, page(0), 0, RW, 0)?;
        is(world, page(3), 0, RW, 0)?;
    }
    // Each refused, and nothing changed.
    for (address, pages, permissions) in [
        (page(0), 0, RO),
        (page(0) + 8, 1, RO),
        (0xffff_ffff_ffff_f000, 2, RO),
        (page(0), 0xffff_ffff, RO),
        // Writable and executable, and what is not defined.
        (page(0), 1, 0b001),
        (page(0), 1, 0b010),
        // The device of somebody else, Bulkhead, another partition, nobody.
        (0x0904_0000, 1, RO),
        (0x0e10_0000, 1, RO),
        (0x0e30_0000, 1, RO),
        (0, 1, RO),
    ] {
        set(world, address, pages, permissions).refused(FfaError::InvalidParameters)?;
    }
    get(world, 0x0e10_0000, 0).refused(FfaError::InvalidParameters)?;
    is(world, page(0), 3, RW, 3)?;
    // Code that is written, and then executed.
    const RETURN_42: [u32; 2] = [0x5280_0540, 0xd65f_03c0];
    let code = page(2) as *mut [u32; 2];
    // SAFETY: the page is the partition's own and holds nothing else; what is there returns 42, and is made visible to
    // fetches before it is called.
    let answer = unsafe {
        code.write_volatile(RETURN_42);
        asm!(
            "dc cvau, {code}", "dsb ish", "ic ivau, {code}", "dsb ish", "isb",
            code = in(reg) code, options(nostack)
        );
        set(world, page(2), 1, RX).succeeded()?;
        let function: extern "C" fn() -> u64 = core::mem::transmute(code);
        function()
    };
    set(world, page(2), 1, RW).succeeded()?;
    equal("what the code returned", answer, 42)
}

fn a56_t25_permissions_of_pages_in_the_initialisation(world: &mut NormalWorld) -> TestResult {
    for id in [ONE, OTHER] {
        world.invoke(id, 0, [0; 3])?;
    }
    Ok(())
}

fn permissions_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    match world
        .boot
        .as_ref()
        .and_then(|boot| boot.permissions.clone())
    {
        Some(found) => found.map(|()| NO_RESULTS),
        None => fail!("it did not try"),
    }
}

fn t25_permissions_are_denied_after_the_first_wait(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    for (id, at_el0) in [(primary, 0), (ONE, 1)] {
        world.invoke(id, 0, [at_el0, 0, 0])?;
    }
    for function in [Function::MemPermGet, Function::MemPermSet] {
        let call = Request::ffa(function, Width::W64).with([0x4000_0000, 1, RW]);
        world.call(call).refused(FfaError::NotSupported)?;
    }
    Ok(())
}

fn late_half(world: &mut PartitionWorld, [at_el0, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let page = PAGES.0.get().addr();
    let error = match at_el0 {
        1 => FfaError::Denied,
        _ => FfaError::NotSupported,
    };
    get(world, page, 0).refused(error)?;
    set(world, page, 1, RW).refused(error)?;
    // It may still be written.
    memory::store(page, 7);
    equal("what is there", memory::load(page), 7)?;
    Ok(NO_RESULTS)
}

fn x12_an_interrupt_while_s_el0_runs(world: &mut NormalWorld) -> TestResult {
    let payload = run_half(world.case(), 0, [0; 3]);
    let request = Request::direct(Width::W64, world.id(), ONE, payload);
    let interrupt = world.interrupted(request)?;
    world
        .direct(Width::W64, ONE, [0; 5])
        .refused(FfaError::Busy)?;
    let reply = world.resume(&interrupt)?;
    let [spun, ..] = world.results(ONE, &reply)?;
    equal("what it returned", spun, 0x600d)?;
    world.no_state_change()
}

fn spin_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    counter::spin(counter::microseconds(LONG_SPIN));
    Ok([0x600d, 0, 0, 0])
}

/// TPIDR_EL0 and TPIDRRO_EL0.
fn tpidr() -> [u64; 2] {
    let (own, read_only): (u64, u64);
    // SAFETY: reads registers that have no side effect.
    unsafe {
        asm!("mrs {}, tpidr_el0", "mrs {}, tpidrro_el0", out(reg) own, out(reg) read_only, options(nomem, nostack));
    }
    [own, read_only]
}

fn l6_s_el0_keeps_its_registers_and_sees_nobody_elses(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    for id in [ONE, OTHER] {
        world.invoke(id, 0, [0; 3])?;
    }
    world.invoke(primary, 2, [0; 3])?;
    for id in [OTHER, ONE] {
        world.invoke(id, 1, [0; 3])?;
    }
    world.no_state_change()
}

/// Nothing of others is there; from now on what is there is its own.
fn keep_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    alike(tpidr(), [0, 0])?;
    let canary = Canary::new(world.id());
    // SAFETY: nothing else uses the register.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) canary.pattern(1), options(nomem, nostack)) };
    let fp = FpState::canaries(canary);
    fp.load();
    world.notes[0] = canary.pattern(1);
    world.fp = Some(fp);
    Ok(NO_RESULTS)
}

fn look_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let found = FpState::current();
    alike(tpidr(), [world.notes[0], 0])?;
    match world.fp.as_ref().and_then(|kept| kept.difference(&found)) {
        Some((name, kept, found)) => fail!("{name} is {found:#x} and was {kept:#x}"),
        None => Ok(NO_RESULTS),
    }
}

/// At S-EL1.
fn disturb_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let canary = Canary::new(world.id());
    FpState::canaries(canary).load();
    // SAFETY: nothing else uses the registers.
    unsafe {
        asm!("msr tpidr_el0, {0}", "msr tpidrro_el0, {0}", in(reg) canary.pattern(2), options(nomem, nostack));
    }
    Ok(NO_RESULTS)
}

fn l6_keys_of_pointer_authentication_are_each_partitions_own(
    world: &mut NormalWorld,
) -> TestResult {
    let [one, again, good, _] = world.invoke(ONE, 0, [0; 3])?;
    let [other, ..] = world.invoke(OTHER, 0, [0; 3])?;
    if one == SIGNED && other == SIGNED {
        skip!("this machine signs nothing");
    }
    equal("the signature later", again, one)?;
    equal("whether it is authentic", good, 1)?;
    ensure!(one != other, "both sign alike: {one:#x}");
    world.no_state_change()
}

/// An address without a signature.
const SIGNED: u64 = 0x7800_0000;

/// PACIA1716 and AUTIA1716, which are no operation where there is no pointer authentication.
fn sign_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let sign = || {
        let mut value = SIGNED;
        // SAFETY: the registers are the instruction's operands.
        unsafe {
            asm!("hint #8", inout("x17") value, in("x16") 0x5eed_u64, options(nomem, nostack))
        };
        value
    };
    let first = sign();
    let mut authentic = first;
    // SAFETY: as above; the signature is good.
    unsafe {
        asm!("hint #12", inout("x17") authentic, in("x16") 0x5eed_u64, options(nomem, nostack))
    };
    Ok([first, sign(), u64::from(authentic == SIGNED), 0])
}

fn d03_a43_s_el0_reads_and_writes_what_the_normal_world_shares(
    world: &mut NormalWorld,
) -> TestResult {
    sharing::a43_three_partitions_read_and_write_what_the_normal_world_shares(world)
}

fn d03_a41_s_el0_lends_and_finds_zeroes(world: &mut NormalWorld) -> TestResult {
    sharing::a41_t8_t9_a_partition_lends_and_finds_zeroes(world)
}

fn d03_a40_donated_pages_are_s_el0s(world: &mut NormalWorld) -> TestResult {
    sharing::a40_s36_t22_donated_pages_are_the_receivers(world)
}

fn d03_a49_reclaim_zeroes_what_s_el0_had(world: &mut NormalWorld) -> TestResult {
    sharing::a49_t20_reclaim_zeroes_every_page(world)
}

/// Notifications that each signals to the other.
const BITS: u64 = 1 << 3 | 1 << 40;

/// The schedule receiver interrupt waits until the core is back in the normal world.
const DELAY: u64 = 2;
const SCHEDULE_RECEIVER: u32 = 8;

/// w1 to w4 of FFA_NOTIFICATION_BIND and SET.
fn bits(from: EndpointId, to: EndpointId, flags: u64) -> [u64; 4] {
    let ids = EndpointId::pair(from, to);
    [ids, flags, BITS & 0xffff_ffff, BITS >> 32]
}

fn d03_s_el0_gets_and_sets_notifications_by_calls(world: &mut NormalWorld) -> TestResult {
    let primary = world.tester(Role::Primary)?;
    let os = world.id();
    for (from, to) in [(primary, ONE), (ONE, primary), (OTHER, ONE)] {
        world.invoke(to, 0, [from.0.into(), 0, 0])?;
        let [nothing, ..] = world.invoke(to, 1, [0; 3])?;
        equal("what nobody has signalled", nothing, 0)?;
        world.invoke(from, 2, [to.0.into(), 0, 0])?;
        // Nobody schedules here.
        gic::withdraw(0, SCHEDULE_RECEIVER);
        for expected in [BITS, 0] {
            let [found, ..] = world.invoke(to, 1, [0; 3])?;
            equal("what was signalled", found, expected)?;
        }
        world.invoke(to, 0, [from.0.into(), 1, 0])?;
    }
    // Of the normal world.
    world.invoke(ONE, 0, [os.0.into(), 0, 0])?;
    let signal = world.ffa(Function::NotificationSet, bits(os, ONE, 0));
    signal.succeeded()?;
    gic::withdraw(0, SCHEDULE_RECEIVER);
    let [_, found, ..] = world.invoke(ONE, 1, [0; 3])?;
    equal("what the normal world signalled", found, BITS)?;
    world.invoke(ONE, 0, [os.0.into(), 1, 0])?;
    Ok(())
}

/// Binds [`BITS`] to a sender, or unbinds them.
fn bind_half(world: &mut PartitionWorld, [from, unbind, _]: [u64; 3]) -> TestResult<[u64; 4]> {
    let function = match unbind {
        0 => Function::NotificationBind,
        _ => Function::NotificationUnbind,
    };
    let words = bits(EndpointId(from as u16), world.id(), 0);
    world.ffa(function, words).succeeded()?;
    Ok(NO_RESULTS)
}

/// What partitions have signalled, and what VMs have.
fn fetch_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    const FROM_BOTH: u64 = 0b11;
    let words = [u64::from(world.id().0), FROM_BOTH];
    let reply = world.ffa(Function::NotificationGet, words).succeeded()?;
    let bitmap = |low: usize| reply.x(low + 1) << 32 | reply.x(low);
    Ok([bitmap(2), bitmap(4), 0, 0])
}

fn signal_half(world: &mut PartitionWorld, [to, ..]: [u64; 3]) -> TestResult<[u64; 4]> {
    let words = bits(world.id(), EndpointId(to as u16), DELAY);
    world.ffa(Function::NotificationSet, words).succeeded()?;
    Ok(NO_RESULTS)
}

/// Ends a victim by half 0 of the current case.
fn end(world: &mut NormalWorld, victim: u16) -> TestResult {
    let victim = world.victim_named(victim)?;
    let payload = run_half(world.case(), 0, [0; 3]);
    let reply = world.direct(Width::W64, victim, payload);
    assert_ended(world, victim, reply)?;
    // The others are as they were.
    let hello = [command::HELLO, 0, 0, 0, 0];
    for id in [ONE, OTHER] {
        let reply = world.direct(Width::W64, id, hello);
        reply.returned(Function::MsgSendDirectResp)?;
    }
    Ok(())
}

fn d03_hvc_ends_s_el0(world: &mut NormalWorld) -> TestResult {
    end(world, 0x8004)
}

fn hvc_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.call_by(Conduit::Hvc, Request::ffa(Function::IdGet, Width::W32));
    fail!("it went on: {reply}")
}

fn d03_smc_ends_s_el0(world: &mut NormalWorld) -> TestResult {
    end(world, 0x8005)
}

fn smc_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let reply = world.call_by(Conduit::Smc, Request::ffa(Function::IdGet, Width::W32));
    fail!("it went on: {reply}")
}

fn a79_a_write_to_what_it_may_only_execute_ends_s_el0(world: &mut NormalWorld) -> TestResult {
    end(world, 0x8006)
}

fn write_text_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    memory::store(image_start(), 0);
    fail!("it went on")
}

fn a79_a_fetch_from_what_it_may_only_write_ends_s_el0(world: &mut NormalWorld) -> TestResult {
    end(world, 0x8007)
}

fn fetch_data_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    memory::fetch(PAGES.0.get().addr());
    fail!("it went on")
}

fn a79_an_access_to_bulkheads_half_ends_s_el0(world: &mut NormalWorld) -> TestResult {
    end(world, 0x8008)
}

fn upper_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let found = memory::load(0xffff_ff80_0000_0000);
    fail!("it read {found:#x}")
}

/// Ends one of those beyond the eighth, as [`end`].
fn end_spare(world: &mut NormalWorld) -> TestResult {
    let victim = world.spare()?;
    let payload = run_half(world.case(), 0, [0; 3]);
    let reply = world.direct(Width::W64, victim, payload);
    assert_ended(world, victim, reply)
}

fn a79_a_register_of_s_el1_ends_s_el0(world: &mut NormalWorld) -> TestResult {
    end_spare(world)
}

fn register_half(_: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let found: u64;
    // SAFETY: it ends here.
    unsafe { asm!("mrs {}, sctlr_el1", out(reg) found, options(nomem, nostack)) };
    fail!("it read {found:#x}")
}

fn a79_a_page_that_is_lent_ends_s_el0(world: &mut NormalWorld) -> TestResult {
    end_spare(world)
}

fn touch_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let [_, page, ..] = lend_half(world, [ONE.0.into(), 0, 0])?;
    let found = memory::load(page as usize);
    fail!("it read {found:#x}")
}
