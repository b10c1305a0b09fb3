// SPDX-License-Identifier: MIT OR Apache-2.0
//! Setup: versions, features, ids and entry points.

use bulkhead_abi::World;
use bulkhead_abi::features::{self, BufferGranule, Feature, Query};
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{FfaError, Function, Version, paravirt};

use crate::dispatch::{self, Instance};
use crate::event::Action;
use crate::hardware::Hardware;
use crate::mailbox::MAX_PAGES;
use crate::partition::{Health, Level};
use crate::runtime_model::RuntimeModel;
use crate::spmc::{CoreState, Spmc};
use crate::vcpu::NonSecureInterrupts;

impl<H: Hardware> Spmc<H> {
    /// FFA_VERSION: the answer is a version or an error code in w0.
    pub(crate) fn ffa_version(&self, core: &mut CoreState<H>) -> Action {
        let wanted = core.caller().w::<1>();
        let negotiation = match self.running_partition(core) {
            Some(partition) => &partition.version,
            None => &self.normal_world.version,
        };
        let result = match negotiation.negotiate(wanted) {
            Ok(version) => u64::from(version.to_word()),
            Err(error) => error.to_register(),
        };
        let extended = self.extended_rule(core);
        core.caller().reply(extended, [result, 0, 0, 0, 0, 0, 0, 0]);
        core.resume()
    }

    /// FFA_FEATURES: any id that is not known to this caller is NOT_SUPPORTED (A-03, V11).
    pub(crate) fn features(&self, core: &mut CoreState<H>, hw: &H) -> Result<Action, FfaError> {
        let (instance, negotiated) = self.endpoint(core);
        let version = negotiated.get();
        let call = core.caller();
        let (id, input) = (call.w::<1>(), call.w::<2>());
        let function = match Query::decode(id) {
            Query::Function(function, _) => function,
            Query::Feature(feature) if input == 0 => {
                let value = self.feature(core, feature, version, hw);
                let value = value.ok_or(FfaError::NotSupported)?;
                return Ok(self.succeed(core, [u64::from(value), 0, 0, 0, 0, 0]));
            }
            _ => return Err(FfaError::NotSupported),
        };
        let row = dispatch::find(function, instance, version);
        let level = (self.running_partition(core)).map_or(Level::SEl1, |own| own.config.level);
        let answers = row.is_some_and(|row| !row.is_for_s_el0() || level == Level::SEl0)
            || matches!(
                function,
                Function::Success | Function::Error | Function::Interrupt
            );
        // Whoever retrieves may say that it understands the NS bit.
        let input_is_known = input == 0 || function == Function::MemRetrieveReq;
        if !answers || (!input_is_known && version >= Version::V1_1) {
            return Err(FfaError::NotSupported);
        }
        let properties = match function {
            Function::RxtxMap => {
                let maximum = if version >= Version::V1_2 {
                    MAX_PAGES
                } else {
                    0
                };
                features::rxtx_map_properties(BufferGranule::Size4K, maximum)
            }
            Function::MemDonate | Function::MemLend | Function::MemShare => {
                features::MEM_DYNAMIC_BUFFER
            }
            Function::MemRetrieveReq if instance == Instance::NormalWorld => {
                features::MEM_RETRIEVE_NS_BIT | features::MEM_RETRIEVE_HYPERVISOR
            }
            Function::MemRetrieveReq => features::MEM_RETRIEVE_NS_BIT,
            _ => 0,
        };
        Ok(self.succeed(core, [u64::from(properties), 0, 0, 0, 0, 0]))
    }

    /// w2 of FFA_FEATURES for a feature id, to callers that have the feature.
    fn feature(
        &self,
        core: &CoreState<H>,
        feature: Feature,
        version: Version,
        hw: &H,
    ) -> Option<u32> {
        let receives = Properties::NOTIFICATIONS;
        match (feature, self.running_partition(core)) {
            _ if version < Version::V1_1 => None,
            (Feature::NotificationPendingInterrupt, Some(own)) => (own.config.level == Level::SEl1
                && own.config.properties.contains(receives))
            .then(|| own.virtual_number(paravirt::INTID_NOTIFICATION_PENDING)),
            (Feature::ManagedExitInterrupt, Some(own)) => (own.config.non_secure_interrupts
                == NonSecureInterrupts::ManagedExit)
                .then(|| own.virtual_number(paravirt::INTID_MANAGED_EXIT)),
            (Feature::ScheduleReceiverInterrupt, None) => hw.schedule_receiver_interrupt(),
            (Feature::Notifications, caller) if version >= Version::V1_3 => {
                let world = caller.map_or(World::Normal, |_| World::Secure);
                Some(features::notification_properties(world))
            }
            _ => None,
        }
    }

    /// FFA_ID_GET.
    pub(crate) fn id_get(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let id = u64::from(self.caller_id(core).0);
        Ok(self.succeed(core, [id, 0, 0, 0, 0, 0]))
    }

    /// FFA_SPM_ID_GET: the SPMC serves both instances.
    pub(crate) fn spm_id_get(&self, core: &mut CoreState<H>) -> Result<Action, FfaError> {
        let id = u64::from(self.id.0);
        Ok(self.succeed(core, [id, 0, 0, 0, 0, 0]))
    }

    /// FFA_SECONDARY_EP_REGISTER from a multi-core partition that initialises (A-81, D13).
    pub(crate) fn secondary_ep_register(
        &self,
        core: &mut CoreState<H>,
    ) -> Result<Action, FfaError> {
        let partition = self.running_partition(core).ok_or(FfaError::Denied)?;
        let model = core
            .current
            .as_ref()
            .map(|current| current.activation.model());
        if model != Some(RuntimeModel::Init) || partition.health() != Health::Starting {
            return Err(FfaError::Denied);
        }
        let entry = core.caller().x::<1>();
        if !partition.may_enter_at(entry) {
            return Err(FfaError::InvalidParameters);
        }
        partition.set_secondary_entry(entry);
        Ok(self.succeed(core, [0; 6]))
    }
}
