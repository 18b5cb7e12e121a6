//! A table in two parts: the rows of the image, and those that a patch adds behind them.

/// Rows that are counted through. A range of rows lies in one part, whole.
#[derive(Debug)]
pub(crate) struct Rows<'a, T> {
    base: &'a [T],
    added: &'a [T],
}

impl<'a, T> Rows<'a, T> {
    /// The rows of `base`, then those of `added`.
    pub(crate) fn new(base: &'a [T], added: &'a [T]) -> Self {
        Self { base, added }
    }

    /// How many there are.
    pub(crate) fn len(self) -> usize {
        self.base.len() + self.added.len()
    }

    /// The row at a position.
    #[inline]
    pub(crate) fn get(self, at: u32) -> Option<&'a T> {
        let at = at as usize;
        match self.base.get(at) {
            Some(row) => Some(row),
            None => self.added.get(at - self.base.len()),
        }
    }

    /// The rows of a half-open range; none when it lies outside, or in both parts.
    #[inline]
    pub(crate) fn range(self, [first, end]: [u32; 2]) -> &'a [T] {
        let (first, end, base) = (first as usize, end as usize, self.base.len());
        let part = if first < base {
            self.base.get(first..end)
        } else {
            end.checked_sub(base).and_then(|end| self.added.get(first - base..end))
        };
        part.unwrap_or_default()
    }

    /// Whether the row at a position is one of the added.
    #[inline]
    pub(crate) fn is_added(self, at: u32) -> bool {
        at as usize >= self.base.len()
    }

    /// Whether the row at a position is the first of the added.
    #[inline]
    pub(crate) fn is_first_added(self, at: u32) -> bool {
        at as usize == self.base.len()
    }
}

impl<T> Clone for Rows<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rows<'_, T> {}

impl<'a, T> From<&'a [T]> for Rows<'a, T> {
    fn from(base: &'a [T]) -> Self {
        Self { base, added: &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_parts_are_counted_through_and_no_range_is_in_both() {
        let rows = Rows::new(&[10, 11, 12], &[13, 14]);
        assert_eq!(rows.len(), 5);
        assert_eq!(
            (0..6).map_while(|at| rows.get(at)).collect::<Vec<_>>(),
            [&10, &11, &12, &13, &14]
        );
        assert_eq!(rows.range([1, 3]), [11, 12]);
        assert_eq!(rows.range([3, 5]), [13, 14]);
        assert_eq!(rows.range([4, 5]), [14]);
        for outside in [[2, 4], [5, 6], [4, 3], [3, 2], [2, 1], [9, 9], [0, u32::MAX]] {
            assert!(rows.range(outside).is_empty(), "{outside:?}");
        }
    }
}
