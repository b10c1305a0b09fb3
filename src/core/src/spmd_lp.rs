// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SPMD's logical partitions, which are code of EL3.
//!
//! The first core that boots asks the SPMD which there are; most have none, and say NOT_SUPPORTED. They are
//! listed to partitions, and exchange direct messages with them. They have no notifications, no mailbox and
//! no execution context here.
//!
//! To the SPMD its request is a function call: it ends with the response or an error on the same core, and
//! never with FFA_INTERRUPT. So non-secure interrupts wait, and a partition that takes too long is aborted.

use arrayvec::ArrayVec;
use bulkhead_abi::function::{self, Call};
use bulkhead_abi::partition_info::{self, PartitionInfo, Properties, REGS_BYTES, RegsReply};
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{EndpointId, FfaError, Function, Registers, Uuid, Version, Width};

use crate::direct::deliver;
use crate::event::Action;
use crate::hardware::Hardware;
use crate::runtime_model::DirectForm;
use crate::spmc::{CoreState, Spmc, deadline};
use crate::sync::Mutex;
use crate::vcpu::{Activation, NonSecureInterrupts};

/// How many are kept; TF-A has room for fewer.
const MOST: usize = 16;
/// The ids of the SPMD's logical partitions, below its own.
const FIRST: EndpointId = EndpointId(0xffc0);
const LAST: EndpointId = EndpointId(0xfffe);

/// The logical partitions that the SPMD told of.
#[derive(Debug, Default)]
pub(crate) struct LogicalPartitions(Mutex<List>);

#[derive(Clone, Debug, Default)]
struct List {
    asked: bool,
    all: ArrayVec<PartitionInfo, MOST>,
}

impl LogicalPartitions {
    /// The one at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<PartitionInfo> {
        self.0.lock().all.get(index).copied()
    }

    #[inline(never)]
    fn find(&self, id: EndpointId) -> Option<PartitionInfo> {
        if !(FIRST..=LAST).contains(&id) {
            return None;
        }
        let list = self.0.lock();
        list.all.iter().find(|info| info.id == id).copied()
    }
}

impl<H: Hardware> Spmc<H> {
    /// Asks the SPMD for its logical partitions, unless that is done.
    pub(crate) fn ask_for_logical_partitions(&self, hw: &mut H) {
        let mut list = self.logical.0.lock();
        if core::mem::replace(&mut list.asked, true) {
            return;
        }
        // Each answer has at least one.
        while list.all.len() < MOST {
            let start = u64::try_from(list.all.len()).unwrap_or(u64::MAX);
            let mut call = Registers::ZERO;
            call.set_x::<0>(Function::PartitionInfoGetRegs.id(Width::W64));
            call.set_x::<3>(start);
            hw.forward_smc(&mut call);
            let before = list.all.len();
            let more = add(&call, start, &mut list.all);
            if !more || list.all.len() == before {
                break;
            }
        }
        for info in &list.all {
            log::info!("the SPMD has the logical partition {}", info.id);
        }
    }

    /// A direct request of a logical partition, which cannot be interrupted.
    #[inline(never)]
    pub(crate) fn logical_request(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Action {
        let outcome = self.direct_request(core, DirectForm::One, width, hw);
        if let Some(mut current) = core.current.take() {
            let activation = current.activation;
            current.activation = Activation::new(
                activation.model(),
                activation.initiator(),
                NonSecureInterrupts::Queued,
            );
            return self.run(core, current, hw);
        }
        outcome.unwrap_or_else(|error| self.refuse(core, error))
    }

    /// Whether the call of EL3 that `core` serves is a request of a logical partition.
    pub(crate) fn serves_logical(&self, core: &CoreState<H>) -> bool {
        let call = &core.normal_world;
        let request = matches!(
            function::decode(call.x::<0>()),
            Call::Ffa(Function::MsgSendDirectReq, _)
        );
        request && self.is_logical(call.sender())
    }

    /// Whether `id` is one of a logical partition that is there.
    pub(crate) fn is_logical(&self, id: EndpointId) -> bool {
        self.logical.find(id).is_some()
    }

    /// What runs for a logical partition took too long: it is aborted, and who waits for it gets the core,
    /// for as long again.
    pub(crate) fn end_logical_request(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let why = format_args!("it did not answer a logical partition of the SPMD in time");
        let action = self.abort_running(core, hw, why);
        if core.current.is_some() {
            core.set_bound(Some(deadline(hw, self.run_timeout_ms)), hw);
        }
        action
    }

    /// A direct request of the running partition to a logical partition: the SPMD answers it at once.
    ///
    /// # Errors
    /// INVALID_PARAMETERS when there is no such logical partition, or for reserved fields; DENIED when one
    /// of the two manifests or the caller's runtime model does not allow it; ABORTED for an answer that is
    /// none. An error of the SPMD is the answer.
    #[inline(never)]
    pub(crate) fn request_to_logical(
        &self,
        core: &mut CoreState<H>,
        form: DirectForm,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let sending = self.running_partition(core);
        let sending = sending.ok_or(FfaError::InvalidParameters)?;
        let receiver = core.caller().receiver();
        let logical = self.logical.find(receiver);
        let logical = logical.ok_or(FfaError::InvalidParameters)?;
        let (sends, receives) = match form {
            DirectForm::One if core.caller().w::<2>() != 0 => {
                return Err(FfaError::InvalidParameters);
            }
            DirectForm::One => (Properties::DIRECT_REQ_SEND, Properties::DIRECT_REQ_RECEIVE),
            DirectForm::Two => (
                Properties::DIRECT_REQ2_SEND,
                Properties::DIRECT_REQ2_RECEIVE,
            ),
        };
        if !sending.config.properties.contains(sends) || !logical.properties.contains(receives) {
            return Err(FfaError::Denied);
        }
        self.may_transition(core, form.request_transition())?;
        // Only the message, and the answer, cross.
        let mut message = Registers::ZERO;
        deliver(
            &mut message,
            core.caller(),
            form.request(),
            form,
            width,
            Extended::Clear,
        );
        hw.forward_smc(&mut message);
        let extended = self.extended_rule(core);
        match function::decode(message.x::<0>()) {
            Call::Ffa(response, answered)
                if response == form.response()
                    && (answered, message.sender(), message.receiver())
                        == (width, receiver, sending.config.id) =>
            {
                let call = core.caller();
                deliver(call, &message, response, form, width, extended);
            }
            Call::Ffa(Function::Error, _) => {
                let code = message.w::<2>().cast_signed();
                let error = FfaError::from_code(code).ok_or(FfaError::Aborted)?;
                core.caller().ffa_error(extended, error);
            }
            _ => return Err(FfaError::Aborted),
        }
        Ok(core.resume())
    }
}

/// Adds what an answer to FFA_PARTITION_INFO_GET_REGS tells from index `start` on; whether there is more.
fn add(reply: &Registers, start: u64, all: &mut ArrayVec<PartitionInfo, MOST>) -> bool {
    let success = Call::Ffa(Function::Success, Width::W64);
    if function::decode(reply.x::<0>()) != success {
        return false;
    }
    let told = RegsReply::decode(reply.x::<2>());
    // Descriptors of 1.3, or of the versions before it, which do not tell the version.
    let version = match usize::from(told.size) {
        24 => Version::V1_2,
        48 => Version::V1_3,
        _ => return false,
    };
    let Some(count) = u64::from(told.current).checked_sub(start) else {
        return false;
    };
    let mut bytes = [0; REGS_BYTES];
    for (to, from) in bytes.chunks_mut(8).zip(reply.x.iter().skip(3)) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    let size = partition_info::descriptor_size(version);
    let descriptors = bytes.chunks_exact(size);
    for bytes in descriptors.take(usize::try_from(count).unwrap_or(0).saturating_add(1)) {
        let Some(info) = partition_info::decode(version, bytes) else {
            return false;
        };
        let known = all.iter().any(|other| other.id == info.id);
        if !(FIRST..=LAST).contains(&info.id) || known || info.uuid == Uuid::NIL {
            log::warn!("the SPMD told of a logical partition {}", info.id);
            return false;
        }
        let version = match version {
            Version::V1_3 => info.version,
            other => other,
        };
        if all.try_push(PartitionInfo { version, ..info }).is_err() {
            log::warn!("the SPMD has more than {MOST} logical partitions");
            return false;
        }
    }
    told.current < told.last
}
