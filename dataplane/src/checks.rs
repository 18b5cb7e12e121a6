//! What is checked of packets beside policy, and how strictly: settings, the same for all workers.

use crate::disposition::{DropReason, Reasons};

/// Which checks there are, and what becomes of packets that fail one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Checks {
    /// How strict the checks are where standards leave it open.
    pub profile: Profile,
    /// What is done about checksums.
    pub checksums: Checksums,
    /// Packets that fail these checks are counted only.
    pub counted_only: Reasons,
}

/// A choice where standards disagree.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// As tolerant as real networks need: unique local IPv6 addresses and the NAT64 prefix pass (RFC 6890), UDP over IPv6 may
    /// do without a checksum (RFC 6935).
    #[default]
    Default,
    /// As the Common Criteria module for firewalls asks (`MOD_CPP_FW` 2.0, `FFW_RUL_EXT.1.6`): unicast IPv6 addresses only
    /// within `2000::/3`.
    CcStrict,
}

/// What is done about transport checksums.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Checksums {
    /// They must be right. One that the sender's kernel left to hardware (on veth and virtio) is completed.
    #[default]
    Complete,
    /// They must be right.
    Verify,
    /// They are not looked at; that of the IPv4 header is.
    Ignore,
}

impl Checks {
    /// Whether a packet that fails this check is dropped.
    #[must_use]
    pub fn refuse(&self, reason: DropReason) -> bool {
        !(self.counted_only.has(reason) && reason.can_be_counted_only())
    }
}
