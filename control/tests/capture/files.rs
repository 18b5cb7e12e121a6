//! Capture files, byte by byte.

/// 2026-01-02T03:04:05.000001Z, nanoseconds since 1970.
pub(crate) const BEGIN_NS: u64 = 1_767_323_045_000_001_000;
pub(crate) const ETHERNET: u32 = 1;
pub(crate) const RAW: u32 = 101;
pub(crate) const SLL: u32 = 113;
pub(crate) const SLL2: u32 = 276;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) big_endian: bool,
    pub(crate) nanoseconds: bool,
    pub(crate) pcapng: bool,
}

impl Shape {
    pub(crate) const PCAP: Self = Self { big_endian: false, nanoseconds: false, pcapng: false };

    pub(crate) fn all() -> Vec<Self> {
        let bools = [false, true];
        let pairs = bools.into_iter().flat_map(|a| bools.map(|b| (a, b)));
        pairs
            .flat_map(|(big_endian, nanoseconds)| {
                bools.map(|pcapng| Self { big_endian, nanoseconds, pcapng })
            })
            .collect()
    }

    /// A capture of these packets, a microsecond apart.
    pub(crate) fn file(self, link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
        let mut file = self.head(link);
        for (packet, number) in packets.iter().zip(0..) {
            file.extend(self.record(BEGIN_NS + number * 1000, packet, packet.len()));
        }
        file
    }

    pub(crate) fn head(self, link: u32) -> Vec<u8> {
        if self.pcapng {
            let section = [self.u32(0x1A2B_3C4D), self.u16(1), self.u16(0), vec![0xFF; 8]].concat();
            let resolution = if self.nanoseconds { 9 } else { 6 };
            let option = [self.u16(9), self.u16(1), vec![resolution, 0, 0, 0], vec![0; 4]].concat();
            let link = u16::try_from(link).unwrap();
            let interface = [self.u16(link), self.u16(0), self.u32(0), option].concat();
            return [self.block(0x0A0D_0D0A, &section), self.block(1, &interface)].concat();
        }
        let magic = if self.nanoseconds { 0xA1B2_3C4D } else { 0xA1B2_C3D4 };
        let version = [self.u16(2), self.u16(4)].concat();
        let rest = [self.u32(0), self.u32(0), self.u32(262_144), self.u32(link)].concat();
        [self.u32(magic), version, rest].concat()
    }

    /// One packet, `length` bytes long when it was recorded.
    pub(crate) fn record(self, time_ns: u64, bytes: &[u8], length: usize) -> Vec<u8> {
        let unit = if self.nanoseconds { 1 } else { 1000 };
        let number = |number: usize| self.u32(u32::try_from(number).unwrap());
        let lengths = [number(bytes.len()), number(length)].concat();
        if self.pcapng {
            let time = time_ns / unit;
            let halves = [time >> 32, time & 0xFFFF_FFFF].map(|half| u32::try_from(half).unwrap());
            let time = halves.map(|half| self.u32(half)).concat();
            let padding = vec![0; bytes.len().next_multiple_of(4) - bytes.len()];
            return self.block(6, &[self.u32(0), time, lengths, bytes.to_vec(), padding].concat());
        }
        let seconds = u32::try_from(time_ns / 1_000_000_000).unwrap();
        let part = u32::try_from(time_ns % 1_000_000_000 / unit).unwrap();
        [self.u32(seconds), self.u32(part), lengths, bytes.to_vec()].concat()
    }

    pub(crate) fn block(self, kind: u32, content: &[u8]) -> Vec<u8> {
        let length = self.u32(u32::try_from(content.len() + 12).unwrap());
        [self.u32(kind), length.clone(), content.to_vec(), length].concat()
    }

    pub(crate) fn u32(self, number: u32) -> Vec<u8> {
        let bytes = if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        bytes.to_vec()
    }

    pub(crate) fn u16(self, number: u16) -> Vec<u8> {
        let bytes = if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        bytes.to_vec()
    }
}
