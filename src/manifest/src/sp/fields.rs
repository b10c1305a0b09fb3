// SPDX-License-Identifier: MIT OR Apache-2.0
//! The properties in the root of a partition's manifest: how each is written, and what it may say.

use bulkhead_abi::{Uuid, Version};

use crate::dt::{Field, Node};
use crate::error::{ManifestError, Rule};
use crate::policy::{
    AbortAction, ExceptionLevel, ExecutionState, LiveRegister, NsInterruptsAction,
    OtherSInterruptsAction, PowerMessages, SriPolicy, VmMessages, XlatGranule,
};

pub(super) const COMPATIBLE: Field = Field::new(
    "compatible",
    "write compatible = \"arm,ffa-manifest-1.0\"; or -1.1",
);
pub(super) const FFA_VERSION: Field = Field::new(
    "ffa-version",
    "write ffa-version = <0x10000>; to <0x10003>; for FF-A 1.0 to 1.3",
);
pub(crate) const ID: Field = Field::new(
    "id",
    "write id = <ID>; with an unused id from 0x8001 to 0xfffe, or leave it out for 0x8000 + N of vmN",
);
pub(super) const AUXILIARY_ID: Field = Field::new(
    "auxiliary-id",
    "write auxiliary-id = <ID>; with a 16-bit id",
);
pub(super) const DESCRIPTION: Field = Field::new("description", "write description = \"NAME\";");
pub(super) const DEBUG_NAME: Field = Field::new("debug_name", "write debug_name = \"NAME\";");
pub(crate) const CONTEXTS: Field = Field::new(
    "execution-ctx-count",
    "write execution-ctx-count = <N>; 1, or for S-EL1 the number of the partition's vCPUs",
);
pub(super) const EXCEPTION_LEVEL: Field = Field::new(
    "exception-level",
    "write exception-level = <1>; for S-EL0 or <2>; for S-EL1",
);
pub(crate) const EXECUTION_STATE: Field = Field::new(
    "execution-state",
    "write execution-state = <0>; for AArch64",
);
pub(crate) const LOAD_ADDRESS: Field =
    Field::new("load-address", "write load-address = <PA>; page-aligned");
pub(crate) const ENTRYPOINT: Field = Field::new(
    "entrypoint-offset",
    "write entrypoint-offset = <OFFSET>; from the load address to an instruction of the image",
);
pub(crate) const MEM_SIZE: Field = Field::new(
    "mem-size",
    "write mem-size = <BYTES>; for the memory from the load address",
);
pub(super) const GRANULE: Field = Field::new(
    "xlat-granule",
    "write xlat-granule = <0>; for 4 KiB, <1>; for 16 KiB or <2>; for 64 KiB",
);
pub(crate) const BOOT_ORDER: Field = Field::new(
    "boot-order",
    "write boot-order = <N>; below 0xffff and unlike that of every other partition",
);
pub(super) const NS_ACTION: Field = Field::new(
    "ns-interrupts-action",
    "write ns-interrupts-action = <0>; (queued), <1>; (managed exit, S-EL1 only) or <2>; (signaled)",
);
pub(super) const MANAGED_EXIT: Field = Field::new(
    "managed-exit",
    "write ns-interrupts-action = <1>; (S-EL1 only) instead",
);
pub(super) const MANAGED_EXIT_VIRQ: Field =
    Field::new("managed-exit-virq", "write managed-exit-virq;");
pub(super) const OTHER_S_ACTION: Field = Field::new(
    "other-s-interrupts-action",
    "write other-s-interrupts-action = <1>; (signaled), or <0>; (queued) together with \
     ns-interrupts-action = <0>;",
);
pub(super) const SRI_POLICY: Field = Field::new(
    "sri-interrupts-policy",
    "write sri-interrupts-policy = <0>; to <3>; 0 for S-EL0",
);
pub(super) const NOTIFICATIONS: Field =
    Field::new("notification-support", "write notification-support;");
const GP_REGISTER: Field = Field::new(
    "gp-register-num",
    "write gp-register-num = <0>; to <3>; for x0 to x3",
);
pub(super) const POWER_MESSAGES: Field = Field::new(
    "power-management-messages",
    "write power-management-messages = <BITS>; of bits 0 to 2",
);
pub(super) const VM_MESSAGES: Field = Field::new(
    "vm-availability-messages",
    "write vm-availability-messages = <0>; to <3>;",
);
pub(crate) const REQUEST_QUEUE: Field = Field::new(
    "bulkhead,request-queue",
    "write bulkhead,request-queue = <1>; to <8>; with execution-ctx-count = <1>;",
);
pub(super) const RUN_TIMEOUT: Field = Field::new(
    "bulkhead,run-timeout-ms",
    "write bulkhead,run-timeout-ms = <1>; to <60000>;",
);
pub(super) const INTERRUPT_SHARE: Field = Field::new(
    "bulkhead,interrupt-share",
    "write bulkhead,interrupt-share = <1>; to <100>;, in percent of the time of a core",
);
pub(super) const COUNTER_FROM_BOOT: Field = Field::new(
    "bulkhead,virtual-counter-from-boot",
    "write bulkhead,virtual-counter-from-boot;",
);
pub(super) const VIRTUAL_SERROR: Field =
    Field::new("bulkhead,virtual-serror", "write bulkhead,virtual-serror;");
pub(super) const LIFECYCLE: Field = Field::new("lifecycle-support", "write lifecycle-support;");
pub(crate) const ABORT_ACTION: Field = Field::new(
    "abort-action",
    "write abort-action = <0>; (stop), <1>; (destroy), <2>; (restart, with bulkhead,image-copy in vmN) or \
     <3>; (propagate, with bulkhead,critical; in vmN)",
);
pub(super) const HAS_SCHEDULER: Field =
    Field::new("has-primary-scheduler", "write has-primary-scheduler;");
pub(super) const LIVE_SUPPORT: Field =
    Field::new("live-activation-support", "write live-activation-support;");
const LIVE_REGISTER: Field = Field::new(
    "live-activation-register",
    "write live-activation-register = <N>;",
);
const IMAGE_UUID: Field = Field::new(
    "image-uuid",
    "write image-uuid = \"XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX\"; or four cells, not nil",
);
pub(super) const TIME_SLICE: Field = Field::new("time-slice-mem", "write time-slice-mem;");
/// [`GP_REGISTER`] of a package that has no room.
pub(crate) const GP_REGISTER_PACKAGE: Field = Field::new(
    GP_REGISTER.name,
    "leave the first page of the package to it (SPKG version 2), or leave gp-register-num out",
);

/// The largest number of execution contexts: FFA_RUN and the partition information have 16 bits.
const MAX_CONTEXTS: u32 = 0xffff;
/// The boot order that the binding's readers give to a partition without one.
const LAST_IN_BOOT_ORDER: u64 = 0xffff;

/// An optional property of defined values.
pub(super) fn value<'a, T>(
    node: Node<'_, 'a>,
    field: Field,
    rule: Rule,
    meaning: impl Fn(u32) -> Option<T>,
) -> Result<Option<T>, ManifestError<'a>> {
    node.u32(field)?
        .map(|bits| {
            meaning(bits).ok_or_else(|| node.field_error(field, rule).value(u64::from(bits)))
        })
        .transpose()
}

/// A required property of defined values.
pub(super) fn required_value<'a, T>(
    node: Node<'_, 'a>,
    field: Field,
    rule: Rule,
    meaning: impl Fn(u32) -> Option<T>,
) -> Result<T, ManifestError<'a>> {
    value(node, field, rule, meaning)?.ok_or_else(|| node.missing(field))
}

pub(super) fn version<'a>(root: Node<'_, 'a>) -> Result<Version, ManifestError<'a>> {
    required_value(root, FFA_VERSION, Rule::NotCompatible, |word| {
        Version::from_word(word).filter(|version| {
            version.major == Version::OURS.major && version.minor <= Version::OURS.minor
        })
    })
}

pub(super) fn contexts<'a>(
    root: Node<'_, 'a>,
    level: ExceptionLevel,
) -> Result<u32, ManifestError<'a>> {
    let count = root.require_u32(CONTEXTS)?;
    let error = |rule| Err(root.field_error(CONTEXTS, rule).value(u64::from(count)));
    match (count, level) {
        (0, _) => error(Rule::ExecutionContexts),
        (count, _) if count > MAX_CONTEXTS => error(Rule::ExecutionContexts),
        (2.., ExceptionLevel::SEl0) => error(Rule::NotCompatible),
        _ => Ok(count),
    }
}

pub(super) fn boot_order<'a>(root: Node<'_, 'a>) -> Result<Option<u16>, ManifestError<'a>> {
    match root.integer(BOOT_ORDER)? {
        None | Some(LAST_IN_BOOT_ORDER) => Ok(None),
        Some(order) => match u16::try_from(order) {
            Ok(order) => Ok(Some(order)),
            Err(_) => Err(root.field_error(BOOT_ORDER, Rule::BootOrder).value(order)),
        },
    }
}

pub(super) fn ns_action<'a>(
    root: Node<'_, 'a>,
    level: ExceptionLevel,
) -> Result<NsInterruptsAction, ManifestError<'a>> {
    let written = value(root, NS_ACTION, Rule::UnknownValue, |action| match action {
        0 => Some(NsInterruptsAction::Queued),
        1 => Some(NsInterruptsAction::ManagedExit),
        2 => Some(NsInterruptsAction::Signaled),
        _ => None,
    })?;
    let deprecated = root.flag(MANAGED_EXIT)?;
    let action = match written {
        _ if deprecated => NsInterruptsAction::ManagedExit,
        Some(action) => action,
        None => NsInterruptsAction::Signaled,
    };
    if action == NsInterruptsAction::ManagedExit && level != ExceptionLevel::SEl1 {
        let field = if deprecated { MANAGED_EXIT } else { NS_ACTION };
        return Err(root.field_error(field, Rule::NotCompatible));
    }
    Ok(action)
}

pub(super) fn other_s_action<'a>(
    root: Node<'_, 'a>,
    ns_action: NsInterruptsAction,
) -> Result<OtherSInterruptsAction, ManifestError<'a>> {
    let action = value(
        root,
        OTHER_S_ACTION,
        Rule::UnknownValue,
        |action| match action {
            0 => Some(OtherSInterruptsAction::Queued),
            1 => Some(OtherSInterruptsAction::Signaled),
            _ => None,
        },
    )?
    .unwrap_or(OtherSInterruptsAction::Signaled);
    if action == OtherSInterruptsAction::Queued && ns_action != NsInterruptsAction::Queued {
        return Err(root
            .field_error(OTHER_S_ACTION, Rule::NotCompatible)
            .value(0));
    }
    Ok(action)
}

pub(super) fn sri_policy<'a>(
    root: Node<'_, 'a>,
    level: ExceptionLevel,
) -> Result<SriPolicy, ManifestError<'a>> {
    let policy = value(root, SRI_POLICY, Rule::UnknownValue, |bits| {
        (bits & !3 == 0).then_some(SriPolicy {
            while_waiting: bits & 1 != 0,
            on_entering_wait: bits & 2 != 0,
        })
    })?
    .unwrap_or_default();
    if level == ExceptionLevel::SEl0 && policy != SriPolicy::default() {
        return Err(root.field_error(SRI_POLICY, Rule::NotCompatible));
    }
    Ok(policy)
}

pub(super) fn exception_level<'a>(root: Node<'_, 'a>) -> Result<ExceptionLevel, ManifestError<'a>> {
    required_value(
        root,
        EXCEPTION_LEVEL,
        Rule::NotCompatible,
        |level| match level {
            1 => Some(ExceptionLevel::SEl0),
            2 => Some(ExceptionLevel::SEl1),
            _ => None,
        },
    )
}

pub(super) fn execution_state<'a>(root: Node<'_, 'a>) -> Result<ExecutionState, ManifestError<'a>> {
    required_value(
        root,
        EXECUTION_STATE,
        Rule::NotCompatible,
        |state| match state {
            0 => Some(ExecutionState::AArch64),
            1 => Some(ExecutionState::AArch32),
            _ => None,
        },
    )
}

pub(super) fn granule<'a>(root: Node<'_, 'a>) -> Result<XlatGranule, ManifestError<'a>> {
    let granule = value(root, GRANULE, Rule::UnknownValue, |granule| match granule {
        0 => Some(XlatGranule::K4),
        1 => Some(XlatGranule::K16),
        2 => Some(XlatGranule::K64),
        _ => None,
    })?;
    Ok(granule.unwrap_or_default())
}

pub(super) fn gp_register<'a>(root: Node<'_, 'a>) -> Result<Option<u32>, ManifestError<'a>> {
    value(root, GP_REGISTER, Rule::UnknownValue, |register| {
        (register <= 3).then_some(register)
    })
}

pub(super) fn power_messages<'a>(
    root: Node<'_, 'a>,
) -> Result<Option<PowerMessages>, ManifestError<'a>> {
    value(root, POWER_MESSAGES, Rule::UnknownValue, |bits| {
        (bits & !7 == 0).then_some(PowerMessages {
            cpu_off: bits & 1 != 0,
            cpu_suspend: bits & 2 != 0,
            cpu_suspend_resume: bits & 4 != 0,
        })
    })
}

pub(super) fn vm_messages<'a>(root: Node<'_, 'a>) -> Result<VmMessages, ManifestError<'a>> {
    let messages = value(root, VM_MESSAGES, Rule::UnknownValue, |bits| {
        (bits & !3 == 0).then_some(VmMessages {
            created: bits & 1 != 0,
            destroyed: bits & 2 != 0,
        })
    })?;
    Ok(messages.unwrap_or_default())
}

pub(super) fn request_queue<'a>(root: Node<'_, 'a>) -> Result<u8, ManifestError<'a>> {
    let length = value(root, REQUEST_QUEUE, Rule::RequestQueue, |length| {
        u8::try_from(length)
            .ok()
            .filter(|length| (1..=8).contains(length))
    })?;
    Ok(length.unwrap_or(0))
}

pub(super) fn interrupt_share<'a>(root: Node<'_, 'a>) -> Result<u8, ManifestError<'a>> {
    /// The ways in and out take as long again.
    const DEFAULT: u8 = 25;
    let share = value(root, INTERRUPT_SHARE, Rule::UnknownValue, |share| {
        u8::try_from(share)
            .ok()
            .filter(|share| (1..=100).contains(share))
    })?;
    Ok(share.unwrap_or(DEFAULT))
}

pub(super) fn abort_action<'a>(
    root: Node<'_, 'a>,
) -> Result<Option<AbortAction>, ManifestError<'a>> {
    value(
        root,
        ABORT_ACTION,
        Rule::UnknownValue,
        |action| match action {
            0 => Some(AbortAction::Stop),
            1 => Some(AbortAction::Destroy),
            2 => Some(AbortAction::Restart),
            3 => Some(AbortAction::Propagate),
            _ => None,
        },
    )
}

pub(super) fn auxiliary_id<'a>(root: Node<'_, 'a>) -> Result<Option<u16>, ManifestError<'a>> {
    Ok(root
        .integer_up_to(AUXILIARY_ID, u64::from(u16::MAX))?
        .and_then(|id| u16::try_from(id).ok()))
}

/// The partition's name: `description`, else `debug_name`, else nothing.
pub(super) fn description<'a>(root: Node<'_, 'a>) -> Result<&'a str, ManifestError<'a>> {
    match root.string(DESCRIPTION)? {
        Some(description) => Ok(description),
        None => Ok(root.string(DEBUG_NAME)?.unwrap_or_default()),
    }
}

/// `live-activation-register`: a flag, or a number.
pub(super) fn live_register<'a>(root: Node<'_, 'a>) -> Result<LiveRegister, ManifestError<'a>> {
    match root.property(LIVE_REGISTER.name) {
        None => Ok(LiveRegister::Absent),
        Some([]) => Ok(LiveRegister::Present),
        Some(_) => Ok(root
            .u32(LIVE_REGISTER)?
            .map_or(LiveRegister::Absent, LiveRegister::Number)),
    }
}

/// `image-uuid`: four cells as in binding 1.0, or a string as in 1.1; not nil.
pub(super) fn image_uuid<'a>(root: Node<'_, 'a>) -> Result<Option<Uuid>, ManifestError<'a>> {
    let Some(bytes) = root.property(IMAGE_UUID.name) else {
        return Ok(None);
    };
    let malformed = || root.field_error(IMAGE_UUID, Rule::MalformedUuid);
    let uuid = if bytes.len() == 16 {
        let cells = root.cell_list(IMAGE_UUID, 4)?.unwrap_or_default();
        cells.tuples().next().map(Uuid::from_manifest_cells)
    } else {
        root.string(IMAGE_UUID).ok().flatten().and_then(Uuid::parse)
    };
    match uuid {
        None => Err(malformed()),
        Some(uuid) if uuid.is_nil() => Err(root.field_error(IMAGE_UUID, Rule::NilUuid)),
        uuid => Ok(uuid),
    }
}
