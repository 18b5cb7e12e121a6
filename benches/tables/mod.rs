//! Prefix tables to look addresses up in: routes of the internet, or the like of them from a seed.

pub(crate) mod keys;
pub(crate) mod real;
pub(crate) mod synthetic;

/// A prefix and what a lookup that ends at it answers, never 0: `at` is its first address, in the low bits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Route {
    pub(crate) at: u128,
    pub(crate) length: u8,
    pub(crate) answer: u32,
}

/// Routes of one family, ascending and each prefix once, so that a wide one comes before those within it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// 32 or 128.
    pub(crate) width: u8,
    pub(crate) routes: Vec<Route>,
}

impl Table {
    /// Of routes in any order; of several for one prefix the first one counts.
    pub(crate) fn new(name: impl Into<String>, width: u8, mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| (route.at, route.length));
        routes.dedup_by_key(|route| (route.at, route.length));
        Self { name: name.into(), width, routes }
    }

    /// Cuts the address space where the longest prefix changes: first addresses ascending from 0, and the answer of
    /// each piece, 0 where no prefix is.
    pub(crate) fn pieces(&self) -> (Vec<u128>, Vec<u32>) {
        let last = u128::MAX >> (128 - self.width);
        let mut pieces: Vec<(u128, u32)> = vec![(0, 0)];
        let mut open: Vec<(u128, u32)> = Vec::new();
        let begin = |at: u128, answer: u32, pieces: &mut Vec<(u128, u32)>| {
            while pieces.last().is_some_and(|piece| piece.0 == at) {
                pieces.pop();
            }
            if pieces.last().is_none_or(|piece| piece.1 != answer) {
                pieces.push((at, answer));
            }
        };
        let close = |until: Option<u128>, open: &mut Vec<(u128, u32)>, pieces: &mut Vec<_>| {
            while let Some((end, _)) = open.last().copied()
                && until.is_none_or(|at| end < at)
            {
                open.pop();
                if end < last {
                    begin(end + 1, open.last().map_or(0, |outer| outer.1), pieces);
                }
            }
        };
        for route in &self.routes {
            close(Some(route.at), &mut open, &mut pieces);
            begin(route.at, route.answer, &mut pieces);
            open.push((route.at | host_mask(self.width, route.length), route.answer));
        }
        close(None, &mut open, &mut pieces);
        pieces.into_iter().unzip()
    }
}

/// The bits of an address that a prefix leaves open.
pub(crate) fn host_mask(width: u8, length: u8) -> u128 {
    let open = u32::from(width - length);
    if open == 0 { 0 } else { u128::MAX >> (128 - open) }
}
