//! Lists that are read page by page.

/// The number of items on a page, which is at least 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(u64);

impl Limit {
    /// Takes the requested number, limited to 1 to `max`.
    pub(crate) fn new(asked: u64, max: u64) -> Self {
        Self(asked.clamp(1, max))
    }

    /// The number of rows to query: one more than the page has, which shows whether there are more.
    pub(crate) fn rows(self) -> u64 {
        self.0 + 1
    }

    /// Makes a page from the queried rows.
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
    /// The items of the page.
    pub items: Vec<T>,
    /// `true` if there are more items after these.
    pub more: bool,
}

impl<T> Page<T> {
    /// Makes the only page of an empty list.
    pub(crate) fn empty() -> Self {
        Self { items: Vec::new(), more: false }
    }

    /// Applies a function to each item of the page.
    pub(crate) fn map<U>(self, function: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(function).collect(), more: self.more }
    }

    /// Applies a function to each item of the page, and fails if it fails for one of them.
    pub(crate) fn try_map<U, E>(
        self,
        function: impl FnMut(T) -> Result<U, E>,
    ) -> Result<Page<U>, E> {
        let items = self.items.into_iter().map(function).collect::<Result<_, _>>()?;
        Ok(Page { items, more: self.more })
    }

    /// The pagination cursor of the next page, made from the last item. `None` if there are no more items.
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
