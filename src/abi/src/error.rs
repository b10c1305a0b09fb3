// SPDX-License-Identifier: MIT OR Apache-2.0
//! FF-A status codes.

/// The status code of an FFA_ERROR (w2), and of FFA_VERSION's refusal (w0).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(i32)]
pub enum FfaError {
    /// The call, feature or value is not implemented for this caller.
    NotSupported = -1,
    /// A parameter is wrong.
    InvalidParameters = -2,
    /// Memory or space in a buffer is short.
    NoMemory = -3,
    /// The target is busy; try again.
    Busy = -4,
    /// The operation was interrupted.
    Interrupted = -5,
    /// The caller is not allowed to, in its state.
    Denied = -6,
    /// Try again from the start.
    Retry = -7,
    /// The target, or the operation, was aborted.
    Aborted = -8,
    /// Nothing to report.
    NoData = -9,
    /// The target is not ready.
    NotReady = -10,
}

impl FfaError {
    /// The code as a register value: 32 bits, zero-extended (L2).
    pub fn to_register(self) -> u64 {
        u64::from(self.code().cast_unsigned())
    }

    /// The code as the specification prints it.
    pub const fn code(self) -> i32 {
        match self {
            Self::NotSupported => -1,
            Self::InvalidParameters => -2,
            Self::NoMemory => -3,
            Self::Busy => -4,
            Self::Interrupted => -5,
            Self::Denied => -6,
            Self::Retry => -7,
            Self::Aborted => -8,
            Self::NoData => -9,
            Self::NotReady => -10,
        }
    }

    /// The error with this code, as w2 of an FFA_ERROR carries it.
    pub const fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            -1 => Self::NotSupported,
            -2 => Self::InvalidParameters,
            -3 => Self::NoMemory,
            -4 => Self::Busy,
            -5 => Self::Interrupted,
            -6 => Self::Denied,
            -7 => Self::Retry,
            -8 => Self::Aborted,
            -9 => Self::NoData,
            -10 => Self::NotReady,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l2_codes_are_zero_extended_and_come_back() {
        for code in -10..=-1 {
            let error = FfaError::from_code(code).unwrap();
            assert_eq!(error.code(), code);
            assert_eq!(error.to_register(), u64::from(code as u32));
            assert_eq!(error.to_register() >> 32, 0);
        }
        assert_eq!(FfaError::from_code(0), None);
        assert_eq!(FfaError::from_code(-11), None);
    }
}
