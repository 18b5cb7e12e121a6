//! Which objects cover an address, found by plain comparison.

use std::net::IpAddr;

use classifier::packet::PacketKey;
use classifier::resource::{Object, PolicySet};

use super::Question;
use crate::failure::Failure;

/// Of so many addresses one has its objects found the slow way too.
const CHECKED_OF: usize = 512;

/// The addresses of all questions, sorted, each with the positions of the objects that cover it.
pub(super) struct Covering {
    addresses: Vec<IpAddr>,
    objects: Vec<Vec<usize>>,
}

impl Covering {
    pub(super) fn of(set: &PolicySet, questions: &[Question]) -> Result<Self, Failure> {
        let ends = questions.iter().flat_map(|(packet, _)| [packet.src, packet.dst]);
        let mut addresses: Vec<IpAddr> = ends.collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut objects = vec![Vec::new(); addresses.len()];
        for (position, object) in set.objects.iter().enumerate() {
            for net in &object.nets {
                let first = addresses.partition_point(|address| *address < net.network());
                let behind = addresses.partition_point(|address| *address <= net.broadcast());
                for covering in objects.get_mut(first..behind).unwrap_or_default() {
                    if covering.last() != Some(&position) {
                        covering.push(position);
                    }
                }
            }
        }
        let covering = Self { addresses, objects };
        covering.check(set)?;
        Ok(covering)
    }

    /// Asks every net of every object about some of the addresses.
    fn check(&self, set: &PolicySet) -> Result<(), Failure> {
        for (address, found) in self.addresses.iter().zip(&self.objects).step_by(CHECKED_OF) {
            let covers = |(_, object): &(usize, &Object)| covers(object, *address);
            let slowly =
                set.objects.iter().enumerate().filter(covers).map(|(position, _)| position);
            if !slowly.eq(found.iter().copied()) {
                return Err(Failure::new("find what covers an address", address.to_string()));
            }
        }
        Ok(())
    }

    /// The objects that cover an end of the packet, in the set's order, each with the nets that do.
    pub(super) fn objects(&self, set: &PolicySet, packet: &PacketKey) -> Vec<Object> {
        let of_end = |end| {
            let at = self.addresses.binary_search(&end).ok();
            at.and_then(|at| self.objects.get(at)).map_or(&[][..], Vec::as_slice)
        };
        let mut positions = [of_end(packet.src), of_end(packet.dst)].concat();
        positions.sort_unstable();
        positions.dedup();
        let objects = positions.into_iter().filter_map(|position| set.objects.get(position));
        objects
            .map(|object| {
                let ends =
                    |net: &&ipnet::IpNet| net.contains(&packet.src) || net.contains(&packet.dst);
                let nets = object.nets.iter().filter(ends).copied().collect();
                let Object { kind, namespace, name, labels, ports, peer_only, .. } = object;
                Object {
                    kind: *kind,
                    namespace: namespace.clone(),
                    name: name.clone(),
                    labels: labels.clone(),
                    nets,
                    ports: ports.clone(),
                    peer_only: *peer_only,
                }
            })
            .collect()
    }
}

fn covers(object: &Object, address: IpAddr) -> bool {
    object.nets.iter().any(|net| net.contains(&address))
}
