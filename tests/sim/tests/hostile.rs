// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random calls from both worlds (K14): nothing panics, nothing hangs, and the others keep working.
//!
//! The calls are random in the way that finds things: real function ids, real partition ids and
//! small values, mixed with noise. Each run is repeatable by its seed.

use bulkhead_abi::function::TABLE;
use bulkhead_abi::{EndpointId, Function, Registers, Width};
use bulkhead_core::event::{Direction, Event, Fault, FaultKind};
use bulkhead_core::vcpu::StateName;
use bulkhead_mm::attrs::Space;
use bulkhead_sim::*;

const NWD: EndpointId = EndpointId(0);
const VICTIM: EndpointId = EndpointId(0x8001);
const HOSTILE: EndpointId = EndpointId(0x8002);
const RELAY: EndpointId = EndpointId(0x8003);

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn id(&mut self) -> EndpointId {
        let ids = [
            0, 1, 0x7fff, 0x8000, 0x8001, 0x8001, 0x8002, 0x8003, 0x8004, 0xffff,
        ];
        EndpointId(ids[self.below(10) as usize])
    }

    fn value(&mut self) -> u64 {
        match self.below(8) {
            0..=2 => 0,
            3 => self.below(4),
            4 => EndpointId::pair(self.id(), self.id()),
            5 => 0x4000_0000 + (self.below(32) << 12),
            6 => 0x1010_0000 + (self.below(512) << 12),
            _ => self.next(),
        }
    }

    fn call(&mut self) -> Registers {
        let mut registers = call([0; 8]);
        for slot in &mut registers.x[1..18] {
            *slot = self.value();
        }
        registers.x[0] = match self.below(16) {
            0 => self.next(),
            1 => 0xff00 + self.below(16),
            2 => 0x8400_0000 + self.below(0x100),
            3 => 0xc400_0000 + self.below(0x100),
            _ => {
                let function = TABLE[self.below(TABLE.len() as u64) as usize].function;
                function.id(if self.below(2) == 0 {
                    Width::W32
                } else {
                    Width::W64
                })
            }
        };
        if self.below(2) == 0 {
            registers.x[1] = EndpointId::pair(self.id(), self.id());
            registers.x[2] = 0;
        }
        registers
    }
}

fn echo(sp: &mut Sp) {
    let mut request = sp.wait();
    loop {
        request = match request.x[0] & 0xff {
            0x6f => sp.respond(&request, [request.x[3] ^ 0xff, 0, 0, 0, 0]),
            0x8d => {
                let ids = EndpointId::pair(sp.id, request.sender());
                let id = Function::MsgSendDirectResp2.id(Width::W64);
                sp.call(&call([id, ids, 0, 0, 0, 0, 0, 0]))
            }
            _ => sp.wait(),
        };
    }
}

fn system(seed: u64) -> Sim {
    Sim::builder()
        .partition(Spec::new("victim", VICTIM, echo))
        .partition(Spec::new("hostile", HOSTILE, move |sp| {
            let mut random = Random(seed);
            let mut request = sp.wait();
            loop {
                let message = match random.below(40) {
                    // Answers now and then, so that it is asked again.
                    0..=3 => response(Width::W32, HOSTILE, request.sender(), [0; 5]),
                    4 | 5 => ffa(Function::MsgWait, [0; 4]),
                    // Never ends the initialisation or itself by accident: that is another test.
                    _ => random.call(),
                };
                request = sp.call(&message);
            }
        }))
        .partition(Spec::new("relay", RELAY, |sp| {
            let mut request = sp.wait();
            loop {
                let reply = sp.call(&bulkhead_sim::request(Width::W32, RELAY, VICTIM, [7; 5]));
                request = match request.x[0] & 0xff {
                    0x6f => sp.respond(&request, [reply.x[3], 0, 0, 0, 0]),
                    0x8d => {
                        let ids = EndpointId::pair(sp.id, request.sender());
                        let id = Function::MsgSendDirectResp2.id(Width::W64);
                        sp.call(&call([id, ids, 0, 0, 0, 0, 0, 0]))
                    }
                    _ => sp.wait(),
                };
            }
        }))
        .boot()
}

fn still_works(sim: &mut Sim) {
    let reply = sim
        .core(0)
        .call(&request(Width::W32, NWD, VICTIM, [0x5a, 0, 0, 0, 0]));
    assert_function(&reply, Function::MsgSendDirectResp);
    assert_eq!(reply.x[3], 0xa5);
    assert_eq!(sim.state(0, 0), StateName::Waiting);
}

#[test]
fn k14_random_calls_of_the_normal_world_harm_nobody() {
    for seed in 1..=4 {
        let mut sim = system(seed);
        let mut random = Random(seed * 0x9e37_79b9);
        for round in 0..4000 {
            let message = random.call();
            let reply = sim.core(0).call(&message);
            // x18 to x30 are nobody's to change.
            assert_eq!(reply.x[18..], message.x[18..], "seed {seed}, round {round}");
            if round % 100 == 0 {
                still_works(&mut sim);
            }
        }
        still_works(&mut sim);
    }
}

#[test]
fn k14_random_calls_of_a_partition_harm_nobody_else() {
    for seed in 1..=4 {
        let mut sim = system(seed);
        let mut random = Random(seed ^ 0xdead_beef);
        for _ in 0..1500 {
            let call = match random.below(3) {
                0 => run(HOSTILE, 0),
                1 => request(Width::W64, NWD, HOSTILE, [1; 5]),
                _ => request(Width::W32, NWD, RELAY, [1; 5]),
            };
            sim.core(0).call(&call);
            still_works(&mut sim);
        }
    }
}

#[test]
fn k8_a_partition_that_faults_at_any_moment_leaves_everything_usable() {
    for depth in 0..6 {
        let mut sim = Sim::builder()
            .partition(Spec::new("victim", VICTIM, echo))
            .partition(Spec::new("hostile", HOSTILE, move |sp| {
                let map = call([
                    Function::RxtxMap.id(Width::W64),
                    0x1020_0000,
                    0x1020_1000,
                    1,
                    0,
                    0,
                    0,
                    0,
                ]);
                let info = ffa(Function::PartitionInfoGet, [0; 4]);
                let to_victim = request(Width::W32, HOSTILE, VICTIM, [1; 5]);
                let steps = [
                    &map,
                    &info,
                    &to_victim,
                    &ffa(Function::MsgWait, [0; 4]),
                    &to_victim,
                ];
                for step in &steps[..depth.min(5)] {
                    sp.call(step);
                }
                let kind = FaultKind::Data {
                    ipa: 0,
                    space: Space::NonSecure,
                    direction: Direction::Read,
                };
                sp.trap(
                    &info,
                    Event::Fault(Fault {
                        kind,
                        syndrome: 0,
                        address: 0,
                    }),
                );
            }))
            .boot();
        sim.core(0).call(&run(HOSTILE, 0));
        assert_eq!(sim.state(1, 0), StateName::Aborted);
        assert!(sim.rx(2).is_none(), "its buffers are still mapped at S-EL2");
        still_works(&mut sim);
    }
}
