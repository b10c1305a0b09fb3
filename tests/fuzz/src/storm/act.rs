// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens next: what the normal world, partitions, devices and time do.

use bulkhead_abi::paravirt::{self, Paravirt};
use bulkhead_abi::psci::Psci;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Width, framework};
use bulkhead_core::event::{
    Conduit, Direction, Event, Fault, FaultKind, SystemRegisterAccess, Woken,
};
use bulkhead_core::hardware::SystemRegister;
use bulkhead_core::vcpu::{StateName, VcpuRef, VcpuState};

use super::gic;
use super::machine::CORES;
use super::world::{DEVICES, MULTI_CORE, Place, SPMC, World, id_of};

const CALL: Event = Event::Call(Conduit::Hvc);

fn registers(x: [u64; 8]) -> Registers {
    let mut registers = Registers::ZERO;
    registers.x[..8].copy_from_slice(&x);
    registers
}

fn ffa(function: Function, w1: u64) -> [u64; 8] {
    [function.id(Width::W32), w1, 0, 0, 0, 0, 0, 0]
}

fn pair(id: EndpointId, vcpu: u16) -> u64 {
    EndpointId::pair(id, EndpointId(vcpu))
}

impl World {
    /// Something happens.
    pub fn step(&mut self) {
        let core = self.dice.below(CORES);
        match self.dice.below(16) {
            0 | 1 => self.device(),
            15 => self.pass(200),
            2 if self.dice.once_in(4) => self.cores[core].machine.non_secure = true,
            2 if self.dice.once_in(8) => self.cores[core].machine.group0 = true,
            2 if self.dice.once_in(8) => {
                let stray = [17, 29, 47, 1019, 4096][self.dice.below(5)];
                self.cores[core].machine.stray = Some(stray);
            }
            _ => self.core_step(core),
        }
    }

    /// A device asserts its line, or stops.
    fn device(&mut self) {
        let mut shared = self.shared.borrow_mut();
        let chosen = self.dice.below(shared.lines.len());
        let (_, line) = shared.lines.iter_mut().nth(chosen).expect("a line");
        if line.level && self.dice.once_in(4) {
            line.asserted = false;
        } else {
            self.counts.raised += u64::from(!line.asserted);
            line.asserted = true;
        }
    }

    /// Time passes, up to so many ticks.
    pub fn pass(&mut self, most: usize) {
        let mut ticks = u64::try_from(self.dice.below(most)).expect("small");
        if self.dice.once_in(64) {
            ticks *= 500;
        }
        self.shared.borrow_mut().now += ticks;
    }

    pub fn core_step(&mut self, core: usize) {
        let at = &mut self.cores[core];
        let due = at.machine.is_due();
        match at.place {
            Place::Off => {
                if self.calm || self.dice.once_in(16) {
                    self.switch_on(core);
                }
            }
            Place::Waiting => {
                let signalled = std::mem::take(&mut self.shared.borrow_mut().signalled[core]);
                let machine = &mut self.cores[core].machine;
                let why = if due {
                    Woken::SecureInterrupt
                } else if machine.non_secure || machine.group0 {
                    Woken::NonSecureInterrupt
                } else if signalled || self.dice.once_in(8) {
                    Woken::Event
                } else {
                    return;
                };
                self.handle(core, Event::Woken(why));
            }
            Place::NormalWorld => {
                (at.machine.non_secure, at.machine.group0) = (false, false);
                if due && !self.dice.once_in(4) {
                    self.counts.in_normal_world += 1;
                    self.call(core, registers(ffa(Function::Interrupt, 0)));
                } else {
                    self.normal_world(core);
                }
            }
            Place::Partition(vcpu) => {
                let fiq = at.machine.group0 || (at.machine.non_secure && !at.machine.masked);
                if due && !self.dice.once_in(3) {
                    self.handle(core, Event::SecureInterrupt);
                } else if fiq && !self.dice.once_in(3) {
                    self.handle(core, Event::NonSecureInterrupt);
                } else if !self.virtual_timer(core) {
                    match self.calm {
                        true => self.behave(core, vcpu),
                        false => self.partition(core, vcpu),
                    }
                }
            }
        }
    }

    /// The virtual timer of the running context fires, if it is its time.
    fn virtual_timer(&mut self, core: usize) -> bool {
        let now = self.shared.borrow().now;
        let context = self.cores[core].state.context().expect("a running context");
        let due = context.virtual_timer.is_some_and(|due| due <= now);
        if due {
            context.virtual_timer = None;
            self.handle(core, Event::VirtualTimer);
        }
        due
    }

    fn normal_world(&mut self, core: usize) {
        let partition = self.dice.below(DEVICES.len());
        let vcpu = u16::try_from(core).expect("few");
        let own = if partition == MULTI_CORE { vcpu } else { 0 };
        match self.dice.below(16) {
            0..5 => {
                let ids = EndpointId::pair(EndpointId(0), id_of(partition));
                self.call(core, registers(ffa(Function::MsgSendDirectReq, ids)));
            }
            5..10 => match self.next_resumable(core) {
                Some(name) => self.resume(core, name),
                None => self.pass(50),
            },
            10 => {
                let ids = pair(id_of(partition), own);
                self.call(core, registers(ffa(Function::Run, ids)));
            }
            11 | 12 if self.shared.borrow().scheduler => self.schedule(core),
            13 if self.dice.once_in(24) => self.switch_off(core),
            _ => self.pass(50),
        }
    }

    fn next_resumable(&mut self, core: usize) -> Option<(EndpointId, u16)> {
        let resumable = &mut self.cores[core].resumable;
        (!resumable.is_empty()).then(|| resumable.remove(0))
    }

    /// The normal world runs a context that it was told of; again later if another core has it.
    fn resume(&mut self, core: usize, (id, vcpu): (EndpointId, u16)) {
        self.call(core, registers(ffa(Function::Run, pair(id, vcpu))));
        let at = &mut self.cores[core];
        let answer = &at.state.normal_world;
        let busy = at.place == Place::NormalWorld
            && answer.x[0] == Function::Error.id(Width::W32)
            && answer.x[2] == FfaError::Busy.to_register();
        if busy {
            at.resumable.push((id, vcpu));
        }
    }

    /// The normal world's scheduler asks whom to run.
    fn schedule(&mut self, core: usize) {
        self.shared.borrow_mut().scheduler = false;
        self.cores[core].asks = true;
        self.call(core, registers(ffa(Function::NotificationInfoGet, 0)));
    }

    /// The answer to that.
    pub fn scheduled(&mut self, core: usize) {
        let answer = self.cores[core].state.normal_world.clone();
        if answer.x[0] != Function::Success.id(Width::W32) {
            return;
        }
        if answer.x[2] & 1 != 0 {
            self.shared.borrow_mut().scheduler = true;
        }
        // Lists of a partition's id and, if it has several contexts, one of theirs.
        let count = answer.x[2] >> 7 & 0x1f;
        let mut ids = answer.x[3..8].iter().flat_map(|x| {
            let [b0, b1, b2, b3, ..] = x.to_le_bytes();
            [u16::from_le_bytes([b0, b1]), u16::from_le_bytes([b2, b3])]
        });
        for list in 0..count {
            let id = EndpointId(ids.next().expect("an id"));
            let length = answer.x[2] >> (12 + 2 * list) & 3;
            let vcpus: Vec<u16> = ids
                .by_ref()
                .take(usize::try_from(length).expect("few"))
                .collect();
            let on = vcpus.first().map_or(core, |vcpu| usize::from(*vcpu));
            let name = (id, vcpus.first().copied().unwrap_or(0));
            self.counts.told += 1;
            self.tell(name);
            if !self.cores[on].resumable.contains(&name) {
                self.cores[on].resumable.push(name);
            }
        }
    }

    fn switch_off(&mut self, core: usize) {
        let others = self.shared.borrow().on.iter().filter(|on| **on).count();
        if others < 2 {
            return;
        }
        let off = Psci::CpuOff.id(Width::W32);
        let message = framework::psci_request(EndpointId::SPMD, SPMC, off, [0; 3]);
        self.call(core, registers(message));
        // It may have been given to a partition with an interrupt first.
        let mut left = 100_000;
        while self.cores[core].place != Place::NormalWorld {
            self.core_step(core);
            left -= 1;
            assert!(left > 0, "CPU_OFF is not answered");
        }
        let answer = &self.cores[core].state.normal_world;
        assert_eq!(answer.x[0], Function::MsgSendDirectResp.id(Width::W32));
        assert_eq!(answer.x[3], 0, "DECISIONS 22");
        self.cores[core].place = Place::Off;
        // Its scheduler runs elsewhere what is not pinned to this one.
        let (stay, go) = std::mem::take(&mut self.cores[core].resumable)
            .into_iter()
            .partition(|(id, _)| *id == id_of(MULTI_CORE));
        self.cores[core].resumable = stay;
        let other = (0..CORES).find(|other| *other != core && self.shared.borrow().on[*other]);
        let other = other.expect("one stays on");
        self.cores[other].resumable.extend::<Vec<_>>(go);
        self.shared.borrow_mut().on[core] = false;
        self.counts.cores_off += 1;
    }

    fn paravirtual(&mut self, core: usize, call: Paravirt, x: [u64; 3]) -> u64 {
        let [x1, x2, x3] = x;
        self.partition_call(core, [call.id(), x1, x2, x3, 0, 0, 0, 0], CALL);
        let context = self.cores[core].state.context();
        context.map_or(paravirt::FAILURE, |context| context.registers.x[0])
    }

    /// Fetches an interrupt; each is there once.
    fn fetch(&mut self, core: usize, vcpu: VcpuRef) -> bool {
        if self.has_gic[vcpu.partition()] {
            return self.acknowledge(core, vcpu);
        }
        let found = self.paravirtual(core, Paravirt::InterruptGet, [0; 3]);
        if found == paravirt::NO_INTERRUPT || self.cores[core].place != Place::Partition(vcpu) {
            return false;
        }
        let intid = u32::try_from(found).expect("an INTID");
        self.counts.delivered += 1;
        let known = &mut self.known[vcpu.partition()][vcpu.vcpu()];
        known.delivered += 1;
        known.fetched.push(intid);
        let slot = &self.spmc.partitions()[vcpu.partition()].vcpus()[vcpu.vcpu()];
        assert_eq!(slot.interrupts.tally().delivered, known.delivered, "IR1");
        self.fetched(vcpu, intid);
        true
    }

    /// A context has fetched an interrupt: that of a device is there once.
    pub fn fetched(&mut self, vcpu: VcpuRef, intid: u32) {
        if let Some(line) = self.shared.borrow_mut().lines.get_mut(&intid) {
            assert!(DEVICES[vcpu.partition()].contains(&intid), "another's");
            assert!(line.active.is_some(), "{intid} is delivered from nowhere");
            assert!(!line.fetched, "{intid} is delivered twice");
            line.fetched = true;
        }
    }

    /// Deactivates one that it has fetched.
    fn deactivate(&mut self, core: usize, vcpu: VcpuRef) {
        let known = &mut self.known[vcpu.partition()][vcpu.vcpu()];
        let Some(fetched) = known.fetched.pop() else {
            return;
        };
        let intid = fetched & gic::INTID;
        if let Some(line) = self.shared.borrow_mut().lines.get_mut(&intid)
            && (self.calm || !self.dice.once_in(8))
        {
            line.asserted &= !line.level;
        }
        if self.has_gic[vcpu.partition()] {
            // Its timer is a level there.
            if intid == gic::TIMER && (self.calm || !self.dice.once_in(8)) {
                self.write_timer(core, 2, 1, 0);
            }
            return self.end(core, fetched);
        }
        let x = u64::from(intid);
        self.paravirtual(core, Paravirt::InterruptDeactivate, [x, x, 0]);
    }

    fn any_intid(&mut self, vcpu: VcpuRef) -> u64 {
        let own = DEVICES[vcpu.partition()];
        let all = own.iter().chain(&[3, 4, 5, 9, 27]);
        let all: Vec<u32> = all.copied().collect();
        u64::from(all[self.dice.below(all.len())])
    }

    fn write_timer(&mut self, core: usize, crm: u8, op2: u8, value: u64) {
        let register = SystemRegister {
            op0: 3,
            op1: 3,
            crn: 14,
            crm,
            op2,
        };
        let access = SystemRegisterAccess {
            register,
            rt: 6,
            direction: Direction::Write,
        };
        let context = self.cores[core].state.context().expect("a running context");
        context.registers.x[6] = value;
        self.handle(core, Event::SystemRegister(access));
    }

    /// Sets a timer of the running context, or switches it off.
    fn set_timer(&mut self, core: usize) {
        let ticks = u64::try_from(self.dice.below(3000)).expect("small");
        let off = self.dice.once_in(5);
        let crm = if self.dice.once_in(2) { 2 } else { 3 };
        self.counts.timers += 1;
        if crm == 3 && !self.cores[core].machine.traps_virtual_timer {
            let now = self.shared.borrow().now;
            let context = self.cores[core].state.context().expect("a running context");
            context.virtual_timer = (!off).then_some(now + ticks);
            return;
        }
        let Place::Partition(vcpu) = self.cores[core].place else {
            return;
        };
        self.write_timer(core, crm, 0, ticks);
        if self.cores[core].place == Place::Partition(vcpu) {
            self.write_timer(core, crm, 1, u64::from(!off));
        }
    }

    /// A partition does anything.
    fn partition(&mut self, core: usize, vcpu: VcpuRef) {
        let index = vcpu.partition();
        let known = &mut self.known[index][vcpu.vcpu()];
        if index == MULTI_CORE && vcpu.vcpu() == 0 && !known.registered {
            known.registered = true;
            return self.register(core);
        }
        if self.has_gic[index] && self.gic(core, vcpu) {
            return;
        }
        match self.dice.below(64) {
            0..14 => {
                self.fetch(core, vcpu);
            }
            14..24 => self.deactivate(core, vcpu),
            24..36 => self.end_run(core, vcpu),
            36..44 => {
                let x = [self.any_intid(vcpu), 1, u64::from(self.dice.once_in(4))];
                self.paravirtual(core, Paravirt::InterruptEnable, x);
            }
            44 if self.dice.once_in(4) => {
                let x = [self.any_intid(vcpu), 0, 0];
                self.paravirtual(core, Paravirt::InterruptEnable, x);
            }
            45 if !DEVICES[index].is_empty() => {
                let target = u64::try_from(self.dice.below(CORES + 1)).expect("few");
                let x = [u64::from(DEVICES[index][0]), 0, target];
                self.paravirtual(core, Paravirt::InterruptReconfigure, x);
            }
            46..49 => {
                let target = u64::try_from(self.dice.below(CORES + 1)).expect("few");
                self.paravirtual(core, Paravirt::SendIpi, [target, 0, 0]);
            }
            49..52 => self.set_timer(core),
            52 | 53 => self.handle(core, Event::Idle { until: None }),
            54 => self.partition_call(core, ffa(Function::Yield, 0), CALL),
            55..58 | 62 => {
                let ids = EndpointId::pair(id_of(index), id_of(self.dice.below(DEVICES.len())));
                self.counts.requests += 1;
                self.partition_call(core, ffa(Function::MsgSendDirectReq, ids), CALL);
            }
            58 => {
                let x = [self.any_intid(vcpu), 40, 0];
                self.paravirtual(core, Paravirt::InterruptDeactivate, x);
            }
            59 if self.dice.once_in(100) => self.fault(core),
            _ => self.pass(50),
        }
    }

    /// It says where others of its contexts begin.
    fn register(&mut self, core: usize) {
        let base = 0x1000_0000 + 0x10_0000 * u64::try_from(MULTI_CORE).expect("few");
        let id = Function::SecondaryEpRegister.id(Width::W64);
        self.partition_call(core, [id, base, 0, 0, 0, 0, 0, 0], CALL);
    }

    fn fault(&mut self, core: usize) {
        self.counts.faults += 1;
        self.handle(
            core,
            Event::Fault(Fault {
                kind: FaultKind::External,
                syndrome: 0,
                address: 0,
            }),
        );
    }

    /// One of the ways to end its run, the likely one first.
    fn end_run(&mut self, core: usize, vcpu: VcpuRef) {
        let known = &self.known[vcpu.partition()][vcpu.vcpu()];
        let likely = match (known.callee, &known.request) {
            (Some(_), _) => 0,
            (None, Some(_)) => 1,
            (None, None) => 2,
        };
        let own = id_of(vcpu.partition());
        let call = match (likely + known.attempt) % 3 {
            0 => ffa(Function::Run, known.callee.unwrap_or(0)),
            1 => {
                let origin = known
                    .request
                    .as_ref()
                    .map_or(EndpointId(0), Registers::sender);
                ffa(Function::MsgSendDirectResp, EndpointId::pair(own, origin))
            }
            _ => ffa(Function::MsgWait, 0),
        };
        self.partition_call(core, call, CALL);
    }

    /// A partition does as it should: handles what is pending, and ends its run.
    fn behave(&mut self, core: usize, vcpu: VcpuRef) {
        if !self.known[vcpu.partition()][vcpu.vcpu()].fetched.is_empty() {
            self.deactivate(core, vcpu);
        } else if !self.fetch(core, vcpu) && self.cores[core].place == Place::Partition(vcpu) {
            self.end_run(core, vcpu);
        }
    }

    /// Everybody behaves and nothing new happens, until the system is at rest.
    pub fn settle(&mut self) {
        self.calm = true;
        for round in 0..20_000 {
            let mut quiet = true;
            for core in 0..CORES {
                quiet &= self.settle_core(core);
            }
            if quiet || round % 8 == 0 {
                quiet &= !self.resume_some();
            }
            if !quiet {
                continue;
            }
            let deadlines = self.cores.iter().filter_map(|core| core.machine.deadline);
            let Some(next) = deadlines.min() else {
                self.check_rest();
                return;
            };
            let mut shared = self.shared.borrow_mut();
            shared.now = shared.now.max(next);
        }
        let places: Vec<_> = (self.cores.iter())
            .map(|core| (core.place, &core.resumable, core.machine.deadline))
            .collect();
        panic!("the system does not come to rest: {places:?}");
    }

    /// One thing that this core has to do; `true` if there is none.
    fn settle_core(&mut self, core: usize) -> bool {
        let due = self.cores[core].machine.is_due();
        match self.cores[core].place {
            Place::NormalWorld if due => {
                self.call(core, registers(ffa(Function::Interrupt, 0)));
            }
            Place::NormalWorld if self.shared.borrow().scheduler => self.schedule(core),
            Place::NormalWorld => match self.next_resumable(core) {
                Some(name) => self.resume(core, name),
                None => return true,
            },
            Place::Waiting if !due && !self.shared.borrow().signalled[core] => {
                // Nobody else has anything to do for it: the normal world wants its core back.
                self.cores[core].machine.non_secure = true;
                self.core_step(core);
            }
            _ => self.core_step(core),
        }
        false
    }

    /// The normal world runs a context that was preempted, wherever it may.
    fn resume_some(&mut self) -> bool {
        for index in 0..DEVICES.len() {
            for (number, slot) in (0..).zip(self.spmc.partitions()[index].vcpus()) {
                let told = self.known[index][usize::from(number)].told;
                if slot.state() != StateName::Preempted || !told {
                    continue;
                }
                for core in 0..CORES {
                    let home = slot.inspect(|state| match state {
                        VcpuState::Preempted { core: home, .. } => *home,
                        _ => usize::MAX - 7,
                    });
                    let here = home == core || home == bulkhead_core::vcpu::ANY_CORE;
                    if here && self.cores[core].place == Place::NormalWorld {
                        let ids = pair(id_of(index), number);
                        self.call(core, registers(ffa(Function::Run, ids)));
                        return true;
                    }
                }
            }
        }
        false
    }
}
