// SPDX-License-Identifier: MIT OR Apache-2.0
//! ID registers by their encoding.

use bulkhead_core::hardware::SystemRegister;

use crate::sysreg;

macro_rules! id_space {
    ($register:ident: $($crm:literal)*) => {
        match ($register.crm, $register.op2) {
            $(
                ($crm, 0) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_0")),
                ($crm, 1) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_1")),
                ($crm, 2) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_2")),
                ($crm, 3) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_3")),
                ($crm, 4) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_4")),
                ($crm, 5) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_5")),
                ($crm, 6) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_6")),
                ($crm, 7) => sysreg::read!(concat!("S3_0_C0_C", $crm, "_7")),
            )*
            _ => 0,
        }
    };
}

/// The value of `register` if it is in the space of ID registers that HCR_EL2.TID3 covers (op0 = 3,
/// op1 = 0, CRn = 0, CRm from 1 to 7), of which the architecture reads what is not allocated as zero;
/// zero for all others.
pub fn read(register: SystemRegister) -> u64 {
    if (register.op0, register.op1, register.crn) != (3, 0, 0) {
        return 0;
    }
    id_space!(register: 1 2 3 4 5 6 7)
}
