// SPDX-License-Identifier: MIT OR Apache-2.0
//! All maximal at once (P21): many partitions with 32 services, many regions and interrupts each. Checking them
//! takes bounded time and little stack, whatever their number.

mod fixture;

use std::fmt::Write as _;
use std::time::Instant;

use bulkhead_manifest::dt::MAX_SIZE;
use bulkhead_manifest::{Accepted, Rule, SpManifest, SpmcManifest, check_partition};
use fixture::dtc;

const PARTITIONS: usize = 48;
const SERVICES: usize = 32;
const MEMORY_REGIONS: usize = 64;
const DEVICES: usize = 32;
/// The firmware's stack at S-EL2 has 16 KiB; a host's frames, unoptimised and below a thread's start, are larger.
const STACK: usize = 48 << 10;

fn spmc() -> Vec<u8> {
    let mut vms = String::new();
    for index in 0..PARTITIONS {
        write!(
            vms,
            "vm{} {{ is_ffa_partition; debug_name = \"p{index}\"; load_address = <{:#x}>; mem_size = <0x100000>; }};",
            index + 1,
            0x1000_0000 + (index << 20)
        )
        .unwrap();
    }
    dtc(&format!(
        "/dts-v1/; / {{ compatible = \"arm,ffa-core-manifest-1.0\"; #address-cells = <2>; #size-cells = <2>;
        attribute {{ spmc_id = <0x8000>; maj_ver = <1>; min_ver = <3>; }};
        hypervisor {{ compatible = \"hafnium,hafnium\"; {vms} }};
        cpus {{ #address-cells = <1>; #size-cells = <0>; cpu@0 {{ reg = <0>; }}; }};
        memory@10000000 {{ device_type = \"memory\"; reg = <0 0x10000000 0 0x70000000>; }};
        memory@80000000 {{ device_type = \"ns-memory\"; reg = <0 0x80000000 0 0x40000000>; }};
        memory@0 {{ device_type = \"device-memory\"; reg = <0 0 0 0x10000000>; }}; }};"
    ))
}

/// Partition `index`: nothing of it is another's.
fn partition(index: usize) -> Vec<u8> {
    let (mut services, mut memory, mut devices) = (String::new(), String::new(), String::new());
    for service in 0..SERVICES {
        write!(
            services,
            "s{service} {{ uuid = \"00000000-0000-4000-8000-{:012x}\"; messaging-method = <0x607>; }};",
            index * SERVICES + service + 1
        )
        .unwrap();
    }
    for region in 0..MEMORY_REGIONS {
        let base = 0x2000_0000 + ((index * MEMORY_REGIONS + region) << 13);
        write!(
            memory,
            "m{region} {{ base-address = <{base:#x}>; pages-count = <2>; attributes = <3>; }};"
        )
        .unwrap();
    }
    for device in 0..DEVICES {
        let number = index * DEVICES + device;
        // Each INTID once: one for each device, as far as there are any.
        let id = [32..1020, 1056..1120, 4096..5120]
            .into_iter()
            .flatten()
            .nth(number)
            .unwrap();
        write!(
            devices,
            "d{device} {{ base-address = <{:#x}>; pages-count = <1>; attributes = <3>; smmu-id = <{index}>;
             stream-ids = <{device} {}>; interrupts = <{id} 0x900>; }};",
            number << 12,
            device + 1000,
        )
        .unwrap();
    }
    dtc(&format!(
        "/dts-v1/; / {{ compatible = \"arm,ffa-manifest-1.1\"; ffa-version = <0x10003>; execution-ctx-count = <1>;
        exception-level = <2>; execution-state = <0>; boot-order = <{index}>;
        services {{ compatible = \"arm,ffa-manifest-services\"; {services} }};
        memory-regions {{ compatible = \"arm,ffa-manifest-memory-regions\"; {memory} }};
        device-regions {{ compatible = \"arm,ffa-manifest-device-regions\"; {devices} }}; }};"
    ))
}

/// Runs `work` on a stack that ends soon: an overflow ends the test program.
fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

#[test]
fn p21_many_partitions_with_everything_at_once() {
    let spmc_bytes = spmc();
    let mut trees: Vec<_> = (0..PARTITIONS).map(partition).collect();
    assert!(trees.iter().all(|tree| tree.len() < MAX_SIZE));
    // The last one has the first one's last interrupt, and nothing else of anybody's.
    let clash = trees.pop().unwrap();
    let fine = clash.clone();
    let id = (32 + (PARTITIONS - 1) * DEVICES) as u32;
    let id = if id < 1020 { id } else { id - 1020 + 1056 };
    let id = if id < 1120 { id } else { id - 1120 + 4096 };
    let mut clash = clash;
    let at = clash
        .windows(8)
        .position(|pair| pair == [id.to_be_bytes(), 0x900_u32.to_be_bytes()].concat())
        .unwrap();
    clash[at..at + 4].copy_from_slice(&(32 + DEVICES as u32 - 1).to_be_bytes());

    let start = Instant::now();
    let mut accepted: Vec<Accepted<'_>> = Vec::with_capacity(PARTITIONS);
    let spmc = SpmcManifest::parse(&spmc_bytes).unwrap();
    let mut slowest = std::time::Duration::ZERO;
    for (vm, tree) in spmc.partitions().zip(trees.iter().chain([&fine])) {
        let begin = Instant::now();
        let layout = on_a_small_stack(|| {
            let sp = SpManifest::parse(tree).unwrap();
            check_partition(&spmc, &vm, &sp, &[], accepted.iter().copied()).unwrap()
        });
        slowest = slowest.max(begin.elapsed());
        assert_eq!(layout.warnings.iter().count(), 0);
        accepted.push(Accepted {
            name: vm.debug_name,
            layout,
            manifest: SpManifest::parse(tree).unwrap(),
        });
    }
    println!(
        "{PARTITIONS} partitions in {:?}, the slowest in {slowest:?}",
        start.elapsed()
    );
    assert_eq!(accepted.len(), PARTITIONS);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());

    accepted.pop();
    let vm = spmc.partitions().last().unwrap();
    let sp = SpManifest::parse(&clash).unwrap();
    let error = check_partition(&spmc, &vm, &sp, &[], accepted.iter().copied()).unwrap_err();
    assert_eq!(
        (error.rule, error.other),
        (Rule::DuplicateInterrupt, Some("p0"))
    );
    assert_eq!(error.value, Some(u64::from(32 + DEVICES as u32 - 1)));
}
