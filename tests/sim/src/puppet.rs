// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions that make the calls that a scenario asks for.

use std::sync::{Arc, Mutex};

use bulkhead_abi::{EndpointId, Function, Registers, Width};
use bulkhead_core::event::{Event, Fault, FaultKind};

use crate::program::Sp;
use crate::world::{Core, Spec};

/// What [`Puppet::fail`] asks for in place of a function id; no call has it.
const FAULT: u64 = u64::MAX;

/// A way to make calls as a partition. Each call is one direct request of the normal world, and made by
/// the execution context of the core that it is made on.
#[derive(Clone)]
pub struct Puppet {
    id: EndpointId,
    call: Arc<Mutex<Registers>>,
}

impl Puppet {
    /// A partition that makes calls for the normal world, and the way to ask for them.
    pub fn new(name: &'static str, id: EndpointId) -> (Spec, Self) {
        let call = Arc::new(Mutex::new(Registers::ZERO));
        let shared = call.clone();
        let spec = Spec::new(name, id, move |sp| {
            let mut register = crate::call([0; 8]);
            register.x[0] = Function::SecondaryEpRegister.id(Width::W64);
            register.x[1] = sp.entry_point();
            sp.call(&register);
            let mut request = sp.wait();
            loop {
                let wanted = shared.lock().unwrap().clone();
                let reply = make(sp, &wanted);
                *shared.lock().unwrap() = reply;
                request = sp.respond(&request, [0; 5]);
            }
        });
        (spec, Self { id, call })
    }

    /// The next request has the partition make this call.
    ///
    /// # Panics
    /// If the partition's program failed.
    pub fn ask(&self, message: &Registers) {
        *self.call.lock().unwrap() = message.clone();
    }

    /// The next request has the partition touch memory that does not answer, which ends it.
    pub fn fail(&self) {
        self.ask(&crate::call([FAULT, 0, 0, 0, 0, 0, 0, 0]));
    }

    /// Makes a call as the partition, on this core, and returns what came back.
    ///
    /// # Panics
    /// If the partition does not answer.
    #[track_caller]
    pub fn call(&self, core: &mut Core, message: &Registers) -> Registers {
        self.ask(message);
        let request = crate::request(Width::W32, EndpointId(0), self.id, [0; 5]);
        let mut answer = core.call(&request);
        while answer.x[0] == Function::Interrupt.id(Width::W32) {
            core.take_non_secure_interrupts();
            answer = core.call(&crate::run(answer.sender(), answer.receiver().0));
        }
        crate::assert_function(&answer, Function::MsgSendDirectResp);
        self.call.lock().unwrap().clone()
    }
}

/// Paravirtual calls are made by HVC.
fn make(sp: &mut Sp, message: &Registers) -> Registers {
    if message.x[0] == FAULT {
        let fault = Fault {
            kind: FaultKind::External,
            syndrome: 0,
            address: 0,
        };
        sp.trap(message, Event::Fault(fault))
    } else if message.x[0] >> 16 == 0 {
        sp.hvc(message)
    } else {
        sp.call(message)
    }
}
