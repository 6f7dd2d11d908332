//! The routes of pages, and the list of all paths.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
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

/// The kind of thing that a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An operation, which the OpenAPI document describes.
    Operation,
    /// A page, a file that pages load, or another answer that is not an operation.
    Page,
}

/// A path that is known.
pub(crate) struct Known {
    /// The pattern of the path, in the form of the OpenAPI document: `/auth/sessions/{id}`.
    pub(super) pattern: String,
    /// The methods, for the header `Allow`.
    pub(super) methods: HeaderValue,
    /// The place in the list of all paths.
    pub(super) place: usize,
    /// The kind of thing that it leads to.
    pub(super) kind: Kind,
    /// `true` if pages of every origin can call the path, without cookies.
    pub(super) is_open: bool,
    /// `true` if its errors have the form of OAuth.
    pub(super) speaks_oauth: bool,
    /// `true` if it answers programs, whatever the method is.
    pub(super) takes_any_method: bool,
}

impl Known {
    /// Returns true if the answers are for programs, so that no browser shows them.
    pub(super) fn is_of_programs(&self) -> bool {
        self.kind == Kind::Operation || self.speaks_oauth || self.takes_any_method
    }
}

/// All paths: first those of operations, then those of pages.
pub(crate) struct Paths {
    known: Vec<Known>,
    /// The places of paths without a variable.
    fixed: HashMap<String, usize>,
    /// The places of paths with a variable, by their number of segments.
    variable: HashMap<usize, Vec<usize>>,
    /// The beginnings of paths, with their places, that stand for everything below them.
    below: Vec<(String, usize)>,
}

impl Paths {
    pub(crate) fn of(outline: Outline, pages: &[PageRoute]) -> Self {
        let operations = outline.paths.into_iter().filter_map(|(pattern, methods)| {
            let methods: Vec<_> = methods.keys().map(|name| name.to_ascii_uppercase()).collect();
            Some(Known {
                methods: HeaderValue::try_from(methods.join(", ")).ok()?,
                place: 0,
                kind: Kind::Operation,
                is_open: OPEN_OPERATIONS.contains(&pattern.as_str()),
                speaks_oauth: false,
                takes_any_method: false,
                pattern,
            })
        });
        let pages = pages.iter().filter_map(|page| {
            Some(Known {
                pattern: page.path.to_owned(),
                methods: HeaderValue::try_from(page.methods).ok()?,
                place: 0,
                kind: Kind::Page,
                is_open: page.is_open,
                speaks_oauth: page.speaks_oauth,
                takes_any_method: matches!(page.handlers, Handlers::Any(_)),
            })
        });
        let mut known: Vec<_> = operations.chain(pages).collect();
        let (mut fixed, mut variable) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        let mut below = Vec::new();
        for (place, path) in known.iter_mut().enumerate() {
            path.place = place;
            let pattern = &path.pattern;
            if let Some(begin) = pattern.strip_suffix(BELOW) {
                below.push((begin.to_owned(), place));
            } else if pattern.contains('{') {
                variable.entry(segments(pattern)).or_default().push(place);
            } else {
                fixed.entry(pattern.clone()).or_insert(place);
            }
        }
        Self { known, fixed, variable, below }
    }

    /// The patterns, in the order of their places.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|known| known.pattern.as_str())
    }

    /// The patterns of operations and pages that the same path can belong to.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> Vec<(&str, &str)> {
        let (operations, pages): (Vec<_>, Vec<_>) =
            self.known.iter().partition(|known| known.kind == Kind::Operation);
        let is_variable = |segment: &str| segment.starts_with('{');
        let both = operations.iter().flat_map(|one| pages.iter().map(move |other| (one, other)));
        both.map(|(one, other)| (one.pattern.as_str(), other.pattern.as_str()))
            .filter(|(one, other)| {
                let other_begin = other.strip_suffix("/*rest");
                let is_below = other_begin.is_some_and(|begin| segments(begin) < segments(one));
                let other = other_begin.unwrap_or(other);
                let mut pairs = one.split('/').zip(other.split('/'));
                (is_below || segments(one) == segments(other))
                    && pairs
                        .all(|(one, other)| one == other || is_variable(one) || is_variable(other))
            })
            .collect()
    }

    /// Finds a path. Like the router, it prefers a path without a variable.
    pub(super) fn find(&self, path: &str) -> Option<&Known> {
        if let Some(place) = self.fixed.get(path) {
            return self.known.get(*place);
        }
        // The rest is a path of another server. It can have any encoding.
        let below = self.below.iter().find(|(begin, _)| path.starts_with(begin));
        if let Some((_, place)) = below {
            return self.known.get(*place);
        }
        // Any other path that cannot be decoded does not exist.
        percent_decode_str(path).decode_utf8().ok()?;
        let mut candidates =
            self.variable.get(&segments(path))?.iter().filter_map(|place| self.known.get(*place));
        candidates.find(|known| {
            known
                .pattern
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
            ("/users/%66", Some("/users/{id}")),
            ("/users/%FF", None),
            ("/users/%C3%28", None),
        ] {
            assert_eq!(paths.find(path).map(|known| &*known.pattern), pattern, "{path}");
        }
        assert_eq!(paths.find("/users/1").unwrap().methods, "GET, PATCH");
    }
}
