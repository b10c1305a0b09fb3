// SPDX-License-Identifier: MIT OR Apache-2.0
//! Setup: versions, features, ids, entry points and the console.

use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Version, Width};
use std::sync::{Arc, Mutex};

use bulkhead_core::vcpu::StateName;
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
            config.services = services(config.properties, [2, 3]);
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

/// Who asks FFA_FEATURES about a call and then makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    NormalWorld,
    SingleCore,
    MultiCore,
}

/// Whether FFA_FEATURES reports the call `id` to `asker` at `version`, and whether it is served: answered
/// with anything but NOT_SUPPORTED, or not answered since it ended the caller's run.
fn reported_and_served(asker: Asker, version: Version, id: u64) -> (bool, bool) {
    // FFA_FEATURES asks about itself here, so that its own call is well-formed.
    let made = call([id, Function::Features.id(Width::W32), 0, 0, 0, 0, 0, 0]);
    let is_served = |reply: &Registers| error(reply) != Some(FfaError::NotSupported.to_register());
    let question = ffa(Function::Features, [id, 0, 0, 0]);
    if asker == Asker::NormalWorld {
        let mut sim = system();
        sim.negotiate(version);
        let reported = error(&sim.core(0).call(&question)).is_none();
        return (reported, is_served(&sim.core(0).call(&made)));
    }
    let outcome = Arc::new(Mutex::new((false, true)));
    let seen = outcome.clone();
    let spec = Spec::new("alpha", A, move |sp| {
        let reported = error(&sp.call(&question)).is_none();
        *seen.lock().unwrap() = (reported, true);
        let reply = sp.call(&made);
        *seen.lock().unwrap() = (reported, is_served(&reply));
    })
    .with(move |config| config.version = version);
    let spec = match asker {
        Asker::MultiCore => spec.multi_core(),
        _ => spec,
    };
    Sim::builder().cores(2).partition(spec).boot();
    *outcome.lock().unwrap()
}

#[test]
fn v15_features_reports_a_call_exactly_when_it_is_served() {
    let mut served_calls = 0;
    for asker in [Asker::NormalWorld, Asker::SingleCore, Asker::MultiCore] {
        for version in [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3] {
            let calls = bulkhead_abi::function::TABLE
                .iter()
                .filter(|row| matches!(row.kind, bulkhead_abi::function::Kind::Call));
            for row in calls {
                for width in [Width::W32, Width::W64] {
                    if !row.has(width) {
                        continue;
                    }
                    let id = row.function.id(width);
                    let (reported, served) = reported_and_served(asker, version, id);
                    let name = row.name;
                    assert_eq!(
                        reported, served,
                        "{name} {width:?} by {asker:?} at {version}"
                    );
                    served_calls += usize::from(served);
                }
            }
        }
    }
    assert!(
        served_calls > 12 * 10,
        "only {served_calls} of all calls are served"
    );
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

#[test]
fn v8_of_two_cores_that_negotiate_at_once_exactly_one_value_stays() {
    let versions = [Version::V1_0, Version::V1_2];
    // What a 64-bit call does to x8 to x17 tells which version its caller is taken to speak.
    let spoken = |core: &mut Core| {
        let reply = core.call(&call([
            Function::RxtxMap.id(Width::W64),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]));
        let zeroes = reply.x[8..18].iter().filter(|x| **x == 0).count();
        assert!(
            zeroes == 0 || zeroes == 10,
            "a mixture of versions: {reply:x?}"
        );
        versions[usize::from(zeroes != 0)]
    };
    let negotiate_and_call = |core: &mut Core, version: Version| {
        let wanted = u64::from(version.to_word());
        let answer = core.call(&ffa(Function::Version, [wanted, 0, 0, 0])).x[0];
        let accepted = answer == u64::from(Version::OURS.to_word());
        // The other core's call has settled another version already.
        assert!(accepted || answer == FfaError::NotSupported.to_register());
        let first = spoken(core);
        assert!(accepted || first != version);
        (first, spoken(core))
    };
    for _ in 0..300 {
        let sim = Sim::builder()
            .cores(2)
            .partition(Spec::new("alpha", A, idle))
            .boot();
        let mut cores = sim.into_cores();
        let (mut second, mut first) = (cores.pop().unwrap(), cores.pop().unwrap());
        second.switch_on();
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| negotiate_and_call(&mut second, versions[1]));
            (
                negotiate_and_call(&mut first, versions[0]),
                other.join().unwrap(),
            )
        });
        assert_eq!(one.0, one.1, "a settled version changed");
        assert_eq!(one, other, "two cores see two versions");
    }
}

#[test]
fn v12_a_feature_query_with_input_is_not_supported_from_1_1_on() {
    for (version, expected) in [
        (Version::V1_0, None),
        (Version::V1_1, Some(FfaError::NotSupported)),
        (Version::V1_2, Some(FfaError::NotSupported)),
        (Version::V1_3, Some(FfaError::NotSupported)),
    ] {
        let mut sim = system();
        sim.negotiate(version);
        for function in [
            Function::RxtxMap,
            Function::IdGet,
            Function::MsgSendDirectReq,
        ] {
            let id = function.id(Width::W32);
            for input in [1, 2, 0x8000_0000] {
                let reply = sim
                    .core(0)
                    .call(&ffa(Function::Features, [id, input, 0, 0]));
                match expected {
                    Some(code) => assert_error(&reply, code),
                    None => assert_function(&reply, Function::Success),
                }
            }
        }
    }
}

#[test]
fn v13_features_of_interrupts_are_not_supported_where_there_are_none() {
    // 1 NPI and 3 ME of a partition without either, 2 SRI of the normal world where EL3 keeps it.
    for version in [Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3] {
        let ask = |sp: &mut dyn FnMut(&Registers) -> Registers| {
            for id in 1..=3 {
                let reply = sp(&ffa(Function::Features, [id, 0, 0, 0]));
                assert_error(&reply, FfaError::NotSupported);
            }
        };
        let mut sim = Sim::builder()
            .partition(
                Spec::new("alpha", A, move |sp| ask(&mut |message| sp.call(message)))
                    .with(move |config| config.version = version),
            )
            .boot();
        sim.negotiate(version);
        sim.core(0).machine.scheduler_is_non_secure = false;
        ask(&mut |message| sim.core(0).call(message));
        assert_eq!(sim.state(0, 0), StateName::Waiting);
    }
}

#[test]
fn v14_features_of_rxtx_map_answers_for_each_width_as_the_call_does() {
    const DRAM: u64 = 0x4000_0000;
    for width in [Width::W32, Width::W64] {
        let mut sim = system();
        sim.negotiate(Version::V1_2);
        let id = Function::RxtxMap.id(width);
        let reply = sim.core(0).call(&ffa(Function::Features, [id, 0, 0, 0]));
        // 4 KiB granule, at most 16 pages.
        assert_eq!(
            reply.x[..3],
            [Function::Success.id(Width::W32), 0, 16 << 16]
        );
        let made = sim
            .core(0)
            .call(&call([id, DRAM, DRAM + PAGE, 1, 0, 0, 0, 0]));
        assert_function(&made, Function::Success);
    }
}

#[test]
fn d12_arguments_of_id_get_are_ignored() {
    for function in [Function::IdGet, Function::SpmIdGet] {
        let mut sim = system();
        sim.negotiate(Version::V1_2);
        let plain = sim.core(0).call(&ffa(function, [0; 4]));
        let busy = sim.core(0).call(&ffa(function, [u64::MAX; 4]));
        assert_eq!(plain.x[..18], busy.x[..18]);
        assert_function(&plain, Function::Success);
    }
}
