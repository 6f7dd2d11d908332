//! `tessera openapi`

pub(crate) fn run() {
    print!("{}", api::http::document());
}
