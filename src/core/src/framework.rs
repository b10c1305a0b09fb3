// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framework messages: direct messages with bit 31 of w2 set.
//!
//! [`TABLE`] says who sends which to whom. What it does not serve ends with INVALID_PARAMETERS.

use bulkhead_abi::framework::{Flags, Message};
use bulkhead_abi::id::World;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, FfaError, Registers};

use crate::hardware::Hardware;
use crate::partition::Partition;
use crate::runtime_model::DirectForm;
use crate::spmc::{CoreState, Spmc};

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
    /// Checks an FFA_MSG_SEND_DIRECT_REQ to `receiver` with w2 other than zero, and leaves in its
    /// registers what the receiver may see. Only the hypervisor may send some messages, to a partition that
    /// subscribed.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for reserved flags (G8), for a message that this sender may not send (G9), for a
    /// receiver that did not subscribe, and for an id that no VM has.
    #[cold]
    #[inline(never)]
    pub(crate) fn framework_request(
        &self,
        core: &mut CoreState<H>,
        receiver: &Partition<H>,
    ) -> Result<(), FfaError> {
        let by_partition = core.current.is_some();
        let call = core.caller();
        let Flags::Framework(message) = Flags::decode(call.w::<2>())? else {
            return Err(FfaError::InvalidParameters);
        };
        let Some(Route::HypervisorToPartition(subscription)) = route(message) else {
            return Err(FfaError::InvalidParameters);
        };
        if by_partition || call.sender() != EndpointId::NORMAL_WORLD {
            return Err(FfaError::InvalidParameters);
        }
        // What discovery shows to the hypervisor is what it may use.
        let shown = receiver.config.properties.shown(
            receiver.version(),
            self.normal_world.version.get(),
            World::Normal,
        );
        if !shown.contains(subscription) {
            return Err(FfaError::InvalidParameters);
        }
        let vm = vm_id(call.w::<5>()).ok_or(FfaError::InvalidParameters)?;
        keep(call, [call.w::<3>(), call.w::<4>(), u32::from(vm.0)]);
        Ok(())
    }
}

/// Checks an FFA_MSG_SEND_DIRECT_RESP with w2 other than zero, whose sender handles `request` if that is a
/// framework message, and leaves in its registers what the requester may see: the status.
///
/// # Errors
/// INVALID_PARAMETERS for reserved flags and for what is no response; DENIED for one to another request
/// (G16).
#[cold]
#[inline(never)]
pub(crate) fn check_response(
    call: &mut Registers,
    request: Option<Message>,
) -> Result<(), FfaError> {
    let Flags::Framework(message) = Flags::decode(call.w::<2>())? else {
        return Err(FfaError::InvalidParameters);
    };
    if message.response().is_some() {
        return Err(FfaError::InvalidParameters);
    }
    if request.and_then(Message::response) != Some(message) {
        return Err(FfaError::Denied);
    }
    keep(call, [call.w::<3>(), 0, 0]);
    Ok(())
}

/// The framework request that a message is whose w2 was found to be right, if it is one.
pub(crate) fn request_of(call: &Registers, form: DirectForm) -> Option<Message> {
    match (form, Flags::decode(call.w::<2>())) {
        (DirectForm::One, Ok(Flags::Framework(message))) => Some(message),
        _ => None,
    }
}

/// Leaves these in w3 to w5, and nothing in w6 and w7, which are reserved.
fn keep(call: &mut Registers, words: [u32; 3]) {
    let [w3, w4, w5] = words.map(u64::from);
    call.set_x::<3>(w3);
    call.set_x::<4>(w4);
    call.set_x::<5>(w5);
    call.set_x::<6>(0);
    call.set_x::<7>(0);
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
