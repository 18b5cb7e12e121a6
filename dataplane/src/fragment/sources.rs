//! How much of the memory each source of fragments holds, so that one who sends too many does not hurt the others.
//!
//! Sources share a fixed number of accounts, chosen by a keyed hash, as in stochastic fairness queueing (INFOCOM 1990): nothing
//! is made or freed when one comes or goes, and nobody can aim at the account of another.

/// Accounts, a power of two.
pub(super) const SOURCES: usize = 1024;

/// A source that holds fewer chunks is never called greedy: two of the longest datagrams.
const MODEST_CHUNKS: usize = 512;

/// Sources of one class hold the same within a factor of two.
const CLASSES: usize = 24;

#[derive(Debug)]
pub(super) struct Sources {
    /// Chunks that each holds.
    held: Vec<usize>,
    /// For each class a bit for each account.
    classes: Vec<[u64; SOURCES / 64]>,
}

impl Sources {
    pub(super) fn new() -> Self {
        Self { held: vec![0; SOURCES], classes: vec![[0; SOURCES / 64]; CLASSES] }
    }

    /// Chunks that it holds.
    pub(super) fn held(&self, source: usize) -> usize {
        self.held.get(source).copied().unwrap_or_default()
    }

    pub(super) fn take(&mut self, source: usize, chunks: usize) {
        self.set(source, self.held(source) + chunks);
    }

    pub(super) fn give_back(&mut self, source: usize, chunks: usize) {
        debug_assert!(self.held(source) >= chunks, "a source gives back what it does not have");
        self.set(source, self.held(source).saturating_sub(chunks));
    }

    /// One that holds most, within a factor of two; `None` when all are modest.
    pub(super) fn greediest(&self) -> Option<usize> {
        self.classes.iter().rev().find_map(|class| {
            let (word, bits) = class.iter().enumerate().find(|(_, bits)| **bits != 0)?;
            Some(word * 64 + bits.trailing_zeros() as usize)
        })
    }

    fn set(&mut self, source: usize, chunks: usize) {
        let Some(held) = self.held.get_mut(source) else { return };
        let (before, after) = (class_of(*held), class_of(chunks));
        *held = chunks;
        if before == after {
            return;
        }
        for class in [before, after].into_iter().flatten() {
            let word = self.classes.get_mut(class).and_then(|class| class.get_mut(source / 64));
            if let Some(word) = word {
                *word ^= 1 << (source % 64);
            }
        }
    }
}

/// The class of one who holds this much, if that is not modest.
fn class_of(chunks: usize) -> Option<usize> {
    let times = (chunks / MODEST_CHUNKS).checked_ilog2()?;
    Some((times as usize).min(CLASSES - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greediest_holds_at_least_half_of_what_any_holds() {
        let mut rng = fastrand::Rng::with_seed(0x5eed_0503);
        let mut sources = Sources::new();
        let mut greedy = 0;
        for _ in 0..50_000 {
            let source = rng.usize(..40) * 25;
            let chunks = rng.usize(..2_000);
            if rng.bool() {
                sources.take(source, chunks);
            } else {
                sources.give_back(source, sources.held(source).min(chunks));
            }
            let most = (0..SOURCES).map(|source| sources.held(source)).max().unwrap();
            match sources.greediest() {
                Some(greediest) => {
                    greedy += 1;
                    assert!(sources.held(greediest) * 2 > most && most >= MODEST_CHUNKS);
                }
                None => assert!(most < MODEST_CHUNKS),
            }
        }
        assert!(greedy > 10_000 && greedy < 50_000, "{greedy}");
    }
}
