// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framework messages: direct messages between SPMD, SPMC and partitions with bit 31 of w2 set
//!

use crate::function::{Function, Width};
use crate::psci::Status;
use crate::{EndpointId, FfaError, Registers, Version};

/// Bit 31 of w2: a framework message rather than a partition message.
pub const FRAMEWORK: u32 = 1 << 31;

/// A framework message, by its number in bits 7:0 of w2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// 0: a PSCI call that EL3 is about to carry out; w3 (x3) function id, w4–w6 its arguments
    ///
    PsciRequest,
    /// 1: a core comes back from a low-power state; w3 the kind of warm boot.
    WarmBoot,
    /// 2: the answer to either; w3 a PSCI status.
    PowerResponse,
    /// 4: a VM was created; w3, w4 a memory handle, w5 bits 15:0 the VM's id.
    VmCreatedRequest,
    /// 5: the answer; w3 an FF-A status.
    VmCreatedResponse,
    /// 6: a VM was destroyed; as 4.
    VmDestroyedRequest,
    /// 7: the answer; w3 an FF-A status.
    VmDestroyedResponse,
    /// 8: FFA_VERSION of the normal world, relayed by the SPMD; w3 the requested version.
    VersionRequest,
    /// 9: the answer; w3 what FFA_VERSION returns.
    VersionResponse,
    /// 10: a partition shall stop; w3 the reason, 1 for live activation.
    PartitionStopRequest,
    /// 11: the answer.
    PartitionStopResponse,
    /// 12: live activation starts.
    LiveActivationStartRequest,
    /// 13: the answer.
    LiveActivationStartResponse,
    /// 14: live activation finishes.
    LiveActivationFinishRequest,
    /// 15: the answer.
    LiveActivationFinishResponse,
}

impl Message {
    /// Every message.
    pub const ALL: [Self; 15] = [
        Self::PsciRequest,
        Self::WarmBoot,
        Self::PowerResponse,
        Self::VmCreatedRequest,
        Self::VmCreatedResponse,
        Self::VmDestroyedRequest,
        Self::VmDestroyedResponse,
        Self::VersionRequest,
        Self::VersionResponse,
        Self::PartitionStopRequest,
        Self::PartitionStopResponse,
        Self::LiveActivationStartRequest,
        Self::LiveActivationStartResponse,
        Self::LiveActivationFinishRequest,
        Self::LiveActivationFinishResponse,
    ];

    /// The number in bits 7:0 of w2.
    pub const fn number(self) -> u8 {
        match self {
            Self::PsciRequest => 0,
            Self::WarmBoot => 1,
            Self::PowerResponse => 2,
            Self::VmCreatedRequest => 4,
            Self::VmCreatedResponse => 5,
            Self::VmDestroyedRequest => 6,
            Self::VmDestroyedResponse => 7,
            Self::VersionRequest => 8,
            Self::VersionResponse => 9,
            Self::PartitionStopRequest => 10,
            Self::PartitionStopResponse => 11,
            Self::LiveActivationStartRequest => 12,
            Self::LiveActivationStartResponse => 13,
            Self::LiveActivationFinishRequest => 14,
            Self::LiveActivationFinishResponse => 15,
        }
    }

    /// w2 of the message.
    pub fn word(self) -> u32 {
        FRAMEWORK | u32::from(self.number())
    }

    /// The message that answers this one; `None` when this one is an answer itself.
    pub const fn response(self) -> Option<Self> {
        match self {
            Self::PsciRequest | Self::WarmBoot => Some(Self::PowerResponse),
            Self::VmCreatedRequest => Some(Self::VmCreatedResponse),
            Self::VmDestroyedRequest => Some(Self::VmDestroyedResponse),
            Self::VersionRequest => Some(Self::VersionResponse),
            Self::PartitionStopRequest => Some(Self::PartitionStopResponse),
            Self::LiveActivationStartRequest => Some(Self::LiveActivationStartResponse),
            Self::LiveActivationFinishRequest => Some(Self::LiveActivationFinishResponse),
            Self::PowerResponse
            | Self::VmCreatedResponse
            | Self::VmDestroyedResponse
            | Self::VersionResponse
            | Self::PartitionStopResponse
            | Self::LiveActivationStartResponse
            | Self::LiveActivationFinishResponse => None,
        }
    }

    /// The direct message that carries it, in the 32-bit form.
    pub const fn function(self) -> Function {
        match self.response() {
            Some(_) => Function::MsgSendDirectReq,
            None => Function::MsgSendDirectResp,
        }
    }

    /// The message with this number.
    pub fn by_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|message| message.number() == number)
    }

    /// x0–x7 of the message in its 32-bit form, with w3–w7 as given.
    pub fn encode(self, from: EndpointId, to: EndpointId, w3_w7: [u32; 5]) -> [u64; 8] {
        let [w3, w4, w5, w6, w7] = w3_w7.map(u64::from);
        let id = self.function().id(Width::W32);
        [
            id,
            EndpointId::pair(from, to),
            u64::from(self.word()),
            w3,
            w4,
            w5,
            w6,
            w7,
        ]
    }
}

/// What w2 of a direct message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flags {
    /// A partition message: w2 is zero.
    Partition,
    /// A framework message.
    Framework(Message),
}

impl Flags {
    /// Decodes w2.
    ///
    /// # Errors
    /// INVALID_PARAMETERS for an unknown framework message and for reserved bits (G8).
    #[inline]
    pub fn decode(w2: u32) -> Result<Self, FfaError> {
        if w2 == 0 {
            return Ok(Self::Partition);
        }
        let [number, rest @ ..] = w2.to_le_bytes();
        match (rest, Message::by_number(number)) {
            ([0, 0, 0x80], Some(message)) => Ok(Self::Framework(message)),
            _ => Err(FfaError::InvalidParameters),
        }
    }
}

/// Message 8: asks the SPMC to negotiate for the normal world. `version` is w1 of the
/// FFA_VERSION call, unchecked.
pub fn version_request(from: EndpointId, to: EndpointId, version: u32) -> [u64; 8] {
    Message::VersionRequest.encode(from, to, [version, 0, 0, 0, 0])
}

/// Message 9: what FFA_VERSION shall return to the normal world.
pub fn version_response(
    from: EndpointId,
    to: EndpointId,
    result: Result<Version, FfaError>,
) -> [u64; 8] {
    let word = match result {
        Ok(version) => version.to_word(),
        Err(error) => error.code().cast_unsigned(),
    };
    Message::VersionResponse.encode(from, to, [word, 0, 0, 0, 0])
}

/// The requested version of a message 8, for
/// [`Negotiation::of`](crate::version::Negotiation::of).
pub fn requested_version(registers: &Registers) -> u32 {
    registers.w::<3>()
}

/// The answer in a message 9: a version, or `None` for a refusal.
pub fn answered_version(registers: &Registers) -> Option<Version> {
    Version::from_word(registers.w::<3>())
}

/// A message 0, what EL3 is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PsciRequest {
    /// The PSCI function id, for [`psci::decode`](crate::psci::decode). w3.
    pub function: u32,
    /// Its three arguments. x4–x6.
    pub arguments: [u64; 3],
}

impl PsciRequest {
    /// Reads a message 0 that came by a direct message of this width.
    pub fn decode(registers: &Registers, width: Width) -> Self {
        Self {
            function: registers.w::<3>(),
            arguments: [
                registers.arg::<4>(width),
                registers.arg::<5>(width),
                registers.arg::<6>(width),
            ],
        }
    }
}

/// Message 0 in its 32-bit form, as the SPMC sends it on to a partition.
pub fn psci_request(from: EndpointId, to: EndpointId, function: u32, args: [u32; 3]) -> [u64; 8] {
    let [w4, w5, w6] = args;
    Message::PsciRequest.encode(from, to, [function, w4, w5, w6, 0])
}

/// Message 2: the answer to a PSCI request or a warm boot. To the SPMD it is always
/// [`Status::Success`] (DECISIONS 22).
pub fn power_response(from: EndpointId, to: EndpointId, status: Status) -> [u64; 8] {
    Message::PowerResponse.encode(from, to, [status.code().cast_unsigned(), 0, 0, 0, 0])
}

/// The status in w3 of a message 2, 5, 7 or a later answer.
pub fn answered_status(registers: &Registers) -> i32 {
    registers.w::<3>().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psci::Psci;

    const SPMC: EndpointId = EndpointId(0x8000);

    fn registers(low: [u64; 8]) -> Registers {
        let mut registers = Registers::ZERO;
        registers.x[..8].copy_from_slice(&low);
        registers
    }

    #[test]
    fn a24_every_number_decodes_to_its_message() {
        for message in Message::ALL {
            assert_eq!(Flags::decode(message.word()), Ok(Flags::Framework(message)));
        }
        assert_eq!(Flags::decode(0), Ok(Flags::Partition));
    }

    #[test]
    fn a24_unknown_numbers_are_invalid() {
        for number in [3, 16, 0x1f, 0xff] {
            assert_eq!(
                Flags::decode(FRAMEWORK | number),
                Err(FfaError::InvalidParameters)
            );
        }
    }

    #[test]
    fn g8_reserved_bits_are_invalid() {
        for w2 in [1, 8, 0x100, 0x8000_0108, 0xc000_0008, 0x4000_0000] {
            assert_eq!(
                Flags::decode(w2),
                Err(FfaError::InvalidParameters),
                "{w2:#x}"
            );
        }
    }

    #[test]
    fn a24_requests_and_responses_go_by_their_own_function() {
        for message in Message::ALL {
            match message.response() {
                Some(response) => {
                    assert_eq!(message.function(), Function::MsgSendDirectReq);
                    assert_eq!(response.function(), Function::MsgSendDirectResp);
                    assert_eq!(response.response(), None);
                }
                None => assert_eq!(message.function(), Function::MsgSendDirectResp),
            }
        }
    }

    #[test]
    fn a02_version_messages_are_those_of_tf_a() {
        let request = version_request(EndpointId::SPMD, SPMC, 0x0001_0002);
        assert_eq!(
            request,
            [
                0x8400_006f,
                0xffff_8000,
                0x8000_0008,
                0x0001_0002,
                0,
                0,
                0,
                0
            ]
        );
        assert_eq!(requested_version(&registers(request)), 0x0001_0002);

        let response = version_response(SPMC, EndpointId::SPMD, Ok(Version::V1_3));
        assert_eq!(
            response,
            [
                0x8400_0070,
                0x8000_ffff,
                0x8000_0009,
                0x0001_0003,
                0,
                0,
                0,
                0
            ]
        );
        assert_eq!(answered_version(&registers(response)), Some(Version::V1_3));

        let refusal = version_response(SPMC, EndpointId::SPMD, Err(FfaError::NotSupported));
        assert_eq!(refusal[3], 0xffff_ffff);
        assert_eq!(answered_version(&registers(refusal)), None);
    }

    #[test]
    fn a83_power_messages_are_those_of_tf_a() {
        let off = Psci::CpuOff.id(Width::W32);
        let request = psci_request(EndpointId::SPMD, SPMC, off, [0; 3]);
        assert_eq!(
            request,
            [
                0x8400_006f,
                0xffff_8000,
                0x8000_0000,
                0x8400_0002,
                0,
                0,
                0,
                0
            ]
        );
        let decoded = PsciRequest::decode(&registers(request), Width::W32);
        assert_eq!(
            decoded,
            PsciRequest {
                function: off,
                arguments: [0; 3]
            }
        );

        let response = power_response(SPMC, EndpointId::SPMD, Status::Denied);
        assert_eq!(
            response,
            [
                0x8400_0070,
                0x8000_ffff,
                0x8000_0002,
                0xffff_fffd,
                0,
                0,
                0,
                0
            ]
        );
        assert_eq!(answered_status(&registers(response)), Status::Denied.code());
    }

    #[test]
    fn g19_psci_arguments_of_a_32_bit_message_lose_their_upper_halves() {
        let mut message = registers([0, 0, 0, 0x8400_0001, u64::MAX, u64::MAX, u64::MAX, 0]);
        let request = PsciRequest::decode(&message, Width::W32);
        assert_eq!(request.arguments, [0xffff_ffff; 3]);
        message.x[3] = 0xdead_0000_c400_0001;
        let request = PsciRequest::decode(&message, Width::W64);
        assert_eq!(
            request,
            PsciRequest {
                function: 0xc400_0001,
                arguments: [u64::MAX; 3]
            }
        );
    }
}
