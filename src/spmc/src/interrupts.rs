// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controller of all cores: whose its redistributors are, and which interrupts partitions own.

use bulkhead_arch::gicv3::{
    self, Configuration, Distributor, Line, Redistributor, Refused, Routes, Trigger,
    device_priority, is_private,
};
use bulkhead_arch::mmio::Frame;
use bulkhead_arch::percore::{self, PerCore};
use bulkhead_arch::sysreg;
use bulkhead_core::sync::Mutex;
use bulkhead_manifest::{DeviceInterrupt, DeviceRegion, InterruptTrigger};
use spin::Once;

use crate::arena::{Arena, ArenaFull};
use crate::run::BOOT_CORE;

/// The interrupt controller's frames, mapped.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// The distributors of the chips that have shared interrupts.
    pub distributors: &'static [Distributor<Frame>],
    /// Regions of redistributors and their lengths.
    pub redistributors: &'static [(Frame, usize)],
}

/// A core, as the interrupt controller knows it.
#[derive(Debug)]
struct Core {
    affinity: u64,
    /// Its redistributor, once it has come on.
    redistributor: Once<Redistributor<Frame>>,
}

/// The interrupt controller, and the interrupts of partitions.
#[derive(Debug)]
pub struct Interrupts {
    mapped: Mapped,
    /// By index.
    cores: &'static [Core],
    /// Room for all interrupts of devices.
    free: &'static mut [u32],
    /// Room for the private ones of them.
    free_private: &'static mut [Configuration],
    /// The private interrupts of devices are those in front.
    private: usize,
    /// Of the shared ones. Locked by whoever changes a route, or comes on or goes off.
    routes: Mutex<Routes>,
}

impl Interrupts {
    /// The controller as EL3 left it, with `cores` by index.
    ///
    /// # Errors
    /// [`ArenaFull`].
    pub fn new(
        mapped: Mapped,
        cores: &'static [PerCore],
        arena: &mut Arena,
    ) -> Result<Self, ArenaFull> {
        let cores = arena.slice(cores.len(), |_, index| {
            Ok::<_, ArenaFull>(Core {
                affinity: cores[index].mpidr,
                redistributor: Once::new(),
            })
        })?;
        for distributor in mapped.distributors {
            distributor.set_up();
        }
        let on = arena.slice(cores.len(), |_, _| Ok::<_, ArenaFull>(false))?;
        Ok(Self {
            mapped,
            cores,
            free: &mut [],
            free_private: &mut [],
            private: 0,
            routes: Mutex::new(Routes::new(on, BOOT_CORE)),
        })
    }

    /// Makes room for `count` interrupts of devices.
    ///
    /// # Errors
    /// [`ArenaFull`].
    pub fn make_room(&mut self, count: usize, arena: &mut Arena) -> Result<(), ArenaFull> {
        let nothing = Configuration {
            intid: 0,
            priority: 0,
            trigger: Trigger::Level,
        };
        self.free = arena.slice(count, |_, _| Ok::<_, ArenaFull>(0))?;
        self.free_private = arena.slice(count, |_, _| Ok::<_, ArenaFull>(nothing))?;
        let shared = arena.slice(count, |_, _| Ok::<_, ArenaFull>((0, BOOT_CORE)))?;
        self.routes.lock().make_room(shared);
        Ok(())
    }

    /// Gives the partition `name` the interrupts of its devices, configured and disabled, and returns their INTIDs.
    /// One that it cannot have is named in the log and stays as it is. Only while the boot core is alone.
    pub fn claim<'a>(
        &mut self,
        name: &str,
        devices: impl Iterator<Item = DeviceRegion<'a>>,
    ) -> &'static [u32] {
        let mut claimed = 0;
        for interrupt in devices.flat_map(|device| device.interrupts()) {
            let id = interrupt.id;
            if !interrupt.is_secure() {
                log::warn!("{name}: interrupt {id} is said to be non-secure: not the partition's");
            } else if let Err(refused) = self.configure(name, &interrupt) {
                log::error!("{name}: interrupt {id} is refused: {refused}");
            } else if let Some(slot) = self.free.get_mut(claimed) {
                *slot = id;
                claimed += 1;
            }
        }
        let (interrupts, free) = core::mem::take(&mut self.free).split_at_mut(claimed);
        self.free = free;
        interrupts
    }

    fn configure(&mut self, name: &str, interrupt: &DeviceInterrupt) -> Result<(), Refused> {
        let configuration = Configuration {
            intid: interrupt.id,
            priority: device_priority(interrupt.priority()),
            trigger: match interrupt.trigger() {
                InterruptTrigger::Edge => Trigger::Edge,
                InterruptTrigger::Level => Trigger::Level,
            },
        };
        let Configuration {
            intid, priority, ..
        } = configuration;
        if is_private(intid) {
            // The other cores have the same when they come on.
            let own = self.redistributor_of(percore::affinity());
            let line = own.and_then(|own| own.line(intid));
            line.ok_or(Refused::Absent)?.configure(&configuration)?;
            if let Some(slot) = self.free_private.get_mut(self.private) {
                *slot = configuration;
                self.private += 1;
            }
        } else {
            let distributors = self.mapped.distributors;
            let line = Distributor::line(distributors, intid).ok_or(Refused::Absent)?;
            line.configure(&configuration)?;
            let wanted = self.wanted(name, interrupt);
            let mut routes = self.routes.lock();
            routes.add(intid, wanted);
            self.steer(&routes);
        }
        if priority != interrupt.priority() {
            log::info!(
                "{name}: interrupt {intid} has priority {priority:#x} instead of {:#x}: those of devices are \
                 {:#x} to {:#x}, in steps of 8",
                interrupt.priority(),
                gicv3::DEVICE_PRIORITIES.start(),
                gicv3::DEVICE_PRIORITIES.end(),
            );
        }
        Ok(())
    }

    /// The core where a shared interrupt is wanted: the one that the manifest names, else the boot core.
    fn wanted(&self, name: &str, interrupt: &DeviceInterrupt) -> usize {
        let Some(mpidr) = interrupt.target else {
            return BOOT_CORE;
        };
        let affinity = mpidr & percore::AFFINITY;
        let mut cores = self.cores.iter();
        cores
            .position(|core| core.affinity == affinity)
            .unwrap_or_else(|| {
                let id = interrupt.id;
                log::warn!(
                    "{name}: interrupt {id} goes to the boot core: there is no core {mpidr:#x}"
                );
                BOOT_CORE
            })
    }

    /// Has every shared interrupt of a partition go where `routes` say.
    fn steer(&self, routes: &Routes) {
        for (intid, core) in routes.iter() {
            if let Some(core) = self.cores.get(core) {
                Distributor::route(self.mapped.distributors, intid, core.affinity);
            }
        }
        sysreg::dsb();
    }

    /// Sets up the redistributor of the calling core, which has `index`, and returns it; `None` without one. Called
    /// each time that the core comes on.
    pub fn set_up_core(&self, index: usize) -> Option<Redistributor<Frame>> {
        let core = self.cores.get(index)?;
        let redistributor = self.redistributor_of(core.affinity)?;
        if let Err((intid, refused)) = redistributor.set_up() {
            log::error!("core {index}: interrupt {intid} of S-EL2: {refused}");
        }
        for configuration in self.free_private.iter().take(self.private) {
            let intid = configuration.intid;
            let line = redistributor.line(intid).ok_or(Refused::Absent);
            if let Err(refused) = line.and_then(|line| line.configure(configuration)) {
                log::warn!("core {index}: interrupt {intid} is not there: {refused}");
            }
        }
        core.redistributor.call_once(|| redistributor);
        self.set_on(index, true);
        Some(redistributor)
    }

    /// The core goes off: what goes to it goes to another one until it is on again.
    pub fn core_off(&self, index: usize) {
        self.set_on(index, false);
    }

    fn set_on(&self, index: usize, is_on: bool) {
        let mut routes = self.routes.lock();
        routes.set_on(index, is_on);
        self.steer(&routes);
    }

    fn redistributor_of(&self, affinity: u64) -> Option<Redistributor<Frame>> {
        let mut regions = self.mapped.redistributors.iter();
        regions.find_map(|(frame, length)| Redistributor::find(*frame, *length, affinity))
    }

    /// The registers of `intid`; of a private one, those of `core`, if it has come on.
    fn line(&self, intid: u32, core: usize) -> Option<Line<Frame>> {
        if is_private(intid) {
            self.cores.get(core)?.redistributor.get()?.line(intid)
        } else {
            Distributor::line(self.mapped.distributors, intid)
        }
    }

    /// Whether `intid`, of a private one that of `core`, may fire.
    pub fn enable(&self, intid: u32, core: usize, enable: bool) {
        if let Some(line) = self.line(intid, core) {
            line.enable(enable);
            sysreg::dsb();
        }
    }

    /// Ends that `intid`, of a private one that of `core`, is active.
    pub fn deactivate(&self, intid: u32, core: usize) {
        if let Some(line) = self.line(intid, core) {
            line.deactivate();
            sysreg::dsb();
        }
    }

    /// Keeps `intid`, of a private one that of `core`, from firing: disabled, not pending, not active.
    pub fn disable(&self, intid: u32, core: usize) {
        if let Some(line) = self.line(intid, core) {
            line.enable(false);
            line.clear_pending();
            line.deactivate();
            sysreg::dsb();
        }
    }

    /// Has the shared interrupt `intid` of a partition go to `core`; `false` if it is none, or the core has not come
    /// on.
    pub fn route(&self, intid: u32, core: usize) -> bool {
        let target = self.cores.get(core);
        if !target.is_some_and(|core| core.redistributor.is_completed()) {
            return false;
        }
        let mut routes = self.routes.lock();
        let known = routes.want(intid, core);
        if known {
            self.steer(&routes);
        }
        known
    }

    /// [`kick`](Self::kick) for all cores but `own`.
    pub fn kick_others(&self, own: usize) {
        (0..self.cores.len())
            .filter(|core| *core != own)
            .for_each(|core| self.kick(core));
    }

    /// Brings `core` to S-EL2, if it has ever come on. On one that is off the kick is lost.
    pub fn kick(&self, core: usize) {
        let target = self.cores.get(core);
        if let Some(core) = target.filter(|core| core.redistributor.is_completed()) {
            gicv3::send_kick(core.affinity);
        }
    }
}
