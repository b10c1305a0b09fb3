// SPDX-License-Identifier: MIT OR Apache-2.0
//! What partitions do about interrupts and time, and a gate to hold one while another core goes on.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use bulkhead_abi::paravirt::{self, Paravirt};
use bulkhead_core::event::{Direction, Event, SystemRegisterAccess};
use bulkhead_core::hardware::SystemRegister;

use crate::program::Sp;
use crate::world::Spec;

impl Spec {
    /// Gives it these interrupts of devices.
    pub fn interrupts(self, intids: &[u32]) -> Self {
        let own: &'static [u32] = intids.to_vec().leak();
        self.with(|config| config.interrupts = own)
    }
}

impl Sp {
    /// A paravirtual call with x1 to x3; its x0.
    pub fn paravirtual(&mut self, call: Paravirt, x: [u64; 3]) -> u64 {
        let [x1, x2, x3] = x;
        self.hvc(&crate::call([call.id(), x1, x2, x3, 0, 0, 0, 0]))
            .x[0]
    }

    /// Enables interrupts as virtual IRQs.
    ///
    /// # Panics
    /// If it has no such interrupt.
    pub fn enable(&mut self, intids: &[u32]) {
        for intid in intids {
            let x = [u64::from(*intid), 1, 0];
            let reply = self.paravirtual(Paravirt::InterruptEnable, x);
            assert_eq!(reply, paravirt::SUCCESS, "{intid}");
        }
    }

    /// Fetches an interrupt.
    pub fn fetch(&mut self) -> Option<u32> {
        let intid = self.paravirtual(Paravirt::InterruptGet, [0; 3]);
        let found = (intid != paravirt::NO_INTERRUPT).then_some(intid);
        found.map(|intid| u32::try_from(intid).expect("INTIDs have 32 bits"))
    }

    /// Ends the activity of an interrupt.
    pub fn deactivate(&mut self, intid: u32) -> bool {
        let x = [u64::from(intid), u64::from(intid), 0];
        self.paravirtual(Paravirt::InterruptDeactivate, x) == paravirt::SUCCESS
    }

    /// Fetches and deactivates all that is pending; the device of each is done then.
    ///
    /// # Panics
    /// If it may not deactivate what it fetched.
    pub fn handle_all(&mut self) -> Vec<u32> {
        let mut all = Vec::new();
        while let Some(intid) = self.fetch() {
            self.line(intid, |line| line.asserted = false);
            assert!(self.deactivate(intid), "{intid}");
            all.push(intid);
        }
        all
    }

    /// Writes S3_3_C14_C`crm`_`op2`, a timer register.
    pub fn write_timer(&mut self, crm: u8, op2: u8, value: u64) {
        let mut registers = crate::call([0; 8]);
        registers.x[0] = value;
        self.timer(crm, op2, Direction::Write, registers);
    }

    /// Reads S3_3_C14_C`crm`_`op2`, a timer register.
    pub fn read_timer(&mut self, crm: u8, op2: u8) -> u64 {
        self.timer(crm, op2, Direction::Read, crate::call([0; 8]))
    }

    fn timer(
        &mut self,
        crm: u8,
        op2: u8,
        direction: Direction,
        registers: bulkhead_abi::Registers,
    ) -> u64 {
        let register = SystemRegister {
            op0: 3,
            op1: 3,
            crn: 14,
            crm,
            op2,
        };
        let access = SystemRegisterAccess {
            register,
            rt: 0,
            direction,
        };
        self.trap(&registers, Event::SystemRegister(access)).x[0]
    }

    /// Its EL1 physical timer fires when the counter is at `compare`.
    pub fn set_timer(&mut self, compare: u64) {
        self.write_timer(2, 2, compare);
        self.write_timer(2, 1, 1);
    }

    /// WFI.
    pub fn idle(&mut self) {
        self.trap(&crate::call([0; 8]), Event::Idle { until: None });
    }
}

/// A place where a program waits until the scenario lets it go on.
pub struct Gate {
    reached: (Mutex<Sender<()>>, Mutex<Receiver<()>>),
    open: (Mutex<Sender<()>>, Mutex<Receiver<()>>),
}

impl Default for Gate {
    fn default() -> Self {
        let pair = || {
            let (sender, receiver) = channel();
            (Mutex::new(sender), Mutex::new(receiver))
        };
        Self {
            reached: pair(),
            open: pair(),
        }
    }
}

impl Gate {
    /// The program waits here.
    pub fn pass(&self) {
        let _ = self.reached.0.lock().unwrap().send(());
        let _ = self.open.1.lock().unwrap().recv();
    }

    /// Waits until the program is there.
    ///
    /// # Panics
    /// If it never comes.
    pub fn reached(&self) {
        let limit = std::time::Duration::from_secs(30);
        let reached = self.reached.1.lock().unwrap().recv_timeout(limit);
        reached.expect("the program reaches the gate");
    }

    /// Lets it go on.
    pub fn open(&self) {
        let _ = self.open.0.lock().unwrap().send(());
    }
}
