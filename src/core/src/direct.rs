// SPDX-License-Identifier: MIT OR Apache-2.0
//! Direct messages: FFA_MSG_SEND_DIRECT_REQ, _RESP and their second forms.

use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{FfaError, Function, Registers, Version, Width};

use crate::event::Action;
use crate::framework;
use crate::hardware::{Hardware, VcpuContext};
use crate::partition::{Health, Partition};
use crate::runtime_model::{DirectForm, RuntimeModel, Transition, Verdict};
use crate::spmc::{CoreState, Current, Spmc};
use crate::vcpu::{Activation, Initiator, StateName, Vcpu, VcpuRef, VcpuState};

impl DirectForm {
    /// The request's function.
    pub fn request(self) -> Function {
        match self {
            Self::One => Function::MsgSendDirectReq,
            Self::Two => Function::MsgSendDirectReq2,
        }
    }

    /// The response's function.
    pub fn response(self) -> Function {
        match self {
            Self::One => Function::MsgSendDirectResp,
            Self::Two => Function::MsgSendDirectResp2,
        }
    }

    pub(crate) fn request_transition(self) -> Transition {
        match self {
            Self::One => Transition::Request,
            Self::Two => Transition::Request2,
        }
    }

    fn response_transition(self) -> Transition {
        match self {
            Self::One => Transition::Response,
            Self::Two => Transition::Response2,
        }
    }
}

impl<H: Hardware> Spmc<H> {
    /// FFA_MSG_SEND_DIRECT_REQ and REQ2, from the normal world or a partition.
    ///
    /// The order of the checks is part of the ABI: who, whom, reserved fields, what both manifests
    /// allow, the receiver's state, and last what the sender may do at this moment (G10).
    ///
    /// Inlined, since its second use, for logical partitions, would cost each message a frame.
    #[inline(always)]
    pub(crate) fn direct_request(
        &self,
        core: &mut CoreState<H>,
        form: DirectForm,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        let sending = self.running_partition(core);
        let version = self.caller_version(core);
        let own = self.caller_id(core);
        let call = core.caller();
        let sender = call.sender();
        let receiver = call.receiver();
        let from_caller = match sending {
            Some(_) => sender == own,
            None => !sender.is_secure() || (form == DirectForm::One && self.is_logical(sender)),
        };
        if !from_caller || sender == receiver {
            return Err(FfaError::InvalidParameters);
        }
        let Some((partition, receiving)) = self.find(receiver) else {
            return self.request_to_logical(core, form, width, hw);
        };
        let properties = receiving.config.properties;
        let receives = match form {
            DirectForm::One => {
                if call.w::<2>() != 0 {
                    self.framework_request(core, receiving)?;
                }
                properties.contains(Properties::DIRECT_REQ_RECEIVE)
            }
            DirectForm::Two => {
                if version < Version::V1_2 || receiving.version() < Version::V1_2 {
                    return Err(FfaError::NotSupported);
                }
                receiving.config.receives_request2(call.uuid_x2_x3())?
            }
        };
        let sends = sending.is_none_or(|partition| match form {
            DirectForm::One => partition
                .config
                .properties
                .contains(Properties::DIRECT_REQ_SEND),
            DirectForm::Two => partition
                .config
                .properties
                .contains(Properties::DIRECT_REQ2_SEND),
        });
        if !receives || !sends {
            return Err(FfaError::Denied);
        }

        let target =
            VcpuRef::new(partition, receiving.vcpu_for_core(core.index)).ok_or(FfaError::Busy)?;
        if receiving.health() == Health::Aborted {
            return Err(FfaError::Aborted);
        }
        let slot = receiving.vcpus.get(target.vcpu()).ok_or(FfaError::Busy)?;
        if receiving.queue.is_some() || (form == DirectForm::One && core.caller().w::<2>() != 0) {
            return self.uncommon_request(core, target, form, hw);
        }
        let context = self.claim_receiver(core, slot, target, form)?;
        let extended = Extended::for_call(receiving.version(), width);
        deliver(
            context.registers_mut(),
            core.caller(),
            form.request(),
            form,
            width,
            extended,
        );
        let non_secure = self
            .inherited(core)
            .max(receiving.config.non_secure_interrupts);
        let initiator = self.block(core, target, hw);
        let model = RuntimeModel::DirectRequest {
            origin: sender,
            form,
            framework: None,
        };
        let activation = Activation::new(model, initiator, non_secure);
        Ok(self.run(
            core,
            Current {
                partition: receiving,
                slot,
                vcpu: target,
                context,
                activation,
            },
            hw,
        ))
    }

    /// Takes the receiver's context if it waits for requests; BUSY and DENIED say why not.
    fn claim_receiver(
        &self,
        core: &CoreState<H>,
        slot: &Vcpu<H>,
        target: VcpuRef,
        form: DirectForm,
    ) -> Result<crate::vcpu::Context<H>, FfaError> {
        let claimed = slot.claim(core.index, |state| match state {
            VcpuState::Waiting(_) => self.may_transition(core, form.request_transition()),
            VcpuState::Aborted(_) => Err(FfaError::Aborted),
            _ => Err(FfaError::Busy),
        });
        // Whether it is busy with this very chain is looked up without its lock: no two locks of
        // execution contexts are held at once (C6).
        let claimed = claimed.map_err(|error| match error {
            FfaError::Busy if self.is_ancestor(core, target) => FfaError::Denied,
            // A chain that Bulkhead schedules does not wait for one of the normal world (G18).
            FfaError::Busy if core.schedules() && is_in_chain(slot) => FfaError::Denied,
            other => other,
        })?;
        match claimed {
            VcpuState::Waiting(context) => Ok(context),
            // Excluded by the claim above.
            other => {
                slot.rest(other);
                Err(FfaError::Busy)
            }
        }
    }

    /// FFA_MSG_SEND_DIRECT_RESP and RESP2, from a partition.
    pub(crate) fn direct_response(
        &self,
        core: &mut CoreState<H>,
        form: DirectForm,
        width: Width,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        self.may_transition(core, form.response_transition())?;
        let own = self.caller_id(core);
        let Some(current) = &mut core.current else {
            return Err(FfaError::Denied);
        };
        let RuntimeModel::DirectRequest {
            origin, framework, ..
        } = current.activation.model()
        else {
            return Err(FfaError::Denied);
        };
        let call = current.context.registers_mut();
        let service = match form {
            DirectForm::One if call.w::<2>() != 0 => {
                framework::check_response(call, framework)?;
                0
            }
            DirectForm::One if framework.is_some() => return Err(FfaError::Denied),
            DirectForm::One => 0,
            DirectForm::Two => call.x::<2>() | call.x::<3>(),
        };
        if call.sender() != own || service != 0 {
            return Err(FfaError::InvalidParameters);
        }
        if call.receiver() != origin {
            return Err(FfaError::Denied);
        }
        Ok(self.finish(core, hw, |requester, extended, context| {
            deliver(
                requester,
                context.registers(),
                form.response(),
                form,
                width,
                extended,
            );
        }))
    }

    /// Whether the running context may make `call` in its runtime model; the normal world may make
    /// any.
    pub(crate) fn may_transition(
        &self,
        core: &CoreState<H>,
        call: Transition,
    ) -> Result<(), FfaError> {
        let Some(current) = &core.current else {
            return Ok(());
        };
        let activation = current.activation;
        // Who was entered while it awaited an answer awaits it again before anything else.
        let moves = !matches!(
            call,
            Transition::Run | Transition::Yield | Transition::Abort
        );
        if activation.model().permits(call) == Verdict::Denied || (activation.has_callee() && moves)
        {
            return Err(FfaError::Denied);
        }
        Ok(())
    }

    /// Whether `target` waits, directly or not, for the context that runs on `core` (C1, C2).
    pub(crate) fn is_ancestor(&self, core: &CoreState<H>, target: VcpuRef) -> bool {
        self.ancestors(core).any(|vcpu| vcpu == target)
    }

    /// The partition at the head of the chain that runs on `core`, and its context; `None` if that is
    /// the running one itself.
    pub(crate) fn initialising(
        &self,
        core: &CoreState<H>,
    ) -> Option<(&'static Partition<H>, VcpuRef)> {
        let head = self.ancestors(core).last()?;
        Some((self.partition(head)?, head))
    }

    /// The execution contexts that wait, directly or not, for the one that runs on `core`, the nearest
    /// first. They end because a chain holds each execution context once.
    pub(crate) fn ancestors(&self, core: &CoreState<H>) -> impl Iterator<Item = VcpuRef> {
        let first = core
            .current
            .as_ref()
            .map(|current| current.activation.initiator());
        self.chain(first)
    }

    /// `initiator`, if it is an execution context, and those that wait for it, directly or not.
    pub(crate) fn chain(&self, initiator: Option<Initiator>) -> impl Iterator<Item = VcpuRef> {
        core::iter::successors(initiator.and_then(requester), |vcpu| {
            let slot = self.partition(*vcpu)?.vcpus.get(vcpu.vcpu())?;
            requester(slot.inspect(blocked_initiator)?)
        })
    }
}

/// Whether the context awaits an answer or was preempted.
pub(crate) fn is_in_chain<H: Hardware>(slot: &Vcpu<H>) -> bool {
    matches!(slot.state(), StateName::Blocked | StateName::Preempted)
}

fn requester(initiator: Initiator) -> Option<VcpuRef> {
    match initiator {
        Initiator::Vcpu(vcpu) => Some(vcpu),
        _ => None,
    }
}

fn blocked_initiator<H: Hardware>(state: &VcpuState<H>) -> Option<Initiator> {
    match state {
        VcpuState::Blocked { activation, .. } => Some(activation.initiator()),
        _ => None,
    }
}

/// Writes a message into the registers of who gets it: what its version and the call's width carry,
/// and nothing else of the sender's (G19, A-22).
#[inline]
pub(crate) fn deliver(
    to: &mut Registers,
    from: &Registers,
    message: Function,
    form: DirectForm,
    width: Width,
    extended: Extended,
) {
    let ids = u64::from(from.w::<1>());
    match form {
        DirectForm::One => {
            // Zero, or which framework message it is.
            let flags = u64::from(from.w::<2>());
            to.reply(extended, [message.id(width), ids, flags, 0, 0, 0, 0, 0]);
            to.copy_direct_payload(from, width);
        }
        DirectForm::Two => {
            to.copy_direct2_payload(from);
            to.set_x::<0>(message.id(Width::W64));
            to.set_x::<1>(ids);
            // The UUID of a request; a response has zeros here.
            to.set_x::<2>(from.x::<2>());
            to.set_x::<3>(from.x::<3>());
        }
    }
}
