// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways to the errors of memory transactions, and of permissions at S-EL0.

use std::sync::{Arc, Mutex};

use bulkhead_abi::FfaError::{self, *};
use bulkhead_abi::memory::Handle;
use bulkhead_abi::memory::registers::Fragment;
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width};
use bulkhead_core::region::Region;
use bulkhead_mm::addr::{Pa, PageRange};
use bulkhead_mm::attrs::Space;
use bulkhead_sim::memory::Quotas;
use bulkhead_sim::sharing::{Desk, Retrieve, Send, Who, run};
use bulkhead_sim::{Sim, Spec, call, ffa, request};

const OS: Who = Who::Normal;
const P1: Who = Who::Sp(0);
const P2: Who = Who::Sp(1);
const V: Version = Version::V1_2;

/// The last answer on the way.
pub type Way = (Function, FfaError, fn() -> Registers);

fn poor(partition: usize, normal_world: usize) -> Desk {
    let quotas = Quotas {
        partition,
        normal_world,
    };
    Desk::with(2, quotas, |_, spec| spec)
}

/// Memory of the normal world for P1.
fn gift(function: Function, constituents: u64) -> Send {
    let runs: Vec<_> = (0..constituents)
        .map(|number| run(OS.memory() + number * 0x2000, 1))
        .collect();
    Send::new(function, OS, &[P1], &runs)
}

fn give(mut desk: Desk, function: Function) -> Registers {
    desk.describe(OS, function, &gift(function, 3).encode(V))
}

/// P1 sends what is P2's.
fn steal(function: Function) -> Registers {
    let send = Send::new(function, P1, &[P2], &[run(P2.memory(), 1)]);
    Desk::new(2).describe(P1, function, &send.encode(V))
}

fn broken(who: Who) -> Desk {
    let desk = Desk::new(2);
    desk.sim.break_mailbox(who.slot());
    desk
}

fn without_buffers(message: &Registers) -> Registers {
    let mut desk = Desk::new(2);
    desk.call(P1, &ffa(Function::RxtxUnmap, [0; 4]));
    desk.call(P1, message)
}

/// A share of so many constituents, which P1 asks for.
fn shared(mut desk: Desk, constituents: u64) -> (Desk, Handle, Registers) {
    let send = gift(Function::MemShare, constituents);
    let handle = desk.send(OS, &send).expect("it shares");
    let request = Retrieve::of(&send, handle).encode(V);
    let reply = desk.describe(P1, Function::MemRetrieveReq, &request);
    (desk, handle, reply)
}

fn relinquish(mut desk: Desk, handle: Handle) -> Registers {
    let mut bytes = handle.0.to_le_bytes().to_vec();
    bytes.extend([0, 0, 0, 0, 1, 0, 0, 0, 1, 0x80]);
    desk.write_tx(P1, &bytes);
    desk.call(P1, &ffa(Function::MemRelinquish, [0; 4]))
}

fn reclaim(desk: &mut Desk, who: Who, handle: Handle, flags: u64) -> Registers {
    let (low, high) = handle.to_words();
    let words = [u64::from(low), u64::from(high), flags, 0];
    desk.call(who, &ffa(Function::MemReclaim, words))
}

/// FFA_MEM_FRAG_RX or FFA_MEM_FRAG_TX of P1.
fn fragment(handle: Handle, position: u32) -> Fragment {
    Fragment {
        handle,
        position,
        endpoint: EndpointId(0),
    }
}

/// The second fragment of a share of the normal world, of `constituents` constituents, the last `bad` of which
/// are not its own; `spoil` comes first.
fn second(mut desk: Desk, constituents: u64, bad: bool, spoil: impl Fn(&Desk)) -> Registers {
    let mut send = gift(Function::MemShare, constituents);
    if bad && let Some(last) = send.constituents.last_mut() {
        last.address = P2.memory();
    }
    let bytes = send.encode(V);
    let first = bytes.len() - 16 * (constituents as usize / 3);
    desk.write_tx(OS, &bytes[..first]);
    let words = [bytes.len() as u64, first as u64, 0, 0];
    let asked = desk.call(OS, &ffa(Function::MemShare, words));
    let asked = Fragment::decode(&asked);
    desk.write_tx(OS, &bytes[first..]);
    spoil(&desk);
    let next = fragment(asked.handle, (bytes.len() - first) as u32);
    desk.call(OS, &call(next.transmit()))
}

/// A call of a partition at S-EL0 that has a block of memory and no page to split it: its answer, from the
/// initialisation or from later.
fn permissions(function: Function, address: u64, starts: bool) -> Registers {
    let memory = PageRange::new(Pa(0x1020_0000), 2 << 20).expect("a block");
    let quotas = Quotas {
        partition: 0,
        normal_world: 8,
    };
    let answer = Arc::new(Mutex::new(Registers::ZERO));
    let shared = answer.clone();
    // One page, which may be read and written.
    let asked = call([function.id(Width::W64), address, 1, 5, 0, 0, 0, 0]);
    let spec = Spec::new("el0", EndpointId(0x8002), move |sp| {
        let asked_by = (!starts).then(|| sp.wait());
        *shared.lock().unwrap() = sp.svc(&asked);
        if let Some(request) = asked_by {
            sp.respond(&request, [0; 5]);
        }
    });
    let spec = spec.with(|config| {
        config.regions = vec![Region::own("el0", memory)].leak();
    });
    let mut sim = Sim::builder()
        .quotas(quotas)
        .partition(spec.at_el0())
        .boot();
    if !starts {
        let (os, el0) = (EndpointId(0), EndpointId(0x8002));
        sim.core(0).call(&request(Width::W32, os, el0, [0; 5]));
    }
    let made = answer.lock().unwrap();
    made.clone()
}

/// A call of a partition at S-EL1.
fn at_el1(function: Function) -> Registers {
    Desk::new(1).call(P1, &ffa(function, [0; 4]))
}

#[rustfmt::skip]
pub static WAYS: &[Way] = {
    use Function as F;
    &[
        (F::MemDonate, InvalidParameters, || Desk::new(1).call(OS, &ffa(F::MemDonate, [0; 4]))),
        (F::MemDonate, NoMemory, || give(poor(8, 0), F::MemDonate)),
        (F::MemDonate, Denied, || steal(F::MemDonate)),
        (F::MemDonate, Aborted, || give(broken(OS), F::MemDonate)),
        (F::MemLend, InvalidParameters, || Desk::new(1).call(OS, &ffa(F::MemLend, [0; 4]))),
        (F::MemLend, NoMemory, || give(poor(8, 0), F::MemLend)),
        (F::MemLend, Denied, || steal(F::MemLend)),
        (F::MemLend, Aborted, || give(broken(OS), F::MemLend)),
        (F::MemShare, InvalidParameters, || Desk::new(1).call(OS, &ffa(F::MemShare, [0; 4]))),
        (F::MemShare, NoMemory, || give(poor(8, 0), F::MemShare)),
        (F::MemShare, Denied, || steal(F::MemShare)),
        (F::MemShare, Aborted, || give(broken(OS), F::MemShare)),
        (F::MemRetrieveReq, InvalidParameters, || Desk::new(1).call(P1, &ffa(F::MemRetrieveReq, [0; 4]))),
        (F::MemRetrieveReq, NoMemory, || shared(poor(0, 8), 3).2),
        (F::MemRetrieveReq, Busy, || without_buffers(&ffa(F::MemRetrieveReq, [48, 48, 0, 0]))),
        (F::MemRetrieveReq, Denied, || {
            let (mut desk, handle, _) = shared(Desk::new(2), 3);
            desk.call(P1, &ffa(F::RxRelease, [0; 4]));
            let request = Retrieve::of(&gift(F::MemShare, 3), handle).encode(V);
            desk.describe(P1, F::MemRetrieveReq, &request)
        }),
        (F::MemRetrieveReq, Aborted, || broken(P1).call(P1, &ffa(F::MemRetrieveReq, [48, 48, 0, 0]))),
        (F::MemRelinquish, InvalidParameters, || relinquish(Desk::new(2), Handle(7))),
        (F::MemRelinquish, Denied, || {
            let mut desk = Desk::new(2);
            let handle = desk.send(OS, &gift(F::MemShare, 3)).expect("it shares");
            relinquish(desk, handle)
        }),
        (F::MemRelinquish, Aborted, || relinquish(broken(P1), Handle(7))),
        (F::MemReclaim, InvalidParameters, || reclaim(&mut Desk::new(2), OS, Handle(7), 0)),
        (F::MemReclaim, Denied, || {
            let (mut desk, handle, _) = shared(Desk::new(2), 3);
            reclaim(&mut desk, OS, handle, 0)
        }),
        (F::MemReclaim, Aborted, || {
            let mut desk = Desk::new(2);
            let handle = desk.send(OS, &gift(F::MemLend, 3)).expect("it lends");
            desk.sim.memory(|memory| memory.broken.push((Space::NonSecure, OS.memory() + 0x2000)));
            reclaim(&mut desk, OS, handle, 1)
        }),
        (F::MemFragRx, InvalidParameters, || Desk::new(1).call(P1, &call(fragment(Handle(7), 0).receive()))),
        (F::MemFragRx, Busy, || without_buffers(&call(fragment(Handle(7), 0).receive()))),
        (F::MemFragRx, Aborted, || {
            let (mut desk, handle, reply) = shared(Desk::new(2), 600);
            desk.call(P1, &ffa(F::RxRelease, [0; 4]));
            desk.sim.break_mailbox(P1.slot());
            desk.call(P1, &call(fragment(handle, reply.w::<2>()).receive()))
        }),
        (F::MemFragTx, InvalidParameters, || Desk::new(1).call(P1, &call(fragment(Handle(7), 16).transmit()))),
        (F::MemFragTx, NoMemory, || second(poor(8, 1), 300, false, |_| {})),
        (F::MemFragTx, Denied, || second(Desk::new(2), 300, true, |_| {})),
        (F::MemFragTx, Aborted, || second(Desk::new(2), 300, false, |desk| desk.sim.break_mailbox(0))),
        (F::MemPermGet, NotSupported, || at_el1(F::MemPermGet)),
        (F::MemPermGet, InvalidParameters, || permissions(F::MemPermGet, 0x1000, true)),
        (F::MemPermGet, Denied, || permissions(F::MemPermGet, 0x1020_0000, false)),
        (F::MemPermSet, NotSupported, || at_el1(F::MemPermSet)),
        (F::MemPermSet, InvalidParameters, || permissions(F::MemPermSet, 0x1000, true)),
        (F::MemPermSet, NoMemory, || permissions(F::MemPermSet, 0x1020_0000, true)),
        (F::MemPermSet, Denied, || permissions(F::MemPermSet, 0x1020_0000, false)),
    ]
};
