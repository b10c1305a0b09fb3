// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the SPMD hands to S-EL2: calls of the normal world, and what it says itself.

use bulkhead_abi::framework::{self, Flags, Message};
use bulkhead_abi::function::{self, Call};
use bulkhead_abi::psci::Status;
use bulkhead_abi::registers::Extended;
use bulkhead_abi::{EndpointId, FfaError, Function, Width};

use crate::event::Action;
use crate::hardware::Hardware;
use crate::spmc::{CoreState, Spmc};

impl<H: Hardware> Spmc<H> {
    /// The SPMD returned to S-EL2.
    pub(crate) fn spmd(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let registers = &core.normal_world;
        let call = function::decode(registers.x::<0>());
        if let Call::Ffa(Function::MsgSendDirectReq, width) = call
            && registers.sender().is_secure()
            && let Some(action) = self.request_of_el3(core, width, hw)
        {
            return action;
        }
        match call {
            Call::Ffa(Function::Interrupt, _) => self.interrupted_normal_world(core, hw),
            call => self.call(core, call, hw),
        }
    }

    /// A direct request of EL3 itself: of the SPMD, or of one of its logical partitions. The SPMD refuses
    /// such senders to the normal world. `None` for any other sender.
    #[inline(never)]
    fn request_of_el3(&self, core: &mut CoreState<H>, width: Width, hw: &mut H) -> Option<Action> {
        match core.normal_world.sender() {
            EndpointId::SPMD => Some(self.framework_message(core, hw)),
            sender if self.is_logical(sender) => Some(self.logical_request(core, width, hw)),
            _ => None,
        }
    }

    /// A secure interrupt fired while the normal world ran (C-02). It ends in
    /// FFA_NORMAL_WORLD_RESUME in every case (DECISIONS 23), after whoever has to handle it has done so.
    fn interrupted_normal_world(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        self.take_all(core, hw);
        let resume = Function::NormalWorldResume.id(Width::W32);
        core.normal_world
            .reply(Extended::Clear, [resume, 0, 0, 0, 0, 0, 0, 0]);
        self.leave(core, hw)
    }

    /// A framework message of the SPMD.
    fn framework_message(&self, core: &mut CoreState<H>, hw: &mut H) -> Action {
        let call = &core.normal_world;
        let (own, spmd) = (self.id, EndpointId::SPMD);
        let answer = match Flags::decode(call.w::<2>()) {
            Ok(Flags::Framework(Message::VersionRequest)) => {
                let wanted = framework::requested_version(call);
                framework::version_response(own, spmd, self.normal_world.version.negotiate(wanted))
            }
            Ok(Flags::Framework(Message::PsciRequest)) => {
                self.core_off(core, hw);
                hw.prepare_off();
                // EL3 stops at a refusal (DECISIONS 22).
                framework::power_response(own, spmd, Status::Success)
            }
            other => {
                log::warn!("the SPMD sent a message that is not known: {other:?}");
                core.normal_world
                    .ffa_error(Extended::Preserve, FfaError::InvalidParameters);
                return Action::Smc;
            }
        };
        // x8 to x17 are the normal world's: EL3 hands them in and takes them back.
        core.normal_world.reply(Extended::Preserve, answer);
        Action::Smc
    }
}
