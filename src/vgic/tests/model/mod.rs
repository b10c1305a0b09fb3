// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reference model of the GICv2 as secure software sees it, one interrupt at a time and bit by bit: slow, and unlike
//! the implementation wherever it could be. Its choices are those that `src/vgic/src/gicv2.rs` states.

use std::collections::BTreeSet;

/// What the physical side is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Enable(usize, u32, bool),
    Release(usize, u32),
    Route(u32, u32),
}

/// A deliberate mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    None,
    /// An interrupt as urgent as the mask is taken.
    MaskIncluded,
    /// GICC_EOIR drops the lowest priority that is active.
    DropsLowest,
    /// A level that is still high is not pending after it was acknowledged.
    LevelForgotten,
    /// An SGI's other sources are forgotten when one is acknowledged.
    SourcesForgotten,
    /// The binary point of Group 1 is that of Group 0.
    OnePoint,
    /// An interrupt of a group that is off hides the others.
    GroupHides,
    /// What is cleared while pending is not released.
    NotReleased,
    /// Targets are those of the vCPU that writes.
    OwnTarget,
}

#[derive(Clone, Default)]
struct One {
    enabled: bool,
    group1: bool,
    priority: u8,
    edge: bool,
    latch: bool,
    line: bool,
    active: bool,
    sources: BTreeSet<usize>,
    targets: BTreeSet<usize>,
}

#[derive(Clone, Default)]
struct Interface {
    ctlr: u32,
    pmr: u8,
    bpr: u8,
    abpr: u8,
    levels: [BTreeSet<u8>; 2],
}

/// The model.
pub struct Model {
    /// By vCPU, and by INTID; `None` is not there.
    private: Vec<Vec<Option<One>>>,
    shared: Vec<Option<One>>,
    interfaces: Vec<Interface>,
    ctlr: u32,
    lines: u32,
    pub told: Vec<Told>,
    mistake: Mistake,
}

impl Model {
    pub fn new(
        vcpus: usize,
        ppis: u32,
        spis: &[u32],
        lines: u32,
        initialised: bool,
        mistake: Mistake,
    ) -> Self {
        let private = (0..32)
            .map(|intid| {
                let there = intid < 16 || ppis >> intid & 1 != 0;
                let secure = (8..16).contains(&intid);
                there.then(|| One {
                    edge: intid < 16,
                    enabled: initialised && (secure || intid == 27),
                    priority: if initialised && !secure { 0x80 } else { 0 },
                    group1: initialised && !secure,
                    ..One::default()
                })
            })
            .collect::<Vec<_>>();
        Self {
            private: vec![private; vcpus],
            shared: (0..1020)
                .map(|intid| {
                    spis.contains(&intid).then(|| One {
                        group1: initialised,
                        priority: if initialised { 0x80 } else { 0 },
                        ..One::default()
                    })
                })
                .collect(),
            interfaces: vec![
                Interface {
                    bpr: 2,
                    abpr: 3,
                    // Both groups and FIQEn; every priority passes.
                    ctlr: if initialised { 0xb } else { 0 },
                    pmr: if initialised { 0xf8 } else { 0 },
                    ..Interface::default()
                };
                vcpus
            ],
            ctlr: if initialised { 3 } else { 0 },
            lines,
            told: Vec::new(),
            mistake,
        }
    }

    fn vcpus(&self) -> usize {
        self.interfaces.len()
    }

    fn one(&mut self, vcpu: usize, intid: u32) -> Option<&mut One> {
        let intid = intid as usize;
        if intid < 32 {
            self.private.get_mut(vcpu)?.get_mut(intid)?.as_mut()
        } else {
            self.shared.get_mut(intid)?.as_mut()
        }
    }

    fn is_pending(one: &One, intid: u32) -> bool {
        if intid < 16 {
            !one.sources.is_empty()
        } else {
            one.latch || (one.line && !one.edge)
        }
    }

    pub fn pend(&mut self, vcpu: usize, intid: u32) -> bool {
        if vcpu >= self.vcpus() && intid < 32 {
            return false;
        }
        let Some(one) = self.one(vcpu, intid) else {
            return false;
        };
        if intid < 16 {
            one.sources.insert(vcpu)
        } else {
            !std::mem::replace(&mut one.latch, true)
        }
    }

    pub fn withdraw(&mut self, vcpu: usize, intid: u32) -> bool {
        let Some(one) = self.one(vcpu, intid) else {
            return false;
        };
        if intid < 16 {
            let was = !one.sources.is_empty();
            one.sources.clear();
            was
        } else {
            std::mem::replace(&mut one.latch, false)
        }
    }

    pub fn set_line(&mut self, vcpu: usize, intid: u32, high: bool) {
        if let Some(one) = self.one(vcpu, intid) {
            if intid < 16 {
                // Nothing is wired to an SGI.
                return;
            }
            if one.edge && high && !one.line {
                one.latch = true;
            }
            one.line = high;
        }
    }

    /// The most urgent of what could be taken, among the groups that are on in both masks.
    fn highest(&self, vcpu: usize, groups: u32) -> Option<(u8, u32, bool)> {
        let mut best: Option<(u8, u32, bool)> = None;
        for intid in 0..1020_u32 {
            let one = if intid < 32 {
                self.private[vcpu][intid as usize].as_ref()
            } else {
                self.shared[intid as usize].as_ref()
            };
            let Some(one) = one else { continue };
            let here = intid < 32 || self.vcpus() == 1 || one.targets.contains(&vcpu);
            if !one.enabled || one.active || !here || !Self::is_pending(one, intid) {
                continue;
            }
            let on = groups & self.ctlr & if one.group1 { 2 } else { 1 } != 0;
            if !on && self.mistake != Mistake::GroupHides {
                continue;
            }
            if best.is_none_or(|(priority, ..)| one.priority < priority) {
                best = Some((one.priority, intid, one.group1));
            }
        }
        best.filter(|(.., group1)| groups & self.ctlr & if *group1 { 2 } else { 1 } != 0)
    }

    fn running(&self, vcpu: usize) -> u8 {
        let [zero, one] = &self.interfaces[vcpu].levels;
        zero.iter().chain(one).min().map_or(0xff, |level| level * 8)
    }

    fn group_priority(&self, vcpu: usize, group1: bool, priority: u8) -> u8 {
        let interface = &self.interfaces[vcpu];
        let common = interface.ctlr & 16 != 0 || self.mistake == Mistake::OnePoint;
        let cleared = if group1 && !common {
            u32::from(interface.abpr)
        } else {
            u32::from(interface.bpr) + 1
        };
        (u32::from(priority) >> cleared << cleared) as u8
    }

    pub fn deliverable(&self, vcpu: usize) -> Option<(u8, u32, bool)> {
        let interface = &self.interfaces[vcpu];
        let (priority, intid, group1) = self.highest(vcpu, interface.ctlr & 3)?;
        let masked = if self.mistake == Mistake::MaskIncluded {
            priority > interface.pmr
        } else {
            priority >= interface.pmr
        };
        let preempts = self.group_priority(vcpu, group1, priority) < self.running(vcpu);
        (!masked && preempts).then_some((priority, intid, group1))
    }

    /// IRQ and FIQ.
    pub fn signals(&self, vcpu: usize) -> (bool, bool) {
        match self.deliverable(vcpu) {
            None => (false, false),
            Some((.., group1)) => {
                let fiq = !group1 && self.interfaces[vcpu].ctlr & 8 != 0;
                (!fiq, fiq)
            }
        }
    }

    fn told_of(&mut self, vcpu: usize, alias: bool, found: Option<(u8, u32, bool)>) -> u32 {
        let both = self.interfaces[vcpu].ctlr & 4 != 0;
        match found {
            None => 1023,
            Some((_, intid, group1)) => {
                if group1 != alias && (alias || !both) {
                    return if alias { 1023 } else { 1022 };
                }
                let source = match self.one(vcpu, intid) {
                    Some(one) if intid < 16 => one.sources.first().copied().unwrap_or(0),
                    _ => 0,
                };
                intid | (source as u32) << 10
            }
        }
    }

    fn acknowledge(&mut self, vcpu: usize, alias: bool) -> u32 {
        let found = self.deliverable(vcpu);
        let value = self.told_of(vcpu, alias, found);
        if value & 0x3ff >= 1020 {
            return value;
        }
        let (priority, intid, group1) = found.unwrap();
        let mistake = self.mistake;
        let level = self.group_priority(vcpu, group1, priority) / 8;
        let one = self.one(vcpu, intid).unwrap();
        one.active = true;
        one.latch = false;
        if mistake == Mistake::LevelForgotten {
            one.line = false;
        }
        if mistake == Mistake::SourcesForgotten {
            one.sources.clear();
        }
        one.sources.pop_first();
        self.interfaces[vcpu].levels[usize::from(group1)].insert(level);
        value
    }

    fn end(&mut self, vcpu: usize, alias: bool, intid: u32) {
        if intid >= 1020 {
            return;
        }
        let Some(one) = self.one(vcpu, intid) else {
            return;
        };
        let group1 = one.group1;
        if !one.active || (alias && !group1) {
            return;
        }
        let lowest = self.mistake == Mistake::DropsLowest;
        let levels = &mut self.interfaces[vcpu].levels;
        let own = usize::from(group1);
        let which = if levels[own].is_empty() { 1 - own } else { own };
        if lowest {
            levels[which].pop_last();
        } else {
            levels[which].pop_first();
        }
        if self.interfaces[vcpu].ctlr & 1 << 9 == 0 {
            self.deactivate(vcpu, intid);
        }
    }

    fn deactivate(&mut self, vcpu: usize, intid: u32) {
        if let Some(one) = self.one(vcpu, intid)
            && one.active
        {
            one.active = false;
            self.told.push(Told::Release(vcpu, intid));
        }
    }

    pub fn read_interface(&mut self, vcpu: usize, offset: u32) -> u32 {
        let bits = |levels: &BTreeSet<u8>| levels.iter().map(|level| 1_u32 << level).sum::<u32>();
        let interface = &self.interfaces[vcpu];
        match offset {
            0x00 => interface.ctlr,
            0x04 => interface.pmr.into(),
            0x08 => interface.bpr.into(),
            0x0c => self.acknowledge(vcpu, false),
            0x14 => self.running(vcpu).into(),
            0x18 | 0x28 => {
                let found = self.highest(vcpu, 3);
                self.told_of(vcpu, offset == 0x28, found)
            }
            0x1c => interface.abpr.into(),
            0x20 => self.acknowledge(vcpu, true),
            0xd0 => bits(&interface.levels[0]),
            0xe0 => bits(&interface.levels[1]),
            0xfc => 0x2_0000,
            _ => 0,
        }
    }

    pub fn write_interface(&mut self, vcpu: usize, offset: u32, value: u32) {
        let interface = &mut self.interfaces[vcpu];
        let levels = || {
            (0..32)
                .filter(|bit| value >> bit & 1 != 0)
                .collect::<BTreeSet<u8>>()
        };
        match offset {
            0x00 => interface.ctlr = value & 0x7ff,
            0x04 => interface.pmr = value as u8 & 0xf8,
            0x08 => interface.bpr = (value as u8 & 7).max(2),
            0x1c => interface.abpr = (value as u8 & 7).max(3),
            0x10 => self.end(vcpu, false, value & 0x3ff),
            0x24 => self.end(vcpu, true, value & 0x3ff),
            0xd0 => interface.levels[0] = levels(),
            0xe0 => interface.levels[1] = levels(),
            0x1000 if interface.ctlr & 1 << 9 != 0 => self.deactivate(vcpu, value & 0x3ff),
            _ => {}
        }
    }

    /// A bit of each of 32 interrupts.
    fn bits(&mut self, vcpu: usize, first: u32, of: impl Fn(&One, u32) -> bool) -> u32 {
        let mut word = 0;
        for bit in 0..32 {
            let intid = first + bit;
            if self.one(vcpu, intid).is_some_and(|one| of(one, intid)) {
                word |= 1 << bit;
            }
        }
        word
    }

    /// A byte of an interrupt.
    fn byte(&mut self, vcpu: usize, offset: u32) -> u8 {
        let vcpus = self.vcpus();
        let mask = |set: &BTreeSet<usize>| set.iter().map(|vcpu| 1_u8 << vcpu).sum::<u8>();
        match offset {
            0x400..0x7fc => self.one(vcpu, offset - 0x400).map_or(0, |one| one.priority),
            0x800..0xbfc => {
                let intid = offset - 0x800;
                match self.one(vcpu, intid) {
                    None => 0,
                    Some(_) if vcpus == 1 => 0,
                    Some(_) if intid < 32 => 1 << vcpu,
                    Some(one) => mask(&one.targets),
                }
            }
            0xf10..0xf20 => self
                .one(vcpu, offset - 0xf10)
                .map_or(0, |one| mask(&one.sources)),
            0xf20..0xf30 => self
                .one(vcpu, offset - 0xf20)
                .map_or(0, |one| mask(&one.sources)),
            _ => 0,
        }
    }

    pub fn read_distributor(&mut self, vcpu: usize, offset: u32, bytes: u32) -> u32 {
        let word = offset & 0x7f;
        let first = word * 8;
        match offset {
            0x000 => self.ctlr,
            0x004 => self.lines | (self.vcpus() as u32 - 1) << 5 | 0x400,
            0x008 => 0x2_0000,
            0x080..0x100 => self.bits(vcpu, first, |one, _| one.group1),
            0x100..0x200 => self.bits(vcpu, first, |one, _| one.enabled),
            0x200..0x300 => self.bits(vcpu, first, Self::is_pending),
            0x300..0x400 => self.bits(vcpu, first, |one, _| one.active),
            0xc00..0xd00 => {
                let first = (offset - 0xc00) * 4;
                (0..16).fold(0, |word, bit| {
                    let edge = self.one(vcpu, first + bit).is_some_and(|one| one.edge);
                    word | u32::from(edge) << (2 * bit + 1)
                })
            }
            0xfe8 => 0x20,
            _ => (0..bytes).fold(0, |word, byte| {
                word | u32::from(self.byte(vcpu, offset + byte)) << (8 * byte)
            }),
        }
    }

    fn write_byte(&mut self, vcpu: usize, offset: u32, value: u8) {
        let vcpus = self.vcpus();
        let mistake = self.mistake;
        let set: BTreeSet<usize> = (0..vcpus).filter(|vcpu| value >> vcpu & 1 != 0).collect();
        match offset {
            0x400..0x7fc => {
                if let Some(one) = self.one(vcpu, offset - 0x400) {
                    one.priority = value & 0xf8;
                }
            }
            0x820..0xbfc if vcpus > 1 => {
                let intid = offset - 0x800;
                if let Some(one) = self.one(vcpu, intid) {
                    let set = if mistake == Mistake::OwnTarget {
                        [vcpu].into()
                    } else {
                        set
                    };
                    if one.targets != set {
                        let mask = set.iter().map(|vcpu| 1_u32 << vcpu).sum();
                        one.targets = set;
                        self.told.push(Told::Route(intid, mask));
                    }
                }
            }
            0xf10..0xf20 => {
                if let Some(one) = self.one(vcpu, offset - 0xf10) {
                    one.sources.retain(|source| value >> source & 1 == 0);
                }
            }
            0xf20..0xf30 => {
                if let Some(one) = self.one(vcpu, offset - 0xf20) {
                    one.sources.extend(set);
                }
            }
            _ => {}
        }
    }

    pub fn write_distributor(&mut self, vcpu: usize, offset: u32, bytes: u32, value: u32) {
        let first = (offset & 0x7f) * 8;
        match offset {
            0x000 => self.ctlr = value & 3,
            0x080..0x400 => {
                // As hardware has it, all bits change at once; those that are told of come in order: first what is
                // enabled, then what is over.
                for bit in 0..32 {
                    self.write_bit(vcpu, offset, first + bit, value >> bit & 1 != 0);
                }
            }
            0xc08..0xd00 => {
                let first = (offset - 0xc00) * 4;
                for bit in 0..16 {
                    if let Some(one) = self.one(vcpu, first + bit) {
                        one.edge = value >> (2 * bit + 1) & 1 != 0;
                    }
                }
            }
            0xf00 => {
                let intid = value & 15;
                for to in 0..self.vcpus() {
                    let listed = match value >> 24 & 3 {
                        0 => value >> 16 >> to & 1 != 0,
                        1 => to != vcpu,
                        2 => to == vcpu,
                        _ => false,
                    };
                    if let Some(one) = self.one(to, intid)
                        && listed
                        && one.group1 == (value >> 15 & 1 != 0)
                    {
                        one.sources.insert(vcpu);
                    }
                }
            }
            _ => {
                for byte in 0..bytes {
                    self.write_byte(vcpu, offset + byte, (value >> (8 * byte)) as u8);
                }
            }
        }
    }

    fn write_bit(&mut self, vcpu: usize, offset: u32, intid: u32, set: bool) {
        let mistake = self.mistake;
        let mut told = None;
        let Some(one) = self.one(vcpu, intid) else {
            return;
        };
        match offset {
            0x080..0x100 => one.group1 = set,
            0x100..0x180 if set => {
                told = (!one.enabled).then_some(Told::Enable(vcpu, intid, true));
                one.enabled = true;
            }
            0x180..0x200 if set => {
                told = one.enabled.then_some(Told::Enable(vcpu, intid, false));
                one.enabled = false;
            }
            0x200..0x280 if set && intid >= 16 => one.latch = true,
            0x280..0x300 if set && intid >= 16 => {
                if one.latch && !one.active && mistake != Mistake::NotReleased {
                    told = Some(Told::Release(vcpu, intid));
                }
                one.latch = false;
            }
            0x300..0x380 if set => one.active = true,
            0x380..0x400 if set => {
                told = one.active.then_some(Told::Release(vcpu, intid));
                one.active = false;
            }
            _ => {}
        }
        self.told.extend(told);
    }
}
