// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which registers are read and written for which INTID, on frames that record it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::mmio::Mmio;

/// Frames as words by offset. Bits that a register is written to are read there; `stuck` are not written.
#[derive(Default)]
struct Machine {
    words: BTreeMap<usize, u32>,
    /// Words that ignore writes.
    stuck: Vec<usize>,
    /// How often a control register still says that a write is pending.
    slow: u32,
    written: Vec<(usize, u64)>,
    looked: u32,
}

#[derive(Clone, Copy)]
struct Frames<'a>(&'a RefCell<Machine>, usize);

impl Mmio for Frames<'_> {
    fn at(self, offset: usize) -> Self {
        Self(self.0, self.1 + offset)
    }
    fn read(self, offset: usize) -> u32 {
        let mut machine = self.0.borrow_mut();
        let at = self.1 + offset;
        let mut value = machine.words.get(&at).copied().unwrap_or(0);
        if at.is_multiple_of(2 * FRAME) && machine.slow > 0 {
            machine.slow -= 1;
            machine.looked += 1;
            value |= 1 << 31 | 1 << 3;
        }
        value
    }
    fn read64(self, offset: usize) -> u64 {
        u64::from(self.read(offset)) | u64::from(self.read(offset + 4)) << 32
    }
    fn write8(self, offset: usize, value: u8) {
        (self.0.borrow_mut().written).push((self.1 + offset, value.into()));
    }
    fn write(self, offset: usize, value: u32) {
        let mut machine = self.0.borrow_mut();
        let at = self.1 + offset;
        machine.written.push((at, value.into()));
        if !machine.stuck.contains(&at) {
            machine.words.insert(at, value);
        }
    }
    fn write64(self, offset: usize, value: u64) {
        self.0.borrow_mut().written.push((self.1 + offset, value));
    }
}

fn machine(words: &[(usize, u32)]) -> RefCell<Machine> {
    RefCell::new(Machine {
        words: words.iter().copied().collect(),
        ..Machine::default()
    })
}

impl Machine {
    fn take(machine: &RefCell<Self>) -> Vec<(usize, u64)> {
        core::mem::take(&mut machine.borrow_mut().written)
    }
}

const ALL: core::ops::RangeInclusive<u32> = 0..=u32::MAX;

/// GICD_TYPER of a distributor with all SPIs and all extended SPIs.
const LARGEST: u32 = 31 << 27 | 1 << 8 | 31;

fn edge(intid: u32) -> Configuration {
    Configuration {
        intid,
        priority: 0x50,
        trigger: Trigger::Edge,
    }
}

/// One redistributor of the core with this affinity in GICR_TYPER's form, at `base`.
fn redistributor(base: usize, affinity: u32, kind: u32) -> [(usize, u32); 3] {
    [
        (base + 8, kind),
        (base + 12, affinity),
        (base + 0xffe8, 0x3b),
    ]
}

#[test]
fn c16_an_spi_is_configured_in_the_distributor_and_left_disabled() {
    // What EL3 leaves: all in Group 1 Non-secure.
    let machine = machine(&[(4, LARGEST), (0x84, u32::MAX)]);
    let chips = [Distributor::new(Frames(&machine, 0), ALL)];
    let line = Distributor::line(&chips, 40).unwrap();
    assert_eq!(line.configure(&edge(40)), Ok(()));
    let bit = 1 << 8;
    let configured = [
        (0x184, bit),
        (0x84, u64::from(u32::MAX) & !bit),
        (0xd04, bit),
        (0x428, 0x50),
        (0xc08, 0b10 << 16),
        (0x284, bit),
        (0x384, bit),
    ];
    assert_eq!(Machine::take(&machine), configured);
    line.enable(true);
    line.deactivate();
    line.clear_pending();
    line.enable(false);
    assert!(Distributor::route(&chips, 40, 0x01_0000_0203));
    let used = [
        (0x104, bit),
        (0x384, bit),
        (0x284, bit),
        (0x184, bit),
        (0x6000 + 8 * 40, 0x01_0000_0203),
    ];
    assert_eq!(Machine::take(&machine), used);
}

#[test]
fn c16_an_extended_spi_is_configured_in_arrays_of_its_own() {
    let machine = machine(&[(4, LARGEST), (0x1004, u32::MAX), (0x3008, u32::MAX)]);
    let chips = [Distributor::new(Frames(&machine, 0), ALL)];
    let line = Distributor::line(&chips, 4096 + 33).unwrap();
    let level = Configuration {
        trigger: Trigger::Level,
        ..edge(4096 + 33)
    };
    assert_eq!(line.configure(&level), Ok(()));
    line.enable(true);
    assert!(Distributor::route(&chips, 4096 + 33, 2));
    let expected = [
        (0x1404, 2),
        (0x1004, u64::from(u32::MAX) & !2),
        (0x3404, 2),
        (0x2021, 0x50),
        (0x3008, u64::from(u32::MAX) & !0b1100),
        (0x1804, 2),
        (0x1c04, 2),
        (0x1204, 2),
        (0x8000 + 8 * 33, 2),
    ];
    assert_eq!(Machine::take(&machine), expected);
}

#[test]
fn c16_a_ppi_and_an_extended_ppi_are_configured_in_the_redistributor() {
    let machine = machine(&redistributor(0, 5, 2 << 27));
    let found = Redistributor::find(Frames(&machine, 0), 2 * FRAME, 5).unwrap();
    for (intid, word, bit, priority, trigger, shift) in [
        (29, 0, 1 << 29, 0x41d, 0xc04, 26),
        (1056, 4, 1, 0x420, 0xc08, 0),
        (1119, 8, 1 << 31, 0x45f, 0xc14, 30),
    ] {
        let line = found.line(intid).unwrap();
        assert_eq!(line.configure(&edge(intid)), Ok(()));
        line.enable(true);
        line.deactivate();
        let expected = [
            (FRAME + 0x180 + word, bit),
            (FRAME + 0x80 + word, 0),
            (FRAME + 0xd00 + word, bit),
            (FRAME + priority, 0x50),
            (FRAME + trigger, 0b10 << shift),
            (FRAME + 0x280 + word, bit),
            (FRAME + 0x380 + word, bit),
            (FRAME + 0x100 + word, bit),
            (FRAME + 0x380 + word, bit),
        ];
        assert_eq!(Machine::take(&machine), expected, "{intid}");
    }
}

#[test]
fn i11_an_intid_that_the_machine_does_not_have_has_no_registers() {
    let shared = |kind: u32, intid| {
        let machine = machine(&[(4, kind)]);
        let chips = [Distributor::new(Frames(&machine, 0), ALL)];
        let found = Distributor::line(&chips, intid).is_some();
        assert_eq!(Distributor::route(&chips, intid, 0), found);
        assert_eq!(machine.borrow().written.len(), usize::from(found));
        found
    };
    for (intid, largest, smallest) in [
        (0, false, false),
        (31, false, false),
        (32, true, true),
        (63, true, true),
        (64, true, false),
        (1019, true, false),
        (1020, false, false),
        (1023, false, false),
        (1055, false, false),
        (1056, false, false),
        (4095, false, false),
        (4096, true, true),
        (4127, true, true),
        (4128, true, false),
        (5119, true, false),
        (5120, false, false),
        (8191, false, false),
        (u32::MAX, false, false),
    ] {
        assert_eq!(shared(LARGEST, intid), largest, "{intid}");
        // Of each kind 32, and 32 without extended ones.
        assert_eq!(shared(1 << 8 | 1, intid), smallest, "{intid}");
        assert_eq!(shared(31 << 27 | 1, intid), smallest && intid < 4096);
    }
    let private = |kind: u32, intid| {
        let machine = machine(&redistributor(0, 0, kind));
        let found = Redistributor::find(Frames(&machine, 0), 2 * FRAME, 0).unwrap();
        found.line(intid).is_some()
    };
    for (intid, number) in [
        (0, 0),
        (15, 0),
        (31, 0),
        (32, 3),
        (1055, 3),
        (1056, 1),
        (1087, 1),
        (1088, 2),
        (1119, 2),
        (1120, 3),
        (4096, 3),
        (u32::MAX, 3),
    ] {
        for has in 0..=2 {
            assert_eq!(private(has << 27, intid), has >= number, "{intid} {has}");
        }
        // A value that no revision defines is none.
        assert_eq!(private(3 << 27, intid), number == 0, "{intid}");
    }
}

#[test]
fn disabling_waits_until_it_has_taken_effect() {
    for (kind, intid) in [(1, 40), (0, 29)] {
        let machine = machine(&redistributor(0, 0, 0));
        machine.borrow_mut().words.insert(4, kind);
        let line = if intid == 29 {
            let found = Redistributor::find(Frames(&machine, 0), 2 * FRAME, 0);
            found.unwrap().line(intid)
        } else {
            let chips = [Distributor::new(Frames(&machine, 0), ALL)];
            Distributor::line(&chips, intid)
        };
        machine.borrow_mut().slow = 3;
        line.unwrap().enable(true);
        assert_eq!(machine.borrow().looked, 0);
        line.unwrap().enable(false);
        assert_eq!(machine.borrow().looked, 3, "{intid}");
        // A machine that never says so does not stop the core.
        machine.borrow_mut().slow = u32::MAX;
        line.unwrap().enable(false);
    }
}

#[test]
fn what_el3_has_and_what_stays_non_secure_is_refused() {
    // 40 is enabled in Group 0; 41 is in Group 0, as after a reset, and disabled.
    let machine = machine(&[(4, LARGEST), (0x104, 1 << 8)]);
    let chips = [Distributor::new(Frames(&machine, 0), ALL)];
    let line = |intid| Distributor::line(&chips, intid).unwrap();
    assert_eq!(line(40).configure(&edge(40)), Err(Refused::OfEl3));
    assert_eq!(Machine::take(&machine), []);
    assert_eq!(line(41).configure(&edge(41)), Ok(()));
    Machine::take(&machine);
    // Registers of groups that ignore writes, as where there is one security state.
    machine.borrow_mut().stuck = vec![0x88, 0xd08];
    assert_eq!(line(64).configure(&edge(64)), Err(Refused::NotSecure));
    let written = Machine::take(&machine);
    assert!(!written.contains(&(0x440, 0x50)), "{written:x?}");
}

#[test]
fn b44_each_chip_has_its_own_spis() {
    let machine = machine(&[(4, LARGEST), (0x10_0004, LARGEST)]);
    let chips = [
        Distributor::new(Frames(&machine, 0), 32..=512),
        Distributor::new(Frames(&machine, 0x10_0000), 512..=992),
    ];
    for (intid, base) in [(511, 0), (512, 0x10_0000), (992, 0x10_0000)] {
        Distributor::line(&chips, intid).unwrap().enable(true);
        let [(register, _)] = Machine::take(&machine)[..] else {
            panic!("one write");
        };
        assert_eq!(register & 0x10_0000, base, "{intid}");
    }
    assert!(Distributor::line(&chips, 993).is_none());
    assert!(!Distributor::route(&chips, 4096, 0));
    assert_eq!(Machine::take(&machine), []);
}

#[test]
fn a_distributor_that_forwards_secure_interrupts_is_not_written() {
    for (control, written) in [(0x32, vec![(0, 0x36)]), (0x37, vec![])] {
        let machine = machine(&[(0, control)]);
        Distributor::new(Frames(&machine, 0), ALL).set_up();
        assert_eq!(Machine::take(&machine), written);
    }
}

#[test]
fn d51_the_search_for_a_redistributor_ends_with_the_region() {
    // Four redistributors: of 0.0.0.0, of a core that nobody uses, with virtual LPIs, and the last one.
    const LPIS: usize = 4 * FRAME;
    let words: Vec<_> = [
        redistributor(0, 0, 0),
        redistributor(LPIS / 2, 0xffff_ffff, 2),
        redistributor(LPIS / 2 + LPIS, 0x0200_0103, 0),
        redistributor(2 * LPIS, 7, 0x10),
        redistributor(5 * LPIS / 2, 8, 0x10),
    ]
    .concat();
    let machine = machine(&words);
    let find = |length, affinity| {
        let found = Redistributor::find(Frames(&machine, 0), length, affinity)?;
        found.raise_schedule_receiver();
        let written = Machine::take(&machine);
        assert_eq!((written.len(), written[0].1), (1, 1 << 8));
        Some(written[0].0 - FRAME - 0x200)
    };
    assert_eq!(find(usize::MAX, 0), Some(0));
    assert_eq!(find(usize::MAX, 0x02_0000_0103), Some(6 * FRAME));
    assert_eq!(find(usize::MAX, 7), Some(8 * FRAME));
    // Behind the last one; where a region has half of it; and where the last one does not say so.
    assert_eq!(find(usize::MAX, 8), None);
    assert_eq!(find(10 * FRAME - 1, 7), None);
    assert_eq!(find(2 * FRAME, 7), None);
    assert_eq!(find(0, 0), None);
    // Registers that read as zero are no redistributor of core 0.0.0.0.
    let nothing = RefCell::new(Machine::default());
    assert!(Redistributor::find(Frames(&nothing, 0), 1 << 30, 0).is_none());
}

#[test]
fn decisions25_a_core_that_comes_on_gets_s_el2s_own_interrupts_and_no_others() {
    let mut words = redistributor(0, 0, 0).to_vec();
    // All are Group 1 Non-secure but the schedule receiver interrupt, which is Group 1 Secure.
    let scheduler = 1 << SCHEDULE_RECEIVER;
    words.extend([
        (FRAME + 0x80, !scheduler),
        (FRAME + 0xd00, scheduler),
        (FRAME + 0xc04, 0xaaaa_aaaa),
    ]);
    let machine = machine(&words);
    let found = Redistributor::find(Frames(&machine, 0), 2 * FRAME, 0).unwrap();
    assert_eq!(found.set_up(), Ok(()));
    let written = Machine::take(&machine);
    let to = |offset: usize| {
        let of = written.iter().filter(|(at, _)| *at == FRAME + offset);
        of.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    assert_eq!(to(0x100), [1 << KICK, 1 << TIMER]);
    assert_eq!(to(0x280), [1 << KICK, 1 << TIMER]);
    assert_eq!((to(0x409), to(0x414)), (vec![0x40], vec![0x40]));
    // The mask of non-secure interrupts has to mask the schedule receiver interrupt, whatever EL3 made of it.
    assert_eq!(to(0x408), [0x80]);
    let state = machine.borrow();
    let secure = 1 << KICK | 1 << TIMER;
    assert_eq!(state.words[&(FRAME + 0x80)], !secure);
    assert_eq!(state.words[&(FRAME + 0xd00)], secure);
    // Only CNTHPS's trigger was written.
    assert_eq!(state.words[&(FRAME + 0xc04)], 0xaaaa_a8aa);
    drop(state);
    assert!(found.scheduler_is_non_secure());
    // The normal world's interrupts, 25 to 28 and 30, were enabled, disabled, raised and ended by nobody.
    for array in [0x100, 0x180, 0x200, 0x280, 0x380] {
        let touched = to(array).into_iter().fold(0, |all, bits| all | bits);
        assert_eq!(touched & !secure as u64 & 0xffff_ffff, 0, "{array:#x}");
    }
}

#[test]
fn the_priorities_of_devices_are_below_those_of_s_el2() {
    for (wanted, used) in [
        (0, 0x48),
        (0x01, 0x48),
        (0x40, 0x48),
        (0x4f, 0x48),
        (0x57, 0x50),
        (0x78, 0x78),
        (0x7f, 0x78),
        (0x80, 0x78),
        (0xff, 0x78),
    ] {
        assert_eq!(device_priority(wanted), used, "{wanted:#x}");
    }
}

#[test]
fn i11_private_interrupts_are_sgis_ppis_and_extended_ppis() {
    for intid in [0, 15, 16, 31, 1056, 1119] {
        assert!(is_private(intid), "{intid}");
    }
    for intid in [32, 1019, 1020, 1055, 1120, 4095, 4096, 5119, 8191] {
        assert!(!is_private(intid), "{intid}");
    }
}

#[test]
fn d45_only_the_four_special_intids_are_no_interrupts() {
    for intid in [
        0, 8, 9, 20, 34, 1019, 1024, 1056, 1119, 4096, 5119, 8191, 8192, 0xff_ffff,
    ] {
        assert!(!is_special(intid), "{intid}");
    }
    for intid in 1020..=1023 {
        assert!(is_special(intid), "{intid}");
        // With a bit that is not in a register of 10 or 16 bits.
        assert!(!is_special(intid | 1 << 16) && !is_special(intid | 1 << 10));
    }
}
