//! The networks that live behind a port.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

/// Most networks of a port: the table of addresses has a limit.
const NETWORKS_MAX: usize = 1_024;

/// The networks that live behind a port; none when nothing is known of it.
///
/// Where a network of one port lies within one of the other port, the longer prefix counts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// These networks.
    ///
    /// # Errors
    /// When there are too many, or an address has bits beyond its prefix length.
    pub fn new(networks: Vec<IpNet>) -> Result<Self, NetworksError> {
        if networks.len() > NETWORKS_MAX {
            return Err(NetworksError(format!("at most {NETWORKS_MAX} networks")));
        }
        match networks.iter().find(|network| network.trunc() != **network) {
            Some(network) => Err(NetworksError(format!(
                "`{network}` has bits beyond its prefix length: expected `{}`",
                network.trunc()
            ))),
            None => Ok(Self(networks)),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.0.iter().copied()
    }
}

impl FromStr for Networks {
    type Err = NetworksError;

    /// Prefixes like `198.18.0.0/16`, between commas.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let network = |part: &str| {
            let expected =
                || NetworksError(format!("`{part}`: expected a prefix like `10.0.0.0/8`"));
            part.trim().parse::<IpNet>().map_err(|_| expected())
        };
        Self::new(text.split(',').map(network).collect::<Result<_, _>>()?)
    }
}

/// Why a list of networks cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetworksError(String);

impl fmt::Display for NetworksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NetworksError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_prefixes_between_commas() {
        let networks: Networks = "198.18.0.0/16, 2001:2::/64".parse().unwrap();
        assert_eq!(networks.iter().count(), 2);
        for wrong in ["", "198.18.0.0", "198.18.0.1/16", "198.18.0.0/33", "198.18.0.0/16,"] {
            assert!(wrong.parse::<Networks>().is_err(), "`{wrong}`");
        }
        let many = vec!["198.18.0.0/16"; NETWORKS_MAX + 1].join(",");
        assert_eq!(many.parse::<Networks>().unwrap_err().to_string(), "at most 1024 networks");
        let error = "198.18.0.1/16".parse::<Networks>().unwrap_err().to_string();
        assert!(error.ends_with("expected `198.18.0.0/16`"), "{error}");
    }
}
