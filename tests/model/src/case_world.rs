// SPDX-License-Identifier: MIT OR Apache-2.0
//! The world that the named cases start from: every kind of page once.
use crate::page::{Access, Domain, Id, Kind, Owner, Page, Space};
use crate::world::World;

/// Partitions.
pub const SP: [Id; 3] = [Id(0x8001), Id(0x8002), Id(0x8003)];
/// VMs.
pub const VM: [Id; 2] = [Id(1), Id(2)];
/// A read-only page of the first partition.
pub const READ_ONLY: u64 = 4;
/// An executable page of the first partition.
pub const CODE: u64 = 5;
/// A device of the first partition.
pub const DEVICE: u64 = 6;
/// A page of the SPMC.
pub const SPMC: u64 = 7;
/// A page of EL3.
pub const EL3: u64 = 8;
/// Three pages of the normal world.
pub const NORMAL_WORLD: [u64; 3] = [16, 17, 18];
/// RX buffers; TX follows.
pub const MAILBOXES: [u64; 4] = [32, 34, 36, 38];

/// The first partition has pages 0 to 3 and the special ones, the second 10 to 12. Handles for `slots` transactions,
/// `quota` for each sender, two constituents a response fragment, two cores.
pub fn case_world(slots: usize, quota: usize) -> World {
    let mut world = World::new(slots, 2, 2);
    let domains = [
        SP[0].domain(),
        SP[1].domain(),
        SP[2].domain(),
        Domain::NormalWorld,
    ];
    for (domain, rx) in domains.into_iter().zip(MAILBOXES) {
        let space = if domain == Domain::NormalWorld {
            Space::NonSecure
        } else {
            Space::Secure
        };
        world.add_party(domain, quota, Some(rx));
        for number in [rx, rx + 1] {
            world
                .pages
                .insert(number, Page::of(domain, space, Kind::Normal, Access::RW));
        }
    }
    let page = |id: Id, kind, access| Page::of(id.domain(), Space::Secure, kind, access);
    for number in 0..4 {
        world
            .pages
            .insert(number, page(SP[0], Kind::Normal, Access::RW));
    }
    world
        .pages
        .insert(READ_ONLY, page(SP[0], Kind::Normal, Access::RO));
    world
        .pages
        .insert(CODE, page(SP[0], Kind::Normal, Access::RX));
    world
        .pages
        .insert(DEVICE, page(SP[0], Kind::Device, Access::RW));
    for number in 10..13 {
        world
            .pages
            .insert(number, page(SP[1], Kind::Normal, Access::RW));
    }
    world
        .pages
        .insert(SPMC, Page::reserved(Owner::Spmc, Space::Secure));
    world
        .pages
        .insert(EL3, Page::reserved(Owner::Reserved, Space::Secure));
    for number in NORMAL_WORLD {
        world.pages.insert(
            number,
            Page::of(
                Domain::NormalWorld,
                Space::NonSecure,
                Kind::Normal,
                Access::RW,
            ),
        );
    }
    world.vms.extend(VM);
    world
}
