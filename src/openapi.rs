//! `tessera openapi`

use crate::print;

pub(crate) fn run() {
    print::line(api::http::document().trim_end());
}
