//! The routes of pages, and the list of all paths with their methods.

use std::collections::HashMap;

use poem::endpoint::BoxEndpoint;
use poem::http::HeaderValue;
use poem::{EndpointExt, IntoEndpoint, Response, Route, RouteMethod, get, post};

use super::openapi::Outline;

/// A route that is not an operation: a page, a file that pages load, or the target of a form.
pub(crate) struct PageRoute {
    path: &'static str,
    methods: &'static str,
    handlers: Handlers,
    is_open: bool,
    speaks_oauth: bool,
}

/// The handlers of a route.
enum Handlers {
    ByMethod(RouteMethod),
    /// One handler for all methods. Its answers are for programs.
    Any(BoxEndpoint<'static, Response>),
}

/// The end of a path that stands for everything below it.
const BELOW: &str = "*rest";

impl PageRoute {
    /// Makes the route of a page. Its path has the form of the OpenAPI document: `/admin/users/{id}`.
    pub(crate) fn get(path: &'static str, show: impl IntoEndpoint<Endpoint: 'static>) -> Self {
        Self::of(path, "GET", get(show))
    }

    /// Makes the route that receives a form of another page.
    pub(crate) fn post(path: &'static str, send: impl IntoEndpoint<Endpoint: 'static>) -> Self {
        Self::of(path, "POST", post(send))
    }

    /// Makes the route of a page whose form is sent to the same path.
    pub(crate) fn form(
        path: &'static str,
        show: impl IntoEndpoint<Endpoint: 'static>,
        send: impl IntoEndpoint<Endpoint: 'static>,
    ) -> Self {
        Self::of(path, "GET, POST", get(show).post(send))
    }

    fn of(path: &'static str, methods: &'static str, handlers: RouteMethod) -> Self {
        let handlers = Handlers::ByMethod(handlers);
        Self { path, methods, handlers, is_open: false, speaks_oauth: false }
    }

    /// Makes a route that answers programs, whatever the method is. A path that ends in `/*rest` stands for everything
    /// below it.
    pub(crate) fn any(path: &'static str, answer: impl IntoEndpoint<Endpoint: 'static>) -> Self {
        let handlers = Handlers::Any(answer.into_endpoint().map_to_response().boxed());
        Self { path, methods: "", handlers, is_open: false, speaks_oauth: false }
    }

    /// Answers HEAD with a handler of its own. Otherwise the page is made, and only its headers are sent.
    pub(crate) fn head(self, look: impl IntoEndpoint<Endpoint: 'static>) -> Self {
        let handlers = match self.handlers {
            Handlers::ByMethod(handlers) => Handlers::ByMethod(handlers.head(look)),
            any @ Handlers::Any(_) => any,
        };
        Self { handlers, ..self }
    }

    /// Lets pages of every origin call the route, without cookies. Its handler must not read cookies.
    pub(crate) fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    /// Refuses requests in the form of OAuth, also those that do not reach the handler. No browser shows the answers.
    pub(crate) fn oauth(self) -> Self {
        Self { speaks_oauth: true, ..self }
    }

    /// Returns true if this is the first page, at `/`.
    pub(crate) fn is_first(&self) -> bool {
        self.path == "/"
    }

    /// Adds this route to others.
    pub(crate) fn add_to(self, routes: Route) -> Route {
        let path = self.path.replace('{', ":").replace('}', "");
        match self.handlers {
            Handlers::ByMethod(handlers) => routes.at(path, handlers),
            Handlers::Any(answer) => routes.at(path, answer),
        }
    }
}

/// The operations that pages of every origin can call.
const OPEN_OPERATIONS: [&str; 1] = ["/.well-known/jwks.json"];

/// All paths with their methods: first those of operations, then those of pages.
pub(crate) struct Paths {
    known: Vec<(String, HeaderValue)>,
    operations: usize,
    /// The places of paths without a variable.
    fixed: HashMap<String, usize>,
    /// The places of paths with a variable, by their number of segments.
    variable: HashMap<usize, Vec<usize>>,
    /// The paths that pages of every origin can call.
    open: Vec<&'static str>,
    /// The paths whose errors have the form of OAuth.
    oauth: Vec<&'static str>,
    /// The paths that answer programs, whatever the method is.
    any: Vec<&'static str>,
    /// The beginnings of paths, with their places, that stand for everything below them.
    below: Vec<(String, usize)>,
}

impl Paths {
    pub(crate) fn of(outline: Outline, pages: &[PageRoute]) -> Self {
        let operations = outline.paths.into_iter().map(|(path, methods)| {
            let methods: Vec<_> =
                methods.keys().map(|method| method.to_ascii_uppercase()).collect();
            (path, HeaderValue::try_from(methods.join(", ")))
        });
        let open = pages.iter().filter(|page| page.is_open).map(|page| page.path);
        let open = open.chain(OPEN_OPERATIONS).collect();
        let oauth = pages.iter().filter(|page| page.speaks_oauth).map(|page| page.path).collect();
        let takes_any = |page: &&PageRoute| matches!(page.handlers, Handlers::Any(_));
        let any = pages.iter().filter(takes_any).map(|page| page.path).collect();
        let pages =
            pages.iter().map(|page| (page.path.to_owned(), HeaderValue::try_from(page.methods)));
        let written = |(path, methods): (String, Result<_, _>)| Some((path, methods.ok()?));
        let mut known: Vec<_> = operations.filter_map(written).collect();
        let operations = known.len();
        known.extend(pages.filter_map(written));
        let (mut fixed, mut variable) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        let mut below = Vec::new();
        for (place, (pattern, _)) in known.iter().enumerate() {
            if let Some(begin) = pattern.strip_suffix(BELOW) {
                below.push((begin.to_owned(), place));
            } else if pattern.contains('{') {
                variable.entry(segments(pattern)).or_default().push(place);
            } else {
                fixed.entry(pattern.clone()).or_insert(place);
            }
        }
        Self { known, operations, fixed, variable, open, oauth, any, below }
    }

    /// Returns true if a path belongs to an operation, so that the answer is for programs.
    pub(crate) fn is_of_operations(&self, path: &str) -> bool {
        self.place(path).is_some_and(|place| place < self.operations)
    }

    /// Returns true if pages of every origin can call a path, without cookies.
    pub(crate) fn is_open(&self, path: &str) -> bool {
        self.open.contains(&path)
    }

    /// Returns true if the errors of a path have the form of OAuth.
    pub(crate) fn speaks_oauth(&self, path: &str) -> bool {
        self.oauth.contains(&path)
    }

    /// Returns true if a path answers programs, whatever the method is.
    pub(crate) fn takes_any_method(&self, path: &str) -> bool {
        self.pattern(path).is_some_and(|pattern| self.any.contains(&pattern))
    }

    /// The pattern of a path, in the form of the OpenAPI document: `/auth/sessions/{id}`.
    pub(crate) fn pattern(&self, path: &str) -> Option<&str> {
        self.find(path).map(|(pattern, _)| pattern.as_str())
    }

    /// The methods of a path, for the header `Allow`.
    pub(crate) fn allowed(&self, path: &str) -> Option<HeaderValue> {
        self.find(path).map(|(_, methods)| methods.clone())
    }

    fn find(&self, path: &str) -> Option<&(String, HeaderValue)> {
        self.known.get(self.place(path)?)
    }

    /// The patterns, in the order of their places.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|(pattern, _)| pattern.as_str())
    }

    /// The pattern at a place.
    pub(super) fn at(&self, place: usize) -> &str {
        self.known.get(place).map_or("", |(pattern, _)| pattern)
    }

    /// The place of a path. Like the router, it prefers a path without a variable.
    pub(super) fn place(&self, path: &str) -> Option<usize> {
        if let Some(place) = self.fixed.get(path) {
            return Some(*place);
        }
        let below = self.below.iter().find(|(begin, _)| path.starts_with(begin));
        if let Some((_, place)) = below {
            return Some(*place);
        }
        let candidates = self.variable.get(&segments(path))?;
        candidates.iter().copied().find(|place| {
            let (pattern, _) = &self.known[*place];
            pattern
                .split('/')
                .zip(path.split('/'))
                .all(|(known, given)| known == given || known.starts_with('{') && !given.is_empty())
        })
    }
}

fn segments(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_variable_comes_first_and_segments_are_whole() {
        let outline = serde_json::json!({ "paths": {
            "/": { "get": {} },
            "/users": { "get": {} },
            "/users/{id}": { "get": {}, "patch": {} },
            "/users/me": { "get": {} },
            "/users/{id}/tokens/{token}": { "delete": {} },
        } });
        let outline = serde_json::from_value(outline).unwrap();
        let paths = Paths::of(outline, &[]);
        for (path, pattern) in [
            ("/", Some("/")),
            ("/users", Some("/users")),
            ("/users/", None),
            ("/users/me", Some("/users/me")),
            ("/users/m", Some("/users/{id}")),
            ("/users/{id}", Some("/users/{id}")),
            ("/users/me/", None),
            ("//users", None),
            ("/users/1/tokens/2", Some("/users/{id}/tokens/{token}")),
            ("/users/1/tokens/", None),
            ("/users/1/token/2", None),
            ("", None),
            ("users", None),
        ] {
            assert_eq!(paths.pattern(path), pattern, "{path}");
        }
        assert_eq!(paths.allowed("/users/1").unwrap(), "GET, PATCH");
    }
}
