//! Lists whose items are places of an array: nothing is allocated to put one in, and one is taken out wherever it stands.

/// No item.
const NONE: u32 = u32::MAX;

/// Some lists over the same items; an item is in one of them at most.
#[derive(Debug)]
pub(super) struct Lists {
    ends: Vec<Ends>,
    links: Vec<Links>,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    before: u32,
    after: u32,
}

impl Lists {
    /// Empty lists over the items below `items`.
    pub(super) fn new(lists: usize, items: usize) -> Self {
        Self {
            ends: vec![Ends { first: NONE, last: NONE }; lists],
            links: vec![Links { before: NONE, after: NONE }; items],
        }
    }

    /// The item that has been in the list longest.
    pub(super) fn first(&self, list: usize) -> Option<u32> {
        self.ends.get(list).map(|ends| ends.first).filter(|first| *first != NONE)
    }

    /// Puts an item that is in no list at the end of this one.
    pub(super) fn push(&mut self, list: usize, item: u32) {
        let Self { ends, links } = self;
        let Some(ends) = ends.get_mut(list) else { return };
        let before = ends.last;
        ends.last = item;
        match of(links, before) {
            Some(links) => links.after = item,
            None => ends.first = item,
        }
        if let Some(links) = of(links, item) {
            *links = Links { before, after: NONE };
        }
    }

    /// Takes an item out of this list, which it is in.
    pub(super) fn remove(&mut self, list: usize, item: u32) {
        let Self { ends, links } = self;
        let (Some(ends), Some(Links { before, after })) =
            (ends.get_mut(list), of(links, item).copied())
        else {
            return;
        };
        match of(links, before) {
            Some(links) => links.after = after,
            None => ends.first = after,
        }
        match of(links, after) {
            Some(links) => links.before = before,
            None => ends.last = before,
        }
    }
}

fn of(links: &mut [Links], item: u32) -> Option<&mut Links> {
    links.get_mut(usize::try_from(item).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn lists_hold_what_queues_would_hold() {
        let mut rng = fastrand::Rng::with_seed(0x5eed_0501);
        let mut lists = Lists::new(3, 20);
        let mut queues = vec![VecDeque::new(); 3];
        for _ in 0..20_000 {
            let item = rng.u32(..20);
            if let Some(list) = queues.iter().position(|queue| queue.contains(&item)) {
                lists.remove(list, item);
                queues[list].retain(|other| *other != item);
            } else {
                let list = rng.usize(..3);
                lists.push(list, item);
                queues[list].push_back(item);
            }
            for (list, queue) in queues.iter().enumerate() {
                assert_eq!(lists.first(list), queue.front().copied());
            }
        }
        for (list, queue) in queues.iter_mut().enumerate() {
            while let Some(item) = queue.pop_front() {
                assert_eq!(lists.first(list), Some(item));
                lists.remove(list, item);
            }
            assert_eq!(lists.first(list), None);
        }
    }
}
