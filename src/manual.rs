//! `tessera completions` and `tessera man`.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The name of the shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for every command into this folder, instead of printing the page of `tessera`
    folder: Option<PathBuf>,
}

pub(crate) fn completions(arguments: &Completions, mut root: Command) {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut root, "tessera", &mut script);
    print::line(String::from_utf8_lossy(&script).trim_end());
}

pub(crate) fn man(arguments: &Man, root: Command) -> Result<(), String> {
    let unwritable = |error: std::io::Error| format!("cannot write the manual pages: {error}");
    if let Some(folder) = &arguments.folder {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
        return clap_mangen::generate_to(root, folder).map_err(unwritable);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(root).render(&mut page).map_err(unwritable)?;
    print::line(String::from_utf8_lossy(&page).trim_end());
    Ok(())
}
