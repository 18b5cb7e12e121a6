//! How much of the flow table anyone may have. 0 is "no limit" for each.

/// A limit by its name in settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// Half-open TCP connections in all. Above half of it they expire sooner, the sooner the more there are.
    HalfOpen,
    /// Half-open TCP connections to one destination address.
    HalfOpenPerDestination,
    /// Half-open TCP connections from one source address.
    HalfOpenPerSource,
    /// Flows of one source address.
    FlowsPerSource,
    /// New flows of one source address a second.
    NewFlowsPerSource,
}

impl Limit {
    /// Every limit, in the order of `index`.
    pub const ALL: [Self; 5] = [
        Self::HalfOpen,
        Self::HalfOpenPerDestination,
        Self::HalfOpenPerSource,
        Self::FlowsPerSource,
        Self::NewFlowsPerSource,
    ];

    /// The name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open",
            Self::HalfOpenPerDestination => "half-open-per-destination",
            Self::HalfOpenPerSource => "half-open-per-source",
            Self::FlowsPerSource => "flows-per-source",
            Self::NewFlowsPerSource => "new-flows-per-source",
        }
    }

    /// Position in `ALL`.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Not set: the default holds, which depends on the size of the table.
const BY_TABLE: u32 = u32::MAX;

/// What each limit is set to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits([u32; Limit::ALL.len()]);

impl Limits {
    /// Sets one; 0 is no limit.
    #[must_use]
    pub fn with(mut self, limit: Limit, most: u32) -> Self {
        if let Some(value) = self.0.get_mut(limit.index()) {
            *value = most.min(BY_TABLE - 1);
        }
        self
    }

    /// What it is set to for a table of `slots` flows; `None` when there is no limit.
    ///
    /// By default a quarter of the table is for half-open connections, and half of it for one source. How many half-open ones a
    /// destination can bear, and how fast a source may be, is for the administrator to know: no limit.
    #[must_use]
    pub fn of(&self, limit: Limit, slots: usize) -> Option<u32> {
        let by_table = |part: usize| u32::try_from((slots / part).max(1)).unwrap_or(BY_TABLE);
        let most = match (self.0.get(limit.index()), limit) {
            (Some(&BY_TABLE) | None, Limit::HalfOpen) => by_table(4),
            (Some(&BY_TABLE) | None, Limit::FlowsPerSource) => by_table(2),
            (Some(&BY_TABLE) | None, _) => 0,
            (Some(most), _) => *most,
        };
        (most > 0).then_some(most)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self([BY_TABLE; Limit::ALL.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_go_by_the_table_and_zero_is_no_limit() {
        let of = |limits: Limits| Limit::ALL.map(|limit| limits.of(limit, 1_000));
        assert_eq!(of(Limits::default()), [Some(250), None, None, Some(500), None]);
        let set = Limits::default().with(Limit::HalfOpen, 0).with(Limit::NewFlowsPerSource, 9);
        assert_eq!(of(set), [None, None, None, Some(500), Some(9)]);
    }
}
