// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random edits against a flat model: a map from each page to what it is mapped to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{Fixture, GIB, KIB_4, MIB_2, Stages, el0, stage1, stage2_of};
use crate::MapError;
use crate::attrs::{
    BranchTargets, MemoryType, Permissions, Space, Stage1Attributes, Stage2Attributes,
};
use crate::stage1::UPPER_HALF;
use crate::stage2::Stage2Layout;
use crate::tree::Mapping;

/// An edit, in units of the test.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Map {
        start: u64,
        output: u64,
        units: u64,
        attributes: usize,
    },
    Unmap {
        start: u64,
        units: u64,
    },
    Change {
        start: u64,
        units: u64,
        attributes: usize,
    },
    /// Part of a mapped range, the one numbered `pick` modulo their number, in 64ths of it.
    Within {
        pick: usize,
        from: u64,
        to: u64,
        /// What it gets, if it is not unmapped.
        attributes: Option<usize>,
    },
}

/// Edits of a window of `window` units. Output addresses often have the alignment of a block.
fn edits(window: u64) -> impl Strategy<Value = Vec<Edit>> {
    let range = (0..window, prop_oneof![1..8_u64, 1..window])
        .prop_map(move |(start, units)| (start, units.min(window - start)));
    let map = (range.clone(), prop_oneof![Just(0), 0..window], 0..3_usize).prop_map(
        |((start, units), shift, attributes)| Edit::Map {
            start,
            output: start + shift,
            units,
            attributes,
        },
    );
    let change =
        (range.clone(), 0..3_usize).prop_map(|((start, units), attributes)| Edit::Change {
            start,
            units,
            attributes,
        });
    let unmap = range.prop_map(|(start, units)| Edit::Unmap { start, units });
    let within = (
        0..8_usize,
        prop_oneof![Just(0), 0..64_u64],
        prop_oneof![Just(64), 1..=64_u64],
        proptest::option::of(0..3_usize),
    )
        .prop_map(|(pick, from, to, attributes)| Edit::Within {
            pick,
            from,
            to,
            attributes,
        });
    proptest::collection::vec(
        prop_oneof![4 => map, 1 => change, 2 => unmap, 6 => within],
        1..24,
    )
}

/// What a model says of a unit: its output address and its attributes.
type Flat<A> = BTreeMap<u64, (u64, A)>;

/// The world of a test: a unit's size, where the window starts, and to what it is mapped.
struct World {
    unit: u64,
    input: u64,
    output: u64,
    window: u64,
}

/// Applies `edits` to the tree and to a flat model, and compares them after each.
fn compare<T: Stages>(
    f: &mut Fixture<T>,
    world: &World,
    attributes: [T::Attributes; 3],
    edits: &[Edit],
    raw: impl Fn(T::Attributes) -> u64,
    walk: impl Fn(&mut Fixture<T>) -> Vec<Mapping<T::Attributes>>,
    reshapes: bool,
) {
    let World {
        unit,
        input,
        output,
        window,
    } = *world;
    let mut flat: Flat<T::Attributes> = BTreeMap::new();
    for (number, &edit) in (0..).zip(edits) {
        match chosen(edit, world, &walk(f)) {
            Edit::Map {
                start,
                output: to,
                units,
                attributes: which,
            } => {
                let pages = start..start + units;
                let free = pages.clone().all(|page| !flat.contains_key(&page));
                let a = attributes[which];
                let result = f.map(input + start * unit, output + to * unit, units * unit, a);
                assert_eq!(result, if free { Ok(()) } else { Err(MapError::Overlap) });
                if free {
                    flat.extend(pages.map(|page| (page, (output + (page - start + to) * unit, a))));
                }
            }
            Edit::Unmap { start, units } => {
                let pages = start..start + units;
                let mapped = pages.clone().all(|page| flat.contains_key(&page));
                let result = f.unmap(input + start * unit, units * unit);
                if !reshapes && result == Err(MapError::Split) {
                    continue;
                }
                assert_eq!(
                    result,
                    if mapped {
                        Ok(())
                    } else {
                        Err(MapError::NotMapped)
                    }
                );
                if mapped {
                    flat.retain(|page, _| !pages.contains(page));
                }
            }
            Edit::Change { .. } if !reshapes => continue,
            Edit::Change {
                start,
                units,
                attributes: which,
            } => {
                let pages = start..start + units;
                let mapped = pages.clone().all(|page| flat.contains_key(&page));
                let result = f.change(input + start * unit, units * unit, attributes[which]);
                let expected = if mapped {
                    Ok(())
                } else {
                    Err(MapError::NotMapped)
                };
                assert_eq!(result, expected);
                if mapped {
                    flat.range_mut(pages)
                        .for_each(|(_, (_, a))| *a = attributes[which]);
                }
            }
            Edit::Within { .. } => continue,
        }
        agrees(f, world, &flat, &raw, number);
        ranges_agree(&walk(f), world, &flat);
    }
    // Blocks that may not be split are unmapped by the ranges that the walk finds.
    for mapping in walk(f) {
        f.unmap(mapping.start, mapping.bytes).unwrap();
    }
    assert_eq!(
        f.tables(),
        0,
        "window of {window} units: all tables are freed"
    );
}

/// An edit within a mapped range as one of units; other edits as they are.
fn chosen<A>(edit: Edit, world: &World, mapped: &[Mapping<A>]) -> Edit {
    let Edit::Within {
        pick,
        from,
        to,
        attributes,
    } = edit
    else {
        return edit;
    };
    let Some(range) = mapped.get(pick % mapped.len().max(1)) else {
        return edit;
    };
    let units = range.bytes / world.unit;
    let first = (units * from / 64).min(units - 1);
    let end = (units * to / 64).clamp(first + 1, units);
    let start = (range.start - world.input) / world.unit + first;
    let units = end - first;
    match attributes {
        None => Edit::Unmap { start, units },
        Some(attributes) => Edit::Change {
            start,
            units,
            attributes,
        },
    }
}

/// Checks each unit of the window and the one behind it: the first byte of every other unit, and the
/// last byte of those between, by `parity`.
fn agrees<T: Stages>(
    f: &Fixture<T>,
    world: &World,
    flat: &Flat<T::Attributes>,
    raw: &impl Fn(T::Attributes) -> u64,
    parity: u64,
) {
    for page in 0..world.window + 1 {
        let within = if (page + parity).is_multiple_of(2) {
            0
        } else {
            world.unit - 1
        };
        let address = world.input + page * world.unit + within;
        let walked = f.walker.translate(&f.mem, address).ok();
        // All but the address, bit 1, in which blocks and pages differ, and the contiguous bit. The
        // outputs are below 2^48.
        let walked = walked.map(|found| (found.pa, found.descriptor & !0x0010_ffff_ffff_f002));
        let expected = flat.get(&page).map(|&(pa, a)| (pa + within, raw(a) | 1));
        assert_eq!(walked, expected, "{address:#x}");
        let looked = T::lookup(f, address).map(|(pa, a)| (pa.0, a));
        assert_eq!(
            looked,
            flat.get(&page).map(|&(pa, a)| (pa + within, a)),
            "{address:#x}"
        );
    }
}

/// Checks that the ranges are those of the model, and that none could be longer.
fn ranges_agree<A: Copy + PartialEq + std::fmt::Debug>(
    found: &[Mapping<A>],
    world: &World,
    flat: &Flat<A>,
) {
    let mut expected: Vec<Mapping<A>> = Vec::new();
    for (&page, &(pa, attributes)) in flat {
        let start = world.input + page * world.unit;
        match expected.last_mut() {
            Some(last)
                if last.start + last.bytes == start
                    && last.pa.0 + last.bytes == pa
                    && last.attributes == attributes =>
            {
                last.bytes += world.unit;
            }
            _ => expected.push(Mapping {
                start,
                pa: crate::addr::Pa(pa),
                bytes: world.unit,
                attributes,
            }),
        }
    }
    assert_eq!(found, expected);
}

const STAGE2: [Stage2Attributes; 3] = [
    Stage2Attributes {
        memory: MemoryType::Normal,
        permissions: Permissions::READ_WRITE_EXECUTE,
    },
    Stage2Attributes {
        memory: MemoryType::Normal,
        permissions: Permissions::READ_ONLY,
    },
    Stage2Attributes {
        memory: MemoryType::Device,
        permissions: Permissions::READ_WRITE,
    },
];

const STAGE1: [Stage1Attributes; 3] = [
    Stage1Attributes {
        memory: MemoryType::Normal,
        permissions: Permissions::READ_WRITE,
        space: Space::NonSecure,
    },
    Stage1Attributes {
        memory: MemoryType::Normal,
        permissions: Permissions::READ_EXECUTE,
        space: Space::Secure,
    },
    Stage1Attributes {
        memory: MemoryType::Device,
        permissions: Permissions::READ_WRITE,
        space: Space::Secure,
    },
];

fn compare_stage2(layout: Stage2Layout, space: Space, world: &World, edits: &[Edit]) {
    // With DS = 1 descriptors have no shareability: bits [9:8] are an address's.
    let without = if layout.ds() == 1 { 0b11 << 8 } else { 0 };
    compare(
        &mut stage2_of(layout, space, 64),
        world,
        STAGE2,
        edits,
        |a| a.encode(true).unwrap() & !without,
        |f| {
            let mut found = Vec::new();
            f.tree.walk(&f.mem, |mapping| found.push(mapping));
            found
        },
        true,
    );
}

const EL0: [Stage1Attributes; 3] = [
    Stage1Attributes {
        memory: MemoryType::Normal,
        permissions: Permissions::NONE,
        space: Space::Secure,
    },
    STAGE1[0],
    STAGE1[1],
];

fn compare_el0(va_bits: u32, world: &World, edits: &[Edit]) {
    compare(
        &mut el0(va_bits, 64),
        world,
        EL0,
        edits,
        |a| a.encode_el0(BranchTargets::Unchecked).unwrap(),
        |f| {
            let mut found = Vec::new();
            for space in [Space::Secure, Space::NonSecure] {
                f.tree.of(space).walk(&f.mem, |mapping| {
                    found.push(Mapping {
                        start: mapping.start,
                        pa: mapping.pa,
                        bytes: mapping.bytes,
                        attributes: Stage1Attributes {
                            memory: mapping.attributes.memory,
                            permissions: mapping.attributes.permissions,
                            space,
                        },
                    });
                });
            }
            found.sort_by_key(|mapping| mapping.start);
            found
        },
        true,
    );
}

fn compare_stage1(world: &World, edits: &[Edit]) {
    compare(
        &mut stage1(64),
        world,
        STAGE1,
        edits,
        |a| a.encode(BranchTargets::Unchecked).unwrap(),
        |f| {
            let mut found = Vec::new();
            f.tree.walk(&f.mem, |mapping| found.push(mapping));
            found
        },
        false,
    );
}

/// The window of pages: three blocks of 2 MiB, the middle of which starts a GiB.
const PAGES: u64 = 3 * 512;
/// The window of 2 MiB units: two and a half GiB.
const BLOCKS: u64 = 2 * 512 + 256;

/// Layouts of at least `bits` bits, of both formats.
fn layouts(bits: u32) -> impl Strategy<Value = Stage2Layout> {
    prop_oneof![
        (bits..=48).prop_map(|bits| Stage2Layout::new(bits).unwrap()),
        (bits..=52).prop_map(|bits| Stage2Layout::lpa2(bits).unwrap()),
    ]
}

proptest! {
    // A quarter of what PROPTEST_CASES says: each case is many edits and walks.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn stage_2_in_pages_is_a_flat_map(
        layout in layouts(32), secure: bool, edits in edits(PAGES)
    ) {
        let space = if secure { Space::Secure } else { Space::NonSecure };
        let world =
            World { unit: KIB_4, input: 2 * GIB - MIB_2, output: 5 * GIB - MIB_2, window: PAGES };
        compare_stage2(layout, space, &world, &edits);
    }

    #[test]
    fn stage_2_in_blocks_is_a_flat_map(layout in layouts(40), edits in edits(BLOCKS)) {
        // Across the border of two concatenated tables, or of two level-0 entries.
        let world =
            World { unit: MIB_2, input: 511 * GIB, output: 3 * GIB, window: BLOCKS };
        compare_stage2(layout, Space::Secure, &world, &edits);
    }

    #[test]
    fn stage_1_in_pages_is_a_flat_map(edits in edits(PAGES)) {
        let input = UPPER_HALF.0 + 7 * GIB - MIB_2;
        let world = World { unit: KIB_4, input, output: 5 * GIB - MIB_2, window: PAGES };
        compare_stage1(&world, &edits);
    }

    #[test]
    fn stage_1_in_blocks_is_a_flat_map(edits in edits(BLOCKS)) {
        let world =
            World { unit: MIB_2, input: UPPER_HALF.0, output: 3 * GIB, window: BLOCKS };
        compare_stage1(&world, &edits);
    }

    #[test]
    fn el0_in_pages_is_a_flat_map(va_bits in 32..=48_u32, edits in edits(PAGES)) {
        let world =
            World { unit: KIB_4, input: 2 * GIB - MIB_2, output: 5 * GIB - MIB_2, window: PAGES };
        compare_el0(va_bits, &world, &edits);
    }
}
