// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual interrupt controller of a partition that has one (C-18): its registers, and what its interrupts stand
//! for.
//!
//! A physical interrupt of the partition is acknowledged and dropped by Bulkhead and becomes pending here; it stays
//! active until the partition deactivates its virtual one, so that a source that is still active fires again. FF-A's
//! own events and timers come by numbers that the manifest gives, where paravirtual ones would be SGIs.

use bulkhead_abi::paravirt;
use bulkhead_vgic::bank::{BANK, Bank};
use bulkhead_vgic::gicv2::{CPU_INTERFACE_SIZE, Cpu, DISTRIBUTOR_SIZE, Gicv2, Start};
use bulkhead_vgic::{PRIVATE, Physical, SPECIAL, Size};

use crate::hardware::Hardware;
use crate::interrupt::paravirtual::enable_physical;
use crate::partition::Partition;
use crate::spmc::{CoreState, Spmc};
use crate::sync::Mutex;
use crate::vcpu::{StateName, VcpuRef};
use crate::virtual_interrupt::{Ended, INTID_VIRTUAL_TIMER, Lines};

/// Where a partition's GICv2 is, as secure IPAs, which SGIs and PPIs its events are, and how it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The distributor, 4 KiB.
    pub distributor: u64,
    /// The CPU interface, 8 KiB.
    pub cpu_interface: u64,
    /// The EL1 physical timer.
    pub timer: u32,
    /// The managed exit interrupt.
    pub managed_exit: u32,
    /// The notification pending interrupt.
    pub notification_pending: u32,
    /// Whether its registers begin as firmware and a normal world leave them, and not as after a reset.
    pub firmware_initialised: bool,
}

impl Layout {
    /// The number of an event or a timer that paravirtual interrupts know as `intid`; of devices their own.
    pub fn number(&self, intid: u32) -> u32 {
        match intid {
            paravirt::INTID_TIMER => self.timer,
            paravirt::INTID_MANAGED_EXIT => self.managed_exit,
            paravirt::INTID_NOTIFICATION_PENDING => self.notification_pending,
            other => other,
        }
    }

    /// What its registers begin with: of the normal world's interrupts the partition has the managed exit.
    fn start(&self) -> Start {
        if self.firmware_initialised {
            let foreign = 1_u32.wrapping_shl(self.managed_exit);
            Start::Firmware { foreign }
        } else {
            Start::Reset
        }
    }

    /// Whether what paravirtual interrupts know as `intid` is a level here: the timer, unless its number is that of
    /// an SGI, which has none.
    fn is_level(&self, intid: u32) -> bool {
        intid == paravirt::INTID_TIMER && self.timer >= 16
    }

    /// Which PPIs there are besides those of devices, a bit each.
    fn ppis(&self) -> u32 {
        let numbers = [
            self.timer,
            self.managed_exit,
            self.notification_pending,
            INTID_VIRTUAL_TIMER,
        ];
        numbers
            .into_iter()
            .fold(0, |all, number| all | 1_u32.wrapping_shl(number))
    }

    /// Those of which a context that waits is told otherwise.
    fn told_otherwise(&self) -> u32 {
        1_u32.wrapping_shl(self.managed_exit) | 1_u32.wrapping_shl(self.notification_pending)
    }
}

/// A register's place: in which frame, and the offset there.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Distributor(u32),
    CpuInterface(u32),
}

/// A physical interrupt of the partition: one for each vCPU, if it is private.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    intid: u32,
    vcpu: usize,
    /// The core on which it is active.
    core: Option<usize>,
}

impl Link {
    /// Of INTID `intid`, for `vcpu` if that is private.
    pub const fn new(intid: u32, vcpu: usize) -> Self {
        Self {
            intid,
            vcpu,
            core: None,
        }
    }

    const fn is(&self, intid: u32, vcpu: usize) -> bool {
        self.intid == intid && (intid >= PRIVATE || self.vcpu == vcpu)
    }
}

/// The GIC of a partition.
#[derive(Debug)]
pub struct VirtualGic {
    /// Where it is.
    pub layout: Layout,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    gic: Gicv2<'static>,
    links: &'static mut [Link],
}

impl VirtualGic {
    /// What a vCPU has of its own. `devices` are the INTIDs of the partition's devices.
    pub fn cpu(layout: &Layout, devices: &[u32]) -> Cpu {
        let private = devices.iter().filter(|intid| **intid < PRIVATE);
        let ppis = private.fold(layout.ppis(), |all, intid| all | 1_u32.wrapping_shl(*intid));
        Cpu::new(ppis, layout.start())
    }

    /// The SPIs of the partition's devices.
    pub fn banks(devices: &[u32]) -> impl Iterator<Item = Bank> + Clone {
        (PRIVATE..SPECIAL).step_by(BANK).filter_map(|first| {
            let own = devices.iter().filter_map(|intid| {
                let bit = intid.checked_sub(first)?;
                1_u32.checked_shl(bit)
            });
            let implemented = own.fold(0, |all, bit| all | bit);
            (implemented != 0).then(|| Bank::new(first, implemented))
        })
    }

    /// A link for each interrupt of the partition's devices, and for private ones one for each vCPU.
    pub fn links(devices: &[u32], vcpus: usize) -> impl Iterator<Item = Link> + Clone {
        devices.iter().flat_map(move |&intid| {
            let vcpus = if intid < PRIVATE { vcpus } else { 1 };
            (0..vcpus).map(move |vcpu| Link::new(intid, vcpu))
        })
    }

    /// A controller. `links` has one for each interrupt of the partition's devices, and for private ones one for
    /// each vCPU.
    pub fn new(
        layout: Layout,
        cpus: &'static mut [Cpu],
        banks: &'static mut [Bank],
        links: &'static mut [Link],
    ) -> Self {
        let gic = Gicv2::new(cpus, banks, layout.start());
        Self {
            layout,
            inner: Mutex::new(Inner { gic, links }),
        }
    }

    /// Which register is at a secure IPA.
    pub(crate) fn place(&self, address: u64) -> Option<Place> {
        let within = |base: u64, size: u64| {
            let offset = address.checked_sub(base).filter(|offset| *offset < size)?;
            u32::try_from(offset).ok()
        };
        let distributor = within(self.layout.distributor, DISTRIBUTOR_SIZE);
        let interface = || within(self.layout.cpu_interface, CPU_INTERFACE_SIZE);
        distributor
            .map(Place::Distributor)
            .or_else(|| interface().map(Place::CpuInterface))
    }

    /// Makes an interrupt pending; the physical one is active on core `acknowledged`. Whether it was not.
    #[inline(never)]
    pub(crate) fn raise(&self, vcpu: usize, intid: u32, acknowledged: Option<usize>) -> bool {
        let mut inner = self.inner.lock();
        if acknowledged.is_some()
            && let Some(link) = inner.links.iter_mut().find(|link| link.is(intid, vcpu))
        {
            link.core = acknowledged;
        }
        let number = self.layout.number(intid);
        if self.layout.is_level(intid) {
            inner.gic.set_line(vcpu, number, true);
            return true;
        }
        inner.gic.pend(vcpu, number)
    }

    /// What an interrupt told of is over.
    #[inline(never)]
    pub(crate) fn withdraw(&self, vcpu: usize, intid: u32) {
        let mut inner = self.inner.lock();
        let number = self.layout.number(intid);
        if self.layout.is_level(intid) {
            inner.gic.set_line(vcpu, number, false);
        } else {
            inner.gic.withdraw(vcpu, number);
        }
    }

    /// Whether the partition has an interrupt enabled.
    #[inline(never)]
    pub(crate) fn is_enabled(&self, vcpu: usize, intid: u32) -> bool {
        let number = self.layout.number(intid);
        self.inner.lock().gic.is_enabled(vcpu, number)
    }

    /// The context starts anew. What is pending of devices and of FF-A stays so.
    #[inline(never)]
    pub(crate) fn reset(&self, vcpu: usize) {
        let mut inner = self.inner.lock();
        let Inner { gic, links } = &mut *inner;
        gic.reset_vcpu(vcpu, &mut ());
        let private = links
            .iter()
            .filter(|link| link.intid < PRIVATE && link.vcpu == vcpu);
        for link in private.filter(|link| link.core.is_some()) {
            gic.pend(vcpu, link.intid);
        }
    }

    /// The partition ended: `ended` is told of each physical interrupt that is active, of the shared ones once.
    #[inline(never)]
    pub(crate) fn end(&self, vcpu: usize, mut ended: impl FnMut(Ended)) {
        let mut inner = self.inner.lock();
        let Inner { gic, links } = &mut *inner;
        gic.reset_vcpu(vcpu, &mut ());
        gic.reset_shared(&mut ());
        for link in links.iter_mut().filter(|link| link.is(link.intid, vcpu)) {
            if let Some(core) = link.core.take() {
                let intid = link.intid;
                ended(Ended { intid, core });
            }
        }
    }

    /// Takes a private interrupt of a context that goes off out, if its physical one is active: with `fetched_too`
    /// also one that it handles. The second value tells that it was pending.
    #[inline(never)]
    pub(crate) fn take_physical(&self, vcpu: usize, fetched_too: bool) -> Option<(Ended, bool)> {
        let mut inner = self.inner.lock();
        let Inner { gic, links } = &mut *inner;
        let mut own = links
            .iter_mut()
            .filter(|link| link.intid < PRIVATE && link.vcpu == vcpu);
        own.find_map(|link| {
            let core = link.core?;
            let pending = gic.withdraw(vcpu, link.intid);
            if !pending && !fetched_too {
                return None;
            }
            link.core = None;
            let intid = link.intid;
            Some((Ended { intid, core }, pending))
        })
    }

    /// What is signalled to a context, whether one that waits is entered for it, and the INTID of it.
    #[inline(never)]
    pub(crate) fn signals(&self, vcpu: usize) -> (Lines, bool, Option<u32>) {
        let inner = self.inner.lock();
        let (signals, intid) = inner.gic.signals(vcpu);
        let lines = match (signals.irq, signals.fiq) {
            (false, false) => Lines::NONE,
            (_, true) => Lines::FIQ,
            _ => Lines::IRQ,
        };
        let otherwise = self.layout.told_otherwise();
        let wakes = intid.is_some_and(|intid| {
            let told_otherwise = intid < PRIVATE && otherwise >> intid & 1 != 0;
            !told_otherwise || inner.gic.signals_others(vcpu, otherwise)
        });
        (lines, wakes, intid)
    }

    /// Whether a physical interrupt was acknowledged for it and has not been deactivated.
    #[inline(never)]
    pub(crate) fn holds(&self, vcpu: usize, intid: u32) -> bool {
        let inner = self.inner.lock();
        inner
            .links
            .iter()
            .any(|link| link.is(intid, vcpu) && link.core.is_some())
    }

    /// The contexts whose signals may have changed since this was last asked, a bit each.
    pub(crate) fn changed(&self) -> u32 {
        self.inner.lock().gic.changed()
    }
}

/// The physical side of a partition's GIC, on the core that handles an access to it.
struct OnHardware<'a, H: Hardware + 'static> {
    partition: &'a Partition<H>,
    links: &'a mut [Link],
    core: usize,
    hw: &'a mut H,
}

impl<H: Hardware> Physical for OnHardware<'_, H> {
    fn enable(&mut self, _vcpu: usize, intid: u32, enable: bool) {
        if self.partition.config.interrupts.contains(&intid) {
            enable_physical(self.partition, intid, enable, self.core, self.hw);
        }
    }

    fn release(&mut self, vcpu: usize, intid: u32) {
        let link = self.links.iter_mut().find(|link| link.is(intid, vcpu));
        if let Some(core) = link.and_then(|link| link.core.take()) {
            self.hw.deactivate(intid, core);
        }
    }

    fn route(&mut self, intid: u32, targets: u32) {
        if !self.partition.is_multi_core() {
            return;
        }
        let started = |vcpu: &usize| {
            let is_target = targets
                .checked_shr(u32::try_from(*vcpu).unwrap_or(32))
                .unwrap_or(0)
                & 1;
            let slot = self.partition.vcpus.get(*vcpu);
            is_target != 0 && slot.is_some_and(|slot| slot.state() != StateName::Off)
        };
        // The first of them takes it, and the distributor shows it to all.
        if let Some(vcpu) = (0..self.partition.vcpus.len()).find(started) {
            self.hw.route_interrupt(intid, vcpu);
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// A load from a register of the running partition's GIC.
    pub(crate) fn read_gic(
        &self,
        core: &mut CoreState<H>,
        gic: &VirtualGic,
        place: Place,
        size: Size,
        hw: &mut H,
    ) -> u64 {
        let Some(current) = core.current.as_mut() else {
            return 0;
        };
        let vcpu = current.vcpu.vcpu();
        let mut acknowledged = false;
        let mut inner = gic.inner.lock();
        let value = match place {
            Place::Distributor(offset) => inner.gic.read_distributor(vcpu, offset, size),
            Place::CpuInterface(offset) => {
                const ACKNOWLEDGE: u32 = 0xc;
                const ALIASED: u32 = 0x20;
                let value = inner.gic.read_cpu_interface(vcpu, offset, size);
                acknowledged = matches!(offset, ACKNOWLEDGE | ALIASED)
                    && value.is_some_and(|value| value & 0x3ff < SPECIAL);
                hw.unmask_virtual_timer(&mut *current.context);
                value
            }
        };
        // Locks are taken in this order: a context's interrupts, its GIC.
        drop(inner);
        if acknowledged {
            current.slot.interrupts.was_fetched();
        }
        value.unwrap_or(0).into()
    }

    /// A store to one.
    pub(crate) fn write_gic(
        &self,
        core: &mut CoreState<H>,
        gic: &VirtualGic,
        place: Place,
        size: Size,
        value: u64,
        hw: &mut H,
    ) {
        let Some(current) = core.current.as_mut() else {
            return;
        };
        let vcpu = current.vcpu.vcpu();
        // No register has more than 32 bits, and a store of more is refused below.
        let value = u32::try_from(value).unwrap_or(0);
        if let Place::CpuInterface(_) = place {
            hw.unmask_virtual_timer(&mut *current.context);
        }
        let mut inner = gic.inner.lock();
        let Inner { gic, links } = &mut *inner;
        let mut physical = OnHardware {
            partition: current.partition,
            links,
            core: core.index,
            hw,
        };
        // What is no register, or may not be accessed so, ignores it.
        let _ = match place {
            Place::Distributor(offset) => {
                gic.write_distributor(vcpu, offset, size, value, &mut physical)
            }
            Place::CpuInterface(offset) => {
                gic.write_cpu_interface(vcpu, offset, size, value, &mut physical)
            }
        };
    }

    /// The running partition's GIC may signal something else to its contexts now.
    pub(crate) fn signals_changed(&self, core: &mut CoreState<H>, hw: &mut H) {
        let Some(current) = &core.current else {
            return;
        };
        let (partition, index) = (current.partition, current.vcpu.partition());
        self.tell_changed(core, partition, index, hw);
    }

    /// Whoever has to look at what changed in the GIC of the partition at `index` is told.
    pub(crate) fn tell_changed(
        &self,
        core: &mut CoreState<H>,
        partition: &Partition<H>,
        index: usize,
        hw: &mut H,
    ) {
        let Some(gic) = partition.gic else {
            return;
        };
        let mut changed = gic.changed();
        while changed != 0 {
            let vcpu = usize::try_from(changed.trailing_zeros()).unwrap_or(usize::MAX);
            changed &= changed.wrapping_sub(1);
            let Some(slot) = partition.vcpus.get(vcpu) else {
                continue;
            };
            let before = slot.interrupts.lines();
            slot.interrupts.refresh();
            if slot.interrupts.differ(before)
                && let Some(name) = VcpuRef::new(index, vcpu)
                && core.running() != Some(name)
            {
                self.tell(core, name, hw);
            }
        }
    }
}
