//! Addresses and networks as users write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// An address with an optional prefix length, as written: host bits may be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Written {
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: Option<u8>,
}

/// Why a text is not an address or a network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NetError {
    /// What stands before the `/`, or the whole text, is no IP address.
    Address,
    /// What stands behind the `/` is no number, or too large for the family.
    PrefixLength {
        /// The largest there can be.
        max: u8,
    },
    /// An IPv4 address in IPv6 clothes: no packet carries it so.
    MappedV4(Ipv4Addr),
}

impl NetError {
    /// What to say under the marked text.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Address => "expected an address or a network",
            Self::PrefixLength { .. } => "expected another length behind the `/`",
            Self::MappedV4(_) => "packets never carry it so",
        }
    }

    /// What to do about it.
    pub(crate) fn help(self, text: &str) -> String {
        match self {
            Self::Address if looks_like_host_name(text) => {
                "names are not looked up: write the addresses".to_owned()
            }
            Self::Address => {
                "write an address or a network such as `198.18.10.0/24` or `2001:2::/48`".to_owned()
            }
            Self::PrefixLength { max } => {
                format!("write a prefix length from 0 to {max} behind the `/`")
            }
            Self::MappedV4(address) => format!("write it as IPv4: `{address}`"),
        }
    }
}

/// The error in words that follow the text: "`x` is not an IP address".
impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "is not an IP address",
            Self::PrefixLength { .. } => "has a bad prefix length",
            Self::MappedV4(_) => "is an IPv4 address written as IPv6",
        })
    }
}

fn looks_like_host_name(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':')
}

impl Written {
    /// Reads `address` or `address/length`.
    pub(crate) fn parse(text: &str) -> Result<Self, NetError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetError::Address)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = match length {
            None => None,
            Some(length) => match prefix_length(length) {
                Some(length) if length <= max => Some(length),
                Some(_) | None => return Err(NetError::PrefixLength { max }),
            },
        };
        let mapped = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => address.to_ipv4_mapped(),
        };
        match mapped {
            Some(v4) if prefix_len.is_none_or(|length| length >= 96) => Err(NetError::MappedV4(v4)),
            Some(_) | None => Ok(Self { address, prefix_len }),
        }
    }

    /// The network it lies in; a bare address is a network of one.
    pub(crate) fn network(self) -> IpNet {
        let max = if self.address.is_ipv4() { 32 } else { 128 };
        let length = self.prefix_len.unwrap_or(max);
        IpNet::new(self.address, length)
            .map_or_else(|_| IpNet::from(self.address), |net| net.trunc())
    }
}

/// Digits without sign or leading zero; the standard parser takes both.
fn prefix_length(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_masked_and_bare_addresses_are_networks_of_one() {
        let network = |text: &str| Written::parse(text).unwrap().network().to_string();
        assert_eq!(network("198.18.1.9/24"), "198.18.1.0/24");
        assert_eq!(network("198.18.1.9"), "198.18.1.9/32");
        assert_eq!(network("2001:2::1/64"), "2001:2::/64");
        assert_eq!(network("2001:2::1"), "2001:2::1/128");
        assert_eq!(network("0.0.0.0/0"), "0.0.0.0/0");
    }

    #[test]
    fn what_is_no_network_says_which_half_is_wrong() {
        let cases = [
            ("", NetError::Address),
            ("198.18.1", NetError::Address),
            ("198.018.1.1", NetError::Address),
            ("198.18.1.0/33", NetError::PrefixLength { max: 32 }),
            ("198.18.1.0/", NetError::PrefixLength { max: 32 }),
            ("198.18.1.0/+8", NetError::PrefixLength { max: 32 }),
            ("198.18.1.0/08", NetError::PrefixLength { max: 32 }),
            ("2001:2::/129", NetError::PrefixLength { max: 128 }),
            ("::ffff:198.18.0.1", NetError::MappedV4(Ipv4Addr::new(198, 18, 0, 1))),
        ];
        for (text, error) in cases {
            assert_eq!(Written::parse(text), Err(error), "{text}");
        }
    }
}
