// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a partition may not do ends the partition, and nothing else.

use core::fmt;

use bulkhead_mm::attrs::Space;

use crate::event::{Action, Direction, Fault, FaultKind};
use crate::hardware::Hardware;
use crate::spmc::{CoreState, Spmc};

impl<H: Hardware> Spmc<H> {
    /// The running partition faulted at S-EL2 (K1).
    pub(crate) fn fault(&self, core: &mut CoreState<H>, fault: Fault, hw: &mut H) -> Action {
        self.abort_running(core, hw, format_args!("{fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, syndrome) = (self.address, self.syndrome);
        match self.kind {
            FaultKind::Data {
                ipa,
                space,
                direction,
            } => {
                let verb = match direction {
                    Direction::Read => "read from",
                    Direction::Write => "write to",
                };
                write!(
                    f,
                    "{verb} {} IPA {ipa:#x}, which its manifest does not give it",
                    Name(space)
                )?;
            }
            FaultKind::Instruction { ipa, space } => {
                let space = Name(space);
                write!(
                    f,
                    "instruction fetch from {space} IPA {ipa:#x}, which its manifest does not let it execute"
                )?;
            }
            FaultKind::External => f.write_str("external abort")?,
            FaultKind::SError => f.write_str("SError")?,
            FaultKind::Exception => f.write_str("an exception that no partition may cause")?,
        }
        write!(f, " (address {address:#x}, ESR_EL2 {syndrome:#x})")
    }
}

struct Name(Space);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Space::Secure => "secure",
            Space::NonSecure => "non-secure",
        })
    }
}
