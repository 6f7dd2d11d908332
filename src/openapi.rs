//! `tessera openapi`

use crate::print;

pub(crate) fn run() {
    print::line(api::document().trim_end());
}
