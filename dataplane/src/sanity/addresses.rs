//! What is known of an address, found in a few nanoseconds: a tree of pages, one octet a step, as deep as its prefixes need.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Networks, SpecialPurpose};
use crate::checks::Profile;
use crate::device::Port;

/// What a leaf says.
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const REFUSED: u16 = SOURCE | DESTINATION;
const LIVES: [u16; 2] = [4, 8];
/// Entries from here on are not leaves but numbers of pages.
const FIRST_PAGE: u16 = 256;
/// Pages of the first octet of IPv4 and IPv6.
const ROOTS: [usize; 2] = [0, 1];
/// All of IPv6 but `2000::/3` and multicast.
const OUTSIDE_GLOBAL: [(u16, u8); 9] = [
    (0x0000, 3),
    (0x4000, 2),
    (0x8000, 2),
    (0xC000, 3),
    (0xE000, 4),
    (0xF000, 5),
    (0xF800, 6),
    (0xFC00, 7),
    (0xFE00, 8),
];

type Page = [u16; 256];

/// The table of addresses.
#[derive(Clone, Debug)]
pub(super) struct AddressTable {
    pages: Vec<Page>,
}

/// What is known of one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found(u16);

impl Found {
    pub(super) fn is_refused_as_source(self) -> bool {
        self.0 & SOURCE != 0
    }

    pub(super) fn is_refused_as_destination(self) -> bool {
        self.0 & DESTINATION != 0
    }

    /// Whether it may be the source of what comes from `port`; `confined` when the port has networks.
    pub(super) fn lives_behind(self, port: Port, confined: bool) -> bool {
        let [a, b] = LIVES;
        let here = if port == Port::A { a } else { b };
        if self.0 & (a | b) == 0 { !confined } else { self.0 & here != 0 }
    }
}

impl AddressTable {
    /// The longest prefix counts, of special-purpose addresses and of networks each for itself.
    pub(super) fn new(
        special: &SpecialPurpose,
        networks: &[Networks; 2],
        profile: Profile,
    ) -> Self {
        let mut table = Self { pages: vec![[0; 256]; ROOTS.len()] };
        let mut rows = special.rows().to_vec();
        rows.sort_by_key(|row| row.net.prefix_len());
        for row in rows {
            let [source, destination] = [(row.source, SOURCE), (row.destination, DESTINATION)]
                .map(|(refused, bit)| if refused { bit } else { 0 });
            table.paint(row.net, REFUSED, source | destination);
        }
        if profile == Profile::CcStrict {
            for (first, length) in OUTSIDE_GLOBAL {
                let [high, low] = first.to_be_bytes();
                table.paint_octets(ROOTS[1], &[high, low], length.into(), REFUSED, REFUSED);
            }
        }
        table.paint_networks(networks);
        table
    }

    /// What is known of `address`.
    pub(super) fn find(&self, address: IpAddr) -> Found {
        let [v4, v6] = ROOTS;
        match address {
            IpAddr::V4(address) => self.walk(v4, address.octets()),
            IpAddr::V6(address) => self.walk(v6, address.octets()),
        }
    }

    fn walk<const N: usize>(&self, root: usize, octets: [u8; N]) -> Found {
        let mut page = root;
        for octet in octets {
            let entry = self.pages.get(page).and_then(|page| page.get(usize::from(octet)));
            let entry = entry.copied().unwrap_or(REFUSED);
            match entry.checked_sub(FIRST_PAGE) {
                None => return Found(entry),
                Some(next) => page = next.into(),
            }
        }
        Found(REFUSED)
    }

    /// Which port each network lives behind. No host has the first address of an IPv4 network, and its last one is all hosts:
    /// neither is a source (RFC 1122 section 3.2.1.3; in a /31 both are hosts, RFC 3021).
    fn paint_networks(&mut self, networks: &[Networks; 2]) {
        let mut lives: BTreeMap<(u8, IpNet), u16> = BTreeMap::new();
        for (networks, bit) in networks.iter().zip(LIVES) {
            for net in networks.iter() {
                *lives.entry((net.prefix_len(), net)).or_default() |= bit;
            }
        }
        for ((_, net), bits) in &lives {
            self.paint(*net, LIVES[0] | LIVES[1], *bits);
        }
        for ((length, net), _) in lives {
            if net.addr().is_ipv4() && length < 31 {
                for address in [net.network(), net.broadcast()] {
                    self.paint(address.into(), SOURCE, SOURCE);
                }
            }
        }
    }

    /// Sets the bits of `mask` to `bits` for all addresses of `net`.
    fn paint(&mut self, net: IpNet, mask: u16, bits: u16) {
        let length = net.prefix_len().into();
        let [v4, v6] = ROOTS;
        match net.network() {
            IpAddr::V4(address) => self.paint_octets(v4, &address.octets(), length, mask, bits),
            IpAddr::V6(address) => self.paint_octets(v6, &address.octets(), length, mask, bits),
        }
    }

    /// The same from a page on, for the first `length` bits of `octets`.
    fn paint_octets(&mut self, page: usize, octets: &[u8], length: usize, mask: u16, bits: u16) {
        let Some((first, rest)) = octets.split_first() else { return };
        let first = usize::from(*first);
        if length > 8 {
            if let Some(below) = self.page_below(page, first) {
                self.paint_octets(below, rest, length - 8, mask, bits);
            }
            return;
        }
        for entry in first..first + (1 << (8 - length)) {
            self.paint_entry(page, entry, mask, bits);
        }
    }

    fn paint_entry(&mut self, page: usize, entry: usize, mask: u16, bits: u16) {
        let Some(found) = self.entry_mut(page, entry) else { return };
        match found.checked_sub(FIRST_PAGE) {
            None => *found = *found & !mask | bits,
            Some(below) => {
                for entry in 0..256 {
                    self.paint_entry(below.into(), entry, mask, bits);
                }
            }
        }
    }

    /// The page below an entry, made of its leaf when there is none. Should pages run out, which the limits of their sources
    /// prevent, the entry refuses.
    fn page_below(&mut self, page: usize, entry: usize) -> Option<usize> {
        let next =
            u16::try_from(self.pages.len()).ok().and_then(|next| next.checked_add(FIRST_PAGE));
        let found = self.entry_mut(page, entry)?;
        if let Some(below) = found.checked_sub(FIRST_PAGE) {
            return Some(below.into());
        }
        let leaf = *found;
        *found = next.unwrap_or(REFUSED);
        next?;
        self.pages.push([leaf; 256]);
        Some(self.pages.len() - 1)
    }

    fn entry_mut(&mut self, page: usize, entry: usize) -> Option<&mut u16> {
        self.pages.get_mut(page)?.get_mut(entry)
    }
}
