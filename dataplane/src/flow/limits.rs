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

/// What each limit is set to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits([u32; Limit::ALL.len()]);

impl Limits {
    /// Sets one.
    #[must_use]
    pub fn with(mut self, limit: Limit, most: u32) -> Self {
        if let Some(value) = self.0.get_mut(limit.index()) {
            *value = most;
        }
        self
    }

    /// What it is set to; `None` when there is no limit.
    #[must_use]
    pub fn of(&self, limit: Limit) -> Option<u32> {
        self.0.get(limit.index()).copied().filter(|most| *most > 0)
    }
}
