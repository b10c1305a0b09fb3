// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two devices with a level-triggered interrupt that software raises and takes back: QEMU's real-time clock and its
//! GPIO block. Both worlds reach them; the interrupt is that of the partition whose manifest names it.

use crate::board;

/// One of the devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// The PL031 real-time clock.
    Rtc,
    /// The PL061 general-purpose inputs and outputs.
    Gpio,
}

/// Registers of the PL031.
mod rtc {
    /// RTCDR: the time, in seconds.
    pub const DATA: usize = 0x00;
    /// RTCMR: the time of the alarm.
    pub const MATCH: usize = 0x04;
    /// RTCIMSC: bit 0 lets the interrupt out.
    pub const MASK: usize = 0x10;
    /// RTCRIS: bit 0 is set from the alarm until it is cleared.
    pub const RAW: usize = 0x14;
    /// RTCICR: bit 0 clears the alarm.
    pub const CLEAR: usize = 0x1c;
}

/// Registers of the PL061, a bit for each line.
mod gpio {
    /// GPIODATA of line 0 alone.
    pub const DATA_0: usize = 1 << 2;
    /// GPIOIS: level rather than edge.
    pub const LEVEL: usize = 0x404;
    /// GPIOIEV: high rather than low.
    pub const HIGH: usize = 0x40c;
    /// GPIOIE lets the interrupt out.
    pub const ENABLE: usize = 0x410;
}

/// The one line or bit that is used.
const BIT: u32 = 1;

impl Device {
    /// The device whose interrupt has this INTID.
    pub const fn with_intid(intid: u32) -> Option<Self> {
        match intid {
            board::RTC_INTID => Some(Self::Rtc),
            board::GPIO_INTID => Some(Self::Gpio),
            _ => None,
        }
    }

    /// The INTID of its interrupt.
    pub const fn intid(self) -> u32 {
        match self {
            Self::Rtc => board::RTC_INTID,
            Self::Gpio => board::GPIO_INTID,
        }
    }

    fn read(self, register: usize) -> u32 {
        // SAFETY: a register of the device, which nothing else in this payload uses; the MMU is off, so that the
        // access is one to a device, and where stage 2 does not allow it that is what the test wants to know.
        unsafe { ((self.base() + register) as *const u32).read_volatile() }
    }

    fn write(self, register: usize, value: u32) {
        // SAFETY: as `read`.
        unsafe { ((self.base() + register) as *mut u32).write_volatile(value) };
    }

    const fn base(self) -> usize {
        match self {
            Self::Rtc => board::RTC,
            Self::Gpio => board::GPIO,
        }
    }

    /// Asserts the interrupt, which is not asserted, in one store after what leads up to it.
    pub fn raise(self) {
        match self {
            Self::Rtc => {
                // The second may have passed before the alarm was set.
                while self.read(rtc::RAW) & BIT == 0 {
                    self.write(rtc::MATCH, self.read(rtc::DATA));
                }
                self.write(rtc::MASK, BIT);
            }
            Self::Gpio => {
                self.write(gpio::LEVEL, BIT);
                let high = self.read(gpio::DATA_0);
                self.write(gpio::HIGH, high & BIT);
                self.write(gpio::ENABLE, BIT);
            }
        }
    }

    /// Whether the interrupt is asserted.
    pub fn is_raised(self) -> bool {
        match self {
            // What `clear` does last, so that nobody raises it before that is done.
            Self::Rtc => self.read(rtc::RAW) & BIT != 0,
            Self::Gpio => self.read(gpio::ENABLE) & BIT != 0,
        }
    }

    /// Takes the interrupt back, as its owner's driver does.
    pub fn clear(self) {
        match self {
            Self::Rtc => {
                // A new alarm may be made ready only once the interrupt cannot get out.
                self.write(rtc::MASK, 0);
                self.write(rtc::CLEAR, BIT);
            }
            Self::Gpio => self.write(gpio::ENABLE, 0),
        }
    }
}
