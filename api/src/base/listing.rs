//! Lists that are read page by page.

/// The number of items on a page, which is at least 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(u64);

impl Limit {
    /// The number that was asked for, within 1 and `max`.
    pub(crate) fn new(asked: u64, max: u64) -> Self {
        Self(asked.clamp(1, max))
    }

    /// The number of rows to query: one more than the page has tells that there are more.
    pub(crate) fn rows(self) -> u64 {
        self.0 + 1
    }

    /// Makes a page of the rows that were queried.
    pub(crate) fn page<T>(self, mut rows: Vec<T>) -> Page<T> {
        let limit = usize::try_from(self.0).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Page { items: rows, more }
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// There are more behind them.
    pub more: bool,
}

impl<T> Page<T> {
    /// The only page of a list without items.
    pub(crate) fn empty() -> Self {
        Self { items: Vec::new(), more: false }
    }

    /// The same page of what a function makes of each item.
    pub(crate) fn map<U>(self, function: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(function).collect(), more: self.more }
    }

    /// The same page, unless a function fails for an item.
    pub(crate) fn try_map<U, E>(
        self,
        function: impl FnMut(T) -> Result<U, E>,
    ) -> Result<Page<U>, E> {
        let items = self.items.into_iter().map(function).collect::<Result<_, _>>()?;
        Ok(Page { items, more: self.more })
    }

    /// The pagination cursor of the next page, made of the last item, if there are more.
    pub(crate) fn next<C>(&self, cursor: impl FnOnce(&T) -> C) -> Option<C> {
        self.items.last().filter(|_| self.more).map(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::Limit;

    #[test]
    fn a_page_has_as_many_items_as_asked_and_says_if_there_are_more() {
        let limit = Limit::new(2, 100);
        let page = limit.page(vec!['a', 'b', 'c']);
        assert_eq!((page.items.as_slice(), page.more), (['a', 'b'].as_slice(), true));
        assert_eq!(page.next(|last| *last), Some('b'));
        let page = limit.page(vec!['a', 'b']);
        assert_eq!((page.items.len(), page.more, page.next(|last| *last)), (2, false, None));
        assert_eq!((Limit::new(0, 100).rows(), Limit::new(500, 100).rows()), (2, 101));
    }
}
