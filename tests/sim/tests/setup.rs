// SPDX-License-Identifier: MIT OR Apache-2.0
//! Setup and discovery: versions, features, ids, mailboxes and partition information.

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};
use bulkhead_sim::*;

const A: EndpointId = EndpointId(0x8001);
const B: EndpointId = EndpointId(0x8002);
/// Where that of partition A begins.
const A_MEMORY: u64 = 0x1010_0000;

fn idle(_: &mut Sp) {}

fn system() -> Sim {
    Sim::builder()
        .partition(Spec::new("alpha", A, idle))
        .partition(Spec::new("beta", B, idle).with(|config| {
            config.uuids = vec![Uuid([2; 16]), Uuid([3; 16])].leak();
            config.version = Version::V1_0;
        }))
        .boot()
}

#[test]
fn a02_the_spmd_negotiates_for_the_normal_world() {
    let mut sim = system();
    assert_eq!(
        sim.negotiate(Version::V1_1),
        u64::from(Version::OURS.to_word())
    );
    assert_eq!(
        sim.negotiate(Version { major: 2, minor: 0 }),
        FfaError::NotSupported.to_register()
    );
    // FFA_VERSION itself is answered in w0.
    let reply = sim
        .core(0)
        .call(&ffa(Function::Version, [0x8000_0000, 0, 0, 0]));
    assert_eq!(
        reply.x[..8],
        [FfaError::NotSupported.to_register(), 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn v5_v6_the_normal_worlds_version_is_settled_by_its_first_other_call() {
    let mut sim = system();
    sim.negotiate(Version::V1_1);
    sim.negotiate(Version::V1_2);
    sim.core(0).call(&ffa(Function::IdGet, [0; 4]));
    let refused = FfaError::NotSupported.to_register();
    assert_eq!(sim.negotiate(Version::V1_1), refused);
    assert_eq!(
        sim.negotiate(Version::V1_2),
        u64::from(Version::OURS.to_word())
    );
}

#[test]
fn v7_an_interrupt_before_the_first_version_leaves_the_negotiation_open() {
    let mut sim = system();
    let mut interrupt = Registers::ZERO;
    interrupt.x[0] = Function::Interrupt.id(Width::W32);
    sim.core(0).call(&interrupt);
    assert_eq!(
        sim.negotiate(Version::V1_1),
        u64::from(Version::OURS.to_word())
    );
}

#[test]
fn v11_features_answers_not_supported_and_nothing_else_for_what_is_not_there() {
    let mut sim = system();
    for id in [
        0,
        1,
        2,
        3,
        4,
        5,
        0xff,
        0x1_00,
        0x7fff_ffff,
        0x8400_00ef,
        0xc400_0063,
        0x8200_0000,
    ] {
        let reply = sim.core(0).call(&ffa(Function::Features, [id, 0, 0, 0]));
        assert_error(&reply, FfaError::NotSupported);
    }
}

#[test]
fn v15_features_reports_a_call_exactly_when_it_is_served() {
    let mut sim = system();
    sim.negotiate(Version::V1_2);
    for row in &bulkhead_abi::function::TABLE {
        if !matches!(row.kind, bulkhead_abi::function::Kind::Call) {
            continue;
        }
        for width in [Width::W32, Width::W64]
            .into_iter()
            .filter(|width| row.has(*width))
        {
            let id = row.function.id(width);
            let reported = sim.core(0).call(&ffa(Function::Features, [id, 0, 0, 0]));
            // FFA_FEATURES asks about itself here, so that its call is well-formed.
            let made = sim.core(0).call(&call([id, id, 0, 0, 0, 0, 0, 0]));
            let served = error(&made) != Some(FfaError::NotSupported.to_register());
            // FFA_VERSION has no FFA_ERROR; with major 0 it answers NOT_SUPPORTED in w0.
            assert_eq!(error(&reported).is_none(), served, "{} {width:?}", row.name);
        }
    }
}

#[test]
fn a05_each_caller_is_told_its_own_id() {
    let mut sim = Sim::builder()
        .partition(Spec::new("alpha", A, |sp| {
            let id = sp.call(&ffa(Function::IdGet, [0; 4]));
            assert_eq!(
                id.x[..3],
                [Function::Success.id(Width::W32), 0, u64::from(A.0)]
            );
            let spmc = sp.call(&ffa(Function::SpmIdGet, [0; 4]));
            assert_eq!(spmc.x[..3], [Function::Success.id(Width::W32), 0, 0x8000]);
        }))
        .boot();
    let id = sim.core(0).call(&ffa(Function::IdGet, [0; 4]));
    assert_eq!(id.x[..3], [Function::Success.id(Width::W32), 0, 0]);
}

#[test]
fn d13_a_secondary_entry_is_registered_by_who_may_and_where_it_may_lie() {
    let register = |entry: u64| {
        let mut message = call([0; 8]);
        message.x[0] = Function::SecondaryEpRegister.id(Width::W64);
        message.x[1] = entry;
        message
    };
    let mut sim = Sim::builder()
        .cores(2)
        .partition(
            Spec::new("alpha", A, move |sp| {
                for entry in [
                    0,
                    A_MEMORY - 4,
                    A_MEMORY + 0x10_0000,
                    A_MEMORY + 2,
                    u64::MAX,
                ] {
                    assert_error(&sp.call(&register(entry)), FfaError::InvalidParameters);
                }
                assert_function(&sp.call(&register(A_MEMORY)), Function::Success);
                sp.wait();
                assert_error(&sp.call(&register(A_MEMORY)), FfaError::Denied);
            })
            .multi_core(),
        )
        .partition(Spec::new("beta", B, move |sp| {
            assert_error(
                &sp.call(&register(A_MEMORY + 0x10_0000)),
                FfaError::NotSupported,
            );
        }))
        .boot();
    assert_error(
        &sim.core(0).call(&register(A_MEMORY)),
        FfaError::NotSupported,
    );
    assert_function(&sim.core(0).call(&run(A, 0)), Function::MsgWait);
}

#[test]
fn d14_a_partition_prints_whole_lines_under_its_own_name() {
    let log = |text: &[u8]| {
        let mut message = call([0; 8]);
        message.x[0] = Function::ConsoleLog.id(Width::W32);
        message.x[1] = text.len() as u64;
        for (index, chunk) in text.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            message.x[2 + index] = u64::from(u32::from_le_bytes(word));
        }
        message
    };
    let sim = Sim::builder()
        .partition(Spec::new("alpha", A, move |sp| {
            assert_function(&sp.call(&log(b"first half, ")), Function::Success);
            assert_function(
                &sp.call(&log(b"second\n[beta 0] forged")),
                Function::Success,
            );
            assert_function(&sp.call(&log(b"\x1b[2J\r\n")), Function::Success);
            assert_error(&sp.call(&log(b"")), FfaError::InvalidParameters);
            let mut long = log(b"x");
            long.x[1] = 25;
            assert_error(&sp.call(&long), FfaError::InvalidParameters);
        }))
        .boot();
    assert_eq!(
        sim.console(),
        [
            "[alpha 0] first half, second",
            "[alpha 0] [beta 0] forged.[2J"
        ]
    );
}

#[test]
fn paravirtual_calls_are_answered_and_wrong_ones_refused() {
    Sim::builder()
        .partition(
            Spec::new("alpha", A, |sp| {
                let mut ask = |id: u64, x1: u64| sp.hvc(&call([id, x1, 1, 0, 0, 0, 0, 0])).x[0];
                for intid in [3, 4, 5, 9, 40] {
                    assert_eq!(ask(0xff03, intid), 0);
                }
                assert_eq!(ask(0xff03, 41), u64::MAX);
                assert_eq!(ask(0xff04, 0), 0xffff_ffff);
                assert_eq!(ask(0xff05, 0), u64::MAX);
            })
            .with(|config| config.interrupts = &[40]),
        )
        .boot();
}
