// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition finds when it starts: B-53 and B-56 of the feature table.

use bulkhead_abi::Version;
use bulkhead_payload::boot_info::{DESCRIPTOR_SIZE, Descriptor, HEADER_SIZE, TYPE_FDT};
use bulkhead_payload::entry::image_start;
use bulkhead_payload::memory::load;

use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, equal};
use crate::partition_world::{Boot, PartitionWorld};
use crate::protocol::Caller;
use crate::{cases, ensure, fail};

cases! {
    b56_a_partition_starts_in_the_state_of_the_table: [b56_half];
    b53_boot_information_is_well_formed: [b53_header_half];
    b53_the_manifest_is_where_boot_information_says: [b53_manifest_half];
}

/// From the start of a package to its image (COMPATIBILITY, "SP package and boot").
const IMAGE_OFFSET: u64 = 0x4000;
const NO_RESULTS: [u64; 4] = [0; 4];

/// Runs the half in every tester: they differ in version and place.
fn in_every_tester(world: &mut NormalWorld) -> TestResult {
    for tester in world.testers() {
        world.invoke(tester.id, 0, [0; 3])?;
    }
    Ok(())
}

fn boot(world: &PartitionWorld) -> TestResult<&Boot> {
    match &world.boot {
        Some(boot) => Ok(boot),
        None => fail!("this context did not boot the partition"),
    }
}

fn package() -> u64 {
    image_start() as u64 - IMAGE_OFFSET
}

fn b56_a_partition_starts_in_the_state_of_the_table(world: &mut NormalWorld) -> TestResult {
    in_every_tester(world)
}

/// x0 leads to the boot information (gp-register-num 0), x4 is the core's index, the others are zero;
/// exceptions are masked and the MMU and caches are off.
fn b56_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let boot = boot(world)?;
    equal("x0", boot.entry.x[0], package())?;
    equal("x4, the index of the boot core", boot.entry.x[4], 0)?;
    for (index, &value) in boot.entry.x.iter().enumerate() {
        ensure!(
            index == 0 || index == 4 || value == 0,
            "x{index} is {value:#x}"
        );
    }
    equal("PSTATE.DAIF", boot.masks, 0x3c0)?;
    // M, C and I.
    equal(
        "SCTLR_EL1 in bits M, C and I",
        boot.sctlr & (1 | 1 << 2 | 1 << 12),
        0,
    )?;
    Ok(NO_RESULTS)
}

fn b53_boot_information_is_well_formed(world: &mut NormalWorld) -> TestResult {
    in_every_tester(world)
}

fn b53_header_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    let Some(info) = boot(world)?.info else {
        fail!("x0 did not lead to boot information");
    };
    let header = info.header();
    let version = Version::from_word(header.version);
    ensure!(
        version.is_some_and(|version| version.major == 1),
        "it is of FF-A version {:#x}",
        header.version
    );
    equal(
        "the size of a descriptor",
        u64::from(header.descriptor_size),
        DESCRIPTOR_SIZE as u64,
    )?;
    ensure!(header.descriptor_count >= 1, "it has no descriptor");
    let first = header.descriptor_offset as usize;
    ensure!(
        first >= HEADER_SIZE && first.is_multiple_of(8),
        "descriptors start at byte {first}"
    );
    let end = first + DESCRIPTOR_SIZE * header.descriptor_count as usize;
    ensure!(
        end <= header.size as usize,
        "descriptors end at byte {end} of {}",
        header.size
    );
    // Contents may follow the descriptors, up to the image.
    ensure!(
        u64::from(header.size) <= IMAGE_OFFSET,
        "it has {} bytes and reaches into the image",
        header.size
    );
    equal("the reserved word", header.reserved, 0)?;
    equal(
        "the number of descriptors read",
        info.descriptors().count() as u64,
        u64::from(header.descriptor_count),
    )?;
    for descriptor in info.descriptors() {
        equal(
            "a reserved byte of a descriptor",
            u64::from(descriptor.reserved),
            0,
        )?;
        ensure!(
            descriptor.flags >> 4 == 0,
            "reserved flags are set: {descriptor:?}"
        );
        let end = descriptor
            .name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(descriptor.name.len());
        ensure!(
            descriptor.name[end..].iter().all(|&byte| byte == 0),
            "the name goes on after NUL"
        );
    }
    Ok(NO_RESULTS)
}

fn b53_the_manifest_is_where_boot_information_says(world: &mut NormalWorld) -> TestResult {
    in_every_tester(world)
}

fn b53_manifest_half(world: &mut PartitionWorld, _: [u64; 3]) -> TestResult<[u64; 4]> {
    /// The first word of a flattened device tree, as a little-endian core reads it.
    const FDT_MAGIC: u64 = 0xedfe_0dd0;
    let Some(info) = boot(world)?.info else {
        fail!("x0 did not lead to boot information");
    };
    let Some(Descriptor { content, size, .. }) = info
        .descriptors()
        .find(|descriptor| descriptor.kind == TYPE_FDT)
    else {
        fail!("no descriptor is of the type for device trees");
    };
    ensure!(
        content >= package() && content < image_start() as u64,
        "the manifest at {content:#x} is outside of the package"
    );
    ensure!(
        content % 8 == 0,
        "the manifest at {content:#x} is not aligned"
    );
    let words = load(content as usize);
    equal("the magic", words & 0xffff_ffff, FDT_MAGIC)?;
    let total = ((words >> 32) as u32).swap_bytes();
    ensure!(
        total <= size,
        "the device tree has {total} bytes, the descriptor says {size}"
    );
    Ok(NO_RESULTS)
}
