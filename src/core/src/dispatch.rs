// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which call goes where: the table that the code and the README's coverage are made of.

use bulkhead_abi::function::{self, Call};
use bulkhead_abi::notification::{Binding, Set};
use bulkhead_abi::{FfaError, Function, Version, Width, psci, reserved};

use crate::declared::Errors;
use crate::event::{Action, Conduit};
use crate::hardware::Hardware;
use crate::partition::Health;
use crate::runtime_model::DirectForm;
use crate::share;
use crate::spmc::{CoreState, Spmc};
use crate::sync::atomic::Ordering;
use crate::version::NegotiatedVersion;

/// A call that Bulkhead serves.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which.
    pub function: Function,
    /// Who may make it.
    pub callers: Callers,
    /// The first version of the caller at which it is served.
    pub since: Version,
    /// What it can end with where it is served.
    pub errors: Errors,
    handler: Handler,
}

/// Who may make a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callers {
    /// The normal world and partitions.
    Both,
    /// The normal world only.
    NormalWorld,
    /// Partitions only.
    Partitions,
    /// Partitions with an execution context for each core only.
    MultiCore,
}

impl Row {
    /// Whether it is served to partitions at S-EL0 only: to others its handler says so (T25).
    pub const fn is_for_s_el0(&self) -> bool {
        matches!(self.function, Function::MemPermGet | Function::MemPermSet)
    }
}

#[derive(Clone, Copy, Debug)]
enum Handler {
    Request(DirectForm),
    Response(DirectForm),
    Run,
    MsgWait,
    Setup(Setup),
    Seldom(Seldom),
}

/// Handlers that do not send direct messages.
#[derive(Clone, Copy, Debug)]
enum Setup {
    Version,
    Features,
    RxRelease,
    RxAcquire,
    PartitionInfoGet,
    PartitionInfoGetRegs,
    IdGet,
    SpmIdGet,
    Error,
    Abort,
    MsgSend2,
    NotificationSet,
    NotificationGet,
    NotificationInfoGet,
    NotificationSet2,
    NotificationGet2,
    ConsoleLog,
    Yield,
}

/// Handlers of what is called when a system is set up, and of memory sharing, whose work is in tables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seldom {
    RxtxMap,
    RxtxUnmap,
    BitmapCreate,
    BitmapDestroy,
    NotificationBind,
    NotificationUnbind,
    NotificationBind2,
    NotificationUnbind2,
    NsResInfoGet,
    SecondaryEpRegister,
    MemSend(share::Kind),
    MemRetrieve,
    MemRelinquish,
    MemReclaim,
    MemFragRx,
    MemFragTx,
    MemPermGet,
    MemPermSet,
}

/// Makes [`CALLS`]: function, who may call it, from which version on, its handler, and the errors that it can
/// end with.
macro_rules! calls {
    ($($function:ident, $callers:ident, $since:ident, $handler:ident $(($which:expr))?, [$($error:ident)*];)*) => {
        /// Every call that Bulkhead serves. What is not here, not to this caller or not at its version,
        /// ends with NOT_SUPPORTED.
        ///
        /// FFA_CONSOLE_LOG is served to older callers too: existing partitions print with it.
        pub static CALLS: [Row; [$(Function::$function),*].len()] = [$(Row {
            function: Function::$function,
            callers: Callers::$callers,
            since: Version::$since,
            errors: Errors::of(&[$(FfaError::$error),*]),
            handler: Handler::$handler $(($which))?,
        }),*];
    };
}

calls! {
    Version, Both, V1_0, Setup(Setup::Version), [NotSupported];
    Features, Both, V1_0, Setup(Setup::Features), [NotSupported];
    IdGet, Both, V1_0, Setup(Setup::IdGet), [];
    SpmIdGet, Both, V1_1, Setup(Setup::SpmIdGet), [];
    RxtxMap, Both, V1_0, Seldom(Seldom::RxtxMap), [InvalidParameters NoMemory Denied Aborted];
    RxtxUnmap, Both, V1_0, Seldom(Seldom::RxtxUnmap), [InvalidParameters];
    RxRelease, Both, V1_0, Setup(Setup::RxRelease), [InvalidParameters Denied];
    RxAcquire, NormalWorld, V1_1, Setup(Setup::RxAcquire), [InvalidParameters Denied];
    PartitionInfoGet, Both, V1_0, Setup(Setup::PartitionInfoGet), [InvalidParameters NoMemory Busy Aborted];
    PartitionInfoGetRegs, Both, V1_2, Setup(Setup::PartitionInfoGetRegs), [InvalidParameters NoMemory Retry];
    MsgSendDirectReq, Both, V1_0, Request(DirectForm::One), [InvalidParameters Busy Denied Aborted];
    MsgSendDirectResp, Partitions, V1_0, Response(DirectForm::One), [InvalidParameters Denied];
    MsgSendDirectReq2, Both, V1_2, Request(DirectForm::Two), [NotSupported InvalidParameters Busy Denied Aborted];
    MsgSendDirectResp2, Partitions, V1_2, Response(DirectForm::Two), [InvalidParameters Denied];
    MsgSend2, Both, V1_1, Setup(Setup::MsgSend2), [InvalidParameters Busy Denied Aborted];
    Run, Both, V1_0, Run, [InvalidParameters Busy Denied Aborted];
    MsgWait, Partitions, V1_0, MsgWait, [InvalidParameters Denied];
    Error, Partitions, V1_0, Setup(Setup::Error), [Denied];
    Abort, Partitions, V1_3, Setup(Setup::Abort), [];
    NotificationBitmapCreate, NormalWorld, V1_1, Seldom(Seldom::BitmapCreate), [InvalidParameters NoMemory Denied];
    NotificationBitmapDestroy, NormalWorld, V1_1, Seldom(Seldom::BitmapDestroy), [InvalidParameters Denied];
    NotificationBind, Both, V1_1, Seldom(Seldom::NotificationBind), [InvalidParameters Denied];
    NotificationUnbind, Both, V1_1, Seldom(Seldom::NotificationUnbind), [InvalidParameters Denied];
    NotificationSet, Both, V1_1, Setup(Setup::NotificationSet), [InvalidParameters Denied];
    NotificationGet, Both, V1_1, Setup(Setup::NotificationGet), [InvalidParameters];
    NotificationInfoGet, NormalWorld, V1_1, Setup(Setup::NotificationInfoGet), [NoData];
    NotificationBind2, Both, V1_3, Seldom(Seldom::NotificationBind2), [InvalidParameters Denied];
    NotificationUnbind2, Both, V1_3, Seldom(Seldom::NotificationUnbind2), [InvalidParameters Denied];
    NotificationSet2, Both, V1_3, Setup(Setup::NotificationSet2), [InvalidParameters Denied];
    NotificationGet2, Both, V1_3, Setup(Setup::NotificationGet2), [InvalidParameters];
    NsResInfoGet, NormalWorld, V1_3, Seldom(Seldom::NsResInfoGet), [InvalidParameters Retry Aborted];
    SecondaryEpRegister, MultiCore, V1_1, Seldom(Seldom::SecondaryEpRegister), [InvalidParameters Denied];
    ConsoleLog, Partitions, V1_0, Setup(Setup::ConsoleLog), [InvalidParameters];
    Yield, Partitions, V1_0, Setup(Setup::Yield), [InvalidParameters Denied];
    MemDonate, Both, V1_0, Seldom(Seldom::MemSend(share::Kind::Donate)), [InvalidParameters NoMemory Denied Aborted];
    MemLend, Both, V1_0, Seldom(Seldom::MemSend(share::Kind::Lend)), [InvalidParameters NoMemory Denied Aborted];
    MemShare, Both, V1_0, Seldom(Seldom::MemSend(share::Kind::Share)), [InvalidParameters NoMemory Denied Aborted];
    MemRetrieveReq, Both, V1_0, Seldom(Seldom::MemRetrieve), [InvalidParameters NoMemory Busy Denied Aborted];
    MemRelinquish, Both, V1_0, Seldom(Seldom::MemRelinquish), [InvalidParameters Denied Aborted];
    MemReclaim, Both, V1_0, Seldom(Seldom::MemReclaim), [InvalidParameters Denied Aborted];
    MemFragRx, Both, V1_0, Seldom(Seldom::MemFragRx), [InvalidParameters Busy Aborted];
    MemFragTx, Both, V1_0, Seldom(Seldom::MemFragTx), [InvalidParameters NoMemory Denied Aborted];
    MemPermGet, Partitions, V1_1, Seldom(Seldom::MemPermGet), [NotSupported InvalidParameters Denied];
    MemPermSet, Partitions, V1_1, Seldom(Seldom::MemPermSet), [NotSupported InvalidParameters NoMemory Denied];
}

/// Position in [`CALLS`] by bits 7:0 of the function id.
static BY_NUMBER: [Option<u8>; 256] = {
    let mut index = [None; 256];
    let mut position = 0u8;
    let mut rest: &[Row] = &CALLS;
    while let [first, tail @ ..] = rest {
        let mut slots: &mut [Option<u8>] = &mut index;
        let mut skip = first.function.row().number;
        while let [slot, after @ ..] = slots {
            if skip == 0 {
                *slot = Some(position);
                break;
            }
            skip = skip.saturating_sub(1);
            slots = after;
        }
        position = position.saturating_add(1);
        rest = tail;
    }
    index
};

/// The row of `function`, if Bulkhead serves it to `caller` at `version`.
pub fn find(function: Function, caller: Instance, version: Version) -> Option<&'static Row> {
    let position = (*BY_NUMBER.get(usize::from(function.number()))?)?;
    let row = CALLS.get(usize::from(position))?;
    let served = version >= row.since
        && matches!(
            (row.callers, caller),
            (Callers::Both, _)
                | (Callers::NormalWorld, Instance::NormalWorld)
                | (
                    Callers::Partitions,
                    Instance::SingleCore | Instance::MultiCore
                )
                | (Callers::MultiCore, Instance::MultiCore)
        );
    served.then_some(row)
}

/// Where a call comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instance {
    /// The non-secure physical instance, relayed by the SPMD.
    NormalWorld,
    /// The secure virtual instance, a partition with one execution context.
    SingleCore,
    /// The secure virtual instance, a partition with an execution context for each core.
    MultiCore,
}

impl<H: Hardware> Spmc<H> {
    /// Where the call on `core` comes from, and the version that its caller speaks.
    #[inline]
    pub(crate) fn endpoint(&self, core: &CoreState<H>) -> (Instance, &NegotiatedVersion) {
        match self.running_partition(core) {
            None => (Instance::NormalWorld, &self.normal_world.version),
            Some(partition) if partition.is_multi_core() => {
                (Instance::MultiCore, &partition.version)
            }
            Some(partition) => (Instance::SingleCore, &partition.version),
        }
    }

    /// A call of the running partition.
    pub(crate) fn partition_call(
        &self,
        core: &mut CoreState<H>,
        conduit: Conduit,
        hw: &mut H,
    ) -> Action {
        if self
            .running_partition(core)
            .is_some_and(|p| p.health() == Health::Aborted)
        {
            // Another core ended the partition while this one ran it.
            return self.abort_running(core, hw, format_args!("its partition was aborted"));
        }
        match function::decode(core.caller().x::<0>()) {
            Call::Other(id) => self.other_call(core, id, conduit, hw),
            call => self.call(core, call, hw),
        }
    }

    /// A call in the FF-A range, or any call of the normal world.
    #[inline]
    pub(crate) fn call(&self, core: &mut CoreState<H>, call: Call, hw: &mut H) -> Action {
        let outcome = match call {
            Call::Ffa(function, width) => {
                let (instance, negotiated) = self.endpoint(core);
                // Before anything depends on it: another core may be negotiating (V8).
                let version = match function {
                    Function::Version => negotiated.get(),
                    _ => negotiated.settle(),
                };
                match find(function, instance, version) {
                    Some(row) => (self.serve(core, row, width, version, hw))
                        .inspect_err(|error| row.ends_with(*error)),
                    None => Err(FfaError::NotSupported),
                }
            }
            Call::UnknownFfa(_) => Err(FfaError::NotSupported),
            Call::Other(_) => {
                core.caller().smccc_not_supported();
                return core.resume();
            }
        };
        outcome.unwrap_or_else(|error| self.refuse(core, error))
    }

    /// Messages and scheduling come first, since they are made most often.
    fn serve(
        &self,
        core: &mut CoreState<H>,
        row: &Row,
        width: Width,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        match row.handler {
            Handler::Request(form) => self.direct_request(core, form, width, hw),
            Handler::Response(form) => self.direct_response(core, form, width, hw),
            Handler::Run => self.ffa_run(core, hw),
            Handler::MsgWait => self.msg_wait(core, version, hw),
            Handler::Setup(handler) => {
                self.serve_setup(core, row.function, handler, width, version, hw)
            }
            Handler::Seldom(handler) => {
                (self.seldom)(self, core, row.function, handler, width, version, hw)
            }
        }
    }

    /// Setup and discovery, out of line: their frames would cost a message, too.
    #[inline(never)]
    fn serve_setup(
        &self,
        core: &mut CoreState<H>,
        function: Function,
        handler: Setup,
        width: Width,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        reserved::check(function, width, version, core.caller())?;
        match handler {
            Setup::Error => self.partition_error(core, hw),
            Setup::Abort => self.partition_abort(core, width, hw),
            Setup::ConsoleLog => self.console_log(core, width, hw),
            Setup::Version => Ok(self.ffa_version(core)),
            Setup::Features => self.features(core, hw),
            Setup::RxRelease => self.rx_release(core),
            Setup::RxAcquire => self.rx_acquire(core),
            Setup::PartitionInfoGet => self.partition_info_get(core, hw),
            Setup::PartitionInfoGetRegs => self.partition_info_get_regs(core),
            Setup::IdGet => self.id_get(core),
            Setup::SpmIdGet => self.spm_id_get(core),
            Setup::MsgSend2 => self.msg_send2(core, version, hw),
            Setup::NotificationSet => {
                let set = Set::decode(core.caller())?;
                self.notification_set(core, set, hw)
            }
            Setup::NotificationSet2 => {
                let set = Set::decode2(core.caller())?;
                self.notification_set(core, set, hw)
            }
            Setup::NotificationGet => self.notification_get(core),
            Setup::NotificationGet2 => self.notification_get2(core),
            Setup::NotificationInfoGet => self.notification_info_get(core, width),
            Setup::Yield => self.partition_yield(core, hw),
        }
    }

    /// Reached by a pointer in [`Spmc`], which is taken where that is made: the crate that boots compiles this, for
    /// its size, and not the one that enters partitions.
    pub(crate) fn serve_seldom(
        &self,
        core: &mut CoreState<H>,
        function: Function,
        handler: Seldom,
        width: Width,
        version: Version,
        hw: &mut H,
    ) -> Result<Action, FfaError> {
        reserved::check(function, width, version, core.caller())?;
        match handler {
            Seldom::RxtxMap => self.rxtx_map(core, width, hw),
            Seldom::RxtxUnmap => self.rxtx_unmap(core, hw),
            Seldom::BitmapCreate => self.bitmap_create(core),
            Seldom::BitmapDestroy => self.bitmap_destroy(core),
            Seldom::NotificationBind => {
                let binding = Binding::bind(core.caller())?;
                self.notification_bind(core, binding)
            }
            Seldom::NotificationBind2 => {
                let binding = Binding::bind2(core.caller())?;
                self.notification_bind(core, binding)
            }
            Seldom::NotificationUnbind => {
                let binding = Binding::unbind(core.caller())?;
                self.notification_unbind(core, binding)
            }
            Seldom::NotificationUnbind2 => {
                let binding = Binding::unbind2(core.caller())?;
                self.notification_unbind(core, binding)
            }
            Seldom::NsResInfoGet => self.ns_res_info_get(core, hw),
            Seldom::SecondaryEpRegister => self.secondary_ep_register(core),
            Seldom::MemSend(kind) => self.mem_send(core, kind, width, version, hw),
            Seldom::MemRetrieve => self.mem_retrieve(core, version, hw),
            Seldom::MemRelinquish => self.mem_relinquish(core, hw),
            Seldom::MemReclaim => self.mem_reclaim(core, hw),
            Seldom::MemFragRx => self.mem_frag_rx(core, hw),
            Seldom::MemFragTx => self.mem_frag_tx(core, hw),
            Seldom::MemPermGet => self.mem_perm_get(core, width, version, hw),
            Seldom::MemPermSet => self.mem_perm_set(core, width, hw),
        }
    }

    /// A call of a partition that is not FF-A: paravirtual, or an SMC that only its manifest can
    /// allow (D-15, D-16).
    fn other_call(&self, core: &mut CoreState<H>, id: u32, conduit: Conduit, hw: &mut H) -> Action {
        if let Some(action) = self.paravirtual_call(core, id, hw) {
            return action;
        }
        if let (Some(partition), Conduit::Smc) = (self.running_partition(core), conduit) {
            let config = &partition.config;
            let listed = config.smc_allow_list.contains(&id);
            if listed || (config.smc_permissive && !psci::is_psci(id)) {
                hw.forward_smc(core.caller());
                return core.resume();
            }
            if !partition.warned_smc.swap(true, Ordering::Relaxed) {
                log::warn!(
                    "{}: SMC {id:#010x} is not allowed: if it must be, name it in smc_whitelist of \
                     its vm node in the SPMC manifest",
                    config.name
                );
            }
        }
        core.caller().smccc_not_supported();
        core.resume()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_function() {
        for row in &CALLS {
            let instance = match row.callers {
                Callers::NormalWorld => Instance::NormalWorld,
                _ => Instance::MultiCore,
            };
            let found = find(row.function, instance, Version::OURS).unwrap();
            assert_eq!(found.function, row.function);
        }
    }

    #[test]
    fn a_call_is_served_only_where_its_row_says() {
        let version = Version::OURS;
        assert!(find(Function::MsgWait, Instance::NormalWorld, version).is_none());
        assert!(find(Function::SpmIdGet, Instance::SingleCore, Version::V1_0).is_none());
        assert!(find(Function::MsgSend, Instance::SingleCore, version).is_none());
    }
}
