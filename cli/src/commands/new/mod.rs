//! `kinesis-kit new`: from the templates of the kit to a project.

mod files;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    args::{KitArgs, NewArgs},
    error::{Completion, Error},
    output::note::note,
};

pub(crate) fn run(args: &NewArgs) -> Result<Completion, Error> {
    let (dependency, origin) = dependency(&args.kit)?;
    let folder = Path::new(&args.name);
    write(folder, &args.name, &dependency).map_err(|(path, source)| match source.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::Usage(format!("{} exists: nothing was written", path.display()))
        }
        _ => Error::WriteFile { path, source },
    })?;
    note(format_args!("created {}, with kinesis-handler {origin}", folder.display()));
    note("its first build takes some minutes, because it builds the AWS SDK for the tables");
    note(format_args!("next: cd {} && make test && make invoke && make simulate", folder.display()));
    Ok(Completion::Done)
}

fn write(folder: &Path, name: &str, dependency: &str) -> Result<(), (PathBuf, io::Error)> {
    // Fails if it exists, so no file in it can be overwritten.
    fs::create_dir(folder).map_err(|error| (folder.to_owned(), error))?;
    for (file, text) in files::ALL {
        let path = folder.join(file);
        let text = text.replace("{{project_name}}", name).replace("{{kinesis_handler}}", dependency);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| (path, error))?;
    }
    Ok(())
}

/// Returns the members of the dependency in Cargo.toml, and a description.
fn dependency(args: &KitArgs) -> Result<(String, String), Error> {
    let registry = |version: &str| (format!("version = {version:?}"), format!("{version} from the registry"));
    match (&args.kit_path, &args.kit_git, &args.kit_version) {
        (Some(path), ..) => match handler_in(path) {
            Some(handler) => Ok((format!("path = {handler:?}"), format!("in {handler}"))),
            None => Err(Error::Usage(format!(
                "--kit-path {}: expected a checkout of the kit, with the file handler/Cargo.toml",
                path.display()
            ))),
        },
        (_, Some(url), _) => Ok((format!("git = {url:?}"), format!("from {url}"))),
        (.., Some(version)) => Ok(registry(version)),
        _ => Ok(match handler_in(Path::new(CHECKOUT)) {
            Some(handler) => (format!("path = {handler:?}"), format!("in {handler}")),
            None => registry(env!("CARGO_PKG_VERSION")),
        }),
    }
}

/// The checkout that this program was built in.
const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Returns the absolute path of the crate in a checkout, if it is one.
fn handler_in(checkout: &Path) -> Option<String> {
    let handler = checkout.join("handler").canonicalize().ok()?;
    let is_crate = handler.join("Cargo.toml").is_file();
    is_crate.then(|| handler.to_str().map(str::to_owned)).flatten()
}
