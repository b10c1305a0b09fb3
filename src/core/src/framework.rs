// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framework messages: direct messages with bit 31 of w2 set.
//!
//! [`TABLE`] says who sends which to whom. What it does not serve ends with INVALID_PARAMETERS.

use bulkhead_abi::framework::{Flags, Message, answered_status};
use bulkhead_abi::id::World;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{EndpointId, FfaError, Function, Width};

use crate::event::Action;
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::Health;
use crate::runtime_model::{DirectForm, RuntimeModel};
use crate::spmc::{CoreState, Current, Spmc};
use crate::vcpu::{Activation, Initiator, VcpuRef, VcpuState};

/// Who may send a framework request, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// From the SPMD to Bulkhead, which answers itself.
    SpmdToSpmc,
    /// From the hypervisor to a partition that subscribed to it by these properties.
    HypervisorToPartition(Properties),
}

/// A framework request that is served. Its response is [`Message::response`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The request.
    pub request: Message,
    /// Its way.
    pub route: Route,
}

const VM_CREATED: Properties = Properties::VM_CREATED.union(Properties::DIRECT_REQ_RECEIVE);
const VM_DESTROYED: Properties = Properties::VM_DESTROYED.union(Properties::DIRECT_REQ_RECEIVE);

/// The requests that are served, in the order of their numbers. Not yet: warm boot, partition
/// stop and live activation.
pub static TABLE: [Row; 4] = {
    use Route::{HypervisorToPartition, SpmdToSpmc};
    const fn row(request: Message, route: Route) -> Row {
        Row { request, route }
    }
    [
        row(Message::PsciRequest, SpmdToSpmc),
        row(Message::VmCreatedRequest, HypervisorToPartition(VM_CREATED)),
        row(
            Message::VmDestroyedRequest,
            HypervisorToPartition(VM_DESTROYED),
        ),
        row(Message::VersionRequest, SpmdToSpmc),
    ]
};

/// The way of `message`, if it is a request that is served.
pub fn route(message: Message) -> Option<Route> {
    let row = TABLE.iter().find(|row| row.request == message)?;
    Some(row.route)
}

impl<H: Hardware> Spmc<H> {
    /// FFA_MSG_SEND_DIRECT_REQ with w2 other than zero: only the hypervisor may send some of these, to a
    /// partition that subscribed.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for reserved flags (G8), for a message that this sender may not send (G9), for a
    /// receiver that is not there or did not subscribe, and for an id that no VM has; then as a partition
    /// message.
    #[inline(never)]
    pub(crate) fn framework_request(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let call = core.caller();
        let Flags::Framework(message) = Flags::decode(call.w::<2>())? else {
            return Err(FfaError::InvalidParameters);
        };
        let (sender, receiver) = (call.sender(), call.receiver());
        let handle = [call.w::<3>(), call.w::<4>()];
        let vm = vm_id(call.w::<5>()).ok_or(FfaError::InvalidParameters)?;
        let Some(Route::HypervisorToPartition(subscription)) = route(message) else {
            return Err(FfaError::InvalidParameters);
        };
        if core.current.is_some() || sender != EndpointId::NORMAL_WORLD {
            return Err(FfaError::InvalidParameters);
        }
        let (index, partition) = self.find(receiver).ok_or(FfaError::InvalidParameters)?;
        // What discovery shows to the hypervisor is what it may use.
        let shown = partition.config.properties.shown(
            partition.version(),
            self.normal_world.version.get(),
            World::Normal,
        );
        if !shown.contains(subscription) {
            return Err(FfaError::InvalidParameters);
        }

        let target =
            VcpuRef::new(index, partition.vcpu_for_core(core.index)).ok_or(FfaError::Busy)?;
        if partition.health() == Health::Aborted {
            return Err(FfaError::Aborted);
        }
        let slot = partition.vcpus.get(target.vcpu()).ok_or(FfaError::Busy)?;
        let context = self.claim_receiver(core, slot, target, DirectForm::One)?;
        let [low, high] = handle;
        let mut words = message.encode(sender, receiver, [low, high, u32::from(vm.0), 0, 0]);
        let [id, ..] = &mut words;
        *id = Function::MsgSendDirectReq.id(width);
        let extended = Extended::for_call(partition.version(), width);
        context.registers_mut().reply(extended, words);
        let activation = Activation {
            model: RuntimeModel::Framework {
                origin: sender,
                request: message,
            },
            initiator: Initiator::NormalWorld,
            non_secure: partition.config.non_secure_interrupts,
        };
        Ok(self.run(
            core,
            Current {
                partition,
                slot,
                vcpu: target,
                context,
                activation,
            },
            hw,
        ))
    }

    /// FFA_MSG_SEND_DIRECT_RESP with w2 other than zero: a partition's answer to a framework request,
    /// whose status goes to who sent it.
    ///
    /// # Errors
    /// DENIED without a framework request, and for another answer than its own (G14 to G16);
    /// INVALID_PARAMETERS for reserved flags, what is no answer, and a foreign sender.
    #[inline(never)]
    pub(crate) fn framework_response(
        &self,
        core: &mut CoreState<H>,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let own = self.caller_id(core);
        let Some(current) = &core.current else {
            return Err(FfaError::Denied);
        };
        let call = current.context.registers();
        let message = match (current.activation.model, Flags::decode(call.w::<2>())) {
            (RuntimeModel::DirectRequest { .. } | RuntimeModel::Framework { .. }, flags) => flags?,
            _ => return Err(FfaError::Denied),
        };
        let Flags::Framework(message) = message else {
            return Err(FfaError::InvalidParameters);
        };
        if call.sender() != own || message.response().is_some() {
            return Err(FfaError::InvalidParameters);
        }
        let RuntimeModel::Framework { origin, request } = current.activation.model else {
            return Err(FfaError::Denied);
        };
        if call.receiver() != origin || request.response() != Some(message) {
            return Err(FfaError::Denied);
        }
        let status = answered_status(call).cast_unsigned();
        let mut words = message.encode(own, origin, [status, 0, 0, 0, 0]);
        let [id, ..] = &mut words;
        *id = Function::MsgSendDirectResp.id(width);
        Ok(
            self.finish(core, hw, VcpuState::Waiting, |requester, extended, _| {
                requester.reply(extended, words)
            }),
        )
    }
}

/// The id of a VM in bits 15:0 of w5; the other bits are ignored.
fn vm_id(w5: u32) -> Option<EndpointId> {
    let [b0, b1, ..] = w5.to_le_bytes();
    let id = EndpointId(u16::from_le_bytes([b0, b1]));
    (id != EndpointId::NORMAL_WORLD && !id.is_secure()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a24_each_served_message_is_a_request_with_an_answer() {
        for row in &TABLE {
            assert!(row.request.response().is_some(), "{:?}", row.request);
            assert_eq!(route(row.request), Some(row.route));
        }
    }

    #[test]
    fn a24_answers_and_what_comes_later_have_no_way() {
        let served = TABLE.map(|row| row.request);
        for message in Message::ALL {
            if !served.contains(&message) {
                assert_eq!(route(message), None, "{message:?}");
            }
        }
        let numbers = served.map(Message::number);
        assert_eq!(numbers, [0, 4, 6, 8]);
    }

    #[test]
    fn a25_vm_ids_are_those_of_the_normal_world_but_its_primary_endpoint() {
        for (w5, id) in [(1, 1), (0x7fff, 0x7fff), (0xabcd_0002, 2)] {
            assert_eq!(vm_id(w5), Some(EndpointId(id)));
        }
        for w5 in [0, 0x8000, 0x8001, 0xffff, 0x1_0000] {
            assert_eq!(vm_id(w5), None, "{w5:#x}");
        }
    }
}
