//! `kinesis-kit completions` and `kinesis-kit man`: from the command line's own description.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap::CommandFactory;
use clap_mangen::Man;

use crate::{
    args::{Args, CompletionsArgs, ManArgs},
    error::{Completion, Error},
};

const NAME: &str = "kinesis-kit";

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Completion, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), NAME, &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Completion::Done)
}

pub(crate) fn man(args: &ManArgs) -> Result<Completion, Error> {
    let mut command = Args::command().name(NAME).disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => io::stdout().lock().write_all(&page(command)?)?,
        Some(path) => write_pages(path, command, NAME)
            .map_err(|source| Error::WriteFile { path: path.clone(), source })?,
    }
    Ok(Completion::Done)
}

/// The page of a command, and those of the commands below it.
fn write_pages(folder: &Path, command: clap::Command, name: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for below in command.get_subcommands() {
        let name = format!("{name}-{}", below.get_name());
        write_pages(folder, below.clone(), &name)?;
    }
    fs::write(folder.join(format!("{name}.1")), page(command)?)
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
