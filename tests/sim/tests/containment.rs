// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a partition ends, and the line that says why: E8 to E12, E14, K1, K4, K6 of the abuse cases, as far as
//! S-EL2 sees them. What a core does is shown on QEMU (`tests/cases/src/containment.rs`); QEMU takes
//! external aborts to S-EL1, and raises no SError, so their way to the end is shown here alone.

use std::cell::RefCell;

use bulkhead_abi::{EndpointId, FfaError, Function, Version, Width};
use bulkhead_core::event::{Access, Direction, Event, Fault, FaultKind};
use bulkhead_core::fault::MAX_RETRIES;
use bulkhead_core::region::{Region, RegionKind};
use bulkhead_core::vcpu::StateName;
use bulkhead_core::virtual_interrupt::Lines;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::{Permissions, Space};
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
/// The partition that faults; index 0.
const VICTIM: EndpointId = EndpointId(0x8001);
/// Another one; index 1.
const OTHER: EndpointId = EndpointId(0x8002);

/// ESR_EL2 of a data abort and an instruction abort from a lower level: a translation fault of level 3.
const DATA_ABORT: u64 = 0x24 << 26 | 1 << 25 | 0x07;
const INSTRUCTION_ABORT: u64 = 0x20 << 26 | 1 << 25 | 0x07;
const S1PTW: u64 = 1 << 7;
const WNR: u64 = 1 << 6;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the lines of each thread: the core runs on the test's own.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// The error lines since the last call.
fn lines() -> Vec<String> {
    LINES.take()
}

fn region(
    kind: RegionKind,
    name: &'static str,
    space: Space,
    base: u64,
    permissions: Permissions,
) -> Region {
    Region {
        kind,
        name,
        space,
        range: PageRange::new(Pa(base), PAGE).expect("a page"),
        ipa: base,
        permissions,
    }
}

const PAGE: u64 = 0x1000;
/// Where the simulator puts the first two partitions.
const OWN: u64 = 0x1010_0000;
const OTHERS: u64 = 0x1020_0000;

/// What the victim has besides its own memory.
fn regions() -> Vec<Region> {
    use RegionKind::{Device, Memory, Own};
    use Space::{NonSecure, Secure};
    let own = Region {
        range: PageRange::new(Pa(OWN), 0x10_0000).expect("a range"),
        ..region(Own, "victim", Secure, OWN, Permissions::READ_WRITE_EXECUTE)
    };
    vec![
        own,
        region(
            Memory,
            "constants",
            Secure,
            OWN + 0xf_f000,
            Permissions::READ_ONLY,
        ),
        region(
            Memory,
            "ours",
            NonSecure,
            0x5000_0000,
            Permissions::READ_WRITE,
        ),
        region(
            Memory,
            "code",
            Secure,
            0x3000_0000,
            Permissions::READ_EXECUTE,
        ),
        region(Device, "rtc", Secure, 0x0901_0000, Permissions::READ_WRITE),
    ]
}

fn listen() {
    // Fails when another test of this file was faster: it is the same logger.
    let _ = log::set_logger(&Log);
    log::set_max_level(log::LevelFilter::Warn);
}

/// A system whose victim makes each of `faults` on a request, then answers; and one that answers.
fn system(faults: impl Fn(&mut Sp) + Clone + Send + Sync + 'static) -> Sim {
    listen();
    let victim = move |sp: &mut Sp| {
        let mut message = sp.wait();
        loop {
            faults(sp);
            message = sp.respond(&message, [0x600d, 0, 0, 0, 0]);
        }
    };
    let echo = |sp: &mut Sp| {
        let mut message = sp.wait();
        loop {
            message = sp.respond(&message, [message.x[3] + 1, 0, 0, 0, 0]);
        }
    };
    let sim = Sim::builder()
        .partition(
            Spec::new("victim", VICTIM, victim).with(|config| config.regions = regions().leak()),
        )
        .partition(Spec::new("other", OTHER, echo))
        .boot();
    lines();
    sim
}

fn trap(sp: &mut Sp, fault: Fault) {
    sp.trap(&call([0; 8]), Event::Fault(fault));
}

fn data(direction: Direction, space: Space, ipa: u64, syndrome: u64) -> Fault {
    Fault {
        kind: FaultKind::Data {
            ipa,
            space,
            direction,
        },
        syndrome: DATA_ABORT | syndrome,
        address: ipa,
    }
}

fn fetch(space: Space, ipa: u64, syndrome: u64) -> Fault {
    Fault {
        kind: FaultKind::Instruction { ipa, space },
        syndrome: INSTRUCTION_ABORT | syndrome,
        address: ipa,
    }
}

fn plain(kind: FaultKind, syndrome: u64) -> Fault {
    Fault {
        kind,
        syndrome,
        address: 0x1234,
    }
}

fn ask(sim: &mut Sim, to: EndpointId) -> bulkhead_abi::Registers {
    sim.core(0)
        .call(&request(Width::W32, NWD, to, [41, 0, 0, 0, 0]))
}

/// The victim is over, its caller was told, and the other one answers.
fn assert_contained(sim: &mut Sim) {
    assert_error(&ask(sim, VICTIM), FfaError::Aborted);
    assert_eq!(sim.state(0, 0), StateName::Aborted);
    assert_error(&ask(sim, VICTIM), FfaError::Aborted);
    let reply = ask(sim, OTHER);
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(reply.x[3], 42);
    assert_eq!(sim.state(1, 0), StateName::Waiting);
}

/// The line of a partition that makes `fault`.
fn line_of(fault: Fault) -> String {
    let mut sim = system(move |sp| {
        trap(sp, fault);
        panic!("it went on after {fault:?}");
    });
    assert_contained(&mut sim);
    let lines = lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines[0].clone()
}

#[test]
fn k1_the_line_names_partition_access_address_region_and_rule() {
    use Direction::{Read, Write};
    use Space::{NonSecure, Secure};
    let constants = OWN + 0xf_f123;
    for (fault, what) in [
        (
            data(Write, Secure, constants, WNR),
            "data abort: write to secure IPA 0x101ff123, which is /memory-regions/constants: read-only \
             (address 0x101ff123, ESR_EL2 0x92000047)",
        ),
        (
            fetch(Secure, constants, 0),
            "instruction abort: fetch from secure IPA 0x101ff123, which is /memory-regions/constants: \
             read-only (address 0x101ff123, ESR_EL2 0x82000007)",
        ),
        (
            data(Write, Secure, 0x3000_0ff8, WNR),
            "data abort: write to secure IPA 0x30000ff8, which is /memory-regions/code: never writable \
             (address 0x30000ff8, ESR_EL2 0x92000047)",
        ),
        (
            fetch(Secure, 0x0901_0000, 0),
            "instruction abort: fetch from secure IPA 0x9010000, which is /device-regions/rtc: never \
             executable (address 0x9010000, ESR_EL2 0x82000007)",
        ),
        (
            fetch(NonSecure, 0x5000_0000, 0),
            "instruction abort: fetch from non-secure IPA 0x50000000, which is /memory-regions/ours: \
             never executable (address 0x50000000, ESR_EL2 0x82000007)",
        ),
        (
            data(Read, Secure, 0x5000_0000, 0),
            "data abort: read from secure IPA 0x50000000, which is nobody's: its manifest does not give \
             it (address 0x50000000, ESR_EL2 0x92000007)",
        ),
        (
            data(Read, Secure, OTHERS + 8, 0),
            "data abort: read from secure IPA 0x10200008, which is other's: its manifest does not give \
             it (address 0x10200008, ESR_EL2 0x92000007)",
        ),
        (
            data(Write, Secure, 0x0e10_0000, WNR),
            "data abort: write to secure IPA 0xe100000, which is Bulkhead's: its manifest does not give \
             it (address 0xe100000, ESR_EL2 0x92000047)",
        ),
        (
            data(Write, NonSecure, 0x0e10_0000, WNR),
            "data abort: write to non-secure IPA 0xe100000, which is nobody's: its manifest does not give \
             it (address 0xe100000, ESR_EL2 0x92000047)",
        ),
    ] {
        assert_eq!(
            line_of(fault),
            format!("victim (0x8001) vCPU 0 aborted at 0x10104000: {what}")
        );
    }
}

#[test]
fn e09_a_fault_on_the_partitions_own_table_walk_says_so() {
    let table = OTHERS;
    for (fault, kind) in [
        (
            data(Direction::Write, Space::Secure, table, S1PTW | WNR),
            "data",
        ),
        (fetch(Space::Secure, table, S1PTW), "instruction"),
    ] {
        assert!(fault.is_on_walk());
        let line = line_of(fault);
        let what = format!(
            "{kind} abort: stage-1 table walk through secure IPA 0x10200000, which is other's: its"
        );
        assert!(line.contains(&what), "{line}");
    }
}

#[test]
fn e12_an_external_abort_or_serror_ends_that_partition_only() {
    for (kind, syndrome, what) in [
        (
            FaultKind::External,
            0x24 << 26 | 0x10,
            "external abort: the memory does not answer (address 0x1234",
        ),
        (
            FaultKind::SError,
            0x2f << 26,
            "SError: an access failed after it was made (address 0x1234",
        ),
    ] {
        let line = line_of(plain(kind, syndrome));
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn f10_an_serror_is_the_partitions_own_where_its_manifest_says_so() {
    let trap = |sp: &mut Sp| {
        let fault = plain(FaultKind::SError, 0x2f << 26);
        sp.trap(&call([0; 8]), Event::Fault(fault));
    };
    let program = move |sp: &mut Sp| {
        let mut request = sp.wait();
        loop {
            trap(sp);
            request = sp.respond(&request, [0x600d, 0, 0, 0, 0]);
        }
    };
    let id = EndpointId(0x8001);
    let spec = Spec::new("handles", id, program).with(|config| config.virtual_serror = true);
    let mut sim = Sim::builder().partition(spec).boot();
    let ask = request(Width::W32, EndpointId(0), id, [0; 5]);
    let reply = sim.core(0).call(&ask);
    assert_function(&reply, Function::MsgSendDirectResp);
    let signals = sim.core(0).machine.signals.clone();
    assert_eq!(signals, [Lines::SERROR], "it is signalled once");
    // It has not taken that one.
    let reply = sim.core(0).call(&ask);
    assert_error(&reply, FfaError::Aborted);
}

#[test]
fn e14_other_exceptions_end_that_partition_by_name() {
    for (syndrome, what) in [
        (
            0x0e << 26,
            "exception: illegal execution state, which no partition may cause",
        ),
        (
            0x22 << 26,
            "exception: misaligned PC, which no partition may cause",
        ),
        (0x3c << 26, "exception: BRK, which no partition may cause"),
        (
            0x24 << 26 | 0x21,
            "data abort: misaligned access, which no partition may cause",
        ),
        (
            0x24 << 26 | 0x11,
            "data abort: tag check fault, which no partition may cause",
        ),
        (
            0x20 << 26 | 0x30,
            "instruction abort: TLB conflict, which no partition may cause",
        ),
        (0x3f << 26, "exception 0x3f, which no partition may cause"),
        (
            0x24 << 26 | 0x3d,
            "data abort 0x3d, which no partition may cause",
        ),
    ] {
        let line = line_of(plain(FaultKind::Exception, syndrome));
        assert!(line.contains(what), "{line}");
    }
}

/// A page that stage 2 allows when S-EL2 looks.
const LATE: u64 = OWN + 0x8_0000;

#[test]
fn e11_an_access_that_stage_2_allows_by_now_is_made_again() {
    let fault = data(Direction::Write, Space::Secure, LATE + 8, WNR);
    let mut sim = system(move |sp| (0..MAX_RETRIES).for_each(|_| trap(sp, fault)));
    sim.allow(0, Space::Secure, LATE, Access::Write);
    let reply = ask(&mut sim, VICTIM);
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(reply.x[3], 0x600d);
    assert_eq!(lines(), Vec::<String>::new());
}

#[test]
fn e11_one_access_too_many_ends_the_partition() {
    let fault = data(Direction::Write, Space::Secure, LATE + 8, WNR);
    let mut sim = system(move |sp| (0..=MAX_RETRIES).for_each(|_| trap(sp, fault)));
    sim.allow(0, Space::Secure, LATE, Access::Write);
    assert_contained(&mut sim);
    let lines = lines();
    assert!(
        lines.len() == 1
            && lines[0].contains(
                "write to secure IPA 0x10180008, which is its own memory: read, write and execute, but \
                 it faulted 8 times in a row"
            ),
        "{lines:#?}"
    );
}

#[test]
fn e11_the_count_is_of_one_access() {
    let faults = [0, 8, 16].map(|offset| data(Direction::Write, Space::Secure, LATE + offset, WNR));
    let mut sim = system(move |sp| {
        for _ in 0..10 {
            faults.iter().for_each(|fault| trap(sp, *fault));
        }
    });
    sim.allow(0, Space::Secure, LATE, Access::Write);
    assert_function(&ask(&mut sim, VICTIM), Function::MsgSendDirectResp);
}

#[test]
fn e11_what_stage_2_allows_elsewhere_is_no_reason_to_go_on() {
    let allowed = [
        (0, Space::NonSecure, LATE, Access::Write),
        (0, Space::Secure, LATE, Access::Read),
        (0, Space::Secure, LATE, Access::Fetch),
        (0, Space::Secure, LATE + PAGE, Access::Write),
        (1, Space::Secure, LATE, Access::Write),
    ];
    let mut sim = system(|sp| {
        trap(sp, data(Direction::Write, Space::Secure, LATE, WNR));
        panic!("it went on");
    });
    for (partition, space, page, access) in allowed {
        sim.allow(partition, space, page, access);
    }
    assert_contained(&mut sim);
}

#[test]
fn e11_a_walk_needs_to_read_whatever_the_access() {
    let fault = data(Direction::Write, Space::Secure, LATE, S1PTW | WNR);
    let mut sim = system(move |sp| trap(sp, fault));
    sim.allow(0, Space::Secure, LATE, Access::Read);
    assert_function(&ask(&mut sim, VICTIM), Function::MsgSendDirectResp);
    let mut sim = system(move |sp| trap(sp, fault));
    sim.allow(0, Space::Secure, LATE, Access::Write);
    assert_contained(&mut sim);
}

#[test]
fn e11_only_faults_of_stage_2_are_looked_at_again() {
    for kind in [FaultKind::External, FaultKind::SError, FaultKind::Exception] {
        let mut sim = system(move |sp| trap(sp, plain(kind, DATA_ABORT)));
        sim.allow(0, Space::Secure, PAGE, Access::Read);
        assert_contained(&mut sim);
    }
}

/// FFA_ABORT with a code that has more than 32 bits.
fn abort(width: Width) -> bulkhead_abi::Registers {
    call([Function::Abort.id(width), 0, 0x5_0000_002a, 0, 0, 0, 0, 0])
}

/// Ends itself when it is asked to or given cycles, and in its initialisation if `at_once`.
fn quitter(id: EndpointId, width: Width, at_once: bool) -> Spec {
    let quit = move |sp: &mut Sp| {
        if !at_once {
            sp.wait();
        }
        let reply = sp.call(&abort(width));
        panic!("FFA_ABORT returned: {reply:x?}");
    };
    Spec::new("quitter", id, quit).with(|config| config.version = Version::V1_3)
}

#[test]
fn k6_ffa_abort_ends_a_partition_in_each_runtime_model() {
    let code = [(Width::W32, "0x2a"), (Width::W64, "0x50000002a")];
    for (width, code) in code {
        listen();
        let ask_quitter = |sp: &mut Sp| {
            let message = sp.wait();
            let reply = sp.call(&request(Width::W64, sp.id, VICTIM, [0; 5]));
            sp.respond(&message, [reply.x[0], reply.x[2], 0, 0, 0]);
        };
        type Way = (bool, fn(&mut Sim) -> u64);
        let ways: [Way; 4] = [
            // RTM_SP_INIT: nobody waits for it.
            (true, |_| FfaError::Aborted.to_register()),
            // RTM_FFA_DIR_REQ, of the normal world and of a partition.
            (false, |sim| {
                sim.core(0)
                    .call(&request(Width::W64, NWD, VICTIM, [0; 5]))
                    .x[2]
            }),
            (false, |sim| {
                let reply = sim.core(0).call(&request(Width::W64, NWD, OTHER, [0; 5]));
                assert_eq!(reply.x[3], Function::Error.id(Width::W32));
                reply.x[4]
            }),
            // RTM_FFA_RUN.
            (false, |sim| sim.core(0).call(&run(VICTIM, 0)).x[2]),
        ];
        for (at_once, end) in ways {
            let mut sim = Sim::builder()
                .partition(quitter(VICTIM, width, at_once))
                .partition(Spec::new("other", OTHER, ask_quitter))
                .boot();
            assert_eq!(end(&mut sim), FfaError::Aborted.to_register());
            let said = lines();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].starts_with("quitter (0x8001) vCPU 0 aborted at "),
                "{said:?}"
            );
            assert!(
                said[0].ends_with(&format!(": FFA_ABORT, code {code}")),
                "{said:?}"
            );
            assert_eq!(sim.state(0, 0), StateName::Aborted);
            assert_eq!(sim.state(1, 0), StateName::Waiting);
            for call in [request(Width::W64, NWD, VICTIM, [0; 5]), run(VICTIM, 0)] {
                assert_error(&sim.core(0).call(&call), FfaError::Aborted);
            }
        }
    }
}

#[test]
fn k6_ffa_abort_is_not_there_for_the_normal_world_and_before_1_3() {
    let (spec, puppet) = Puppet::new("old", VICTIM);
    let mut sim = Sim::builder().partition(spec).boot();
    sim.negotiate(Version::V1_3);
    for width in [Width::W32, Width::W64] {
        assert_error(&sim.core(0).call(&abort(width)), FfaError::NotSupported);
        assert_error(
            &puppet.call(sim.core(0), &abort(width)),
            FfaError::NotSupported,
        );
    }
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}
