// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each register of the GICv2: reads, writes, reserved bits and sizes of access. And what they do together.

use bulkhead_vgic::bank::Bank;
use bulkhead_vgic::gicv2::{Cpu, Frame, Gicv2, REGISTERS, Start, Width};
use bulkhead_vgic::{Physical, Signals, Size};
use proptest::prelude::*;

/// SPIs 32, 33, 34 and 47, and 64 and 95.
const FIRST: u32 = 0x8007;
const SECOND: u32 = 0x8000_0001;
/// PPIs 16, 27 and 30.
const PPIS: u32 = 1 << 16 | 1 << 27 | 1 << 30;
const PRIVATE: u32 = PPIS | 0xffff;

/// What physical interrupts were told.
#[derive(Default, Debug, PartialEq, Eq)]
struct Told {
    enabled: Vec<(usize, u32, bool)>,
    released: Vec<(usize, u32)>,
    routed: Vec<(u32, u32)>,
}

impl Physical for Told {
    fn enable(&mut self, vcpu: usize, intid: u32, enable: bool) {
        self.enabled.push((vcpu, intid, enable));
    }
    fn release(&mut self, vcpu: usize, intid: u32) {
        self.released.push((vcpu, intid));
    }
    fn route(&mut self, intid: u32, targets: u32) {
        self.routed.push((intid, targets));
    }
}

struct Bench {
    gic: Gicv2<'static>,
    told: Told,
}

const IRQ: Signals = Signals {
    irq: true,
    fiq: false,
};
const FIQ: Signals = Signals {
    irq: false,
    fiq: true,
};
const NONE: Signals = Signals {
    irq: false,
    fiq: false,
};

const SPURIOUS: u32 = 1023;
const OTHER: u32 = 1022;

/// Offsets of the CPU interface.
const CTLR: u32 = 0;
const PMR: u32 = 4;
const BPR: u32 = 8;
const IAR: u32 = 0xc;
const EOIR: u32 = 0x10;
const RPR: u32 = 0x14;
const HPPIR: u32 = 0x18;
const ABPR: u32 = 0x1c;
const AIAR: u32 = 0x20;
const AEOIR: u32 = 0x24;
const AHPPIR: u32 = 0x28;
const APR0: u32 = 0xd0;
const NSAPR0: u32 = 0xe0;
const DIR: u32 = 0x1000;

impl Bench {
    fn new(vcpus: usize) -> Self {
        Self::starting(vcpus, Start::Reset)
    }

    fn starting(vcpus: usize, start: Start) -> Self {
        let cpus = (0..vcpus)
            .map(|_| Cpu::new(PPIS, start))
            .collect::<Vec<_>>()
            .leak();
        let banks = vec![Bank::new(32, FIRST), Bank::new(64, SECOND)].leak();
        Self {
            gic: Gicv2::new(cpus, banks, start),
            told: Told::default(),
        }
    }

    fn signals(&self, vcpu: usize) -> Signals {
        self.gic.signals(vcpu).0
    }

    /// Both groups are on everywhere, Group 0 is FIQ, GICC_IAR acknowledges Group 0 only, nothing is masked; all SPIs go to
    /// every vCPU, all are enabled and of priority 0x80.
    fn running(vcpus: usize) -> Self {
        let mut bench = Self::new(vcpus);
        bench.d(0, 0, 3);
        for vcpu in 0..vcpus {
            bench.c(vcpu, CTLR, 0b1011);
            bench.c(vcpu, PMR, 0xff);
            for array in [0x100, 0x104, 0x108] {
                bench.d(vcpu, array, u32::MAX);
            }
            for intid in 0..96 {
                bench.byte(vcpu, 0x400 + intid, 0x80);
                bench.byte(vcpu, 0x800 + intid, 0xff);
            }
        }
        bench.told = Told::default();
        bench
    }

    fn d(&mut self, vcpu: usize, offset: u32, value: u32) {
        let done = self
            .gic
            .write_distributor(vcpu, offset, Size::Word, value, &mut self.told);
        assert_eq!(done, Some(()), "{offset:#x}");
    }

    fn byte(&mut self, vcpu: usize, offset: u32, value: u32) {
        let done = self
            .gic
            .write_distributor(vcpu, offset, Size::Byte, value, &mut self.told);
        assert_eq!(done, Some(()), "{offset:#x}");
    }

    fn rd(&mut self, vcpu: usize, offset: u32) -> u32 {
        self.gic
            .read_distributor(vcpu, offset, Size::Word)
            .expect("a register")
    }

    fn rb(&mut self, vcpu: usize, offset: u32) -> u32 {
        self.gic
            .read_distributor(vcpu, offset, Size::Byte)
            .expect("a register")
    }

    fn c(&mut self, vcpu: usize, offset: u32, value: u32) {
        let done = self
            .gic
            .write_cpu_interface(vcpu, offset, Size::Word, value, &mut self.told);
        assert_eq!(done, Some(()), "{offset:#x}");
    }

    fn rc(&mut self, vcpu: usize, offset: u32) -> u32 {
        self.gic
            .read_cpu_interface(vcpu, offset, Size::Word)
            .expect("a register")
    }

    fn group1(&mut self, vcpu: usize, intid: u32) {
        let offset = 0x80 + intid / 32 * 4;
        let value = self.rd(vcpu, offset) | 1 << (intid % 32);
        self.d(vcpu, offset, value);
    }

    fn is_active(&mut self, vcpu: usize, intid: u32) -> bool {
        self.rd(vcpu, 0x300 + intid / 32 * 4) >> (intid % 32) & 1 != 0
    }
}

/// Writes all ones and then zero; both reads.
fn holds(bench: &mut Bench, offset: u32) -> (u32, u32) {
    bench.d(0, offset, u32::MAX);
    let ones = bench.rd(0, offset);
    bench.d(0, offset, 0);
    (ones, bench.rd(0, offset))
}

fn ignores(frame: Frame, offset: u32, expected: u32) {
    let mut bench = Bench::new(2);
    for value in [u32::MAX, 0, 0x5555_5555] {
        match frame {
            Frame::Distributor => {
                bench.d(0, offset, value);
                assert_eq!(bench.rd(0, offset), expected, "{offset:#x}");
            }
            Frame::CpuInterface => {
                bench.c(0, offset, value);
                assert_eq!(bench.rc(0, offset), expected, "{offset:#x}");
            }
        }
    }
}

fn gicd_ctlr() {
    assert_eq!(holds(&mut Bench::new(1), 0), (3, 0));
}

fn gicd_typer() {
    for vcpus in 1..=8 {
        let expected = 2 | (vcpus as u32 - 1) << 5 | 1 << 10;
        assert_eq!(Bench::new(vcpus).rd(0, 4), expected);
    }
    ignores(Frame::Distributor, 4, 2 | 1 << 5 | 1 << 10);
}

fn gicd_iidr() {
    ignores(Frame::Distributor, 8, 2 << 16);
}

fn gicd_igroupr() {
    let mut bench = Bench::new(2);
    for (number, there) in [(0, PRIVATE), (1, FIRST), (2, SECOND), (3, 0), (31, 0)] {
        assert_eq!(holds(&mut bench, 0x80 + 4 * number), (there, 0));
    }
    bench.d(1, 0x80, 0x8000);
    assert_eq!((bench.rd(0, 0x80), bench.rd(1, 0x80)), (0, 0x8000));
    bench.d(1, 0x84, 5);
    assert_eq!(bench.rd(0, 0x84), 5);
}

/// A register that sets and one that clears.
fn set_and_clear(set: u32, clear: u32, private: u32) -> Bench {
    let mut bench = Bench::new(2);
    for (number, there) in [(0, private), (1, FIRST), (2, SECOND), (3, 0), (31, 0)] {
        let (set, clear) = (set + 4 * number, clear + 4 * number);
        bench.d(0, set, 0);
        bench.d(0, set, u32::MAX);
        assert_eq!((bench.rd(0, set), bench.rd(0, clear)), (there, there));
        bench.d(0, clear, 1);
        let left = there & !1;
        assert_eq!((bench.rd(0, set), bench.rd(0, clear)), (left, left));
        bench.d(0, clear, 0);
        assert_eq!(bench.rd(0, set), left);
        bench.d(0, clear, u32::MAX);
        assert_eq!(bench.rd(0, set), 0);
    }
    bench.d(1, set, 1 << 27);
    assert_eq!((bench.rd(0, set), bench.rd(1, set)), (0, 1 << 27));
    bench
}

fn gicd_enabler() {
    set_and_clear(0x100, 0x180, PRIVATE);
    let mut bench = Bench::new(2);
    bench.d(1, 0x100, 1 << 27);
    bench.d(1, 0x100, 1 << 27);
    bench.d(0, 0x104, u32::MAX);
    bench.d(0, 0x184, 2);
    let all = [
        (1, 27, true),
        (0, 32, true),
        (0, 33, true),
        (0, 34, true),
        (0, 47, true),
        (0, 33, false),
    ];
    assert_eq!(bench.told.enabled, all);
}

fn gicd_pendr() {
    // SGIs are made pending by others.
    set_and_clear(0x200, 0x280, PPIS);
    let mut bench = Bench::new(1);
    bench.d(0, 0x204, 1);
    bench.d(0, 0x284, 1);
    assert_eq!(bench.told.released, [(0, 32)]);
    // What a line holds up stays pending.
    bench.gic.set_line(0, 33, true);
    bench.d(0, 0x284, 2);
    assert_eq!(bench.rd(0, 0x204), 2);
    bench.gic.set_line(0, 33, false);
    assert_eq!(bench.rd(0, 0x204), 0);
    // One that a write made pending does not follow its line.
    bench.d(0, 0x204, 2);
    bench.gic.set_line(0, 33, true);
    bench.gic.set_line(0, 33, false);
    assert_eq!(bench.rd(0, 0x204), 2);
}

fn gicd_activer() {
    set_and_clear(0x300, 0x380, PRIVATE);
    let mut bench = Bench::new(1);
    bench.d(0, 0x304, 1);
    // Active and pending: the physical one is over when it is deactivated.
    bench.d(0, 0x204, 1);
    bench.d(0, 0x284, 1);
    assert!(bench.told.released.is_empty());
    bench.d(0, 0x384, 1);
    assert_eq!(bench.told.released, [(0, 32)]);
}

fn gicd_ipriorityr() {
    let mut bench = Bench::new(2);
    bench.d(0, 0x400 + 32, u32::MAX);
    assert_eq!(bench.rd(0, 0x400 + 32), 0x00f8_f8f8);
    bench.byte(0, 0x400 + 33, 0x47);
    assert_eq!(
        (bench.rb(0, 0x400 + 33), bench.rb(0, 0x400 + 34)),
        (0x40, 0xf8)
    );
    bench.byte(0, 0x400 + 35, 0xff);
    assert_eq!(bench.rb(0, 0x400 + 35), 0, "there is no SPI 35");
    bench.byte(1, 0x400 + 30, 0xa0);
    assert_eq!(
        (bench.rb(0, 0x400 + 30), bench.rb(1, 0x400 + 30)),
        (0, 0xa0)
    );
    bench.byte(0, 0x400 + 1019, 0xff);
    assert_eq!(bench.rb(0, 0x400 + 1019), 0);
}

fn gicd_itargetsr() {
    let mut bench = Bench::new(4);
    bench.d(2, 0x800, 0);
    assert_eq!(bench.rd(2, 0x800), 0x0404_0404, "the own vCPU");
    assert_eq!(bench.rb(3, 0x800 + 30), 8);
    assert_eq!(bench.rb(3, 0x800 + 17), 0, "there is no PPI 17");
    bench.d(0, 0x800 + 32, 0xff02_f301);
    assert_eq!(bench.rd(1, 0x800 + 32), 0x0002_0301);
    assert_eq!(bench.told.routed, [(32, 1), (33, 3), (34, 2)]);
    bench.byte(0, 0x800 + 34, 2);
    assert_eq!(bench.told.routed.len(), 3, "nothing has changed");
    let mut alone = Bench::new(1);
    alone.d(0, 0x800 + 32, u32::MAX);
    assert_eq!((alone.rd(0, 0x800), alone.rd(0, 0x800 + 32)), (0, 0));
}

fn gicd_icfgr() {
    let mut bench = Bench::new(2);
    assert_eq!(holds(&mut bench, 0xc00), (0xaaaa_aaaa, 0xaaaa_aaaa));
    assert_eq!(holds(&mut bench, 0xc04), (0, 0));
    assert_eq!(holds(&mut bench, 0xc08), (0x8000_002a, 0));
    assert_eq!(holds(&mut bench, 0xc0c), (0, 0));
    assert_eq!(holds(&mut bench, 0xc10), (2, 0));
    assert_eq!(holds(&mut bench, 0xc14), (0x8000_0000, 0));
    assert_eq!(holds(&mut bench, 0xcfc), (0, 0));
}

fn gicd_sgir() {
    for (value, expected) in [
        (0x0005_0003, [8, 0, 8, 0]),
        (0x0100_0003, [8, 0, 8, 8]),
        (0x0200_0003, [0, 8, 0, 0]),
        (0x0300_0003, [0, 0, 0, 0]),
        // The list is of no interest to the others.
        (0x02ff_0003, [0, 8, 0, 0]),
        (0x00f0_0003, [0, 0, 0, 0]),
        // In Group 1 there is none.
        (0x00ff_8003, [0, 0, 0, 0]),
    ] {
        let mut bench = Bench::new(4);
        bench.d(1, 0xf00, value);
        let pending = [0, 1, 2, 3].map(|vcpu| bench.rd(vcpu, 0x200));
        assert_eq!(pending, expected, "{value:#x}");
        assert_eq!(bench.rd(1, 0xf00), 0);
    }
    let mut bench = Bench::new(2);
    bench.d(1, 0x80, 8);
    bench.d(0, 0xf00, 0x0003_8003);
    assert_eq!((bench.rd(0, 0x200), bench.rd(1, 0x200)), (0, 8));
}

fn gicd_pendsgir() {
    let mut bench = Bench::new(4);
    bench.byte(0, 0xf25, 0xff);
    assert_eq!((bench.rd(0, 0xf24), bench.rd(0, 0xf14)), (0x0f00, 0x0f00));
    assert_eq!((bench.rd(0, 0x200), bench.rd(1, 0xf24)), (1 << 5, 0));
    bench.d(0, 0xf14, 0x0700);
    assert_eq!((bench.rb(0, 0xf25), bench.rd(0, 0x200)), (8, 1 << 5));
    bench.byte(0, 0xf15, 8);
    assert_eq!((bench.rb(0, 0xf25), bench.rd(0, 0x200)), (0, 0));
}

fn gicd_pidr2() {
    ignores(Frame::Distributor, 0xfe8, 0x20);
}

fn zero() {
    for register in REGISTERS
        .iter()
        .filter(|row| row.name.contains("PIDR") || reads_zero(row.name))
    {
        if register.name != "GICD_PIDR2" {
            for number in 0..register.count {
                ignores(register.frame, register.offset + 4 * number, 0);
            }
        }
    }
}

fn reads_zero(name: &str) -> bool {
    name.contains("SPISR")
        || name.contains("NSACR")
        || name.contains("implementation")
        || name.contains("APR1 to 3")
}

fn gicc_ctlr() {
    let mut bench = Bench::new(2);
    bench.c(0, CTLR, u32::MAX);
    assert_eq!((bench.rc(0, CTLR), bench.rc(1, CTLR)), (0x7ff, 0));
}

fn gicc_pmr() {
    let mut bench = Bench::new(2);
    bench.c(0, PMR, u32::MAX);
    assert_eq!((bench.rc(0, PMR), bench.rc(1, PMR)), (0xf8, 0));
}

fn gicc_bpr() {
    let mut bench = Bench::new(1);
    for (register, least) in [(BPR, 2), (ABPR, 3)] {
        assert_eq!(bench.rc(0, register), least);
        for value in 0..16 {
            bench.c(0, register, value);
            assert_eq!(bench.rc(0, register), (value & 7).max(least));
        }
    }
}

fn gicc_iar() {
    let mut bench = Bench::running(1);
    assert_eq!(bench.rc(0, IAR), SPURIOUS);
    bench.gic.pend(0, 33);
    assert_eq!((bench.rc(0, IAR), bench.rc(0, IAR)), (33, SPURIOUS));
    assert!(bench.is_active(0, 33));
    bench.c(0, EOIR, 33);
    bench.group1(0, 34);
    bench.gic.pend(0, 34);
    assert_eq!(bench.rc(0, IAR), OTHER);
    assert!(!bench.is_active(0, 34));
    bench.c(0, CTLR, 0b1111);
    assert_eq!(bench.rc(0, IAR), 34);
    bench.c(0, IAR, 0);
}

fn gicc_aiar() {
    let mut bench = Bench::running(1);
    bench.gic.pend(0, 33);
    assert_eq!(bench.rc(0, AIAR), SPURIOUS);
    bench.d(0, 0x284, 2);
    bench.group1(0, 34);
    bench.gic.pend(0, 34);
    assert_eq!(bench.rc(0, AIAR), 34);
    bench.c(0, AEOIR, 34);
    assert_eq!((bench.is_active(0, 34), bench.rc(0, RPR)), (false, 0xff));
}

fn gicc_eoir() {
    let mut bench = Bench::running(1);
    bench.gic.pend(0, 33);
    bench.rc(0, IAR);
    for wrong in [32, 34, 35, 90, SPURIOUS, OTHER] {
        bench.c(0, EOIR, wrong);
        assert!(bench.is_active(0, 33));
        assert_eq!(bench.rc(0, RPR), 0x80);
    }
    bench.c(0, AEOIR, 33);
    assert!(bench.is_active(0, 33), "it is in Group 0");
    bench.c(0, EOIR, 33);
    assert_eq!((bench.is_active(0, 33), bench.rc(0, RPR)), (false, 0xff));
    assert_eq!(bench.told.released, [(0, 33)]);
    assert_eq!(bench.rc(0, EOIR), 0);
}

fn gicc_rpr() {
    let mut bench = Bench::running(1);
    assert_eq!(bench.rc(0, RPR), 0xff);
    for (intid, priority) in [(32, 0x80), (33, 0x40), (34, 0)] {
        bench.byte(0, 0x400 + intid, priority);
        bench.gic.pend(0, intid);
        assert_eq!((bench.rc(0, IAR), bench.rc(0, RPR)), (intid, priority));
    }
    for (intid, left) in [(34, 0x40), (33, 0x80), (32, 0xff)] {
        bench.c(0, EOIR, intid);
        bench.c(0, RPR, 0);
        assert_eq!(bench.rc(0, RPR), left);
    }
}

fn gicc_hppir() {
    let mut bench = Bench::running(1);
    assert_eq!(bench.rc(0, HPPIR), SPURIOUS);
    bench.c(0, PMR, 0);
    bench.gic.pend(0, 33);
    assert_eq!(bench.rc(0, HPPIR), 33, "masked, but pending");
    assert_eq!(
        (bench.rc(0, IAR), bench.rc(0, AHPPIR)),
        (SPURIOUS, SPURIOUS)
    );
    bench.group1(0, 33);
    assert_eq!((bench.rc(0, HPPIR), bench.rc(0, AHPPIR)), (OTHER, 33));
    bench.c(0, CTLR, 0b1111);
    assert_eq!(bench.rc(0, HPPIR), 33);
    assert!(!bench.is_active(0, 33));
}

fn gicc_apr() {
    let mut bench = Bench::running(1);
    for (register, other) in [(APR0, NSAPR0), (NSAPR0, APR0)] {
        bench.c(0, register, 1 << 31 | 1 << 4);
        assert_eq!(
            (bench.rc(0, register), bench.rc(0, other)),
            (1 << 31 | 1 << 4, 0)
        );
        assert_eq!(bench.rc(0, RPR), 0x20);
        bench.c(0, register, 0);
        assert_eq!(bench.rc(0, RPR), 0xff);
    }
    bench.gic.pend(0, 33);
    bench.rc(0, IAR);
    assert_eq!((bench.rc(0, APR0), bench.rc(0, NSAPR0)), (1 << 16, 0));
}

fn gicc_iidr() {
    ignores(Frame::CpuInterface, 0xfc, 2 << 16);
}

fn gicc_dir() {
    let mut bench = Bench::running(1);
    bench.gic.pend(0, 33);
    bench.rc(0, IAR);
    bench.c(0, DIR, 33);
    assert!(bench.is_active(0, 33), "GICC_EOIR does that here");
    bench.c(0, CTLR, 1 << 9 | 0b1011);
    bench.c(0, EOIR, 33);
    assert_eq!((bench.is_active(0, 33), bench.rc(0, RPR)), (true, 0xff));
    assert!(bench.told.released.is_empty());
    bench.c(0, DIR, 34);
    bench.c(0, DIR, 33);
    assert!(!bench.is_active(0, 33));
    assert_eq!(bench.told.released, [(0, 33)]);
    assert_eq!(bench.rc(0, DIR), 0);
}

/// The test of each register, by the name of its row.
const TESTS: [(&str, fn()); 39] = [
    ("GICD_CTLR", gicd_ctlr),
    ("GICD_TYPER", gicd_typer),
    ("GICD_IIDR", gicd_iidr),
    ("GICD_IGROUPRn", gicd_igroupr),
    ("GICD_ISENABLERn", gicd_enabler),
    ("GICD_ICENABLERn", gicd_enabler),
    ("GICD_ISPENDRn", gicd_pendr),
    ("GICD_ICPENDRn", gicd_pendr),
    ("GICD_ISACTIVERn", gicd_activer),
    ("GICD_ICACTIVERn", gicd_activer),
    ("GICD_IPRIORITYRn", gicd_ipriorityr),
    ("GICD_ITARGETSRn", gicd_itargetsr),
    ("GICD_ICFGRn", gicd_icfgr),
    ("GICD_PPISR, GICD_SPISRn", zero),
    ("GICD_NSACRn", zero),
    ("GICD_SGIR", gicd_sgir),
    ("GICD_CPENDSGIRn", gicd_pendsgir),
    ("GICD_SPENDSGIRn", gicd_pendsgir),
    ("GICD_PIDR4 to 7, 0, 1", zero),
    ("GICD_PIDR2", gicd_pidr2),
    ("GICD_PIDR3, GICD_CIDRn", zero),
    ("GICC_CTLR", gicc_ctlr),
    ("GICC_PMR", gicc_pmr),
    ("GICC_BPR", gicc_bpr),
    ("GICC_IAR", gicc_iar),
    ("GICC_EOIR", gicc_eoir),
    ("GICC_RPR", gicc_rpr),
    ("GICC_HPPIR", gicc_hppir),
    ("GICC_ABPR", gicc_bpr),
    ("GICC_AIAR", gicc_aiar),
    ("GICC_AEOIR", gicc_aiar),
    ("GICC_AHPPIR", gicc_hppir),
    ("implementation defined", zero),
    ("GICC_APR0", gicc_apr),
    ("GICC_APR1 to 3", zero),
    ("GICC_NSAPR0", gicc_apr),
    ("GICC_NSAPR1 to 3", zero),
    ("GICC_IIDR", gicc_iidr),
    ("GICC_DIR", gicc_dir),
];

#[test]
fn c18_each_register_reads_and_writes_as_the_architecture_has_it() {
    for register in &REGISTERS {
        let found = TESTS.iter().find(|(name, _)| *name == register.name);
        let (name, test) = found.unwrap_or_else(|| panic!("{} has no test", register.name));
        println!("{name}");
        test();
    }
    assert_eq!(TESTS.len(), REGISTERS.len());
}

#[test]
fn c18_other_sizes_places_and_vcpus_are_refused() {
    let mut bench = Bench::new(2);
    for frame in [Frame::Distributor, Frame::CpuInterface] {
        for offset in 0..0x3000 {
            let row = REGISTERS.iter().find(|row| {
                row.frame == frame && (row.offset..row.offset + 4 * row.count).contains(&offset)
            });
            for size in [Size::Byte, Size::Half, Size::Word, Size::Double] {
                let allowed = row.is_some_and(|row| match size {
                    Size::Word => offset % 4 == 0,
                    Size::Byte => row.width == Width::Bytes,
                    _ => false,
                });
                let gic = &mut bench.gic;
                for vcpu in [0, 1, 2, 8, usize::MAX] {
                    let (read, written) = match frame {
                        Frame::Distributor => (
                            gic.read_distributor(vcpu, offset, size),
                            gic.write_distributor(vcpu, offset, size, 0, &mut ()),
                        ),
                        Frame::CpuInterface => (
                            gic.read_cpu_interface(vcpu, offset, size),
                            gic.write_cpu_interface(vcpu, offset, size, 0, &mut ()),
                        ),
                    };
                    let expected = allowed && vcpu < 2;
                    assert_eq!(
                        read.is_some(),
                        expected,
                        "{frame:?} {offset:#x} {size:?} {vcpu}"
                    );
                    assert_eq!(written.is_some(), expected);
                }
            }
        }
    }
}

#[test]
fn c18_a_group_is_signalled_where_distributor_and_interface_have_it_on() {
    for (group, bit) in [(0, 1), (1, 2)] {
        for distributor in 0..4 {
            for interface in 0..4 {
                for fiq in [0, 8] {
                    let mut bench = Bench::running(1);
                    bench.d(0, 0, distributor);
                    bench.c(0, CTLR, interface | fiq | 4);
                    if group == 1 {
                        bench.group1(0, 33);
                    }
                    bench.gic.pend(0, 33);
                    let on = distributor & interface & bit != 0;
                    let expected = match (on, group == 0 && fiq != 0) {
                        (false, _) => NONE,
                        (true, true) => FIQ,
                        (true, false) => IRQ,
                    };
                    assert_eq!(
                        bench.signals(0),
                        expected,
                        "{group} {distributor} {interface} {fiq}"
                    );
                    let found = bench.rc(0, IAR);
                    assert_eq!(found, if on { 33 } else { SPURIOUS });
                }
            }
        }
    }
}

#[test]
fn c18_an_interrupt_of_a_group_that_is_off_hides_none_of_the_other() {
    let mut bench = Bench::running(1);
    bench.byte(0, 0x400 + 33, 0);
    bench.gic.pend(0, 33);
    bench.group1(0, 34);
    bench.gic.pend(0, 34);
    bench.c(0, CTLR, 0b1110);
    assert_eq!((bench.signals(0), bench.rc(0, IAR)), (IRQ, 34));
}

#[test]
fn c18_the_priority_mask_lets_only_higher_priorities_through() {
    for mask in (0..=0xf8).step_by(8) {
        for priority in (0..=0xf8).step_by(8) {
            let mut bench = Bench::running(1);
            bench.c(0, PMR, mask);
            bench.byte(0, 0x400 + 33, priority);
            bench.gic.pend(0, 33);
            let expected = if priority < mask { FIQ } else { NONE };
            assert_eq!(bench.signals(0), expected, "{mask:#x} {priority:#x}");
        }
    }
}

/// For each binary point of both groups, and of one for both: the group priority decides.
#[test]
fn c18_group_priorities_preempt() {
    for (group, common) in [(0, false), (1, false), (1, true)] {
        for point in 0..8_u32 {
            // GICC_BPR of N leaves bits 7:N+1, GICC_ABPR bits 7:N.
            let shift = match (group, common) {
                (0, _) | (1, true) => point.max(2) + 1,
                _ => point.max(3),
            };
            let mask = (0xff_u32 << shift) & 0xff;
            for running in (0..=0xf8).step_by(8) {
                for pending in (0..=0xf8).step_by(24) {
                    let mut bench = Bench::running(1);
                    let common_bit = if common { 1 << 4 } else { 0 };
                    bench.c(0, CTLR, 0b1111 | common_bit);
                    bench.c(0, if group == 0 || common { BPR } else { ABPR }, point);
                    for intid in [33, 34] {
                        if group == 1 {
                            bench.group1(0, intid);
                        }
                    }
                    bench.byte(0, 0x400 + 33, running);
                    bench.byte(0, 0x400 + 34, pending);
                    bench.gic.pend(0, 33);
                    let first = bench.rc(0, IAR);
                    if running == 0xf8 {
                        // As low as the mask.
                        assert_eq!(first, SPURIOUS);
                        continue;
                    }
                    assert_eq!(first, 33);
                    assert_eq!(bench.rc(0, RPR), running & mask);
                    bench.gic.pend(0, 34);
                    let preempts = pending & mask < running & mask && pending < 0xf8;
                    assert_eq!(
                        bench.signals(0) != NONE,
                        preempts,
                        "{group} {common} {point} {running:#x} {pending:#x}"
                    );
                }
            }
        }
    }
}

#[test]
fn c18_sgis_come_from_each_source_once_and_in_order() {
    let mut bench = Bench::running(4);
    for from in [3, 1, 2, 1] {
        bench.d(from, 0xf00, 0x0001_0007);
    }
    for from in [1, 2, 3] {
        assert_eq!(bench.signals(0), FIQ);
        let found = bench.rc(0, IAR);
        assert_eq!(found, 7 | from << 10);
        assert!(bench.is_active(0, 7));
        assert_eq!(bench.signals(0), NONE, "it is active");
        bench.c(0, EOIR, found);
    }
    assert_eq!((bench.signals(0), bench.rc(0, IAR)), (NONE, SPURIOUS));
    assert!([1, 2, 3].iter().all(|vcpu| bench.signals(*vcpu) == NONE));
}

#[test]
fn c18_one_of_the_targets_takes_an_spi() {
    let mut bench = Bench::running(4);
    bench.byte(0, 0x800 + 33, 0b1010);
    assert!(bench.gic.changed() != 0);
    bench.gic.pend(0, 33);
    assert_eq!(bench.gic.changed(), 0b1111);
    assert_eq!(
        [0, 1, 2, 3].map(|vcpu| bench.signals(vcpu)),
        [NONE, FIQ, NONE, FIQ]
    );
    assert_eq!(
        [0, 3, 1].map(|vcpu| bench.rc(vcpu, IAR)),
        [SPURIOUS, 33, SPURIOUS]
    );
    assert_eq!([0, 1, 2, 3].map(|vcpu| bench.signals(vcpu)), [NONE; 4]);
    bench.c(3, EOIR, 33);
    assert_eq!(bench.told.released, [(3, 33)]);
}

/// Line, latch, and what is active, in every combination.
#[test]
fn c18_level_and_edge_make_pending_and_active_what_they_should() {
    for edge in [false, true] {
        for latched in [false, true] {
            for line in [false, true] {
                for active in [false, true] {
                    let mut bench = Bench::running(1);
                    bench.d(0, 0xc08, if edge { 8 } else { 0 });
                    if line {
                        bench.gic.set_line(0, 33, true);
                    }
                    if latched {
                        bench.gic.pend(0, 33);
                    }
                    bench.d(0, if active { 0x304 } else { 0x384 }, 2);
                    let pending = latched || line;
                    assert_eq!(bench.rd(0, 0x204) & 2 != 0, pending);
                    let expected = if pending && !active { FIQ } else { NONE };
                    assert_eq!(bench.signals(0), expected);
                    if expected == NONE {
                        continue;
                    }
                    assert_eq!(bench.rc(0, IAR), 33);
                    // A level that is still there is pending again; an edge is taken.
                    assert_eq!(bench.rd(0, 0x204) & 2 != 0, line && !edge);
                    bench.c(0, EOIR, 33);
                    let again = line && !edge;
                    assert_eq!(bench.signals(0), if again { FIQ } else { NONE });
                    bench.gic.set_line(0, 33, false);
                    assert_eq!(bench.signals(0), NONE);
                    bench.gic.set_line(0, 33, true);
                    assert_eq!(bench.signals(0), FIQ);
                }
            }
        }
    }
}

#[test]
fn f12_what_stands_for_a_physical_interrupt_is_released_once() {
    let mut bench = Bench::running(1);
    assert!(bench.gic.pend(0, 33));
    assert!(!bench.gic.pend(0, 33), "it is pending");
    assert_eq!(bench.rc(0, IAR), 33);
    assert!(bench.told.released.is_empty());
    bench.c(0, EOIR, 33);
    assert_eq!(bench.told.released, [(0, 33)]);
    bench.c(0, EOIR, 33);
    assert_eq!(bench.told.released.len(), 1);
    assert!(bench.gic.pend(0, 33));
    assert!(bench.gic.withdraw(0, 33) && !bench.gic.withdraw(0, 33));
    assert_eq!(bench.told.released.len(), 1);
    for nobody in [35, 17, 63, 96, 1019, 1020, 1023, 5000, u32::MAX] {
        assert!(!bench.gic.pend(0, nobody), "{nobody}");
    }
}

#[test]
fn c18_as_firmware_leaves_it_what_is_enabled_is_signalled_as_fiq() {
    let mut bench = Bench::starting(2, Start::Firmware { foreign: 1 << 27 });
    for round in 0..3 {
        assert_eq!(bench.rd(0, 0), 3, "GICD_CTLR");
        for vcpu in 0..2 {
            assert_eq!((bench.rc(vcpu, CTLR), bench.rc(vcpu, PMR)), (0b1011, 0xf8));
            let groups = (bench.rd(vcpu, 0x80), bench.rd(0, 0x84), bench.rd(0, 0x88));
            assert_eq!(groups, (PPIS | 0xff, FIRST, SECOND));
            let enabled = (bench.rd(vcpu, 0x100), bench.signals(vcpu));
            assert_eq!(enabled, (1 << 27 | 0xff00, NONE));
            assert_eq!(
                (bench.rd(vcpu, 0x400), bench.rd(vcpu, 0x408)),
                (0x8080_8080, 0)
            );
        }
        bench.gic.pend(1, 27);
        assert_eq!(bench.signals(1), IRQ);
        bench.gic.pend(1, 30);
        bench.d(1, 0x100, 1 << 30);
        bench.d(1, 0x80, PPIS & !(1 << 30));
        // What is secure is more urgent once it has a priority of its own.
        bench.byte(1, 0x41e, 0x08);
        assert!(bench.signals(1).fiq);
        assert_eq!(bench.rc(1, IAR), 30);
        // An SGI to all others.
        bench.d(1, 0xf00, 1 << 24 | 15);
        assert_eq!(bench.signals(0), FIQ);
        assert_eq!(bench.rc(0, IAR), 1 << 10 | 15);
        bench.gic.reset_vcpu(0, &mut ());
        bench.d(0, 0, round);
        bench.gic.reset_vcpu(1, &mut ());
        bench.gic.reset_shared(&mut ());
    }
}

#[test]
fn c18_a_reset_vcpu_has_nothing_left_and_its_lines() {
    let mut bench = Bench::running(2);
    bench.gic.set_line(1, 30, true);
    bench.gic.pend(1, 27);
    bench.gic.pend(0, 33);
    bench.told = Told::default();
    bench.gic.reset_vcpu(1, &mut bench.told);
    assert_eq!(bench.told.released, [(1, 27)]);
    assert_eq!(bench.told.enabled.len(), PRIVATE.count_ones() as usize);
    assert!(
        bench
            .told
            .enabled
            .iter()
            .all(|(vcpu, _, enable)| *vcpu == 1 && !enable)
    );
    assert_eq!(
        (bench.rc(1, CTLR), bench.rc(1, PMR), bench.rd(1, 0x100)),
        (0, 0, 0)
    );
    assert_eq!(bench.rd(1, 0x200), 1 << 30, "its line is high");
    assert_eq!(bench.signals(0), FIQ);
    bench.gic.reset_shared(&mut bench.told);
    assert_eq!(bench.told.released, [(1, 27), (0, 33)]);
    assert_eq!(bench.signals(0), NONE);
}

proptest! {
    /// Whatever is written: no panic, no interrupt that is not there, nothing signalled that cannot be acknowledged.
    #[test]
    fn c18_garbage_does_no_harm(
        vcpus in 1..9_usize,
        operations in prop::collection::vec((0..9_usize, 0..0x2000_u32, 0..4_u8, any::<u32>(), 0..8_u8), 1..200),
    ) {
        let mut bench = Bench::running(vcpus);
        for (vcpu, offset, size, value, what) in operations {
            let size = [Size::Byte, Size::Half, Size::Word, Size::Double][usize::from(size)];
            let gic = &mut bench.gic;
            match what {
                0 => { gic.read_distributor(vcpu, offset, size); }
                1 => { gic.read_cpu_interface(vcpu, offset, size); }
                2 | 3 => { gic.write_distributor(vcpu, offset & !3, Size::Word, value, &mut bench.told); }
                4 => { gic.write_cpu_interface(vcpu, offset & 0x103c, Size::Word, value, &mut bench.told); }
                5 => { gic.pend(vcpu, value % 100); }
                6 => { gic.set_line(vcpu, value % 100, value & 128 != 0); }
                _ => { gic.withdraw(vcpu, value % 100); }
            }
        }
        for vcpu in 0..vcpus {
            let both = bench.rc(vcpu, CTLR) | 4;
            bench.c(vcpu, CTLR, both);
            for _ in 0..200 {
                let signalled = bench.signals(vcpu) != NONE;
                let found = bench.rc(vcpu, IAR);
                prop_assert_eq!(signalled, found & 0x3ff < 1020);
                if !signalled {
                    break;
                }
                let intid = found & 0x3ff;
                let there = [PRIVATE, FIRST, SECOND][(intid / 32) as usize];
                prop_assert!(there >> (intid % 32) & 1 != 0);
            }
            prop_assert_eq!(bench.signals(vcpu), NONE);
        }
    }
}
