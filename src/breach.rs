//! `tessera breach`

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use api::identity::factor::Builder;
use clap::{Args, Subcommand};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build a filter for BREACH_FILTER from a list of stolen passwords
    Build {
        /// The list. Each line is a password, or its SHA-1 digest in hexadecimal, optionally followed by a colon
        /// and the number of times that it was found
        list: PathBuf,
        /// The file to write. It takes 2.25 bytes for each password
        #[arg(long, value_name = "FILE", default_value = "breach.filter")]
        output: PathBuf,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<(), String> {
    let Action::Build { list, output } = arguments.action;
    let fault = |error: std::io::Error| format!("{}: {error}", list.display());
    let refused = |fault: String| format!("{}: {fault}", list.display());
    let file = File::open(&list).map_err(fault)?;
    let bar = print::bytes_bar(file.metadata().map_err(fault)?.len());
    let mut lines = BufReader::new(bar.wrap_read(file));
    let (mut builder, mut line) = (Builder::default(), Vec::new());
    // Passwords are not always UTF-8, so they are read as bytes.
    while lines.read_until(b'\n', &mut line).map_err(fault)? > 0 {
        builder.take(line.strip_suffix(b"\n").unwrap_or(&line)).map_err(refused)?;
        line.clear();
    }
    builder.require_known_kind().map_err(refused)?;
    bar.finish_and_clear();
    let count = builder.write(&output)?;
    let output = output.display();
    print::line(format!("{output} contains {count} passwords. Set BREACH_FILTER={output}"));
    Ok(())
}
