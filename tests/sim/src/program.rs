// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions' code: a closure on a thread that runs only while its execution context is entered.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bulkhead_abi::{EndpointId, Function, Registers, Width};
use bulkhead_core::event::{Conduit, Event};

use crate::gic::Line;
use crate::world::Look;

/// A partition's code. It gets the registers at entry through [`Sp::entry`].
pub type Program = Arc<dyn Fn(&mut Sp) + Send + Sync>;

/// The processor as a partition's program sees it.
pub struct Sp {
    /// The partition's own id.
    pub id: EndpointId,
    /// The index of the execution context.
    pub vcpu: usize,
    /// The registers at entry.
    pub entry: Registers,
    devices: Look,
    exit: SyncSender<Exit>,
    enter: Receiver<Registers>,
}

/// Why a program's thread ends before its program does: the scenario is over.
struct Shutdown;

/// What a program did with its turn.
pub(crate) enum Exit {
    Event(Registers, Event),
    /// The program spins until it is interrupted.
    Spin(Registers),
    /// The program failed an assertion.
    Panicked,
}

/// What happens when a program returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended;

impl Sp {
    /// Makes a call and returns the registers that come back.
    pub fn call(&mut self, registers: &Registers) -> Registers {
        self.exit_with(Exit::Event(registers.clone(), Event::Call(Conduit::Smc)))
    }

    /// Makes a call by HVC.
    pub fn hvc(&mut self, registers: &Registers) -> Registers {
        self.exit_with(Exit::Event(registers.clone(), Event::Call(Conduit::Hvc)))
    }

    /// Makes a call by SVC, from S-EL0.
    pub fn svc(&mut self, registers: &Registers) -> Registers {
        self.exit_with(Exit::Event(registers.clone(), Event::Call(Conduit::Svc)))
    }

    /// Lets S-EL2 see `event` in place of the next instruction.
    pub fn trap(&mut self, registers: &Registers, event: Event) -> Registers {
        self.exit_with(Exit::Event(registers.clone(), event))
    }

    /// Does nothing until an interrupt ends the run; returns when the context is resumed.
    pub fn spin(&mut self, registers: &Registers) -> Registers {
        self.exit_with(Exit::Spin(registers.clone()))
    }

    /// FFA_MSG_WAIT; returns the next request.
    pub fn wait(&mut self) -> Registers {
        self.call(&crate::ffa(Function::MsgWait, [0; 4]))
    }

    /// Looks at, or changes, the line of a secure interrupt: the registers of its device.
    pub fn line<R>(&self, intid: u32, act: impl FnOnce(&mut Line) -> R) -> R {
        self.devices.line(intid, act)
    }

    /// An address in the partition's memory where others of its execution contexts may begin.
    pub fn entry_point(&self) -> u64 {
        let [_, low] = self.id.0.to_be_bytes();
        0x1000_4100 + (u64::from(low) << 20)
    }

    /// Answers `request` with `payload` in the request's width; returns the next request.
    pub fn respond(&mut self, request: &Registers, payload: [u64; 5]) -> Registers {
        let width = match request.x[0] {
            id if id == Function::MsgSendDirectReq.id(Width::W64) => Width::W64,
            _ => Width::W32,
        };
        self.call(&crate::response(width, self.id, request.sender(), payload))
    }

    fn exit_with(&mut self, exit: Exit) -> Registers {
        let resumed = self
            .exit
            .send(exit)
            .ok()
            .and_then(|()| self.enter.recv().ok());
        match resumed {
            Some(registers) => registers,
            None => panic::resume_unwind(Box::new(Shutdown)),
        }
    }
}

/// The thread of an execution context.
pub(crate) struct Runner {
    enter: Option<SyncSender<Registers>>,
    exit: Receiver<Exit>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    pub(crate) fn start(id: EndpointId, vcpu: usize, program: Program, devices: Look) -> Self {
        let (enter, entered) = sync_channel::<Registers>(1);
        let (exits, exit) = sync_channel(1);
        let thread = thread::spawn(move || {
            let Ok(entry) = entered.recv() else { return };
            let failed = exits.clone();
            let mut sp = Sp {
                id,
                vcpu,
                entry,
                devices,
                exit: exits,
                enter: entered,
            };
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
                program(&mut sp);
                loop {
                    // A program that returns waits for ever.
                    sp.wait();
                }
            }));
            let Err(payload) = outcome;
            {
                if payload.downcast_ref::<Shutdown>().is_none() {
                    let _ = failed.send(Exit::Panicked);
                }
            }
        });
        Self {
            enter: Some(enter),
            exit,
            thread: Some(thread),
        }
    }

    /// Runs the program until it exits.
    pub(crate) fn enter(&self, registers: Registers) -> Exit {
        let sent = self
            .enter
            .as_ref()
            .is_some_and(|enter| enter.send(registers).is_ok());
        assert!(sent, "the program's thread is gone");
        self.exit.recv().unwrap_or(Exit::Panicked)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.enter = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
