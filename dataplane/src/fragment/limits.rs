//! How much of what there is for fragments.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A limit by its name in settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FragmentLimit {
    /// Memory for fragments that wait, in MiB, for each worker.
    MemoryMib,
    /// Most of it that fragments of one source take.
    MemoryPerSourceMib,
    /// Most datagrams that are known of at a time, for each worker. Each takes about 200 bytes more.
    Datagrams,
    /// Seconds that an IPv4 datagram may take to become whole.
    Ipv4Seconds,
    /// Seconds that an IPv6 datagram may take.
    Ipv6Seconds,
}

impl FragmentLimit {
    /// Every limit, in the order of `index`.
    pub const ALL: [Self; 5] = [
        Self::MemoryMib,
        Self::MemoryPerSourceMib,
        Self::Datagrams,
        Self::Ipv4Seconds,
        Self::Ipv6Seconds,
    ];

    /// The name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MemoryMib => "memory-mib",
            Self::MemoryPerSourceMib => "memory-per-source-mib",
            Self::Datagrams => "datagrams",
            Self::Ipv4Seconds => "ipv4-seconds",
            Self::Ipv6Seconds => "ipv6-seconds",
        }
    }

    /// What it is by default. RFC 8200 section 4.5: 60 seconds in IPv6; Linux waits for 30 in IPv4.
    #[must_use]
    pub fn default_value(self) -> u32 {
        match self {
            Self::MemoryMib => 8,
            Self::MemoryPerSourceMib => 1,
            Self::Datagrams => 16_384,
            Self::Ipv4Seconds => 30,
            Self::Ipv6Seconds => 60,
        }
    }

    /// What it can be. RFC 6146 section 4: fragments are waited for at least 2 seconds.
    #[must_use]
    pub fn range(self) -> RangeInclusive<u32> {
        match self {
            Self::MemoryMib | Self::MemoryPerSourceMib => 1..=1_024,
            Self::Datagrams => 64..=1 << 20,
            Self::Ipv4Seconds | Self::Ipv6Seconds => 2..=255,
        }
    }
}

/// How much of what there is for fragments, for each worker. Everything is had at the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FragmentLimits {
    /// Bytes of fragments that wait.
    pub bytes: usize,
    /// Most of them from one source.
    pub bytes_per_source: usize,
    /// Most datagrams, with those that are remembered because they were void.
    pub datagrams: usize,
    /// How long an IPv4 datagram may take to become whole.
    pub ipv4: Duration,
    /// How long an IPv6 datagram may take.
    pub ipv6: Duration,
}

impl FragmentLimits {
    /// Sets one, within its range.
    #[must_use]
    pub fn with(mut self, limit: FragmentLimit, value: u32) -> Self {
        let range = limit.range();
        let value = value.clamp(*range.start(), *range.end());
        let time = Duration::from_secs(value.into());
        match limit {
            FragmentLimit::MemoryMib => self.bytes = (value as usize) << 20,
            FragmentLimit::MemoryPerSourceMib => self.bytes_per_source = (value as usize) << 20,
            FragmentLimit::Datagrams => self.datagrams = value as usize,
            FragmentLimit::Ipv4Seconds => self.ipv4 = time,
            FragmentLimit::Ipv6Seconds => self.ipv6 = time,
        }
        self
    }
}

impl Default for FragmentLimits {
    fn default() -> Self {
        let (bytes, datagrams, time) = (0, 0, Duration::ZERO);
        let none = Self { bytes, bytes_per_source: bytes, datagrams, ipv4: time, ipv6: time };
        let set = |limits: Self, limit: FragmentLimit| limits.with(limit, limit.default_value());
        FragmentLimit::ALL.into_iter().fold(none, set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_name_within_their_range() {
        let expected = FragmentLimits {
            bytes: 8 << 20,
            bytes_per_source: 1 << 20,
            datagrams: 16_384,
            ipv4: Duration::from_secs(30),
            ipv6: Duration::from_mins(1),
        };
        assert_eq!(FragmentLimits::default(), expected);
        for limit in FragmentLimit::ALL {
            assert!(limit.range().contains(&limit.default_value()), "{limit:?}");
            let [least, most] = [*limit.range().start(), *limit.range().end()];
            assert_eq!(expected.with(limit, 0), expected.with(limit, least));
            assert_eq!(expected.with(limit, u32::MAX), expected.with(limit, most));
            assert_ne!(expected.with(limit, least), expected.with(limit, most));
        }
    }
}
