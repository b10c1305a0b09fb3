// SPDX-License-Identifier: MIT OR Apache-2.0
//! FFA_FEATURES: what is asked, and the property words of the answers.

use crate::World;
use crate::function::{self, Call, Function, Width};
use crate::notification::Bitmap;

/// Bit 31 of w1: the word is a function id rather than a feature id.
const FUNCTION: u32 = 1 << 31;

/// A feature id (A.1: 1 to 4), which has bit 31 clear and bits 30:8 zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Feature {
    /// 1: the notification pending interrupt; answered with its virtual INTID in w2.
    NotificationPendingInterrupt,
    /// 2: the schedule receiver interrupt; answered with its physical INTID in w2.
    ScheduleReceiverInterrupt,
    /// 3: the managed exit interrupt; answered with its virtual INTID in w2.
    ManagedExitInterrupt,
    /// 4, from 1.3: how far notifications are supported.
    Notifications,
}

impl Feature {
    /// The feature id.
    pub const fn id(self) -> u32 {
        match self {
            Self::NotificationPendingInterrupt => 1,
            Self::ScheduleReceiverInterrupt => 2,
            Self::ManagedExitInterrupt => 3,
            Self::Notifications => 4,
        }
    }
}

/// What FFA_FEATURES asks about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Query {
    /// A function of the table in a width that it has.
    Function(Function, Width),
    /// A feature.
    Feature(Feature),
    /// Neither: NOT_SUPPORTED, never INVALID_PARAMETERS (V11).
    Unknown,
}

impl Query {
    /// Decodes w1.
    pub fn decode(w1: u32) -> Self {
        match w1 {
            1 => Self::Feature(Feature::NotificationPendingInterrupt),
            2 => Self::Feature(Feature::ScheduleReceiverInterrupt),
            3 => Self::Feature(Feature::ManagedExitInterrupt),
            4 => Self::Feature(Feature::Notifications),
            _ if w1 & FUNCTION == 0 => Self::Unknown,
            _ => match function::decode(u64::from(w1)) {
                Call::Ffa(function, width) => Self::Function(function, width),
                Call::UnknownFfa(_) | Call::Other(_) => Self::Unknown,
            },
        }
    }
}

/// The smallest size and alignment of an RX or TX buffer, w2 bits 1:0 of FFA_FEATURES(RXTX_MAP).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BufferGranule {
    /// 0: 4 KiB.
    Size4K,
    /// 1: 64 KiB.
    Size64K,
    /// 2: 16 KiB.
    Size16K,
}

/// w2 of FFA_FEATURES(RXTX_MAP): the granule in bits 1:0, the largest page count in bits 31:16,
/// which callers below 1.2 must be given as 0.
pub fn rxtx_map_properties(granule: BufferGranule, maximum_pages: u16) -> u32 {
    let granule = match granule {
        BufferGranule::Size4K => 0,
        BufferGranule::Size64K => 1,
        BufferGranule::Size16K => 2,
    };
    (u32::from(maximum_pages) << 16) | granule
}

/// w2 of FFA_FEATURES(4): notifications per vCPU are there (bits 1:0 clear, A-37), and how many there are
/// beyond 64: of VMs in bits 10:2, which the normal world must be given as 0, of partitions in bits 19:11
///
pub fn notification_properties(world: World) -> u32 {
    let beyond = Bitmap::ALL.without(Bitmap::FIRST).count();
    match world {
        World::Normal => beyond << 11,
        World::Secure => (beyond << 11) | (beyond << 2),
    }
}

/// w2 of FFA_FEATURES(MEM_DONATE, LEND, SHARE), bit 0: descriptors may lie in a
/// buffer that the caller allocates.
pub const MEM_DYNAMIC_BUFFER: u32 = 1 << 0;
/// w2 of FFA_FEATURES(MEM_RETRIEVE_REQ), bit 1, in the question and in the answer: the NS bit of
/// retrieved memory is understood, reported.
pub const MEM_RETRIEVE_NS_BIT: u32 = 1 << 1;
/// w2 of FFA_FEATURES(MEM_RETRIEVE_REQ), bit 2: the hypervisor may retrieve by handle.
pub const MEM_RETRIEVE_HYPERVISOR: u32 = 1 << 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a03_feature_ids_and_function_ids_are_told_apart() {
        for feature in [
            Feature::NotificationPendingInterrupt,
            Feature::ScheduleReceiverInterrupt,
            Feature::ManagedExitInterrupt,
            Feature::Notifications,
        ] {
            assert_eq!(Query::decode(feature.id()), Query::Feature(feature));
        }
        assert_eq!(
            Query::decode(0xc400_0066),
            Query::Function(Function::RxtxMap, Width::W64)
        );
    }

    #[test]
    fn a38_feature_4_tells_how_many_notifications_there_are() {
        let count = u32::try_from(Bitmap::COUNT).unwrap();
        let secure = notification_properties(World::Secure);
        assert_eq!((secure >> 11) + 64, count);
        assert_eq!((secure >> 2 & 0x1ff) + 64, count);
        assert_eq!(secure & 3, 0);
        assert_eq!(notification_properties(World::Normal), (count - 64) << 11);
    }

    #[test]
    fn v11_unknown_ids_are_unknown() {
        for w1 in [
            0,
            5,
            0x101,
            0x0400_0066,
            0x8400_00ef,
            0xc400_0063,
            0x8400_0002,
            u32::MAX,
        ] {
            assert_eq!(Query::decode(w1), Query::Unknown, "{w1:#x}");
        }
    }

    #[test]
    fn a04_rxtx_map_properties_are_packed() {
        assert_eq!(rxtx_map_properties(BufferGranule::Size4K, 4), 0x0004_0000);
        assert_eq!(rxtx_map_properties(BufferGranule::Size64K, 0), 1);
        assert_eq!(rxtx_map_properties(BufferGranule::Size16K, 1), 0x0001_0002);
    }
}
