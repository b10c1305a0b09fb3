// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random operations on the GICv2 and on the reference model: the same values, signals and physical interrupts.
//!
//! A million operations by default; `BULKHEAD_VGIC_OPERATIONS=N` makes N, and `BULKHEAD_VGIC_SEED=N` begins elsewhere.

mod model;

use bulkhead_vgic::bank::Bank;
use bulkhead_vgic::gicv2::{Cpu, Frame, Gicv2, REGISTERS, Start, Width};
use bulkhead_vgic::{Physical, Size};
use model::{Mistake, Model, Told};

const PPIS: u32 = 1 << 16 | 1 << 27 | 1 << 30;
const SPIS: [u32; 7] = [32, 33, 34, 47, 64, 70, 95];
/// INTIDs that are asked for: those that there are, and some that there are not.
const ASKED: [u32; 16] = [
    0, 3, 15, 16, 17, 27, 30, 32, 33, 34, 35, 47, 64, 70, 95, 1019,
];
/// Operations before all registers are compared, and before both begin anew.
const LOOK: u64 = 256;
const ROUND: u64 = 4096;

/// PPI 27 is the normal world's.
const FIRMWARE: Start = Start::Firmware { foreign: 1 << 27 };

#[derive(Default)]
struct Noted(Vec<Told>);

impl Physical for Noted {
    fn enable(&mut self, vcpu: usize, intid: u32, enable: bool) {
        self.0.push(Told::Enable(vcpu, intid, enable));
    }
    fn release(&mut self, vcpu: usize, intid: u32) {
        self.0.push(Told::Release(vcpu, intid));
    }
    fn route(&mut self, intid: u32, targets: u32) {
        self.0.push(Told::Route(intid, targets));
    }
}

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Read(Frame, u32, Size),
    Write(Frame, u32, Size, u32),
    Pend(u32),
    Withdraw(u32),
    Line(u32, bool),
}

use Operation::{Line, Pend, Read, Withdraw, Write};

/// Something a driver might do, or anything at all. `last` is what was acknowledged last.
fn operation(dice: &mut Dice, last: u32) -> Operation {
    let (d, c, word) = (Frame::Distributor, Frame::CpuInterface, Size::Word);
    let intid = dice.of(&ASKED);
    let bank = dice.below(3) as u32 * 4;
    let one = 1_u32 << dice.below(32);
    let random = dice.next() as u32;
    let bits = dice.of(&[one, one, random, u32::MAX]);
    match dice.below(64) {
        0..12 => Read(c, dice.of(&[0xc, 0xc, 0xc, 0x20]), word),
        12..22 => {
            let register = dice.of(&[0x10, 0x10, 0x10, 0x24, 0x1000]);
            Write(
                c,
                register,
                word,
                dice.of(&[last, last, last, intid, random]),
            )
        }
        22..28 => Pend(intid),
        28 => Withdraw(intid),
        29..33 => Line(intid, dice.below(2) == 0),
        33..36 => Write(d, 0x100 + bank, word, bits),
        36 => Write(d, 0x180 + bank, word, bits),
        37 => Write(d, 0x200 + bank, word, bits),
        38 => Write(d, 0x280 + bank, word, bits),
        39 => Write(d, dice.of(&[0x300, 0x380, 0x380]) + bank, word, one),
        40 => Write(d, 0x80 + bank, word, random),
        41..44 => Write(
            d,
            0x400 + intid,
            Size::Byte,
            dice.of(&[0, 0x40, 0x80, 0xc0, random]),
        ),
        44..46 => Write(d, 0x800 + intid, Size::Byte, random),
        46 => Write(d, 0xc00 + dice.below(6) as u32 * 4, word, random),
        47..51 => Write(d, 0xf00, word, random & 0x03ff_800f),
        51 => Write(
            d,
            dice.of(&[0xf10, 0xf20]) + dice.below(16) as u32,
            Size::Byte,
            random,
        ),
        52 => Write(c, 0, word, dice.of(&[0xf, 0xb, 0x20f, 0x1f, random])),
        53 => Write(c, 4, word, dice.of(&[0xff, 0xff, 0x80, random])),
        54 => Write(c, dice.of(&[8, 0x1c]), word, random),
        55 => Write(c, dice.of(&[0xd0, 0xe0]), word, dice.of(&[0, 0, one])),
        56 => Write(d, 0, word, dice.of(&[3, 3, random])),
        57 => Read(c, dice.of(&[0x14, 0x18, 0x28]), word),
        _ => {
            let frame = dice.of(&[d, c]);
            let size = dice.of(&[Size::Byte, Size::Half, Size::Word, Size::Word, Size::Double]);
            let offset = dice.below(0x1100) as u32;
            let offset = if size == Size::Word {
                offset & !3
            } else {
                offset
            };
            if dice.below(2) == 0 {
                Read(frame, offset, size)
            } else {
                Write(frame, offset, size, random)
            }
        }
    }
}

/// Whether an access is one that a register has.
fn is_allowed(frame: Frame, offset: u32, size: Size) -> bool {
    REGISTERS.iter().any(|row| {
        let within = (row.offset..row.offset + 4 * row.count).contains(&offset);
        row.frame == frame
            && within
            && match size {
                Size::Word => offset.is_multiple_of(4),
                Size::Byte => row.width == Width::Bytes,
                _ => false,
            }
    })
}

struct Pair {
    gic: Gicv2<'static>,
    noted: Noted,
    model: Model,
    vcpus: usize,
}

impl Pair {
    fn new(vcpus: usize, start: Start, mistake: Mistake) -> Self {
        let bank = |first: u32| {
            let own = SPIS.iter().filter(|intid| *intid / 32 * 32 == first);
            Bank::new(first, own.fold(0, |all, intid| all | 1 << (intid % 32)))
        };
        let cpus = (0..vcpus)
            .map(|_| Cpu::new(PPIS, start))
            .collect::<Vec<_>>()
            .leak();
        let banks = vec![bank(32), bank(64)].leak();
        Self {
            gic: Gicv2::new(cpus, banks, start),
            noted: Noted::default(),
            model: Model::new(vcpus, PPIS, &SPIS, 2, start == FIRMWARE, mistake),
            vcpus,
        }
    }

    /// Makes it on both: what they returned.
    fn make(&mut self, vcpu: usize, operation: Operation) -> [Option<u32>; 2] {
        let (gic, model, noted) = (&mut self.gic, &mut self.model, &mut self.noted);
        let bytes = |size| if size == Size::Byte { 1 } else { 4 };
        match operation {
            Read(frame, offset, size) => {
                let allowed = is_allowed(frame, offset, size);
                match frame {
                    Frame::Distributor => [
                        gic.read_distributor(vcpu, offset, size),
                        allowed.then(|| model.read_distributor(vcpu, offset, bytes(size))),
                    ],
                    Frame::CpuInterface => [
                        gic.read_cpu_interface(vcpu, offset, size),
                        allowed.then(|| model.read_interface(vcpu, offset)),
                    ],
                }
            }
            Write(frame, offset, size, value) => {
                let allowed = is_allowed(frame, offset, size);
                let done = match frame {
                    Frame::Distributor => gic.write_distributor(vcpu, offset, size, value, noted),
                    Frame::CpuInterface => {
                        gic.write_cpu_interface(vcpu, offset, size, value, noted)
                    }
                };
                if allowed {
                    match frame {
                        Frame::Distributor => {
                            model.write_distributor(vcpu, offset, bytes(size), value);
                        }
                        Frame::CpuInterface => model.write_interface(vcpu, offset, value),
                    }
                }
                [done.map(|()| 0), allowed.then_some(0)]
            }
            Pend(intid) => {
                [gic.pend(vcpu, intid), model.pend(vcpu, intid)].map(|new| Some(new.into()))
            }
            Withdraw(intid) => {
                [gic.withdraw(vcpu, intid), model.withdraw(vcpu, intid)].map(|was| Some(was.into()))
            }
            Line(intid, high) => {
                gic.set_line(vcpu, intid, high);
                model.set_line(vcpu, intid, high);
                [Some(0); 2]
            }
        }
    }

    /// What differs.
    fn difference(&mut self, whole: bool) -> Option<String> {
        for vcpu in 0..self.vcpus {
            let (ours, intid) = self.gic.signals(vcpu);
            let theirs = self.model.signals(vcpu);
            if (ours.irq, ours.fiq) != theirs {
                return Some(format!("vCPU {vcpu}: {ours:?}, not {theirs:?}"));
            }
            let theirs = self.model.deliverable(vcpu).map(|(_, intid, _)| intid);
            if intid != theirs {
                return Some(format!("vCPU {vcpu}: {intid:?}, not {theirs:?}"));
            }
        }
        let theirs = core::mem::take(&mut self.model.told);
        let ours = core::mem::take(&mut self.noted.0);
        if ours != theirs {
            return Some(format!("told {ours:?}, not {theirs:?}"));
        }
        if !whole {
            return None;
        }
        for row in REGISTERS.iter().filter(|row| !row.name.contains("IAR")) {
            // All of an array that has anything.
            for number in 0..row.count.min(24) {
                let offset = row.offset + 4 * number;
                for vcpu in 0..self.vcpus {
                    let [ours, theirs] = self.make(vcpu, Read(row.frame, offset, Size::Word));
                    if ours != theirs {
                        return Some(format!(
                            "vCPU {vcpu}: {} at {offset:#x} is {ours:x?}, not {theirs:x?}",
                            row.name
                        ));
                    }
                }
            }
        }
        None
    }
}

/// Makes operations; the first difference, and what came before it.
fn walk(operations: u64, seed: u64, mistake: Mistake) -> Result<(), String> {
    let mut done = 0;
    let mut round = seed;
    while done < operations {
        let mut dice = Dice(round.wrapping_mul(0x1234_5678_9abc_def1));
        let vcpus = [1, 2, 4, 8][(round % 4) as usize];
        let start = [Start::Reset, FIRMWARE][(round / 4 % 2) as usize];
        let mut pair = Pair::new(vcpus, start, mistake);
        let mut last = [1023; 8];
        let mut before = Vec::new();
        for step in 1..=ROUND {
            let vcpu = dice.below(vcpus as u64) as usize;
            let operation = operation(&mut dice, last[vcpu]);
            before.push((vcpu, operation));
            let [ours, theirs] = pair.make(vcpu, operation);
            let acknowledged =
                matches!(operation, Read(Frame::CpuInterface, 0xc | 0x20, Size::Word));
            if let (true, Some(value)) = (acknowledged, ours)
                && value & 0x3ff < 1020
            {
                last[vcpu] = value;
            }
            let differs = (ours != theirs)
                .then(|| format!("it returned {ours:x?}, not {theirs:x?}"))
                .or_else(|| pair.difference(step % LOOK == 0));
            if let Some(differs) = differs {
                let from = before.len().saturating_sub(20);
                return Err(format!(
                    "seed {round}, {vcpus} vCPUs, step {step}: {differs}\n{:#x?}",
                    &before[from..]
                ));
            }
        }
        done += ROUND;
        round += 1;
    }
    Ok(())
}

fn number(name: &str, default: u64) -> u64 {
    let found = std::env::var(name).ok();
    found.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn c18_a_million_operations_are_as_the_model_has_them() {
    let operations = number("BULKHEAD_VGIC_OPERATIONS", 1_000_000);
    if let Err(difference) = walk(operations, number("BULKHEAD_VGIC_SEED", 1), Mistake::None) {
        panic!("{difference}");
    }
}

#[test]
fn c18_each_mistake_of_the_model_is_found() {
    for mistake in [
        Mistake::MaskIncluded,
        Mistake::DropsLowest,
        Mistake::LevelForgotten,
        Mistake::SourcesForgotten,
        Mistake::OnePoint,
        Mistake::GroupHides,
        Mistake::NotReleased,
        Mistake::OwnTarget,
    ] {
        assert!(
            walk(1_000_000, 1, mistake).is_err(),
            "{mistake:?} is not found"
        );
    }
}
