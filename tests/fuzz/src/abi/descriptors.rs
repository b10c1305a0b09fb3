// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition information and boot information.

use arm_ffa::UuidHelper;
use arm_ffa::boot_info::{
    BootInfo, BootInfoContents, BootInfoIterator, BootInfoName, BootInfoType,
};
use arm_ffa::interface_args::SuccessArgs;
use arm_ffa::partition_info::{
    PartitionIdType, PartitionInfoIterator, PartitionProperties, SuccessArgsPartitionInfoGetRegs,
};
use bulkhead_abi::boot_info::{self, Contents, Entry, Kind, Name};
use bulkhead_abi::partition_info::{self, PartitionInfo, Properties, RegsReply};
use bulkhead_abi::{EndpointId, Uuid, Version, World};

use crate::input::Input;

fn version(input: &mut Input<'_>) -> Version {
    input.choose(&[Version::V1_0, Version::V1_1, Version::V1_2, Version::V1_3])
}

fn their_version(version: Version) -> arm_ffa::Version {
    arm_ffa::Version(version.major, version.minor)
}

fn uuid(input: &mut Input<'_>) -> Uuid {
    Uuid::from_pair(input.long(), input.long())
}

fn info(input: &mut Input<'_>) -> PartitionInfo {
    PartitionInfo {
        id: EndpointId(input.half()),
        contexts: input.half(),
        properties: Properties(input.word()),
        uuid: uuid(input),
        image_uuid: uuid(input),
        version: version(input),
    }
}

/// A partition information descriptor that Bulkhead writes, read by arm-ffa, which has those of 1.1
/// and 1.2 only.
pub fn partition_info(input: &mut Input<'_>) {
    let caller = version(input);
    let world = input.choose(&[World::Normal, World::Secure]);
    let info = info(input);
    let length = usize::from(input.byte() % 64);
    let mut buffer = vec![0x5a; length];
    let size = partition_info::descriptor_size(caller);
    let Some(written) = partition_info::encode(caller, world, &info, &mut buffer) else {
        assert!(length < size, "it fits");
        assert!(buffer.iter().all(|byte| *byte == 0x5a));
        return;
    };
    assert_eq!(written, size);
    assert!(buffer[written..].iter().all(|byte| *byte == 0x5a));
    let shown = info.properties.shown(info.version, caller, world);
    assert_eq!(buffer[..2], info.id.0.to_le_bytes());
    assert_eq!(buffer[2..4], info.contexts.to_le_bytes());
    assert_eq!(buffer[4..8], shown.0.to_le_bytes());
    if !matches!(caller, Version::V1_1 | Version::V1_2) {
        return;
    }
    let mut theirs =
        PartitionInfoIterator::new(their_version(caller), &buffer, 1).expect("a descriptor");
    let theirs = theirs.next().expect("one").expect("it is well-formed");
    assert_eq!(theirs.partition_id, info.id.0);
    assert_eq!(UuidHelper::to_bytes(theirs.uuid), info.uuid.0);
    let has = |property| shown.contains(property);
    let id_type = match (shown.0 & Properties::ID_TYPE.0) >> 4 {
        0 => PartitionIdType::PeEndpoint {
            execution_ctx_count: info.contexts,
        },
        1 => PartitionIdType::SepidIndep,
        2 => PartitionIdType::SepidDep {
            proxy_endpoint_id: info.contexts,
        },
        _ => PartitionIdType::Aux,
    };
    assert_eq!(theirs.partition_id_type, id_type);
    let endpoint = shown.0 & Properties::ID_TYPE.0 == 0;
    let second = |property| (endpoint && caller >= Version::V1_2).then(|| has(property));
    let expected = PartitionProperties {
        support_direct_req_rec: has(Properties::DIRECT_REQ_RECEIVE),
        support_direct_req_send: has(Properties::DIRECT_REQ_SEND),
        support_direct_req2_rec: second(Properties::DIRECT_REQ2_RECEIVE),
        support_direct_req2_send: second(Properties::DIRECT_REQ2_SEND),
        support_indirect_msg: has(Properties::INDIRECT),
        support_notif_rec: has(Properties::NOTIFICATIONS),
        subscribe_vm_created: has(Properties::VM_CREATED),
        subscribe_vm_destroyed: has(Properties::VM_DESTROYED),
        is_aarch64: has(Properties::AARCH64),
    };
    assert_eq!(theirs.props, expected);
}

/// x2 of FFA_PARTITION_INFO_GET_REGS's reply, and the descriptors behind it.
pub fn registers_reply(input: &mut Input<'_>) {
    let x2 = input.long();
    let ours = RegsReply::decode(x2);
    assert_eq!(ours.encode(), x2);
    let bytes = input.take(130);
    let mut registers = bulkhead_abi::Registers::ZERO;
    registers.x[2] = x2;
    partition_info::write_registers(&mut registers, bytes);
    let args = SuccessArgs::Args64(registers.x[2..18].try_into().expect("16 registers"));
    // arm-ffa takes descriptors of 24 bytes only, and checks the indices.
    match SuccessArgsPartitionInfoGetRegs::try_from(args) {
        Ok(theirs) => {
            assert_eq!(
                (theirs.last_index, theirs.current_index, theirs.info_tag),
                (ours.last, ours.current, ours.tag)
            );
            let (written, rest) = theirs.descriptor_data.split_at(bytes.len().min(120));
            assert_eq!(written, &bytes[..written.len()]);
            assert!(rest.iter().all(|byte| *byte == 0));
        }
        Err(_) => assert!(ours.size != 24 || ours.last < ours.current),
    }
}

/// A blob of boot information that may be anything.
pub fn boot_info_read(input: &mut Input<'_>) {
    let mut blob = Vec::new();
    let fixed = input.byte() & 1 == 0;
    if fixed {
        let count = u32::from(input.byte() % 5);
        let offset = input.choose(&[32_u32, 32, 40, 33, 31]);
        let header = [0xffa, 0x1_0001, 32 + count * 32, 32, count, offset, 0, 0];
        blob.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    }
    blob.extend(input.take(512));
    let ours = boot_info::read(&blob);
    let theirs = BootInfoIterator::new(arm_ffa::Version(1, 1), &blob);
    let (header, descriptors) = match (ours, theirs.is_ok()) {
        (Some(ours), true) => ours,
        (None, true) => panic!("arm-ffa reads it"),
        // Bulkhead leaves the version and the blob's size to the reader.
        (Some((header, _)), false) => {
            let size = usize::try_from(header.blob_size.get()).expect("32 bits");
            let offset = usize::try_from(header.descriptor_offset.get()).expect("32 bits");
            assert!(header.version.get() != 0x1_0001 || size > blob.len() || offset > blob.len());
            return;
        }
        (None, false) => return,
    };
    assert_eq!(
        descriptors.len(),
        usize::try_from(header.descriptor_count.get()).expect("32 bits")
    );
    for (ours, theirs) in descriptors.iter().zip(theirs.expect("it is well-formed")) {
        match (ours.entry(), theirs) {
            (Some(ours), Ok(theirs)) => same_entry(&ours, &theirs),
            // arm-ffa follows addresses into its own blob, and knows two standard kinds.
            (Some(ours), Err(_)) => {
                let reserved =
                    matches!(ours.kind, Kind::Other(_)) && !ours.kind.is_implementation_defined();
                assert!(reserved || matches!(ours.contents, Contents::Address { .. }));
            }
            // Bulkhead takes names in UTF-8 only.
            (None, Ok(theirs)) => match theirs.name {
                BootInfoName::NullTermString(name) => assert!(name.to_str().is_err()),
                BootInfoName::Uuid(_) => panic!("Bulkhead refuses {theirs:?}"),
            },
            (None, Err(_)) => {}
        }
    }
}

fn same_entry(ours: &Entry<'_>, theirs: &BootInfo<'_>) {
    match (ours.name, &theirs.name) {
        (Name::Text(ours), BootInfoName::NullTermString(theirs)) => {
            assert_eq!(ours.as_bytes(), theirs.to_bytes());
        }
        (Name::Uuid(ours), BootInfoName::Uuid(theirs)) => {
            assert_eq!(ours.0, UuidHelper::to_bytes(*theirs))
        }
        (ours, theirs) => panic!("{ours:?} and {theirs:?}"),
    }
    let implementation_defined = matches!(theirs.typ, BootInfoType::Impdef(_));
    assert_eq!(
        ours.kind.is_implementation_defined(),
        implementation_defined
    );
    match (ours.contents, theirs.contents) {
        (Contents::Value { value, size }, BootInfoContents::Value { val, len }) => {
            assert_eq!((value, usize::try_from(size)), (val, Ok(len)));
        }
        (Contents::Address { size, .. }, BootInfoContents::Address { content_buf }) => {
            assert_eq!(usize::try_from(size), Ok(content_buf.len()));
        }
        (ours, theirs) => panic!("{ours:?} and {theirs:?}"),
    }
}

/// A blob that Bulkhead writes: it reads it back, and so does arm-ffa.
pub fn boot_info_write(input: &mut Input<'_>) {
    const NAMES: [&str; 5] = ["", "fdt", "fifteen letters", "sixteen letters.", "a\0b"];
    let entries: Vec<Entry<'_>> = (0..input.byte() % 5)
        .map(|_| Entry {
            name: match input.byte() {
                byte @ 0..=0x7f => Name::Text(NAMES[usize::from(byte) % NAMES.len()]),
                _ => Name::Uuid(uuid(input)),
            },
            kind: match input.byte() {
                byte @ 0..=0xbf if byte & 1 == 0 => Kind::DeviceTree,
                0..=0xbf => Kind::HandOffBlocks,
                byte => Kind::Other(byte),
            },
            contents: Contents::Value {
                value: input.long(),
                size: u32::from(input.byte() % 10),
            },
        })
        .collect();
    let version = input.choose(&[Version::V1_1, Version::V1_2]);
    let mut blob = vec![0x5a; usize::from(input.byte())];
    let length = blob.len();
    let writable = entries.iter().all(|entry| {
        let name =
            !matches!(entry.name, Name::Text(text) if text.len() > 15 || text.contains('\0'));
        name && matches!(entry.contents, Contents::Value { size: 1..=8, .. })
    });
    let Some(used) = boot_info::write(&mut blob, version, &entries) else {
        assert!(
            !writable
                || length < boot_info::HEADER_SIZE + entries.len() * boot_info::DESCRIPTOR_SIZE
        );
        assert!(
            blob.iter().all(|byte| *byte == 0x5a),
            "a refusal wrote something"
        );
        return;
    };
    assert!(writable && blob[used..].iter().all(|byte| *byte == 0));
    let (_, descriptors) = boot_info::read(&blob).expect("what was written");
    let read: Vec<_> = descriptors
        .iter()
        .map(|descriptor| descriptor.entry().expect("an entry"))
        .collect();
    assert_eq!(read, entries);
    let theirs = BootInfoIterator::new(their_version(version), &blob).expect("what was written");
    for (ours, theirs) in entries.iter().zip(theirs) {
        same_entry(ours, &theirs.expect("an entry"));
    }
}
