// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls out of an input's bytes: ids, addresses and UUIDs that mean something more often than not.

use bulkhead_abi::function::TABLE;
use bulkhead_abi::paravirt::Paravirt;
use bulkhead_abi::{EndpointId, Function, Registers, Version, Width, psci};

use super::machine::{IMAGE, NORMAL_MEMORY};
use crate::input::Input;

/// The SPMC's id.
pub const SPMC: EndpointId = EndpointId(0x8000);

/// The ids of the partitions, in boot order.
pub const IDS: [EndpointId; 4] = [
    EndpointId(0x8001),
    EndpointId(0x8002),
    EndpointId(0x8003),
    EndpointId(0x8004),
];

/// The ids of VMs that have mailboxes now and then.
pub const VM_IDS: [u16; 4] = [1, 2, 3, 0x7fff];

/// The numbers of framework messages, those of VMs more often.
const FRAMEWORK_NUMBERS: [u8; 24] = [
    4, 6, 4, 6, 4, 6, 5, 7, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16,
];

/// The descriptor of a VM's buffers, right or nearly so.
pub fn vm_buffers(input: &mut Input<'_>) -> Vec<u8> {
    let composite = |input: &mut Input<'_>, first: u64| {
        let ranges = 1 + input.byte() % 8 / 6;
        let mut total = 0;
        let mut constituents = Vec::new();
        for _ in 0..ranges {
            let count = input.choose(&[1_u32, 1, 1, 1, 1, 1, 1, 1, 2, 5, 0, u32::MAX]);
            total += u64::from(count);
            let near = first + u64::from(input.byte() % 16) * 0x1000;
            let address = if input.byte() < 0xe0 {
                near
            } else {
                page(input, None)
            };
            constituents.extend(address.to_le_bytes());
            constituents.extend(count.to_le_bytes());
            constituents.extend([0; 4]);
        }
        let [a, b, c, d, ..] = total.to_le_bytes();
        let mut bytes = vec![a, b, c, d];
        bytes.extend(u32::from(ranges).to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(constituents);
        bytes
    };
    let rx = composite(input, NORMAL_MEMORY.0 + 0x1_0000);
    let tx = composite(input, NORMAL_MEMORY.0 + 0x2_0000);
    let rx_offset = 16_u32;
    let tx_offset = rx_offset + u32::try_from(rx.len()).expect("small");
    let mut bytes = input.choose(&VM_IDS).to_le_bytes().to_vec();
    bytes.extend([0; 2]);
    bytes.extend(rx_offset.to_le_bytes());
    bytes.extend(tx_offset.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(rx);
    bytes.extend(tx);
    if input.byte() & 7 == 7 {
        let at = usize::from(input.byte()) % bytes.len();
        bytes[at] = input.byte();
    }
    bytes
}

/// Registers that no other step has: `step` says where a value that turns up elsewhere came from.
pub fn noise(step: u64) -> Registers {
    let mut registers = Registers::ZERO;
    for (index, x) in (0u64..).zip(&mut registers.x) {
        *x = 0xcafe_0000_0000_0000 | (step << 16) | (index << 8) | 0x5a;
    }
    registers
}

/// An endpoint: a partition, the normal world, the SPMC, the SPMD, or anything.
pub fn endpoint(input: &mut Input<'_>) -> EndpointId {
    match input.byte() {
        byte @ 0..=0xbf => IDS[usize::from(byte % 4)],
        0xc0..=0xdf => EndpointId::NORMAL_WORLD,
        0xe0..=0xe7 => SPMC,
        0xe8..=0xef => EndpointId::SPMD,
        _ => EndpointId(input.half()),
    }
}

/// The UUID words of partition `index`: its id in each byte.
pub fn uuid(index: usize) -> [u8; 16] {
    [IDS[index].0.to_le_bytes()[0]; 16]
}

fn version(input: &mut Input<'_>) -> u64 {
    match input.byte() {
        byte @ 0..=0xbf => 0x1_0000 + u64::from(byte % 5),
        0xc0..=0xcf => 0x2_0000,
        0xd0..=0xdf => 0x8001_0001,
        _ => u64::from(input.word()),
    }
}

/// A page of the caller, or anything.
fn page(input: &mut Input<'_>, caller: Option<usize>) -> u64 {
    let (base, length) = caller.map_or(NORMAL_MEMORY, |index| IMAGE[index]);
    match input.byte() {
        byte @ 0..=0xdf => base + u64::from(byte % 40) * 0x1000 % (length + 0x2000),
        _ => input.number(),
    }
}

/// A call of partition `caller`, or of the normal world. `origin` awaits the caller's response.
pub fn call(
    input: &mut Input<'_>,
    step: u64,
    caller: Option<usize>,
    origin: EndpointId,
) -> Registers {
    let mut registers = noise(step);
    let own = caller.map_or(EndpointId::NORMAL_WORLD, |index| IDS[index]);
    let function = match input.byte() {
        byte @ 0..=0xdf => TABLE[usize::from(byte) % TABLE.len()].function,
        0xe0..=0xef => {
            other(input, &mut registers);
            return registers;
        }
        _ => {
            for x in &mut registers.x[..18] {
                *x = input.long();
            }
            return registers;
        }
    };
    let shape = input.byte();
    let width = match shape & 1 {
        0 => Width::W32,
        _ => Width::W64,
    };
    let row = function.row();
    let width = if row.has(width) || shape & 0xc0 == 0xc0 {
        width
    } else if row.w32 {
        Width::W32
    } else {
        Width::W64
    };
    let mut x = [0; 18];
    arguments(input, function, caller, own, origin, &mut x);
    // Now and then one argument is something else.
    if shape & 0x0e == 0x0e {
        x[usize::from(input.byte() % 18)] = input.number();
    }
    x[0] = function.id(width);
    // The upper halves of a 32-bit call are not arguments.
    let dirty = shape & 0x10 != 0 && width == Width::W32;
    let last = if dirty || width == Width::W32 { 8 } else { 18 };
    for (register, value) in registers.x[..last].iter_mut().zip(x) {
        *register = if dirty {
            value & 0xffff_ffff | 0xdead_beef_0000_0000
        } else {
            value
        };
    }
    registers
}

/// FFA_RXTX_MAP of one page each, which is right unless they are taken.
pub fn map_buffers(input: &mut Input<'_>, step: u64, caller: Option<usize>) -> Registers {
    let (base, _) = caller.map_or(NORMAL_MEMORY, |index| IMAGE[index]);
    let mut call = noise(step);
    call.x[..8].fill(0);
    call.x[0] = Function::RxtxMap.id(Width::W64);
    call.x[1] = base + u64::from(input.byte() % 8) * 0x1000;
    call.x[2] = base + 0x8000 + u64::from(input.byte() % 8) * 0x1000;
    call.x[3] = 1;
    call
}

/// What x1 to x17 of a call are.
fn arguments(
    input: &mut Input<'_>,
    function: Function,
    caller: Option<usize>,
    own: EndpointId,
    origin: EndpointId,
    x: &mut [u64; 18],
) {
    match function {
        Function::Version => x[1] = version(input),
        Function::Features => {
            x[1] = match input.byte() {
                byte @ 0..=0xbf => TABLE[usize::from(byte) % TABLE.len()]
                    .function
                    .id(Width::W32),
                byte @ 0xc0..=0xdf => u64::from(byte % 6),
                _ => input.number(),
            };
            x[2] = u64::from(input.byte() == 0xff);
        }
        Function::RxtxMap => {
            x[1] = page(input, caller);
            x[2] = page(input, caller);
            x[3] = input.choose(&[1, 1, 1, 2, 16, 17, 0, 0x40, 0x1_0001]);
            if caller.is_none() && input.byte() & 1 == 0 {
                // The buffers of a VM, which a descriptor in TX names.
                x[1..4].fill(0);
            }
        }
        Function::RxAcquire => x[1] = u64::from(input.choose(&VM_IDS)),
        Function::RxtxUnmap | Function::RxRelease => {
            let vm = u64::from(input.choose(&VM_IDS));
            let own = u64::from(own.0);
            x[1] = input.choose(&[0, 0, own << 16, own, vm, vm << 16, 0x8001_0000]);
        }
        Function::PartitionInfoGetRegs => {
            let choice = usize::from(input.byte() % 8);
            if choice < 4 {
                x[1..3].fill(u64::from_le_bytes([uuid(choice)[0]; 8]));
            }
            x[3] = u64::from(input.byte() % 9) | u64::from(input.byte() % 3) << 16;
        }
        Function::PartitionInfoGet => {
            let choice = usize::from(input.byte() % 8);
            if choice < 4 {
                let word = u64::from(u32::from_le_bytes([uuid(choice)[0]; 4]));
                x[1..5].fill(word);
            } else if choice == 7 {
                x[1] = input.number();
            }
            x[5] = input.choose(&[0, 0, 0, 1, 2, 3]);
        }
        Function::MsgSendDirectReq | Function::MsgSendDirectReq2 => {
            let sender = if input.byte() < 0xe0 {
                own
            } else {
                endpoint(input)
            };
            x[1] = EndpointId::pair(sender, endpoint(input));
            payload(input, function == Function::MsgSendDirectReq2, x);
        }
        Function::MsgSendDirectResp | Function::MsgSendDirectResp2 => {
            let receiver = if input.byte() < 0xe0 {
                origin
            } else {
                endpoint(input)
            };
            x[1] = EndpointId::pair(own, receiver);
            payload(input, function == Function::MsgSendDirectResp2, x);
            if input.byte() < 0xe0 {
                x[2] = 0;
                if function == Function::MsgSendDirectResp2 {
                    x[3] = 0;
                }
            }
        }
        Function::Run => {
            x[1] = EndpointId::pair(endpoint(input), EndpointId(u16::from(input.byte() % 3)))
        }
        Function::MsgWait => x[2] = input.choose(&[0, 0, 0, 1, 2]),
        Function::Yield => {
            x[1] = input.choose(&[0, 0, 0, EndpointId::pair(own, EndpointId(0)), 1]);
            x[2] = input.number();
            x[3] = input.choose(&[0, 0, 1, 0xffff_ffff]);
        }
        Function::Error => x[2] = input.choose(&[0xffff_fffe, 0, 1, 0x8000_0000]),
        Function::SecondaryEpRegister => x[1] = page(input, caller),
        Function::ConsoleLog => {
            x[1] = u64::from(input.byte() % 140);
            for x in &mut x[2..] {
                *x = input.long();
            }
        }
        Function::NsResInfoGet => {
            x[1] = u64::from(endpoint(input).0);
            x[2] = input.choose(&[0, 0x10, 0x10, 1, 0x11, 4, 8]);
        }
        Function::NotificationBind2
        | Function::NotificationUnbind2
        | Function::NotificationSet2
        | Function::NotificationGet2 => {
            x[1] = EndpointId::pair(endpoint(input), endpoint(input));
            x[2] = input.choose(&[0, 0, 0, 1, 2, 3, 0xf, 0x1_0001]);
            // A bit each of two registers; now and then of one that is not implemented.
            for _ in 0..2 {
                let register = 3 + usize::from(input.byte() % 16 % 14);
                x[register] = 1 << (input.byte() % 64);
            }
        }
        _ => {
            for x in &mut x[1..8] {
                *x = input.number();
            }
        }
    }
}

fn payload(input: &mut Input<'_>, second: bool, x: &mut [u64; 18]) {
    let choice = input.byte();
    if second {
        if choice < 0x60 {
            let bytes = uuid(usize::from(choice % 4));
            // Now and then the second service.
            let byte = bytes[0] | (choice & 0x10);
            x[2] = u64::from_le_bytes([byte; 8]);
            x[3] = x[2];
        } else if choice > 0xf0 {
            x[2] = input.number();
        }
    } else {
        x[2] = match choice {
            0..=0xdf => 0,
            0xe0..=0xef => 0x8000_0000 | u64::from(input.choose(&FRAMEWORK_NUMBERS)),
            _ => input.number(),
        };
    }
    let salt = input.long();
    for (index, x) in (0u64..).zip(&mut x[if second { 4 } else { 3 }..]) {
        *x = salt.wrapping_mul(2 * index + 1);
    }
    if !second && x[2] & 0x8000_0000 != 0 {
        x[5] = u64::from(input.choose(&VM_IDS));
    }
}

/// A call that is not FF-A.
fn other(input: &mut Input<'_>, registers: &mut Registers) {
    registers.x[0] = match input.byte() {
        0..=0x3f => {
            let psci = input.choose(psci::Psci::ALL);
            u64::from(psci.id(Width::W64))
        }
        0x40..=0x9f => {
            let id = Paravirt::ALL[usize::from(input.byte()) % Paravirt::ALL.len()].id();
            registers.x[1] = input.choose(&[3, 4, 8, 9, 56, 57, 0xffff]);
            registers.x[2] = input.number();
            id
        }
        0xa0..=0xbf => 0x8400_00f0 | input.long() & 0xffff_ffff_0000_000f,
        _ => input.long(),
    };
}

/// The version that a partition's manifest says.
pub fn manifest_version(choice: u8) -> Version {
    let minor = u16::from(choice % 4);
    Version { major: 1, minor }
}
